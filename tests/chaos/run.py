"""The run: a net under load, a storm, and quiet; then everybody lists and calls everybody, and the ledgers are checked."""

from __future__ import annotations

import heapq
import itertools
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.waiting import eventually

from .accounts import KEPT, Book
from .checker import SLACK, check, in_peace, told_to_all
from .facts import Facts, Finding
from .ledger import read
from .schedule import Blow, deal
from .stage import Stage

_BORN_LIMIT = 40.0
_MOST_TRACES = 20
_IDLE = 12.0
"""Seconds after which threads that serve nobody have ended."""


class Wish(NamedTuple):
    """What kind of run.

    Attributes:
        seed: of the storm and of the load.
        seconds: how long the storm lasts; with `calls`, how long one round of it does.
        calls: storm on until so many calls have an outcome; 0: for `seconds`.
        every: mean seconds from one blow to the next; 0: no storm.
        scale: factor on how long blows last.
        threads, pace: calling threads of each caller, and mean seconds between two calls of one.
        beats: events a second from each worker.
        lease: HUBNET_LEASE.
        slack: seconds that a wait may take beyond its deadline.
        calm: seconds under load before the storm; then everybody rests, and says what is open.
    """

    seed: int
    seconds: float
    calls: int = 0
    every: float = 0.7
    scale: float = 1.0
    hubs: int = 2
    workers: int = 6
    callers: int = 3
    threads: int = 8
    pace: float = 0.01
    beats: float = 20.0
    lease: float = 2.0
    slack: float = SLACK
    calm: float = 10.0


class Report(NamedTuple):
    """What a run came to."""

    findings: list[Finding]
    numbers: dict[str, Any]


def run(wish: Wish, folder: Path, *, meanwhile: Callable[[Stage], None] = lambda stage: None) -> Report:
    """One whole run, its ledgers and logs in this folder.

    Args:
        wish: what kind of run.
        folder: empty.
        meanwhile: called all the time during the storm.
    """
    stage = Stage(folder, wishes_of(wish), hubs=wish.hubs, workers=wish.workers, callers=wish.callers, lease=wish.lease)
    return run_on(stage, wish, meanwhile=meanwhile)


def wishes_of(wish: Wish) -> dict[str, Any]:
    """What actors are told."""
    return {"seed": wish.seed, "threads": wish.threads, "pace": wish.pace, "beats": wish.beats}


def run_on(stage: Stage, wish: Wish, *, meanwhile: Callable[[Stage], None] = lambda stage: None) -> Report:
    """The same on a stage that is set, and is taken down then."""
    try:
        for part in stage.parts:
            stage.start(part.name)
        wait_until_born(stage)
        _look_before(stage, wish.calm)
        _storm(stage, wish, meanwhile)
        _heal(stage)
        end(stage)
    finally:
        stage.close()
    return _report(wish, stage.folder)


def _look_before(stage: Stage, calm: float) -> None:
    """What is open and how much memory is needed, once everybody has called everybody and rests: as at the end."""
    time.sleep(calm)
    stage.ask_all("rest", 60, ["caller"])
    stage.ask_all("check", 90, there=stage.there)
    time.sleep(_IDLE)
    stage.ask_all("open before", 20)
    stage.ask_all("go", 20, ["caller"])


def wait_until_born(stage: Stage) -> None:
    """Until everybody has begun; who died of it is begun again."""

    def all_born() -> bool:
        for name in stage.bury_the_dead():
            stage.start(name)
        return all(actor.ledger.find("born") for actor in stage.actors.values())

    eventually(all_born, timeout=_BORN_LIMIT, pause=0.05)


def _storm(stage: Stage, wish: Wish, meanwhile: Callable[[Stage], None]) -> None:
    for round_ in itertools.count():
        blows = (
            deal(
                wish.seed + 1000 * round_,
                wish.seconds,
                stage.cast,
                every=wish.every,
                scale=wish.scale,
                kinds=stage.kinds,
            )
            if wish.every
            else []
        )
        _carry_out(stage, wish, blows, meanwhile)
        if stage.outcomes >= wish.calls:
            return


def _carry_out(stage: Stage, wish: Wish, blows: list[Blow], meanwhile: Callable[[Stage], None]) -> None:
    begun = time.monotonic()
    order = itertools.count()  # of what is due at the same moment
    due: list[tuple[float, int, Blow | Callable[[], bool]]] = [(blow.at, next(order), blow) for blow in blows]
    heapq.heapify(due)
    while (now := time.monotonic() - begun) < wish.seconds or due:
        if due and due[0][0] <= now:
            what = heapq.heappop(due)[2]
            if isinstance(what, Blow):
                if (end_it := stage.strike(what)) is not None:
                    heapq.heappush(due, (what.end, next(order), end_it))
            elif not what():
                heapq.heappush(due, (now + 0.1, next(order), what))
            continue
        for name in stage.bury_the_dead():
            stage.start(name)
        meanwhile(stage)
        time.sleep(0.02)
        if wish.calls and not due and stage.outcomes >= wish.calls:
            return


def _heal(stage: Stage) -> None:
    wait_until_born(stage)
    stage.ledger.write("healed")


def end(stage: Stage) -> None:
    """Quiet, everybody to everybody, the last events, what is open, the counters, and home."""
    stage.ask_all("quiet", 60, ["caller"])
    stage.ask_all("check", 90, there=stage.there)
    stage.ask_all("last", 20)
    _wait_until_heard(stage)
    time.sleep(_IDLE)
    stage.ask_all("open after", 20)
    stage.ask_all("stats", 20)
    for name in [part.name for role in ("caller", "worker", "hub") for part in stage.parts if part.role == role]:
        if name in stage.actors:
            stage.actors[name].stopped = True
            stage.actors[name].signal(signal.SIGTERM)
    stage_names = list(stage.actors)
    for name in stage_names:
        stage.see_off(name, "end")


def _wait_until_heard(stage: Stage) -> None:
    """Until every last word has come to all who listen, or will not come any more; the checker judges."""

    def heard() -> bool:
        facts = Facts(read(stage.folder))
        words = {(line["life"], line["of"], line["event"], line["n"]) for line in facts.of["heard"]}
        hearing = {line["life"] for line in facts.of["hears"]} & set(facts.survivors())
        wanted = {
            (one, last["life"], last["event"], last["n"])
            for last in facts.of["last"]
            for one in hearing
            if one != last["life"]
        }
        return wanted <= words

    try:
        eventually(heard, timeout=10, pause=0.5)
    except AssertionError:
        pass  # a finding


def _report(wish: Wish, folder: Path) -> Report:
    _note_traces(folder)
    lines = read(folder)
    facts = Facts(lines)
    calls = Counter(line["how"] for line in facts.of["end"] if line["how"] != "listed")
    whole = [line["t"] - facts.healed for line in facts.of["listing"] if line["t"] > facts.healed]
    numbers = {
        "seed": wish.seed, "calls": sum(calls.values()), "outcomes": dict(calls.most_common()),
        "NO": sum(line["ran"] == "NO" and line["how"] != "listed" for line in facts.of["end"]),
        "MAYBE": sum(line["ran"] == "MAYBE" for line in facts.of["end"]),
        "YES": sum(line["ran"] == "YES" for line in facts.of["end"]),
        "runs": len(facts.of["ran"]), "lives": len(facts.births),
        "blows": dict(Counter(span.kind for span in facts.spans)),
        "killed": sum(end["how"] == "kill" for end in facts.ends.values()),
        "published": len(facts.of["pub"]), "heard": len(facts.of["heard"]),
        "durable": sum(line["event"] == KEPT for line in facts.of["pub"]),
        "durable, heard": sum(line["event"] == KEPT for line in facts.of["heard"]),
        "lost and counted": sum(line["lost"] + line["dropped"] for line in facts.of["stats"]),
        "dropped by a full outbox": sum(Book(facts).dropped.values()),
        "left": sum(line["news"] == "left" for line in facts.of["presence"]), "left, and had to be": told_to_all(facts),
        "calls in peace": sum(1 for _ in in_peace(facts)),
        "whole after": round(max(whole, default=-1.0), 2),
    }  # fmt: skip
    return Report(check(lines, slack=wish.slack), numbers)


def _note_traces(folder: Path) -> None:
    """What no promise covers and no log should hold: a traceback."""
    from .ledger import Ledger

    ledger = Ledger(folder / "run.jsonl")
    for path in sorted(folder.glob("*.log")):
        text = path.read_text(errors="replace")
        for found in text.split("Traceback (most recent call last)")[1 : 1 + _MOST_TRACES]:
            last = next((line for line in found.splitlines()[1:] if line and not line.startswith((" ", "\t"))), "")
            ledger.write("trace", whose=path.stem, text=last[:300])
