"""The soak: no storm, half of full speed for half an hour, and a look at each process every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.waiting import eventually

from .checker import GROWTH
from .facts import Facts, Finding
from .ledger import read
from .memory import WARM_UP, Sample, trend
from .run import Report, Wish, end, wait_until_born
from .stage import Stage

_LOOK = 10.0
_FULL_SPEED = 20.0
_FEW = 5
"""Threads and files that come and go with the calls that run just now."""


def look(stage: Stage, number: int) -> dict[str, Sample]:
    """One sample of each process: what it weighs once its allocator has handed back what it does not need."""
    for actor in stage.actors.values():
        actor.tell("weigh", look=number)
    found = {}
    for name, actor in stage.actors.items():
        said = eventually(lambda actor=actor: actor.ledger.find("weighed", look=number))  # type: ignore[misc]
        counts = [len(list(Path(f"/proc/{actor.process.pid}/{what}").iterdir())) for what in ("task", "fd")]
        found[name] = Sample(said["t"], said["rss"], *counts)
    return found


def gathered(counts: Sequence[int]) -> tuple[int, int]:
    """The most of the first few, and the fewest of the last: what only comes and goes is not in between."""
    few = max(1, len(counts) // 10)
    return max(counts[:few]), min(counts[-few:])


def soak(wish: Wish, folder: Path, *, warm_up: float = WARM_UP) -> Report:
    """One whole soak of `wish.seconds`; findings are processes that grew, and whatever went wrong without a storm."""
    wishes = {"seed": wish.seed, "threads": wish.threads, "pace": 0, "beats": wish.beats, "tally": True}
    stage = Stage(folder, wishes, hubs=wish.hubs, workers=wish.workers, callers=wish.callers, lease=wish.lease)
    seen: dict[str, list[Sample]] = {}
    try:
        for part in stage.parts:
            stage.start(part.name)
        wait_until_born(stage)
        full = _rate(stage, _FULL_SPEED)
        half = _steady(stage, wish, full / 2, seen)
        stage.ledger.write("healed")
        end(stage)
    finally:
        stage.close()
    return _report(folder, seen, full, half, warm_up)


def _rate(stage: Stage, seconds: float) -> float:
    """Calls a second, for so long."""
    begun, before = time.monotonic(), stage.outcomes
    time.sleep(seconds)
    return (stage.outcomes - before) / (time.monotonic() - begun)


def _steady(stage: Stage, wish: Wish, target: float, seen: dict[str, list[Sample]]) -> float:
    """Calls a second that there were, steered towards so many."""
    pace = wish.callers * wish.threads / target / 2
    rates = []
    until = time.monotonic() + wish.seconds
    while time.monotonic() < until:
        for actor in stage.actors.values():
            actor.tell("pace", pace=pace)
        rates.append(_rate(stage, _LOOK))
        pace = max(1e-4, pace * min(2.0, max(0.5, rates[-1] / target)))
        for name, sample in look(stage, len(rates)).items():
            seen.setdefault(name, []).append(sample)
            stage.ledger.write(
                "sample", name=name, rate=round(rates[-1]), rss=sample.rss, threads=sample.threads, files=sample.files
            )
        for name in stage.bury_the_dead():
            raise AssertionError(f"{name} died by itself; see its log in {stage.folder}")
    return sum(rates) / len(rates)


def _report(folder: Path, seen: dict[str, list[Sample]], full: float, half: float, warm_up: float) -> Report:
    findings, memory = [], {}
    for name, samples in seen.items():
        found = trend(samples, warm_up=warm_up)
        late = [one for one in samples if one.t - samples[0].t >= warm_up]
        memory[name] = {
            "MiB": round(found.first / (1 << 20), 1), "MiB at the end": round(found.last / (1 << 20), 1),
            "KiB a minute": round(found.slope / 1024, 1), "threads": [late[0].threads, late[-1].threads],
            "files": [late[0].files, late[-1].files],
        }  # fmt: skip
        if not found.flat:
            findings.append(Finding("memory is flat", f"{name} grew by {found.growth / (1 << 20):.1f} MiB: {found}"))
        findings += [
            Finding("what ended is closed", f"{name} had {first} {what} at first, and {last} in the end")
            for what in ("threads", "files")
            for first, last in [gathered([getattr(one, what) for one in late])]
            if last > first * (1 + GROWTH) + _FEW
        ]
    numbers: dict[str, Any] = {"calls a second, full speed": round(full), "in the soak": round(half), "memory": memory}
    numbers["counts"] = _counts(folder)
    return Report(findings, numbers)


def _counts(folder: Path) -> dict[str, int]:
    last = {line["life"]: line["counts"] for line in Facts(read(folder)).of["count"]}
    total: dict[str, int] = {}
    for counts in last.values():
        for what, count in counts.items():
            total[what] = total.get(what, 0) + count
    return total
