"""The reference's document on ``net.api.peers``, sentence by sentence."""

from __future__ import annotations

import inspect
import os
import sys
from contextlib import closing

import pytest

import hubnet
from tests.examples import code
from tests.sentences import differs, example, sentence
from tests.waiting import eventually

from .conftest import Actor, Net, Raised
from .witness import id_of, live, stopped

ASKER = "asker"
SERVES = """
@hubnet.connect("whoami")
def whoami(): return hubnet.Peer().id
tell = hubnet.event("some_event")(lambda *args: (args, {}))
"""


@pytest.fixture(scope="module")
def net(shared: Net) -> dict[str, Actor]:
    """Two hubs, workers of two groups and of none, and one that is on another machine."""
    shared.env["HUBNET_LEASE"] = "60"  # what is cached stays so while the hubs are stopped
    return {
        "hub1": shared.hub(SERVES, HUBNET_GROUP="group1"),
        "hub3": shared.hub(SERVES, HUBNET_GROUP="group3"),
        "one": shared.worker(SERVES, HUBNET_GROUP="group1"),
        "two": shared.worker(SERVES, HUBNET_GROUP="group2"),
        "none": shared.worker(SERVES),
        "far": shared.elsewhere(SERVES, HUBNET_GROUP="far"),
    }


@pytest.fixture(scope="module")
def ids(net: dict[str, Actor]) -> dict[bytes, str]:
    return {id_of(actor): name for name, actor in net.items()}


@pytest.fixture(scope="module")
def asker(shared: Net, ids: dict[bytes, str]) -> Actor:
    made = shared.worker(SERVES, HUBNET_TIMEOUT="3")
    ids[id_of(made)] = ASKER
    eventually(lambda: named(made, ids, "hubnet.peers(refresh=True)") == "far hub1 hub3 none one two")
    return made


def named(asker: Actor, ids: dict[bytes, str], listing: str = "all_peers") -> str:
    """Who is in a listing, in the order of their names; whether it lists who asks is a matter of one test alone."""
    return " ".join(sorted({ids[one] for one in asker.ask(f"list({listing}['peers'])")} - {ASKER}))


@sentence("net.api.peers(refresh=False, groups=None, on_host=False, hubs_only=False)")
def test_net_api_peers_takes_the_printed_parameters_with_the_printed_defaults() -> None:
    assert hubnet.api.peers is hubnet.peers
    defaults = {name: one.default for name, one in inspect.signature(hubnet.peers).parameters.items()}
    defaults.pop("first")
    assert defaults == {"refresh": False, "groups": None, "on_host": False, "hubs_only": False}


@pytest.mark.parametrize(
    ("call", "expected"),
    [("hubnet.peers(False, 'group1', False, True)", "hub1"), ("hubnet.peers(True, 'far', True)", "")],
)
@sentence("net.api.peers(refresh=False, groups=None, on_host=False, hubs_only=False)")
def test_net_api_peers_takes_its_parameters_in_the_printed_order(
    asker: Actor, ids: dict[bytes, str], call: str, expected: str
) -> None:
    assert named(asker, ids, call) == expected


@sentence("Get a list of all peers on your network.")
def test_get_a_list_of_all_peers_on_your_network(asker: Actor, ids: dict[bytes, str]) -> None:
    assert named(asker, ids, "hubnet.peers()") == "far hub1 hub3 none one two"
    assert id_of(asker) not in asker.ask("list(hubnet.peers()['peers'])")


@sentence("Get a list of all peers on your network.")
def test_the_list_follows_peers_that_come_and_go(shared: Net, net: dict[str, Actor]) -> None:
    listed = "list(hubnet.peers()['peers'])"
    with closing(shared.worker()) as lister, closing(shared.worker()) as newcomer:
        there = id_of(newcomer)
        eventually(lambda: there in lister.ask(listed))
        newcomer.leave()
        eventually(lambda: there not in lister.ask(listed))
        lister.leave()


@sentence("This is a cached values since the call to graph the network can be long.")
def test_this_is_a_cached_value_and_each_question_has_its_own(
    net: dict[str, Actor], asker: Actor, ids: dict[bytes, str]
) -> None:
    questions = {
        "hubnet.peers()": "far hub1 hub3 none one two",
        "hubnet.peers('group1')": "hub1 one",
        "hubnet.peers(hubs_only=True)": "hub1 hub3",
        "hubnet.peers(on_host=True)": "hub1 hub3 none one two",
    }

    def asked() -> dict[str, str]:
        return {question: named(asker, ids, question) for question in questions}

    def answered_without_a_hub() -> dict[str, str]:
        asked()
        with stopped(net["hub1"], net["hub3"]):
            return asked()

    assert eventually(answered_without_a_hub, not_yet=Raised) == questions


@sentence("This is a cached values since the call to graph the network can be long.")
def test_what_is_cached_holds_for_one_lease_at_most(alone: Net) -> None:
    alone.env["HUBNET_LEASE"] = "3"
    hub, asker = alone.hub(), alone.worker(HUBNET_TIMEOUT="2")

    def is_asked_for_again() -> bool:
        asker.ask("hubnet.peers()")
        with stopped(hub):
            asker.ask("hubnet.peers()")  # out of the cache
            return eventually(lambda: _finds_no_hub(asker))

    assert eventually(is_asked_for_again, not_yet=Raised)


def _finds_no_hub(asker: Actor) -> bool:
    try:
        asker.ask("hubnet.peers()")
    except Raised as error:
        return "NoHub" in error.kinds
    return False


@sentence(
    "You can also limit this search to only look for operating peers on the localhost which does not require the long "
    "network scan, just set the on_host kwarg to True."
)
def test_you_can_also_limit_this_search_to_peers_on_the_localhost(asker: Actor, ids: dict[bytes, str]) -> None:
    assert named(asker, ids, "hubnet.peers(groups='far', on_host=False)") == "far"
    assert named(asker, ids, "hubnet.peers(groups='far', on_host=True)") == ""
    assert named(asker, ids, "hubnet.peers(groups='group2', on_host=True)") == "two"


@sentence(
    "You can also limit this search to only look for operating peers on the localhost which does not require the long "
    "network scan, just set the on_host kwarg to True."
)
def test_you_can_limit_a_peer_group_to_peers_on_the_localhost(asker: Actor) -> None:
    for group, near in (("far", []), ("group2", ["group2"])):
        assert asker.ask(f"[one.group for one in hubnet.peer_group({group!r}, on_host=False)]") == [group]
        assert asker.ask(f"[one.group for one in hubnet.peer_group({group!r}, on_host=True)]") == near


@sentence("Hubs act as the centers for certain application events or processes.")
def test_hubs_act_as_the_centers_for_application_events_and_processes(net: dict[str, Actor], shared: Net) -> None:
    center, outer = net["hub3"], (net["one"], net["two"])
    for one in outer:
        one.run("heard = []\nhubnet.subscribe('from the center')(lambda *args: heard.append(args))")
        live(one)
        assert one.ask(f"whoami(peer={id_of(center)!r})") == id_of(center)
    center.run("hubnet.event('from the center')(lambda *args: (args, {}))(7)")
    for one in outer:
        eventually(lambda one=one: one.ask("heard") == [(7,)])


@sentence("In some cases, you may only want to subscribe or communicate with hubs.")
def test_you_may_only_want_to_subscribe_to_or_communicate_with_hubs(
    net: dict[str, Actor], asker: Actor, ids: dict[bytes, str]
) -> None:
    asker.run(
        """
        everybody, hubs = [], []
        hubnet.subscribe("some_event")(everybody.append)
        hubnet.subscribe("some_event", hubs_only=True)(hubs.append)
        """
    )
    live(asker)
    for name in ("none", "hub1", "hub3"):
        net[name].run(f"tell({name!r})")
    eventually(lambda: len(asker.ask("everybody")) == 3)
    eventually(lambda: sorted(asker.ask("hubs")) == ["hub1", "hub3"])
    answered = asker.ask("[whoami(peer=one) for one in hubnet.peers(hubs_only=True)['peers']]")
    assert sorted(ids[one] for one in answered) == ["hub1", "hub3"]


@sentence("You can specify this through the hubs_only kwarg.")
def test_you_can_specify_this_through_the_hubs_only_kwarg(asker: Actor, ids: dict[bytes, str]) -> None:
    for _ in range(2):  # a listing that is kept answers no other question
        assert named(asker, ids, "hubnet.peers(hubs_only=False)") == "far hub1 hub3 none one two"
        assert named(asker, ids, "hubnet.peers(hubs_only=True)") == "hub1 hub3"


@differs("The initial call to this will hang for a few seconds.")
def test_the_initial_call_waits_for_the_first_hub_that_answers(alone: Net) -> None:
    early = alone.actor()
    early.send("ask", "list(hubnet.peers()['peers'])")
    hub = alone.hub()
    assert early.answer() == [id_of(hub)]


@pytest.mark.processes
@differs(
    "Under the hood, it is making a shell call to arp -a which will walk your network and find all hosts.",
)
def test_under_the_hood_no_shell_call_is_made(shared: Net, net: dict[str, Actor]) -> None:
    made = shared.worker(
        """
        import sys
        calls = []
        names = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn"}
        sys.addaudithook(lambda event, args: calls.append((event, str(args))) if event in names else None)
        """
    )
    with closing(made) as fresh:
        assert len(fresh.ask("hubnet.peers()['peers']")) >= len(net)
        assert fresh.ask("calls") == []
        fresh.ask("__import__('os').system('true')")  # the hook does see them
        assert len(fresh.ask("calls")) == 1
        assert fresh.leave() == 0


@sentence("Standard call to get the peers on your network.")
@example("peers_all")
def test_standard_call_to_get_the_peers_on_your_network(asker: Actor, ids: dict[bytes, str]) -> None:
    asker.run(code("peers_all"))
    assert named(asker, ids) == "far hub1 hub3 none one two"


@sentence("Only search for peers on local host and not on the network.")
@example("peers_on_host")
def test_only_search_for_peers_on_local_host_and_not_on_the_network(asker: Actor, ids: dict[bytes, str]) -> None:
    assert named(asker, ids, "hubnet.peers()") == "far hub1 hub3 none one two"
    asker.run(code("peers_on_host"))
    assert named(asker, ids) == "hub1 hub3 none one two"


@sentence("Refresh all peers in the cache")
@example("peers_refresh")
def test_refresh_all_peers_in_the_cache(net: dict[str, Actor], asker: Actor, ids: dict[bytes, str]) -> None:
    def cached() -> bool:
        asker.run("hubnet.peers()")
        with stopped(net["hub1"], net["hub3"]):
            asker.run("hubnet.peers()")
        return True

    eventually(cached, not_yet=Raised)
    with stopped(net["hub1"], net["hub3"]), pytest.raises(Raised) as caught:
        asker.run(code("peers_refresh"))  # it asks, although the cache would know
    assert caught.value.kind == "NoHub"
    asker.run(code("peers_refresh"))
    assert named(asker, ids) == "far hub1 hub3 none one two"


@sentence("Refresh the cache with peers in group1")
@example("peers_refresh_group1")
def test_refresh_the_cache_with_peers_in_group1(asker: Actor, ids: dict[bytes, str]) -> None:
    asker.run(code("peers_refresh_group1"))
    assert named(asker, ids) == "hub1 one"


@sentence("Refresh the cache with peers in group1 and 2")
@example("peers_refresh_groups")
def test_refresh_the_cache_with_peers_in_group1_and_2(asker: Actor, ids: dict[bytes, str]) -> None:
    asker.run(code("peers_refresh_groups"))
    assert named(asker, ids) == "hub1 one two"


@sentence("Refresh the cache with all of the hubs on the network regardless of group.")
@example("peers_refresh_hubs")
def test_refresh_the_cache_with_all_of_the_hubs_on_the_network_regardless_of_group(
    asker: Actor, ids: dict[bytes, str]
) -> None:
    asker.run(code("peers_refresh_hubs"))
    assert named(asker, ids) == "hub1 hub3"


@sentence("Refresh the cache with only hubs in group1 and 2")
@example("peers_refresh_hubs_of_groups")
def test_refresh_the_cache_with_only_hubs_in_group1_and_2(asker: Actor, ids: dict[bytes, str]) -> None:
    asker.run(code("peers_refresh_hubs_of_groups"))
    assert named(asker, ids) == "hub1"


def refused(asker: Actor, parameter: str, value: str) -> None:
    """Check that a value of the wrong kind is refused by the parameter's name."""
    with pytest.raises(Raised, match=parameter) as caught:
        asker.ask(f"hubnet.peers({parameter}={value}) and None")
    assert caught.value.kind == "TypeError"


@sentence("refresh – Bool")
def test_refresh_is_a_bool(asker: Actor, ids: dict[bytes, str]) -> None:
    for value in (True, False):
        assert named(asker, ids, f"hubnet.peers(refresh={value})") == "far hub1 hub3 none one two"
    refused(asker, "refresh", "'no'")


@sentence("groups – str")
def test_groups_is_a_str(asker: Actor, ids: dict[bytes, str]) -> None:
    assert named(asker, ids, "hubnet.peers(groups='group2')") == "two"
    assert named(asker, ids, "hubnet.peers(groups='None')") == "none"
    refused(asker, "groups", "5")


@sentence("on_host – Bool")
def test_on_host_is_a_bool(asker: Actor, ids: dict[bytes, str]) -> None:
    assert named(asker, ids, "hubnet.peers(on_host=True)") == "hub1 hub3 none one two"
    assert named(asker, ids, "hubnet.peers(on_host=False)") == "far hub1 hub3 none one two"
    refused(asker, "on_host", "'no'")


@sentence("hubs_only – Bool")
def test_hubs_only_is_a_bool(asker: Actor, ids: dict[bytes, str]) -> None:
    assert named(asker, ids, "hubnet.peers(hubs_only=True, groups=['group1', 'group3'])") == "hub1 hub3"
    assert named(asker, ids, "hubnet.peers(hubs_only=False, groups=['group1', 'group3'])") == "hub1 hub3 one"
    refused(asker, "hubs_only", "1")


@sentence(
    "Returns: { # Peers ‘peers’: { b’MTkyLjE2OC4yLjI0OjMwMTAgLT4gTm9uZQ==’: { ‘group’: ‘None’, ‘host’: ‘192.168.2.24’, "
    "‘port’: 3010, ‘hub’: False, ‘executable’: path/to/executable, ‘user’: username }, }, "
    "# Groups ‘None’: [ b’MTkyLjE2OC4yLjI0OjMwMTAgLT4gTm9uZQ==’ ] }"
)
def test_a_listing_has_peers_and_groups_in_the_printed_shape(
    net: dict[str, Actor], asker: Actor, ids: dict[bytes, str]
) -> None:
    listing = asker.ask("dict(hubnet.peers())")
    assert set(listing) == {"peers", "group1", "group2", "group3", "far", "None"}
    members = {group: sorted(ids[one] for one in listing[group]) for group in listing if group != "peers"}
    assert members == {
        "group1": ["hub1", "one"], "group2": ["two"], "group3": ["hub3"], "far": ["far"], "None": ["none"],
    }  # fmt: skip
    (peer_id,) = listing["None"]
    record = listing["peers"][peer_id]
    printed = {name: record[name] for name in ("group", "host", "port", "hub", "executable", "user")}
    address = net["none"].ask("hubnet.Peer().host, hubnet.Peer().port")
    assert printed == {
        "group": "None", "host": address[0], "port": address[1], "hub": False, "executable": sys.executable,
        "user": asker.ask("__import__('getpass').getuser()"),
    }  # fmt: skip
    assert type(record["port"]) is int
    assert os.access(record["executable"], os.X_OK)
    assert asker.ask("hubnet.Peer().generate_id(3010, '192.168.2.24')") == b"MTkyLjE2OC4yLjI0OjMwMTAgLT4gTm9uZQ=="
    assert peer_id == asker.ask(f"hubnet.Peer().generate_id({address[1]}, {address[0]!r})")
