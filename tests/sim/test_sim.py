"""The simulation in the suite: some seeds hold, and every sabotage is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sim.__main__ import caught
from tests.sim.rules import run
from tests.sim.sabotages import SABOTAGES
from tests.sim.world import Broken


@pytest.mark.parametrize("begin", range(0, 2000, 250))
def test_every_promise_holds_in_two_thousand_seeds(begin: int) -> None:
    for seed in range(begin, begin + 250):
        try:
            run(seed)
        except Broken as error:
            pytest.fail(f"seed {seed}: {error}; again: python -m tests.sim --seed {seed}")


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotaged_rule_is_noticed(name: str) -> None:
    assert caught(name, range(200)) is not None


def test_the_page_says_how_many_rules_are_broken() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    assert re.findall(r"breaks (\d+) rules", page) == [str(len(SABOTAGES))]
