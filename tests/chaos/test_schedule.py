"""The schedule of a storm is a function of its seed, deals every kind, and strikes nobody twice at a time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from .checker import AFTERMATH
from .schedule import KINDS, LULL_AFTER, LULL_BEFORE, Blow, Cast, deal

CAST = Cast(
    ("h1", "h2"), ("w1", "w2", "w3", "w4", "w5", "w6"), ("c1", "c2", "c3"), ("h2", "w4", "w5", "w6"), ("w2", "w4", "c2")
)


def test_a_seed_deals_the_same_storm_again_and_another_seed_another():
    assert deal(7, 60, CAST) == deal(7, 60, CAST)
    assert deal(7, 60, CAST) != deal(8, 60, CAST)


@pytest.mark.parametrize("seed", range(20))
def test_blows_come_in_order_and_are_over_when_the_storm_is(seed: int):
    blows = deal(seed, 60, CAST)
    assert blows
    assert all(one.at <= other.at for one, other in pairwise(blows))
    assert all(blow.at >= 0 and blow.end < 60 for blow in blows)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_of_blow_falls_within_two_minutes_and_a_half(seed: int):
    assert {blow.kind for blow in deal(seed, 150, CAST)} == set(KINDS)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_struck_while_an_earlier_blow_lasts(seed: int):
    last: dict[str, Blow] = {}
    for blow in deal(seed, 120, CAST):
        for name in blow.targets:
            assert name not in last or last[name].end < blow.at
            last[name] = blow


@pytest.mark.parametrize("seed", range(20))
def test_every_two_minutes_a_worker_that_is_not_spared_dies_alone_and_all_must_be_told(seed: int):
    cast = CAST._replace(spared=("w1", "w2", "w3", "w4", "w5"))
    blows = deal(seed, 300, cast)
    lone = [
        death
        for death in blows
        if death.kind == "kill-worker" and death.seconds == LULL_AFTER and all(
            blow.end <= death.at - LULL_BEFORE + 0.001 or blow.at >= death.end for blow in blows if blow is not death
        )
    ]  # fmt: skip
    assert [death.targets for death in lone] == [("w6",)] * 3
    assert AFTERMATH + 3 < LULL_BEFORE
    assert AFTERMATH < LULL_AFTER


def test_blows_that_cut_fall_on_those_alone_who_have_a_relay():
    for blow in deal(3, 300, CAST):
        if blow.kind in {"freeze", "freeze-answers", "lose-answers", "reset", "refuse"}:
            assert set(blow.targets) <= set(CAST.cuttable)
        if blow.kind in {"freeze-redis", "lose-answers-redis", "reset-redis"}:
            assert set(blow.targets) <= set(CAST.cuttable_from_redis)
