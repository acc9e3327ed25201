"""Who is there: every form of asking, and the shape of the answer."""

from __future__ import annotations

import base64
import sys
import time
from typing import Any

import pytest

from tests.waiting import eventually

from .conftest import SIGCONT, SIGSTOP, Actor, Net, Raised
from .witness import id_of

RECORD = {
    "group", "host", "port", "hub", "executable", "user",
    "hostname", "pid", "incarnation", "state", "reachable", "labels", "connections", "subscriptions", "version", "since",
    "machine", "revision", "reason",
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(shared: Net) -> dict[str, Actor]:
    """A hub of group1, workers of group1 and group2, one without a group, and who asks."""
    made = {
        "hub": shared.hub(HUBNET_GROUP="group1"),
        "one": shared.worker(
            "@hubnet.connect('t')\ndef f(): pass\n@hubnet.subscribe('e')\ndef g(): pass", HUBNET_GROUP="group1"
        ),
        "two": shared.worker(HUBNET_GROUP="group2"),
        "none": shared.worker(),
        "asker": shared.worker(HUBNET_GROUP="group2"),
    }
    made["asker"].ask("hubnet.wait_for(4)")
    return made


@pytest.fixture(scope="module")
def ids(parts: dict[str, Actor]) -> dict[str, bytes]:
    return {name: actor.ask("hubnet.Peer().id") for name, actor in parts.items()}


@pytest.fixture
def asker(parts: dict[str, Actor]) -> Actor:
    return parts["asker"]


def test_a_listing_has_the_references_shape(asker: Actor, ids: dict[str, bytes]) -> None:
    listing = asker.ask("dict(hubnet.peers())")
    assert set(listing) == {"peers", "group1", "group2", "None"}
    assert set(listing["peers"]) == {ids["hub"], ids["one"], ids["two"], ids["none"]}  # not who asks
    assert sorted(listing["group1"]) == sorted([ids["hub"], ids["one"]])
    assert listing["group2"] == [ids["two"]]
    assert listing["None"] == [ids["none"]]


def test_a_record_says_what_the_peer_says_of_itself(
    asker: Actor, parts: dict[str, Actor], ids: dict[str, bytes]
) -> None:
    one = parts["one"]
    record = eventually(lambda: (r := asker.ask("hubnet.peers()['peers']")[ids["one"]])["subscriptions"] and r)
    assert set(record) == RECORD
    friendly = one.ask("hubnet.Peer().friendly_id")
    assert {name: record[name] for name in friendly} == friendly
    assert (record["pid"], record["state"], record["reachable"], record["labels"]) == (one.pid, "open", True, {})
    assert (record["connections"], record["subscriptions"]) == (["t"], ["e"])
    assert (record["executable"], record["hub"], record["group"]) == (sys.executable, False, "group1")
    assert abs(record["since"] - time.time()) < 120
    assert asker.ask("hubnet.peers()['peers']")[ids["hub"]]["hub"] is True


def test_an_id_is_the_base64_of_address_and_group(asker: Actor, ids: dict[str, bytes]) -> None:
    record = asker.ask("hubnet.peers()['peers']")[ids["none"]]
    assert base64.b64decode(ids["none"]).decode() == f"{record['host']}:{record['port']} -> None"
    assert asker.ask(f"hubnet.Peer().decode_id({ids['one']!r})")["group"] == "group1"
    assert asker.ask(f"hubnet.Peer().generate_id({record['port']}, {record['host']!r})") == ids["none"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("hubnet.peers()", "hub one two none"),
        ("hubnet.peers(True)", "hub one two none"),
        ("hubnet.peers(on_host=True)", "hub one two none"),
        ("hubnet.peers(refresh=True)", "hub one two none"),
        ('hubnet.peers("group1", refresh=True)', "hub one"),
        ('hubnet.peers(["group1", "group2"], refresh=True)', "hub one two"),
        ("hubnet.peers(hubs_only=True, refresh=True)", "hub"),
        ('hubnet.peers(["group1", "group2"], hubs_only=True, refresh=True)', "hub"),
        ('hubnet.peers("group2", hubs_only=True)', ""),
        ("hubnet.peers(groups=['group1'])", "hub one"),
        ("hubnet.peers(groups='None')", "none"),
        ("hubnet.peers('')", "none"),
        ("hubnet.peers(groups=[None, 'group2'])", "two none"),
        ("hubnet.peers('group1', True)", "hub one"),
        ("hubnet.peers(True, 'group1')", "hub one"),
        ("hubnet.peers([])", ""),
        ("hubnet.peers('no such group')", ""),
        ("hubnet.peers({'group1'})", "hub one"),
    ],
)
def test_every_form_of_asking_is_answered(asker: Actor, ids: dict[str, bytes], call: str, expected: str) -> None:
    assert set(asker.ask(f"{call}['peers']")) == {ids[name] for name in expected.split()}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("hubnet.peers(5)", "groups is a group's name or a list of names, not int"),
        ("hubnet.peers(b'group1')", "groups"),
        ("hubnet.peers('a', groups='b')", "groups given twice"),
        ("hubnet.peers(on_host='no')", "on_host is a bool"),
        ("hubnet.peers(hubs_only=1)", "hubs_only is a bool"),
        ("hubnet.peers(groups=[5])", "a group is a str"),
        ("hubnet.wait_for('3')", "wait_for"),
        ("hubnet.wait_for(True)", "wait_for"),
    ],
)
def test_asking_wrongly_names_the_parameter(asker: Actor, call: str, text: str) -> None:
    with pytest.raises(Raised, match=text) as caught:
        asker.ask(call)
    assert caught.value.kind == "TypeError"


def test_a_group_called_peers_is_refused_where_it_is_asked_for(asker: Actor) -> None:
    with pytest.raises(Raised, match="may not be called 'peers'") as caught:
        asker.ask("hubnet.peers('peers')")
    assert caught.value.kind == "ConfigError"


def test_the_first_of_a_listing_is_a_remote_peer(asker: Actor, ids: dict[str, bytes]) -> None:
    assert asker.ask("hubnet.peers('group2')[0].id") == ids["two"]
    assert asker.ask("hubnet.peers('group2')[-1].pid, type(hubnet.peers()[0]).__name__")[1] == "RemotePeer"
    with pytest.raises(Raised, match="no peer number 7: 1 are listed") as caught:
        asker.ask("hubnet.peers('group2')[7]")
    assert caught.value.kind == "IndexError"


def test_a_peer_group_is_our_own_by_default(asker: Actor, ids: dict[str, bytes]) -> None:
    assert asker.ask("[one.id for one in hubnet.peer_group()]") == [ids["two"]]
    assert set(asker.ask("[one.id for one in hubnet.peer_group('group1')]")) == {ids["hub"], ids["one"]}
    assert asker.ask("[one.id for one in hubnet.peer_group('group1', hubs_only=True)]") == [ids["hub"]]
    assert asker.ask("[one.group for one in hubnet.peer_group('None', on_host=True)]") == ["None"]


def test_a_hub_lists_as_any_peer_does(parts: dict[str, Actor], ids: dict[str, bytes]) -> None:
    assert set(parts["hub"].ask("hubnet.peers()['peers']")) == {ids[name] for name in ("one", "two", "none", "asker")}


def test_a_listing_is_kept_until_somebody_comes_or_goes(alone: Net) -> None:
    alone.env.update(HUBNET_LEASE="60")  # so long a listing holds; a test of minutes would be needed to outlive it
    hub, asker = alone.hub(), alone.worker(HUBNET_TIMEOUT="2")
    eventually(lambda: _answers_without_the_hub(hub, asker), not_yet=Raised)
    newcomer = alone.worker(HUBNET_GROUP="newcomers")
    eventually(lambda: "newcomers" in asker.ask("dict(hubnet.peers())"), not_yet=Raised)
    newcomer.kill()
    eventually(lambda: "newcomers" not in asker.ask("dict(hubnet.peers())"), not_yet=Raised)


def _answers_without_the_hub(hub: Actor, asker: Actor) -> bool:
    """Whether a listing is told while the only hub is stopped, and only one that it need not be asked for."""
    kept = asker.ask("dict(hubnet.peers())")
    hub.signal(SIGSTOP)
    eventually(lambda: hub.rests)
    try:
        assert asker.ask("dict(hubnet.peers())") == kept  # presence may tell of a change just then: not yet
        with pytest.raises(Raised, match="no hub answered"):
            asker.ask("hubnet.peers(refresh=True)")
    finally:
        hub.signal(SIGCONT)
    return True


def test_a_stopped_hub_is_not_waited_for_while_there_is_another_one(alone: Net) -> None:
    """Nor by somebody who has two seconds for all of it: some of these have the stopped one first in their order."""
    hubs = [alone.hub("@hubnet.connect('f')\ndef f(): return hubnet.Peer().id") for _ in range(2)]
    worker = alone.worker("@hubnet.connect('f')\ndef f(): return hubnet.Peer().id", HUBNET_GROUP="render")
    askers = [alone.worker("f = hubnet.connect('f')(lambda: None)", HUBNET_TIMEOUT="2") for _ in range(6)]
    for one in askers:
        eventually(lambda one=one: len(one.ask("hubnet.peers(hubs_only=True, refresh=True)['peers']")) == 2)  # type: ignore[misc]
    hubs[0].signal(SIGSTOP)
    eventually(lambda: hubs[0].rests)
    try:
        for one in askers:
            assert "render" in one.ask("dict(hubnet.peers(refresh=True))")
            assert one.ask(f"f(peer={id_of(worker)!r}, timeout=2)") == id_of(worker)
    finally:
        hubs[0].signal(SIGCONT)


def test_wait_for_waits_and_says_how_many_came(shared: Net, asker: Actor) -> None:
    asker.send("ask", "sorted(r['pid'] for r in hubnet.wait_for(2, 'later')['peers'].values())")
    late = [shared.worker(HUBNET_GROUP="later") for _ in range(2)]
    assert asker.answer() == sorted(one.pid for one in late)
    begin = time.monotonic()
    with pytest.raises(Raised, match=r"2 of 3 peers in later came within 0\.5 s") as caught:
        asker.ask("hubnet.wait_for(3, groups='later', timeout=0.5)")
    assert caught.value.kind == "NoPeer"
    assert time.monotonic() - begin < 15
    assert len(asker.ask("hubnet.wait_for(0, 'nobody', timeout=0.5)['peers']")) == 0
    for one in late:
        one.close()


ODD = [
    "a b",
    "a:b:c",
    "a/b/../c",
    "{a}",
    "100%",
    "%20",
    "ü 漢 🎬",
    "*",
    "a*b?[c]",
    "\\back",
    "x" * 200,
    " ",
    "-> None",
    "a -> b",
    "'\"\n",
]


def test_groups_with_odd_names_are_groups_like_any_other(shared: Net, asker: Actor) -> None:
    workers = {
        group: shared.actor("@hubnet.connect('id')\ndef f(): return hubnet.Peer().group", HUBNET_GROUP=group)
        for group in ODD
    }
    eventually(lambda: set(ODD) <= set(asker.ask("dict(hubnet.peers())")))
    for group, worker in workers.items():
        listing: dict[Any, Any] = asker.ask(f"dict(hubnet.peers({group!r}))")
        assert list(listing) == ["peers", group]
        assert [record["pid"] for record in listing["peers"].values()] == [worker.pid]
        assert listing[group] == list(listing["peers"])
        assert asker.ask(f"hubnet.peers({group!r})[0].call('id')") == group
        assert asker.ask(f"hubnet.Peer().decode_id({listing[group][0]!r})")["group"] == group
    for worker in workers.values():
        worker.close()


@pytest.mark.processes
def test_the_references_constants_are_there(asker: Actor) -> None:
    names = ("PORT_START", "PORT_RANGE", "GROUP", "IS_HUB", "HOST_IP", "THREAD_LIMIT", "DEV")
    assert asker.ask(f"tuple(getattr(hubnet, name) for name in {names})") == (
        0, 1000, "group2", False, "127.0.0.1", 32, False,
    )  # fmt: skip
    assert asker.ask("hubnet.LOGGER.name") == "hubnet"
