"""Whether the reference tests can fail: ``python -m tests.sabotage`` breaks hubnet on purpose, one feature at a time.

Each sabotage is applied to a copy of the checkout in a temporary folder, never to the checkout itself, and the reference tests
run there, with the processes that they start; nets in memory are left out. The rows of the reference's document that the
sabotage names must turn red, at most three others may, and the rest must stay green. A row that is shown by the very tests of a
named one (an example and the sentence above it) goes with it. Prints a line for each; the exit code is 1 if one of them was not
noticed as it should be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tests import reference_report
from tests.reference_report import ROOT, Row, is_green
from tests.sabotages import SABOTAGES, Sabotage
from tests.sentences import folded

MOST_OTHERS = 3
_COPIED = ("hubnet", "tests", "pyproject.toml")
_WHERE = """
import pathlib, tempfile, hubnet
from tests.api.conftest import Net
with tempfile.TemporaryDirectory() as folder:
    actor = Net(pathlib.Path(folder)).actor()
    print(hubnet.__file__, actor.ask("hubnet.__file__"), sep="\\n")
    actor.close()
"""


class Verdict(NamedTuple):
    """What a sabotage did.

    Attributes:
        red: named rows that turned red, as they should.
        green: named rows that did not.
        others: rows that turned red without being named.
    """

    red: list[Row]
    green: list[Row]
    others: list[Row]

    @property
    def good(self) -> bool:
        """Whether that is what was expected."""
        return bool(self.red) and not self.green and len(self.others) <= MOST_OTHERS


def called(row: Row) -> str:
    """A row as sabotages name it."""
    return folded(f"{row.item.of}: {row.item.text}")


def named(sabotage: Sabotage, rows: Iterable[Row]) -> list[Row]:
    """The rows that a sabotage names, and those that are shown by the same tests.

    Raises:
        LookupError: a name means no row that has a test, or several.
    """
    shown = [row for row in rows if row.tests]
    found: list[Row] = []
    for name in sabotage.rows:
        beginning = name.removesuffix("…")
        meant = [
            row for row in shown if called(row) == name or (beginning != name and called(row).startswith(beginning))
        ]
        if len(meant) != 1:
            raise LookupError(f"{sabotage.name}: {name!r} means {[called(row) for row in meant]}")
        found += [row for row in shown if row.tests == meant[0].tests and row not in found]
    return found


def judged(expected: Iterable[Row], rows: Iterable[Row], outcomes: dict[str, str]) -> Verdict:
    """What a run says of the rows whose tests ran in it."""
    expected = list(expected)
    turned = [row for row in rows if row.tests and not is_green(row, outcomes)]
    return Verdict(
        [row for row in expected if row in turned],
        [row for row in expected if row not in turned],
        [row for row in turned if row not in expected],
    )


def sabotaged(text: str, sabotage: Sabotage) -> str:
    """The source with a sabotage in it.

    Raises:
        LookupError: what it replaces is not there exactly once.
    """
    if (times := text.count(sabotage.old)) != 1:
        raise LookupError(f"{sabotage.name}: {sabotage.file} has {times} times {sabotage.old!r}")
    return text.replace(sabotage.old, sabotage.new)


@contextmanager
def copy(sabotage: Sabotage | None = None) -> Iterator[Path]:
    """A copy of what the reference tests need, with the sabotage in it; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="hubnet-sabotage-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, root / name)
        if sabotage is not None:
            file = root / "hubnet" / sabotage.file
            file.write_text(sabotaged(file.read_text(), sabotage))
        _check_that_it_is_used(root)
        yield root


def _check_that_it_is_used(root: Path) -> None:
    """Whether the tests and the processes that they start import the hubnet of the copy."""
    command, env = [sys.executable, "-c", _WHERE], {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=60, check=False)
    if done.stdout.split() != [str(root / "hubnet" / "__init__.py")] * 2:
        sys.exit(f"not the copy in {root} would be tested, but: {done.stdout}{done.stderr}")


def run(root: Path, files: Iterable[str], log: IO[str]) -> dict[str, str]:
    """Run test files of a copy, once."""
    options = ("--tb=short", "-p", "no:cacheprovider", "-k", "not memory")
    return reference_report.run(*options, root=root, tests=(f"tests/api/{file}.py" for file in files), output=log)


def files_of(rows: Iterable[Row]) -> list[str]:
    """The test files that show these rows."""
    return sorted({test.partition("::")[0] for row in rows for test in row.tests})


def compare(chosen: list[Sabotage], *, whole: bool, log: IO[str], jobs: int = 1) -> bool:
    """Run all of these and print what they did; whether all did what is expected of them.

    Args:
        chosen: the sabotages.
        whole: run all reference tests for each, and not only the files that show its rows.
        log: for the output of the test runs.
        jobs: how many run side by side.
    """
    rows = [row for row in reference_report.rows() if row.tests]
    expected = {sabotage.name: named(sabotage, rows) for sabotage in chosen}
    files = {name: files_of(rows if whole else meant) for name, meant in expected.items()}
    every = sorted({file for some in files.values() for file in some})
    with copy() as root:
        before = judged((), _of(every, rows), run(root, every, log))
    if before.others:
        print("red without any sabotage:", *map(called, before.others), sep="\n    ")
        return False
    width = max(len(sabotage.name) for sabotage in chosen)
    print(f"{'sabotage':<{width}}  named rows red  others red  verdict", flush=True)
    good = 0

    def tried(sabotage: Sabotage) -> tuple[Verdict, str]:
        meant, tested = expected[sabotage.name], _of(files[sabotage.name], rows)
        with copy(sabotage) as root, tempfile.TemporaryFile("w+") as said:
            verdict = judged(meant, tested, run(root, files[sabotage.name], said))
            said.seek(0)
            return verdict, said.read()

    with ThreadPoolExecutor(jobs) as pool:
        for sabotage, (verdict, said) in zip(chosen, pool.map(tried, chosen), strict=True):
            meant = expected[sabotage.name]
            print(f"\n===== {sabotage.name}\n{said}", file=log, flush=True)
            good += verdict.good
            count = f"{len(verdict.red)} of {len(meant)}"
            print(
                f"{sabotage.name:<{width}}  {count:>14}  {len(verdict.others):>10}  {'noticed' if verdict.good else 'WRONG'}"
            )
            for what, ones in (("still green", verdict.green), ("red as well", verdict.others)):
                for row in ones:
                    print(f"    {what}: {called(row):.150}")
            sys.stdout.flush()
    print(f"\n{good} of {len(chosen)} sabotages noticed as expected")
    return good == len(chosen)


def _of(files: Iterable[str], rows: Iterable[Row]) -> list[Row]:
    """Those of the rows that these files show."""
    shown = set(files)
    return [row for row in rows if set(files_of([row])) <= shown]


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description="Break hubnet; do the tests notice?")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[one.name for one in SABOTAGES], help="only these")
    parser.add_argument("--short", action="store_true", help="a handful, and only the test files concerned")
    parser.add_argument("--jobs", type=int, default=1, help="how many side by side; 1 by default")
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where the output of the test runs goes")
    options = parser.parse_args()
    chosen = [one for one in SABOTAGES if options.only is None or one.name in options.only]
    if options.short and options.only is None:
        chosen = [one for one in chosen if one.short]
    with options.log.open("w") as log:
        return 0 if compare(chosen, whole=not options.short, log=log, jobs=options.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
