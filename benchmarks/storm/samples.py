"""What a row's trials came to: raw samples as JSON lines, and the table made of them.

A sample is one measured time, or one outcome that has none; `broken` says what of the promise did not hold, if anything.
Files are only ever appended to: a row's table is made of all that stands there.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reliability"


class Sample(NamedTuple):
    """One thing that one trial showed.

    Attributes:
        trial: its number within the run.
        what: which part of the row's promise.
        seconds: how long it took, or None where nothing is timed.
        broken: what did not hold, or "".
    """

    trial: int
    what: str
    seconds: float | None = None
    broken: str = ""


class NoTrial(Exception):
    """The harm did not come about, so nothing of the promise was tried: no sample of it."""


Trials = Generator[Sample, None, None]
"""What a row's trials show, as they come; closing it ends all that it started."""


class Promise(NamedTuple):
    """A part of a row's promise.

    Attributes:
        what: as samples name it.
        words: what is promised.
        limit: seconds within which it is, at the 99th percentile; None where only the outcome is promised.
    """

    what: str
    words: str
    limit: float | None = None


def commit() -> str:
    """The commit that is measured; a plus says that files differ from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()


def append(row: str, samples: Iterable[Sample]) -> Iterator[Sample]:
    """Write each sample down as it comes, with the machine's load beside it, and pass it on."""
    FOLDER.mkdir(exist_ok=True)
    about = {"commit": commit(), "python": platform.python_version()}
    with (FOLDER / f"{row}.jsonl").open("a") as file:
        for sample in samples:
            seconds = None if sample.seconds is None else round(sample.seconds, 6)
            said: dict[str, Any] = {"row": row, "trial": sample.trial, "what": sample.what, "seconds": seconds}
            said |= {"broken": sample.broken, "load": round(os.getloadavg()[0], 2), **about}
            said["date"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            file.write(json.dumps(said) + "\n")
            file.flush()
            yield sample


def measured(row: str) -> dict[str, list[dict[str, Any]]]:
    """All samples of a row by what they show."""
    found: dict[str, list[dict[str, Any]]] = {}
    file = FOLDER / f"{row}.jsonl"
    for line in file.read_text().splitlines() if file.exists() else ():
        said = json.loads(line)
        found.setdefault(said["what"], []).append(said)
    return found


def percentile(values: list[float], share: float) -> float:
    """The smallest value that this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def cells(promise: Promise, samples: list[dict[str, Any]]) -> list[str]:
    """A promise's cells of the table: the promise, p50, p99 or the maximum, trials, load, whether it was met."""
    if not samples:
        return [promise.words, "", "", "0", "", "not measured yet"]
    times = [one["seconds"] for one in samples if one["seconds"] is not None]
    broken = sum(1 for one in samples if one["broken"])
    middle = end = ""
    late = False
    if times:
        high = percentile(times, 0.99)
        middle = _shown(percentile(times, 0.5))
        end = f"{_shown(high)} / {_shown(max(times))}" if len(times) >= 100 else f"— / {_shown(max(times))}"
        late = promise.limit is not None and (high if len(times) >= 100 else max(times)) > promise.limit
    verdict = f"**no**: {broken} of {len(samples)} broken" if broken else "**no**: late" if late else "yes"
    load = percentile([one["load"] for one in samples], 0.5)
    return [promise.words, middle, end, str(len(samples)), f"{load:.1f}", verdict]


def _shown(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
