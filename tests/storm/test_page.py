"""The page on reliability says what was measured, and names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.storm.__main__ import ROWS, table
from benchmarks.storm.samples import FOLDER, measured

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_its_table_is_the_one_that_the_samples_make() -> None:
    (shown,) = re.findall(r"<!-- table -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert shown.splitlines() == list(table())


def test_each_test_that_it_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert named
    assert [(file, test) for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()] == []


@pytest.mark.parametrize("name", ROWS)
def test_no_sample_of_a_broken_promise_is_missing_from_its_lines(name: str) -> None:
    broken = {what for what, samples in measured(name).items() if any(one["broken"] for one in samples)}
    assert broken <= {promise.what for promise in ROWS[name].promises}


def test_every_file_of_samples_is_a_row_s() -> None:
    assert {file.stem for file in FOLDER.glob("*.jsonl")} <= ROWS.keys()
