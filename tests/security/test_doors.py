"""The doors that every peer has beside its user's connections: which there are, and who may use them.

There is none that pauses or drains a peer, or has it run what its user did not connect: whoever adds one gives it a right of
its own here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hubnet
from hubnet.colleagues import LOOK, WARN
from hubnet.core.connections import Connection, elsewhere, path_tag
from hubnet.directory import WHO
from hubnet.hub import LEAVE, LIST, REGISTER, RENEW, RESOLVE
from hubnet.rotation import STATE
from hubnet.testing import LocalNet, LocalPeer

OF_ALL = {
    WHO,
    WARN,
    STATE,
    *(path_tag("hubnet", name) for name in ("info", "connections", "pass_through", "null", "stats")),
}
OF_HUBS = {REGISTER, RENEW, LEAVE, RESOLVE, LIST, LOOK}
NEVER = (
    "hubnet:pause",
    "hubnet:resume",
    "hubnet:drain",
    "hubnet:run",
    "hubnet:stop",
    "hubnet:call",
    path_tag("builtins", "exec"),
)


@pytest.fixture(scope="module")
def net() -> Iterator[LocalNet]:
    with LocalNet() as made:
        yield made


@pytest.fixture(scope="module")
def worker(net: LocalNet) -> LocalPeer:
    return net.peer(group="work")


def ask(tag: str, who: LocalPeer, *args: object) -> object:
    return hubnet.peer.call(Connection(tag, elsewhere), who.id, args, {}, 10.0)  # type: ignore[attr-defined]


def doors(one: LocalPeer) -> set[str]:
    parts = one._peer._parts
    assert parts is not None
    return {door.tag for door in (*parts._builtins, *parts.tables.connections) if door.builtin}


def test_these_are_all_doors_that_there_are(net: LocalNet, worker: LocalPeer) -> None:
    assert doors(worker) == OF_ALL
    assert doors(net.hubs[0]) == OF_ALL | OF_HUBS


@pytest.mark.parametrize("tag", NEVER)
def test_nobody_is_paused_drained_or_made_to_run_what_it_did_not_connect(
    net: LocalNet, worker: LocalPeer, tag: str
) -> None:
    for one in (worker, net.hubs[0]):
        with pytest.raises(hubnet.InvalidConnection) as caught:
            ask(tag, one)
        assert caught.value.ran == "NO"


@pytest.mark.parametrize("tag", sorted(OF_HUBS))
def test_a_peer_that_is_no_hub_has_no_door_of_a_hub(net: LocalNet, worker: LocalPeer, tag: str) -> None:
    with pytest.raises(hubnet.InvalidConnection):
        ask(tag, worker)


@pytest.mark.parametrize(
    ("tag", "error"),
    [
        (REGISTER, hubnet.AuthenticationError),
        (LEAVE, hubnet.AuthenticationError),
        (LOOK, hubnet.NotAllowed),
    ],
)
def test_a_member_uses_a_hubs_doors_for_itself_alone(
    net: LocalNet, worker: LocalPeer, tag: str, error: type[Exception]
) -> None:
    record = worker._peer.record()
    args = (worker.id, record["incarnation"]) if tag == LEAVE else (record,)
    with pytest.raises(hubnet.HubnetError) as caught:
        ask(tag, net.hubs[0], *args)
    assert isinstance(caught.value.__cause__ or caught.value, error)
    assert worker.registered


def test_a_member_renews_nobody_elses_lease(net: LocalNet, worker: LocalPeer) -> None:
    record = worker._peer.record()
    assert ask(RENEW, net.hubs[0], worker.id, record["incarnation"]) is False


def test_who_is_no_hub_has_no_word_in_anothers_log(net: LocalNet, worker: LocalPeer) -> None:
    with pytest.raises(hubnet.HubnetError) as caught:
        ask(WARN, worker, "words")
    assert isinstance(caught.value.__cause__ or caught.value, hubnet.NotAllowed)
