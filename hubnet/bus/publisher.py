"""Publishing: an outbox and the one thread that empties it.

``publish`` pickles nothing, waits for nothing and never raises for the network. The thread numbers events, puts consecutive
ones of one channel into one signed envelope, and writes what waits in one go. While Redis is slow or away the outbox holds
what fits; beyond it the oldest go, counted, and keep their numbers, so that subscribers see the hole; marks after the last
event show them a hole at the end. A signal handler may publish whatever it interrupts, so what it may meet half done is
reentrant.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from hubnet import machine
from hubnet.broker import Broker
from hubnet.core import envelopes, pauses
from hubnet.core.envelopes import Packer
from hubnet.core.marks import Marks
from hubnet.counters import Counters
from hubnet.errors import BrokerUnavailable, HubnetError
from hubnet.links.complaints import Complaints
from hubnet.links.threads import begin, say_what_is_wanted

_MOST_OPEN = 4096
_BATCH = 256 << 10
_VANISHED_MS = 5000
_STILL = 2.0
_log = logging.getLogger("hubnet")


Group = tuple[bytes, int, list[bytes]]
"""Consecutive events of one channel: the channel, the first number, the bodies."""


class Publisher:
    """The sending side of the bus; its thread starts with the first event."""

    def __init__(
        self, broker: Broker, packer: Packer, counters: Counters, *, outbox: tuple[int, int], news: bytes = b""
    ) -> None:
        self._broker = broker
        self._news = news  # the channel of what a hub tells of itself, which is no event of its user's
        self._packer = packer
        self._counters = counters
        self._most_bytes, self._most_events = outbox
        self._outbox: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0
        self._lock = threading.RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._asleep = False
        self._busy = False
        self._started = False
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._trouble = ""
        self._skipped: Counter[bytes] = Counter()
        self._numbers: dict[bytes, int] = {}
        self._marks = Marks()
        self._complaints = Complaints()
        self._sock: socket.socket | None = None
        self._owner: Any = None
        self._reader: Any = None
        self._in_flight: deque[Group] = deque()
        self._answered_at = 0.0

    def publish(self, channel: bytes, body: bytes, *, locked: bool = False) -> None:
        """Hand over one event; returns at once. Whoever holds a lock calls ``say_what_is_wanted`` without it."""
        size = len(body)  # a call inside `+=` would be a place for a signal
        with self._lock:
            self._outbox.append((channel, body))
            self._bytes += size
            while self._outbox and (self._bytes > self._most_bytes or len(self._outbox) > self._most_events):
                self._drop_oldest()
            wake, self._asleep = self._asleep, False
            first, self._started = not (self._started or self._stopping), True
            if first:  # a signal's handler that publishes meanwhile begins no second one
                self._thread = begin(self._run, "hubnet-publish", locked=True)
                self._started = self._thread is not None
        if wake:
            self._wake.put(None)
        if first and not (self._started or locked):
            say_what_is_wanted()

    def _drop_oldest(self) -> None:
        channel, body = self._outbox.popleft()
        size = len(body)
        self._bytes -= size
        self._skipped[channel] += 1
        self._count_dropped()

    def _count_dropped(self) -> None:
        self._counters.add("events.dropped_outbox")

    @property
    def waiting(self) -> int:
        """Events in the outbox."""
        return len(self._outbox)

    def flush(self, timeout: float) -> bool:
        """Wait until Redis has taken all there is; whether it did in time."""
        deadline = time.monotonic() + timeout
        while self._is_pending():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)  # only on the way out and in tests: not worth a condition on the hot path
        return True

    def _is_pending(self) -> bool:
        return bool(self._outbox or self._busy)

    def abandon(self) -> None:
        """In a forked child: close our copy of the socket without a word."""
        if self._sock is not None:
            os.close(self._sock.detach())

    def close(self, timeout: float = 1.0) -> None:
        """Send what is left, for so long, and stop."""
        if self._thread and self._thread.is_alive():
            self.flush(timeout)
        with self._lock:
            self._stopping = True
        self._wake.put(None)
        if self._thread:
            self._thread.join(timeout)
        self._count_left_over()
        if self._owner is not None:
            self._owner.disconnect()  # which ends a thread that still waits in it

    def _count_left_over(self) -> None:
        """What Redis has not taken by now, or not said so, goes with this process."""
        with self._lock:
            left = sum(channel != self._news for channel, _ in self._outbox)
            left += sum(len(bodies) for channel, _, bodies in list(self._in_flight) if channel != self._news)
            self._outbox.clear()
            self._bytes = 0
        if left:
            self._counters.add("events.unsent", left)
            _log.warning("%d events were not taken by Redis before this peer was stopped", left)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        import hiredis

        while not self._stopping:
            try:
                if self._sock is None:
                    self._connect()
                self._work()
            except (HubnetError, OSError, hiredis.HiredisError) as error:
                if str(error) != self._trouble and not self._ended():
                    _log.warning("publishing interrupted, %d events wait: %s", len(self._outbox), error)
                self._trouble = str(error)
                self._counters.add("events.interruptions")
                self._disconnect()
                self._rest(machine.jitter(*pauses.BEFORE_REDIS))
            except Exception:
                _log.exception("publishing failed")
                self._disconnect()
                self._rest(machine.jitter(*pauses.BEFORE_REDIS))

    def _ended(self) -> bool:
        return self._stopping

    def _connect(self) -> None:
        import hiredis

        self._sock, self._owner = self._broker.open()
        machine.give_up_unread(
            self._sock, _VANISHED_MS
        )  # with data in flight keepalive says nothing of a vanished Redis
        self._reader = hiredis.Reader()
        self._readable = select.poll()
        self._readable.register(self._sock, select.POLLIN)
        self._answered_at = time.monotonic()
        self._opened()

    def _opened(self) -> None:
        """There is a connection again: what may have been lost goes first."""
        self._marks.again(time.monotonic())  # subscribers were cut off as well
        if self._in_flight:  # what Redis did not confirm goes again: subscribers drop by number what came twice
            again = list(self._in_flight)
            self._in_flight.clear()
            self._send(again)

    def _disconnect(self) -> None:
        owner, self._sock, self._owner = self._owner, None, None
        if owner is not None:
            owner.disconnect()

    def _work(self) -> None:
        """Send what there is, and the marks that are due; sleep when there is nothing."""
        while not self._stopping:
            self._hear_replies(wait=False)
            batch = self._take() + self._due(time.monotonic())
            if batch:
                self._send(batch)
                continue
            with self._lock:
                self._asleep = not self._outbox
                self._busy = bool(self._in_flight)
            if self._busy:
                self._hear_replies(wait=True)
            elif self._asleep:
                self._rest(self._longest_rest(time.monotonic()))

    def _due(self, now: float) -> list[Group]:
        """What is to be sent although nothing was published: marks."""
        return [(channel, self._numbers[channel], []) for channel in self._marks.due(now)]

    def _longest_rest(self, now: float) -> float | None:
        """Seconds until something may be due; None: nothing ever is, unless there are new events."""
        return self._marks.rest(now)

    def _rest(self, seconds: float | None) -> None:
        """Wait until there is something to do, for so long."""
        with suppress(Empty):
            self._wake.get(timeout=seconds)

    def _take(self) -> list[Group]:
        """What waits, at most a batch: consecutive events of one channel together, numbered."""
        groups: list[Group] = []
        total = size = 0
        with self._lock:
            self._busy = bool(self._outbox or self._in_flight)
            self._count_skipped()
            while self._outbox and total < _BATCH:
                channel, body = self._outbox.popleft()
                self._bytes -= len(body)
                total += len(body) + 64
                number = self._numbers.get(channel, 0)
                self._numbers[channel] = number + 1
                last = groups[-1] if groups else None
                if (
                    last is not None
                    and last[0] == channel
                    and size + len(body) <= envelopes.LIMIT_BYTES
                    and len(last[2]) < envelopes.LIMIT_COUNT
                    and last[1] + len(last[2]) == number
                ):
                    last[2].append(body)
                    size += len(body)
                else:
                    groups.append((channel, number, [body]))
                    size = len(body)
        return groups

    def _count_skipped(self) -> None:
        """Those that were dropped keep their numbers; all that still waits comes after them."""
        for channel, count in self._skipped.items():
            self._numbers[channel] = self._numbers.get(channel, 0) + count
            self._marks.told(channel, time.monotonic())
        self._skipped.clear()

    def _send(self, groups: list[Group]) -> None:
        assert self._sock is not None
        out: list[bytes] = []
        now = time.monotonic()
        for group in groups:
            self._write(group, out)
            if group[2]:
                self._marks.told(group[0], now)
        self._in_flight.extend(groups)
        self._sock.sendall(b"".join(out))
        self._hear_replies(wait=len(self._in_flight) > _MOST_OPEN)

    def _write(self, group: Group, out: list[bytes]) -> None:
        """What Redis is told for a group."""
        channel, first, bodies = group
        publish_command(channel, self._packer.pack(channel, first, bodies), out)

    def _hear_replies(self, *, wait: bool) -> None:
        """Read what Redis answered, and whether it is still there; an answer that is an error is told."""
        assert self._sock is not None
        while True:
            if not self._readable.poll(self._patience() if wait else 0):
                self._leave_if_moved(self._sock)
                if not wait:
                    return
                continue
            data = self._sock.recv(65536)
            if not data:
                raise BrokerUnavailable("Redis closed the connection")
            self._answered_at = time.monotonic()
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._on_reply(reply)
            if wait and len(self._in_flight) <= _MOST_OPEN // 2:
                return

    def _patience(self) -> float | None:
        """Milliseconds until a silence is one to do something about; None: where else should we go?"""
        return _STILL * 1000 if self._broker.may_move else None

    def _leave_if_moved(self, sock: socket.socket) -> None:
        """A Redis that stands still keeps its connections: it is left only for the one that took its place."""
        if not self._broker.may_move:
            return
        now = time.monotonic()
        if not self._in_flight:
            self._answered_at = now
        elif now - self._answered_at >= _STILL:
            self._answered_at = now
            if self._broker.has_moved(sock):
                raise BrokerUnavailable("Redis stands still, and another one has taken its place")

    def _on_reply(self, reply: Any) -> None:
        channel, _, bodies = self._in_flight.popleft()
        news = channel == self._news
        if isinstance(reply, Exception):
            self._refused(reply, len(bodies), news=news)
        else:
            self._trouble = ""
            self._counters.add("news.published" if news else "events.published", len(bodies))

    def _refused(self, reply: Exception, many: int, *, news: bool = False) -> None:
        self._counters.add("news.refused_by_redis" if news else "events.refused_by_redis", many)
        if said := self._complaints.about(self._broker.shown, f"refused an event: {reply}"):
            _log.error("Redis at %s", said)


def publish_command(channel: bytes, message: bytes, out: list[bytes]) -> None:
    out.append(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n" % (len(channel), channel, len(message)))
    out.append(message)
    out.append(b"\r\n")
