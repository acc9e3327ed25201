"""The story of a farm: hubs and peers live, and die, stop, restart and are cut off by a seed; then everything is mended.

While things break nobody who lives and is reached may be declared gone, and nobody is told to have left twice. Once all is
mended the register is whole: all who live, nobody else, each at the hub whose member it is.
"""

from __future__ import annotations

from hubnet.core.register import Register
from tests.sim.processes import HubProcess, Peer, Process, started_again
from tests.sim.world import JUMP, REDIS, World, promise

PEERS = 5
TROUBLES = 60.0
MENDED_WITHIN = 70.0
"""Whom its hub could not dial is dialled again after a minute at the most."""
CALM = 15.0
"""Seconds in which everybody is heard again by its hub."""
_ONE_IN = 4
"""Of so many farms one has a third hub, and one is watched to the end of that time though it is whole before."""
WHOLE_WITHIN = 3.0


def farm(seed: int) -> float:
    """One farm; the seconds that it lived."""
    world = World(seed)
    with world.taking_over():
        for number in range(2 if seed % _ONE_IN else 3):
            HubProcess(world, f"10.0.1.{number + 1}")
        for number in range(PEERS):
            Peer(world, f"10.0.2.{number + 1}")
        begun = world.now
        world.run(begun + 5)
        _whole(world, "at first")
        while world.now < begun + TROUBLES:
            _harm(world)
            world.run(world.now + world.dice.expovariate(1 / 4.0))
        _mend(world)
        mended = world.now
        world.run(mended + CALM)
        while world.now < mended + MENDED_WITHIN and (seed % _ONE_IN == 1 or _amiss(world)):
            world.run(world.now + 5)
        _whole(world, "once all was mended")
        world.register = Register()
        world.run(world.now + WHOLE_WITHIN)
        _whole(world, "soon after Redis forgot all")
        return world.now - begun


def _harm(world: World) -> None:
    """One trouble: of a peer, of a hub, or of what is between them."""
    everyone = list(world.processes.values())
    peer = world.dice.choice([one for one in everyone if isinstance(one, Peer)])
    hub = world.dice.choice([one for one in everyone if isinstance(one, HubProcess)])
    part = world.dice.random()
    if part < 0.4:
        _harm_peer(world, peer)
    elif part < 0.6:
        _harm_hub(world, hub)
    else:
        _harm_between(world, peer, hub)


def _harm_peer(world: World, peer: Peer) -> None:
    what = world.dice.choice(("crash", "restart", "leave", "stop", "vanish"))
    if what == "vanish":
        world.take_down(peer.host)
    elif what == "restart":
        if peer.up:
            peer.crash()
        world.after(world.dice.uniform(0.0, 3.0), lambda: _start(peer))
    elif what == "crash" and peer.up:
        peer.crash()
    elif what == "leave" and peer.active:
        peer.leave()
    elif what == "stop" and peer.up:
        peer.stop(world.dice.uniform(1, 40))


def _harm_hub(world: World, hub: HubProcess) -> None:
    if not hub.up:
        return
    if world.dice.random() < 0.4:
        seconds = world.dice.choice((world.dice.uniform(1, 3), world.dice.uniform(3, 25)))
        members = [
            one for one in world.processes.values() if isinstance(one, Peer) and one.up and one.id in hub.members
        ]
        if world.dice.random() < 0.5:
            hub.stop(seconds)
        else:
            world.stops_in_round[hub.host] = hub, seconds
        if members and world.dice.random() < 0.5:
            _dies_meanwhile(world, hub, world.dice.choice(members))
        return
    hub.crash()
    world.after(world.dice.choice((0.3, 2.0, 10.0)), lambda: _start(hub))


def _dies_meanwhile(world: World, hub: HubProcess, member: Peer) -> None:
    """It crashes once its hub is stopped, which goes on when another one has taken the record out."""
    if not hub.up or not member.up:
        return
    if hub.stopped:
        member.crash()
        _goes_on_when_buried(world, hub, member)
    elif hub.host in world.stops_in_round:
        world.after(0.05, lambda: _dies_meanwhile(world, hub, member))


def _goes_on_when_buried(world: World, hub: HubProcess, member: Peer) -> None:
    """It goes on at the moment at which another hub takes its member's record out, should that come first."""
    if member.incarnation in world.buried:
        hub.go_on()
    elif hub.stopped:
        world.after(0.05, lambda: _goes_on_when_buried(world, hub, member))


def _harm_between(world: World, peer: Peer, hub: HubProcess) -> None:
    what = world.dice.choice(
        ("cut", "cut", "shut", "cut from redis", "heal", "redis away", "redis forgets", "redis jumps", "redis set back")
    )  # fmt: skip
    if what == "cut":
        world.cut(peer.host, hub.host)
    elif what == "shut":
        world.shut(hub.host, peer.host)
    elif what == "cut from redis":
        world.cut(world.dice.choice((peer, hub)).host, REDIS)
    elif what == "heal":
        world.heal_networks()
    elif what == "redis away":
        world.redis_up = False
        world.after(world.dice.uniform(0.2, 15), world.bring_redis_back)
    elif what == "redis forgets":
        world.register = Register()
    elif what == "redis jumps":
        world.jump(JUMP)
    elif what == "redis set back":
        world.jump(-JUMP)


def _start(process: Process) -> None:
    """Again, unless somebody else runs there by now, or its machine is away."""
    if not process.world.processes[process.id].up and process.world.reaches(process.host, process.host):
        started_again(process)


def _mend(world: World) -> None:
    world.heal_networks()
    world.bring_redis_back()
    for process in list(world.processes.values()):
        process.go_on()
        if not process.up and (process.hub or world.dice.random() < 0.7):
            started_again(process)


def _whole(world: World, when: str) -> None:
    amiss = _amiss(world)
    promise(not amiss, f"{amiss} {when}")


def _amiss(world: World) -> str:
    """What is not as it should be where all is well; "" where nothing is."""
    living = {one.id: one for one in world.processes.values() if one.up}
    registry = next(one for one in living.values() if one.hub).registry
    snapshot = registry.snapshot()
    for peer_id, process in living.items():
        record = snapshot.records.get(peer_id)
        if record is None:
            return "a living peer is missing"
        if record["incarnation"] != process.incarnation:
            return "an old record stands"
        if not record["reachable"]:
            return "a peer counts as unreachable"
    if not snapshot.records.keys() <= living.keys():
        return "a ghost is listed"
    if snapshot.silent_for:
        return "a living peer's lease has ended"
    hubs = [one for one in living.values() if isinstance(one, HubProcess)]
    if {entry.peer_id for entry in registry.hubs()} != {one.id for one in hubs}:
        return "hubs are not known"
    for hub in hubs:
        members = [living.get(peer_id) for peer_id in hub.members]
        if not all(isinstance(one, Peer) and one.link and one.link.hub is hub for one in members):
            return "a hub keeps a ghost"
    peers = [one for one in living.values() if isinstance(one, Peer)]
    return "" if all(one.link and one.id in one.link.hub.members for one in peers) else "a peer is nobody's member"
