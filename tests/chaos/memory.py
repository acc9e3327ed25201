"""What a soak asks of memory: whether a process still grows once it has warmed up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WARM_UP = 300.0
"""Seconds in which caches, pools and arenas may fill."""
MOST_GROWTH = 0.03
"""Share of its memory at the end of the warm-up that a process may gain by the fitted line in the time after it ..."""
MOST_BYTES = 2 << 20
"""... and what it may gain however small it is: a page here and there is no leak."""


class Sample(NamedTuple):
    """One look at one process."""

    t: float
    rss: int
    threads: int
    files: int


class Trend(NamedTuple):
    """What a process's memory did after the warm-up, in bytes; `slope` is a minute's."""

    first: int
    last: int
    highest: int
    slope: float
    growth: float
    flat: bool


def trend(samples: Sequence[Sample], *, warm_up: float = WARM_UP) -> Trend:
    """The least-squares line through what was seen after the warm-up.

    Raises:
        ValueError: fewer than three samples are as late.
    """
    late = [one for one in samples if one.t - samples[0].t >= warm_up]
    if len(late) < 3:
        raise ValueError(f"{len(late)} samples after the warm-up: it takes three")
    mean_t = sum(one.t for one in late) / len(late)
    mean_rss = sum(one.rss for one in late) / len(late)
    slope = sum((one.t - mean_t) * (one.rss - mean_rss) for one in late) / sum((one.t - mean_t) ** 2 for one in late)
    growth = slope * (late[-1].t - late[0].t)
    most = max(MOST_BYTES, MOST_GROWTH * late[0].rss)
    return Trend(late[0].rss, late[-1].rss, max(one.rss for one in late), slope * 60, growth, growth <= most)
