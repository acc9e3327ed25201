"""Rows about events: a hundred thousand in a burst, and subscribers that are slow or stand still."""

from __future__ import annotations

import signal
from pathlib import Path

from benchmarks.storm.hubs import new_hub
from benchmarks.storm.nets import StormNet, all_of, harm, since
from benchmarks.storm.samples import Sample, Trials
from tests.api.conftest import Process
from tests.waiting import eventually

PIECE = 50_000
TELLER = """
import time
tell = hubnet.event("burst")(lambda number, body: ((number, body), {}))
def burst(first, count, size=280):
    body, begin, longest = "x" * size, time.monotonic_ns(), 0
    for number in range(first, first + count):
        before = time.monotonic_ns()
        tell(number, body)
        longest = max(longest, time.monotonic_ns() - before)
    return begin, time.monotonic_ns(), longest / 1e9
def memory():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]) / 1024
"""
HEARER = (
    TELLER
    + """
heard, last, pause = 0, 0, 0.0
in_order, newest = True, -1
@hubnet.subscribe("burst")
def hear(number, body):
    global heard, last, in_order, newest
    in_order, newest = in_order and number > newest, number
    heard, last = heard + 1, time.monotonic_ns()
    if pause: time.sleep(pause)
def books():
    stats = hubnet.stats()
    return {"heard": heard, "lost": stats.get("events.lost", 0), "dropped": stats.get("events.dropped_queue", 0),
            "queued": stats["events.queued"], "in order": in_order}
"""
)


def _hearers(net: StormNet, many: int) -> list[Process]:
    made = [net.peer(HEARER, group="hearers") for _ in range(many)]
    eventually(lambda: sum(int(one["psub"]) for one in net.redis.client.client_list()) == many)
    return made


def burst(folder: Path, trials: int, *, count: int = 100_000) -> Trials:
    """Events of at most 300 bytes in a burst, with default bounds: those who keep up hear every one."""
    net = StormNet(folder)
    try:
        new_hub(net)
        hearers = _hearers(net, 2)
        teller = net.peer(TELLER, group="tellers")
        teller.run("burst(0, 1)")
        eventually(lambda: all(one.ask("heard") == 1 for one in hearers))
        for trial in range(trials):
            begin, _, _ = teller.ask(f"burst({1 + trial * count}, {count})", 60)
            wanted = 1 + (trial + 1) * count

            def all_there(wanted: int = wanted) -> bool:
                return all(sum(map(one.ask("books()").get, ("heard", "lost", "dropped"))) == wanted for one in hearers)

            eventually(all_there, 60, 0.05)
            books = [one.ask("books()") for one in hearers]
            dropped = teller.ask("hubnet.stats().get('events.dropped_outbox', 0)")
            broken = all_of(
                (all(one["heard"] == wanted and one["in order"] for one in books), f"{books} of {wanted}"),
                (not dropped, f"the outbox dropped {dropped}"),
            )
            yield Sample(trial, "all heard by both", since(begin, max(one.ask("last") for one in hearers)), broken)
    finally:
        net.close()


def slow(folder: Path, trials: int, *, count: int = 300_000) -> Trials:
    """One subscriber is slow and one stands still: the others hear all, memory is bounded, and each loss is counted."""
    net = StormNet(folder)
    try:
        new_hub(net)
        quick, slow_one, still = _hearers(net, 3)
        teller = net.peer(TELLER, group="tellers")
        teller.run("burst(0, 1)")
        everybody = (quick, slow_one, still)
        eventually(lambda: all(one.ask("heard") == 1 for one in everybody))
        for trial in range(trials):
            before = slow_one.ask("memory()"), teller.ask("memory()")
            slow_one.run("pause = 0.5")
            harm(still, signal.SIGSTOP)
            wanted = 1 + trial * count
            begin = longest = 0
            for _ in range(count // PIECE):  # more at once than the outbox and a queue hold would be lost by right
                at, _, slowest = teller.ask(f"burst({wanted}, {PIECE}, 100)", 60)
                begin, longest, wanted = begin or at, max(longest, slowest), wanted + PIECE
                eventually(lambda wanted=wanted: quick.ask("heard") == wanted, 60, 0.02)
            at = quick.ask("last")
            after = slow_one.ask("memory()"), teller.ask("memory()")
            slow_one.run("pause = 0.0")
            still.signal(signal.SIGCONT)

            def settled(wanted: int = wanted) -> bool:
                return all(
                    sum(map(one.ask("books()").get, ("heard", "lost", "dropped"))) == wanted for one in everybody
                )

            problem = ""
            try:
                eventually(settled, 90, 0.1)
            except AssertionError:
                problem = f"not all accounted for: {[one.ask('books()') for one in everybody]} of {wanted}"
            grown = [round(late - early) for early, late in zip(before, after, strict=True)]
            broken = all_of(
                (not problem, problem), (quick.ask("in_order"), "out of order"),
                (max(grown) < 300, f"grown by {grown} MiB"),
                (slow_one.ask("books()")["dropped"] > 0, "the slow one dropped nothing: this trial shows nothing"),
            )  # fmt: skip
            yield Sample(trial, "a quick one has heard all", since(begin, at), broken)
            yield Sample(trial, "longest trigger of an event", longest)
    finally:
        net.close()
