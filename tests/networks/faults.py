"""What breaks in a network, one function for each row: it breaks it once, and tells what was seen, and when.

All times are of the clock that all processes of this machine share, whatever their network: each process notes when it saw
something, and the fault's own time is taken before it begins. Tests look at what happened, and
``python -m benchmarks.storm_network`` at how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.api.conftest import Process
from tests.api.witness import id_of
from tests.networks.machines import Machine, Machines
from tests.waiting import eventually

MUCH = 64 << 20
SERVES = """
import time, threading
@hubnet.connect("wait")
def wait(seconds):
    time.sleep(seconds)
    return seconds
@hubnet.connect("size")
def size(data):
    return len(data)
"""
CALLS = """
wait = hubnet.connect("wait")(lambda seconds: None)
size = hubnet.connect("size")(lambda data: None)
"""
TELLS = """
import time
def outcome(call):
    begin = time.monotonic()
    try:
        said = call()
    except hubnet.HubnetError as error:
        said = type(error).__name__, error.ran
    return said, begin, time.monotonic()
"""
WATCHES = """
import threading, time
seen = []  # when who was listed changed, and who it was since
def _watch():
    last = None
    while True:
        try:
            found = {one: said["state"] for one, said in hubnet.peers(refresh=True)["peers"].items()}
        except hubnet.HubnetError:
            continue
        if found != last:
            seen.append((time.monotonic(), found))
            last = found
        time.sleep(0.02)
threading.Thread(target=_watch, daemon=True).start()
"""


class Seen(NamedTuple):
    """What one trial showed.

    Attributes:
        times: seconds from the fault, or from its end, until each thing was seen.
        broken: what did not hold.
    """

    times: dict[str, float]
    broken: dict[str, str]


class Farm:
    """A hub, two workers and an observer, each on a machine of its own.

    Attributes:
        victim: the worker that things happen to.
        caller: the other one.
        observer: asks the hub who is there, fifty times a second, and notes each change.
    """

    def __init__(self, net: Machines, **env: str) -> None:
        self.net = net
        self.places = at = {name: net.machine(name) for name in ("hub", "victim", "caller", "observer")}
        self.spare = net.machine("spare")
        self.hub = net.hub(at["hub"], SERVES, **env)
        self.victim = net.worker(at["victim"], SERVES + TELLS, HUBNET_GROUP="render", **env)
        self.caller = net.worker(at["caller"], CALLS + TELLS, HUBNET_GROUP="render", **env)
        self.observer = net.worker(at["observer"], WATCHES, HUBNET_GROUP="watch", **env)
        self.ids = {name: id_of(getattr(self, name)) for name in at}
        self.whole()
        assert self.works()

    def whole(self) -> float:
        """Wait until all are listed, open; when that was seen."""
        everybody = {self.ids[name]: "open" for name in ("hub", "victim", "caller")}
        eventually(lambda: self.seen()[-1][1] == everybody, timeout=60, not_yet=IndexError)
        at: float = self.seen()[-1][0]
        return at

    def seen(self) -> list[tuple[float, dict[bytes, str]]]:
        """What the observer noted."""
        found: list[tuple[float, dict[bytes, str]]] = self.observer.ask("seen")
        return found

    def unlisted(self, name: str, since: float, timeout: float = 30) -> float:
        """Wait until somebody is not listed any more; when that was seen."""
        peer_id = self.ids[name]

        def when() -> list[float]:
            return [at for at, found in self.seen() if at >= since and peer_id not in found]

        return eventually(when, timeout=timeout)[0]

    def listed_all_the_while(self, since: float, *names: str) -> str:
        """Who of them was not listed at some time since; "" if nobody."""
        missing = {name for at, found in self.seen() if at >= since for name in names if self.ids[name] not in found}
        return f"not listed: {', '.join(sorted(missing))}" if missing else ""

    def buried(self) -> int:
        """How many the hub has declared gone."""
        return int(self.hub.ask("hubnet.stats().get('hub.gone', 0)"))

    def works(self) -> bool:
        """Whether the two workers call each other, and the hub."""
        return all(
            one.ask(f"hubnet.pass_through(1, peer={self.ids[to]!r}, timeout=10)") == 1
            for one, to in ((self.caller, "victim"), (self.victim, "caller"), (self.victim, "hub"))
        )


def _differs(said: Any, expected: Any) -> str:
    return "" if said == expected else f"{said!r:.200}"


# -- a machine vanishes ----------------------------------------------------------------------------------------------


def _waits(farm: Farm) -> None:
    """The caller's call runs there, and will for a minute."""
    running = "hubnet.stats()['calls.running']"
    before = farm.victim.ask(running)
    farm.caller.send("ask", f"outcome(lambda: wait(60, peer={farm.ids['victim']!r}))")
    eventually(lambda: farm.victim.ask(running) == before + 1)


def vanish_idle(farm: Farm) -> Seen:
    """While a function runs there, and nothing is under way."""
    farm.caller.ask(f"wait(0, peer={farm.ids['victim']!r})")
    _waits(farm)
    return _vanish(farm, ("PeerLost", "MAYBE"))


def vanish_in_flight(farm: Farm) -> Seen:
    """While an argument of 64 MiB is on its way there, again and again."""
    farm.caller.run(f"""
        def endless():
            while True:
                size(bytes({MUCH}), peer={farm.ids["victim"]!r})
    """)
    farm.caller.ask(f"size(b'', peer={farm.ids['victim']!r})")
    farm.caller.send("ask", "outcome(endless)")
    eventually(lambda: farm.victim.ask("hubnet.stats()['links.incoming']") > 0)
    time.sleep(0.3)  # in the middle of one of them, whichever
    return _vanish(farm, None)


def _vanish(farm: Farm, expected: Any) -> Seen:
    fault = time.monotonic()
    farm.places["victim"].unplug()
    said, _, ended = farm.caller.answer(60)
    gone = farm.unlisted("victim", fault)
    broken = {
        "PeerLost": _differs(said, expected) if expected else "" if said[0] == "PeerLost" else repr(said),
        "gone": farm.listed_all_the_while(fault, "hub", "caller"),
    }
    farm.places["victim"].plug_in()
    back = time.monotonic()
    whole = farm.whole()
    broken["back"] = "" if farm.works() else "no calls"
    return Seen({"PeerLost": ended - fault, "gone": gone - fault, "back": whole - back}, broken)


# -- a network is cut ------------------------------------------------------------------------------------------------

AWAY = 6.0


def cut_worker_and_hub(farm: Farm, *, away: float = AWAY) -> Seen:
    """Neither hears the other; the two workers do, and their calls go on."""
    return _cut_from_hub(farm, away, both=True)


def cut_one_way(farm: Farm, *, away: float = AWAY) -> Seen:
    """The hub hears nothing of the worker, which hears the hub."""
    return _cut_from_hub(farm, away, both=False)


def _cut_from_hub(farm: Farm, away: float, *, both: bool) -> Seen:
    victim, hub = farm.places["victim"], farm.places["hub"]
    fault = time.monotonic()
    hub.deaf_to(victim)
    if both:
        victim.deaf_to(hub)
    farm.victim.send("ask", f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['hub']!r}, timeout=4))")
    gone = farm.unlisted("victim", fault)
    said, begin, ended = farm.victim.answer(60)
    broken = {
        "gone": farm.listed_all_the_while(fault, "hub", "caller"),
        "the call to the hub ends": "" if said[0] in {"PeerLost", "PeerUnreachable", "CallTimeout"} else repr(said),
    }
    known = farm.caller.ask(f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['victim']!r}, timeout=4))")
    broken["those that know each other call"] = _differs(known[0], 1)
    time.sleep(max(0.0, fault + away - time.monotonic()))
    healed = time.monotonic()
    for machine in (hub, victim):
        machine.hears_all()
    whole = farm.whole()
    broken["healed"] = "" if farm.works() else "no calls"
    return Seen({"gone": gone - fault, "the call to the hub ends": ended - begin, "healed": whole - healed}, broken)


def cut_workers(farm: Farm, *, away: float = AWAY) -> Seen:
    """The two do not hear each other; the hub hears both, and lists both."""
    victim, caller = farm.places["victim"], farm.places["caller"]
    call = f"outcome(lambda: hubnet.pass_through(1, peer={farm.ids['victim']!r}, timeout=4))"
    farm.caller.ask(call)
    _waits(farm)
    fault = time.monotonic()
    victim.deaf_to(caller)
    caller.deaf_to(victim)
    said, _, lost = farm.caller.answer(60)
    again, begin, ended = farm.caller.ask(call, timeout=60)
    broken = {
        "PeerLost": _differs(said, ("PeerLost", "MAYBE")),
        "the next call ends": "" if again in [("PeerUnreachable", "NO"), ("CallTimeout", "NO")] else repr(again),
    }
    time.sleep(max(0.0, fault + away - time.monotonic()))
    broken["listed"] = farm.listed_all_the_while(fault, "hub", "victim", "caller")
    healed = time.monotonic()
    victim.hears_all()
    caller.hears_all()
    eventually(lambda: farm.caller.ask(call, timeout=30)[0] == 1, timeout=60)
    works = time.monotonic()
    return Seen({"PeerLost": lost - fault, "the next call ends": ended - begin, "healed": works - healed}, broken)


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
        "others are called": _differs(others, [1] * 20),
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
        slowest, failed = max(slowest, ended - begin), failed or _differs(said, 100_000)
    broken = {
        "nobody gone": farm.listed_all_the_while(fault, "hub", "victim", "caller"),
        "slowest call": failed,
    }
    for machine in machines:
        machine.hears_all()
    broken["nobody gone"] = broken["nobody gone"] or _differs(farm.buried(), buried)
    farm.whole()
    return Seen({"slowest call": slowest}, broken)


def slow_reader(farm: Farm, *, seconds: float = 10.0) -> Seen:
    """A living peer is stopped in the middle of an argument of 64 MiB, reads nothing so long, and reads on."""
    from signal import SIGCONT, SIGSTOP

    farm.caller.ask(f"size(b'', peer={farm.ids['victim']!r})")
    farm.victim.signal(SIGSTOP)
    eventually(lambda: farm.victim.rests)
    fault = time.monotonic()
    farm.caller.send("ask", f"outcome(lambda: size(bytes({MUCH}), peer={farm.ids['victim']!r}))")
    time.sleep(seconds)
    farm.victim.signal(SIGCONT)
    said, _, ended = farm.caller.answer(60)
    broken = {
        "ends": _differs(said, MUCH),
        "listed": farm.listed_all_the_while(fault, "hub", "victim", "caller"),
    }
    farm.whole()
    return Seen({"ends": ended - fault - seconds}, broken)


def clock(farm: Farm, name: str, ahead: int, *, seconds: float) -> Seen:
    """The clock of one machine jumps; whoever is there stays there, and a peer that ends then is gone as soon as ever."""
    place: Machine = farm.net.store if name == "redis" else farm.places[name]
    fault = time.monotonic()
    place.set_clock(ahead)
    time.sleep(seconds)
    broken = {"nobody gone": farm.listed_all_the_while(fault, "hub", "victim", "caller")}
    broken["calls"] = "" if farm.works() else "no calls"
    guest: Process = farm.net.worker(farm.spare, SERVES, HUBNET_GROUP="guest", HUBNET_PORT="0")
    peer_id = id_of(guest)
    listed = eventually(lambda: [at for at, found in farm.seen() if peer_id in found])[0]
    killed = time.monotonic()
    guest.kill()
    gone = eventually(lambda: [at for at, found in farm.seen() if at > max(listed, killed) and peer_id not in found])[0]
    place.set_clock(0)
    farm.whole()
    time.sleep(seconds)
    broken["nobody gone, back again"] = farm.listed_all_the_while(fault, "hub", "victim", "caller")
    return Seen({"a crash is seen": gone - killed}, broken)


Fault = Callable[[Farm], Seen]
