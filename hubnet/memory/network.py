"""A network in memory: who listens where, the streams between hosts, and the faults that a test sets.

A node is one process, by name. It listens on a host and a port; whoever dials gets a stream through a medium of its own, and a
fault between two nodes is set on all media between them, those to come as well. One thread, alive only while something
is slow or cut, lets descriptors show what time alone has changed.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque

from hubnet.memory.stream import End, Medium, pair

_FIRST_PORT = 3010
_BACKLOG = 1024
_TICK = 0.02


class Listener:
    """A listening socket, in memory."""

    def __init__(self, network: Network, node: str, host: str, port: int) -> None:
        self.node, self.host, self.port = node, host, port
        self._network = network
        self._lock = threading.Lock()
        self._arrived: deque[End] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        self._closed = False

    def setblocking(self, wait: bool) -> None:
        """It never waits."""

    def fileno(self) -> int:
        """Readable while somebody waits to be accepted; -1 once closed."""
        return -1 if self._closed else self._descriptor

    def accept(self) -> tuple[End, tuple[str, int]]:
        """The end of a stream that somebody has opened, and from where."""
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "closed")
            try:
                os.eventfd_read(self._descriptor)
            except BlockingIOError:
                raise BlockingIOError(errno.EAGAIN, "nobody waits") from None
            if not self._arrived:
                raise BlockingIOError(errno.EAGAIN, "woken for nobody")
            end = self._arrived.popleft()
            return end, (end.far, 0)

    def arrive(self, end: End) -> None:
        """Somebody has opened a stream."""
        with self._lock:
            if self._closed or len(self._arrived) >= _BACKLOG:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
            self._arrived.append(end)
            os.eventfd_write(self._descriptor, 1)

    def wake(self) -> None:
        """Let whoever waits for arrivals look up."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._descriptor, 1)

    def close(self) -> None:
        """Let nobody in any more."""
        self._network.leave(self)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._descriptor)
        for end in self._arrived:
            end.close()


class Network:
    """Listeners, media and faults."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._ends: list[End] = []
        self._delays: dict[frozenset[str], float] = {}
        self._cut: set[frozenset[str]] = set()
        self._stopped: set[str] = set()
        self._dead: set[str] = set()
        self._mended = threading.Event()  # never set: what is waited for here is a fault's end
        self._clock: threading.Thread | None = None
        self._wake = threading.Event()

    def listen(self, node: str, host: str, port: int = 0) -> Listener:
        """Let a node listen on a host; port 0 is the next free one.

        Raises:
            OSError: EADDRINUSE.
        """
        with self._lock:
            if not port:
                port = next(one for one in range(_FIRST_PORT, 65536) if (host, one) not in self._listeners)
            if (host, port) in self._listeners:
                raise OSError(errno.EADDRINUSE, "in use")
            made = self._listeners[host, port] = Listener(self, node, host, port)
            return made

    def leave(self, listener: Listener) -> None:
        """A listener closes."""
        with self._lock:
            if self._listeners.get((listener.host, listener.port)) is listener:
                del self._listeners[listener.host, listener.port]

    def connect(self, origin: str, host: str, port: int, deadline: float) -> End:
        """A stream from a node to who listens there.

        Raises:
            OSError: refused, or no answer by the deadline (monotonic).
        """
        while True:
            with self._lock:
                listener = self._listeners.get((host, port))
            if listener is None or origin in self._dead:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens there")
            if self.reaches(origin, listener.node):
                break
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
            self._mended.wait(min(left, _TICK))
        near, far = self.stream(origin, listener.node)
        try:
            listener.arrive(far)
        except OSError:
            near.close()
            far.close()
            raise
        return near

    def reaches(self, origin: str, node: str) -> bool:
        """Whether the cable between two nodes is plugged in; a stopped origin waits before it can ask."""
        while origin in self._stopped:
            self._mended.wait(_TICK)
        return origin not in self._dead and frozenset((origin, node)) not in self._cut

    def stream(self, origin: str, node: str) -> tuple[End, End]:
        """Both ends of a new stream between two nodes."""
        between = frozenset((origin, node))
        with self._lock:
            medium = Medium(self._delays.get(between, 0.0))
            near, far = pair(medium, origin, node)
            near.stopped, far.stopped = origin in self._stopped, node in self._stopped
            self._ends = [end for end in self._ends if end.fileno() >= 0]
            self._ends += [near, far]
            self._tick_if_needed()
        return near, far

    # -- faults ----------------------------------------------------------------------------------------------------

    def delay(self, one: str, other: str, seconds: float) -> None:
        """Let everything between two nodes take so long."""
        with self._lock:
            self._delays[frozenset((one, other))] = seconds
            for end in self._between(one, other):
                end.medium.delay = seconds
            self._tick_if_needed()

    def cut(self, one: str, other: str) -> None:
        """Pull the cable between two nodes."""
        with self._lock:
            self._cut.add(frozenset((one, other)))
            for end in self._between(one, other):
                end.medium.cut_since = end.medium.cut_since or time.monotonic()
                end.look_again()
            self._tick_if_needed()

    def mend(self, one: str, other: str) -> None:
        """Plug it in again."""
        with self._lock:
            self._cut.discard(frozenset((one, other)))
            for end in self._between(one, other):
                end.medium.cut_since = None
                end.look_again()

    def break_links(self, one: str, other: str) -> None:
        """Reset every stream between two nodes."""
        with self._lock:
            ends = self._between(one, other)
        for end in ends:
            end.break_off()

    def stop(self, node: str) -> None:
        """Let a node accept and buffer, as a kernel does for a stopped process, but read and send nothing."""
        self._set_stopped(node, stopped=True)

    def resume(self, node: str) -> None:
        """Go on."""
        self._set_stopped(node, stopped=False)

    def kill(self, node: str) -> None:
        """Let a node die: its listener closes, its streams are reset, and it reaches nobody any more."""
        with self._lock:
            self._dead.add(node)
            listeners = [one for one in self._listeners.values() if one.node == node]
            ends = [end for end in self._ends if end.near == node]
            self._stopped.discard(node)
        for listener in listeners:
            listener.close()
        for end in ends:
            end.break_off()

    def close(self) -> None:
        """End the clock; streams and listeners belong to their peers."""
        with self._lock:
            self._delays.clear()
            self._cut.clear()
            self._wake.set()
            clock = self._clock
        if clock is not None:
            clock.join(2)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _between(self, one: str, other: str) -> list[End]:
        return [end for end in self._ends if {end.near, end.far} == {one, other}]

    def _set_stopped(self, node: str, *, stopped: bool) -> None:
        with self._lock:
            (self._stopped.add if stopped else self._stopped.discard)(node)
            for end in self._ends:
                if end.near == node:
                    end.stopped = stopped
                    end.look_again()

    def _tick_if_needed(self) -> None:
        if self._clock is None and (self._cut or any(self._delays.values())):
            self._wake.clear()
            self._clock = threading.Thread(target=self._tick, name="hubnet-network", daemon=True)
            self._clock.start()

    def _tick(self) -> None:
        while True:
            with self._lock:
                if not self._cut and not any(self._delays.values()):
                    self._clock = None
                    return
                ends = [end for end in self._ends if end.fileno() >= 0]
            for end in ends:
                end.look_again()
            now = time.monotonic()
            changes = [at - now for end in ends if (at := end.next_change()) is not None and at > now]
            self._wake.wait(min([*changes, _TICK]))
