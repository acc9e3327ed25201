"""One link: frames in and out of one authenticated socket, and the truth about how it ended.

The thread that holds a link reads and writes its socket itself; there is no reader thread. Waits wake once a second to
compare the deadline and to ask the kernel whether the machine at the other end is still there, so a call may run as long
as its peer lives. A send that fails means that the last bytes never left: the request did not run. An end of the stream
after a whole request, without an authenticated bye, means that nobody can know.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from hubnet import machine
from hubnet.core import calls, frames
from hubnet.core.frames import HEADER, HEADER_SIZE, PIECE, PROOF, Buffer, Protection
from hubnet.core.handshake import Self
from hubnet.errors import MAYBE, NO, CallTimeout, PeerLost, RemoteProtocolError
from hubnet.links.limits import Limits

TICK = 1.0
_CHUNK = 65536
_UNPACK = HEADER.unpack_from
_log = logging.getLogger("hubnet")


class Vanished(PeerLost):
    """The machine at the other end is silent: to dial it again would only be to wait longer."""


class Frame(NamedTuple):
    """One whole message as it arrived."""

    kind: int
    name: bytes
    body: Buffer
    buffers: Sequence[Any]
    depth: int
    patience: int
    remaining: int

    def __repr__(self) -> str:  # no arguments, nor results
        return f"<{frames.KINDS[self.kind]} frame of {len(self.body)} bytes and {len(self.buffers)} buffers>"


class Link:
    """One authenticated byte stream; used by one thread at a time, closed by its owner."""

    __slots__ = (
        "__weakref__",
        "_leftover",
        "_open_result",
        "_poll",
        "_sock",
        "_tick",
        "_waiting",
        "busy",
        "ended",
        "fileno",
        "foreign",
        "foreign_id",
        "friendly",
        "home",
        "is_cut",
        "kid",
        "most",
        "on_stall",
        "protection",
        "receiving",
        "recv_now",
        "retired",
        "said_bye",
        "send_now",
        "stalls",
        "streak",
        "suite",
        "used",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        protection: Protection,
        foreign: Self,
        suite: int,
        leftover: bytes = b"",
        kid: bytes = b"",
        most: int = Limits().call,
    ) -> None:
        sock.settimeout(None)
        machine.limit_waits(sock, TICK, TICK)
        machine.no_delay(sock)
        machine.watch_for_silence(sock)
        self._sock = sock
        self.recv_now = sock.recv
        self.send_now = sock.send
        self._tick = TICK
        self._waiting = getattr(sock, "waiting", None)  # in TLS bytes may be here that the descriptor does not tell of
        self._leftover = leftover
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.protection = protection
        self._open_result = protection.opener(frames.PLAIN_RESULT)
        self.foreign = foreign
        self.foreign_id = b""
        self.friendly: dict[str, Any] = {}
        self.fileno = sock.fileno()
        self.suite = suite
        self.kid = kid
        self.most = most
        self.used = 0.0
        self.streak = 0
        self.ended = False
        self.said_bye = self.is_cut = False
        self.busy = False
        self.receiving = False
        self.home = False
        self.retired = False
        self.stalls = 0
        self.on_stall: Callable[[Link], str] | None = None  # without a deadline: why not to wait on, or ""

    def __repr__(self) -> str:
        return f"<link {self.fileno} to {self.friendly.get('host', '?')}:{self.friendly.get('port', '?')}>"

    # -- the calling side ------------------------------------------------------------------------------------------

    def exchange_plain(self, prefix: bytes, body: bytes) -> bytes | Frame:
        """The hot way of ``exchange``: a small request without a deadline. The pickled result, or any other answer's frame."""
        if self._tick != TICK:
            self._wait_at_most(TICK)
        request = self.protection.small(prefix, body)
        try:
            sent = self.send_now(request)
        except OSError as error:
            sent = self.send_failed(error, None)
        if sent != len(request):
            self._send_rest(memoryview(request)[sent:], None)
        if self._leftover:  # it came before the answer
            return self._answered(None, b"")
        try:
            data = self.recv_now(_CHUNK)
        except OSError:
            data = b""  # receive() tries again and says why
        try:
            result = self._open_result(data)
        except RemoteProtocolError as error:
            raise _broken_answer(error) from error
        return result if isinstance(result, bytes) else self._answered(None, data)

    def exchange(
        self, name: bytes, body: bytes, buffers: Sequence[memoryview], depth: int, patience: int, deadline: float | None
    ) -> Frame:
        """Send one request and wait for its answer.

        Raises:
            PeerLost: the link broke; ``.ran`` tells whether the request may have run.
            CallTimeout: the deadline (monotonic) passed; the link must be closed.
        """
        remaining = 0
        if deadline is not None:
            left = deadline - time.monotonic()
            remaining = max(1, int(left * 1e6))
            self._wait_at_most(left)
        elif self._tick < TICK:
            self._wait_at_most(TICK)
        if buffers or len(body) >= frames.SMALL:
            self.send(
                self.protection.pack(
                    frames.REQUEST,
                    body,
                    name=name,
                    depth=depth,
                    patience=patience,
                    remaining=remaining,
                    buffers=buffers,
                ),
                deadline,
            )
        else:
            prefix = frames.prefix(frames.REQUEST, name, depth, patience, remaining)
            self.send([self.protection.small(prefix, body)], deadline)
        return self._answered(deadline, b"")

    def _answered(self, deadline: float | None, data: bytes) -> Frame:
        try:
            frame = self.receive(deadline, data)
        except RemoteProtocolError as error:
            raise _broken_answer(error) from error
        if frame.kind == frames.BYE:
            raise PeerLost("the peer said goodbye before it read the request", ran=NO)
        return frame

    def wait_readable(self, seconds: float) -> bool:
        """Whether something arrives within these seconds."""
        return bool(self._poll.poll(seconds * 1000))

    # -- both sides ------------------------------------------------------------------------------------------------

    def send(self, pieces: Iterable[Buffer], deadline: float | None = None) -> None:
        """Write all pieces.

        Raises:
            PeerLost: the link broke before the last byte was taken (``.ran`` NO).
            CallTimeout: the deadline passed.
        """
        for piece in pieces:  # sealing the next one may have taken long
            if deadline is not None and time.monotonic() >= deadline:
                raise CallTimeout("the deadline passed", ran=NO)
            try:
                sent = self._sock.send(piece)
            except OSError as error:
                sent = self.send_failed(error, deadline)
            if sent < len(piece):
                self._send_rest(memoryview(piece)[sent:], deadline)

    def send_failed(self, error: OSError, deadline: float | None) -> int:
        if isinstance(error, BlockingIOError):
            self._stalled(deadline, NO)
            return 0
        raise PeerLost(f"the link broke while sending ({error})", ran=NO) from error

    def _send_rest(self, view: memoryview, deadline: float | None) -> None:
        while view.nbytes:
            try:
                view = view[self._sock.send(view) :]
                self.stalls = 0
            except OSError as error:
                self.send_failed(error, deadline)
            if deadline is not None and view.nbytes and time.monotonic() >= deadline:
                raise CallTimeout("the deadline passed", ran=NO)

    def receive(self, deadline: float | None = None, data: bytes = b"") -> Frame:
        """Read one frame; `data` is what its reader already has of it.

        Raises:
            PeerLost: the stream ended.
            RemoteProtocolError: what arrived is no proved frame.
            CallTimeout: the deadline passed.
        """
        if self._leftover:
            data, self._leftover = self._leftover + data, b""
        elif not data:
            data = self._recv(deadline)
        while len(data) < HEADER_SIZE:
            data += self._recv(deadline)
        length, kind, zero, count, named, depth, patience, remaining = _UNPACK(data)
        if not 1 <= kind <= frames.BYE or zero or length < PROOF + named + 8 * count or count > frames.MOST_BUFFERS:
            raise RemoteProtocolError("what arrived is no frame of hubnet")
        if length > self.most:
            raise RemoteProtocolError(f"{length} bytes were announced, more than HUBNET_CALL_LIMIT={self.most} here")
        end = HEADER_SIZE + length
        if len(data) == end and not count:
            self._leftover = b""
            body: Buffer = self.protection.open_small(data)
            if named:
                return Frame(kind, body[:named], body[named:], (), depth, patience, remaining)  # type: ignore[arg-type]
            return Frame(kind, b"", body, (), depth, patience, remaining)
        if len(data) >= end:
            rest: Buffer = data[HEADER_SIZE:end]
            self._leftover = data[end:]
        else:
            rest = self._gather(data, length, deadline)
        opened = frames.split(named, count, self.protection.open(data[:HEADER_SIZE], rest))
        if (size := length + sum(opened.buffer_lengths)) > self.most:
            raise RemoteProtocolError(f"{size} bytes were announced, more than HUBNET_CALL_LIMIT={self.most} here")
        buffers = [self._receive_buffer(size, deadline) for size in opened.buffer_lengths]
        return Frame(kind, opened.name, opened.body, buffers, depth, patience, remaining)

    def _recv(self, deadline: float | None) -> bytes:
        while True:
            try:
                data = self._sock.recv(_CHUNK)
            except BlockingIOError:
                self._stalled(deadline, MAYBE)
                continue
            except OSError as error:
                raise PeerLost(_why(error), ran=MAYBE) from error
            if not data:
                cut = (
                    "we cut it off: its secret is accepted no more"
                    if self.is_cut
                    else "its process died or was cut off"
                )
                raise PeerLost(f"the link ended without a goodbye: {cut}", ran=MAYBE)
            self.stalls = 0
            return data

    def _gather(self, data: bytes, length: int, deadline: float | None) -> bytearray:
        """The rest of a frame in several reads; memory is taken as bytes arrive, never as announced."""
        rest = bytearray(data[HEADER_SIZE:])
        self._leftover = b""
        while len(rest) < length:
            have = len(rest)
            more = min(length - have, max(_CHUNK, have))
            rest.extend(bytes(more))
            with memoryview(rest) as view:
                self._fill(view[have:], deadline)
        return rest

    def _fill(self, view: memoryview, deadline: float | None) -> None:
        if self._leftover:
            taken = min(len(self._leftover), view.nbytes)
            view[:taken] = self._leftover[:taken]
            self._leftover = self._leftover[taken:]
            view = view[taken:]
        while view.nbytes:
            try:
                got = self._sock.recv_into(view)
            except BlockingIOError:
                self._stalled(deadline, MAYBE)
                continue
            except OSError as error:
                raise PeerLost(_why(error), ran=MAYBE) from error
            if not got:
                raise PeerLost("the link ended in the middle of a message", ran=MAYBE)
            self.stalls = 0
            view = view[got:]

    def _receive_buffer(self, size: int, deadline: float | None) -> memoryview:
        memory = _memory(size)
        wired = _memory(self.protection.buffer_size(min(size, PIECE)))
        for at in range(0, size, PIECE):
            target = memory[at : at + PIECE]
            wire = self.protection.buffer_size(target.nbytes)
            if wire == target.nbytes:
                self._fill(target, deadline)
            else:
                self._fill(wired[:wire], deadline)
                target[:] = self.protection.open_piece(wired[:wire])
        return memory

    def _wait_at_most(self, left: float) -> None:
        tick = min(TICK, max(left, 0.001))
        if tick < self._tick or (tick > self._tick and (tick > 2 * self._tick or tick == TICK)):
            machine.limit_waits(self._sock, tick, tick)
            self._tick = tick

    def _stalled(self, deadline: float | None, ran: str) -> None:
        """A wait came to nothing: is it too late, and is anybody there?"""
        self.stalls += 1
        if deadline is None and self.on_stall is not None and (why := self.on_stall(self)):
            raise Vanished(why, ran=ran)
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise CallTimeout("the deadline passed", ran=ran)
            if left < self._tick:
                self._wait_at_most(left)
        seen = machine.transmission(self._sock)
        if seen is not None and calls.vanished(seen):
            raise Vanished("the machine at the other end does not answer any more", ran=ran)

    # -- endings ---------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way on it, and no peer is registered over it."""
        return not (self.busy or self.receiving or self.home or self.said_bye)

    def hear(self) -> bytes | None:
        """What has arrived, without waiting; None when nothing has, b"" at the end of the stream."""
        try:
            return self._sock.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def hear_soon(self, seconds: float) -> bytes | None:
        """What arrives within a moment; None when nothing does, b"" at the end of the stream."""
        if self._tick != seconds:
            self._tick = seconds
            machine.limit_waits(self._sock, seconds)
        try:
            return self.recv_now(_CHUNK)
        except BlockingIOError:
            self._tick = TICK
            machine.limit_waits(self._sock, TICK)
            return None
        except OSError:
            return b""

    @property
    def leftover(self) -> bytes:
        """What came with the last frame and belongs to the next."""
        data, self._leftover = self._leftover, b""
        if not data and self._waiting is not None and self._waiting():
            return self.hear() or b""
        return data

    def guard_small_messages(self) -> None:
        """Notice a vanished machine within 3 s with data in flight as well; for a link of small messages."""
        try:
            machine.give_up_unread(self._sock)
        except OSError:
            pass  # it has ended

    def say_bye(self) -> None:
        """Tell the other side that nothing sent from now on will be read."""
        self.said_bye = True
        try:
            self._sock.send(self.protection.small(frames.prefix(frames.BYE), b""), socket.MSG_DONTWAIT)
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it ended before we could say so

    def shutdown(self) -> None:
        """End it from another thread; the owner still closes."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it had ended

    def cut_off(self) -> None:
        """End it from another thread, whatever runs on it: its secret is accepted no more."""
        self.said_bye = self.is_cut = True
        self.shutdown()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    @property
    def closed(self) -> bool:
        """Whether it was closed here."""
        return self._sock.fileno() < 0

    def disown(self) -> None:
        """In a forked child: let go of the parent's socket, without a word, while a read of it may be under way.

        Its descriptor leads nowhere from now on, and stays taken: nobody else's file gets its number in the middle of a read.
        """
        if (fd := self._sock.fileno()) >= 0:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, fd, inheritable=False)
            os.close(nowhere)


def say_cut_off(links: Iterable[Link]) -> None:
    """Log which links were cut off; without a lock, since a handler of the log may call."""
    for link in links:
        _log.warning("cut off %r: its secret is accepted no more", link)


def _why(error: OSError) -> str:
    if error.errno == errno.ENOTSOCK:  # as disown() leaves it
        return "this process was forked in the middle of the call, and its answer is the parent's"
    return f"the link broke ({error})"


def _broken_answer(error: RemoteProtocolError) -> PeerLost:
    return PeerLost(f"its answer broke the rules of the wire ({error})", ran=MAYBE)


def _memory(size: int) -> memoryview:
    """Fresh memory for a received buffer, which a large one takes only as its bytes arrive, whatever was announced.

    NumPy's is not touched before, nor is that of a private map.

    Raises:
        RemoteProtocolError: more was announced than this machine could ever have.
    """
    if size <= _CHUNK:
        return memoryview(bytearray(size))
    try:
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            return memoryview(numpy.empty(size, numpy.uint8))
        return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except (MemoryError, ValueError, OverflowError, OSError) as error:
        raise RemoteProtocolError(f"a buffer of {size} bytes was announced, for which there is no memory") from error
