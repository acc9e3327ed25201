"""A small farm whose machines tests do harm to, and what one trial of it showed.

All times are of the clock that all processes of this machine share, whatever their network: each process notes when it saw
something, and a fault's own time is taken before it begins.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, NamedTuple

from tests.api.conftest import Process
from tests.api.witness import id_of
from tests.networks.machines import Machines
from tests.waiting import eventually

SERVES = """
import time, threading
@hubnet.connect("wait")
def wait(seconds):
    time.sleep(seconds)
    return seconds
@hubnet.connect("size")
def size(data):
    return len(data)
ran = []
@hubnet.connect("note")
def note(token):
    ran.append(token)
"""
CALLS = """
note = hubnet.connect("note")(lambda token: None)
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
def text_of(call):
    try:
        return f"it was answered: {call()!r}"
    except hubnet.HubnetError as error:
        return str(error)
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
        self._env = env
        self.hub = net.hub(at["hub"], SERVES + TELLS, **env)
        self.victim = self.new_victim()
        self.caller = net.worker(at["caller"], CALLS + TELLS, HUBNET_GROUP="render", **env)
        self.observer = net.worker(at["observer"], WATCHES, HUBNET_GROUP="watch", **env)
        self.ids = {name: id_of(getattr(self, name)) for name in at}
        self.whole()
        assert self.works()

    def new_victim(self) -> Process:
        """The worker that things happen to, on its machine."""
        return self.net.worker(self.places["victim"], SERVES + TELLS, HUBNET_GROUP="render", **self._env)

    def vanish(self) -> None:
        """The victim's machine is gone, for all others."""
        self.places["victim"].unplug()

    def come_back(self) -> float:
        """It is there again; since when."""
        self.places["victim"].plug_in()
        return time.monotonic()

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

    def doubles(self) -> str:
        """Who is listed more than once, by the machine that it is on; "" if nobody."""
        found = Counter(one["host"] for one in self.observer.ask("hubnet.peers(refresh=True)")["peers"].values())
        return ", ".join(f"{host} {times} times" for host, times in found.items() if times > 1)

    def works(self) -> bool:
        """Whether the two workers call each other, and the hub."""
        return all(
            one.ask(f"hubnet.pass_through(1, peer={self.ids[to]!r}, timeout=10)") == 1
            for one, to in ((self.caller, "victim"), (self.victim, "caller"), (self.victim, "hub"))
        )


def differs(said: Any, expected: Any) -> str:
    """What was said, where it is not what was expected."""
    return "" if said == expected else f"{said!r:.200}"


def waits(farm: Farm) -> None:
    """The caller's call runs there, and will for a minute."""
    running = "hubnet.stats()['calls.running']"
    before = farm.victim.ask(running)
    farm.caller.send("ask", f"outcome(lambda: wait(60, peer={farm.ids['victim']!r}))")
    eventually(lambda: farm.victim.ask(running) == before + 1)
