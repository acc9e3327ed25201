"""Events that were triggered before their peer had started: an outbox before the outbox, with the same bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hubnet.counters import Counters


class Early:
    """Events in their order; the oldest go when there are too many, counted. Guarded by whoever owns it."""

    def __init__(self, counters: Counters, is_durable: Callable[[str], bool]) -> None:
        self._counters = counters
        self._is_durable = is_durable
        self._events: deque[tuple[str, bytes]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def keep(self, name: str, body: bytes, outbox: tuple[int, int]) -> None:
        """Keep one more event; `outbox` is most bytes and most events."""
        most_bytes, most_events = outbox
        self._events.append((name, body))
        self._bytes += len(body)
        while self._bytes > most_bytes or len(self._events) > most_events:
            oldest, _ = self.take()
            if self._is_durable(oldest):
                self._counters.add("events.dropped_durable")
            self._counters.add("events.dropped_outbox")

    def take(self) -> tuple[str, bytes]:
        """The oldest one."""
        name, body = self._events.popleft()
        self._bytes -= len(body)
        return name, body
