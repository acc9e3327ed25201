"""High-water marks: when a publisher tells the next number of a channel once more, though nothing was published.

Whoever was cut off while the last events of a channel went by learns of it from a later number alone. So a mark follows a
second after a channel's last event, the next one after twice as long, and so on: who was cut off for some time knows what it
missed within as long again, and a channel that fell silent costs a dozen small messages in an hour, then none.
"""

from __future__ import annotations

FIRST = 1.0
"""Seconds from the last event of a channel to its first mark."""
TIMES = 12
"""Marks in all: the last goes out 4095 s after the event, later than a silent peer stays listed by default."""


class Marks:
    """Which channels are due; told the time, in seconds that only rise."""

    def __init__(self) -> None:
        self._due: list[dict[bytes, float]] = [{} for _ in range(TIMES)]  # by marks sent so far; each in rising order
        self._sent: dict[bytes, int] = {}
        self._soonest = float("inf")  # none is due before

    def told(self, channel: bytes, now: float) -> None:
        """Begin anew: an event of this channel goes out."""
        sent = self._sent.get(channel)
        if sent is not None:
            del self._due[sent][channel]
        self._put(channel, 0, now)

    def again(self, now: float) -> None:
        """Begin anew with all channels: everybody may have missed what went out last."""
        for channel in list(self._sent):
            self.told(channel, now)

    def due(self, now: float) -> list[bytes]:
        """The channels to send a mark of now; they are taken as sent."""
        if now < self._soonest:
            return []
        late = [(sent, channel) for sent, table in enumerate(self._due) for channel in _late(table, now)]
        for sent, channel in late:
            del self._due[sent][channel], self._sent[channel]
            if sent + 1 < TIMES:
                self._put(channel, sent + 1, now)
        self._soonest = min((next(iter(table.values())) for table in self._due if table), default=float("inf"))
        return [channel for _, channel in late]

    def rest(self, now: float) -> float | None:
        """Seconds until one may be due; None: none ever is, unless there are new events."""
        return max(0.0, self._soonest - now) if self._sent else None

    def _put(self, channel: bytes, sent: int, now: float) -> None:
        due = now + FIRST * 2**sent
        self._due[sent][channel] = due
        self._sent[channel] = sent
        self._soonest = min(self._soonest, due)


def _late(table: dict[bytes, float], now: float) -> list[bytes]:
    found = []
    for channel, due in table.items():
        if due > now:
            break
        found.append(channel)
    return found
