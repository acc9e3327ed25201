"""One subscription: a handler, a bounded queue, and the thread that runs the handler.

The reader only puts envelopes into the queue; a slow handler fills its own queue and nobody else's. Over its bounds the
oldest events go, or the newest do not come in, as the subscription wishes; either is counted and told. One that wants events
of before it existed holds back what comes until they have been read.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from hubnet.core import envelopes
from hubnet.core.envelopes import Envelope, Sender
from hubnet.core.gap import Gap
from hubnet.counters import Counters
from hubnet.links.context import NO_CALL, here
from hubnet.links.threads import begin, say_what_is_wanted

QUEUE_BYTES = 64 << 20
QUEUE_EVENTS = 200_000
_log = logging.getLogger("hubnet")


class Matcher(Protocol):
    """A filter, decided on what a signed envelope says of its publisher."""

    def matches(self, *, peer_id: bytes, group: str, hub: bool, machine: str) -> bool: ...


class Subscription:
    """One handler and what waits for it.

    Attributes:
        event: the event's name, for people.
        channels: exact channels that it hears, or None when it hears `pattern`.
        pattern: the pattern that it hears, or None.
        owner: the peer that its handler acts for; None is this process's one.
        on_missed: called where events that it wanted were lost, in place of counting them.
        since: seconds; durable events of that long before it began are wanted as well. None: none are.
    """

    def __init__(
        self,
        event: str,
        deliver: Callable[[memoryview, Sender], Any],
        matcher: Matcher,
        *,
        channels: frozenset[str] | None,
        pattern: str | None,
        counters: Counters,
        hears_itself: bool = False,
        on_missed: Callable[[], Any] | None = None,
        on_gap: Callable[[Gap], Any] | None = None,
        queue: int | None = None,
        overflow: str = "oldest",
        since: float | None = None,
    ) -> None:
        self.event = event
        self.channels = channels
        self.pattern = pattern
        self.on_missed = on_missed
        self.owner: Any = None
        self.since = since
        self._hears_itself = hears_itself
        self._deliver = deliver
        self._matcher = matcher
        self._counters = counters
        self._on_gap = on_gap
        self._most = queue or QUEUE_EVENTS
        self._drops_newest = overflow == "newest"
        self._queue: deque[tuple[Envelope, int, int] | Gap] = deque()
        self._bytes = self._events = self._overflowed = 0  # events: those that wait, whatever the handler has in hand
        self._next = self._stop = 0  # of the envelope in hand: the first event that waits, and the one behind the last
        self._held: deque[tuple[bytes, Envelope, int]] | None = None if since is None else deque()
        self._held_bytes = self._held_events = 0
        self._let_go: dict[tuple[bytes, bytes], tuple[int, int]] = {}  # of what was held: the first number, and the end
        self._reached: dict[tuple[bytes, bytes], int] | None = None if since is None else {}
        self._lock = threading.Lock()
        self._wake = threading.Semaphore(0)
        self._asleep = False
        self._thread: threading.Thread | None = None
        self._stopping = self._ending = False

    def wants(self, sender: Sender, group: str, *, own: bool) -> bool:
        """Whether the filter lets this publisher through, which may be our own peer."""
        if own and not self._hears_itself:
            return False
        return self._matcher.matches(peer_id=sender.peer_id, group=group, hub=sender.hub, machine=sender.machine)

    def put(self, envelope: Envelope, skip: int, channel: bytes = b"") -> None:
        """Queue an envelope of this channel without its first `skip` events, which came before."""
        with self._lock:
            if self._reached is None:
                self._enqueue(envelope, skip)
            elif self._held is not None:
                self._hold(self._held, channel, envelope, skip)
            else:
                self._enqueue_once(channel, envelope, skip)
            wake = self._woken()
        if wake:
            self._wake.release()
        if self._thread is None:
            say_what_is_wanted()

    def replay(self, earlier: Iterable[tuple[bytes, Envelope]]) -> None:
        """Queue events of before, by channel, then what has come meanwhile, each once."""
        with self._lock:
            held, self._held = self._held or (), None
            for channel, envelope in earlier:
                self._enqueue_once(channel, envelope, 0)
            for key, (first, stop) in self._let_go.items():  # which the reading may have found again
                if (lost := stop - max(first, (self._reached or {}).get(key, first))) > 0:
                    self._refuse(lost)
            for channel, envelope, skip in held:
                self._enqueue_once(channel, envelope, skip)
            wake = self._woken()
        if wake:
            self._wake.release()
        if self._thread is None:
            say_what_is_wanted()

    def _hold(self, held: deque[tuple[bytes, Envelope, int]], channel: bytes, envelope: Envelope, skip: int) -> None:
        """Keep it until what was before has been read: as much as the queue takes, then the oldest go."""
        held.append((channel, envelope, skip))
        self._held_bytes += len(envelope.data)
        self._held_events += envelope.size - skip
        while self._held_bytes > QUEUE_BYTES or self._held_events > self._most:
            channel, oldest, before = held.popleft()
            self._held_bytes -= len(oldest.data)
            self._held_events -= oldest.size - before
            key = (oldest.sender.incarnation, channel)
            first, _ = self._let_go.get(key, (oldest.first + before, 0))
            self._let_go[key] = first, oldest.first + oldest.size

    def missed(self, lost: int, publisher: bytes) -> None:
        """Events that it wanted never arrived: tell its ``on_gap``, in its place between the events."""
        if self._on_gap is None:
            return
        with self._lock:
            self._queue.append(Gap(self.event, lost, publisher, "lost"))
            wake = self._woken()
        if wake:
            self._wake.release()
        if self._thread is None:
            say_what_is_wanted()

    def _woken(self) -> bool:
        """With the lock: start the thread where there is none; whether it must be woken."""
        wake, self._asleep = self._asleep, False
        if self._thread is None and not self._stopping and self._queue:
            self._thread = begin(self._run, f"hubnet-on-{self.event}", locked=True)
        return wake

    def _enqueue_once(self, channel: bytes, envelope: Envelope, skip: int) -> None:
        assert self._reached is not None
        key = (envelope.sender.incarnation, channel)
        skip = max(skip, self._reached.get(key, 0) - envelope.first)
        if skip < envelope.size:
            self._reached[key] = envelope.first + envelope.size
            self._enqueue(envelope, skip)

    def _enqueue(self, envelope: Envelope, start: int) -> None:
        size, stop = len(envelope.data), envelope.size
        if self._drops_newest:
            room = max(0, self._most - self._events) if self._bytes + size <= QUEUE_BYTES or not self._queue else 0
            stop = min(stop, start + room)
        if start < stop:
            self._queue.append((envelope, start, stop))
            self._bytes += size
            self._events += stop - start
        if stop < envelope.size:
            self._refuse(envelope.size - max(start, stop))
        while self._events > self._most:
            self._drop_oldest(self._events - self._most)
        while len(self._queue) > 1 and self._bytes > QUEUE_BYTES:
            self._drop_oldest(envelopes.LIMIT_COUNT)

    def _refuse(self, events: int) -> None:
        self._counters.add("events.dropped_queue", events)
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Gap) and last.reason == "queue":
            self._queue[-1] = last._replace(lost=last.lost + events)
        else:
            self._queue.append(Gap(self.event, events, b"", "queue"))

    def _drop_oldest(self, most: int) -> None:
        """Drop at most so many events of what came first, which is what waits behind the one that the handler has."""
        if self._next < self._stop:
            dropped = min(most, self._stop - self._next)
            self._next += dropped
            self._count_dropped(dropped)
            return
        first = self._queue.popleft()
        if isinstance(first, Gap):
            self._overflowed += first.lost
            return
        envelope, start, stop = first
        dropped = min(most, stop - start)
        if start + dropped < stop:
            self._queue.appendleft((envelope, start + dropped, stop))
        else:
            self._bytes -= len(envelope.data)
        self._count_dropped(dropped)

    def _count_dropped(self, events: int) -> None:
        self._events -= events
        self._overflowed += events
        self._counters.add("events.dropped_queue", events)

    @property
    def depth(self) -> int:
        """Events that wait for the handler; one that it has is none of them."""
        return self._events

    def finish(self) -> None:
        """Nothing more comes: stop once what waits has been handled."""
        with self._lock:
            self._ending = True
        self._wake.release()

    def close(self) -> None:
        """Stop; what waits is dropped."""
        with self._lock:
            self._stopping = True
            self._queue.clear()
        self._wake.release()

    def _run(self) -> None:
        here.call = NO_CALL._replace(peer=self.owner)
        while not self._stopping:
            taken = self._take()
            if taken is None:
                if self._ending:
                    return
                self._wake.acquire()
            elif isinstance(taken, Gap):
                self._tell(taken)
            else:
                self._handle(taken)

    def _take(self) -> Envelope | Gap | None:
        """Take into hand what came first, after word of what is gone before it; None where nothing waits."""
        with self._lock:
            if self._overflowed:
                return self._overflow()
            taken = self._queue.popleft() if self._queue else None
            self._asleep = taken is None
            if taken is None or isinstance(taken, Gap):
                return taken
            envelope, self._next, self._stop = taken
            self._bytes -= len(envelope.data)
            return envelope

    def _handle(self, envelope: Envelope) -> None:
        handled = 0
        for number, body in enumerate(envelope.bodies()):
            if not self._begin(number):
                continue
            try:
                self._deliver(body, envelope.sender)
            except BaseException:
                self._counters.add("events.handler_errors")
                _log.exception("a handler of event %r failed; the event is dropped, the next ones go on", self.event)
            handled += 1
        self._counters.add("events.delivered", handled)

    def _begin(self, number: int) -> bool:
        """Whether this event of the envelope in hand is one to handle, and still is; what is gone before it is told."""
        with self._lock:
            if self._stopping or not self._next <= number < self._stop:
                return False
            self._next = number + 1
            self._events -= 1
            gap = self._overflow() if self._overflowed else None
        if gap:
            self._tell(gap)
        return True

    def _overflow(self) -> Gap:
        overflowed, self._overflowed = self._overflowed, 0
        return Gap(self.event, overflowed, b"", "queue")

    def _tell(self, gap: Gap) -> None:
        if self._on_gap is None:
            return
        try:
            self._on_gap(gap)
        except BaseException:
            self._counters.add("events.handler_errors")
            _log.exception("on_gap of event %r failed; the events after the gap go on", self.event)
