"""The account of events: of each that a publisher triggered, what became of it at each subscriber that was there to the end.

It was heard; or it is missing between others and was counted, and ``on_gap`` told of it; or it is missing before all or after
all that was heard of a publisher, where nobody could see it: then the subscriber was cut off just then, or the publisher was
killed before Redis had acknowledged it. A durable event of a publisher that lives is heard, whatever befell the subscriber.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from .facts import Facts, Finding, Span
from .schedule import REDIS

BEAT, KEPT = "beat", "kept"
MARGIN = 5.0
"""Seconds after a cut within which a peer subscribes and publishes anew; it takes a good second on an idle machine."""
_NEVER = float("inf")
_CUTS = ("pause", "freeze", "lose", "reset", "refuse", "restart", "forget")


def check(facts: Facts) -> Iterator[Finding]:
    """All that is wrong with events."""
    book = Book(facts)
    yield from _order(book)
    yield from _told_all(facts)
    yield from _acknowledged(facts)
    for line in facts.of["stats"]:
        subscriber = str(line["life"])
        if subscriber not in book.hears:
            yield Finding("who subscribes hears", f"{subscriber} never heard itself")
            continue
        yield from _told_of_gaps(facts, subscriber, line["lost"], line["dropped"])
        for event in (BEAT, KEPT):
            yield from _counted(book, subscriber, event)
        for stream in book.triggered:
            if stream.of != subscriber:
                yield from _accounted(book, subscriber, stream)
    yield from _last_words(book)


class Stream(NamedTuple):
    """Events of one kind of one publisher's life."""

    of: str
    event: str


class Book:
    """What was triggered, acknowledged and heard.

    Attributes:
        triggered: when each event was, by its number.
        heard: numbers by subscriber, in the order in which they came.
        hears: since when a subscriber is sure to hear.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._ids = {life: peer_id for peer_id, mine in facts.lives().items() for life in mine}
        self.triggered: defaultdict[Stream, list[float]] = defaultdict(list)
        for line in facts.of["pub"]:
            if line["event"] in {BEAT, KEPT}:
                self.triggered[Stream(line["life"], line["event"])].append(line["t"])
        self.heard: defaultdict[tuple[str, Stream], list[int]] = defaultdict(list)
        for line in facts.of["heard"]:
            self.heard[line["life"], Stream(line["of"], line["event"])].append(line["n"])
        self.hears = {line["life"]: float(line["t"]) for line in facts.of["hears"]}
        self._acks: defaultdict[Stream, list[tuple[int, float]]] = defaultdict(list)
        self._cuts: defaultdict[str, list[float]] = defaultdict(list)
        self._outages: dict[str, list[tuple[float, float]]] = {}
        self.dropped: Counter[Stream] = Counter()
        for line in facts.of["acked"]:
            self._note_dropped(line["life"], line["dropped"], line["dropped_durable"])
            for event in (BEAT, KEPT):
                self._acks[Stream(line["life"], event)].append((line[event], line["t"]))
        for line in facts.of["counters"]:
            self._note_dropped(
                line["life"], line.get("events_dropped_outbox", 0), line.get("events_dropped_durable", 0)
            )
        for line in facts.of["cut"]:
            self._cuts[line["life"]].append(line["t"])

    def _note_dropped(self, life: str, dropped: int, of_durable: int) -> None:
        for event, many in ((BEAT, dropped - of_durable), (KEPT, of_durable)):
            self.dropped[Stream(life, event)] = max(self.dropped[Stream(life, event)], many)

    def missing(self, subscriber: str, event: str) -> tuple[Counter[str], Counter[str]]:
        """How many events of each publisher's id it has not heard: between others, and in all."""
        least, most = Counter[str](), Counter[str]()
        for stream, times in self.triggered.items():
            if stream.event == event and stream.of != subscriber:
                publisher, numbers = self._ids.get(stream.of, ""), set(self.heard.get((subscriber, stream), ()))
                least[publisher] += max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0
                most[publisher] += len(times) - len(numbers)
        return least, most

    def acknowledged(self, stream: Stream, n: int) -> float:
        """When Redis had surely taken an event, or never."""
        acks = self._acks[stream]
        at = bisect_left(acks, (n, 0.0))
        return acks[at][1] if at < len(acks) else _NEVER

    def cut_off_until(self, subscriber: str, begin: float, end: float) -> float:
        """Until when a subscriber was cut off that says so of a time that reaches into this one, or never."""
        if subscriber not in self._outages:
            self._outages[subscriber] = list(self._outages_of(subscriber))
        return max(
            (until for since, until in self._outages[subscriber] if since <= end and begin <= until), default=-_NEVER
        )

    def _outages_of(self, subscriber: str) -> Iterator[tuple[float, float]]:
        """It may notice at the end of what cut it off."""
        blows = list(self.blows_at(self.facts.name(subscriber)))
        for noticed in self._cuts[subscriber]:
            began = [span.begin for span in blows if span.begin <= noticed <= span.end + MARGIN]
            yield min([noticed, *began]), noticed + MARGIN

    def blows_at(self, name: str) -> Iterator[Span]:
        """All that may keep this one from Redis."""
        return self.facts.within(_CUTS, {name, REDIS})


def _order(book: Book) -> Iterator[Finding]:
    for (subscriber, stream), numbers in book.heard.items():
        where = f"{subscriber} of {stream.of}, {stream.event}"
        for number, times in Counter(numbers).items():
            if times > 1:
                yield Finding("no event comes twice", f"{where}: {number} came {times} times")
        for before, after in pairwise(numbers):
            if after < before:
                yield Finding("events come in order", f"{where}: {after} after {before}")


def _told_all(facts: Facts) -> Iterator[Finding]:
    """Whoever is there at the end has said what it counted."""
    counters, stats = ({line["life"] for line in facts.of[what]} for what in ("counters", "stats"))
    hears = {line["life"] for line in facts.of["hears"]}
    for life in facts.survivors():
        if life not in counters or (life in hears and life not in stats):
            yield Finding("all say what they counted", life)


def _acknowledged(facts: Facts) -> Iterator[Finding]:
    """Of who is there at the end, or was asked to end, each event was taken by Redis, or dropped and counted."""
    triggered = Counter(line["life"] for line in facts.of["pub"])
    for told in facts.of["counters"]:
        taken = told.get("events_published", 0) - told.get("events_sent_again", 0)
        dropped = sum(told.get(f"events_{how}", 0) for how in ("dropped_outbox", "refused_by_redis", "unsent"))
        if taken + dropped + told.get("events_outbox", 0) != triggered[told["life"]]:
            yield Finding(
                "every event is acknowledged, or dropped with a count",
                f"{told['life']} triggered {triggered[told['life']]}; Redis took {taken}, {dropped} were dropped",
            )


def _told_of_gaps(facts: Facts, subscriber: str, lost: int, dropped: int) -> Iterator[Finding]:
    told = sum(line["lost"] for line in facts.of["gap"] if line["life"] == subscriber)
    if told != lost + dropped:
        yield Finding("on_gap is told of every loss", f"{subscriber} counted {lost + dropped}, and was told of {told}")


def _counted(book: Book, subscriber: str, event: str) -> Iterator[Finding]:
    """Holes between what was heard are counted exactly; ends that nobody could see may be counted, or not."""
    counted: Counter[str] = Counter()
    for line in book.facts.of["gap"]:
        if line["life"] == subscriber and line["event"] == event:
            counted[line["of"]] += line["lost"]
    least, most = book.missing(subscriber, event)
    for publisher in counted.keys() | most.keys():
        if not least[publisher] <= counted[publisher] <= most[publisher]:
            yield Finding(
                "every missing event is counted",
                f"{subscriber}, {event} of {publisher}: {counted[publisher]} counted; between what it heard "
                f"{least[publisher]} are missing, in all at most {most[publisher]}",
            )


def _accounted(book: Book, subscriber: str, stream: Stream) -> Iterator[Finding]:
    """Each event that is missing has been counted or has a reason; one finding for all of a stream that have none."""
    numbers = set(book.heard.get((subscriber, stream), ()))
    first, last = (min(numbers), max(numbers)) if numbers else (_NEVER, -1)
    unaccounted, broken = [], []
    for n, when in enumerate(book.triggered[stream]):
        if n in numbers or when < book.hears[subscriber]:
            continue
        if stream.event == KEPT and _is_promised(book, subscriber, stream, n, when):
            broken.append(n)
        if not first < n < last and not _has_a_reason(book, subscriber, stream, n, when):
            unaccounted.append(n)
    dropped = book.dropped[stream]  # by the publisher, which has counted them: it may have been these, and no more
    where = f"{subscriber} of {stream.of}, {stream.event}"
    if len(broken) > dropped:
        yield Finding("durable events come", f"{where}: {_some(broken)} of {len(book.triggered[stream])} never came")
    if len(unaccounted) > dropped:
        yield Finding("every event is accounted for", f"{where}: {_some(unaccounted)} were neither heard nor counted")


def _some(numbers: list[int]) -> str:
    return f"{len(numbers)} events, {numbers[0]} to {numbers[-1]}," if len(numbers) > 1 else f"{numbers[0]}"


def _has_a_reason(book: Book, subscriber: str, stream: Stream, n: int, when: float) -> bool:
    acknowledged = book.acknowledged(stream, n)
    if acknowledged == _NEVER and _ended(book, stream.of) < _NEVER:
        return True  # it was in the outbox of somebody who died
    return book.cut_off_until(subscriber, when, acknowledged) > when


def _ended(book: Book, life: str) -> float:
    """When a publisher's life ended, if that was before the end of the storm."""
    ended = book.facts.ends.get(life)
    return float(ended["t"]) if ended and ended["t"] < book.facts.healed else _NEVER


def _is_promised(book: Book, subscriber: str, stream: Stream, n: int, when: float) -> bool:
    """At least once while the publisher lives; what a Redis has forgotten it sends again, if it lives for as long as that."""
    ended = _ended(book, stream.of)
    if ended == _NEVER:
        return True
    acknowledged = book.acknowledged(stream, n)
    if acknowledged == _NEVER:
        return False
    back = book.cut_off_until(subscriber, when, acknowledged)
    return not any(
        when - MARGIN < forgotten.end and forgotten.begin < back and _was_dead(book, stream.of, ended, forgotten)
        for forgotten in book.facts.within(("forget",), {REDIS})
    )


def _was_dead(book: Book, life: str, ended: float, forgotten: Span) -> bool:
    """Whether a publisher was, or had no time any more to send again, when Redis forgot."""
    kept_from_it = sum(
        max(0.0, min(span.end, ended) - max(span.begin, forgotten.begin))
        for span in book.blows_at(book.facts.name(life))
    )
    return ended < forgotten.end + MARGIN + kept_from_it


def _last_words(book: Book) -> Iterator[Finding]:
    for last in book.facts.of["last"]:
        stream = Stream(last["life"], last["event"])
        for life in book.facts.survivors():
            if life in book.hears and life != stream.of and last["n"] not in book.heard.get((life, stream), ()):
                yield Finding(
                    "who has healed hears", f"{life} did not hear {last['n']}, the last {stream.event} of {stream.of}"
                )
