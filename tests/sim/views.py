"""The story of one peer that some hubs reach and others do not, or that nobody reaches any more.

All is well with three hubs until one thing happens. Whom any of them reaches stays in the register, whichever answers first; who
crashed is out of it within 0.7 s, and who vanished within 5 s, though another hub vanished as well.
"""

from __future__ import annotations

from tests.sim.processes import HubProcess, Peer
from tests.sim.world import World, promise

CRASHED_WITHIN, VANISHED_WITHIN = 0.7, 5.0
_ONE_SEED_IN = 4


def views(seed: int) -> float:
    """One peer; the seconds that its net lived."""
    if seed % _ONE_SEED_IN:
        return 0.0
    world = World(seed)
    with world.taking_over():
        hubs = [HubProcess(world, f"10.0.1.{number + 1}") for number in range(3)]
        peers = [Peer(world, f"10.0.2.{number + 1}") for number in range(4)]
        begun = world.now
        world.run(begun + 5)
        peer = world.dice.choice(peers)
        promise(peer.link, "a peer found no hub")
        assert peer.link
        others = [one for one in hubs if one is not peer.link.hub]
        what = world.dice.choice((_reached_by_one, _crashes, _vanishes))
        what(world, peer, world.dice.sample(others, 2))
        return world.now - begun


def _reached_by_one(world: World, peer: Peer, others: list[HubProcess]) -> None:
    """Its home and another hub are cut off from it."""
    assert peer.link
    for hub in (peer.link.hub, others[0]):
        world.cut(hub.host, peer.host)
    world.run(world.now + 2 * world.lease + 10)
    promise(not world.withdrawn[peer.id.decode()], "whom one hub of three reaches was declared gone")


def _crashes(world: World, peer: Peer, others: list[HubProcess]) -> None:
    peer.crash()
    world.run(world.now + CRASHED_WITHIN)
    promise(world.withdrawn[peer.id.decode()] == 1, "who crashed is not gone in time")


def _vanishes(world: World, peer: Peer, others: list[HubProcess]) -> None:
    """Alone, or along with a hub, which is asked like all others and not waited for."""
    world.take_down(peer.host, *(hub.host for hub in others[: world.dice.randint(0, 1)]))
    world.run(world.now + VANISHED_WITHIN)
    promise(world.withdrawn[peer.id.decode()] == 1, "who vanished is not gone in time")
