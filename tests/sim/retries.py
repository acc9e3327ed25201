"""The story of repeated calls: hubnet's own Caller, over links that fail before, while or after what they carry runs.

The other end keeps a ledger. Whatever the caller is told of a call must agree with it: what ran is not told to have not, nothing
runs twice that may not, and nothing that may have run is sent again unless its connection was declared idempotent.
"""

from __future__ import annotations

import random
from typing import Any

from hubnet.core import calls, codec, frames
from hubnet.core.connections import Connection
from hubnet.core.flags import Flags
from hubnet.core.identity import generate_id
from hubnet.counters import Counters
from hubnet.errors import MAYBE, NO, YES, CallTimeout, HubnetError, PeerLost
from hubnet.links import dial
from hubnet.links.calling import Caller, Endpoint
from hubnet.links.link import Frame, Vanished
from tests.sim.world import promise

_CALLS = 30
_ATTEMPTS = 3
_PEER = Endpoint(generate_id(3010, "10.0.2.1", "render"), b"i" * 16, "10.0.2.1", 3010, {})
_ANSWER, _ = codec.encode_arguments((), {})
_ENDS: dict[str, tuple[type[PeerLost | CallTimeout], str, bool]] = {
    "it was not sent": (PeerLost, NO, False),
    "it was sent and the link ended": (PeerLost, MAYBE, False),
    "it ran and the link ended": (PeerLost, MAYBE, True),
    "its machine vanished": (Vanished, MAYBE, True),
    "its machine had vanished": (Vanished, NO, False),
    "its deadline passed": (CallTimeout, MAYBE, True),
    "its deadline had passed": (CallTimeout, NO, False),
}


class Ledger:
    """The other end of one call: how often it was sent, and ran.

    Attributes:
        unsent: that there was no link to send it over, the last time.
    """

    def __init__(self, dice: random.Random, *, idempotent: bool) -> None:
        self._dice, self._idempotent = dice, idempotent
        self.sent = self.ran = 0
        self.may_have_run = self.unsent = self.refused = self.over = False

    def reached(self) -> bool:
        """Whether there is a link to send it over."""
        self.unsent = self._dice.random() < 0.15
        return not self.unsent

    def takes(self) -> Frame:
        """What becomes of it, once more."""
        promise(not self.may_have_run or self._idempotent, "what may have run was sent again")
        promise(not self.over, "what had its deadline, or whose machine vanished, was sent again")
        self.sent += 1
        promise(self.sent <= _ATTEMPTS, "a call was sent for ever")
        what = self._dice.choice(
            (*_ENDS, "it was not sent", "it ran and the link ended", "refused", "refused", "answered")
        )
        if what in _ENDS:
            kind, outcome, ran = _ENDS[what]
            self._runs(ran)
            self.may_have_run |= outcome == MAYBE
            self.over = kind is not PeerLost
            raise kind(what, connection="render", peer=_PEER.peer_id, ran=outcome)
        self.refused = what == "refused"
        self._runs(not self.refused)
        body = calls.refusal(calls.BUSY, "full") if self.refused else _ANSWER
        return Frame(frames.REFUSED if self.refused else frames.RESULT, b"", body, (), 1, 0, 0)

    def _runs(self, ran: bool) -> None:
        self.ran += ran
        promise(self.ran <= 1 or self._idempotent, "a call ran twice")

    def agrees(self, told: str) -> None:
        """Whether what the caller was told is so."""
        promise(told != NO or not self.ran, "a call that ran was told not to have run")
        promise(told != NO or not self.may_have_run, "a call that may have run was told not to have run")
        promise(told != YES or self.ran, "a call that did not run was told to have run")
        promise(told != MAYBE or self.may_have_run, "a call that did not run was told to may have run")
        gives_up = self.unsent or self.refused or self.over or self.sent >= _ATTEMPTS
        promise(told != NO or gives_up, "what did not run was not tried again")
        promise(told != MAYBE or gives_up or not self._idempotent, "an idempotent call was not tried again")


class _Link:
    """One link that a line has made, as a caller uses it."""

    closed = False
    used = 0.0

    def __init__(self, line: Line) -> None:
        self.kid = line.kid
        self._line = line  # whose ledger is that of the call that is under way

    def wait_readable(self, seconds: float) -> bool:
        """Nothing comes unasked."""
        return False

    def say_bye(self) -> None:
        """Nobody wants to know."""

    def close(self) -> None:
        """What fails is of no use any more."""
        self.closed = True

    def exchange(self, *request: Any) -> Any:
        """One request and what comes back."""
        return self._line.ledger.takes()

    def exchange_plain(self, *request: Any) -> bytes | Frame:
        """The same, of a small call."""
        frame = self._line.ledger.takes()
        return bytes(frame.body) if frame.kind == frames.RESULT else frame


class Line:
    """Links to that peer, and the dialler that makes them."""

    kid = b""

    def __init__(self) -> None:
        self.ledger: Any = None

    def dial(self, *where: Any, **how: Any) -> Any:
        """As ``Dialler.dial``."""
        if not self.ledger.reached():
            error = dial.Unreachable("nobody answers")
            error.how = dial.UNANSWERED
            raise error
        return _Link(self)


def retries(seed: int) -> float:
    """Some calls, each told to its caller as it was."""
    dice, line = random.Random(seed), Line()
    caller = Caller(line, lambda *_: _PEER, Flags(), Counters(), reach=1.0)  # type: ignore[arg-type]
    for _ in range(_CALLS):
        idempotent = dice.random() < 0.5
        line.ledger = ledger = Ledger(dice, idempotent=idempotent)
        connection = Connection("render", lambda: None, idempotent=idempotent)
        known = caller.pools.get(_PEER.peer_id) if dice.random() < 0.5 else None
        try:
            if known:
                caller.call_plain(connection, known, (), 1)
            else:
                caller.call(connection, _PEER.peer_id, (), {}, None)
            told = YES
        except HubnetError as error:
            told = error.ran
        ledger.agrees(told)
    return 0.0
