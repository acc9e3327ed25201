"""The story of kept listings: somebody lists on and on while peers come and go, by hubnet's own Directory.

A listing is told by whichever hub answers, and kept until a hub tells of a change, or for a lease. So whoever hears presence sees
a change as soon as it is told of; whoever hears none sees it a lease later.
"""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from hubnet import directory as directory_room
from hubnet.core.identity import generate_id
from hubnet.core.selection import Query
from hubnet.directory import Directory
from hubnet.errors import HubnetError, NoHub
from tests.sim.processes import HubProcess, Peer, started_again
from tests.sim.world import World, promise

TOLD_WITHIN = 2.5
"""Seconds from a change to the news of it: a hub's tick, and what the news takes."""
_EVERY = 0.5
_LIVES = 30.0
_ONE_SEED_IN = 3  # it takes as long as the other stories together
_ALL = Query()


class Lister:
    """A process that lists; it is in no register itself.

    Attributes:
        deaf_at: when news may have passed it by for the last time.
        listed, calm: how often it listed, and how often with presence to trust in.
    """

    host = "10.0.3.1"

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._dice = random.Random(seed)
        self.deaf_at = float("-inf")
        self._hears = True
        subscriber = SimpleNamespace(is_live=lambda wish: self._hears, add=lambda wish: None)
        self._directory = Directory(
            generate_id(3010, self.host, "lister"), None, None, subscriber, hubs=(), hub=None, lease=world.lease,  # type: ignore[arg-type]
        )  # fmt: skip
        self._directory.ask = self._ask  # type: ignore[method-assign]
        self._directory.hear_presence_through(object())  # type: ignore[arg-type]
        self.listed = self.calm = 0
        world.after(_EVERY, self._look)

    def deaf_for(self, seconds: float) -> None:
        """Its connection to Redis breaks, which it knows; what goes by meanwhile it is not told of."""
        self._hears = False
        self._world.after(seconds, self._hear_again)

    def _hear_again(self) -> None:
        self._hears = True
        self.deaf_at = self._world.now

    def news(self, body: bytes) -> None:
        """What a hub tells all who list."""
        if not self._hears:
            self.deaf_at = self._world.now
            return
        self._world.after(self._dice.uniform(0.001, 0.3), lambda: self._directory.on_presence(json.loads(body)))

    def _look(self) -> None:
        self._world.after(_EVERY, self._look)
        world = self._world
        found = frozenset(self._directory.listing(_ALL, refresh=False, deadline=world.now + 1))
        calm = self._hears and world.now - self.deaf_at > world.lease + TOLD_WITHIN
        within = TOLD_WITHIN if calm else world.lease + TOLD_WITHIN
        promise(self._was_so(found, world.now - within), "a listing was kept for too long, or never was so")
        self.listed += 1
        self.calm += calm

    def _was_so(self, found: frozenset[bytes], since: float) -> bool:
        """Whether just these stood in the register at some moment since then."""
        history = self._world.history
        last = max((number for number, (at, _) in enumerate(history) if at <= since), default=0)
        return any(ids == found for _, ids in history[last:])

    def _ask(self, tag: str, args: tuple[Any, ...], deadline: float) -> Any:
        """As ``Directory.ask``: some hub that is there, and reaches Redis."""
        hubs = [one for one in self._world.processes.values() if isinstance(one, HubProcess)]
        self._dice.shuffle(hubs)
        for hub in hubs:
            if self._world.reaches(self.host, hub.host):
                try:
                    return hub.door.list(*args)
                except HubnetError:
                    continue
        raise NoHub("nobody answers in the simulation")


def listings(seed: int) -> float:
    """One lister, and peers that crash, leave and come back; the seconds that it listed."""
    if seed % _ONE_SEED_IN:
        return 0.0
    world = World(seed)
    dice = world.dice
    with world.taking_over(), mock.patch.object(directory_room, "time", world):
        for number in range(2):
            HubProcess(world, f"10.0.1.{number + 1}")
        for number in range(4):
            Peer(world, f"10.0.2.{number + 1}")
        begun = world.now
        world.run(begun + 5)
        lister = Lister(world, seed)
        world.listeners.append(lister.news)
        while world.now < begun + 5 + _LIVES:
            peer = dice.choice([one for one in world.processes.values() if isinstance(one, Peer)])
            if not peer.up:
                started_again(peer)
            elif dice.random() < 0.5:
                peer.crash()
            else:
                peer.leave()
            if dice.random() < 0.1:
                lister.deaf_for(dice.uniform(0.1, 15.0))
            world.run(world.now + dice.expovariate(1 / 3.0))
        promise(lister.listed > _LIVES, "the lister did not list")
        return world.now - begun
