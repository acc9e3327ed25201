"""Rules of a call: what a refusal means, when a call may be repeated, when a silent machine has vanished."""

from __future__ import annotations

import json
from typing import NamedTuple

from hubnet.errors import MAYBE, NO, CallError, DecodeError, InvalidConnection, NotAllowed, PeerBusy

NO_CONNECTION, BUSY, LEAVING, DEPTH, ARGUMENTS, FORBIDDEN = (
    "no-connection",
    "busy",
    "draining",
    "too-deep",
    "arguments",
    "forbidden",
)
_ATTEMPTS = 3


def refusal(code: str, text: str, **more: object) -> bytes:
    """Body of a frame that says why a call did not run."""
    return json.dumps({"code": code, "text": text, **more}).encode()


def refused(body: bytes, *, connection: str, peer: object) -> tuple[Exception, dict[str, object]]:
    """The error that a refusal stands for, and all that it said."""
    said: dict[str, object] = json.loads(body)
    text = str(said.get("text", ""))
    if said.get("code") == ARGUMENTS:
        return DecodeError(text, ran=NO), said
    kinds: dict[object, type[CallError]] = {NO_CONNECTION: InvalidConnection, FORBIDDEN: NotAllowed}
    return kinds.get(said.get("code"), PeerBusy)(text, connection=connection, peer=peer), said


def may_repeat(ran: str, *, idempotent: bool, attempts: int) -> bool:
    """Whether a failed call may be sent again by itself.

    Args:
        ran: whether it ran.
        idempotent: whether its connection was declared so.
        attempts: how often it was sent.
    """
    return attempts < _ATTEMPTS and (ran == NO or (ran == MAYBE and idempotent))


class Transmission(NamedTuple):
    """What the kernel says of a TCP socket (Linux TCP_INFO)."""

    retransmits: int
    probes: int
    unacknowledged: int
    since_last_ack_ms: int


VANISHED_AFTER_MS = 3000


def vanished(seen: Transmission) -> bool:
    """Whether the machine at the other end has gone.

    Retransmitting without an answer for 3 s: gone. A closed window is answered by a living peer that does not read:
    its kernel acknowledges each window probe, so only unanswered probes count.
    """
    silent = seen.since_last_ack_ms >= VANISHED_AFTER_MS
    return silent and ((seen.retransmits > 0 and seen.unacknowledged > 0) or seen.probes >= 3)
