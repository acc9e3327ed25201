"""A world in one thread that fails: time, machines and networks, and the register's Redis; its processes are in ``processes.py``.

Modelled is only what needs sockets. A dial is looked up in the world, a link is an object that ends some time after its cause.
Redis can be away, forget, and let its clock jump.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from hubnet import colleagues as colleagues_room
from hubnet import hub as hub_room
from hubnet import keeper as keeper_room
from hubnet import machine as machine_room
from hubnet import registry as registry_room
from hubnet import watch as watch_room
from hubnet.colleagues import Colleagues
from hubnet.core.channels import Names
from hubnet.core.handshake import digest_of
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring, new_token
from hubnet.core.membership import Record
from hubnet.core.register import Entry, Late, Register, Renewed
from hubnet.errors import BrokerUnavailable
from hubnet.links import dial

if TYPE_CHECKING:
    from tests.sim.processes import HubProcess, Peer, Process

VANISHED = (1.5, 3.4)
"""Seconds until a kernel notices that the other end of a link has gone without a word."""
ON_THE_WIRE = (0.001, 0.2)
"""Seconds that a hub's question to another one is under way, and its answer as well."""
STEADY = 5.0
"""Seconds for which something has to have been so, that a hub should have met it: longer than any look takes."""
REDIS = "redis"
RING = Keyring.of([new_token(bytes(32))], "default")
NAMES = Names("default")


JUMP = 3600.0
"""Seconds by which the clock of Redis is set, ahead or back."""


class Broken(BaseException):
    """A promise that did not hold; no last resort of the product's may swallow it."""


def promise(held: object, what: str) -> None:
    """Check one; as an error of its own, so that no other is taken for it."""
    if not held:
        raise Broken(what)


class World:
    """Time, machines and networks, and the register's Redis.

    Attributes:
        now: seconds.
        dice: the seed's.
        processes: by id, the one that was started last there.
        lease, suspect: as all are set here.
        left, withdrawn: how often hubs told so of an id, and how often its record was taken out.
        buried: when the record of an incarnation was taken out.
        history: who stood in the register from when on.
        listeners: whoever hears presence.
        healed_at: when networks were mended last.
        dialled_for: the seconds that the last dial took.
        stops_in_round: who is to stop when it is about to renew, by its machine, and for how many seconds.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 1000.0
        self.lease = self.dice.choice((2.0, 10.0))
        self.suspect = 6 * self.lease
        self.processes: dict[bytes, Process] = {}
        self.register = Register()
        self.redis_up = True
        self.redis_ahead = 1e6  # its own clock, which may be set back
        self.leases_ended_early_at = float("-inf")
        self.left: Counter[str] = Counter()
        self.withdrawn: Counter[str] = Counter()
        self.buried: dict[str, float] = {}
        self.history: list[tuple[float, frozenset[bytes]]] = [(self.now, frozenset())]
        self.listeners: list[Callable[[bytes], None]] = []
        self.healed_at = float("-inf")
        self.dialled_for = 0.0
        self.stops_in_round: dict[str, tuple[Process, float]] = {}
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._cuts: set[frozenset[str]] = set()
        self._down: set[str] = set()
        self._shut: set[tuple[str, str]] = set()

    # -- time ------------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """As ``time.monotonic``, for those whose ``time`` this world is."""
        return self.now

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Do it later."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._order), action))

    def steps(self, steps: Iterator[float]) -> None:
        """Take steps, each after the pause that the one before it wanted."""
        pause = next(steps, None)
        if pause is not None:
            self.after(pause, lambda: self.steps(steps))

    def _aside(self, work: Callable[[], Any], tell: Callable[[Any], None]) -> None:
        """As ``Colleagues.aside``: a question is under way for a while, takes what the look takes, and so does its answer."""

        def arrives() -> None:
            self.dialled_for = 0.0
            said = work()
            self.after(self.dialled_for + self.dice.uniform(*ON_THE_WIRE), lambda: tell(said))

        self.after(self.dice.uniform(*ON_THE_WIRE), arrives)

    def run(self, until: float) -> None:
        """Let time go by."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = max(self.now, until)  # an action may have had time go by itself

    def stop_here(self, host: str) -> None:
        """If the process on that machine is to stop in the middle of what it does, it does so now, until it goes on."""
        process, seconds = self.stops_in_round.pop(host, (None, 0.0))
        if process and process.active:
            process.stop(seconds)
            process.in_round = True
            while process.stopped:
                self.run(self.now + 0.05)
            process.in_round = False
            self.after(0.001, process.wake)

    @contextmanager
    def taking_over(self) -> Iterator[None]:
        """While it lasts the hub's rooms live in this world's time, and draw from its dice."""
        with ExitStack() as patches:
            for room in (hub_room, keeper_room, watch_room, registry_room, colleagues_room):
                patches.enter_context(mock.patch.object(room, "time", self))
            patches.enter_context(mock.patch.object(Colleagues, "aside", self._aside))
            patches.enter_context(mock.patch.object(machine_room, "_jitter", self.dice))
            patches.enter_context(mock.patch.object(watch_room.Watch, "begin", lambda _, steps: self.steps(steps)))
            for room in (keeper_room, watch_room, registry_room, colleagues_room):
                patches.enter_context(mock.patch.object(room._log, "disabled", True))
            yield

    # -- networks --------------------------------------------------------------------------------------------------

    def reaches(self, one: str, other: str) -> bool:
        """Whether packets pass between two machines."""
        return not {one, other} & self._down and frozenset((one, other)) not in self._cuts

    def cut(self, one: str, other: str) -> None:
        """Let no packet pass any more."""
        self._cuts.add(frozenset((one, other)))
        self._ends_of_links()

    def heal(self, one: str, other: str) -> None:
        """Let packets pass again."""
        self.leases_ended_early_at = self.healed_at = self.now
        self._cuts.discard(frozenset((one, other)))

    def shut(self, one: str, other: str) -> None:
        """Let the one dial the other no more, though links the other way stand."""
        self._shut.add((one, other))

    def dials(self, one: str, other: str) -> bool:
        """Whether the one may dial the other."""
        return self.reaches(one, other) and (one, other) not in self._shut

    def take_down(self, *hosts: str) -> None:
        """Machines vanish with all that runs there."""
        self._down.update(hosts)
        for process in self.processes.values():
            if process.host in hosts:
                process.up = False
        self._ends_of_links()

    def heal_networks(self) -> None:
        """All machines and networks are there again; processes have to be started."""
        self.leases_ended_early_at = self.healed_at = self.now  # a hub may have been cut off from Redis
        self._cuts.clear()
        self._down.clear()
        self._shut.clear()

    def jump(self, seconds: float) -> None:
        """The clock of Redis's machine is set: forward, and all leases end; or back, and none does."""
        self.redis_ahead += seconds
        self.leases_ended_early_at = self.now

    def bring_redis_back(self) -> None:
        """It answers again; leases have ended of whom hubs heard all the time."""
        self.redis_up = True
        self.leases_ended_early_at = self.now

    def note(self) -> None:
        """Something was written: who stands in the register now."""
        ids = frozenset(peer_id for texts in self.register.records(self.now * 1000).values() for peer_id in texts)
        if ids != self.history[-1][1]:
            self.history.append((self.now, ids))

    def asked_by(self, host: str) -> list[Process]:
        """The other hubs whose word the hub on a machine must have heard: they know each other, and all is well with them."""
        asker = self.processes[generate_id(3010, host, "hubs")]
        listed = {entry.peer_id for entry in asker.registry.hubs()}
        hubs = [one for one in self.processes.values() if one.id in listed and one is not asker]
        knowing = [one for one in hubs if asker.id in one.registry._cached[1]]
        return [one for one in knowing if asker.is_steady and one.is_steady and self.reaches(host, one.host)]

    def _ends_of_links(self) -> None:
        """Kernels notice what no longer passes, unless it does again by then."""
        for process in list(self.processes.values()):
            if process.link:
                link = process.link
                self.after(self.dice.uniform(*VANISHED), lambda link=link: link.end() if not link.passes else None)

    def look(self, asker: str, record: Record) -> str | None:
        """How far a dial comes, as ``links.dial`` names it; None: all the way."""
        if not self.dials(asker, record["host"]):
            return dial.UNANSWERED
        process = self.processes.get(str(record["id"]).encode())
        if process is None or not process.up:
            return dial.REFUSED
        if process.stopped:
            return dial.SILENT
        return None if process.incarnation == record["incarnation"] else dial.ANOTHER


class Store:
    """The register's store as one hub or peer reaches it."""

    where = "the simulated Redis"

    def __init__(self, world: World, host: str) -> None:
        self._world, self._host = world, host

    def _now(self) -> float:
        if not self._world.redis_up or not self._world.reaches(self._host, REDIS):
            raise BrokerUnavailable("the simulated Redis is out of reach")
        return (self._world.now + self._world.redis_ahead) * 1000

    def write(self, entry: Entry, *rest: Any) -> tuple[str, bytes]:
        said = self._world.register.write(self._now(), entry, *rest)
        self._world.note()
        buried = self._world.buried.get(entry.incarnation)
        process = self._world.processes[entry.peer_id]
        lives = process.up and process.incarnation == entry.incarnation
        early = self._world.now - self._world.leases_ended_early_at < self._world.lease
        promise(
            said[0] != "written" or buried is None or lives or early, "whom another hub had seen leave was brought back"
        )
        if lives:  # it came back by itself
            self._world.buried.pop(entry.incarnation, None)
        return said

    def withdraw(self, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool) -> bool:
        now, register = self._now(), self._world.register
        stood = register.records(now).get(group, {}).get(peer_id, b"{}")
        gone = register.withdraw(now, group, peer_id, incarnation, epoch, only_if_expired=only_if_expired)
        self._world.note()
        if gone:
            self._world.withdrawn[peer_id.decode()] += 1
            self._world.buried[incarnation] = self._world.now
        process = self._world.processes.get(peer_id)
        if gone and process and process.incarnation == incarnation:
            reachable = bool(json.loads(stood).get("reachable"))
            process.withdrawn_by(self._host, reachable=reachable)
        return gone

    def renew(self, *args: Any) -> Renewed:
        self._world.stop_here(self._host)
        return self._world.register.renew(self._now(), *args)

    def late(self) -> Late:
        return self._world.register.late(self._now())

    def records(self) -> dict[str, dict[bytes, bytes]]:
        return self._world.register.records(self._now())

    def hubs(self, deadline: float | None = None) -> dict[bytes, bytes]:
        return self._world.register.hubs(self._now())

    def now(self) -> float:
        return self._now()

    def close(self) -> None: ...


class Link:
    """A peer's link to its hub, as both ends see it."""

    kid = b""

    def __init__(self, world: World, peer: Peer, hub: HubProcess) -> None:
        self._world, self.peer, self.hub = world, peer, hub
        self.foreign_id = peer.id
        self.foreign = SimpleNamespace(incarnation=bytes.fromhex(peer.incarnation), digest=digest_of(peer.id))
        self.over = False
        self.ended = self.home = False  # as the hub's process knows

    @property
    def passes(self) -> bool:
        """Whether what is said still gets through: both live, and so does what is between them."""
        both = self.peer.up and self.hub.up and not self.over
        return both and self._world.reaches(self.peer.host, self.hub.host)

    def guard_small_messages(self) -> None: ...

    def end(self) -> None:
        """The kernels tell both ends, as soon as these can hear it."""
        if self.over:
            return
        self.over = True
        self.hub.when_awake(lambda: self.hub.link_ended(self))
        self.peer.when_awake(lambda: self.peer.link_ended(self))
