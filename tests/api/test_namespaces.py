"""Several nets on one Redis, kept apart by their namespace alone: nothing of one reaches another."""

from __future__ import annotations

import pytest

from tests.waiting import eventually, free_port

from .conftest import Actor, Net, Raised
from .witness import id_of, live

pytestmark = pytest.mark.embedded
NAMESPACES = ("one", "one.two", "default")
SERVES = """
import os
heard = []
@hubnet.connect("whoami")
def whoami(): return hubnet.Peer().id, os.getpid()
hubnet.subscribe("news")(lambda *args: heard.append(("all", *args)))
hubnet.subscribe("news", groups="g")(lambda *args: heard.append(("group", *args)))
hubnet.subscribe("news", hubs_only=True)(lambda *args: heard.append(("hubs", *args)))
tell = hubnet.event("news")(lambda *args: (args, {}))
"""


@pytest.fixture(scope="module")
def nets(shared: Net) -> dict[str, tuple[Actor, Actor]]:
    """A hub and a worker for each namespace; all workers have one group and one port."""
    port = str(free_port())
    made = {}
    for number, namespace in enumerate(NAMESPACES, 1):
        env = {"HUBNET_NAMESPACE": namespace, "HUBNET_GROUP": "g"}
        hub = shared.hub(SERVES, **env)
        worker = shared.worker(SERVES, HUBNET_HOST=f"127.0.0.{number}", HUBNET_PORT=port, HUBNET_PORT_RANGE="1", **env)
        made[namespace] = live(hub), live(worker)
    return made


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_each_net_lists_its_own_peers_alone(nets: dict[str, tuple[Actor, Actor]], namespace: str) -> None:
    hub, worker = nets[namespace]
    assert hub.ask("[one.pid for one in hubnet.wait_for(1, 'g')['peers'] and hubnet.peer_group()]") == [worker.pid]
    for wish in ("", "'g'", "on_host=True", "hubs_only=True"):
        listing = worker.ask(f"dict(hubnet.peers({wish}))")
        assert [record["pid"] for record in listing["peers"].values()] == [hub.pid]
        assert set(listing) == {"peers", "g"}
    with pytest.raises(Raised, match="1 of 2 peers came") as caught:
        hub.ask("hubnet.wait_for(2, timeout=0.5)")
    assert caught.value.kind == "NoPeer"


def test_one_port_of_three_nets_is_three_peers(nets: dict[str, tuple[Actor, Actor]]) -> None:
    ports = {worker.ask("hubnet.Peer().port") for _, worker in nets.values()}
    assert len(ports) == 1
    for hub, worker in nets.values():
        assert hub.ask("[one.whoami() for one in hubnet.peer_group()]") == [(id_of(worker), worker.pid)]


def test_an_event_is_heard_in_its_own_net_alone(nets: dict[str, tuple[Actor, Actor]]) -> None:
    """Each net tells in turn and again: what the others told would have come before the second round."""
    for round_ in range(2):
        for namespace, (hub, _) in nets.items():
            hub.run(f"tell({namespace!r}, {round_})")
    for namespace, (_, worker) in nets.items():
        expected = {(how, namespace, round_) for how in ("all", "group", "hubs") for round_ in range(2)}
        eventually(lambda worker=worker, expected=expected: set(worker.ask("heard")) >= expected)  # type: ignore[misc]
    for namespace, (_, worker) in nets.items():
        assert {said[1] for said in worker.ask("heard")} == {namespace}
        assert len(worker.ask("heard")) == 6


@pytest.mark.parametrize("other", NAMESPACES[1:])
def test_a_peer_of_another_net_is_not_called_by_its_id(nets: dict[str, tuple[Actor, Actor]], other: str) -> None:
    hub, _ = nets["one"]
    for stranger in nets[other]:
        with pytest.raises(Raised, match="not in the register") as caught:
            hub.ask(f"whoami(peer={id_of(stranger)!r})")
        assert (caught.value.kind, caught.value.ran) == ("PeerUnreachable", "NO")


@pytest.mark.parametrize("other", NAMESPACES[1:])
def test_a_peer_of_another_net_is_not_called_by_its_address(nets: dict[str, tuple[Actor, Actor]], other: str) -> None:
    _, worker = nets["one"]
    for stranger in nets[other]:
        where = stranger.ask("(hubnet.Peer().host, hubnet.Peer().port)")
        for call in (f"whoami(peer={where})", f"hubnet.info(peer={where})"):
            with pytest.raises(Raised, match="namespace") as caught:
                worker.ask(call)
            assert (caught.value.kind, caught.value.ran) == ("AuthenticationError", "NO")
            assert f"{where[0]}:{where[1]}" in caught.value.text


def test_a_hub_of_another_net_is_no_hub_even_where_it_is_named(
    shared: Net, nets: dict[str, tuple[Actor, Actor]]
) -> None:
    hub, _ = nets["one.two"]
    host, port = hub.ask("(hubnet.Peer().host, hubnet.Peer().port)")
    stray = shared.actor(SERVES, HUBNET_NAMESPACE="one", HUBNET_HUBS=f"{host}:{port}", HUBNET_TIMEOUT="4")
    with pytest.raises(Raised, match="namespace") as caught:
        stray.ask("hubnet.peers()")
    assert caught.value.kind == "NoHub"
    assert stray.pid not in hub.ask("[one['pid'] for one in hubnet.peers(refresh=True)['peers'].values()]")
    stray.close()


def test_who_comes_to_an_address_in_another_net_is_never_taken_for_who_was_there(
    shared: Net, nets: dict[str, tuple[Actor, Actor]]
) -> None:
    """Group, host and port, and so the id, are the same in both."""
    hub, _ = nets["one"]
    where = {"HUBNET_PORT": str(free_port()), "HUBNET_PORT_RANGE": "1", "HUBNET_GROUP": "moving"}
    first = shared.worker(SERVES, HUBNET_NAMESPACE="one", **where)
    hub.run("there = hubnet.wait_for(1, 'moving')[0]\nassert there.whoami()[1] == there.pid")
    first.kill()
    second = shared.worker(SERVES, HUBNET_NAMESPACE="one.two", **where)
    assert id_of(second) == hub.ask("there.id")
    for call in ("there.whoami()", "whoami(peer=there.id)"):
        with pytest.raises(Raised) as caught:
            hub.ask(call)
        assert caught.value.ran == "NO", caught.value.trace
        assert "HubnetError" in caught.value.kinds
    assert nets["one.two"][0].ask("hubnet.wait_for(1, 'moving')[0].whoami()") == (id_of(second), second.pid)
    eventually(lambda: hub.ask("len(hubnet.peers('moving', refresh=True)['peers'])") == 0)
    second.close()


@pytest.mark.processes
def test_when_the_server_leaves_with_its_owner_a_hub_of_another_net_starts_one_for_all(alone: Net) -> None:
    alone.env["HUBNET_LEASE"] = "2"
    owner = alone.hub(HUBNET_NAMESPACE="one")
    hub = alone.hub(SERVES, HUBNET_NAMESPACE="two")
    worker = alone.worker(SERVES, HUBNET_NAMESPACE="two", HUBNET_GROUP="w")
    left = alone.worker(SERVES, HUBNET_NAMESPACE="one")
    hub.ask("hubnet.wait_for(1, 'w') and None")
    assert owner.leave() == 0
    assert worker.ask("whoami(peer=hubnet.Peer().id)[1]") == worker.pid
    eventually(lambda: hub.ask("[one.pid for one in hubnet.peer_group('w')]") == [worker.pid], not_yet=Raised)
    eventually(lambda: hub.run("tell('again')") and ("all", "again") in worker.ask("heard"))
    again = alone.hub(HUBNET_NAMESPACE="one")
    eventually(lambda: again.ask("[one['pid'] for one in hubnet.peers(refresh=True)['peers'].values()]") == [left.pid])
