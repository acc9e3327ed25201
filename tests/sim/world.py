"""A farm in one thread: hubnet's own hubs, watches, registries and register, on a virtual clock, in a world that fails.

Modelled is only what needs sockets. A dial is looked up in the world, a link is an object that ends some time after its cause,
and a peer's home chooses hubs by the rule and renews. The register's Redis can be away, forget, and let its clock jump.
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
from typing import Any
from unittest import mock

from hubnet import colleagues as colleagues_room
from hubnet import hub as hub_room
from hubnet import machine as machine_room
from hubnet import registry as registry_room
from hubnet import watch as watch_room
from hubnet.colleagues import LOOK, Colleagues
from hubnet.core import membership, pauses
from hubnet.core.channels import Names
from hubnet.core.connections import Connection
from hubnet.core.handshake import digest_of
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring, new_token
from hubnet.core.membership import HubEntry, Record
from hubnet.core.register import Entry, Late, Register, Renewed
from hubnet.counters import Counters
from hubnet.errors import BrokerUnavailable, HubnetError, PeerUnreachable
from hubnet.hub import Hub
from hubnet.links import dial
from hubnet.links.context import NO_CALL, here
from hubnet.registry import Registry

ANSWER_LIMIT = 5.0
"""Seconds until a peer gives up a hub that does not answer."""
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
            for room in (hub_room, watch_room, registry_room, colleagues_room):
                patches.enter_context(mock.patch.object(room, "time", self))
            patches.enter_context(mock.patch.object(Colleagues, "aside", self._aside))
            patches.enter_context(mock.patch.object(machine_room, "_jitter", self.dice))
            patches.enter_context(mock.patch.object(watch_room.Watch, "begin", lambda _, steps: self.steps(steps)))
            for room in (hub_room, watch_room, registry_room, colleagues_room):
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
            if isinstance(process, Peer) and process.link:
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


class Process:
    """A life of a hub or a peer: its id stays, its incarnation is its own."""

    hub = False

    def __init__(self, world: World, host: str, group: str) -> None:
        self.world, self.host = world, host
        self.id = generate_id(3010, host, group)
        self.incarnation = f"{world.dice.getrandbits(128):032x}"
        self.up, self.leaving, self.stopped_until = True, False, 0.0
        self._born = self._stopped_at = world.now
        self.in_round = False  # stopped there, it goes on with that before anything else
        self._asleep: list[Callable[[], object]] = []
        self._revision = itertools.count(1)
        self.registry = Registry(Store(world, host), NAMES, RING, lease=world.lease, suspect=world.suspect)
        self._group = group
        world.processes[self.id] = self

    @property
    def stopped(self) -> bool:
        """Whether it is stopped just now, as by SIGSTOP."""
        return self.world.now < self.stopped_until

    @property
    def active(self) -> bool:
        """Whether it does anything."""
        return self.up and not self.stopped

    @property
    def is_steady(self) -> bool:
        """Whether it has been at work for a while."""
        return self.up and self.world.now - max(self._born, self.stopped_until) >= STEADY

    def record(self) -> Record:
        """What it says of itself."""
        return {
            "id": self.id.decode(), "host": self.host, "port": 3010, "group": self._group, "hub": self.hub, "machine": self.host,
            "hostname": self.host, "pid": 1, "incarnation": self.incarnation, "state": "open", "reachable": True, "reason": "",
            "revision": next(self._revision), "executable": "python", "user": "farm",
        }  # fmt: skip

    def hears(self, peer: Process) -> bool:
        """Whether it is the home of a peer that goes on saying that it lives."""
        return False

    def stop(self, seconds: float) -> None:
        """As by SIGSTOP, for so long; one soon after another is no other."""
        if self.world.now - self.stopped_until >= self.world.lease:
            self._stopped_at = self.world.now
        self.stopped_until = max(self.stopped_until, self.world.now + seconds)
        self.world.after(self.stopped_until - self.world.now + 0.001, self.wake)

    def go_on(self) -> None:
        """As by SIGCONT."""
        self.stopped_until = min(self.stopped_until, self.world.now)
        self.wake()

    def wake(self) -> None:
        """What came while it was stopped is met in any order: threads race."""
        if not self.stopped and not self.in_round:
            asleep, self._asleep = self._asleep, []
            self.world.dice.shuffle(asleep)
            for action in asleep:
                self.when_awake(action)

    def when_awake(self, action: Callable[[], object]) -> None:
        """Now, or once it goes on; never if it has died by then."""
        if self.up and (self.stopped or self.in_round):
            self._asleep.append(action)
        elif self.up:
            action()

    def withdrawn_by(self, host: str, *, reachable: bool) -> None:
        """A hub took its record out, which said whether it could be dialled: there has to be a reason."""
        if not self.up or self.leaving:
            return
        world = self.world
        steady = world.now - world.healed_at >= STEADY
        in_reach = steady and world.dials(host, self.host)
        seen = steady and [hub for hub in world.asked_by(host) if world.dials(hub.host, self.host)]
        heard = steady and [hub for hub in world.asked_by(host) if hub.hears(self)]
        if self.stopped or world.now - self.stopped_until < 2 * world.lease:
            stopped_for = min(world.now, self.stopped_until) - self._stopped_at
            by_right = stopped_for >= world.suspect or not reachable or not (in_reach or seen)
            promise(by_right, "a peer that was only stopped is gone before HUBNET_SUSPECT")
            return
        promise(not in_reach, "a living peer was declared gone by a hub that reaches it")
        promise(not seen, "whom another hub reaches was declared gone")
        promise(not heard, "whom another hub hears was declared gone")


class HubProcess(Process):
    """A hub: the product's own, driven round by round."""

    hub = True

    def __init__(self, world: World, host: str) -> None:
        super().__init__(world, host, "hubs")
        self.counters = Counters()
        self.door = Hub(
            self.id, self.record, self.registry, self, self, NAMES, self.counters,  # type: ignore[arg-type]
            lease=world.lease, suspect=world.suspect, dial_backs=10_000,
        )  # fmt: skip
        self.door.consult(Colleagues(self.id, self, self.registry))  # type: ignore[arg-type]
        self._round()

    def _round(self) -> None:
        pause = self.door.round()
        self.door._publish_news()
        self.world.after(pause, lambda: self.when_awake(self._round))

    @property
    def members(self) -> dict[bytes, Any]:
        """Those whose home it is."""
        return self.door._watch.members

    def hears(self, peer: Process) -> bool:
        return isinstance(peer, Peer) and peer.link is not None and peer.link.hub is self and peer.link.passes

    def link_ended(self, link: Link) -> None:
        link.ended = True
        self.door.ended(link)  # type: ignore[arg-type]

    def crash(self) -> None:
        """As by SIGKILL: its kernel ends its links at once."""
        self.up = False
        for process in list(self.world.processes.values()):
            if isinstance(process, Peer) and process.link and process.link.hub is self:
                link = process.link
                self.world.after(0.001, link.end)

    # -- what the hub is given -------------------------------------------------------------------------------------

    def dial(self, host: str, port: int, wanted: Any, deadline: float, *, sure: bool = False) -> Any:
        """As ``Dialler.dial``."""
        process = next((one for one in self.world.processes.values() if one.host == host and one.up), None)
        record = {"host": host, "id": process.id.decode() if process else "", "incarnation": wanted.incarnation.hex()}
        how = self.world.look(self.host, record)
        if how is not None:
            if how in {dial.UNANSWERED, dial.SILENT}:
                self.world.dialled_for = deadline - self.world.now
            error = dial.Unreachable(f"{host}: {how}")
            error.how = how
            raise error
        return SimpleNamespace(say_bye=lambda: None, close=lambda: None)

    def call(self, connection: Connection, peer_id: bytes, args: Any, kwargs: Any, limit: float) -> Any:
        """As ``Caller.call``: another hub's look, or a word to a peer."""
        other = self.world.processes.get(peer_id)
        if other is None or not other.active or not self.world.reaches(self.host, other.host):
            silent = other is None or other.stopped or not self.world.reaches(self.host, other.host)
            self.world.dialled_for = limit if silent else 0.0  # else its machine says that nobody listens
            raise PeerUnreachable(f"{peer_id!r} does not answer")
        if not isinstance(other, HubProcess) or connection.tag != LOOK:
            return None
        with mock.patch.object(here, "call", NO_CALL._replace(link=SimpleNamespace(foreign_id=self.id))):  # type: ignore[arg-type]
            return other.door.look(*args)

    def publish(self, channel: bytes, body: bytes) -> None:
        """As ``Publisher.publish``: presence, which everybody hears."""
        for what, peer_id in json.loads(body):
            if what == "left":
                self.world.left[peer_id] += 1
                promise(self.world.left[peer_id] <= self.world.withdrawn[peer_id], "`left` was told twice of one life")
        for hear in self.world.listeners:
            hear(body)


class Peer(Process):
    """A peer that is no hub: its home, in steps."""

    def __init__(self, world: World, host: str, group: str = "render") -> None:
        super().__init__(world, host, group)
        self.link: Link | None = None
        self._failures = 0
        self._settle()

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.world.after(seconds, lambda: self.when_awake(action))

    def _fail(self) -> None:
        self.link = None
        self._failures += 1
        if not self.leaving:
            self._later(self.world.dice.uniform(*pauses.before_hub(self._failures)), self._settle)

    def _settle(self) -> None:
        """As ``Home._settle``: the first hub of its order that takes it."""
        if self.leaving or self.link:
            return
        try:
            hubs = membership.choose_hubs(self.id, self.registry.hubs(), self.world.lease)
        except BrokerUnavailable:
            hubs = []
        self._try(hubs)

    def _try(self, hubs: list[HubEntry]) -> None:
        for number, entry in enumerate(hubs):
            hub = self.world.processes.get(entry.peer_id)
            if not isinstance(hub, HubProcess) or not hub.up or hub.incarnation != entry.incarnation.hex():
                continue
            if hub.stopped or not self.world.reaches(self.host, hub.host):  # it waits for an answer, then asks the next
                rest = hubs[number + 1 :]
                self._later(ANSWER_LIMIT, lambda rest=rest: self._try(rest))  # type: ignore[misc]
                return
            link = Link(self.world, self, hub)
            if self._register(link):
                self.link, self._failures = link, 0
                self._later(self.world.lease / membership.RENEWALS_PER_LEASE, lambda link=link: self._renew(link))  # type: ignore[misc]
                return
        self._fail()

    def _register(self, link: Link) -> bool:
        here.call = NO_CALL._replace(link=link)  # type: ignore[arg-type]
        try:
            link.hub.door.register(self.record())
            return True
        except HubnetError:
            return False
        finally:
            here.call = NO_CALL

    def _renew(self, link: Link) -> None:
        if link is not self.link or link.over or self.leaving:
            return
        if link.hub.stopped or not link.passes:
            self._later(ANSWER_LIMIT, lambda: self._give_up(link))
            return
        here.call = NO_CALL._replace(link=link)  # type: ignore[arg-type]
        known = link.hub.door.renew(self.id, self.incarnation)
        here.call = NO_CALL
        if not known and not self._register(link):
            self._give_up(link)
            return
        self._later(self.world.lease / membership.RENEWALS_PER_LEASE, lambda: self._renew(link))

    def _give_up(self, link: Link) -> None:
        if link is self.link and not link.over:
            link.end()

    def link_ended(self, link: Link) -> None:
        if link is self.link:
            self._fail()

    def crash(self) -> None:
        """As by SIGKILL: its kernel ends its link at once."""
        self.up = False
        if self.link:
            self.world.after(0.001, self.link.end)

    def leave(self) -> None:
        """It says goodbye to its hub, if that hears it, and ends."""
        self.leaving = True
        link = self.link
        if link and link.passes and not link.hub.stopped:
            with mock.patch.object(here, "call", NO_CALL._replace(link=link)):  # type: ignore[arg-type]
                try:
                    link.hub.door.leave(self.id, self.incarnation)
                except HubnetError:
                    pass  # the register is away: the lease will tell
        self.crash()


def started_again(process: Process) -> Process:
    """Another life of it, at the same place."""
    kind = HubProcess if process.hub else Peer
    return kind(process.world, process.host)
