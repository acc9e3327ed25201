"""The page on reliability says what was measured, and names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.storm.__main__ import table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_its_table_is_the_one_that_the_samples_make() -> None:
    (shown,) = re.findall(r"<!-- table -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert shown.splitlines() == list(table())


def test_each_test_that_it_names_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE)
    assert named
    assert [(file, test) for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()] == []
