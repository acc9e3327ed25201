"""What of the reference's document holds: ``python -m tests.reference_report`` prints sentence, test and result.

It runs the reference tests, or reads the results of a run: ``python -m tests.reference_report junit.xml``. The exit code is 1
if a row has no test, or a test that did not pass (expected failures did not).
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import IO, NamedTuple
from xml.etree import ElementTree

import pytest

from tests import examples
from tests.sentences import DOCUMENT, EXAMPLE, Claim, Item, claims_of, items

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "tests" / "api").glob("test_reference_*.py"))
PASSED, MISSING = "passed", "no result"
_RAN_TO_THE_END = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
_WORST_FIRST = ("failed", "error", "xfailed", "skipped", MISSING, PASSED)


class Row(NamedTuple):
    """A sentence and who shows that it holds.

    Attributes:
        item: of the document.
        tests: as "file::function"; none for an example that cannot be run as printed.
        differs: hubnet does it otherwise, and the tests show how.
        not_run: why an example is not run as printed, or "".
    """

    item: Item
    tests: tuple[str, ...]
    differs: bool
    not_run: str

    @property
    def is_empty(self) -> bool:
        """Whether nobody shows it."""
        return not self.tests and not self.not_run


def claims() -> dict[str, list[Claim]]:
    """What each reference test says it holds, by "file::function"."""
    found = {}
    for file in FILES:
        module = importlib.import_module(f"tests.api.{file.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_"):
                found[f"{file.stem}::{name}"] = claims_of(test)
    return found


def rows() -> list[Row]:
    """The document in its order, each item with its tests.

    Raises:
        LookupError: a test names what the document does not say, or says of several names.
    """
    printed = items(DOCUMENT.read_text())
    tests: dict[Item, list[str]] = defaultdict(list)
    different: set[Item] = set()
    for test, claimed in claims().items():
        for claim in claimed:
            for item in _meant(claim, printed, test):
                tests[item].append(test)
                if claim.differs:
                    different.add(item)
    return [Row(item, tuple(dict.fromkeys(tests[item])), item in different, _why_not_run(item)) for item in printed]


def _why_not_run(item: Item) -> str:
    return examples.why_not_run(item.text) if item.kind == EXAMPLE else ""


def _meant(claim: Claim, printed: Iterable[Item], test: str) -> list[Item]:
    if claim.example:
        text = examples.files()[claim.text]
        found = [item for item in printed if item.kind == EXAMPLE and examples.as_python(item.text) == text]
    else:
        found = [item for item in printed if item.text == claim.text and claim.of in {"", item.of}]
        found = found or [item for item in printed if item.kind == EXAMPLE and _is_line(claim.text, item.text)]
    if not found:
        raise LookupError(f"{test}: the document does not say {claim.text!r} {claim.of and 'of ' + claim.of}")
    if len({item.of for item in found}) > 1:
        raise LookupError(f"{test}: of=… is missing: the document says {claim.text!r} of {[item.of for item in found]}")
    return found


def _is_line(text: str, example: str) -> bool:
    return any(text == " ".join(line.split()) for line in example.splitlines())


def run(
    *options: str, root: Path = ROOT, tests: Iterable[str | Path] = FILES, output: IO[str] | None = None
) -> dict[str, str]:
    """Run the reference tests; the result of each by "file::function".

    Args:
        options: of pytest.
        root: the checkout, or a copy of it.
        tests: what to run in place of all.
        output: where pytest's own words go; standard error by default.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *options, *map(str, tests)]
        env = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(command, cwd=root, env=env, stdout=output or sys.stderr, check=False)
        if done.returncode not in _RAN_TO_THE_END:
            sys.exit(f"pytest was interrupted, or could not begin: exit code {done.returncode}")
        return results(report)


def results(report: Path) -> dict[str, str]:
    """The result of each test in a JUnit report, the worst of those of its parameters."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file, function = case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0]
        name = f"{file}::{function}"
        found[name] = min(found.get(name, PASSED), _result(case), key=_WORST_FIRST.index)
    return found


def _result(case: ElementTree.Element) -> str:
    if case.find("failure") is not None:
        return "failed"
    if case.find("error") is not None:
        return "error"
    skipped = case.find("skipped")
    if skipped is not None:
        return "xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"
    return PASSED


def is_green(row: Row, outcomes: dict[str, str]) -> bool:
    """Whether a row has what shows it, and all of that passed."""
    return not row.is_empty and all(outcomes.get(test) == PASSED for test in row.tests)


def show(found: Iterable[Row], outcomes: dict[str, str]) -> bool:
    """Print all rows; whether all are green."""
    red = total = differing = 0
    for row in found:
        total += 1
        red += not is_green(row, outcomes)
        differing += row.differs
        text = row.item.text.replace("\n", "\n          ")
        print(f"{row.item.lines[0]:>5}  {row.item.of}: {text}{'  [differs]' if row.differs else ''}")
        for test in row.tests:
            print(f"          {outcomes.get(test, MISSING):<9} {test}")
        if row.not_run:
            print(f"          not run as printed: {row.not_run}")
        elif row.is_empty:
            print("          NO TEST")
    print(f"\n{total} rows, {differing} of them differ; {red} red or empty; {len(outcomes)} tests")
    return not red


def main() -> int:
    """Print the report; the exit code."""
    found = rows()
    outcomes = results(Path(sys.argv[1])) if len(sys.argv) > 1 else run()
    return 0 if show(found, outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
