"""A peer as a listing tells of it: fields, connections as methods, equality, copies, and what is left of it when it has gone."""

from __future__ import annotations

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net, Raised
from .witness import path_tag

SERVES = """
def made(module, name, tag=None):
    def function(*args, **kwargs):
        return module, name, args, kwargs
    function.__module__, function.__name__ = module, name
    return hubnet.connect(tag)(function)
made("app", "render")
made("app", "twice"), made("lib", "twice")
made("app", "both"), made("anything", "else_", "both")
made("a", "group"), made("a", "pid", "pid"), made("a", "call"), made("a", "id"), made("a", "state", "state")
made("a", "_hidden"), made("a", "class"), made("a", "f", "with space"), made("a", "f", "dotted.name")
made("a", "f", "__len__"), made("a", "f", "schön")
@hubnet.connect("raises")
def raises(): raise ValueError("from there")
@hubnet.connect("slow")
def slow(seconds): __import__("time").sleep(seconds)
"""


@pytest.fixture(scope="module")
def worker(shared: Net) -> Actor:
    shared.env["HUBNET_LEASE"] = "60"  # a listing that is kept holds longer than a test waits
    shared.hub()
    return shared.worker(SERVES, HUBNET_GROUP="work")


@pytest.fixture(scope="module")
def other(shared: Net, worker: Actor) -> Actor:
    return shared.worker(HUBNET_GROUP="others")


@pytest.fixture
def asker(other: Actor) -> Actor:
    return other.run("remote = hubnet.wait_for(1, 'work')[0]")


def test_each_key_of_its_record_is_an_attribute(asker: Actor, worker: Actor) -> None:
    asker.run("record = hubnet.peers('work')['peers'][remote.id]")
    assert asker.ask("{name: getattr(remote, name) for name in record} == record")
    assert asker.ask("len(record), type(remote.id)") == (19, bytes)
    assert asker.ask("remote.id") == worker.ask("hubnet.Peer().id")
    friendly = worker.ask("hubnet.Peer().friendly_id")
    assert asker.ask(f"{{name: getattr(remote, name) for name in {list(friendly)}}}") == friendly


def test_a_connection_is_a_method_by_the_last_name_of_its_path_or_its_tag(asker: Actor) -> None:
    assert asker.ask("remote.render(1, x=2)") == ("app", "render", (1,), {"x": 2})
    assert asker.ask("getattr(remote, 'class')()") == ("a", "class", (), {})
    assert asker.ask("getattr(remote, 'with space')(3)") == ("a", "f", (3,), {})
    assert asker.ask("getattr(remote, 'dotted.name')(4)") == ("a", "f", (4,), {})
    assert asker.ask("remote.schön(5)") == ("a", "f", (5,), {})


def test_call_reaches_every_connection_by_its_tag(asker: Actor) -> None:
    for path in ("app.render", "app.twice", "lib.twice", "app.both", "a.group", "a.call", "a.id", "a._hidden"):
        module, name = path.split(".")
        assert asker.ask(f"remote.call({path_tag(path)!r}, 1, a=2)") == (module, name, (1,), {"a": 2})
    for tag, name in (("both", "else_"), ("pid", "pid"), ("state", "state"), ("__len__", "f"), ("with space", "f")):
        assert asker.ask(f"remote.call({tag!r})[1]") == name


def test_a_connection_may_have_parameters_named_as_those_of_call_itself(asker: Actor) -> None:
    assert asker.ask("remote.render(tag='a', self=1)") == ("app", "render", (), {"tag": "a", "self": 1})
    assert asker.ask("remote.call('with space', tag='a', self=1)") == ("a", "f", (), {"tag": "a", "self": 1})


def test_a_field_and_call_itself_are_never_taken_by_a_connection(asker: Actor, worker: Actor) -> None:
    assert asker.ask("remote.group, remote.pid, remote.state") == ("work", worker.pid, "open")
    assert asker.ask("remote.call('pid')") == ("a", "pid", (), {})
    assert asker.ask("remote.id == next(iter(hubnet.peers('work')['peers']))")


@pytest.mark.parametrize("name", ["twice", "both"])
def test_a_name_that_several_connections_end_in_is_an_error_that_lists_them(asker: Actor, name: str) -> None:
    with pytest.raises(Raised, match=rf"several connections end in that name: '{name}'.*app\.{name}") as caught:
        asker.ask(f"remote.{name}()")
    assert caught.value.kind == "AttributeError"


def test_what_it_does_not_have_is_an_attribute_error_as_python_has_it(asker: Actor) -> None:
    for name in ("nothing", "_hidden", "__len__", "_private", "__fspath__", "peers"):
        assert asker.ask(f"hasattr(remote, {name!r})") is False
        assert asker.ask(f"getattr(remote, {name!r}, 7)") == 7
    assert asker.ask("bool(remote)") is True
    with pytest.raises(Raised) as caught:
        asker.ask("len(remote)")
    assert caught.value.kind == "TypeError"


def test_a_method_and_call_take_a_timeout_and_raise_as_a_call_does(asker: Actor) -> None:
    for call in ("remote.raises()", "remote.call('raises')", "remote.raises(timeout=20)"):
        with pytest.raises(Raised, match="from there") as caught:
            asker.ask(call)
        assert (caught.value.kind, caught.value.cause) == ("RemoteError", "ValueError")
    for call in ("remote.slow(20, timeout=0.2)", "remote.call('slow', 20, time_out=0.2)"):
        with pytest.raises(Raised) as caught:
            asker.ask(call)
        assert "TimeoutError" in caught.value.kinds


def test_call_of_a_tag_that_is_not_there_lists_those_that_are(asker: Actor) -> None:
    with pytest.raises(Raised, match="Peer does not have the connection you are requesting: 'nothing'") as caught:
        asker.ask("remote.call('nothing')")
    assert caught.value.kind == "InvalidConnection"
    assert "app.render" in caught.value.text


def test_it_is_equal_to_itself_out_of_another_listing_and_to_nothing_else(asker: Actor) -> None:
    asker.run(
        """
        again = [hubnet.peers("work", refresh=True)[0], hubnet.peer_group("work")[0], hubnet.wait_for(1, "work")[0]]
        again.append(next(one for one in hubnet.peer_group("work", hubs_only=False, on_host=True)))
        someone = hubnet.peers(hubs_only=True)[0]
        """
    )
    assert asker.ask("all(one == remote and not one != remote and hash(one) == hash(remote) for one in again)")
    assert asker.ask("len({remote, *again, someone}), {remote: 1}[again[0]]") == (2, 1)
    assert asker.ask("remote in again, remote in [someone], again.index(remote)") == (True, False, 0)
    assert asker.ask("remote != someone, remote == remote.id, remote == 5, remote == None") == (
        True,
        False,
        False,
        False,
    )


def test_its_repr_says_where_it_is_and_its_group(asker: Actor) -> None:
    assert asker.ask("repr(remote) == f'<hubnet peer {remote.host}:{remote.port} group work>'")
    assert asker.ask("str(remote) == repr(remote)")


@pytest.mark.parametrize(
    "how",
    ["pickle.loads(pickle.dumps(remote))", "pickle.loads(pickle.dumps(remote, 0))", "copy.copy(remote)", "copy.deepcopy(remote)"],
)  # fmt: skip
def test_a_copy_of_it_is_as_good(asker: Actor, worker: Actor, how: str) -> None:
    asker.run(f"import copy, pickle\nother = {how}")
    assert asker.ask("other == remote and hash(other) == hash(remote) and repr(other) == repr(remote)")
    assert asker.ask("other.pid, other.connections == remote.connections") == (worker.pid, True)
    assert asker.ask("other.render(1), hubnet.pass_through(2, peer=other)") == (("app", "render", (1,), {}), 2)


def test_a_peer_to_which_it_is_handed_can_call_it(shared: Net, asker: Actor, worker: Actor) -> None:
    code = "@hubnet.connect('relay')\ndef relay(remote): return remote, remote.pid, remote.render('relayed')"
    relay = shared.worker(code, HUBNET_GROUP="relays")
    asker.run(code)
    remote, pid, answer = asker.ask(
        "(lambda said: (said[0] == remote, *said[1:]))(relay(remote, peer=hubnet.wait_for(1, 'relays')[0]))"
    )
    assert (remote, pid, answer) == (True, worker.pid, ("app", "render", ("relayed",), {}))
    relay.leave()


def test_connections_that_came_later_are_methods_of_the_next_listings_peers(asker: Actor, worker: Actor) -> None:
    worker.run("made('app', 'latecomer')")
    assert (
        asker.ask(f"remote.call({path_tag('app.latecomer')!r})[1]") == "latecomer"
    )  # whoever knows the tag need not ask
    eventually(lambda: asker.ask("hasattr(hubnet.peers('work', refresh=True)[0], 'latecomer')"))
    assert asker.ask("hubnet.peers('work')[0].latecomer()[1], hubnet.peers('work')[0] == remote") == ("latecomer", True)


def test_of_a_peer_that_has_gone_the_fields_are_left_and_a_call_says_so(shared: Net, asker: Actor) -> None:
    brief = shared.worker(SERVES, HUBNET_GROUP="brief")
    asker.run("gone = hubnet.wait_for(1, 'brief')[0]\ngone.render()")
    assert brief.leave() == 0
    for call in ("gone.render()", "gone.call('slow', 0)", "hubnet.info(peer=gone)"):
        with pytest.raises(Raised) as caught:
            asker.ask(call)
        assert {"PeerUnreachable", "ConnectionRefusedError"} <= set(caught.value.kinds)
        assert caught.value.ran == "NO"
        assert str(asker.ask("gone.port")) in caught.value.text
    assert asker.ask("gone.pid, gone.group") == (brief.pid, "brief")
    asker.run("hubnet.subscribe('e', peers=gone)(print)")
    eventually(lambda: asker.ask("gone not in hubnet.peer_group('brief')"))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("hubnet.RemotePeer(remote.id, {})", "takes a record out of hubnet.peers"),
        ("hubnet.RemotePeer(remote.id.decode(), hubnet.peers('work')['peers'][remote.id])", "an id as bytes"),
        ("remote.call()", "tag"),
        ("remote.call(5)", "takes the tag as a str"),
        ("remote.call('slow', 1, peer=remote)", "takes no peer="),
        ("remote.render(peer=remote)", "takes no peer="),
    ],
)
def test_using_it_wrongly_is_a_type_error_that_says_what_it_takes(asker: Actor, call: str, text: str) -> None:
    with pytest.raises(Raised, match=text) as caught:
        asker.ask(call)
    assert caught.value.kind == "TypeError"
