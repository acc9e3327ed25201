"""Envelopes: one message on a channel, with one to many events of one publisher under one signature.

    magic, version, flags, sender's length, count, first number | key id | incarnation | sender (JSON) | lengths | bodies | proof

The proof covers the channel's name and all of the envelope, so nothing can be moved, altered or forged. Numbers rise by one
per event, publisher incarnation and channel. An envelope of no events is a high-water mark: it tells the next number, so a
lost tail shows as well. A flag says whether the events are durable: kept in a stream, from which holes are filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hmac import compare_digest, digest
from struct import Struct
from typing import NamedTuple

from hubnet.core.keys import Keyring
from hubnet.core.recent import Recent, one_copy
from hubnet.errors import AuthenticationError

MAGIC = b"HUBE"
LIMIT_BYTES = 64 << 10
LIMIT_COUNT = 4000
_HEAD = Struct("<4sBBHIQ8s16s")
_PROOF = 16
_DURABLE = 1
_PERSON = b"hubnet/1 event"


class Sender(NamedTuple):
    """What an envelope says of its publisher; filters decide on it before anything is unpickled."""

    peer_id: bytes
    incarnation: bytes
    hub: bool
    machine: str


class Envelope(NamedTuple):
    """A verified envelope; bodies are cut out when they are delivered."""

    sender: Sender
    first: int
    size: int
    data: bytes
    lengths_at: int
    durable: bool = False

    def __repr__(self) -> str:  # no arguments
        return f"<envelope of {self.size} events from number {self.first} on, {len(self.data)} bytes>"

    def bodies(self) -> Iterator[memoryview]:
        """The pickled events, in order."""
        view = memoryview(self.data)
        at = self.lengths_at + 4 * self.size
        for number in range(self.size):
            start = self.lengths_at + 4 * number
            length = int.from_bytes(view[start : start + 4], "little")
            yield view[at : at + length]
            at += length


class Packer:
    """Packs and signs the envelopes of one publisher."""

    def __init__(self, sender: Sender, ring: Keyring) -> None:
        said = {"id": sender.peer_id.decode("ascii"), "hub": sender.hub, "machine": sender.machine}
        self._sender = json.dumps(said, separators=(",", ":")).encode()
        self._ring = ring
        self._incarnation = sender.incarnation
        self._sign_with_first()

    def _sign_with_first(self) -> None:
        self._keys, first = self._ring.keys, self._ring.first
        self._key = first.event
        self._tail = (first.kid, self._incarnation)

    def pack(self, channel: bytes, first: int, bodies: Sequence[bytes], *, durable: bool = False) -> bytes:
        """One signed envelope."""
        if self._ring.keys is not self._keys:
            self._sign_with_first()
        head = _HEAD.pack(MAGIC, 1, _DURABLE if durable else 0, len(self._sender), len(bodies), first, *self._tail)
        lengths = b"".join([len(body).to_bytes(4, "little") for body in bodies])
        message = b"".join((head, self._sender, lengths, *bodies))
        return message + _proof(self._key, channel, message)


def _proof(key: bytes, channel: bytes, message: bytes) -> bytes:
    """HMAC-SHA256, which every host has: an envelope is for whoever listens."""
    return digest(key, b"".join((_PERSON, len(channel).to_bytes(4, "little"), channel, message)), "sha256")[:_PROOF]


class Opener:
    """Verifies envelopes."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._sender = Recent(_sender)

    def open(self, channel: bytes, data: bytes) -> Envelope:
        """A verified envelope.

        Raises:
            AuthenticationError: it is none, or nobody who holds the secret signed it for this channel.
        """
        if len(data) < _HEAD.size + _PROOF or not data.startswith(MAGIC):
            raise AuthenticationError("no envelope of hubnet")
        _, version, flags, sender_length, count, first, kid, incarnation = _HEAD.unpack_from(data)
        keys = self._ring.get(kid)
        if keys is None:
            raise AuthenticationError("an envelope under an unknown secret")
        if not compare_digest(_proof(keys.event, channel, data[:-_PROOF]), data[-_PROOF:]) or version != 1:
            raise AuthenticationError("an envelope without a valid signature")
        end = _HEAD.size + sender_length
        sender = self._sender(incarnation + data[_HEAD.size : end])
        return Envelope(sender, first, count, data, end, bool(flags & _DURABLE))


def _sender(said: bytes) -> Sender:
    """What a publisher says of itself, after its incarnation."""
    fields = json.loads(said[16:])
    machine = one_copy(str(fields["machine"]))
    return Sender(fields["id"].encode("ascii"), said[:16], bool(fields["hub"]), machine)
