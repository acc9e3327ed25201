"""Hearing: what a peer believes of bytes that passed through an attacker's hands, by the readers that it really has.

A link reads from a stream in memory, in the chunks in which the attacker lets the bytes through; then the stream ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from hubnet.core import frames
from hubnet.core.frames import HEADER_SIZE, Protection
from hubnet.errors import PeerLost, RemoteProtocolError
from hubnet.links.link import Frame, Link
from hubnet.memory.stream import Medium, pair
from tests.core.ends import ANYBODY


class Message(NamedTuple):
    """A frame as it was delivered, all of it as bytes."""

    kind: int
    name: bytes
    body: bytes
    buffers: tuple[bytes, ...] = ()
    depth: int = 0
    patience: int = 0
    remaining: int = 0


class Heard(NamedTuple):
    """What was delivered, and the error that ended it: of the wire's rules, or that the stream ended."""

    messages: list[Message]
    error: RemoteProtocolError | PeerLost

    @property
    def refused(self) -> bool:
        """Whether something was wrong, other than that the stream ended."""
        return isinstance(self.error, RemoteProtocolError)


def message_of(frame: Frame) -> Message:
    """A frame out of whatever memory it lies in."""
    return Message(
        frame.kind, bytes(frame.name), bytes(frame.body), tuple(bytes(buffer) for buffer in frame.buffers),
        frame.depth, frame.patience, frame.remaining,
    )  # fmt: skip


def heard(protection: Protection, chunks: Iterable[bytes], leftover: bytes = b"") -> Heard:
    """What a link delivers of these chunks; any error but the two of ``Heard`` is the caller's."""
    attacker, socket = pair(Medium(), "attacker", "reader")
    socket.room = 1 << 40
    link = Link(socket, protection, ANYBODY, 0, leftover)  # type: ignore[arg-type]
    for chunk in chunks:
        if chunk:
            attacker.send(chunk)
    attacker.close()
    messages: list[Message] = []
    try:
        while True:
            messages.append(message_of(link.receive()))
    except (RemoteProtocolError, PeerLost) as error:
        return Heard(messages, error)
    finally:
        link.close()


def heard_hot(protection: Protection, chunks: Iterable[bytes], prefix: bytes) -> Heard:
    """The same by the opener that small calls use: each chunk is one read; a frame that begins otherwise ends it."""
    open_next = protection.opener(prefix)
    kind, _, _, named, depth, patience, remaining = frames.HEADER.unpack(bytes(4) + prefix[: HEADER_SIZE - 4])[1:]
    messages: list[Message] = []
    for chunk in chunks:
        try:
            opened = open_next(chunk)
        except RemoteProtocolError as error:
            return Heard(messages, error)
        if opened is None:
            return Heard(messages, PeerLost("not a frame of this kind: the other reader takes it from here"))
        name, body = (prefix[-named:], opened) if isinstance(opened, bytes) else (opened.name, opened.body)
        messages.append(Message(kind, name if named else b"", bytes(body), (), depth, patience, remaining))
    return Heard(messages, PeerLost("the stream ended"))
