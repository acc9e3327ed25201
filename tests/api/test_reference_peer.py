"""The reference's document on ``net.peer.Peer``, sentence by sentence."""

from __future__ import annotations

import socket

import pytest

import hubnet
from tests.sentences import sentence

from .conftest import Actor, Net
from .witness import id_of, parameters


@pytest.fixture(scope="module")
def pair(shared: Net) -> tuple[Actor, Actor]:
    shared.hub()
    code = "@hubnet.connect('who')\ndef who(): return hubnet.Peer().id"
    return shared.worker(code), shared.worker(code)


@sentence("net.peer.Peer(*args, **kwargs)", "net.Peer(*args, **kwargs)")
def test_peer_takes_anything(pair: tuple[Actor, Actor]) -> None:
    assert hubnet.peer.Peer is hubnet.Peer
    assert parameters(hubnet.Peer) == "(*args, **kwargs)"
    assert pair[0].ask("hubnet.Peer(1, two=3) is hubnet.Peer()")


@pytest.mark.processes
@sentence("Running Peer server for this instance of python.")
def test_peer_is_the_running_peer_server_for_this_instance_of_python(pair: tuple[Actor, Actor]) -> None:
    """One in each process; it listens, and inside a connection it is the one that runs it."""
    one, other = pair
    for actor in pair:
        assert actor.ask("hubnet.Peer() is hubnet.Peer()")
        with socket.create_connection(actor.ask("(hubnet.Peer().host, hubnet.Peer().port)"), 20):
            pass
    assert id_of(one) != id_of(other)
    assert one.ask(f"who(peer={id_of(other)!r})") == id_of(other)


@sentence("Returns: net.peer._Peer")
def test_peer_returns_a_peer_of_hubnet_peer(pair: tuple[Actor, Actor]) -> None:
    assert pair[0].ask("type(hubnet.Peer()) is hubnet.peer._Peer")
