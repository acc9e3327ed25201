"""The command line: run one row and write its samples down, or print the table."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.storm import brokers, calls, containers, events, failovers, hubs, networks, peers, samples
from benchmarks.storm.samples import Promise, Sample, Trials
from benchmarks.storm.shown import by_tests
from tests.api.conftest import Raised
from tests.networks import faults


class Row(NamedTuple):
    """One row of the page: what happens, what is promised of it, how it is made to happen, and how often."""

    happens: str
    promises: tuple[Promise, ...]
    run: Callable[[Path, int], Trials]
    trials: int = 100


ROWS: dict[str, Row] = {
    "peer-killed": Row(
        "a peer crashes (SIGKILL)",
        (
            Promise("running calls lost", "running calls on it get PeerLost ≤ 50 ms", 0.05),
            Promise("out of the register", "out of the register ≤ 0.7 s", 0.7),
            Promise("told once", "`left` is told once"),
        ),
        peers.killed,
    ),
    **{
        name: Row(
            happens,
            (
                Promise("PeerLost", f"a call to it {ends} ≤ 4 s", 4.0),
                Promise("gone", "out of every listing ≤ 5 s, and nobody else", 5.0),
                Promise("back", f"listed and called again when {again}"),
            ),
            run,
        )
        for name, happens, ends, again, run in (
            (
                "container-killed", "a peer's container is killed (`docker kill`) while a function runs there",
                "gets PeerLost", "one starts there", partial(containers.killed, faults.vanish_idle),
            ),
            (
                "container-killed-in-flight", "the same, while arguments of 64 MiB are sent there",
                "gets PeerLost, or has not run,", "one starts there", partial(containers.killed, containers.in_flight),
            ),
            (
                "vanish-idle", "a peer's machine vanishes (link down) while a function runs there",
                "gets PeerLost", "it is plugged in", partial(networks.broken_by, faults.vanish_idle),
            ),
            (
                "vanish-in-flight", "the same, while arguments of 64 MiB are sent there",
                "gets PeerLost", "it is plugged in", partial(networks.broken_by, faults.vanish_in_flight),
            ),
        )
    },
    "peer-stopped": Row(
        "a peer is stopped (SIGSTOP), then goes on",
        (Promise("suspect after lease end", "suspect at lease end; picked by nobody; its running calls end normally"),),
        peers.stopped,
        20,
    ),
    "peer-held": Row(
        "C code holds the interpreter for 60 s (`ctypes.PyDLL(None).sleep(60)`)",
        (Promise("suspect after lease end", "suspect at lease end; picked by nobody; its running calls end normally"),),
        peers.held,
        20,
    ),
    "peer-stopped-for-good": Row(
        "a peer is stopped for good (a lease of 2 s, HUBNET_SUSPECT of 3 s)",
        (Promise("gone after lease end", "gone only after HUBNET_SUSPECT"),),
        peers.stopped_for_good,
    ),
    "peer-busy": Row(
        "pure-Python work for 60 s", (Promise("nobody gone", "nobody suspect or gone"),), peers.busy, 20
    ),
    "oversubscribed": Row(
        "four busy processes for each core, 20 s", (Promise("nobody gone", "nobody suspect or gone"),), peers.oversubscribed, 20
    ),
    "peer-restarted": Row(
        "a peer is killed and restarts on the same address",
        (Promise("first answer of the new one", "told apart; nothing runs twice; the new record stands"),),
        peers.restarted,
    ),
    "peer-terminated": Row(
        "SIGTERM in the middle of calls",
        (
            Promise("draining announced", "draining announced; running calls end; new ones go elsewhere"),
            Promise("gone after its last call", "then it leaves"),
            Promise("others unaffected", "others unaffected"),
        ),
        peers.terminated,
    ),
    "hub-killed": Row(
        "the hub of 100 peers is killed, another one is there",
        (
            Promise("all peers have moved", "all re-homed ≤ 1 s; no call fails; nobody leaves any listing", 1.0),
            Promise("calls and listings unharmed", "no call failed, no listing was short"),
        ),
        hubs.killed,
    ),
    "hub-stopped": Row(
        "one of two hubs is stopped for 20 s", (Promise("nobody gone", "nobody gone"),), hubs.stopped, 20
    ),
    "only-hub-stopped": Row(
        "the only hub is stopped for 20 s", (Promise("nobody gone", "nobody gone"),), partial(hubs.stopped, hubs=1), 20
    ),
    "all-hubs-die": Row(
        "all hubs die, one returns (50 peers)",
        (
            Promise("NoHub for who asks (limit 1 s)", "NoHub within the asker's limit"),
            Promise("all registered once one listens", "all registered ≤ 3 s after; no call between known peers fails", 3.0),
            Promise("all registered once one is started", "the same, from the start of the hub's Python"),
        ),
        hubs.all_die,
    ),
    **{
        name: Row(
            happens,
            (
                Promise("register whole", "register whole ≤ 3 s", 3.0),
                Promise("events heard again", "events are heard again"),
                Promise("all accounted for", "calls unaffected; events heard or counted, none twice; each connection as before"),
            ),
            run,
            trials,
        )
        for name, happens, run, trials in (
            ("redis-restarted", "Redis restarts, data kept (20 peers)", brokers.restarted, 100),
            ("redis-lost", "Redis restarts, data lost (20 peers)", brokers.lost, 100),
            ("redis-killed-thrice", "Redis is killed 3 times in 5 s (20 peers)", brokers.killed_thrice, 100),
            ("redis-frozen", "Redis is frozen for 30 s (20 peers)", brokers.frozen, 20),
            ("redis-away", "Redis is away for 15 s, data lost (20 peers)", brokers.away, 20),
            ("redis-away-long", "Redis is away for 10 minutes, data lost (20 peers)", partial(brokers.away, seconds=600), 1),
        )
    },
    **{
        f"redis-{name}-durable": Row(
            f"{happens}, while 200 durable events a second are published (20 peers)",
            (
                Promise("register whole", "register whole ≤ 3 s", 3.0),
                Promise("events heard again", "events are heard again"),
                Promise("all heard", "every event is heard, in order, none twice, by each subscriber; calls unaffected"),
            ),
            run,
            trials,
        )
        for name, happens, run, trials in (
            ("restarted", "Redis restarts, data kept", partial(brokers.durable, kept=True), 100),
            ("lost", "Redis restarts, data lost", partial(brokers.durable, kept=False), 100),
            ("killed-thrice", "Redis is killed 3 times in 5 s, data lost", brokers.durable_killed_thrice, 100),
            ("frozen", "Redis is frozen for 30 s", brokers.durable_frozen, 20),
            ("away", "Redis is away for 15 s, data lost", brokers.durable_away, 20),
            ("away-long", "Redis is away for 10 minutes, data lost", partial(brokers.durable_away, seconds=600), 1),
        )
    },
    **{
        name: Row(
            happens,
            (
                Promise("register whole", "register whole ≤ 2 s after another is named", 2.0),
                Promise("events heard again", "durable events are heard again ≤ 2 s after another is named", 2.0),
                Promise("all accounted for", "calls unaffected; what Redis had acknowledged is heard or counted, none twice"),
            ),
            run,
        )
        for name, happens, run in (
            ("sentinel", "the master that Sentinels follow is killed (20 peers)", failovers.sentinels),
            (
                "sentinel-lagging",
                "the same, and its replica has heard nothing for 0.8 s",
                partial(failovers.sentinels, how="lagging"),
            ),
            ("cluster", "the Cluster's node that has our keys is killed (20 peers)", failovers.cluster),
        )
    },
    "sentinel-frozen": Row(
        "that master stands still instead",
        (
            Promise("register whole", "register whole"),
            Promise("events heard again", "durable events are heard again"),
            Promise("all accounted for", "calls unaffected; what Redis had acknowledged is heard or counted, none twice"),
        ),
        partial(failovers.sentinels, how="frozen"),
        20,
    ),
    **{
        name: Row(
            happens,
            (
                Promise("gone", "the hub says that it is gone, and nobody else"),
                Promise("the call to the hub ends", "a call to the hub (limit 4 s) ends by an error ≤ 4.2 s", 4.2),
                Promise("those that know each other call", "the other worker still calls it"),
                Promise("healed", "listed again, all call each other ≤ 3 s after", 3.0),
            ),
            partial(networks.broken_by, fault),
        )
        for name, happens, fault in (
            ("cut-worker-hub", "a worker and the hub are cut off from each other, 6 s", faults.cut_worker_and_hub),
            ("cut-one-way", "the hub hears nothing of a worker, which hears the hub, 6 s", faults.cut_one_way),
        )
    },
    "cut-worker-worker": Row(
        "two workers are cut off from each other, 6 s",
        (
            Promise("PeerLost", "a call that runs there gets PeerLost ≤ 4 s", 4.0),
            Promise("the next call ends", "the next one (limit 4 s) ends, not run, ≤ 4.2 s", 4.2),
            Promise("listed", "nobody gone"),
            Promise("healed", "they call each other ≤ 3 s after", 3.0),
        ),
        partial(networks.broken_by, faults.cut_workers),
    ),
    "no-name-server": Row(
        "a peer is called by a name, and no name server answers",
        (
            Promise("the call ends", "the call (limit 2 s) ends, not run, ≤ 2.2 s", 2.2),
            Promise("others are called", "others are called meanwhile"),
        ),
        partial(networks.broken_by, faults.no_name_server),
    ),
    "packet-loss": Row(
        "5 % of all packets are lost, 60 s",
        (Promise("nobody gone", "nobody gone"), Promise("slowest call", "calls with 100 kB are answered (the slowest)")),
        partial(networks.broken_by, faults.loss),
        20,
    ),
    "slow-reader": Row(
        "a peer reads nothing for 10 s in the middle of an argument of 64 MiB",
        (Promise("ends", "the call ends normally once it reads on"), Promise("listed", "nobody gone")),
        partial(networks.broken_by, faults.slow_reader),
        20,
    ),
    **{
        f"clock-{name}-{'ahead' if ahead > 0 else 'back'}": Row(
            f"the clock of {whose} machine is set {'ahead' if ahead > 0 else 'back'} by an hour, and right again",
            (
                Promise("nothing expires", "nobody gone; calls are answered"),
                Promise("a crash is seen", "who crashes meanwhile is out of the listing ≤ 0.7 s", 0.7),
            ),
            partial(networks.clock_set, place, ahead),
            20,
        )
        for name, place, whose in (
            ("hub", "hub", "the hub's"), ("worker", "victim", "a worker's"), ("redis", "redis", "Redis's"),
        )
        for ahead in (networks.HOUR, -networks.HOUR)
    },
    "burst": Row(
        "100 000 events of ≤ 300 bytes in a burst, 2 subscribers",
        (Promise("all heard by both", "none lost"),),
        events.burst,
    ),
    "slow-subscriber": Row(
        "300 000 events while one subscriber is slow and one is stopped",
        (
            Promise("a quick one has heard all", "others unaffected; memory bounded; every loss counted"),
            Promise("longest trigger of an event", "the publisher waits for nobody"),
        ),
        events.slow,
    ),
    "chains": Row(
        "32 chains of calls A→B→A…, 12 deep, cap 4", (Promise("all chains answered", "all answered"),), calls.chains
    ),
    "threads": Row(
        "200 threads of one process call one peer at once", (Promise("all answered", "each its own answer"),), calls.threads
    ),
    **{
        name: Row(happens, tuple(Promise(words, words) for words in tests), partial(by_tests, tests), trials)
        for name, happens, trials, tests in (
            ("fork", "a process forks while a call of its waits", 100, {
                "the parent gets its answer, and the child calls as a peer of its own":
                    "tests/security/test_fork.py::test_a_fork_while_a_call_waits_leaves_its_answer_to_the_parent",
            }),
            ("called-back", "a handler calls its own caller", 100, {
                "it is answered, also where the register does not know the caller":
                    "tests/api/test_calls.py::test_who_is_called_may_call_back_before_the_register_knows_its_caller",
            }),
            ("late-withdrawal", "a withdrawal of a peer's last life comes late, to the one that restarted on its address", 20, {
                "it removes nothing":
                    "tests/storm/test_late_words.py::"
                    "test_what_is_heard_late_of_an_old_process_removes_nothing_of_the_one_on_its_address",
            }),
            ("home-unwritable", "nobody may write into the home", 100, {
                "it is not needed": "tests/storm/test_poor_places.py::test_a_home_that_nobody_can_write_is_not_needed",
            }),
            ("disk-full", "the disk is full", 100, {
                "a hub that needs it says so in one line":
                    "tests/storm/test_poor_places.py::test_on_a_full_disk_a_hub_that_needs_it_says_so_in_one_line",
                "a worker that was told all it needs is listed and called":
                    "tests/storm/test_poor_places.py::"
                    "test_on_a_full_disk_a_worker_that_was_told_all_it_needs_is_listed_and_called",
            }),
            ("few-files", "64 files may be open", 100, {
                "100 calls at once are answered or have not run, and the next ones are answered":
                    "tests/storm/test_poor_places.py::"
                    "test_of_calls_at_once_with_64_open_files_each_is_answered_or_has_not_run_and_later_ones_are_answered",
                "a hub answers whom it took, and whom it cannot take learns why":
                    "tests/storm/test_poor_places.py::"
                    "test_a_hub_with_64_open_files_answers_whom_it_took_and_whom_it_did_not_and_both_learn_why",
            }),
            ("no-directory", "there is no private directory", 100, {
                "an error names what to set":
                    "tests/api/test_private_directory.py::test_a_private_directory_that_is_none_is_refused_by_its_name",
                "it is not needed where Redis and the secret are given":
                    "tests/api/test_private_directory.py::"
                    "test_a_private_directory_is_not_needed_where_redis_and_the_secret_are_given",
            }),
        )
    },
}  # fmt: skip


def ended(row: Row, made: Trials) -> Iterator[Sample]:
    """What the trials show; one that comes to no end has broken all that is promised and that it has not shown yet."""
    trial, seen = 0, set[str]()
    try:
        for sample in made:
            seen = {sample.what} if sample.trial != trial else seen | {sample.what}
            trial = sample.trial
            yield sample
    except (AssertionError, Raised) as error:
        if not seen:
            raise  # the net was not there yet, so nothing was tried
        missing = [promise for promise in row.promises if promise.what not in seen]
        for promise in missing or row.promises:
            yield Sample(trial if missing else trial + 1, promise.what, None, f"came to no end: {error}"[:300])


def measure(name: str, trials: int, *, dry: bool = False) -> bool:
    """Run a row, write its samples down and print them; whether all that is promised held."""
    good = True
    # closed, so that a signal leaves nothing running
    with tempfile.TemporaryDirectory(prefix="storm-") as folder, closing(ROWS[name].run(Path(folder), trials)) as made:
        told = ended(ROWS[name], made)
        for sample in told if dry else samples.append(name, told):
            took = "" if sample.seconds is None else f"{sample.seconds * 1e3:9.1f} ms"
            print(f"{name} {sample.trial:3} {sample.what:40} {took} {sample.broken}", flush=True)
            good = good and not sample.broken
    return good


def table() -> Iterator[str]:
    """The table of all rows, as Markdown."""
    yield "| what happens | what is promised | p50 | p99 / max | trials | load | met | `python -m benchmarks.storm` … |"
    yield "|---|---|--:|--:|--:|--:|---|---|"
    for name, row in ROWS.items():
        found = samples.measured(name)
        for number, promise in enumerate(row.promises):
            first = row.happens if number == 0 else ""
            command = f"`{name}`" if number == 0 else ""
            yield "| " + " | ".join([first, *samples.cells(promise, found.get(promise.what, [])), command]) + " |"


def main() -> int:
    """Run what was asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description="How hubnet heals, measured.")
    parser.add_argument("row", nargs="?", choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--trials", type=int, help="how many; as many as the table wants by default")
    parser.add_argument("--table", action="store_true", help="print the table of what was measured so far")
    parser.add_argument("--dry", action="store_true", help="write no samples down")
    options = parser.parse_args()
    if options.table:
        print("\n".join(table()))
        return 0
    if not options.row:
        parser.error("which row?")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return 0 if measure(options.row, options.trials or ROWS[options.row].trials, dry=options.dry) else 1


if __name__ == "__main__":
    raise SystemExit(main())
