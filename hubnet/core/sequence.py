"""Numbers: what was lost between a publisher and a subscriber, and what came twice.

Numbers count per publisher incarnation and channel. The first envelope heard sets the mark; from then on every hole is exact
while the publisher lives.
"""

from __future__ import annotations

from typing import NamedTuple

_REMEMBERED = 20_000


class Arrival(NamedTuple):
    """What an envelope's numbers say."""

    lost: int
    repeated: int


class Sequence:
    """The next expected number of each publisher and channel, on one route."""

    def __init__(self) -> None:
        self._next: dict[tuple[bytes, bytes], int] = {}

    def expected(self, incarnation: bytes, channel: bytes) -> int | None:
        """The next number of this publisher and channel; None: it was not heard yet."""
        return self._next.get((incarnation, channel))

    def of_channel(self, channel: bytes) -> dict[bytes, int]:
        """The next number of each publisher on a channel."""
        return {who: number for (who, where), number in self._next.items() if where == channel}

    def begin(self, incarnation: bytes, channel: bytes, number: int) -> None:
        """Of a publisher that was not heard yet, this event was the first to come: what is missing from it on is lost."""
        self._next.setdefault((incarnation, channel), number)

    def arrive(self, incarnation: bytes, channel: bytes, first: int, count: int) -> Arrival:
        """Note an envelope; how many events before it are missing, and how many of its own came before."""
        key = (incarnation, channel)
        expected = self._next.pop(key, None)
        end = first + count
        if expected is None:
            if len(self._next) >= _REMEMBERED:
                del self._next[next(iter(self._next))]  # who has been silent longest: who talks moves to the end
            self._next[key] = end
            return Arrival(0, 0)
        self._next[key] = max(end, expected)
        return Arrival(max(0, first - expected), min(count, max(0, expected - first)))
