"""Holes in durable events, as a subscriber's reader fills them.

When a number of a durable channel is missing, what comes after it is held back, the stream is read for what is missing, and
then all of it goes on in its order; what the stream does not have either is counted as lost. After a cut the channels known
to be durable are read once, so that a silent one's tail arrives as well. All of this runs in the reader's thread; only the
fetching is ``Streams``'s.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from hubnet.bus.streams import Streams
from hubnet.core.envelopes import Envelope
from hubnet.core.refill import Reading, in_order
from hubnet.core.sequence import Sequence

_MARGIN = 5.0  # seconds before the last word that we heard: what was still on its way then was lost as well
_MOST_HELD = 64 << 20
_COMES_AGAIN = 3.0
"""Seconds for which a hole waits where a cut came over its reading: another Redis may be there, which its publisher, who was cut
off as well and draws a pause of up to a second, is about to send what it lacks."""
_LOOK_AGAIN = 0.25
_Place = tuple[bytes, bytes]
"""A route (an exact channel or a pattern) and a channel heard by it."""


class _Filling:
    """A hole that is being filled, and what is held back meanwhile.

    Attributes:
        again: what is no older has to be read once more: a cut began, or ended, while the stream was being read.
        let_go: by publisher, the first number that was held and had to go.
        until: as long as what is missing may still come, after a cut that came over the reading.
    """

    def __init__(self, expected: dict[bytes, int], missing: tuple[bytes, ...], since: float | None) -> None:
        self.expected = expected
        self.missing = missing
        self.since = since
        self.again: float | None = None
        self.until = 0.0
        self.held: deque[Envelope] = deque()
        self.let_go: dict[bytes, int] = {}
        self._bytes = 0

    def read_again(self, since: float) -> None:
        """What this reading finds is too little: its end lies before the end of a cut, or it looks for known publishers alone."""
        known = [one for one in (self.since, self.again) if one is not None]
        self.again = min([since, *known])

    def hold(self, *envelopes: Envelope) -> None:
        """Keep them for later; the oldest go first where they are too many, and are found missing."""
        self.held += envelopes
        self._bytes += sum(len(envelope.data) for envelope in envelopes)
        while self._bytes > _MOST_HELD:
            oldest = self.held.popleft()
            self._bytes -= len(oldest.data)
            self.let_go.setdefault(oldest.sender.incarnation, oldest.first)


class _Read(NamedTuple):
    place: _Place
    found: list[Envelope] | None


class Refill:
    """What a subscriber does about holes. ``arrive(place, envelope)`` is how anything goes on to the subscriptions."""

    def __init__(
        self, streams: Streams, sequence: Callable[[bytes], Sequence], arrive: Callable[[_Place, Envelope], None],
        nudge: Callable[[], None],
    ) -> None:  # fmt: skip
        self._streams = streams
        self._sequence = sequence
        self._arrive = arrive
        self._nudge = nudge
        self._begun: dict[bytes, float] = {}
        self._cut: set[bytes] = set()
        self._durable: dict[bytes, set[bytes]] = {}
        self._fillings: dict[_Place, _Filling] = {}
        self._results: SimpleQueue[_Read] = SimpleQueue()

    def subscribed(self, route: bytes) -> None:
        """Redis has confirmed a route; what is published from now on is wanted."""
        self._begun.setdefault(route, time.monotonic())

    def cut_off(self) -> None:
        """The connection ended."""
        self._cut.update(self._begun)
        for filling in self._fillings.values():
            filling.until = float("inf")  # until there is another one, and then for a while

    def back(self, heard_at: float) -> None:
        """All routes are confirmed again, and the last word before was heard then: read what went by meanwhile."""
        for route, channels in self._durable.items():
            since = max(heard_at - _MARGIN, self._begun.get(route, heard_at))
            for channel in channels:
                if filling := self._fillings.get((route, channel)):
                    filling.read_again(since)
                    filling.until = time.monotonic() + _COMES_AGAIN
                else:
                    self._fill((route, channel), (), since)

    def takes(self, place: _Place, envelope: Envelope) -> bool:
        """Whether this durable envelope is held back, because something before it is missing."""
        filling = self._fillings.get(place)
        if filling is None:
            self._durable.setdefault(place[0], set()).add(place[1])
            if not self._missing(place, envelope):
                return False
            publisher = envelope.sender.incarnation
            known = self._sequence(place[0]).expected(publisher, place[1]) is not None
            filling = self._fill(place, (publisher,) if known else (), None if known else self._begun[place[0]])
        filling.hold(envelope)
        return True

    def results(self) -> None:
        """What was read goes on, and what was held back after it."""
        while True:
            try:
                place, found = self._results.get_nowait()
            except Empty:
                return
            filling = self._fillings.pop(place)
            again = filling.again is not None
            if again or self._may_come(place, filling, found):
                since = filling.again if again else filling.since
                following = self._fill(place, filling.missing, since, after=0.0 if again else _LOOK_AGAIN)
                following.until = filling.until
                following.let_go.update(filling.let_go)
                following.hold(*(found or ()), *filling.held)
                continue
            self._note_let_go(place, filling, found or [])
            held = set(map(id, filling.held))
            for envelope in in_order([*(found or ()), *filling.held]):  # what is held may be of before what was found
                if found is None or not self._goes_back(place, envelope, filling, was_held=id(envelope) in held):
                    self._arrive(place, envelope)

    def _may_come(self, place: _Place, filling: _Filling, found: list[Envelope] | None) -> bool:
        """Whether a hole is left that its publisher may be about to fill."""
        if found is None or time.monotonic() >= filling.until:
            return False
        reached = self._sequence(place[0]).of_channel(place[1])
        for envelope in in_order([*found, *filling.held]):
            publisher = envelope.sender.incarnation
            if envelope.first > reached.get(publisher, envelope.first):
                return True
            reached[publisher] = max(reached.get(publisher, 0), envelope.first + envelope.size)
        return False

    def _note_let_go(self, place: _Place, filling: _Filling, found: list[Envelope]) -> None:
        """The first that came of a new publisher may have had to go: what its stream does not have of them is lost."""
        sequence = self._sequence(place[0])
        for publisher, first in filling.let_go.items():
            if sequence.expected(publisher, place[1]) is None:
                theirs = [one.first for one in (*found, *filling.held) if one.sender.incarnation == publisher]
                sequence.begin(publisher, place[1], min([first, *theirs]))

    def _goes_back(self, place: _Place, envelope: Envelope, filled: _Filling, *, was_held: bool) -> bool:
        """Whether it is held once more, because something before it is missing that was not read for yet."""
        if place not in self._fillings:
            known = self._sequence(place[0]).expected(envelope.sender.incarnation, place[1]) is not None
            if (known and not was_held) or not self._may_fill_again(place, envelope, filled):
                return False
        return self.takes(place, envelope)

    def _missing(self, place: _Place, envelope: Envelope) -> bool:
        route, channel = place
        expected = self._sequence(route).expected(envelope.sender.incarnation, channel)
        if expected is None:  # a publisher not heard before: what it sent before may have gone by in a cut
            return envelope.first > 0 and route in self._cut
        return envelope.first > expected

    def _may_fill_again(self, place: _Place, envelope: Envelope, filled: _Filling) -> bool:
        """What the stream was just read for in vain is lost: only another hole is worth another reading."""
        publisher = envelope.sender.incarnation
        expected = self._sequence(place[0]).expected(publisher, place[1])
        if expected is None:
            return filled.since is None or filled.since > self._begun[place[0]]
        return publisher not in filled.missing or expected > filled.expected.get(publisher, -1)

    def _fill(self, place: _Place, missing: tuple[bytes, ...], since: float | None, *, after: float = 0.0) -> _Filling:
        route, channel = place
        expected = self._sequence(route).of_channel(channel)
        filling = self._fillings[place] = _Filling(expected, missing, since)

        def reading(now: float) -> Reading:
            return Reading(expected, missing, None if since is None else now - (time.monotonic() - since) * 1000)

        def done(found: list[Envelope] | None) -> None:
            self._results.put(_Read(place, found))
            self._nudge()

        self._streams.read(channel, reading, done, after=after)
        return filling
