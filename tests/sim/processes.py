"""Processes of a world that fails: hubnet's own hubs, watches and registries, driven round by round, and peers in steps.

A peer's home chooses hubs by the rule and renews. Whoever takes the record of a living process out has to have a reason.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hubnet.colleagues import LOOK, Colleagues
from hubnet.core import membership, pauses
from hubnet.core.connections import Connection
from hubnet.core.identity import generate_id
from hubnet.core.membership import HubEntry, Record
from hubnet.counters import Counters
from hubnet.errors import BrokerUnavailable, HubnetError, PeerUnreachable
from hubnet.hub import Hub
from hubnet.keeper import Keeper
from hubnet.links import dial
from hubnet.links.context import NO_CALL, here
from hubnet.registry import Registry
from tests.sim.world import NAMES, RING, STEADY, Link, Store, World, promise

ANSWER_LIMIT = 5.0
"""Seconds until a peer gives up a hub that does not answer."""


class Process:
    """A life of a hub or a peer: its id stays, its incarnation is its own."""

    hub = False

    def __init__(self, world: World, host: str, group: str) -> None:
        self.world, self.host = world, host
        self.id = generate_id(3010, host, group)
        self.incarnation = f"{world.dice.getrandbits(128):032x}"
        self.up, self.leaving, self.stopped_until = True, False, 0.0
        self._born = self._stopped_at = world.now
        self.link: Link | None = None  # a peer's to its home
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
        self.keeper = Keeper(
            self.id, self.record, self.registry, self, self, NAMES, self.counters,  # type: ignore[arg-type]
            lease=world.lease, suspect=world.suspect,
        )  # fmt: skip
        self.door = Hub(self.record, self.registry, self.keeper, lease=world.lease, dial_backs=10_000)
        self.keeper.watch.colleagues = Colleagues(self.id, self, self.registry)  # type: ignore[arg-type]
        self._round()

    def _round(self) -> None:
        pause = self.keeper.round()
        self.keeper.publish_news()
        self.world.after(pause, lambda: self.when_awake(self._round))

    @property
    def members(self) -> dict[bytes, Any]:
        """Those whose home it is."""
        return self.keeper.watch.members

    def hears(self, peer: Process) -> bool:
        return isinstance(peer, Peer) and peer.link is not None and peer.link.hub is self and peer.link.passes

    def link_ended(self, link: Link) -> None:
        link.ended = True
        self.keeper.ended(link)  # type: ignore[arg-type]

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
