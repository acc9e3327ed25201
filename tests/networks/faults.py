"""What breaks in a network, one function for each row: it breaks it once, and tells what was seen, and when.

Tests look at what happened, and ``python -m benchmarks.storm`` at how long it took. Networks that are cut are in ``cuts``.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress

from benchmarks.storm.samples import NoTrial
from tests.api.conftest import Process
from tests.api.witness import id_of
from tests.networks.cuts import cut_one_way, cut_worker_and_hub, cut_workers  # noqa: F401 - measured as the others are
from tests.networks.farm import CALLS, SERVES, TELLS, Farm, Seen, differs, waits
from tests.networks.machines import Machine
from tests.waiting import eventually

MUCH = 64 << 20
SOME = 4 << 20  # of those bytes: in the middle of them

# -- a machine vanishes ----------------------------------------------------------------------------------------------


def vanish_idle(farm: Farm) -> Seen:
    """While a function runs there, and nothing is under way."""
    farm.caller.ask(f"wait(0, peer={farm.ids['victim']!r})")
    waits(farm)
    return _vanish(farm, {("PeerLost", "MAYBE")})


def vanish_in_flight(farm: Farm, *more: tuple[str, str]) -> Seen:
    """While an argument of 64 MiB is on its way there, again and again.

    Args:
        more: errors, and whether it ran, with which the call may end as well.
    """
    farm.caller.run(f"""
        def endless():
            while True:
                size(bytes({MUCH}), peer={farm.ids["victim"]!r})
    """)
    farm.caller.ask(f"size(b'', peer={farm.ids['victim']!r})")
    farm.caller.send("ask", "outcome(endless)")
    eventually(lambda: farm.victim.ask("hubnet.stats()['links.incoming']") > 0)
    time.sleep(0.3)  # in the middle of one of them, whichever
    return _vanish(farm, {("PeerLost", "NO"), ("PeerLost", "MAYBE"), *more})


def _vanish(farm: Farm, ends: set[tuple[str, str]]) -> Seen:
    fault = time.monotonic()
    farm.vanish()
    said, _, ended = farm.caller.answer(60)
    gone = farm.unlisted("victim", fault)
    broken = {
        "PeerLost": "" if said in ends else f"{said!r:.200}",
        "gone": farm.listed_all_the_while(fault, "hub", "caller"),
    }
    back = farm.come_back()
    whole = farm.whole()
    broken["back"] = "" if farm.works() else "no calls"
    return Seen({"PeerLost": ended - fault, "gone": gone - fault, "back": whole - back}, broken)


# -- a name server is away ----------------------------------------------------------------------------------------


def no_name_server(farm: Farm, *, limit: float = 2.0) -> Seen:
    """The name of a peer is asked of nobody who answers; others are called meanwhile."""
    there = farm.net.actor(farm.spare, CALLS + TELLS, HUBNET_PORT="0", HUBNET_GROUP="lost")
    there.run(f"hubnet.pass_through(1, peer={farm.ids['victim']!r})")
    farm.spare.has_a_way_out_to_nobody()
    there.run(f"""
        import threading
        said = []
        def asks():
            said.append(outcome(lambda: hubnet.pass_through(1, peer=("render-07.example", 3010), timeout={limit})))
        threading.Thread(target=asks, daemon=True).start()
    """)
    known = f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['victim']!r}, timeout=4))"
    others = [there.ask(known)[0] for _ in range(20)]
    said, begin, ended = eventually(lambda: there.ask("said"), timeout=60)[0]
    there.close()
    farm.whole()  # what comes next counts who is declared gone
    broken = {
        "the call ends": "" if said in [("PeerUnreachable", "NO"), ("CallTimeout", "NO")] else repr(said),
        "others are called": differs(others, [1] * 20),
    }
    return Seen({"the call ends": ended - begin}, broken)


# -- what is no fault ------------------------------------------------------------------------------------------------


def loss(farm: Farm, *, seconds: float = 60.0) -> Seen:
    """Of all packets that come in anywhere, one in twenty is dropped; calls go on, and nobody is declared gone."""
    machines = [*farm.places.values(), farm.net.store]
    buried = farm.buried()
    fault = time.monotonic()
    for machine in machines:
        machine.lossy(0.05)
    slowest, failed = 0.0, ""
    while time.monotonic() < fault + seconds:
        said, begin, ended = farm.caller.ask(
            f"outcome(lambda: size(bytes(100_000), peer={farm.ids['victim']!r}))", timeout=60
        )
        slowest, failed = max(slowest, ended - begin), failed or differs(said, 100_000)
    broken = {
        "nobody gone": farm.listed_all_the_while(fault, "hub", "victim", "caller"),
        "slowest call": failed,
    }
    for machine in machines:
        machine.hears_all()
    broken["nobody gone"] = broken["nobody gone"] or differs(farm.buried(), buried)
    farm.whole()
    return Seen({"slowest call": slowest}, broken)


def slow_reader(farm: Farm, *, seconds: float = 10.0) -> Seen:
    """A living peer is stopped in the middle of an argument of 64 MiB, reads nothing so long, and reads on.

    Raises:
        NoTrial: it was never stopped in the middle of it.
    """
    farm.caller.ask(f"size(b'', peer={farm.ids['victim']!r})")
    for _ in range(10):
        fault = time.monotonic()
        if _is_stopped_amid(farm):
            break
        farm.victim.signal(signal.SIGCONT)
        farm.caller.answer(60)
    else:
        raise NoTrial("all of it was there before the peer was stopped")
    at = time.monotonic()
    time.sleep(seconds)
    farm.victim.signal(signal.SIGCONT)
    said, _, ended = farm.caller.answer(60)
    broken = {
        "ends": differs(said, MUCH),
        "listed": farm.listed_all_the_while(fault, "hub", "victim", "caller"),
    }
    farm.whole()
    return Seen({"ends": ended - at - seconds}, broken)


def _is_stopped_amid(farm: Farm) -> bool:
    """Whether some of the argument is there by now, and not all of it; the peer is stopped."""
    before = farm.victim.memory
    farm.caller.send("ask", f"outcome(lambda: size(bytes({MUCH}), peer={farm.ids['victim']!r}))")
    with suppress(AssertionError):  # or all of it has come and gone between two looks
        eventually(lambda: farm.victim.memory > before + SOME, 5, 0.0005)
    farm.victim.signal(signal.SIGSTOP)
    eventually(lambda: farm.victim.rests)
    return SOME < farm.victim.memory - before < MUCH - SOME


def clock(farm: Farm, name: str, ahead: int, *, seconds: float) -> Seen:
    """The clock of one machine jumps; whoever is there stays there, and a peer that ends then is gone as soon as ever."""
    place: Machine = farm.net.store if name == "redis" else farm.places[name]
    fault = time.monotonic()
    place.set_clock(ahead)
    time.sleep(seconds)
    works = farm.works()
    guest: Process = farm.net.worker(farm.spare, SERVES, HUBNET_GROUP="guest", HUBNET_PORT="0")
    peer_id = id_of(guest)
    listed = eventually(lambda: [at for at, found in farm.seen() if peer_id in found])[0]
    killed = time.monotonic()
    guest.kill()
    gone = eventually(lambda: [at for at, found in farm.seen() if at > max(listed, killed) and peer_id not in found])[0]
    place.set_clock(0)
    farm.whole()
    time.sleep(seconds)
    missing = farm.listed_all_the_while(fault, "hub", "victim", "caller")
    return Seen({"a crash is seen": gone - killed}, {"nothing expires": missing or ("" if works else "no calls")})


Fault = Callable[[Farm], Seen]
