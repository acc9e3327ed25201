"""The schedule: which blow falls when, on whom and for how long, as a function of a seed.

Each kind of blow is dealt once before any is dealt again, so a short run has its share of all that fit in. Nobody is struck
twice at a time: what a paused and then killed process saw could not be told apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

REDIS = "redis"
LULLS = 120.0
"""Seconds from one lull to the next, the first of which begins the storm: in it nothing happens but that one worker is killed."""
LULL_BEFORE, LULL_AFTER = 10.0, 7.0
"""Seconds of peace before that death, when every call is answered, and after it, when everybody must be told of it."""


class Blow(NamedTuple):
    """One fault.

    Attributes:
        at: seconds from the beginning of the storm.
        kind: see ``KINDS``.
        targets: names of processes; Redis is one.
        seconds: how long it lasts; who was killed is started again after that.
    """

    at: float
    kind: str
    targets: tuple[str, ...]
    seconds: float

    @property
    def end(self) -> float:
        """When it is over."""
        return self.at + self.seconds


class Cast(NamedTuple):
    """Who is there to be struck."""

    hubs: Sequence[str]
    workers: Sequence[str]
    callers: Sequence[str]
    cuttable: Sequence[str]
    """Those that others reach through a relay."""
    cuttable_from_redis: Sequence[str]
    """Those that reach Redis through one."""
    spared: Sequence[str] = ()
    """Those that live to the end, and are only cut off and stopped for a while: what they have gathered by then is weighed."""


class _Kind(NamedTuple):
    shortest: float
    longest: float
    """Seconds at the scale of a long run."""
    share: int
    """How often it is dealt in a round."""


KINDS = {
    "kill-worker": _Kind(0.1, 4.0, 4),
    "stop-worker": _Kind(0.1, 2.0, 2),
    "pause-worker": _Kind(0.2, 8.0, 2),
    "kill-caller": _Kind(0.2, 2.0, 1),
    "pause-caller": _Kind(0.2, 4.0, 1),
    "kill-hub": _Kind(0.2, 6.0, 2),
    "stop-hub": _Kind(0.2, 4.0, 1),
    "pause-hub": _Kind(0.5, 8.0, 1),
    "kill-all-hubs": _Kind(0.5, 4.0, 1),
    "restart-redis": _Kind(0.1, 3.0, 1),
    "forget-redis": _Kind(0.1, 3.0, 1),
    "pause-redis": _Kind(0.2, 5.0, 1),
    "freeze": _Kind(0.3, 6.0, 2),
    "freeze-answers": _Kind(0.3, 6.0, 2),
    "lose-answers": _Kind(0.3, 4.0, 3),
    "reset": _Kind(0.05, 0.1, 2),
    "refuse": _Kind(0.3, 4.0, 1),
    "freeze-redis": _Kind(0.3, 6.0, 1),
    "lose-answers-redis": _Kind(0.3, 4.0, 2),
    "reset-redis": _Kind(0.05, 0.1, 1),
}


def deal(
    seed: int,
    seconds: float,
    cast: Cast,
    *,
    every: float = 0.7,
    scale: float = 1.0,
    kinds: Sequence[str] = tuple(KINDS),
) -> list[Blow]:
    """The blows of a storm, in order.

    Args:
        seed: the same one deals the same.
        seconds: all blows are over by then.
        cast: who is there.
        every: mean seconds from one blow to the next.
        scale: factor on how long blows last.
        kinds: those that there are.
    """
    chance = random.Random(seed)
    blows: list[Blow] = []
    deck: list[str] = []
    at, lull = 0.0, 0.0
    while at < seconds:
        if at >= lull:
            blows.append(_lone_death(chance, blows, cast))
            at, lull = blows[-1].end + chance.uniform(0.4, 1.0) * every, at + LULLS
            continue
        deck = deck or _shuffled(chance, kinds)
        busy = {name for blow in blows if blow.end + 0.3 > at for name in blow.targets}
        blow = _next(chance, deck, at, scale, cast, busy)
        if blow is not None:
            blows.append(blow)
        at += chance.uniform(0.2, 1.8) * every
    return [blow for blow in blows if blow.end < seconds]


def _lone_death(chance: random.Random, blows: Sequence[Blow], cast: Cast) -> Blow:
    at = max((blow.end for blow in blows), default=0.0) + LULL_BEFORE
    worker = chance.choice([name for name in cast.workers if name not in cast.spared])
    return Blow(round(at, 3), "kill-worker", (worker,), LULL_AFTER)


def _shuffled(chance: random.Random, kinds: Sequence[str]) -> list[str]:
    deck = [kind for kind in kinds for _ in range(KINDS[kind].share)]
    chance.shuffle(deck)
    firsts = sorted(kinds, key=deck.index)  # each kind once, then the rest
    rest = list(deck)
    for kind in firsts:
        rest.remove(kind)
    return [*rest, *reversed(firsts)]  # dealt from the end


def _next(chance: random.Random, deck: list[str], at: float, scale: float, cast: Cast, busy: set[str]) -> Blow | None:
    """The topmost blow that finds a target now; None while everybody has been struck."""
    for place in range(len(deck) - 1, -1, -1):
        targets = _targets(chance, deck[place], cast, busy)
        if targets:
            kind = deck.pop(place)
            length = chance.uniform(KINDS[kind].shortest, KINDS[kind].longest) * scale
            return Blow(round(at, 3), kind, targets, round(length, 3))
    return None


def _targets(chance: random.Random, kind: str, cast: Cast, busy: set[str]) -> tuple[str, ...]:
    if kind.endswith("all-hubs"):
        return () if busy & set(cast.hubs) else tuple(cast.hubs)
    if kind in {"restart-redis", "forget-redis", "pause-redis"}:
        return () if REDIS in busy else (REDIS,)
    who = {"worker": cast.workers, "caller": cast.callers, "hub": cast.hubs, "redis": cast.cuttable_from_redis}
    not_them = {*busy, *(cast.spared if kind.startswith(("kill", "stop")) else ())}
    free = [name for name in who.get(kind.rpartition("-")[2], cast.cuttable) if name not in not_them]
    return (chance.choice(free),) if free else ()
