"""The story of silences that are not the peer's: its lease ends because its home hub, or everybody, is cut off from Redis.

Whoever goes on renewing with its home is gone for nobody, though no hub can dial it. Whoever is stopped meanwhile, or later, is
gone after HUBNET_SUSPECT of its own silence, and not after so much of the register's.
"""

from __future__ import annotations

from tests.sim.processes import HubProcess, Peer
from tests.sim.world import REDIS, World, promise

_ONE_SEED_IN = 4


def silences(seed: int) -> float:
    """One peer whose hub says nothing of it; the seconds that its net lived."""
    if seed % _ONE_SEED_IN != 1:
        return 0.0
    world = World(seed)
    with world.taking_over():
        hubs = [HubProcess(world, f"10.0.1.{number + 1}") for number in range(2)]
        for number in range(5):
            Peer(world, f"10.0.2.{number + 1}")
        begun = world.now
        world.run(begun + 5)
        world.dice.choice((_stopped_as_well, _never_reached))(world, hubs)
        return world.now - begun


def _silenced(world: World, home: HubProcess) -> None:
    """Nothing comes to the register from this hub, or from any, for some leases."""
    seconds = world.dice.uniform(0.2, 12.0) * world.lease
    if world.dice.random() < 0.5:
        world.cut(home.host, REDIS)
        world.after(seconds, lambda: world.heal(home.host, REDIS))
    else:
        world.redis_up = False
        if world.dice.random() < 0.5:  # whoever had its home there can register with the other one once Redis is back
            home.crash()
        world.after(seconds, world.bring_redis_back)


def _stopped_as_well(world: World, hubs: list[HubProcess]) -> None:
    """As many as there are at one hub; one of them stops, for almost as long as it may."""
    home = max(hubs, key=lambda hub: len(hub.members))
    peer = world.dice.choice([one for one in world.processes.values() if one.id in home.members])
    _silenced(world, home)
    world.run(world.now + world.dice.uniform(0.0, 4.0) * world.lease)
    peer.stop(world.suspect)
    world.run(world.now + world.suspect)
    promise(not world.withdrawn[peer.id.decode()], "a peer that was only stopped is gone before HUBNET_SUSPECT")


def _never_reached(world: World, hubs: list[HubProcess]) -> None:
    """A peer that no hub can dial stands in the register by what its home hears of it alone."""
    for hub in hubs:
        world.shut(hub.host, "10.0.2.9")
    peer = Peer(world, "10.0.2.9")
    world.run(world.now + 5)
    promise(peer.link, "a peer that cannot be dialled found no hub")
    assert peer.link
    _silenced(world, peer.link.hub)
    world.run(world.now + 14 * world.lease)
    promise(not world.withdrawn[peer.id.decode()], "whom its home hears all the time was declared gone")
