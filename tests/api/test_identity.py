"""Who a peer is and what it was told: ``Peer()`` and its members, the constants, ``configure`` and ``hubnet config``."""

from __future__ import annotations

import base64
import getpass
import json
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from hubnet.environment import Settings, variable
from tests.conftest import Net as Programs
from tests.waiting import eventually, free_port

from .conftest import Actor, Net, Raised
from .witness import id_of, path_tag

APP = """
    import asyncio, threading

    @hubnet.connect("who")
    def who():
        return hubnet.Peer().id

    @hubnet.connect("who, later")
    async def who_later():
        await asyncio.sleep(0)
        return hubnet.Peer().id

    @hubnet.connect("chain")
    def chain(targets):
        "Who we are before, during and after a call along these."
        before = hubnet.Peer().id
        further = chain(targets[1:], peer=targets[0]) if targets else []
        return [before, *further, hubnet.Peer().id]

    @hubnet.connect("thread")
    def thread():
        return threading.get_ident()

    @hubnet.connect("threads")
    def threads():
        return threading.get_ident(), thread(), thread.__wrapped__()

    @hubnet.connect("members")
    def members():
        me = hubnet.Peer("any", thing=1)
        return me.id, me.friendly_id, me.host, me.port, me.group, me.hub, sorted(me.CONNECTIONS)
"""
GROUPS = ["a -> b", "x:1 -> y:2", "render: 北 é", " spaced ", "[::1]:3010", "none", "->", "'quoted' \"twice\""]
HOSTS = ["10.0.0.1", "node-1.farm", "::1", "fe80::1%eth0", "2001:db8::8:800:200c:417a", "büro"]


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub(APP, HUBNET_GROUP="hubs")


@pytest.fixture(scope="module")
def one(shared: Net, hub: Actor) -> Actor:
    return shared.worker(APP, HUBNET_GROUP="one")


@pytest.fixture(scope="module")
def other(shared: Net, hub: Actor) -> Actor:
    return shared.worker(APP)


def refused(actor: Actor, code: str, kind: str) -> str:
    """The text of what this raises."""
    with pytest.raises(Raised) as caught:
        actor.ask(code)
    assert caught.value.kind == kind
    return caught.value.text


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_an_id_is_the_base64_of_host_port_and_group_and_says_them_again(one: Actor, other: Actor) -> None:
    for actor, group in ((one, "one"), (other, "None")):
        host, port, own = actor.ask("(hubnet.Peer().host, hubnet.Peer().port, hubnet.Peer().id)")
        assert base64.b64decode(own).decode() == f"{host}:{port} -> {group}"
        for spelling in (own, own.decode()):
            assert other.ask(f"hubnet.Peer().decode_id({spelling!r})") == {"host": host, "port": port, "group": group}
        assert other.ask(f"hubnet.Peer().generate_id({port}, {host!r}, {group!r})") == own
    assert other.ask("hubnet.Peer().generate_id(1, 'h') == hubnet.Peer().generate_id(1, 'h', '')")
    assert other.ask("hubnet.Peer().generate_id(port=1, host='h', group='g')") == base64.b64encode(b"h:1 -> g")


def test_ids_of_every_host_and_group_come_out_as_they_went_in(one: Actor) -> None:
    one.run(
        f"""
        peer = hubnet.Peer()
        wanted = [(host, port, group) for host in {HOSTS!r} for port in (0, 1, 65535) for group in {GROUPS!r}]
        ids = [peer.generate_id(port, host, group) for host, port, group in wanted]
        back = [tuple(peer.decode_id(one).values()) for one in ids]
        again = [peer.generate_id(**peer.decode_id(one.decode())) for one in ids]
        """
    )
    assert one.ask("back == wanted and again == ids and len(set(ids)) == len(ids)")
    assert one.ask("type(ids[0]), list(peer.decode_id(ids[0]))") == (bytes, ["host", "port", "group"])


def test_a_peer_of_a_group_of_any_name_is_known_and_called_by_its_id(shared: Net, hub: Actor, other: Actor) -> None:
    for group in GROUPS:
        odd = shared.worker(APP, HUBNET_GROUP=group)
        own = id_of(odd)
        assert (
            odd.ask("hubnet.Peer().group, hubnet.Peer().friendly_id['group'], hubnet.info()['group']") == (group,) * 3
        )
        assert odd.ask("hubnet.Peer().decode_id(hubnet.Peer().id)['group']") == group
        for target in (own, own.decode(), odd.ask("hubnet.Peer().friendly_id")):
            assert other.ask(f"who(peer={target!r}, timeout=20)") == own
        odd.close()


@pytest.mark.processes
def test_a_peer_on_ipv6_is_known_and_called_by_its_id_and_its_address(shared: Net, other: Actor) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on loopback here")
    six = shared.worker(APP, HUBNET_HOST="::1", HUBNET_GROUP="six")
    port = six.ask("hubnet.Peer().port")
    assert base64.b64decode(id_of(six)).decode() == f"[::1]:{port} -> six"
    assert (
        six.ask("hubnet.Peer().host, hubnet.HOST_IP, hubnet.Peer().decode_id(hubnet.Peer().id)['host']") == ("::1",) * 3
    )
    for target in (id_of(six), ("::1", port), six.ask("hubnet.Peer().friendly_id")):
        assert other.ask(f"who(peer={target!r})") == id_of(six)
    assert other.ask(f"hubnet.peers('six')['peers'][{id_of(six)!r}]['host']") == "::1"
    assert six.ask(f"who(peer={id_of(other)!r})") == id_of(other)
    six.close()


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["None", "b'x' * 200_000", "memoryview(b'abc').tobytes()", "[bytearray(b'1'), {1: (2.5, 1j)}]", "numpy.arange(100_000.0)",
     "Shot(3)", "[Shot(1), numpy.zeros((2, 3))]", "(lambda x: x + 1)(1)", "hubnet.RemotePeer"],
)  # fmt: skip
def test_what_one_peer_encodes_another_decodes(one: Actor, other: Actor, value: str) -> None:
    for actor in (one, other):
        actor.run(
            "import numpy\nclass Shot:\n    def __init__(self, n): self.n = n\n    def __repr__(self): return f'Shot {self.n}'"
        )
    data = one.ask(f"hubnet.Peer().encode({value})")
    assert type(data) is bytes
    for kind in ("bytes", "bytearray", "memoryview"):
        assert other.ask(f"repr(hubnet.Peer().decode({kind}({data!r}))) == repr({value})"), kind


def test_what_cannot_be_encoded_or_decoded_is_told_so(one: Actor) -> None:
    assert "cannot be pickled" in refused(one, "hubnet.Peer().encode(threading.Lock())", "EncodeError")
    for junk in ("b''", "b'junk'", "hubnet.Peer().encode([1, 2, 3])[:-2]"):
        assert "cannot be rebuilt here" in refused(one, f"hubnet.Peer().decode({junk})", "DecodeError")


# -- what is registered ------------------------------------------------------------------------------------------------


def test_a_function_registered_with_the_peer_is_served_as_a_connected_one(
    shared: Net, one: Actor, other: Actor
) -> None:
    shared.module("untagged_functions", "def registered(*args, **kwargs): return args, kwargs")
    one.run("import untagged_functions; made = hubnet.Peer().register_connection(untagged_functions.registered)")
    tag = path_tag("untagged_functions.registered")
    assert one.ask("made.tag, made.function is untagged_functions.registered") == (tag, True)
    assert one.ask(f"hubnet.Peer().CONNECTIONS[{tag!r}] is untagged_functions.registered")
    one.run("hubnet.Peer().register_connection(untagged_functions.registered, 'by hand')")
    other.run(f"one = hubnet.RemotePeer({id_of(one)!r}, hubnet.peers()['peers'][{id_of(one)!r}])")
    for name in (tag, "by hand"):
        assert other.ask(f"one.call({name!r}, 1, a=2)") == ((1,), {"a": 2})
        assert other.ask(f"hubnet.connections(peer=one)[{name!r}]['name']") == "registered"
    other.run("import hubnet as h\n@h.connect('by hand')\ndef by_hand(*args): pass")
    assert other.ask("by_hand(3, peer=one)") == ((3,), {})


def test_what_else_can_be_called_may_be_registered_as_well(one: Actor, other: Actor) -> None:
    one.run(
        """
        class Scene:
            def __init__(self): self.frames = []
            def add(self, frame): self.frames.append(frame); return list(self.frames)
            def __call__(self, x): return x, len(self.frames)
        scene = Scene()
        hubnet.Peer().register_connection(scene.add, "add to the scene")
        hubnet.Peer().register_connection(scene, tag="the scene")
        hubnet.Peer().register_connection(who, "who, under another name")
        """
    )
    other.run(f"one = hubnet.RemotePeer({id_of(one)!r}, hubnet.peers()['peers'][{id_of(one)!r}])")
    assert other.ask("one.call('add to the scene', 1), one.call('add to the scene', 2), one.call('the scene', 'x')") == (
        [1], [1, 2], ("x", 2),
    )  # fmt: skip
    assert other.ask("one.call('who, under another name')") == id_of(one)


def test_a_function_of_main_that_is_registered_with_the_peer_is_met_as_a_connected_one(
    one: Actor, other: Actor
) -> None:
    one.run("def of_main(): return hubnet.Peer().id\nhubnet.Peer().register_connection(of_main)")
    other.run("@hubnet.connect()\ndef of_main(): pass")
    assert other.ask(f"of_main(peer={id_of(one)!r})") == id_of(one)


def test_a_flag_registered_with_the_peer_is_one_as_any_other(one: Actor) -> None:
    one.run("hubnet.Peer().register_flag('BY HAND', lambda connection, foreign: (connection, foreign['group']))")
    one.run("answers = hubnet.connect('answers by hand')(lambda: hubnet.Peer().get_flag('BY HAND'))")
    assert one.ask("answers()") == ("answers by hand", "one")
    assert one.ask("sorted(hubnet.Peer().FLAGS)") == ["BY HAND", "INVALID_CONNECTION", "NULL", "NULL_RESPONSE"]
    assert one.ask("hubnet.Peer().FLAGS['NULL'] is hubnet.null_response")
    assert one.ask("hubnet.Peer().FLAGS['INVALID_CONNECTION'] is hubnet.invalid_connection")


def test_what_is_done_to_the_tables_that_a_peer_shows_changes_nothing(one: Actor, other: Actor) -> None:
    one.run(
        """
        hubnet.subscribe("shown")(lambda *args: None)
        peer = hubnet.Peer()
        peer.friendly_id.clear(), peer.CONNECTIONS.clear(), peer.FLAGS.clear()
        """
    )
    eventually(lambda: "shown" in one.ask("peer.SUBSCRIPTIONS"))
    one.run("peer.SUBSCRIPTIONS.clear()")
    assert one.ask("'who' in peer.CONNECTIONS and 'NULL' in peer.FLAGS and 'shown' in peer.SUBSCRIPTIONS")
    assert one.ask("peer.friendly_id['group']") == "one"
    assert other.ask(f"who(peer={id_of(one)!r})") == id_of(one)


def test_subscriptions_are_the_events_that_are_heard_each_once(shared: Net, hub: Actor) -> None:
    hears = shared.worker("for name in ('b', 'a', 'b', 'é: 1'): hubnet.subscribe(name)(lambda *args: None)")
    assert eventually(lambda: hears.ask("hubnet.Peer().SUBSCRIPTIONS")) == ["a", "b", "é: 1"]
    listed = f"hubnet.peers(refresh=True)['peers'][{id_of(hears)!r}]['subscriptions']"
    eventually(lambda: hub.ask(listed) == ["a", "b", "é: 1"])
    hears.close()


@pytest.mark.processes
def test_subscriptions_are_shown_as_soon_as_they_are_made_as_connections_are(shared: Net, hub: Actor) -> None:
    fresh = shared.actor(
        """
        @hubnet.connect("early")
        def early(): pass
        @hubnet.subscribe("early")
        def hear(*args): pass
        seen = "early" in hubnet.Peer().CONNECTIONS, hubnet.Peer().SUBSCRIPTIONS
        """
    )
    seen = fresh.ask("seen")
    fresh.close()
    assert seen == (True, ["early"])


# -- which peer, on which thread ---------------------------------------------------------------------------------------


def test_a_friendly_id_says_what_the_peer_is(one: Actor, hub: Actor) -> None:
    for actor, group, is_hub in ((one, "one", False), (hub, "hubs", True)):
        said = actor.ask("hubnet.Peer().friendly_id")
        assert said == {
            "group": group, "host": actor.ask("hubnet.Peer().host"), "port": actor.ask("hubnet.Peer().port"),
            "hub": is_hub, "executable": sys.executable, "user": getpass.getuser(),
        }  # fmt: skip
        assert type(said["port"]) is int
        assert actor.ask("hubnet.Peer().hub, hubnet.Peer().group") == (is_hub, group)


def test_peer_is_one_and_the_same_whatever_it_is_given(one: Actor) -> None:
    assert one.ask(
        "hubnet.Peer() is hubnet.Peer('a host', 3010, group='other') is hubnet.Peer(*range(9), **{'x': None})"
    )
    assert one.ask("hubnet.Peer('a host', 3010, group='other').group") == "one"


def test_inside_a_connection_every_member_is_of_the_peer_that_runs_it(one: Actor, other: Actor, hub: Actor) -> None:
    for actor in (one, other, hub):
        own = actor.ask("members()")
        assert own[0] == id_of(actor)
        for asker in (one, other, hub):
            assert asker.ask(f"members(peer={id_of(actor)!r})") == own
    assert one.ask(f"who_later(peer={id_of(other)!r})") == id_of(other)
    assert one.ask("asyncio.run(who_later())") == id_of(one)


def test_in_nested_calls_each_peer_is_itself_before_and_after_its_call(one: Actor, other: Actor, hub: Actor) -> None:
    a, b, c = id_of(one), id_of(other), id_of(hub)
    assert one.ask(f"chain([{b!r}, {c!r}, {b!r}, {a!r}])") == [a, b, c, b, a, a, b, c, b, a]
    assert one.ask(f"chain([{a!r}, {b!r}])") == [a, a, b, b, a, a]
    assert one.ask("hubnet.Peer().id") == a


def test_a_local_call_runs_on_the_callers_thread_and_a_remote_one_on_one_of_the_peers_own(
    one: Actor, other: Actor
) -> None:
    assert one.ask("thread() == threading.get_ident()")
    there = other.ask("threading.get_ident()")
    first, *inner = one.ask(f"threads(peer={id_of(other)!r})")
    assert inner == [first] * 2  # inside a connection as well
    assert other.ask("thread()") == there != first


# -- what a peer was told ----------------------------------------------------------------------------------------------

CONSTANTS = {
    "PORT_START": ("HUBNET_PORT", 3010, "4000", 4000),
    "PORT_RANGE": ("HUBNET_PORT_RANGE", 1000, "7", 7),
    "GROUP": ("HUBNET_GROUP", "None", "render", "render"),
    "IS_HUB": ("HUBNET_IS_HUB", False, "On", True),
    "THREAD_LIMIT": ("HUBNET_THREAD_LIMIT", 32, "5", 5),
    "DEV": ("HUBNET_DEV", False, "1", True),
}
READ = f"{{name: getattr(hubnet, name) for name in {tuple(CONSTANTS)!r}}}"


@pytest.mark.processes
def test_the_constants_are_the_settings_and_reading_them_starts_nothing(alone: Net) -> None:
    del alone.env["HUBNET_PORT"]
    plain = alone.actor()
    assert plain.ask(READ) == {name: default for name, (_, default, _, _) in CONSTANTS.items()}
    told = alone.actor(**{name: text for name, _, text, _ in CONSTANTS.values()})
    assert told.ask(READ) == {name: value for name, (_, _, _, value) in CONSTANTS.items()}
    plain.run("from hubnet import DEV, GROUP, IS_HUB, LOGGER, PORT_RANGE, PORT_START, THREAD_LIMIT")
    assert plain.ask("LOGGER is hubnet.LOGGER is __import__('logging').getLogger('hubnet')")
    for actor in (plain, told):
        assert actor.ask("hubnet.peer.process_peer().started") is False
    assert "no attribute 'PORT_STOP'" in refused(plain, "hubnet.PORT_STOP", "AttributeError")


@pytest.mark.processes
@pytest.mark.parametrize(("name", "bad"), [(CONSTANTS[name][0], bad) for name, bad in (
    ("PORT_START", "65536"), ("PORT_RANGE", "0"), ("GROUP", "peers"), ("IS_HUB", "maybe"), ("THREAD_LIMIT", "0"), ("DEV", "x"),
)])  # fmt: skip
def test_a_bad_value_is_told_by_constants_and_first_use_alike(alone: Net, name: str, bad: str) -> None:
    actor = alone.actor(**{name: bad})
    for code in (READ, "hubnet.peers()", "hubnet.Peer().id", "hubnet.pass_through(1, peer=('127.0.0.1', 1))"):
        text = refused(actor, code, "ConfigError")
        assert name in text
        assert repr(bad) in text
        assert "allowed: " in text


@pytest.mark.processes
def test_importing_everything_never_waits_and_never_fails_for_the_network(alone: Net) -> None:
    actor = alone.actor(
        HUBNET_REDIS_URL="redis://no-such-host.invalid:6379", HUBNET_SECRET="a passphrase that is long enough",
        HUBNET_TIMEOUT="1",
    )  # fmt: skip
    actor.run("from hubnet import *")
    assert actor.ask("hubnet.peer.process_peer().started") is False


@pytest.mark.processes
def test_addresses_ports_and_debugging_are_as_the_environment_has_them(shared: Net, hub: Actor) -> None:
    port = free_port()
    told = {
        "HUBNET_HOST": ("127.0.0.2", "hubnet.Peer().host, hubnet.HOST_IP", ("127.0.0.2", "127.0.0.2")),
        "HUBNET_ADVERTISE": ("farm1:99", "hubnet.Peer().host, hubnet.Peer().port", ("farm1", 99)),
        "HUBNET_PORT": (str(port), "hubnet.Peer().port, hubnet.PORT_START", (port, port)),
        "HUBNET_DEV": ("yes", "hubnet.Peer().id and hubnet.LOGGER.level", 10),
    }
    for name, (text, expression, expected) in told.items():
        actor = shared.actor(**{name: text})
        assert actor.ask(expression) == expected, name
        actor.close()


@pytest.mark.processes
def test_a_peer_runs_as_many_calls_at_once_as_it_was_told(shared: Net, hub: Actor) -> None:
    code = """
        import threading
        guard, pair, inside, most = threading.Lock(), threading.Barrier(2), 0, 0
        @hubnet.connect("busy")
        def busy(n):
            global inside, most
            with guard:
                inside += 1
                most = max(most, inside)
            pair.wait(30)
            with guard:
                inside -= 1
            return n
    """
    served = shared.worker(code, HUBNET_THREAD_LIMIT="2")
    asker = shared.actor(code + "\n        from concurrent.futures import ThreadPoolExecutor")
    assert asker.ask(f"list(ThreadPoolExecutor(9).map(lambda n: busy(n, peer={id_of(served)!r}), range(30)))") == [
        *range(30)
    ]
    assert served.ask("inside, most") == (0, 2)  # each waited for another: two did run at once, and never three
    served.close()
    asker.close()


# -- configure ---------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_what_is_configured_before_the_start_wins_over_the_environment(alone: Net) -> None:
    actor = alone.actor(**{name: text for name, _, text, _ in CONSTANTS.values() if name != "HUBNET_IS_HUB"})
    actor.run("hubnet.configure(group='chosen', port=0, port_range=9)")
    actor.run("hubnet.configure(thread_limit=3, dev=False)")
    assert actor.ask(READ) == {
        "PORT_START": 0, "PORT_RANGE": 9, "GROUP": "chosen", "IS_HUB": False, "THREAD_LIMIT": 3, "DEV": False,
    }  # fmt: skip
    assert actor.ask("hubnet.Peer().group") == "chosen"


@pytest.mark.processes
def test_what_is_configured_after_the_start_is_refused_and_changes_nothing(alone: Net) -> None:
    actor = alone.actor("hubnet.configure(group='first')\n@hubnet.connect()\ndef f(): pass")
    for wish in ("group='second'", "group='first'", "is_hub=True", "port=1, dev=True"):
        assert "too late" in refused(actor, f"hubnet.configure({wish})", "ConfigError")
    assert actor.ask("hubnet.Peer().group, hubnet.IS_HUB, hubnet.PORT_START, hubnet.DEV") == ("first", False, 0, False)
    actor.run("hubnet.configure()")  # nothing was asked for


@pytest.mark.processes
def test_where_nothing_starts_by_itself_configure_comes_in_time_after_the_decorators(alone: Net) -> None:
    actor = alone.actor("@hubnet.connect()\ndef f(): pass", HUBNET_AUTOSTART="0")
    assert actor.ask("hubnet.peer.process_peer().started") is False
    actor.run("hubnet.configure(group='in time')")
    assert actor.ask("hubnet.Peer().group") == "in time"


# -- hubnet config -----------------------------------------------------------------------------------------------------

TOLD: dict[str, tuple[str, Any]] = {
    "group": ("render: 北", "render: 北"), "is_hub": ("on", True), "port": ("0", 0), "port_range": ("5", 5),
    "host": ("::1", "::1"), "advertise": ("[::1]:9", "[::1]:9"), "redis_url": ("redis://u:sesame@h:1/0", "redis://u:***@h:1/0"),
    "redis_server": ("/opt/it", "/opt/it"), "namespace": ("farm_1", "farm_1"), "hubs": ("h:1,[::1]:2", ["h:1", "[::1]:2"]),
    "secret": ("open sesame", "(set, hidden)"), "secret_file": ("/run/token", "/run/token"), "thread_limit": ("7", 7),
    "lease": ("2.5", 2.5), "suspect": ("60", 60.0), "wire": ("sealed", "sealed"),
    "integrity": ("full", "full"), "tls_cert": ("/run/host.crt", "/run/host.crt"), "tls_key": ("/run/key", "/run/key"),
    "tls_ca": ("/run/ca.crt", "/run/ca.crt"), "link_limit": ("9,3", [9, 3]), "stranger_limit": ("5,5", [5, 5]),
    "call_limit": ("2MiB", 2 << 20), "dial_back_limit": ("3", 3), "outbox": ("1MiB,9", [1 << 20, 9]),
    "event_limit": ("2048", 2048), "stream_length": ("50", 50), "timeout": ("4", 4.0), "autostart": ("no", False),
    "dev": ("true", True),
}  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    made = Programs(tmp_path_factory.mktemp("programs"))
    yield made
    made.close()


@pytest.mark.processes
def test_config_shows_each_value_and_that_the_environment_has_it(programs: Programs) -> None:
    assert set(TOLD) == set(Settings._fields)
    environment = {variable(field): text for field, (text, _) in TOLD.items()}
    done = programs.cli("config", "--json", **environment)
    assert json.loads(done.stdout) == {
        variable(field): {"value": value, "source": variable(field)} for field, (_, value) in TOLD.items()
    }
    table = programs.cli("config", **environment)
    assert done.returncode == table.returncode == 0
    for field in TOLD:
        (line,) = [line for line in table.stdout.splitlines() if line.split()[0] == variable(field)]
        assert line.rstrip().endswith("the environment")
    for run in (done, table):
        assert "sesame" not in run.stdout + run.stderr
        assert run.stderr == ""


@pytest.mark.processes
def test_config_shows_each_default_as_such_and_starts_nothing(net: Programs) -> None:
    del net.env["HUBNET_PORT"]
    said = json.loads(net.cli("config", "--json").stdout)
    assert {one["source"] for one in said.values()} == {"default"}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in Settings()._asdict().items()}
    assert {name: one["value"] for name, one in said.items()} == {variable(field): shown[field] for field in shown}
    assert not [path for path in net.folder.iterdir() if path.name.startswith("hubnet-")]


@pytest.mark.processes
@pytest.mark.parametrize("name", ["HUBNET_SECRTE", "HUBNET_REDIS_PASSWORD"])
def test_config_names_a_variable_that_is_no_setting_without_its_value(programs: Programs, name: str) -> None:
    done = programs.cli("config", "--json", **{name: "open sesame"})
    assert name in done.stderr
    assert "sesame" not in done.stdout + done.stderr
    assert name not in json.loads(done.stdout)


@pytest.mark.processes
def test_config_does_not_complain_of_a_documented_variable_with_its_documented_default(programs: Programs) -> None:
    done = programs.cli("config", HUBNET_INTEGRITY="header")
    assert done.returncode == 0
    assert "no setting" not in done.stderr
