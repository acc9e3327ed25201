"""Serving: every incoming link of one peer waits in one epoll, and the thread that reads a request runs it.

Theory of operation. The worker that is woken for a link owns it until it arms it again: no hand-over, no reader thread, no
thread for an idle link. Before a worker runs a function it makes sure that another one waits, so a slow function, or one that
calls further, never keeps others out. A worker stays a moment with a link whose requests follow each other closely, which saves
the way through the epoll; since another worker always waits, staying starves nobody. Calls over the cap wait in the admission
and are run, in order, by the workers that free a slot.

The door to this room is small on purpose (start, drain, close): the leader algorithm can replace the inside.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hubnet.core import admission, calls, frames, handshake
from hubnet.core.admission import Admission
from hubnet.core.connections import Connection, Filter, untagged
from hubnet.core.frames import Pieces
from hubnet.core.keys import Keyring
from hubnet.errors import HubnetError, RemoteProtocolError
from hubnet.links import running
from hubnet.links.arrivals import Arrivals
from hubnet.links.context import Call, here
from hubnet.links.entrance import Entrance
from hubnet.links.limits import Limits
from hubnet.links.link import Frame, Link, say_cut_off
from hubnet.links.workers import Workers

if TYPE_CHECKING:
    from hubnet.links.encrypted import Secured

_LIMITS = Limits()
_MOST_STAYING = 64
_CLOSELY = 0.002
_STREAK = 3
_MOST_STALLS = 2
_ROOM_EVERY = 0.5
_IDLE = 0.05
_MOST_LET_GO = 8
_UNPACK, _LENGTH_OF, _HEADER_SIZE = frames.HEADER.unpack_from, frames.LENGTH_OF, frames.HEADER_SIZE
_CHUNK = 65536
_SLOT = Connection("", lambda: None)
_log = logging.getLogger("hubnet")

_Following = bytes | Frame | Pieces | None
# What becomes of a request. _WAIT: whoever frees a slot runs it. _CROSSED: it met our goodbye and must not run.
_RUN, _WAIT, _REFUSE, _CROSSED = range(4)


class Host(Protocol):
    """What the serving room asks of the peer that it serves."""

    ring: Keyring
    invoke: Callable[..., Any] | None
    table: dict[bytes, Connection]
    peer: Any  # what ``Peer()`` is inside a call

    def responder(self) -> handshake.Responder: ...
    def find(self, name: bytes) -> Connection | None: ...
    def find_late(self, name: bytes) -> Connection | None: ...
    def missing(self, name: bytes) -> bytes: ...
    def forbids(self, callers: Filter, link: Link) -> str: ...
    def greeted(self, link: Link, hello: bytes) -> None: ...
    def ended(self, link: Link) -> None: ...
    def count(self, what: str) -> None: ...


class _Job(NamedTuple):
    """A request that waits for a slot."""

    link: Link
    connection: Connection
    frame: Frame
    arrived: float


class Serving:
    """The listening side of one peer."""

    def __init__(
        self, listener: socket.socket, host: Host, *, cap: int, patience: float, secured: Secured | None = None,
        limits: Limits = _LIMITS, kept_back: int = 0,
    ) -> None:  # fmt: skip
        """Make a room that does not accept yet.

        Args:
            listener: a listening socket, which is this room's from now on.
            host: whom it serves.
            cap: most calls that run at once, per depth.
            patience: seconds for which a call waits for a slot, where it does not say so itself.
            secured: TLS, where there is any.
            limits: most of everything.
            kept_back: open files for links that are accepted when no others are to be had; see ``has_files``.
        """
        self._listener = listener
        self._listener_fd = listener.fileno()
        self._entrance = Entrance(listener, kept_back)
        self._host = host
        self._patience = patience
        self._workers = Workers(self)
        listener.setblocking(False)
        self._workers.watch(self._listener_fd)
        self._limits = limits
        self._links: dict[int, Link] = {}
        self._links_of: Counter[bytes] = Counter()
        self._arrivals = Arrivals(host.responder, host.count, secured, limits)
        self._admission: Admission[_Job] = Admission(cap)
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._staying = 0
        self._made_room = 0.0
        self._draining = False

    def start(self) -> bool:
        """Begin to accept; whether there is a thread for it."""
        return self._workers.start()

    @property
    def links(self) -> int:
        """Authenticated incoming links."""
        return len(self._links)

    def has_room_for(self, digest: bytes) -> bool:
        """Whether one more link may come, from the peer whose id has this digest."""
        in_all, of_one = self._limits.links
        return len(self._links) < in_all and self._links_of[digest] < of_one

    def spare_files(self) -> bool:
        """Let go of the files that are kept back, for links of our own to others; whether there were any."""
        return self._entrance.let_go()

    def has_files(self) -> bool:
        """Whether a link may come to stay; if not, idle ones make room for the next try. What was kept back is for who asks."""
        if self._entrance.has_files():
            return True
        self._let_idle_go()
        return False

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
            late = self._admission.expire(float("inf"))
        for job in late:
            if self._refuse(job.link, calls.LEAVING, "it is draining: call another peer"):
                self._workers.arm(job.link.fileno)
        with self._lock:
            while self._unsettled() and (left := deadline - time.monotonic()) > 0:
                self._settled.wait(left)
            clean = not self._unsettled()
            for link in self._links.values():
                if not link.busy:
                    link.say_bye()
        return clean

    def links_by_key(self) -> Counter[bytes]:
        """Authenticated incoming links that go on, by the id of the key that they came under."""
        with self._lock:
            return Counter(link.kid for link in self._links.values() if not link.said_bye)

    def let_go(self, good: Container[bytes]) -> None:
        """Say goodbye on links under other keys than these, as soon as no call runs on them."""
        with self._lock:
            for link in self._links.values():
                link.retired = link.kid not in good
                if link.retired and not link.busy:
                    link.say_bye()

    def cut(self, good: Container[bytes]) -> None:
        """End every link under another key than these, whatever runs on it."""
        with self._lock:
            ended = [link for link in self._links.values() if link.kid not in good]
            for link in ended:
                link.cut_off()
        say_cut_off(ended)

    def _unsettled(self) -> bool:
        """Calls that run, and answers that are still being sent."""
        return self._admission.running > 0 or any(link.busy for link in self._links.values())

    def close(self) -> None:
        """End every link and thread; functions still running keep theirs until they return."""
        with self._lock:
            for link in self._links.values():
                link.shutdown()
        self._workers.close()
        self._entrance.close()

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors without a word."""
        self._workers.abandon()
        self._entrance.close()
        self._arrivals.abandon()
        for link in self._links.values():
            link.close()

    # -- the room of the workers -----------------------------------------------------------------------------------

    def on_event(self, fd: int) -> None:
        link = self._links.get(fd)
        try:
            if link is not None:
                self._on_link(link)
            elif fd == self._listener_fd:
                self._accept()
            elif fd in self._arrivals:
                self._on_arrival(fd)
        except Exception:  # a defect costs the link that met it, never the thread
            _log.exception("serving %r failed; it is closed", link or fd)
            if link is not None:
                self._end(link)

    def next_limit(self) -> float | None:
        with self._lock:
            expiry = self._admission.next_expiry()
        limits = [
            limit for limit in (self._arrivals.next_limit(), expiry, self._entrance.rests_until) if limit is not None
        ]
        return None if (first := min(limits)) == float("inf") else first

    def limits_passed(self) -> bool:
        now = time.monotonic()
        watched = bool(self._arrivals) or self._admission.queued > 0 or self._entrance.rests
        self._arrivals.drop_overdue(now)
        if now >= self._entrance.rests_until:
            self._accept_again()
        with self._lock:
            late = self._admission.expire(now)
        for job in late:
            text = "all its slots were taken until the deadline; raise HUBNET_THREAD_LIMIT or add peers"
            if (limit := job.connection.limit) is not None and job.connection.running >= limit:
                text = f"{untagged(job.connection.tag)!r} ran limit={limit} times until the deadline; raise it or add peers"
            if self._refuse(job.link, calls.BUSY, text):
                self._workers.arm(job.link.fileno)
        return watched

    def dismantle(self) -> None:
        self._arrivals.close()
        for link in list(self._links.values()):
            link.close()
        self._links.clear()

    def _accept(self) -> None:
        try:
            for sock, address in self._entrance.accept():
                if self._workers.closed:
                    sock.close()
                    continue
                with suppress(OSError):  # it has ended already
                    self._workers.watch(self._arrivals.welcome(sock, str(address[0]) if address else ""))
        finally:
            if self._entrance.rests:
                self._let_idle_go()
            else:
                self._workers.arm(self._listener_fd)

    def _accept_again(self) -> None:
        self._entrance.is_rested()
        self._workers.arm(self._listener_fd)

    def _let_idle_go(self) -> None:
        """Say goodbye on the coldest links that nobody needs just now: who calls next over one of them dials anew."""
        with self._lock:
            now = time.monotonic()
            idle = [link for link in self._links.values() if link.is_idle and now - link.used > _IDLE]
            for link in sorted(idle, key=lambda one: one.used)[:_MOST_LET_GO]:
                link.say_bye()
                link.shutdown()  # whoever is woken by that closes it

    def _on_arrival(self, fd: int) -> None:
        arrived = self._arrivals.advance(fd)
        if isinstance(arrived, Link):
            with self._lock:
                accepted = self._host.ring.get(arrived.kid) is not None  # else cut() may have been here just before
                if accepted:
                    arrived.on_stall = self._on_stall
                    arrived.used = time.monotonic()
                    self._links[fd] = arrived
                    self._links_of[arrived.foreign.digest] += 1
            if not accepted:
                arrived.close()
                return
        if arrived:
            self._workers.arm(fd)

    def _make_sure_another_waits(self) -> None:
        self._workers.make_sure_another_waits()
        if self._arrivals or self._admission.queued or self._entrance.rests:
            self._workers.nudge()

    def _on_stall(self, _: Link) -> str:
        """The rest of a message does not come; how long that may last others decide."""
        self._make_room()
        return ""

    def _make_room(self) -> None:
        """All workers are held by messages that do not go on: those that have stood still for seconds give theirs up."""
        if not self._workers.exhausted:
            return
        with self._lock:
            now = time.monotonic()
            if now - self._made_room < _ROOM_EVERY:
                return
            self._made_room = now
            ended = [link for link in self._links.values() if link.stalls >= _MOST_STALLS]
            for link in ended:
                link.stalls = 0
                link.shutdown()
        for link in ended:  # without the lock: a handler of the log may call
            _log.warning("ended %r: it stood still in the middle of a message, and all workers were taken", link)

    # -- links -----------------------------------------------------------------------------------------------------

    def _on_link(self, link: Link) -> None:
        """This worker owns the link: serve what has arrived, and what follows closely."""
        data: _Following = link.hear()
        try:
            while data is not None:
                if isinstance(data, chain):
                    if not self._answer(link, data):
                        return
                    break
                frame = data if isinstance(data, Frame) else self._receive(link, data) if data else None
                if not self._serve(link, frame):
                    return
                data = link.leftover or (self._converse(link) if link.streak >= _STREAK else None)
        except HubnetError as error:
            if isinstance(error, RemoteProtocolError):
                self._host.count("frames.rejected")
                _log.warning("closed %r: %s", link, error)
            self._end(link)
            return
        self._workers.arm(link.fileno)

    def _receive(self, link: Link, data: bytes) -> Frame:
        """One frame; while its rest, or its buffers, are still to come, another worker waits."""
        whole = len(data) >= _HEADER_SIZE and len(data) == _LENGTH_OF(data)[0] + _HEADER_SIZE
        if whole and data[6:8] == b"\0\0":
            return link.receive(None, data)
        self._make_sure_another_waits()
        link.receiving = True
        try:
            return link.receive(None, data)
        finally:
            link.receiving = False

    def _converse(self, link: Link) -> _Following:
        """Stay with a busy link for as long as its requests follow each other closely.

        The hot way of a small call, written out by hand: after each switch between processes every line costs several times what
        it costs in a warm loop. It serves plain requests only: small, whole, without deadline, for connections without a limit;
        the slot is held throughout, and given up when another call waits for one. The first that is not plain is returned,
        as bytes or, where it had to be opened to be known, as a frame; None when nothing follows. So is the first answer that is
        not small, as its pieces: it may be long in going out, and the slot must be free by then.
        """
        data = link.hear_soon(_CLOSELY) if self._staying < _MOST_STAYING else None
        if not data or len(data) < frames.HEADER_SIZE:
            return data
        depth = _UNPACK(data)[5]
        with self._lock:
            if self._draining or link.said_bye or depth >= admission.DEEPEST or not self._admission.enter(_SLOT, depth):
                return data
            link.busy = True
            self._staying += 1
        outside = here.call
        here.call = Call(depth, None, self._host.peer, link)
        following: _Following = None
        try:
            following = self._exchange_plain(link, depth, data)
            return following
        finally:
            here.call = outside
            self._leave_slot(link, depth, answering=isinstance(following, chain))

    def _exchange_plain(self, link: Link, depth: int, data: bytes) -> _Following:
        while True:
            if len(data) < _HEADER_SIZE or len(data) != _LENGTH_OF(data)[0] + _HEADER_SIZE or data[6:8] != b"\0\0":
                return data
            frame = link.receive(None, data)
            connection = self._host.table.get(frame.name)
            if (
                connection is None
                or not connection.plain
                or frame.kind != frames.REQUEST
                or frame.depth != depth
                or frame.remaining
                or self._admission.queued
                or self._draining
            ):
                return frame
            following = self._serve_alike(link, connection, frame)
            if not following or not isinstance(following, bytes):
                return following
            data = following

    def _serve_alike(self, link: Link, connection: Connection, frame: Frame) -> _Following:
        """Serve a plain request and those that follow and differ in their arguments only."""
        name, body = frame.name, frame.body
        host, workers, half_open, admitted = self._host, self._workers, self._arrivals.half_open, self._admission
        named, answer_to, recv, send = host.table.get, running.answer_to, link.recv_now, link.send_now
        open_next = link.protection.opener(frames.prefix(frames.REQUEST, name, frame.depth, frame.patience))
        while True:
            if not workers.waiting or half_open:
                self._make_sure_another_waits()
            answer = answer_to(link, connection, body, (), host.invoke)
            if not isinstance(answer, bytes):
                return answer
            try:
                sent = send(answer)
            except OSError as error:
                sent = link.send_failed(error, None)
            if sent != len(answer):
                link.send([memoryview(answer)[sent:]])
            try:
                data = recv(_CHUNK)
            except OSError:
                return link.hear_soon(_CLOSELY)
            if admitted.queued or self._draining:
                return data
            following = open_next(data)
            if following is None:
                return data
            if not isinstance(following, bytes):
                return frame._replace(name=following.name, body=following.body)
            body = following
            if named(name) is not connection:  # registered anew meanwhile
                return frame._replace(body=body)

    def _leave_slot(self, link: Link, depth: int, *, answering: bool) -> None:
        link.used = time.monotonic()
        with self._lock:
            self._staying -= 1
            link.busy = answering
            ready = self._admission.leave(_SLOT, depth)
            if not answering and (self._draining or link.retired):
                self._settled.notify_all()
                link.say_bye()
        self._run_ready(ready)

    def _serve(self, link: Link, frame: Frame | None) -> bool:
        """Serve one frame (None: the end of the stream); whether the link is still this worker's."""
        if frame is None or frame.kind != frames.REQUEST:
            return self._serve_other(link, frame)
        arrived = time.monotonic()
        link.streak = link.streak + 1 if arrived - link.used < _CLOSELY else 0
        link.used = arrived
        connection = self._host.find(frame.name) or self._find_late(frame.name)
        if connection is None:
            link.busy = True
            return self._answer(link, link.protection.pack(frames.REFUSED, self._host.missing(frame.name)))
        if connection.allow is not None and (why := self._host.forbids(connection.allow, link)):
            link.busy = True
            return self._refuse(link, calls.FORBIDDEN, f"{untagged(connection.tag)!r} {why}")
        with self._lock:
            if link.said_bye:
                verdict = _CROSSED
            elif not connection.counted:
                verdict = _RUN
            elif self._draining or frame.depth >= admission.DEEPEST:
                verdict = _REFUSE
            elif self._admission.enter(connection, frame.depth):
                verdict = _RUN
            else:
                self._keep_waiting(_Job(link, connection, frame, arrived))
                verdict = _WAIT
            link.busy = verdict != _CROSSED
        if verdict == _RUN:
            return self._run(link, connection, frame, arrived)
        if verdict == _REFUSE:
            return self._refuse_at_once(link, frame)
        if verdict == _CROSSED:
            self._end(link)
        return False

    def _serve_other(self, link: Link, frame: Frame | None) -> bool:
        """A hello; or the end of the stream, a bye, or what only the serving side sends."""
        if frame is not None and frame.kind == frames.HELLO:
            self._host.greeted(link, bytes(frame.body))
            return True
        self._end(link)
        return False

    def _keep_waiting(self, job: _Job) -> None:
        frame = job.frame
        until = job.arrived + (frame.patience / 1000 if frame.patience else self._patience)
        if frame.remaining:  # refused in time to be told before the deadline
            until = min(until, job.arrived + frame.remaining / 1e6 * 0.9)
        self._admission.wait(job, job.connection, frame.depth, until)

    def _find_late(self, name: bytes) -> Connection | None:
        self._make_sure_another_waits()
        return self._host.find_late(name)

    def _run(self, link: Link, connection: Connection, frame: Frame, arrived: float) -> bool:
        """Run a call that has its slot, answer, and run those that waited for the slot."""
        self._make_sure_another_waits()
        if not connection.counted:
            return self._answer(link, running.run(self._host, link, connection, frame, arrived))
        try:
            answer = running.run(self._host, link, connection, frame, arrived)
        finally:
            with self._lock:
                ready = self._admission.leave(connection, frame.depth)
                if self._draining:
                    self._settled.notify_all()
            self._run_ready(ready)  # before the answer, which may be long in going out
        return self._answer(link, answer)

    def _run_ready(self, ready: Sequence[_Job]) -> None:
        for job in ready:
            try:
                threading.Thread(target=self._run_waiting, args=job, name="hubnet-serve", daemon=True).start()
            except RuntimeError:  # no further thread: this one does it
                self._run_waiting(*job)

    def _run_waiting(self, link: Link, connection: Connection, frame: Frame, arrived: float) -> None:
        if link.is_cut:  # its secret was removed while it waited: nothing of it is rebuilt any more
            with self._lock:
                ready = self._admission.leave(connection, frame.depth)
            self._run_ready(ready)
            self._end(link)
            return
        try:
            if self._run(link, connection, frame, arrived):
                self._workers.arm(link.fileno)
        except Exception:
            _log.exception("serving %r failed; it is closed", link)
            self._end(link)

    def _refuse_at_once(self, link: Link, frame: Frame) -> bool:
        if frame.depth >= admission.DEEPEST:
            return self._refuse(
                link, calls.DEPTH, f"calls nested deeper than {admission.DEEPEST}: an endless chain of calls?"
            )
        return self._refuse(link, calls.LEAVING, "it is draining: call another peer")

    def _refuse(self, link: Link, code: str, text: str) -> bool:
        self._host.count("calls.refused")
        return self._answer(link, link.protection.pack(frames.REFUSED, calls.refusal(code, text)))

    def _answer(self, link: Link, pieces: Pieces) -> bool:
        """Send an answer; whether the link goes on."""
        try:
            link.send(pieces)
        except HubnetError as error:
            _log.debug("could not answer on %r: %s", link, error)
            self._end(link)
            return False
        link.busy = False  # before the look at `draining`: either drain says goodbye, or we do
        if self._draining or link.retired:
            with self._lock:
                if not link.said_bye:
                    link.say_bye()
                self._settled.notify_all()
        return True

    def _end(self, link: Link) -> None:
        with self._lock:
            known = self._links.pop(link.fileno, None) is not None
            if known:
                self._links_of[link.foreign.digest] -= 1
                if not self._links_of[link.foreign.digest]:
                    del self._links_of[link.foreign.digest]
            self._settled.notify_all()
        link.ended = True  # before the look at `home` in ended(): a registration under way looks the other way round
        if known:
            link.close()  # which takes it out of the epoll as well
            if self._entrance.rests:
                self._accept_again()
            self._host.ended(link)
