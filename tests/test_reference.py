"""The document beside the tests, its examples, and the tests of the other files fit each other; nothing is run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import examples, reference_report
from tests.sentences import DOCUMENT, folded, items


def words(text: str) -> list[str]:
    return re.sub(r"\[source\]|•|Parameters:|Returns:", " ", text).split()


def test_the_items_are_all_of_the_document_but_headings() -> None:
    """No line gets lost between the items, and their order is that of the document."""
    said: dict[int, list[str]] = {}
    for item in items(DOCUMENT.read_text()):
        for line in item.lines:
            said.setdefault(line, []).append(item.text)
    kept = [word for line in sorted(said) for text in said[line] for word in words(text)]
    left_out = []
    for word in words(DOCUMENT.read_text()):
        if kept and kept[0] == word:
            kept.pop(0)
        else:
            left_out.append(word)
    assert kept == []
    assert " ".join(left_out) == (
        "net package Submodules net.api module api module net.cli module net.connect module Connect Module net.environment "
        "module Handler Module net.event module Event Module Note For example: Instead net.flag module Flag Module net.handler "
        "module Handler Module net.imports module net.peer module net.subscribe module Subscribe Module Module contents Note "
        "For example: Instead"
    )


def test_every_example_is_a_file_or_cannot_be_run_as_printed() -> None:
    runnable = [one for one in examples.printed() if not examples.why_not_run(one)]
    assert sorted(examples.as_python(one) for one in runnable) == sorted(examples.files().values())
    assert len(runnable) == len(examples.printed()) - 3


def test_a_file_is_the_printed_example_but_for_the_name_of_the_module_and_prose() -> None:
    assert examples.as_python("    ...do something\n\nx = net.peers()") == "    ...\n\nx = hubnet.peers()\n"
    assert examples.as_python("...\nimport internet.x") == "...\nimport internet.x\n"


def test_every_sentence_has_a_test() -> None:
    assert [row.item for row in reference_report.rows() if row.is_empty] == []


def test_every_reference_test_says_what_it_holds() -> None:
    assert [test for test, claimed in reference_report.claims().items() if not claimed] == []


def test_the_page_of_differences_quotes_what_differs_and_nothing_else() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference-differences.md").read_text()
    quotes = re.findall(r"^> .*(?:\n> .*)*", page, re.MULTILINE)
    claimed = {claim.text for found in reference_report.claims().values() for claim in found if claim.differs}
    not_run = {folded(line) for line in examples.NOT_RUNNABLE}
    assert {folded(re.sub("^> ", "", quote, flags=re.MULTILINE)) for quote in quotes} == claimed | not_run


JUNIT = """<testsuites><testsuite>
<testcase classname="tests.api.test_reference_x" name="test_good[1]"/>
<testcase classname="tests.api.test_reference_x" name="test_good[2]"/>
<testcase classname="tests.api.test_reference_x" name="test_bad[1]"/>
<testcase classname="tests.api.test_reference_x" name="test_bad[2]"><failure/></testcase>
<testcase classname="tests.api.test_reference_x" name="test_known"><skipped type="pytest.xfail"/></testcase>
<testcase classname="tests.api.test_reference_x" name="test_skipped"><skipped type="pytest.skip"/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("tests", "is_green"),
    [
        (["test_good"], True),
        (["test_good", "test_bad"], False),
        (["test_known"], False),
        (["test_skipped"], False),
        (["test_that_did_not_run"], False),
        ([], False),
    ],
)
def test_a_row_is_green_if_it_has_tests_and_all_of_them_passed(
    tmp_path: Path, tests: list[str], is_green: bool
) -> None:
    (tmp_path / "junit.xml").write_text(JUNIT)
    outcomes = reference_report.results(tmp_path / "junit.xml")
    row = reference_report.rows()[0]._replace(tests=tuple(f"test_reference_x::{test}" for test in tests))
    assert reference_report.show([row], outcomes) is is_green


def test_the_report_says_sentence_test_and_result(capsys: pytest.CaptureFixture[str]) -> None:
    row = reference_report.rows()[0]
    assert reference_report.show([row], dict.fromkeys(row.tests, "passed"))
    sentence, test, *_ = capsys.readouterr().out.splitlines()
    assert sentence.split() == ["9", "api:", *row.item.text.split()]
    assert test.split() == ["passed", *row.tests]
