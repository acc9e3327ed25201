"""Serving: every incoming link of one peer waits in one epoll, and the thread that reads a request runs it.

Theory of operation. Descriptors are armed for one event at a time (EPOLLONESHOT), so whichever worker the kernel wakes owns
that link until it arms it again: no hand-over, no reader thread, no thread for an idle link. Before a worker runs a function
it makes sure that another one waits, so a slow function, or one that calls further, never keeps others out. Handshakes are
driven by the same events, without a thread of their own, and end after five seconds. Calls over the cap wait in the
admission and are run, in order, by the workers that free a slot.

The door to this room is small on purpose (start, drain, close): the leader algorithm can replace the inside.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from typing import NamedTuple, Protocol

from hubnet.core import admission, calls, frames, handshake
from hubnet.core.admission import Admission
from hubnet.core.connections import Connection
from hubnet.errors import AuthenticationError, HubnetError, RemoteProtocolError
from hubnet.links import running
from hubnet.links.link import Frame, Link

HANDSHAKE_LIMIT = 5.0
MOST_HALF_OPEN = 256
_SPARE_AFTER = 10.0
_MOST_THREADS = 512
# What becomes of a request. _WAIT: whoever frees a slot runs it. _CROSSED: it met our goodbye and must not run.
_RUN, _WAIT, _REFUSE, _CROSSED = range(4)
_ARMED = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_log = logging.getLogger("hubnet")


class Host(Protocol):
    """What the serving room asks of the peer that it serves."""

    def responder(self) -> handshake.Responder: ...
    def find(self, name: bytes) -> Connection | None: ...
    def find_late(self, name: bytes) -> Connection | None: ...
    def missing(self, name: bytes) -> bytes: ...
    def greeted(self, link: Link, hello: bytes) -> None: ...
    def ended(self, link: Link) -> None: ...
    def count(self, what: str) -> None: ...


class _HalfOpen(NamedTuple):
    """A link whose other end has not proved the secret."""

    sock: socket.socket
    side: handshake.Responder
    until: float
    address: str


class _Job(NamedTuple):
    """A request with its link, from reading to answer."""

    link: Link
    connection: Connection
    frame: Frame
    arrived: float


class Serving:
    """The listening side of one peer."""

    def __init__(self, listener: socket.socket, host: Host, *, cap: int, patience: float) -> None:
        self._listener = listener
        self._host = host
        self._patience = patience
        self._epoll = select.epoll()
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._links: dict[int, Link] = {}
        self._half_open: dict[int, _HalfOpen] = {}
        self._admission: Admission[_Job] = Admission(cap)
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._waiting = 0
        self._threads = 0
        self._draining = False
        self._closed = False

    def start(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        self._epoll.register(self._listener.fileno(), _ARMED)
        self._epoll.register(self._nudge, _ARMED)
        self._spawn()

    @property
    def links(self) -> int:
        """Authenticated incoming links."""
        return len(self._links)

    @property
    def running(self) -> int:
        """Calls running now."""
        return self._admission.running

    @property
    def queued(self) -> int:
        """Calls waiting for a slot."""
        return self._admission.queued

    def drain(self, deadline: float) -> bool:
        """Refuse new calls, let running ones end, say goodbye on every link; whether all ended in time."""
        with self._lock:
            self._draining = True
            for job in self._admission.expire(float("inf")):
                self._background(self._refuse, job, calls.LEAVING, "the peer is draining")
            while (self._admission.running or any(link.busy for link in self._links.values())) and (
                left := deadline - time.monotonic()
            ) > 0:
                self._settled.wait(left)
            clean = not self._admission.running
            for link in self._links.values():
                if not link.busy:
                    link.say_bye()
        return clean

    def close(self) -> None:
        """End every link and thread; functions still running keep theirs until they return."""
        with self._lock:
            self._closed = True
            for link in self._links.values():
                link.shutdown()
        os.eventfd_write(self._nudge, 1)
        self._listener.close()

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors without a word."""
        self._epoll.close()
        os.close(self._nudge)
        self._listener.close()
        for half in self._half_open.values():
            half.sock.close()
        for link in self._links.values():
            link.close()

    # -- workers ---------------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name="hubnet-serve", daemon=True).start()

    def _work(self) -> None:
        try:
            while not self._closed:
                with self._lock:
                    self._waiting += 1
                    patience = self._until_next()
                events = self._epoll.poll(patience, 1)
                with self._lock:
                    self._waiting -= 1
                    spare = not events and self._waiting > 0
                if events:
                    self._on_event(events[0][0])
                elif self._overdue() or not spare:
                    continue
                else:
                    return
        finally:
            with self._lock:
                self._threads -= 1
                last = self._closed and self._threads == 0
            if last:
                self._dismantle()

    def _until_next(self) -> float:
        """How long to wait for an event: until the next limit, or for ever. Spare workers retire."""
        limits = [half.until for half in self._half_open.values()]
        if (expiry := self._admission.next_expiry()) is not None:
            limits.append(expiry)
        if limits:
            return max(0.0, min(limits) - time.monotonic()) + 0.001
        return _SPARE_AFTER if self._waiting > 1 else -1

    def _overdue(self) -> bool:
        """Deal with limits that have passed; whether there were any to look after."""
        now = time.monotonic()
        with self._lock:
            watched = bool(self._half_open) or self._admission.queued > 0
            late = [fd for fd, half in self._half_open.items() if half.until <= now]
            dropped = [self._half_open.pop(fd) for fd in late]
            jobs = self._admission.expire(now)
        for half in dropped:
            self._host.count("handshakes_timed_out")
            self._unregister(half.sock.fileno())
            half.sock.close()
        for job in jobs:
            self._refuse(
                job,
                calls.BUSY,
                "all its slots were taken until the deadline; raise HUBNET_THREAD_LIMIT or add peers",
            )
        return watched

    def _on_event(self, fd: int) -> None:
        if fd == self._listener.fileno():
            self._accept()
        elif fd == self._nudge:
            if not self._closed:
                os.eventfd_read(self._nudge)
            self._arm(self._nudge)
        elif (link := self._links.get(fd)) is not None:
            self._on_link(link)
        elif (half := self._half_open.get(fd)) is not None:
            self._on_handshake(fd, half)

    def _arm(self, fd: int) -> None:
        try:
            self._epoll.modify(fd, _ARMED)
        except (OSError, ValueError):
            pass  # closed meanwhile

    def _unregister(self, fd: int) -> None:
        try:
            self._epoll.unregister(fd)
        except (OSError, ValueError):
            pass  # closed meanwhile

    def _background(self, function: object, *args: object) -> None:
        threading.Thread(target=function, args=args, name="hubnet-serve", daemon=True).start()  # type: ignore[arg-type]

    # -- before the proof ------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            for _ in range(16):
                sock, address = self._listener.accept()
                self._welcome(sock, str(address[0]) if address else "")
        except OSError:
            pass  # nobody else waits, or the listener was closed
        self._arm(self._listener.fileno())

    def _welcome(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        fd = sock.fileno()
        with self._lock:
            if self._draining or self._closed or len(self._half_open) >= MOST_HALF_OPEN:
                sock.close()
                return
            until = time.monotonic() + HANDSHAKE_LIMIT
            self._half_open[fd] = _HalfOpen(sock, self._host.responder(), until, address)
        self._epoll.register(fd, _ARMED)

    def _on_handshake(self, fd: int, half: _HalfOpen) -> None:
        try:
            data = half.sock.recv(handshake.LIMIT)
            if not data:
                raise RemoteProtocolError("ended in the middle of the handshake")
            if answer := half.side.receive(data):
                half.sock.send(answer)  # at most 256 bytes into an empty buffer
        except BlockingIOError:
            self._arm(fd)
            return
        except (HubnetError, OSError) as error:
            self._reject(fd, half, error)
            return
        session = half.side.session
        if session is None:
            self._arm(fd)
            return
        with self._lock:
            self._half_open.pop(fd, None)
            if session.verdict == handshake.ACCEPTED:
                link = Link(half.sock, frames.protection(session), session.foreign, session.suite)
                self._links[fd] = link
        if session.verdict == handshake.ACCEPTED:
            self._arm(fd)
        else:
            self._unregister(fd)
            half.sock.close()

    def _reject(self, fd: int, half: _HalfOpen, error: Exception) -> None:
        with self._lock:
            self._half_open.pop(fd, None)
        self._unregister(fd)
        half.sock.close()
        if isinstance(error, AuthenticationError):
            self._host.count("handshakes_refused")
            _log.warning("refused a link from %s: %s", half.address, error)
        elif isinstance(error, RemoteProtocolError):
            self._host.count("handshakes_broken")
            _log.debug("no handshake from %s: %s", half.address, error)

    # -- links -----------------------------------------------------------------------------------------------------

    def _on_link(self, link: Link) -> None:
        data = link.hear()
        if data is None:
            self._arm(link.fileno)
            return
        try:
            while data:
                frame = link.receive(None, data)
                if frame.kind == frames.REQUEST:
                    self._on_request(link, frame)
                    return
                if frame.kind != frames.HELLO:
                    break  # a bye, or what only the serving side sends
                self._host.greeted(link, bytes(frame.body))
                data = link.leftover
                if not data:
                    self._arm(link.fileno)
                    return
        except RemoteProtocolError as error:
            self._host.count("frames_refused")
            _log.warning("closed %r: %s", link, error)
        except HubnetError as error:
            _log.debug("closed %r: %s", link, error)
        self._end(link)

    def _end(self, link: Link) -> None:
        with self._lock:
            known = self._links.pop(link.fileno, None) is not None
            self._settled.notify_all()
        if known:
            self._unregister(link.fileno)
            link.close()
            self._host.ended(link)

    def _on_request(self, link: Link, frame: Frame) -> None:
        arrived = time.monotonic()
        connection = self._host.find(frame.name)
        if connection is None:
            self._make_sure_another_waits()
            connection = self._host.find_late(frame.name)
        if connection is None:
            self._answer(link, link.protection.pack(frames.REFUSED, self._host.missing(frame.name)))
            return
        job = _Job(link, connection, frame, arrived)
        with self._lock:
            if link.said_bye:
                verdict = _CROSSED
            elif not connection.counted:
                link.busy, verdict = True, _RUN
            elif self._draining or frame.depth >= admission.DEEPEST:
                link.busy, verdict = True, _REFUSE
            elif self._admission.enter(connection, frame.depth):
                link.busy, verdict = True, _RUN
            else:
                link.busy, verdict = True, _WAIT
                self._admission.wait(job, connection, frame.depth, self._patience_of(frame, arrived))
        if verdict == _RUN:
            self._run(job)
        elif verdict == _REFUSE:
            self._refuse_at_once(job)
        elif verdict == _CROSSED:
            self._end(link)

    def _patience_of(self, frame: Frame, arrived: float) -> float:
        """Until when a call may wait for a slot: refused in time to be told before its deadline."""
        limits = [frame.patience / 1000 if frame.patience else self._patience]
        if frame.remaining:
            limits.append(frame.remaining / 1e6 * 0.9)
        return arrived + min(limits)

    def _refuse_at_once(self, job: _Job) -> None:
        if job.frame.depth >= admission.DEEPEST:
            self._refuse(job, calls.DEPTH, f"calls nested deeper than {admission.DEEPEST}: an endless chain of calls?")
        else:
            self._refuse(job, calls.LEAVING, "it is draining: call another peer")

    def _refuse(self, job: _Job, code: str, text: str) -> None:
        self._host.count("calls_refused")
        self._answer(job.link, job.link.protection.pack(frames.REFUSED, calls.refusal(code, text)))

    def _make_sure_another_waits(self) -> None:
        if self._waiting == 0 and self._threads < _MOST_THREADS:
            self._spawn()
        if self._half_open or self._admission.queued:
            os.eventfd_write(self._nudge, 1)  # whoever waits must learn of limits that were set since

    def _run(self, job: _Job | None) -> None:
        while job is not None:
            self._make_sure_another_waits()
            link, connection = job.link, job.connection
            answer = running.run(self._host, link, connection, job.frame, job.arrived)
            following: _Job | None = None
            if connection.counted:
                with self._lock:
                    ready = self._admission.leave(connection, job.frame.depth)
                    if self._draining:
                        self._settled.notify_all()
                for number, other in enumerate(ready):
                    if number:
                        self._background(self._run, other)
                    else:
                        following = other
            self._answer(link, answer)
            job = following

    def _answer(self, link: Link, pieces: list[frames.Buffer]) -> None:
        try:
            link.busy = False
            link.send(pieces)
        except HubnetError as error:
            _log.debug("could not answer on %r: %s", link, error)
            self._end(link)
            return
        if self._draining:
            with self._lock:
                link.said_bye or link.say_bye()
                self._settled.notify_all()
        self._arm(link.fileno)

    def _dismantle(self) -> None:
        """The last worker puts out the light."""
        with self._lock:
            links, halves = list(self._links.values()), list(self._half_open.values())
            self._links.clear()
            self._half_open.clear()
        for link in links:
            link.close()
        for half in halves:
            half.sock.close()
        self._epoll.close()
        os.close(self._nudge)
