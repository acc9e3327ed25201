"""The sabotages fit today's hubnet and the reference's document; nothing is run here."""

from __future__ import annotations

import pytest

from tests import reference_report
from tests.reference_report import PASSED, ROOT, Row
from tests.sabotage import MOST_OTHERS, called, copy, files_of, judged, named, sabotaged
from tests.sabotages import SABOTAGES, Sabotage


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row for row in reference_report.rows() if row.tests]


def a_sabotage(*names: str, old: str = "old") -> Sabotage:
    return Sabotage("a-sabotage", "a_file.py", old, "new", names)


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=[one.name for one in SABOTAGES])
def test_each_sabotage_changes_one_place_and_names_rows_that_exist(sabotage: Sabotage, rows: list[Row]) -> None:
    file = ROOT / "hubnet" / sabotage.file
    text = sabotaged(file.read_text(), sabotage)
    assert text != file.read_text()
    compile(text, file, "exec")
    assert named(sabotage, rows)


def test_sabotages_have_names_of_their_own_and_some_are_short() -> None:
    assert len({one.name for one in SABOTAGES}) == len(SABOTAGES) >= 25
    assert 3 <= len([one for one in SABOTAGES if one.short]) < 10


@pytest.mark.parametrize("text", ["nothing of it", "old and old"])
def test_what_a_sabotage_replaces_must_be_there_exactly_once(text: str) -> None:
    assert sabotaged("one old word", a_sabotage()) == "one new word"
    with pytest.raises(LookupError, match=r"a-sabotage: a_file\.py has"):
        sabotaged(text, a_sabotage())


def test_a_row_is_named_whole_or_by_its_beginning_and_brings_along_what_the_same_tests_show(rows: list[Row]) -> None:
    whole = named(a_sabotage("connect: Custom tagging"), rows)
    assert named(a_sabotage("connect: Custom tag…"), rows) == whole
    assert [called(row).partition("(")[0] for row in whole] == ["connect: Custom tagging", "connect: @net.connect"]
    assert files_of(whole) == ["test_reference_connect"]


@pytest.mark.parametrize("name", ["connect: Custom tag", "connect: No such sentence.", "connect: …"])
def test_a_name_that_means_no_row_or_several_is_an_error(rows: list[Row], name: str) -> None:
    with pytest.raises(LookupError, match="a-sabotage: 'connect: "):
        named(a_sabotage(name), rows)


@pytest.mark.parametrize(
    ("red", "is_good"),
    [
        (range(2), True),
        (range(2 + MOST_OTHERS), True),
        (range(2 + MOST_OTHERS + 1), False),
        (range(1), False),
        (range(1, 4), False),
        ([], False),
    ],
)
def test_all_named_rows_must_be_red_and_at_most_three_others(rows: list[Row], red: list[int], is_good: bool) -> None:
    some = [row._replace(tests=(f"file::test_{number}",)) for number, row in enumerate(rows[:8])]
    outcomes = {f"file::test_{number}": "failed" if number in red else PASSED for number in range(8)}
    assert judged(some[:2], some, outcomes).good is is_good


def test_a_sabotage_is_in_the_copy_alone_and_the_copy_is_what_is_tested() -> None:
    sabotage = SABOTAGES[0]
    with copy(sabotage) as root:  # it looks which hubnet the tests and their processes import
        assert sabotage.old not in (root / "hubnet" / sabotage.file).read_text()
        assert sabotage.old in (ROOT / "hubnet" / sabotage.file).read_text()
    assert not root.exists()
