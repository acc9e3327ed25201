"""What a hub says of its peers, on a net in memory: reachable or not, cut off or gone, and what a peer is told."""

from __future__ import annotations

import pytest

import hubnet
from hubnet.testing import LocalNet, LocalPeer
from tests.waiting import eventually


def listed() -> dict[str, dict]:
    """Records by group."""
    return {record["group"]: record for record in hubnet.peers(refresh=True)["peers"].values()}


def home_of(worker: LocalPeer) -> str:
    """The host of the hub that a peer is registered with."""
    link = worker._peer.ready().home._link
    return str(link.friendly["host"]) if link else ""


def test_a_peer_that_nobody_can_dial_is_listed_with_the_reason_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with LocalNet() as net:
        net.peer(group="hidden", advertise="nowhere:7")
        record = listed()["hidden"]
        assert (record["state"], record["reachable"]) == ("open", False)
        assert "nowhere:7" in record["reason"]
        assert f"others cannot reach this peer: {record['reason']}" in caplog.text
        with pytest.raises(hubnet.PeerUnreachable, match="nowhere:7"):
            hubnet.pass_through(1, peer=("nowhere", 7))


def test_a_peer_cut_off_from_its_own_hub_alone_moves_and_never_leaves() -> None:
    with LocalNet(hubs=2, lease=2.0) as net:
        workers = [net.peer(group=f"group {number}") for number in range(4)]
        gone: list[str] = []
        hubnet.peers()
        for worker in workers:
            net.cut(net.hubs[0], worker)

        def everybody_is_at_the_other_one() -> bool:
            states = listed()
            gone.extend(set(map("group {}".format, range(4))) - set(states))
            return all(worker.registered and home_of(worker) == net.hubs[1].host for worker in workers)

        eventually(everybody_is_at_the_other_one)
        assert gone == []
        net.mend()


def test_a_hub_on_loopback_beside_one_on_another_host_says_what_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    with LocalNet(lease=0.5) as net:
        net.hub(host="127.0.0.1")
        eventually(lambda: "this hub listens on loopback, but there is a hub on host" in caplog.text)
        assert "set HUBNET_HOST" in caplog.text


def test_who_restarts_on_the_same_address_is_told_apart() -> None:
    with LocalNet() as net:
        first = net.peer(group="g", host="big")
        first.connect("number")(lambda: 1)
        ask = hubnet.connect("number")(lambda: None)
        assert ask(peer=first.id) == 1
        net.kill(first)
        second = net.peer(group="g", host="big")
        second.connect("number")(lambda: 2)
        assert second.id == first.id
        assert ask(peer=first.id) == 2
        eventually(lambda: listed()["g"]["state"] == "open")
