"""The story of durable events: publishers that restart and send again, a subscriber that is cut off, a Redis that fails over.

The subscriber's rules are hubnet's own: Refill, Sequence, and the reading of streams page by page. Whatever Redis kept of what
was published since the subscription is heard once, each publisher's in order; what it lost is heard or counted.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hubnet.bus import refill as refill_room
from hubnet.bus.refill import Refill
from hubnet.bus.streams import Streams
from hubnet.core import histories
from hubnet.core.channels import Names
from hubnet.core.envelopes import Envelope, Sender
from hubnet.core.sequence import Sequence
from hubnet.counters import Counters
from tests.sim.world import promise

CHANNEL = Names("default").event("render", "done").encode()
RESENT = 60.0
"""Seconds for which a publisher keeps what Redis has acknowledged."""
_PLACE = (CHANNEL, CHANNEL)


class Redis:
    """A stream, and who hears what is published. Its clock has nothing to do with anybody's."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._ahead = story.dice.uniform(-1e6, 1e6)
        self.stream: list[tuple[bytes, Envelope]] = []
        self._order = itertools.count()

    def publish(self, envelope: Envelope) -> None:
        """Into the stream and to whoever listens, in one step."""
        if envelope.size:  # a mark goes by pub/sub alone
            self.stream.append((b"%d-%d" % (self._now(), next(self._order)), envelope))
        self._story.hears(envelope)

    def ask(self, *command: bytes) -> Any:
        """As ``Talk.ask``."""
        if command[0] == b"TIME":
            seconds, thousandths = divmod(self._now(), 1000)
            return [b"%d" % seconds, b"%d" % (thousandths * 1000)]
        assert command[0] == b"XREVRANGE"
        end, count = command[2], int(command[5])
        older = [entry for entry in self.stream if end == b"+" or _order(entry[0]) < _order(end[1:])]
        return [(entry_id, [b"", envelope]) for entry_id, envelope in older[::-1][:count]]

    def fail_over(self, seconds: float) -> None:
        """The replica had not heard anything for so long."""
        oldest = self._now() - seconds * 1000
        self.stream = [entry for entry in self.stream if _order(entry[0])[0] < oldest]

    def _now(self) -> int:
        return int((self._story.now + 2e6 + self._ahead) * 1000)


def _order(entry_id: bytes) -> tuple[int, int]:
    at, _, number = entry_id.partition(b"-")
    return int(at), int(number)


class Publisher:
    """One life of a publisher, with what it would send again."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._sender = Sender(b"id", story.dice.randbytes(16), False, "machine")
        self._next = 0
        self._kept: list[tuple[float, Envelope]] = []
        story.publishers.append(self)

    def publish(self) -> None:
        """Some events; now and then sent twice, where Redis's answer did not come."""
        size = self._story.dice.randint(1, 4)
        envelope = self._envelope(size)
        self._kept.append((self._story.now, envelope))
        wanted = range(self._next, self._next + size)
        self._story.published[self._sender.incarnation].extend(wanted)
        self._next += size
        for _ in range(self._story.dice.choice((1, 1, 1, 2))):
            self._story.redis.publish(envelope)

    def mark(self) -> None:
        """Say how far it is."""
        self._story.redis.publish(self._envelope(0))

    def send_again(self) -> None:
        """What Redis has forgotten of the last minute, by the rule."""
        kept = [envelope for at, envelope in self._kept if self._story.now - at <= RESENT]
        there = {id(envelope) for _, envelope in self._story.redis.stream}
        lacking = histories.lacking(len(kept), lambda number: id(kept[number]) in there)
        for envelope in kept[len(kept) - lacking :]:
            self._story.redis.publish(envelope)

    def _envelope(self, size: int) -> Envelope:
        return Envelope(self._sender, self._next, size, b"x" * size, 0, durable=True)


class Story:
    """Time, Redis, publishers, and a subscriber as its reader thread is."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.published: dict[bytes, list[int]] = defaultdict(list)
        self.publishers: list[Publisher] = []
        self.redis = Redis(self)
        self.lost, self.failed = 0, False
        self._delivered: dict[bytes, list[int]] = defaultdict(list)
        self._found: dict[bytes, set[int]] = defaultdict(set)
        self._proved = self._subscribed = True
        self._connection = 0
        self._heard_at = 0.0
        self._sequence = Sequence()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        opener = SimpleNamespace(open=lambda channel, envelope: envelope)
        self._streams = Streams(None, opener, Names("default"), Counters())  # type: ignore[arg-type]
        self._streams._ask = self._read_later  # type: ignore[method-assign, assignment]
        self._streams._stop = SimpleNamespace(wait=lambda seconds: False)  # type: ignore[assignment]
        self._refill = Refill(self._streams, lambda route: self._sequence, self._arrives, self._soon)

    def begin(self) -> None:
        """Redis has confirmed the subscription."""
        self._refill.subscribed(CHANNEL)

    def monotonic(self) -> float:
        """As ``time.monotonic``."""
        return self.now

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it later."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), action))

    def run(self, until: float) -> None:
        """Let time go by."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = until

    # -- the subscriber --------------------------------------------------------------------------------------------

    def hears(self, envelope: Envelope) -> None:
        """As ``Subscriber._on_envelope``, if its connection stands."""
        if not self._subscribed:
            return
        if self._proved:
            self._heard_at = self.now
        if not self._refill.takes(_PLACE, envelope):
            self._arrives(_PLACE, envelope)

    def cut(self, seconds: float) -> None:
        """Nothing comes any more; the reader notices, and is subscribed again later, which an echo proves."""
        if not self._subscribed:
            return
        self._proved = self._subscribed = False
        self._connection += 1
        self._refill.cut_off()
        self.after(seconds, self._subscribe)

    def _subscribe(self) -> None:
        self._subscribed = True
        connection = self._connection
        self.after(self.dice.uniform(0.0, 0.2), lambda: self._echoed() if connection == self._connection else None)

    def _echoed(self) -> None:
        self._proved = True
        self._refill.back(self._heard_at)

    def _arrives(self, place: object, envelope: Envelope) -> None:
        who = envelope.sender.incarnation
        said = self._sequence.arrive(who, CHANNEL, envelope.first, envelope.size)
        self.lost += said.lost
        for number in range(envelope.first + said.repeated, envelope.first + envelope.size):
            heard = self._delivered[who]
            promise(not heard or number > heard[-1], "a durable event was heard twice, or before an earlier one")
            heard.append(number)

    def _read_later(self, work: Callable[[Any], Any], done: Callable[[Any], None]) -> None:
        fails = self.dice.random() < 0.02
        self.failed |= fails
        self.after(self.dice.uniform(0.001, 3.0), lambda: self._read(work, done) if not fails else done(None))

    def _read(self, work: Callable[[Any], list[Envelope]], done: Callable[[Any], None]) -> None:
        found = work(self.redis)
        for envelope in found:
            self._found[envelope.sender.incarnation].update(range(envelope.first, envelope.first + envelope.size))
        done(found)

    def _soon(self) -> None:
        self.after(0.0, self._refill.results)

    def accounts(self, *, whole: bool) -> None:
        """Whether all that was published was heard; or, where Redis lost some, or could not be read, heard or counted.

        What comes before the first number that was heard of a publisher may be of before the subscription, for all that anybody
        knows: where Redis lost that, it is not counted.
        """
        missing = 0
        for who, numbers in self.published.items():
            heard = self._delivered[who]
            promise(set(heard) <= set(numbers), "an event was heard that nobody published")
            promise(self._found[who] <= set(heard), "a durable event was read and not heard")
            promise(not whole or len(heard) == len(numbers), "a durable event that Redis kept was not heard")
            missing += sum(heard[0] < number for number in numbers) + 1 - len(heard) if heard else 0
        promise(self.lost == missing, "a durable event was neither heard nor counted once")


def durable(seed: int) -> float:
    """One subscriber through cuts and failovers; the seconds that it lived."""
    story = Story(seed)
    dice = story.dice
    forgets = dice.random() < 0.3
    with mock.patch.object(refill_room, "time", story):
        story.begin()
        known = dice.random() < 0.5  # whether the subscriber has ever heard that the channel is durable
        if known:
            Publisher(story).publish()
        for _ in range(dice.randint(40, 120)):
            story.run(story.now + dice.expovariate(2.0))
            what = dice.random()
            if what < 0.1:
                story.cut(dice.uniform(0.05, 20.0))
            elif what < 0.15 or not story.publishers:
                Publisher(story).publish()
            elif what < 0.2 and forgets:
                story.redis.fail_over(dice.uniform(0.0, 2.0))
                story.cut(dice.uniform(0.05, 3.0))
                for publisher in story.publishers:
                    story.after(dice.uniform(0.0, 1.0), publisher.send_again)
            else:
                dice.choice(story.publishers[-3:]).publish()
        story.run(story.now + 60)
        whole = not story.failed and not forgets
        for publisher in story.publishers[-3:] if whole and known else story.publishers:  # the dead leave no mark
            publisher.mark()
        story.run(story.now + 10)
        story.accounts(whole=whole and not story.failed)
    return story.now
