"""Frames: how one message lies on a link, and what protects it.

    header (24 bytes) | tag name | buffer lengths | body | proof (16 bytes) | buffers …

Each direction of a link has its own key and counts its frames from 0; the counter is never sent, so a frame replayed,
dropped, reordered or reflected fails its proof. ``Tagged`` (suite 1) proves everything but the buffers with keyed
BLAKE2b; ``Sealed`` (suite 2) encrypts everything after the header, buffers a MiB at a time. Packing and opening are
written out by hand: they stand on the path of every small call.
"""

from __future__ import annotations

from _blake2 import blake2b
from collections.abc import Sequence
from hmac import compare_digest
from struct import Struct
from typing import NamedTuple, Protocol

from hubnet.core import handshake, sealing
from hubnet.errors import EncodeError, RemoteProtocolError

HELLO, REQUEST, RESULT, RAISED, FLAG, REFUSED, BYE = range(1, 8)
KINDS = ("", "hello", "request", "result", "raised", "flag", "refused", "bye")

HEADER = Struct("<IBBHHHIQ")  # length of the rest, kind, 0, buffers, name length, depth, patience ms, remaining µs
HEADER_SIZE = HEADER.size
PROOF = 16
PIECE = 1 << 20
MOST_BUFFERS = 4096
_LENGTH = Struct("<Q")
_SMALL = 1 << 16

Buffer = bytes | bytearray | memoryview


class Header(NamedTuple):
    """What stands before a frame; proved with the rest."""

    length: int
    kind: int
    zero: int
    buffers: int
    name: int
    depth: int
    patience: int
    remaining: int


class Rest(NamedTuple):
    """An opened frame without its buffers, which follow on the link."""

    name: bytes
    body: memoryview | bytes
    buffer_lengths: tuple[int, ...]


class Protection(Protocol):
    """One suite's way of packing and opening the frames of one link, both directions."""

    def pack(
        self,
        kind: int,
        body: bytes,
        *,
        name: bytes = b"",
        depth: int = 0,
        patience: int = 0,
        remaining: int = 0,
        buffers: Sequence[memoryview] = (),
    ) -> list[Buffer]:
        """The pieces to send, in order."""
        ...

    def open(self, header: bytes, rest: Buffer) -> Buffer:
        """The rest of a frame without its proof.

        Raises:
            RemoteProtocolError: the proof does not fit.
        """
        ...

    def buffer_size(self, length: int) -> int:
        """Bytes on the wire for a buffer of this length."""
        ...

    def open_piece(self, piece: Buffer) -> Buffer:
        """A piece of a buffer as it was, from its form on the wire."""
        ...


def parse_header(data: Buffer) -> Header:
    """The header at the start of data.

    Raises:
        RemoteProtocolError: no frame of ours begins like this.
    """
    header = Header(*HEADER.unpack_from(data))
    if not HELLO <= header.kind <= BYE or header.length < PROOF or header.zero or header.buffers > MOST_BUFFERS:
        raise RemoteProtocolError("no frame of hubnet begins like this")
    if header.length < PROOF + header.name + 8 * header.buffers:
        raise RemoteProtocolError("a frame shorter than it says")
    return header


def split(header: Header, rest: Buffer) -> Rest:
    """Name, body and buffer lengths out of an opened rest."""
    start = header.name
    if not header.buffers:
        return Rest(bytes(rest[:start]), memoryview(rest)[start:], ())
    end = start + 8 * header.buffers
    lengths = tuple(_LENGTH.unpack_from(rest, at)[0] for at in range(start, end, 8))
    return Rest(bytes(rest[:start]), memoryview(rest)[end:], lengths)


def _table(buffers: Sequence[memoryview]) -> bytes:
    if len(buffers) > MOST_BUFFERS:
        raise EncodeError(
            f"{len(buffers)} separate buffers in one call; at most {MOST_BUFFERS} travel: put them into one array"
        )
    return b"".join([_LENGTH.pack(buffer.nbytes) for buffer in buffers])


class Tagged:
    """Suite 1: keyed BLAKE2b over counter, header and rest; buffers are not covered."""

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_base = blake2b(digest_size=PROOF, key=send_key, person=b"hubnet/1 frame")
        self._receive_base = blake2b(digest_size=PROOF, key=receive_key, person=b"hubnet/1 frame")
        self._sent = 0
        self._received = 0

    def pack(
        self,
        kind: int,
        body: bytes,
        *,
        name: bytes = b"",
        depth: int = 0,
        patience: int = 0,
        remaining: int = 0,
        buffers: Sequence[memoryview] = (),
    ) -> list[Buffer]:
        counter = self._sent
        self._sent = counter + 1
        state = self._send_base.copy()
        length = len(name) + len(body) + PROOF
        if not buffers and length < _SMALL:
            frame = HEADER.pack(length, kind, 0, 0, len(name), depth, patience, remaining) + name + body
            state.update(counter.to_bytes(8, "little") + frame)
            return [frame + state.digest()]
        table = _table(buffers)
        head = (
            HEADER.pack(_fits(length + len(table)), kind, 0, len(buffers), len(name), depth, patience, remaining)
            + name
            + table
        )
        state.update(counter.to_bytes(8, "little") + head)
        state.update(body)
        return [head, body, state.digest(), *buffers]

    def open(self, header: bytes, rest: Buffer) -> Buffer:
        counter = self._received
        self._received = counter + 1
        state = self._receive_base.copy()
        body = rest[:-PROOF] if len(rest) < _SMALL else memoryview(rest)[:-PROOF]
        state.update(counter.to_bytes(8, "little") + header)
        state.update(body)
        if not compare_digest(state.digest(), bytes(rest[-PROOF:])):
            raise RemoteProtocolError("a frame without its proof")
        return body

    def buffer_size(self, length: int) -> int:
        return length

    def open_piece(self, piece: Buffer) -> Buffer:
        return piece


class Sealed:
    """Suite 2: AES-256-GCM; the header is proved, the rest and the buffers are hidden as well."""

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._encrypt = sealing.cipher(send_key).encrypt
        self._decrypt = sealing.cipher(receive_key).decrypt
        self._sent = 0
        self._received = 0

    def pack(
        self,
        kind: int,
        body: bytes,
        *,
        name: bytes = b"",
        depth: int = 0,
        patience: int = 0,
        remaining: int = 0,
        buffers: Sequence[memoryview] = (),
    ) -> list[Buffer]:
        table = _table(buffers) if buffers else b""
        length = _fits(len(name) + len(table) + len(body) + PROOF)
        head = HEADER.pack(length, kind, 0, len(buffers), len(name), depth, patience, remaining)
        rest = self._seal(name + table + body, head)
        if not buffers:
            return [head + rest] if length < _SMALL else [head, rest]
        pieces: list[Buffer] = [head, rest]
        for buffer in buffers:
            pieces.extend(self._seal(buffer[at : at + PIECE], b"") for at in range(0, buffer.nbytes, PIECE))
        return pieces

    def _seal(self, data: Buffer, head: bytes) -> bytes:
        nonce = self._sent.to_bytes(12, "big")
        self._sent += 1
        return self._encrypt(nonce, data, head)

    def open(self, header: bytes, rest: Buffer) -> Buffer:
        nonce = self._received.to_bytes(12, "big")
        self._received += 1
        try:
            return self._decrypt(nonce, rest, header)
        except Exception:  # noqa: BLE001 - InvalidTag, without importing cryptography for its name
            raise RemoteProtocolError("a frame without its proof") from None

    def buffer_size(self, length: int) -> int:
        return length + PROOF * (-(-length // PIECE))

    def open_piece(self, piece: Buffer) -> Buffer:
        return self.open(b"", piece)


def _fits(length: int) -> int:
    if length >= 1 << 32:
        raise EncodeError(
            "over 4 GiB pickled in one piece; large bytes and arrays travel apart when they are arguments themselves"
        )
    return length


def protection(session: handshake.Session) -> Protection:
    """What protects the frames of a link after this handshake."""
    suite = Sealed if session.suite == handshake.SEALED else Tagged
    return suite(session.send_key, session.receive_key)
