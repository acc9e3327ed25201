"""Whether memory is flat is a matter of the line through its samples, not of one of them."""

from __future__ import annotations

import pytest

from .memory import Sample, trend
from .soak import gathered

MIB = 1 << 20


def samples(*, per_minute: float = 0.0, warm_up: float = 20.0, noise: int = 0) -> list[Sample]:
    """Thirty minutes, each ten seconds: `warm_up` MiB come in the first four, then `per_minute` bytes."""
    return [
        Sample(
            t, int(50 * MIB + min(1.0, t / 240) * warm_up * MIB + t / 60 * per_minute + (t // 10 % 3) * noise), 10, 20
        )
        for t in range(0, 1800, 10)
    ]


def test_what_comes_while_it_warms_up_is_no_growth():
    seen = trend(samples())
    assert seen.flat
    assert seen.slope == pytest.approx(0, abs=1)
    assert seen.first == seen.last == seen.highest == 70 * MIB


def test_a_saw_is_flat():
    assert trend(samples(noise=MIB)).flat


def test_a_leak_is_found():
    seen = trend(samples(per_minute=0.2 * MIB, noise=MIB))
    assert not seen.flat
    assert seen.slope == pytest.approx(0.2 * MIB, rel=0.05)


def test_too_few_samples_say_nothing():
    with pytest.raises(ValueError, match="it takes three"):
        trend(samples()[:31])


def test_threads_and_files_that_gather_are_told_from_those_that_come_and_go():
    assert gathered([10, 14, 12, *[13] * 24, 15, 11, 14]) == (14, 11)
    assert gathered([10, 11, 10, *range(11, 41)]) == (11, 38)
    assert gathered([10, 30]) == (10, 30)
