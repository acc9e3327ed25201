"""What goes wrong at the user's end is a named error that says what to do, and never a hang."""

from __future__ import annotations

import socket
import time

import pytest

from tests.odd_servers import silent
from tests.waiting import eventually, free_port

from .conftest import Actor, Net, Raised

pytestmark = pytest.mark.processes

SECRET = "a passphrase that is long enough"


def refused(actor: Actor, expression: str, kind: str, *texts: str, within: float = 10.0) -> Raised:
    """Check that it raises this, soon, and says all of that."""
    begin = time.monotonic()
    with pytest.raises(Raised) as caught:
        actor.ask(expression)
    assert kind in caught.value.kinds, caught.value.trace
    assert "HubnetError" in caught.value.kinds
    for text in texts:
        assert text in caught.value.text, caught.value.text
    assert time.monotonic() - begin < within
    return caught.value


def test_another_secret_is_named(alone: Net) -> None:
    alone.hub(HUBNET_SECRET=SECRET)
    stranger = alone.actor(HUBNET_SECRET=SECRET[::-1], HUBNET_TIMEOUT="2")
    refused(stranger, "hubnet.peers()", "NoHub", "use another secret", "HUBNET_SECRET")


def test_another_secret_at_an_address_is_named(alone: Net) -> None:
    hub = alone.hub(HUBNET_SECRET=SECRET)
    where = (hub.ask("hubnet.Peer().host"), hub.ask("hubnet.Peer().port"))
    stranger = alone.actor(HUBNET_SECRET=SECRET[::-1], HUBNET_TIMEOUT="3")
    refused(stranger, f"hubnet.info(peer={where!r})", "AuthenticationError", f"{where[0]}:{where[1]}", "secret")


@pytest.mark.embedded
def test_another_namespace_sees_nobody(alone: Net) -> None:
    alone.hub()
    other = alone.actor(HUBNET_NAMESPACE="other", HUBNET_TIMEOUT="1")
    refused(other, "hubnet.peers()", "NoHub", "hubnet hub")


@pytest.mark.embedded
def test_no_hub_at_all_says_how_to_start_one(alone: Net) -> None:
    alone_here = alone.actor(HUBNET_TIMEOUT="1")
    refused(alone_here, "hubnet.peers()", "NoHub", "HUBNET_REDIS_URL", "hubnet hub", within=4)
    refused(alone_here, "hubnet.wait_for(1, timeout=0.5)", "HubnetError", "hubnet hub", within=4)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis://no-such-host.invalid:6379", "unix:///no/such/socket"])
def test_a_redis_out_of_reach_is_named_without_its_password(alone: Net, url: str) -> None:
    url = url.replace("://", "://:sesame@") if url.startswith("redis") else url
    env = {"HUBNET_SECRET": SECRET, "HUBNET_TIMEOUT": "4"}
    lost = alone.actor(HUBNET_REDIS_URL=url, **env)
    error = refused(lost, "hubnet.peers()", "BrokerUnavailable", within=20)
    assert url.rpartition("@")[2].split("://")[-1].split(":")[0] in error.text
    assert "sesame" not in error.text + lost.said
    assert "HUBNET_REDIS_URL" in error.text or "out of reach" in error.text


def test_a_redis_that_accepts_and_says_nothing_is_no_hang(alone: Net) -> None:
    with silent() as port:
        lost = alone.actor(HUBNET_REDIS_URL=f"redis://127.0.0.1:{port}", HUBNET_TIMEOUT="1.5")
        refused(lost, "hubnet.peers()", "BrokerUnavailable", within=15)
        lost.run("tell = hubnet.event('x')(lambda: ((), {}))")
        begin = time.monotonic()
        lost.ask("[tell() for _ in range(10)]")
        assert time.monotonic() - begin < 10  # a wait for Redis would be 1.5 s each time


@pytest.mark.parametrize(
    ("is_hub", "user"),
    [
        pytest.param("0", "", id="worker"),
        pytest.param("0", ":sesame@", id="worker with a password"),
        pytest.param("1", "", id="hub"),
    ],
)  # fmt: skip
def test_a_timeout_is_kept_where_redis_says_nothing(alone: Net, is_hub: str, user: str) -> None:
    with silent() as port:
        url = f"redis://{user}127.0.0.1:{port}"
        lost = alone.actor(HUBNET_REDIS_URL=url, HUBNET_IS_HUB=is_hub)
        lost.run("nobody = hubnet.Peer().generate_id(5, '127.0.0.1')")
        lost.ask("hubnet.Peer().id")  # it has started
        for asking in ("hubnet.wait_for(1, timeout=0.5)", "hubnet.pass_through(1, peer=nobody, timeout=0.5)"):
            error = refused(lost, asking, "BrokerUnavailable", f"127.0.0.1:{port}", within=3)  # by itself Redis has 5 s
            assert "sesame" not in error.text


def test_a_timeout_is_kept_where_the_peer_says_nothing(alone: Net) -> None:
    with silent() as port:
        caller = alone.actor()
        caller.ask("hubnet.Peer().id")
        calling = f"hubnet.pass_through(1, peer=('127.0.0.1', {port}), timeout=0.5)"
        refused(caller, calling, "PeerUnreachable", f"127.0.0.1:{port}", within=3)


HANGING = """
    import os, socket, threading, time
    lookups = []
    def hang(*args, **kwargs):
        lookups.append(threading.current_thread())
        threading.Event().wait()
    socket.getaddrinfo = hang
    def fork():
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            os._exit(7)
        took = time.monotonic() - begin
        return took, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def test_a_name_whose_lookup_hangs_delays_no_call_beyond_its_timeout(alone: Net) -> None:
    lost = alone.actor(
        HANGING, HUBNET_REDIS_URL="redis://far.example:6379", HUBNET_SECRET=SECRET, HUBNET_HOST="127.0.0.1"
    )
    lost.run("nobody = hubnet.Peer().generate_id(5, '127.0.0.1')")
    lost.ask("hubnet.Peer().id")  # it has started: where to listen it knows without Redis
    for asking in ("hubnet.wait_for(1, timeout=1)", "hubnet.pass_through(1, peer=nobody, timeout=1)"):
        refused(lost, asking, "BrokerUnavailable", "far.example", within=4)
    calling = "hubnet.pass_through(1, peer=('far.example', 5), timeout=1)"
    refused(lost, calling, "PeerUnreachable", "far.example:5", within=4)


def test_a_name_whose_lookup_hangs_delays_no_call_of_a_peer_that_cannot_start_without_it(alone: Net) -> None:
    lost = alone.actor(HANGING, HUBNET_REDIS_URL="redis://far.example:6379", HUBNET_SECRET=SECRET)
    lost.run("nobody = hubnet.Peer().generate_id(5, '127.0.0.1')")
    for asking in ("hubnet.wait_for(1, timeout=1)", "hubnet.pass_through(1, peer=nobody, timeout=1)"):
        refused(lost, asking, "BrokerUnavailable", within=4)


def test_a_name_whose_lookup_hangs_holds_no_fork(alone: Net) -> None:
    lost = alone.actor(HANGING, HUBNET_REDIS_URL="redis://far.example:6379", HUBNET_SECRET=SECRET)
    lost.run("peer = hubnet.Peer()")
    for number in (1, 2, 3):  # the peer has to know its own address towards Redis, and tries again and again
        eventually(lambda number=number: lost.ask("len(lookups)") >= number)  # type: ignore[misc]
        took, code = lost.ask("fork()")
        assert code == 7
        assert took < 2  # a lookup has 3 s


def test_a_port_in_use_names_the_range(alone: Net) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        alone.hub()
        late = alone.actor(HUBNET_PORT=str(port), HUBNET_PORT_RANGE="1")
        refused(
            late,
            "hubnet.Peer().id",
            "ConfigError",
            f"no free port from {port} to {port}",
            "HUBNET_PORT",
            "HUBNET_PORT_RANGE",
        )
        refused(late, "hubnet.peers()", "ConfigError", "no free port")


def test_the_first_free_port_of_the_range_is_taken(alone: Net) -> None:
    port = free_port()
    while port > 65000:
        port = free_port()
    first = alone.hub(HUBNET_PORT=str(port), HUBNET_PORT_RANGE="50")
    second = alone.worker(HUBNET_PORT=str(port), HUBNET_PORT_RANGE="50")
    ports = first.ask("hubnet.Peer().port"), second.ask("hubnet.Peer().port")
    assert port <= ports[0] < ports[1] < port + 50


SETTINGS = [
    ("HUBNET_PORT", "many", "a whole number from 0 to 65535"),
    ("HUBNET_PORT", "70000", "a whole number from 0 to 65535"),
    ("HUBNET_PORT_RANGE", "0", "a whole number from 1"),
    ("HUBNET_IS_HUB", "perhaps", "1, true, yes, on, 0, false, no or off"),
    ("HUBNET_GROUP", "peers", "any name but 'peers'"),
    ("HUBNET_NAMESPACE", "a b", "letters, digits"),
    ("HUBNET_REDIS_URL", "http://localhost", "redis://"),
    ("HUBNET_HUBS", "localhost", "host:port"),
    ("HUBNET_LEASE", "0", "seconds from"),
    ("HUBNET_TIMEOUT", "nan", "seconds from"),
    ("HUBNET_THREAD_LIMIT", "-1", "a whole number from 1"),
    ("HUBNET_WIRE", "plain", "auto or sealed or tls or open-mac"),
    ("HUBNET_OUTBOX", "much", "64MiB,200000"),
    ("HUBNET_ADVERTISE", "a:b:c", "host:port"),
]


def test_a_malformed_setting_names_itself_its_value_and_what_is_allowed(alone: Net) -> None:
    for variable, value, allowed in SETTINGS:
        one = alone.actor("@hubnet.connect()\ndef f(): pass", **{variable: value})  # the import does not fail
        refused(one, "hubnet.peers()", "ConfigError", variable, value, allowed)
        one.close()


@pytest.mark.parametrize("secret", ["too brief", "changeme", "hubnet1-abcdef", "aaaaaaaaaaaaaaaaaaaa"])
def test_a_weak_or_mistyped_secret_is_refused_and_never_shown(alone: Net, secret: str) -> None:
    one = alone.actor(HUBNET_SECRET=secret, HUBNET_IS_HUB="1")
    error = refused(one, "hubnet.peers()", "ConfigError", "HUBNET_SECRET")
    assert secret not in error.text + one.said


def test_beyond_loopback_a_secret_is_required(alone: Net) -> None:
    one = alone.actor(HUBNET_HOST="0.0.0.0", HUBNET_IS_HUB="1")
    refused(one, "hubnet.peers()", "ConfigError", "HUBNET_SECRET", "hubnet secret new")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_named(alone: Net, host: str) -> None:
    one = alone.actor(HUBNET_HOST=host, HUBNET_IS_HUB="1", HUBNET_SECRET=SECRET)
    refused(one, "hubnet.peers()", "ConfigError", f"HUBNET_HOST={host}", "address of this machine")


@pytest.mark.embedded  # it becomes a hub after it was started as a worker
def test_configure_checks_and_comes_first(alone: Net) -> None:
    one = alone.actor()
    refused(one, "hubnet.configure(groop='x')", "ConfigError", "no setting 'groop'", "group")
    refused(one, "hubnet.configure(port='many')", "ConfigError", "configure(port=…)", "whole number")
    one.run("hubnet.configure(group='chosen', is_hub=True, port=0)")
    assert one.ask("hubnet.Peer().group, hubnet.Peer().hub") == ("chosen", True)
    refused(one, "hubnet.configure(group='late')", "ConfigError", "too late")


def test_a_hub_named_by_address_that_is_not_there_is_named(alone: Net) -> None:
    port = free_port()
    one = alone.actor(HUBNET_HUBS=f"127.0.0.1:{port}", HUBNET_REDIS_URL="redis://127.0.0.1:1", HUBNET_TIMEOUT="1")
    refused(one, "hubnet.peers()", "HubnetError", f"127.0.0.1:{port}", within=6)
    eventually(lambda: f"127.0.0.1:{port}" in one.said)


def test_an_id_that_another_living_peer_holds_is_refused_and_both_are_told(alone: Net) -> None:
    hub = alone.hub()
    advertise = f"127.0.0.1:{free_port()}"
    first = alone.worker(HUBNET_PORT=advertise.split(":")[1], HUBNET_PORT_RANGE="1")
    second = alone.actor("hubnet.Peer()", HUBNET_ADVERTISE=advertise)
    for told in (first, second, hub):
        eventually(lambda told=told: advertise in told.said and f"pid {first.pid}" in told.said)  # type: ignore[misc]
    assert "HUBNET_ADVERTISE" in second.said
    assert hub.ask("hubnet.peers()[0].pid") == first.pid


def test_a_group_of_broken_characters_is_a_config_error(alone: Net) -> None:
    one = alone.actor(HUBNET_GROUP="broken \udcff", HUBNET_IS_HUB="1")
    refused(one, "hubnet.peers()", "ConfigError", "HUBNET_GROUP")
