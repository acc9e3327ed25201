"""Frames: how one message lies on a link, and what protects it.

    header (24 bytes) | tag name | buffer lengths | body | proof (16 bytes) | buffers …

Each direction of a link has its own key, and every proof depends on all that went before it (by a running digest, or by a
counter that is never sent), so a frame replayed, dropped, reordered or reflected fails. ``Tagged`` (suite 1) proves
everything but the buffers with keyed BLAKE2b, ``Hashed`` (suite 3) with HMAC-SHA256; ``TaggedWhole`` and ``HashedWhole`` prove
the buffers too, a MiB at a time. ``Sealed`` (suite 2) encrypts everything after the header, buffers a MiB at a time, with
AES-256-GCM. ``Bare`` is for links inside TLS. Packing and opening are written out by hand: they stand on the path of every small
call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hmac import compare_digest
from hmac import new as keyed_sha256
from itertools import chain
from struct import Struct
from typing import NamedTuple, Protocol

from hubnet.core import handshake, sealing
from hubnet.core.keys import expand
from hubnet.errors import EncodeError, RemoteProtocolError

try:
    from _blake2 import blake2b
except ImportError:  # then suite 1 is not offered
    pass

HELLO, REQUEST, RESULT, RAISED, FLAG, REFUSED, BYE = range(1, 8)
KINDS = ("", "hello", "request", "result", "raised", "flag", "refused", "bye")

HEADER = Struct("<IBBHHHIQ")  # length of the rest, kind, 0, buffers, name length, depth, patience ms, remaining µs
HEADER_SIZE = HEADER.size
PROOF = 16
PIECE = 1 << 20
MOST_BUFFERS = 4096
SMALL = 1 << 15
_PERSON = b"hubnet/1 frame"
_REKEY = b"hubnet/1 rekey"
_MOST_SEALED = (1 << 31) - 1 - 64  # what the cipher takes at once, less names and the like
_EPOCH = (1 << 16) - 1  # the last frame under one key, in the low bits of the counter
_PACK = HEADER.pack
_BUFFER_LENGTH = Struct("<Q")
_LENGTH = Struct("<I")
_PACK_LENGTH, LENGTH_OF = _LENGTH.pack, _LENGTH.unpack_from
_FIXED = HEADER_SIZE - _LENGTH.size
_MORE = PROOF - _FIXED  # from the sizes of prefix and body to the length in the header
# Slices made once: on the hot way a fresh one costs as much as what it cuts.
_HEAD, _REST, _KIND_TO_NAME = slice(HEADER_SIZE), slice(HEADER_SIZE, None), slice(_LENGTH.size, HEADER_SIZE)
_PROVED, _PROOF, _BODY = slice(-PROOF), slice(-PROOF, None), slice(HEADER_SIZE, -PROOF)

Buffer = bytes | bytearray | memoryview
_Running = tuple[Callable[[Buffer], None], Callable[[], bytes]]  # what adds to a running proof, and what tells it
Pieces = chain[Buffer]


class Rest(NamedTuple):
    """An opened frame without its buffers, which follow on the link."""

    name: bytes
    body: memoryview | bytes
    buffer_lengths: tuple[int, ...]


Opener = Callable[[bytes], "bytes | Rest | None"]


class Protection(Protocol):
    """One suite's way of packing and opening the frames of one link, both directions."""

    def small(self, prefix: bytes, body: bytes) -> bytes:
        """A frame under 64 KiB without buffers, in one piece, from its ``prefix()``; the hot way."""
        ...

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
    ) -> Pieces:
        """Any frame: the pieces to send, in order; those of large buffers are made as they are asked for, once."""
        ...

    def open_small(self, frame: bytes) -> bytes:
        """The rest of a whole frame without header and proof.

        Raises:
            RemoteProtocolError: the proof does not fit.
        """
        ...

    def opener(self, prefix: bytes) -> Opener:
        """A function that opens the whole frames with this ``prefix()``; the hot way.

        It returns the body; or None for anything else, which is as it was then; or, where a frame had to be opened to see
        that it has another name, its rest.
        """
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


def prefix(kind: int, name: bytes = b"", depth: int = 0, patience: int = 0, remaining: int = 0) -> bytes:
    """How a frame without buffers begins, after its length: the header and the name."""
    return _PACK(0, kind, 0, 0, len(name), depth, patience, remaining)[_LENGTH.size :] + name


PLAIN_RESULT = prefix(RESULT)


def split(named: int, buffers: int, rest: Buffer) -> Rest:
    """Name, body and buffer lengths out of an opened rest."""
    view = memoryview(rest)
    end = named + 8 * buffers
    lengths = tuple(_BUFFER_LENGTH.unpack_from(view, at)[0] for at in range(named, end, 8))
    return Rest(bytes(view[:named]), view[end:], lengths)


def _table(buffers: Sequence[memoryview]) -> bytes:
    if len(buffers) > MOST_BUFFERS:
        raise EncodeError(
            f"{len(buffers)} separate buffers in one call; at most {MOST_BUFFERS} travel: put them into one array"
        )
    return b"".join([_BUFFER_LENGTH.pack(buffer.nbytes) for buffer in buffers])


class Tagged:
    """Suite 1: keyed BLAKE2b over all that went this way so far; buffers are not covered.

    One running state per direction: each frame's proof is the digest of the key and every frame up to this one. So no counter
    is needed, a frame replayed, dropped or out of order fails like a forged one, and a small frame costs one update and one
    digest. (BLAKE2 marks its last block, so a digest on the way gives nothing away about longer inputs.)
    """

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._sent, self._proof_of_sent = self._running(send_key)
        self._received, self._proof_of_received = self._running(receive_key)

    @staticmethod
    def _running(key: bytes) -> _Running:
        state = blake2b(digest_size=PROOF, key=key, person=_PERSON)
        return state.update, state.digest

    def small(self, prefix: bytes, body: bytes) -> bytes:
        frame = _PACK_LENGTH(len(prefix) + len(body) + _MORE) + prefix + body
        self._sent(frame)
        return frame + self._proof_of_sent()

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
    ) -> Pieces:
        if not buffers and len(body) < SMALL:
            return chain((self.small(prefix(kind, name, depth, patience, remaining), body),))
        table = _table(buffers)
        length = _fits(len(name) + len(table) + len(body) + PROOF)
        head = _PACK(length, kind, 0, len(buffers), len(name), depth, patience, remaining) + name + table
        self._sent(head)
        self._sent(body)
        return chain((head, body, self._proof_of_sent()), self._apart(buffers))

    def _apart(self, buffers: Sequence[memoryview]) -> Iterable[Buffer]:
        return buffers

    def open_small(self, frame: bytes) -> bytes:
        self._received(frame[_PROVED])
        if not compare_digest(self._proof_of_received(), frame[_PROOF]):
            raise RemoteProtocolError("a frame without its proof")
        return frame[_BODY]

    def opener(self, prefix: bytes) -> Opener:
        received, proof_of_received = self._received, self._proof_of_received
        end = _LENGTH.size + len(prefix)
        beginning, body = slice(_LENGTH.size, end), slice(end, -PROOF)

        def open_next(frame: bytes) -> bytes | None:
            if frame[beginning] != prefix or LENGTH_OF(frame)[0] != len(frame) - HEADER_SIZE:
                return None
            received(frame[_PROVED])
            if not compare_digest(proof_of_received(), frame[_PROOF]):
                raise RemoteProtocolError("a frame without its proof")
            return frame[body]

        return open_next

    def open(self, header: bytes, rest: Buffer) -> Buffer:
        body = memoryview(rest)[:-PROOF]
        self._received(header)
        self._received(body)
        if not compare_digest(self._proof_of_received(), bytes(rest[-PROOF:])):
            raise RemoteProtocolError("a frame without its proof")
        return body

    def buffer_size(self, length: int) -> int:
        return length

    def open_piece(self, piece: Buffer) -> Buffer:
        return piece


class Bare(Tagged):
    """Inside TLS, which proves and hides everything: zeros stand where a proof would."""

    @staticmethod
    def _running(key: bytes) -> _Running:
        return _ignore, _no_proof


def _ignore(data: Buffer) -> None:
    """Nothing runs."""


def _no_proof() -> bytes:
    return bytes(PROOF)


class TaggedWhole(Tagged):
    """Suite 1 whole: each piece of a buffer is followed by the proof of all so far."""

    def _apart(self, buffers: Sequence[memoryview]) -> Iterator[Buffer]:
        for buffer in buffers:
            for at in range(0, buffer.nbytes, PIECE):
                piece = buffer[at : at + PIECE]
                self._sent(piece)
                yield piece
                yield self._proof_of_sent()

    def buffer_size(self, length: int) -> int:
        return length + PROOF * (-(-length // PIECE))

    def open_piece(self, piece: Buffer) -> Buffer:
        return self.open(b"", piece)


class Hashed(Tagged):
    """Suite 3: HMAC-SHA256, cut to the length of a proof, over all that went this way so far."""

    @staticmethod
    def _running(key: bytes) -> _Running:
        return _running_hmac(key)


class HashedWhole(TaggedWhole):
    """Suite 3 whole."""

    @staticmethod
    def _running(key: bytes) -> _Running:
        return _running_hmac(key)


def _running_hmac(key: bytes) -> _Running:
    state = keyed_sha256(key, _PERSON, "sha256")
    return state.update, lambda: state.digest()[:PROOF]


class Sealed:
    """Suite 2: AES-256-GCM; the header is proved, the rest and the buffers are hidden as well.

    After each 65 536 frames or pieces the key of a direction is derived anew from the one before it, which is forgotten: GCM's
    limits are far away, and who takes a key later cannot read what was sent earlier. A frame counts as often as it has MiB, so
    that a key covers 68 GiB at most: the counter goes on by so much, and stops at the end of its key.
    """

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_key, self._receive_key = send_key, receive_key
        self._encrypt = sealing.cipher(send_key).encrypt
        self._decrypt = sealing.cipher(receive_key).decrypt
        self._sent = 0
        self._received = 0

    def _rekey_sending(self) -> None:
        self._send_key = expand(self._send_key, _REKEY)
        self._encrypt = sealing.cipher(self._send_key).encrypt

    def _rekey_receiving(self) -> None:
        self._receive_key = expand(self._receive_key, _REKEY)
        self._decrypt = sealing.cipher(self._receive_key).decrypt

    def small(self, prefix: bytes, body: bytes) -> bytes:
        counter = self._sent
        self._sent = counter + 1
        if not counter & _EPOCH and counter:
            self._rekey_sending()
        head = _PACK_LENGTH(len(prefix) + len(body) + _MORE) + prefix[:_FIXED]
        return head + self._encrypt(counter.to_bytes(12, "big"), prefix[_FIXED:] + body, head)

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
    ) -> Pieces:
        if not buffers and len(body) < SMALL:
            return chain((self.small(prefix(kind, name, depth, patience, remaining), body),))
        table = _table(buffers)
        length = _fits(len(name) + len(table) + len(body) + PROOF, _MOST_SEALED)
        head = _PACK(length, kind, 0, len(buffers), len(name), depth, patience, remaining)
        return chain((head, self._seal(name + table + body, head)), self._apart(buffers))

    def _apart(self, buffers: Sequence[memoryview]) -> Iterator[bytes]:
        for buffer in buffers:
            for at in range(0, buffer.nbytes, PIECE):
                yield self._seal(buffer[at : at + PIECE], b"")

    def _seal(self, data: Buffer, head: bytes) -> bytes:
        counter = self._sent
        self._sent = _behind(counter, len(data))
        if not counter & _EPOCH and counter:
            self._rekey_sending()
        return self._encrypt(counter.to_bytes(12, "big"), data, head)

    def open_small(self, frame: bytes) -> bytes:
        counter = self._received
        self._received = counter + 1
        if not counter & _EPOCH and counter:
            self._rekey_receiving()
        try:
            return self._decrypt(counter.to_bytes(12, "big"), frame[_REST], frame[_HEAD])
        except Exception:
            raise RemoteProtocolError("a frame without its proof") from None

    def opener(self, prefix: bytes) -> Opener:
        open_small = self.open_small
        beginning, name = prefix[:_FIXED], prefix[_FIXED:]
        named = len(name)

        def open_next(frame: bytes) -> bytes | Rest | None:
            if frame[_KIND_TO_NAME] != beginning or LENGTH_OF(frame)[0] != len(frame) - HEADER_SIZE:
                return None
            rest = open_small(frame)
            return rest[named:] if rest.startswith(name) else Rest(rest[:named], rest[named:], ())

        return open_next

    def open(self, header: bytes, rest: Buffer) -> Buffer:
        counter = self._received
        self._received = _behind(counter, len(rest) - PROOF)
        if not counter & _EPOCH and counter:
            self._rekey_receiving()
        try:
            return self._decrypt(counter.to_bytes(12, "big"), rest, header)
        except Exception:
            raise RemoteProtocolError("a frame without its proof") from None

    def buffer_size(self, length: int) -> int:
        return length + PROOF * (-(-length // PIECE))

    def open_piece(self, piece: Buffer) -> Buffer:
        return self.open(b"", piece)


def _behind(counter: int, length: int) -> int:
    """The counter behind a message of so many bytes, which counts once for each MiB, and at most to the end of its key."""
    if length <= PIECE:
        return counter + 1
    return min(counter - (-length // PIECE), (counter | _EPOCH) + 1)


def _fits(length: int, most: int = (1 << 32) - 1) -> int:
    if length > most:
        raise EncodeError(
            f"over {(most + 1) >> 30} GiB pickled in one piece; large bytes and arrays travel apart when they are arguments "
            "themselves"
        )
    return length


_KINDS: dict[int, type[Tagged | Sealed]] = {
    handshake.TAGGED: Tagged, handshake.SEALED: Sealed, handshake.HASHED: Hashed, handshake.BARE: Bare,
    handshake.TAGGED_WHOLE: TaggedWhole, handshake.HASHED_WHOLE: HashedWhole,
}  # fmt: skip


def protection(session: handshake.Session) -> Protection:
    """What protects the frames of a link after this handshake."""
    return _KINDS[session.suite](session.send_key, session.receive_key)
