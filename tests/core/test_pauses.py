"""Pauses: whoever comes back to a hub or to Redis does so in a moment of its own, and soon."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubnet.core import pauses

FAILURES = (1, 2, 3, 10, 1000)
ALL = {
    "before Redis": pauses.BEFORE_REDIS,
    "before asking": pauses.BEFORE_ASKING,
    **{f"before a hub, {failures} failures": pauses.before_hub(failures) for failures in FAILURES},
}
PEERS = 200


def drawn(bounds: pauses.Bounds, seed: int) -> list[float]:
    """When each of many peers comes back, of a cause that all have at one moment."""
    return sorted(random.Random(seed * PEERS + peer).uniform(*bounds) for peer in range(PEERS))


@pytest.mark.parametrize("which", ALL)
@given(seed=st.integers(0, 1 << 40))
def test_nobody_waits_for_longer_than_a_second_and_no_moment_has_many(which: str, seed: int) -> None:
    """Of two hundred that lost it together, at most a third come within any tenth of the time in which they come."""
    least, most = ALL[which]
    moments = drawn(ALL[which], seed)
    assert least <= moments[0]
    assert moments[-1] <= most <= pauses.LONGEST == 1.0
    tenth = (most - least) / 10
    assert max(sum(at <= other <= at + tenth for other in moments) for at in moments) <= PEERS / 3
    assert moments[-1] - moments[0] > (most - least) / 2


@pytest.mark.parametrize("which", ALL)
def test_all_come_within_no_less_than_three_tenths_of_a_second(which: str) -> None:
    """A hub takes some milliseconds to register one of them, Redis less than one."""
    least, most = ALL[which]
    assert most - least >= 0.3


def test_who_lost_its_hub_looks_for_the_next_one_soon_and_then_once_a_second_at_most() -> None:
    soon, later = pauses.before_hub(1), [pauses.before_hub(failures) for failures in FAILURES[1:]]
    assert soon[1] <= 0.3  # a hundred peers of a hub that died are to be with another one within a second
    assert all(0.1 <= least < most <= 1.0 for least, most in later)
