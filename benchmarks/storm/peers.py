"""Rows about one peer: it crashes, stands still, is busy, is restarted, is asked to leave."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from benchmarks.storm.nets import STEADY, StormNet, all_of, harm, since
from benchmarks.storm.samples import Sample, Trials
from tests.api.conftest import Process
from tests.waiting import eventually, free_port

CALLS = 4
AT_A_TIME = 4
OTHERS = 9


def killed(folder: Path, trials: int) -> Trials:
    """SIGKILL: running calls are lost at once, the record goes, and all are told so once."""
    net = StormNet(folder)
    try:
        net.hub()
        listener, caller = net.listener(), net.peer(group="callers")
        kills: list[tuple[bytes, int]] = []
        for trial in range(trials):
            worker = net.peer()
            peer_id = net.ids([worker])[0]
            caller.run(f"begin(nap, 100, {peer_id!r}, {[(trial, n) for n in range(CALLS)]})")
            eventually(lambda worker=worker: worker.ask("len(under_way)") == CALLS)
            at = harm(worker, signal.SIGKILL)
            gone = net.when(lambda peer_id=peer_id: not net.there(peer_id))
            outcomes = caller.ask("ended()")
            kinds = {(kind, ran) for _, kind, ran, _ in outcomes}
            broken = all_of(
                (len(outcomes) == CALLS, "a call has no outcome"), (kinds == {("PeerLost", "MAYBE")}, f"{kinds}")
            )
            yield Sample(trial, "running calls lost", since(at, max(moment for *_, moment in outcomes)), broken)
            yield Sample(trial, "out of the register", since(at, gone))
            kills.append((peer_id, at))
            worker.close()
        yield from _told_once(listener, kills)
    finally:
        net.close()


def _told_once(listener: Process, kills: list[tuple[bytes, int]]) -> Trials:
    """Each death is told, once: one `left` from each to the next of the same id."""
    wanted = len(kills)
    eventually(lambda: listener.ask("sum(what == 'left' for what, *_ in news)") >= wanted)
    news = listener.ask("news")
    for trial, (peer_id, at) in enumerate(kills):
        later = [when for other, when in kills[trial + 1 :] if other == peer_id]
        until = min(later, default=float("inf"))
        told = [when for what, who, when in news if what == "left" and who == peer_id and at <= when < until]
        yield Sample(
            trial,
            "told once",
            since(at, told[0]) if told else None,
            all_of((len(told) == 1, f"told {len(told)} times")),
        )


def stopped(folder: Path, trials: int, *, how: str = "stop", lease: float = 10.0, seconds: int = 0) -> Trials:
    """SIGSTOP, or C code that holds the interpreter: suspect at lease end, and its running calls end normally later."""
    net = StormNet(folder, HUBNET_LEASE=f"{lease:g}")
    try:
        net.hub()
        listener, caller = net.listener(), net.peer(group="callers")
        victims = net.crowd(min(AT_A_TIME, trials), HUBNET_TIMEOUT="5")
        net.crowd(OTHERS if len(victims) == AT_A_TIME else 0, group="others")  # else the hub would doubt itself
        ids = net.ids(victims)
        for trial in range(0, trials, len(victims)):
            gate = net.gate()
            function, until = ("hold" if how == "hold" else "wait_at"), (seconds or gate.path)
            for n, peer_id in enumerate(ids):
                caller.run(f"begin({function}, {until!r}, {peer_id!r}, {[(trial, n)]})")
            if how == "stop":
                eventually(lambda: all(one.ask("len(under_way)") for one in victims))
                _ = [harm(one, signal.SIGSTOP) for one in victims]
            begun = time.monotonic_ns()
            seen = _suspects(net, ids, lease)
            listed = caller.ask("{key: one['state'] for key, one in hubnet.peers('w', refresh=True)['peers'].items()}")
            picked = caller.ask("outcome_of(lambda: hubnet.wait_for(1, 'w', timeout=0.2), None)")
            gate.open()
            for one in victims:
                one.signal(signal.SIGCONT)
            outcomes = {token: (kind, moment) for token, kind, _, moment in caller.ask("ended()", 120)}
            eventually(lambda: not set(ids) & net.late(), 30)
            told = [who for what, who, _ in listener.ask("news") if what == "left"]
            for n, peer_id in enumerate(ids):
                broken = all_of(
                    (listed.get(peer_id) == "suspect", f"listed as {listed.get(peer_id)}"),
                    (picked[1] == "NoPeer", f"wait_for counted it: {picked[1:3]}"),
                    (outcomes.get((trial, n), ("lost",))[0] == "answer", f"its call: {outcomes.get((trial, n))}"),
                    (peer_id not in told, "it was told to be gone"),
                )
                yield Sample(trial + n, "suspect after lease end", seen[peer_id], broken)
            yield Sample(trial, "suspect after the fault", since(begun, time.monotonic_ns()))
    finally:
        net.close()


def _suspects(net: StormNet, ids: list[bytes], lease: float) -> dict[bytes, float]:
    """Seconds from each one's lease end, by Redis's clock, until a hub lists it as suspect."""
    asker = net.actor(_LOOK.format(ids=ids, limit=lease + 20), HUBNET_GROUP="askers")
    eventually(lambda: asker.ask("len(seen)") == len(ids), lease + 25, 0.1)
    seen = asker.ask("seen")
    ends = {peer_id: net.redis.client.zscore("hubnet:{default}:leases", peer_id) / 1000 for peer_id in ids}
    asker.close()
    return {peer_id: seen[peer_id] - ends[peer_id] for peer_id in ids}


_LOOK = """
import threading, time
ids, seen = {ids!r}, {{}}
def look(until=time.monotonic() + {limit}):
    while len(seen) < len(ids) and time.monotonic() < until:
        listed = hubnet.peers("w", refresh=True)["peers"]
        for one in ids:
            if one not in seen and listed[one]["state"] == "suspect":
                seen[one] = time.time()
        time.sleep(0.005)
threading.Thread(target=look).start()
"""


def held(folder: Path, trials: int) -> Trials:
    """C code holds the interpreter for a minute."""
    return stopped(folder, trials, how="hold", seconds=60)


def stopped_for_good(folder: Path, trials: int, *, lease: float = 2.0, suspect: float = 3.0) -> Trials:
    """A peer that never goes on is gone after HUBNET_SUSPECT, and not before."""
    net = StormNet(folder, HUBNET_LEASE=f"{lease:g}", HUBNET_SUSPECT=f"{suspect:g}")
    try:
        net.hub()
        net.crowd(OTHERS if trials >= AT_A_TIME else 0, group="others")  # else the hub would doubt itself
        for trial in range(0, trials, AT_A_TIME):
            victims = net.crowd(min(AT_A_TIME, trials - trial))
            ids = net.ids(victims)
            for one in victims:
                one.signal(signal.SIGSTOP)
            ends: dict[bytes, float] = {}
            gone: dict[bytes, float] = {}

            def all_gone(
                ids: list[bytes] = ids, ends: dict[bytes, float] = ends, gone: dict[bytes, float] = gone
            ) -> bool:
                for peer_id in ids:
                    end = net.redis.client.zscore("hubnet:{default}:leases", peer_id)
                    if end is not None:
                        ends[peer_id] = end / 1000
                    elif peer_id not in gone:
                        gone[peer_id] = time.time()
                return len(gone) == len(ids)

            eventually(all_gone, lease + suspect + 60)
            for n, peer_id in enumerate(ids):
                after = gone[peer_id] - ends[peer_id]
                yield Sample(
                    trial + n, "gone after lease end", after, all_of((after >= suspect, f"gone after {after:.2f} s"))
                )
            for one in victims:
                one.close()
    finally:
        net.close()


def busy(folder: Path, trials: int, *, seconds: float = 60.0) -> Trials:
    """Pure-Python work in peers: nobody is declared gone, and all stay open."""
    net = StormNet(folder)
    try:
        net.hub()
        listener, caller = net.listener(), net.peer(group="callers")
        crowd = net.crowd(min(trials, 4) + OTHERS)
        ids = net.ids(crowd)
        for trial in range(0, trials, 4):
            working = ids[: min(4, trials - trial)]
            for n, peer_id in enumerate(working):
                caller.run(f"begin(work, {seconds}, {peer_id!r}, {[(trial, n)]})")
            yield from _nobody_gone(net, ids, listener, caller, trial, len(working), seconds)
    finally:
        net.close()


def _nobody_gone(
    net: StormNet, ids: list[bytes], listener: Process, caller: Process, trial: int, size: int, seconds: float
) -> Trials:
    """While it lasts, all stay in the register and none is suspect; the calls end with an answer."""
    end = time.monotonic() + seconds
    missing: set[bytes] = set()
    suspect: set[bytes] = set()
    while time.monotonic() < end:
        missing |= set(ids) - net.records().keys()
        suspect |= set(ids) & net.late()
        time.sleep(0.05)  # the observer wants little of a machine that is busy
    outcomes = caller.ask("ended()", seconds + 120)
    left = [who for what, who, _ in listener.ask("news") if what == "left"]
    broken = all_of(
        (not missing, f"{len(missing)} were missing"), (not suspect, f"{len(suspect)} were suspect"),
        (not left, f"{len(left)} were told to have left"),
        (all(kind == "answer" for _, kind, *_ in outcomes), f"{[one[1:3] for one in outcomes]}"),
    )  # fmt: skip
    for n in range(size):
        yield Sample(trial + n, "nobody gone", None, broken)


def oversubscribed(folder: Path, trials: int, *, seconds: float = 20.0) -> Trials:
    """Four busy processes for each core beside the net: nobody is declared gone."""
    import os

    net = StormNet(folder)
    burners = []
    try:
        net.hub()
        listener, caller = net.listener(), net.peer(group="callers")
        ids = net.ids(net.crowd(10))
        burners = [net.actor(start=False) for _ in range(4 * (os.cpu_count() or 1))]
        for one in burners:
            one.send("run", "while True: sum(range(1000))")
        for trial in range(trials):
            caller.run(f"begin(nap, {seconds / 2}, {ids[trial % len(ids)]!r}, {[(trial, 0)]})")
            yield from _nobody_gone(net, ids, listener, caller, trial, 1, seconds)
    finally:
        for one in burners:
            one.kill()
        net.close()


def restarted(folder: Path, trials: int) -> Trials:
    """A peer is killed and started at once on its address: the new one is called, and nothing runs twice."""
    net = StormNet(folder, HUBNET_DIAL_BACK_LIMIT="1000000")  # it restarts oftener than a hub bears
    try:
        net.hub()
        caller = net.peer(group="callers")
        port = str(free_port())
        worker = net.peer(HUBNET_PORT=port)
        (peer_id,) = net.ids([worker])
        caller.run(_STREAM.format(peer_id=peer_id))
        for trial in range(trials):
            caller.run("stream = Stream()")
            eventually(lambda worker=worker: caller.ask("stream.last") == worker.pid)
            before = set(worker.ask("ran"))
            at = harm(worker, signal.SIGKILL)
            worker.close()
            old = worker.pid
            worker = net.peer(HUBNET_PORT=port)
            eventually(lambda worker=worker: caller.ask("stream.last") == worker.pid)
            told = caller.ask("stream.stop()")
            ran = worker.ask("ran")
            no = {token for token, kind, said, _ in told if kind != "answer" and said == "NO"}
            answers = {token: said for token, kind, said, _ in told if kind == "answer"}
            standing = net.records()[peer_id]["pid"]
            broken = all_of(
                (not before & set(ran) and len(ran) == len(set(ran)), "a call ran twice"),
                (not no & (before | set(ran)), "what was said not to have run has run"),
                (set(answers.values()) <= {old, worker.pid}, "a stranger answered"),
                (
                    all(token in set(ran) for token, said in answers.items() if said == worker.pid),
                    "an answer of the dead",
                ),
                (standing == worker.pid, "the record of the old one stands"),
            )
            first = min(moment for _, kind, said, moment in told if kind == "answer" and said == worker.pid)
            yield Sample(trial, "first answer of the new one", since(at, first), broken)
    finally:
        net.close()


_STREAM = """
import itertools
tokens = itertools.count()
class Stream:
    # calls one peer on and on, each call with a token of its own
    def __init__(self):
        self.told, self.on, self.last = [], True, None
        self.thread = threading.Thread(target=self.run); self.thread.start()
    def run(self):
        while self.on:
            token = next(tokens)
            self.told.append(outcome_of(lambda: nap(0, token, peer={peer_id!r}, timeout=10), token))
            if self.told[-1][1] == "answer": self.last = self.told[-1][2]
            time.sleep(0.002)
    def stop(self):
        self.on = False
        self.thread.join()
        return self.told
"""


def terminated(folder: Path, trials: int) -> Trials:
    """SIGTERM in the middle of calls: they end, new ones go elsewhere, then it leaves."""
    net = StormNet(folder)
    try:
        net.hub()
        listener, caller = net.listener(), net.peer(STEADY, group="callers")
        other = net.peer()
        caller.run(f"steady = Steady([{net.ids([other])[0]!r}], 0.01)")
        called = bad = 0
        for trial in range(trials):
            worker = net.peer()
            (peer_id,) = net.ids([worker])
            worker.send("run", "hubnet.serve()")
            eventually(lambda worker=worker: _catches(worker, signal.SIGTERM))
            eventually(lambda peer_id=peer_id: net.records()[peer_id]["state"] == "open")
            caller.run(f"nap(0, peer={peer_id!r})")
            gate = net.gate()
            caller.run(f"begin(wait_at, {gate.path!r}, {peer_id!r}, {[(trial, n) for n in range(CALLS)]})")
            eventually(
                lambda peer_id=peer_id: caller.ask(f"hubnet.stats(peer={peer_id!r})['calls.running']") == CALLS,
                20,
                0.002,
            )
            at = harm(worker, signal.SIGTERM)
            draining = net.when(lambda peer_id=peer_id: net.records().get(peer_id, {}).get("state", "gone") != "open")
            seen = net.records().get(peer_id, {}).get("state", "gone")
            refused = caller.ask(f"outcome_of(lambda: nap(0, peer={peer_id!r}), None)")
            picked = caller.ask("nap(0, peer=next(iter(hubnet.wait_for(1, 'w')['peers'])))")
            gate.open()
            outcomes = caller.ask("ended()")
            gone = net.when(lambda peer_id=peer_id: not net.there(peer_id))
            worker.answer()
            code = worker.leave()
            broken = all_of(
                (all(kind == "answer" for _, kind, *_ in outcomes), f"running calls: {[one[1:3] for one in outcomes]}"),
                (seen == "draining", f"never draining: {seen}"), (refused[2] == "NO", f"a new call: {refused[1:3]}"),
                (picked == other.pid, "a new call was led to it"), (code == 0, f"exit code {code}"),
            )  # fmt: skip
            yield Sample(trial, "draining announced", since(at, draining), broken)
            yield Sample(trial, "gone after its last call", since(max(moment for *_, moment in outcomes), gone))
            worker.close()
            calls, failed = caller.ask("steady.calls, steady.bad")
            broken = all_of((calls > called, "nobody called"), (len(failed) == bad, f"calls: {failed[bad:][:3]}"))
            yield Sample(trial, "others unaffected", None, broken)
            called, bad = calls, len(failed)
        eventually(lambda: listener.ask("sum(what == 'left' for what, *_ in news)") >= trials)
        caller.ask("steady.stop()")
    finally:
        net.close()


def _catches(peer: Process, number: int) -> bool:
    """Whether it has come as far as to look after this signal."""
    status = Path(f"/proc/{peer.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (number - 1) & 1)
