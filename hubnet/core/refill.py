"""Refilling: which envelopes of a durable stream a subscriber still wants, and how far back it has to read.

A stream is read from its end, because what is missing is what came last. Two things make one read further: a publisher whose
numbers have a hole, and a time since when everything counts, such as the beginning of a cut. Times are Redis's own, in
milliseconds, as the ids of its entries have them; nobody's wall clock is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from hubnet.core.envelopes import Envelope


class Reading:
    """One reading of one stream, told its entries from the newest to the oldest.

    Args:
        expected: by publisher's incarnation, the next number that was not heard yet; other publishers are unknown.
        missing: publishers of whom the expected number is known to have gone by.
        since: what is no older is wanted from unknown publishers too; None: nothing of theirs is.
    """

    def __init__(
        self, expected: Mapping[bytes, int], missing: Iterable[bytes] = (), since: float | None = None
    ) -> None:
        self._expected = expected
        self._missing = set(missing)
        self._since = since

    def wants(self, at: float, envelope: Envelope) -> bool:
        """Whether this entry has events that were not heard."""
        publisher = envelope.sender.incarnation
        expected = self._expected.get(publisher)
        if expected is None:
            return self._since is not None and at >= self._since
        if envelope.first <= expected:
            self._missing.discard(publisher)
        else:
            self._missing.add(publisher)
        return envelope.first + envelope.size > expected

    def enough(self, at: float) -> bool:
        """Whether nothing is wanted any more of what was written at that time or before."""
        return not self._missing and (self._since is None or at < self._since)


def in_order(envelopes: Sequence[Envelope]) -> Iterator[Envelope]:
    """The order in which they were written, but each publisher's by number: after a failover earlier ones are written again."""
    by_publisher: dict[bytes, list[Envelope]] = {}
    for envelope in envelopes:
        by_publisher.setdefault(envelope.sender.incarnation, []).append(envelope)
    numbered = {who: iter(sorted(theirs, key=lambda one: one.first)) for who, theirs in by_publisher.items()}
    return (next(numbered[envelope.sender.incarnation]) for envelope in envelopes)
