"""Rows about calls: chains that come back to where they began, and many threads at once."""

from __future__ import annotations

from pathlib import Path

from benchmarks.storm.hubs import new_hub
from benchmarks.storm.nets import StormNet, all_of, since
from benchmarks.storm.samples import Sample, Trials

CHAIN = """
@hubnet.connect("step")
def step(route, depth):
    # one link of a chain: on to the other peer, until it is long enough
    return depth if len(route) == 1 else step(route[1:], depth + 1, peer=route[0])

def chains(route, many, timeout):
    begin = time.monotonic_ns()
    ready = threading.Barrier(many)
    def one(n):
        ready.wait()
        outcomes.append(outcome_of(lambda: step(route, 1, peer=route[-1], timeout=timeout), n))
    threads.extend(threading.Thread(target=one, args=(n,)) for n in range(many))
    for thread in threads: thread.start()
    return begin, ended()

def at_once(peer, many):
    begin = time.monotonic_ns()
    ready = threading.Barrier(many)
    def one(n):
        ready.wait()
        outcomes.append(outcome_of(lambda: hubnet.pass_through(n, peer=peer), n))
    threads.extend(threading.Thread(target=one, args=(n,)) for n in range(many))
    for thread in threads: thread.start()
    return begin, ended()
"""


def chains(folder: Path, trials: int, *, many: int = 32, long: int = 12) -> Trials:
    """Chains of calls A → B → A … on peers that run four calls at once, at each depth: all are answered."""
    net = StormNet(folder, HUBNET_THREAD_LIMIT="4")
    try:
        new_hub(net)
        one, other = net.peer(CHAIN), net.peer(CHAIN)
        route = net.ids([one, other]) * (long // 2)
        for trial in range(trials):
            begin, outcomes = one.ask(f"chains({route!r}, {many}, 60)", 100)
            broken = all_of(
                (len(outcomes) == many, f"{len(outcomes)} outcomes"),
                ({told[1:3] for told in outcomes} == {("answer", long)}, f"{sorted({told[1:3] for told in outcomes})}"),
            )
            yield Sample(trial, "all chains answered", since(begin, max(moment for *_, moment in outcomes)), broken)
    finally:
        net.close()


def threads(folder: Path, trials: int, *, many: int = 200) -> Trials:
    """Two hundred threads of one process call one peer at once: each gets its own answer."""
    net = StormNet(folder)
    try:
        new_hub(net)
        caller, served = net.peer(CHAIN), net.peer(CHAIN)
        (peer_id,) = net.ids([served])
        for trial in range(trials):
            begin, outcomes = caller.ask(f"at_once({peer_id!r}, {many})", 60)
            wrong = [told[:3] for told in outcomes if told[1] != "answer" or told[2] != told[0]]
            broken = all_of((len(outcomes) == many, f"{len(outcomes)} outcomes"), (not wrong, f"{wrong[:3]}"))
            yield Sample(trial, "all answered", since(begin, max(moment for *_, moment in outcomes)), broken)
    finally:
        net.close()
