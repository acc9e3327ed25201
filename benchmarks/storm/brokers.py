"""Rows about Redis: it restarts with its data or without, is killed thrice in five seconds, is frozen, is away."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.storm.hubs import new_hub
from benchmarks.storm.nets import NAMES, STEADY, StormNet, all_of, since
from benchmarks.storm.samples import Sample, Trials
from tests.api.conftest import Process
from tests.waiting import eventually

PUBLISHER = """
import threading, time
class Teller:
    # publishes numbers, on and on, and how many it has told
    def __init__(self, durable):
        self.tell = hubnet.event("news", durable=durable)(lambda number: ((number,), {}))
        self.told, self.on, self.at_rest, self.longest = 0, threading.Event(), threading.Event(), 0.0
        self.on.set()
        threading.Thread(target=self.run, daemon=True).start()
    def run(self):
        while True:
            if not self.on.is_set():
                self.at_rest.set()
                self.on.wait()
                self.at_rest.clear()
            begin = time.monotonic()
            self.tell(self.told)
            self.longest = max(self.longest, time.monotonic() - begin)
            self.told += 1
            time.sleep(0.005)
"""
HEARER = """
import time
heard, moments = [], []
@hubnet.subscribe("news")
def hear(number):
    heard.append(number)
    moments.append(time.monotonic_ns())
def books():
    stats = hubnet.stats()
    return len(heard), stats.get("events.lost", 0), len(set(heard)), heard == sorted(heard)
"""


class Shore:
    """A net beside which Redis breaks: hubs, peers that call each other, one that tells and some that hear."""

    def __init__(self, folder: Path, size: int, redis: Any = None, *, durable: bool = False) -> None:
        self.net = StormNet(folder, redis)
        for _ in range(2):
            new_hub(self.net)
        self.ids = self.net.ids(self.net.crowd(size))
        self.caller = self.net.peer(STEADY, group="callers")
        self.caller.run(f"steady = Steady({self.ids!r}, 0.005)")
        self.listener = self.net.listener()
        self.hearers = [self.net.peer(HEARER, group="hearers") for _ in range(2)]
        self.teller = self.net.peer(PUBLISHER, group="tellers")
        self.routes = (NAMES.event("tellers", "news"), NAMES.event_everywhere("news"))
        eventually(lambda: self.redis.pubsub_numpat() == 1)
        self.teller.run(f"teller = Teller(durable={durable})")
        eventually(lambda: all(one.ask("len(heard)") for one in self.hearers))
        eventually(self._at_rest)
        self.subscriptions, self.connections = self._subscribed(), self._connected()
        self._counted = 0

    @property
    def redis(self):
        """To ask our server."""
        return self.net.redis.client

    def _subscribed(self) -> dict[bytes, int]:
        """How many connections hear each channel and pattern, as Redis counts."""
        counts = dict(self.redis.pubsub_numsub(*self.redis.pubsub_channels()))
        heard = sum(int(one["psub"]) for one in self.redis.client_list())
        return {**counts, b"patterns": heard}

    def _connected(self) -> int:
        """How many connections hear or tell events; a hub's questions to the register may take turns on more of them."""
        # whoever tells durable events ends with EXEC, and with PUBLISH where a mark followed the last of them
        words = {"subscribe", "psubscribe", "ping", "publish", "exec"}
        return sum(1 for one in self.redis.client_list() if one["cmd"] in words)

    def _at_rest(self) -> bool:
        """Everybody has a home, and no connection is new."""
        return min(int(one["age"]) for one in self.redis.client_list() if one["cmd"] != "client|list") >= 1

    def whole(self) -> bool:
        """All records stand, and no lease has ended."""
        records = self.net.records()
        everybody = set(self.ids)
        return everybody <= records.keys() and len(self.net.records("hubs")) == 2 and not self.net.late()

    def heard_by_all(self, after: int) -> int:
        """When the last of those who hear had heard something again."""

        def first(one: Process) -> int:
            moment: int = one.ask(f"next((moment for moment in moments if moment > {after}), 0)")
            return moment

        eventually(lambda: all(first(one) for one in self.hearers), 60)
        return max(first(one) for one in self.hearers)

    def missed(self) -> str:
        """Which events have been counted as lost since this was asked before: durable ones are missing then."""
        before, self._counted = self._counted, sum(one.ask("books()")[1] for one in self.hearers)
        return f"{self._counted - before} durable events are missing" if self._counted > before else ""

    def account(self) -> str:
        """What is wrong after Redis is back: with calls, listings, events, subscriptions or connections."""
        self.teller.run("teller.on.clear(); teller.at_rest.wait(5)")
        told = self.teller.ask("teller.told")
        dropped = self.teller.ask("hubnet.stats().get('events.dropped_outbox', 0)")

        def settled() -> bool:
            books = [one.ask("books()") for one in self.hearers]
            return all(heard + lost == told for heard, lost, *_ in books)

        problems = []
        try:
            eventually(settled, 20, 0.05)
        except AssertionError:
            problems.append(
                f"events: told {told}, dropped {dropped}, books {[one.ask('books()') for one in self.hearers]}"
            )
        try:
            eventually(
                lambda: self._subscribed() == self.subscriptions and self._connected() <= self.connections, 20, 0.05
            )
        except AssertionError:
            problems.append(
                f"subscriptions {self._subscribed()} instead of {self.subscriptions}, "
                f"connections {self._connected()} instead of {self.connections}"
            )
        books = [one.ask("books()") for one in self.hearers]
        bad = self.caller.ask("steady.bad")
        left = [who for what, who, _ in self.listener.ask("news") if what == "left"]
        self.teller.run("teller.on.set()")
        return "; ".join(problems + [said for said in (all_of(
            (all(heard == different and in_order for heard, _, different, in_order in books), "an event came twice or too late"),
            (not bad, f"calls: {bad[:3]}"), (not left, f"{len(left)} were told to have left"),
        ),) if said])  # fmt: skip

    def trial(self, number: int, harm: Callable[[], int]) -> Trials:
        """One harm, which tells when Redis was back; then how long until the register is whole and events are heard."""
        back = harm()
        whole = self.net.when(self.whole, 60, 0.002)
        heard = self.heard_by_all(back)
        yield Sample(number, "register whole", since(back, whole))
        yield Sample(number, "events heard again", since(back, heard))

    # -- what may happen to Redis ----------------------------------------------------------------------------------

    def restart(self, away: float = 0.5, *, kept: bool = False, cut: bool = False) -> int:
        """It is killed, with its subscribers cut off a tenth of a second before or not, and comes back after so long."""
        if cut:
            self.redis.client_kill_filter(_type="pubsub")
            time.sleep(0.1)
        self.net.redis.kill(kept=kept)
        time.sleep(away)
        return self.net.redis.start()

    def kill_thrice(self, within: float = 5.0, *, cut: bool = False) -> int:
        """It is killed and started three times within so many seconds, with its subscribers cut off before or not."""
        begin, back = time.monotonic(), 0
        for life in range(3):
            time.sleep(max(0.0, begin + within * 0.4 * life - time.monotonic()))
            back = self.restart(0.3, cut=cut)
        return back

    def freeze(self, seconds: float) -> int:
        """It stands still for so long."""
        self.net.redis.signal(signal.SIGSTOP)
        time.sleep(seconds)
        return self.net.redis.signal(signal.SIGCONT)


def _row(folder: Path, trials: int, harm: Callable[[Shore], int], size: int = 20) -> Trials:
    shore = Shore(folder, size)
    try:
        for number in range(trials):
            yield from shore.trial(number, lambda: harm(shore))
            yield Sample(number, "all accounted for", None, shore.account())
    finally:
        shore.net.close()


def _durable_row(folder: Path, trials: int, harm: Callable[[Shore, int], int], size: int = 20) -> Trials:
    """The same while durable events are published: none of them is missing."""
    shore = Shore(folder, size, durable=True)
    try:
        for number in range(trials):
            yield from shore.trial(number, lambda number=number: harm(shore, number))
            yield Sample(number, "all heard", None, "; ".join(filter(None, (shore.account(), shore.missed()))))
    finally:
        shore.net.close()


def durable(folder: Path, trials: int, *, kept: bool, size: int = 20) -> Trials:
    """Redis restarts after no time, half a second and two.

    Before every other restart it has cut its subscribers off: what they miss then they cannot have heard as it died.
    """

    def harm(shore: Shore, number: int) -> int:
        return shore.restart((0.0, 0.5, 2.0)[number // 2 % 3], kept=kept, cut=number % 2 == 1)

    return _durable_row(folder, trials, harm, size)


def durable_killed_thrice(folder: Path, trials: int, *, size: int = 20) -> Trials:
    """Redis is killed three times within five seconds, and loses all each time; every other time its subscribers go first."""
    return _durable_row(folder, trials, lambda shore, number: shore.kill_thrice(cut=number % 2 == 1), size)


def durable_frozen(folder: Path, trials: int, *, seconds: float = 30.0, size: int = 20) -> Trials:
    """Redis is frozen."""
    return _durable_row(folder, trials, lambda shore, _: shore.freeze(seconds), size)


def durable_away(folder: Path, trials: int, *, seconds: float = 15.0, size: int = 20) -> Trials:
    """Redis is away for longer than a lease, and has lost its data; every other time its subscribers go first."""
    return _durable_row(folder, trials, lambda shore, number: shore.restart(seconds, cut=number % 2 == 1), size)


def restarted(folder: Path, trials: int) -> Trials:
    """Redis restarts with its data."""
    return _row(folder, trials, lambda shore: shore.restart(kept=True))


def lost(folder: Path, trials: int) -> Trials:
    """Redis restarts and knows nothing any more."""
    return _row(folder, trials, Shore.restart)


def killed_thrice(folder: Path, trials: int) -> Trials:
    """Redis is killed three times within five seconds."""
    return _row(folder, trials, Shore.kill_thrice)


def frozen(folder: Path, trials: int, *, seconds: float = 30.0) -> Trials:
    """Redis is frozen."""
    return _row(folder, trials, lambda shore: shore.freeze(seconds))


def away(folder: Path, trials: int, *, seconds: float = 15.0) -> Trials:
    """Redis is away for longer than a lease, and has lost its data."""
    return _row(folder, trials, lambda shore: shore.restart(seconds))


def everything(folder: Path, *, size: int) -> Trials:
    """One trial of each, all shortened, on one net."""
    shore = Shore(folder, size)
    try:
        yield from shore.trial(0, lambda: shore.restart(0.1, kept=True))
        yield from shore.trial(1, lambda: shore.restart(0.1))
        yield from shore.trial(2, lambda: shore.kill_thrice(1.0))
        yield from shore.trial(3, lambda: shore.freeze(1.5))
        yield Sample(3, "all accounted for", None, shore.account())
    finally:
        shore.net.close()
