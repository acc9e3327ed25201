"""Streams: what a TCP connection is to a socket, in memory.

An end of a stream has the part of a socket's interface that hubnet uses, its waiting and its failing included, so everything
above runs on it unchanged. Its descriptor is an eventfd, readable while something waits to be read; nothing else is a descriptor.
A stream may be slow, or cut as by a pulled cable: what is sent waits, and after three silent seconds the answers of a kernel,
imitated here, say that the other machine has gone. An end may be stopped as its process by SIGSTOP: what arrives waits.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

_ROOM = 1 << 20
_GONE_AFTER = 3.0
_TIMEVAL = struct.Struct("@ll")
_Data = bytes | bytearray | memoryview


class Medium:
    """What a stream runs through, shared by its ends; all of it under one lock.

    Attributes:
        changed: the lock, and what to notify.
        delay: seconds that everything takes.
        cut_since: the instant (monotonic) at which the cable was pulled, or None.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.changed = threading.Condition()
        self.delay = delay
        self.cut_since: float | None = None


class End:
    """One end of a stream, as a socket.

    Attributes:
        near: the host that this end is on.
        far: the other one.
        room: bytes that may wait here; beyond that the sender waits, as for a closed window.
        stopped: its process is: what arrives waits.
    """

    family = socket.AF_UNIX  # so that nobody asks for TCP's options

    def __init__(self, medium: Medium, near: str, far: str) -> None:
        self.medium = medium
        self.near, self.far = near, far
        self.stopped = False
        self.room = _ROOM
        self._changed = medium.changed
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._readable = False
        self._other: End = self
        self._inbox: deque[tuple[float, bytes]] = deque()  # when it is there, what
        self._waiting = 0  # bytes of it
        self._no_more = self._reset = False  # what the other side did
        self._deaf = self._mute = self._closed = False  # what this side did
        self._timeout: float | None = None
        self._tick_receive: float | None = None
        self._tick_send: float | None = None

    def __repr__(self) -> str:
        return f"<stream from {self.near} to {self.far}>"

    # -- as a socket has it ----------------------------------------------------------------------------------------

    def send(self, data: _Data, flags: int = 0) -> int:
        """Hand over what there is room for."""
        with self._changed:
            other = self._other
            self._wait(lambda: self._is_broken() or other._waiting < other.room, flags, self._tick_send)
            if self._is_broken():
                raise BrokenPipeError(errno.EPIPE, "the other end has closed")
            sent = bytes(memoryview(data).cast("B")[: other.room - other._waiting])
            if not sent:
                return 0  # nothing was handed over: waiting there, it would be taken for the end
            other._inbox.append((time.monotonic() + self.medium.delay, sent))
            other._waiting += len(sent)
            other.look_again()
            return len(sent)

    def sendall(self, data: _Data) -> None:
        """Hand over all of it."""
        view = memoryview(data).cast("B")
        while view.nbytes:
            view = view[self.send(view) :]

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What has arrived, b"" at the end."""
        with self._changed:
            self._wait(self._has_news, flags, self._tick_receive)
            if self._arrived():
                data = self._take(size)
            elif self._is_silent() and not self._deaf:
                raise OSError(errno.ETIMEDOUT, "the machine at the other end does not answer")
            elif self._reset and not self._deaf:
                raise ConnectionResetError(errno.ECONNRESET, "reset by the other end")
            else:
                data = b""
            self.look_again()
            return data

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """As recv, into memory of the caller's."""
        view = memoryview(buffer).cast("B")
        data = self.recv(view.nbytes)
        view[: len(data)] = data
        return len(data)

    def settimeout(self, seconds: float | None) -> None:
        """None: wait for ever; 0: not at all."""
        self._timeout = seconds

    def setblocking(self, wait: bool) -> None:
        """Whether to wait."""
        self._timeout = None if wait else 0.0

    def setsockopt(self, level: int, option: int, value: bytes | int) -> None:
        """SO_RCVTIMEO and SO_SNDTIMEO; others mean nothing here."""
        if (
            level == socket.SOL_SOCKET
            and isinstance(value, bytes)
            and option in {socket.SO_RCVTIMEO, socket.SO_SNDTIMEO}
        ):
            seconds, micros = _TIMEVAL.unpack(value)
            if option == socket.SO_RCVTIMEO:
                self._tick_receive = seconds + micros / 1e6
            elif option == socket.SO_SNDTIMEO:
                self._tick_send = seconds + micros / 1e6

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes:
        """TCP_INFO, as the kernel would tell of a cable that was pulled."""
        if (level, option) != (socket.IPPROTO_TCP, socket.TCP_INFO):
            raise OSError(errno.ENOPROTOOPT, "no such option")
        since = self.medium.cut_since
        lost = since is not None and self._other._waiting > 0
        info = bytearray(max(size, 104))
        info[2] = 9 if lost else 0
        struct.pack_into("=I", info, 24, int(lost))
        struct.pack_into("=I", info, 56, 0 if since is None else int((time.monotonic() - since) * 1000))
        return bytes(info)

    def fileno(self) -> int:
        """Readable while there is something to read; -1 once closed."""
        return -1 if self._closed else self._descriptor

    def shutdown(self, how: int) -> None:
        """End one direction or both."""
        with self._changed:
            if self._closed:
                raise OSError(errno.EBADF, "closed")
            if how in {socket.SHUT_WR, socket.SHUT_RDWR}:
                self._mute = self._other._no_more = True
                self._other.look_again()
            if how in {socket.SHUT_RD, socket.SHUT_RDWR}:
                self._deaf = True
            self.look_again()

    def close(self) -> None:
        """Close this end; the other one sees the end of the stream."""
        with self._changed:
            if self._closed:
                return
            self._closed = self._deaf = self._mute = True
            os.close(self._descriptor)
            self._other._no_more = True
            self._other.look_again()

    def detach(self) -> int:
        """A descriptor for the caller to close, in place of this end."""
        self.close()
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    # -- for the network that it belongs to ------------------------------------------------------------------------

    def break_off(self) -> None:
        """The process at this end has died: the other one is reset, and whoever still waits here is let go."""
        with self._changed:
            self._other._reset = self._other._no_more = True
            self._deaf = self._mute = True
            self.stopped = False
            self._other.look_again()
            self.look_again()

    def look_again(self) -> None:
        """Something has changed: make the descriptor say whether there is something to read, and wake who waits."""
        with self._changed:
            readable = not self.stopped and self._has_news()
            if not self._closed and readable != self._readable:
                self._readable = readable
                if readable:
                    os.eventfd_write(self._descriptor, 1)
                else:
                    os.eventfd_read(self._descriptor)
            self._changed.notify_all()

    def next_change(self) -> float | None:
        """The instant at which time alone will change something here, or None."""
        if self.medium.cut_since is not None:
            return self.medium.cut_since + _GONE_AFTER
        return self._inbox[0][0] if self._inbox else None

    # -- inside, under the lock ------------------------------------------------------------------------------------

    def _wait(self, ready: Callable[[], object], flags: int, tick: float | None) -> None:
        at_once = self._timeout == 0 or flags & socket.MSG_DONTWAIT
        limit = self._timeout if self._timeout is not None else tick
        deadline = None if limit is None else time.monotonic() + limit
        while not self._closed:
            now = time.monotonic()
            if not self.stopped:
                if ready():
                    break
                if at_once or (deadline is not None and now >= deadline and self._timeout is None):
                    raise BlockingIOError(errno.EAGAIN, "nothing now")
                if deadline is not None and now >= deadline:
                    raise TimeoutError("timed out")
            instants = [at for at in (None if self.stopped else deadline, self.next_change()) if at is not None]
            self._changed.wait(max(0.001, min(instants) - now) if instants else None)
        if self._closed:
            raise OSError(errno.EBADF, "closed")

    def _is_silent(self) -> bool:
        """What keepalive would find: nothing on the way, and nobody there."""
        since = self.medium.cut_since
        return since is not None and not self._other._waiting and time.monotonic() - since >= _GONE_AFTER

    def _has_news(self) -> bool:
        if self._deaf or self._arrived() or self._is_silent():
            return True
        return self.medium.cut_since is None and not self._inbox and (self._no_more or self._reset)

    def _is_broken(self) -> bool:
        return self._mute or (self.medium.cut_since is None and (self._reset or self._other._closed))

    def _arrived(self) -> bool:
        return bool(self._inbox) and self.medium.cut_since is None and self._inbox[0][0] <= time.monotonic()

    def _take(self, size: int) -> bytes:
        when, data = self._inbox.popleft()
        if len(data) > size:
            self._inbox.appendleft((when, data[size:]))
            data = data[:size]
        self._waiting -= len(data)
        return data


def pair(medium: Medium, near: str, far: str) -> tuple[End, End]:
    """Two ends of one stream: the one at `near`, the one at `far`."""
    one, other = End(medium, near, far), End(medium, far, near)
    one._other, other._other = other, one
    return one, other
