"""The ledgers of a run, sorted for the questions that the checker asks of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .ledger import Line

RUN = "run"
"""The life whose ledger tells what was done to the others."""


class Finding(NamedTuple):
    """A broken promise."""

    promise: str
    text: str


class Span(NamedTuple):
    """A blow, from before it fell until after it was over."""

    kind: str
    names: tuple[str, ...]
    begin: float
    end: float


class Facts:
    """What is known of one run.

    Attributes:
        of: lines by what they say, each life's in its own order.
        births: each life's first line: its name, role and id.
        ends: how each life ended, by the run's ledger; ``sent`` is when it was struck.
        spans: all blows.
        healed: when the last blow was over and everybody back, or never.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self.of: defaultdict[str, list[Line]] = defaultdict(list)
        for line in lines:
            self.of[line["what"]].append(line)
        self.births = {line["life"]: line for line in self.of["born"]}
        self.ends = {line["whose"]: line for line in self.of["ended"]}
        self.spans = self._spans()
        self.healed = min((line["t"] for line in self.of["healed"]), default=float("inf"))

    def _spans(self) -> list[Span]:
        over = {line["number"]: line["t"] for line in self.of["over"]}
        return [
            Span(line["kind"], tuple(line["targets"]), line["t"], over.get(line["number"], float("inf")))
            for line in self.of["blow"]
        ]

    def within(self, kinds: tuple[str, ...], names: set[str]) -> Iterator[Span]:
        """Blows of kinds that begin so, at any of these names."""
        return (span for span in self.spans if span.kind.startswith(kinds) and names & set(span.names))

    def name(self, life: str) -> str:
        """The name that a life shares with those before and after it."""
        return life.partition("-")[0]

    def lives(self) -> dict[str, list[str]]:
        """Lives by their peer's id; with those that were killed when they had joined and not said yet that they were born."""
        ids = {self.name(life): str(born["id"]) for life, born in self.births.items()}
        found: defaultdict[str, list[str]] = defaultdict(list)
        for life in [*self.births, *(one for one in self.ends if one not in self.births)]:
            if self.name(life) in ids:
                found[ids[self.name(life)]].append(life)
        return found

    def survivors(self, *roles: str) -> list[str]:
        """Lives that were there when all had healed, of these roles or of any."""
        return [
            life
            for life, born in self.births.items()
            if (life not in self.ends or self.ends[life]["t"] > self.healed) and (not roles or born["role"] in roles)
        ]

    def storms(self, aftermath: float) -> list[tuple[float, float]]:
        """From when until when blows fell or had been over for less than this, in order and apart from each other."""
        found: list[tuple[float, float]] = []
        for begin, end in sorted((span.begin, span.end + aftermath) for span in self.spans):
            if found and begin <= found[-1][1]:
                found[-1] = found[-1][0], max(end, found[-1][1])
            else:
                found.append((begin, end))
        return found

    def stood_still(self, name: str, begin: float, end: float) -> float:
        """Seconds between two moments for which a process was stopped."""
        stops = [span for span in self.spans if span.kind.startswith("pause") and name in span.names]
        return sum(max(0.0, min(end, span.end) - max(begin, span.begin)) for span in stops)
