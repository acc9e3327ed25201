"""What a row's trials show is told whole: also of a trial that comes to no end."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from benchmarks.storm.__main__ import Row, ended
from benchmarks.storm.networks import shown
from benchmarks.storm.samples import NoTrial, Promise, Sample, Trials
from tests.networks.farm import Seen

ROW = Row("it rains", (Promise("wet", "wet"), Promise("dry", "dry again")), lambda _, __: trials([]))


def trials(samples: Iterable[Sample], *, whole: bool = False) -> Trials:
    yield from samples
    assert whole, "not within 60 s"


def broken(samples: Iterable[Sample]) -> list[tuple[int, str]]:
    return [(one.trial, one.what) for one in ended(ROW, trials(samples)) if one.broken]


def test_trials_that_end_are_told_as_they_are() -> None:
    samples = [Sample(0, "wet", 1.0), Sample(0, "dry", 2.0)]
    assert list(ended(ROW, trials(samples, whole=True))) == samples


def test_what_a_trial_did_not_come_to_is_broken() -> None:
    assert broken([Sample(0, "wet"), Sample(0, "dry"), Sample(1, "wet")]) == [(1, "dry")]


def test_of_a_trial_that_showed_nothing_all_is_broken() -> None:
    assert broken([Sample(0, "wet"), Sample(0, "dry")]) == [(1, "wet"), (1, "dry")]


def test_where_not_even_the_net_came_up_nothing_was_tried() -> None:
    with pytest.raises(AssertionError, match="not within"):
        list(ended(ROW, trials([])))


def test_a_harm_that_did_not_come_about_breaks_nothing() -> None:
    def made() -> Trials:
        yield Sample(0, "wet", 1.0)
        raise NoTrial

    told = ended(ROW, made())
    assert next(told) == Sample(0, "wet", 1.0)
    with pytest.raises(NoTrial):
        next(told)


def test_what_has_no_time_is_a_sample_as_well() -> None:
    assert list(shown(3, Seen({"gone": 4.5}, {"gone": "", "calls": "no calls"}))) == [
        Sample(3, "gone", 4.5, ""),
        Sample(3, "calls", None, "no calls"),
    ]
