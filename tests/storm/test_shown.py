"""Rows that are made of tests: every run of one is a sample, and whatever did not pass has broken a promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm.__main__ import ROWS
from benchmarks.storm.shown import by_tests

TESTS = """
import os
import pytest

runs = []

def test_good():
    pass

def test_bad_at_last():
    runs.append(1)
    assert len(runs) < 3, "the third of them"

def test_dies():
    runs.append(1)
    if len(runs) == 3:
        os._exit(7)

def test_skipped():
    pytest.skip("not here")

@pytest.fixture
def no_net():
    raise RuntimeError("no net")

def test_without_a_net(no_net):
    pass
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "test_made_up.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_each_run_is_a_sample_and_what_did_not_pass_is_broken(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    named = {name: f"test_made_up.py::test_{name}" for name in ("good", "bad_at_last", "skipped", "without_a_net")}
    found = list(by_tests(named, tmp_path_factory.mktemp("row"), 3, root=root))
    broken = {name: [one.broken for one in found if one.what == name] for name in named}
    assert [one.trial for one in found] == [0, 1, 2] * 4
    assert broken["good"] == ["", "", ""]
    assert broken["bad_at_last"][:2] == ["", ""]
    assert "the third of them" in broken["bad_at_last"][2]
    assert all("not here" in one for one in broken["skipped"])
    assert all("no net" in one for one in broken["without_a_net"])


def test_a_test_that_is_not_there_is_no_trial(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(AssertionError, match="test_gone"):
        list(by_tests({"gone": "test_made_up.py::test_gone"}, tmp_path_factory.mktemp("row"), 3, root=root))


def test_a_trial_that_takes_all_down_with_it_does_not_count_as_none(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(AssertionError, match="ended with 7"):
        list(by_tests({"dies": "test_made_up.py::test_dies"}, tmp_path_factory.mktemp("row"), 3, root=root))


def test_each_row_of_tests_names_tests_that_there_are() -> None:
    rows = [row.run.args[0] for row in ROWS.values() if getattr(row.run, "func", None) is by_tests]
    assert len(rows) >= 5
    for file, name in (test.split("::") for tests in rows for test in tests.values()):
        assert f"def {name}(" in (Path(__file__).parents[2] / file).read_text()
