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
    """The next expected number of each publisher on each channel of one route."""

    def __init__(self) -> None:
        self._next: dict[bytes, dict[bytes, int]] = {}
        self._remembered = 0

    def expected(self, incarnation: bytes, channel: bytes) -> int | None:
        """The next number of this publisher and channel; None: it was not heard yet."""
        return self._next.get(channel, {}).get(incarnation)

    def of_channel(self, channel: bytes) -> dict[bytes, int]:
        """The next number of each publisher on a channel."""
        return dict(self._next.get(channel, {}))

    def begin(self, incarnation: bytes, channel: bytes, number: int) -> None:
        """Of a publisher that was not heard yet, this event was the first to come: what is missing from it on is lost."""
        if self.expected(incarnation, channel) is None:
            self._remember(incarnation, channel, number)

    def arrive(self, incarnation: bytes, channel: bytes, first: int, count: int) -> Arrival:
        """Note an envelope; how many events before it are missing, and how many of its own came before."""
        heard = self._next.get(channel)
        expected = heard.pop(incarnation, None) if heard else None
        end = first + count
        if heard is None or expected is None:
            self._remember(incarnation, channel, end)
            return Arrival(0, 0)
        heard[incarnation] = max(end, expected)  # who talks moves to the end
        return Arrival(max(0, first - expected), min(count, max(0, expected - first)))

    def _remember(self, incarnation: bytes, channel: bytes, number: int) -> None:
        """One more publisher, for which another one may have to go."""
        if self._remembered < _REMEMBERED:
            self._remembered += 1
        else:
            self._forget_one()
        self._next.setdefault(channel, {})[incarnation] = number

    def _forget_one(self) -> None:
        """Of the channel where most are remembered: who has been silent there longest."""
        channel, heard = max(self._next.items(), key=lambda one: len(one[1]))
        del heard[next(iter(heard))]
        if not heard:
            del self._next[channel]
