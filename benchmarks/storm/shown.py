"""Rows whose trial is a test: what a process does where it forks, or finds no file, disk or directory, is written down once.

The tests run as often as a row wants, in one process of pytest and on the nets that they make for themselves; each test is a
promise, and each of its runs a sample.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.storm.samples import ROOT, Sample, Trials


def by_tests(tests: dict[str, str], folder: Path, trials: int, *, root: Path = ROOT) -> Trials:
    """So many runs of each of these tests, by what they show; each parameter that a test has is a run of its own."""
    read, write = os.pipe()
    program = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "benchmarks.storm.again",
               "--basetemp", str(folder / "tests"), "--again", str(trials), "--tell", str(write), *tests.values()]  # fmt: skip
    said = (folder / "pytest.log").open("wb")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    with said, subprocess.Popen(program, cwd=root, env=env, pass_fds=[write], stdout=said, stderr=said) as process:
        os.close(write)
        made: Counter[str] = Counter()
        with os.fdopen(read) as lines:
            for told in map(json.loads, lines):
                what = next(what for what, test in tests.items() if told["test"].startswith(test))
                yield Sample(made[what], what, None, told["broken"])
                made[what] += 1
    ended = f"pytest ended with {process.returncode}: {(folder / 'pytest.log').read_text()[-2000:]}"
    assert process.returncode in {0, 1}, ended  # else it died of one of them
    assert all(made[what] >= trials for what in tests), ended
