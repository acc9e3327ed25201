"""Rows about hubs: one is killed, one is stopped, all die and one comes back."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.storm.nets import PEER, STEADY, StormNet, all_of, harm, since
from benchmarks.storm.samples import Sample, Trials
from tests.api.conftest import Process
from tests.waiting import eventually

WATCHER = """
import threading, time
class Watcher:
    # lists a group again and again, and keeps the smallest number that was listed
    def __init__(self, size):
        self.size, self.fewest, self.listings, self.on = size, size, 0, True
        self.thread = threading.Thread(target=self.run); self.thread.start()
    def run(self):
        while self.on:
            self.fewest = min(self.fewest, len(hubnet.peers("w", refresh=True)["peers"]))
            self.listings += 1
            time.sleep(0.02)
    def seen(self):
        fewest, self.fewest = self.fewest, self.size
        return self.listings, fewest
    def stop(self):
        self.on = False
        self.thread.join()
"""


def new_hub(net: StormNet) -> Process:
    made = net.actor(HUBNET_IS_HUB="1", HUBNET_GROUP="hubs")
    assert isinstance(made, Process)
    made.run("import time\nhubnet.Peer().ready()\nlistens = time.monotonic_ns()")
    (peer_id,) = net.ids([made])
    eventually(lambda: net.there(peer_id, "hubs"))
    return made


def _homes(records: dict[bytes, dict[str, Any]]) -> set[bytes]:
    return {str(record["home"]).encode() for record in records.values()}


def killed(folder: Path, trials: int, *, size: int = 100) -> Trials:
    """The hub that looks after a hundred peers is killed: all are with the other one soon, and nobody left meanwhile."""
    net = StormNet(folder)
    try:
        first = new_hub(net)
        crowd = net.ids(net.crowd(size))
        hubs = {net.ids([hub])[0]: hub for hub in (first, new_hub(net))}
        listener, caller = net.listener(), net.peer(STEADY, group="callers")
        watcher = net.peer(WATCHER, group="watchers")
        caller.run(f"steady = Steady({crowd!r}, 0.01)")
        watcher.run(f"watcher = Watcher({size})")
        called = listed = 0
        for trial in range(trials):
            home = [record["home"].encode() for record in net.records().values()]
            victim = max(hubs, key=home.count)
            fewest = size
            bad = len(caller.ask("steady.bad"))
            at = harm(hubs.pop(victim), signal.SIGKILL)
            end = time.monotonic() + 30
            while victim in _homes(records := net.records()) and time.monotonic() < end:
                fewest = min(fewest, len(records))
                time.sleep(0.005)  # reading costs a core that those who move need
            moved = time.monotonic_ns()
            told = [who for what, who, when in listener.ask("news") if what == "left" and when > at and who in crowd]
            failed = caller.ask("steady.bad")[bad:]
            broken = all_of(
                (victim not in _homes(records), "not all have moved"),
                (min(fewest, len(records)) == size, f"only {fewest} listed"),
                (not told, f"{len(told)} were told to have left"), (not failed, f"calls: {failed[:3]}"),
            )  # fmt: skip
            yield Sample(trial, "all peers have moved", since(at, moved), broken)
            made = new_hub(net)
            hubs[net.ids([made])[0]] = made
            (calls, failed), (listings, least) = caller.ask("steady.calls, steady.bad"), watcher.ask("watcher.seen()")
            broken = all_of(
                (calls > called, "nobody called"), (len(failed) == bad, f"{failed[bad:][:3]}"),
                (listings > listed, "nobody listed"), (least == size, f"a listing had {least}"),
            )  # fmt: skip
            yield Sample(trial, "calls and listings unharmed", None, broken)
            called, listed = calls, listings
        caller.ask("steady.stop()")
        watcher.run("watcher.stop()")
    finally:
        net.close()


def stopped(
    folder: Path, trials: int, *, seconds: float = 20.0, lease: float = 10.0, hubs: int = 2, size: int = 10
) -> Trials:
    """A hub is stopped for longer than a lease: nobody is declared gone, neither by it nor by the other one."""
    net = StormNet(folder, HUBNET_LEASE=f"{lease:g}")
    try:
        made = [new_hub(net) for _ in range(hubs)]
        crowd = net.ids(net.crowd(size))
        listener = net.listener()
        for trial in range(trials):
            victim = made[trial % hubs]
            at = harm(victim, signal.SIGSTOP)
            missing: set[bytes] = set()
            end = time.monotonic() + seconds
            while time.monotonic() < end + min(3.0, 3 * lease):
                if time.monotonic() >= end:
                    victim.signal(signal.SIGCONT)
                missing |= set(crowd) - net.records().keys()
                time.sleep(0.05)
            eventually(lambda: not net.late())
            told = [who for what, who, when in listener.ask("news") if what == "left" and when > at and who in crowd]
            broken = all_of(
                (not missing, f"{len(missing)} were missing"), (not told, f"{len(told)} were told to have left")
            )
            yield Sample(trial, "nobody gone", None, broken)
    finally:
        net.close()


def all_die(folder: Path, trials: int, *, size: int = 50, away: float = 2.0) -> Trials:
    """All hubs die and one returns: known peers go on calling, others wait and are told, and all are registered soon after."""
    net = StormNet(folder)
    try:
        hubs = [new_hub(net), new_hub(net)]
        crowd = net.ids(net.crowd(size))
        caller = net.peer(STEADY, group="callers")
        caller.run(f"steady = Steady({crowd[:10]!r}, 0.005)")
        asker = net.peer(group="askers", HUBNET_TIMEOUT="1")
        for trial in range(trials):
            at = 0
            for hub in hubs:
                at = harm(hub, signal.SIGKILL)
            waiting = net.actor(start=False, HUBNET_GROUP="w")
            assert isinstance(waiting, Process)
            waiting.send("run", "import hubnet\n" + PEER)
            told = asker.ask("outcome_of(lambda: hubnet.peers(refresh=True), time.monotonic_ns())")
            yield Sample(
                trial, "NoHub for who asks (limit 1 s)", since(told[0], told[3]), all_of((told[1] == "NoHub", told[1]))
            )
            waiting.answer()
            (new,) = net.ids([waiting])
            crowd_and_new = {*crowd, new}
            eventually(lambda at=at: time.monotonic_ns() - at > away * 1e9, away + 1)
            begun = time.monotonic_ns()
            hub = new_hub(net)
            (hub_id,) = net.ids([hub])
            whole = net.when(
                lambda everybody=crowd_and_new, hub_id=hub_id: (
                    everybody
                    <= {peer_id for peer_id, record in net.records().items() if record["home"].encode() == hub_id}
                ),
                pause=0.005,
            )
            bad = caller.ask("steady.bad")
            yield Sample(
                trial,
                "all registered once one listens",
                since(hub.ask("listens"), whole),
                all_of((not bad, f"{bad[:3]}")),
            )
            yield Sample(trial, "all registered once one is started", since(begun, whole))
            waiting.close()
            hubs = [hub]
            eventually(lambda new=new: not net.there(new))
            if trial % 2:
                hubs.append(new_hub(net))
    finally:
        net.close()
