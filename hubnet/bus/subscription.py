"""One subscription: a handler, a bounded queue, and the thread that runs the handler.

The reader only puts envelopes into the queue; a slow handler fills its own queue and nobody else's. Over its bounds the
oldest events go, counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from hubnet.core.envelopes import Envelope, Sender
from hubnet.counters import Counters
from hubnet.links.context import NO_CALL, here

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
    ) -> None:
        self.event = event
        self.channels = channels
        self.pattern = pattern
        self.on_missed = on_missed
        self.owner: Any = None
        self._hears_itself = hears_itself
        self._deliver = deliver
        self._matcher = matcher
        self._counters = counters
        self._queue: deque[tuple[Envelope, int]] = deque()
        self._bytes = self._events = 0
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

    def put(self, envelope: Envelope, skip: int) -> None:
        """Queue an envelope without its first `skip` events, which came before."""
        size = len(envelope.data)
        with self._lock:
            self._queue.append((envelope, skip))
            self._bytes += size
            self._events += envelope.size - skip
            while len(self._queue) > 1 and (self._bytes > QUEUE_BYTES or self._events > QUEUE_EVENTS):
                old, skipped = self._queue.popleft()
                self._bytes -= len(old.data)
                self._events -= old.size - skipped
                self._counters.add("events.dropped_queue", old.size - skipped)
            wake, self._asleep = self._asleep, False
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name=f"hubnet-on-{self.event}", daemon=True)
                self._thread.start()
        if wake:
            self._wake.release()

    @property
    def depth(self) -> int:
        """Events that wait for the handler."""
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
            with self._lock:
                taken = self._queue.popleft() if self._queue else None
                self._asleep = taken is None
                if taken:
                    self._bytes -= len(taken[0].data)
            if taken is None:
                if self._ending:
                    return
                self._wake.acquire()
                continue
            self._handle(*taken)

    def _handle(self, envelope: Envelope, skip: int) -> None:
        handled = 0
        for number, body in enumerate(envelope.bodies()):
            if number < skip or self._stopping:
                continue
            try:
                self._deliver(body, envelope.sender)
            except BaseException:
                self._counters.add("events.handler_errors")
                _log.exception("a handler of event %r failed; the event is dropped, the next ones go on", self.event)
            handled += 1
            with self._lock:
                self._events -= 1
        self._counters.add("events.delivered", handled)
