"""The profile tls of the compose net: links and Redis inside TLS, each end with a certificate, with Redis's two users."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.api.conftest import Raised
from tests.api.witness import id_of, live
from tests.security.test_nothing_leaks import leaked
from tests.waiting import eventually

from .actors import CALLS_WITH_THE_WORD, WORD, Inside, heard, inside, secret_of, sniffing
from .conftest import TLS_SERVICES, Cluster
from .test_cluster import Listener, listed

ASKING = {"HUBNET_GROUP": "asking", "HUBNET_PORT": "0", "HUBNET_IS_HUB": "0"}
WITHOUT_TLS = ["env", "HUBNET_WIRE=auto", "HUBNET_TLS_CERT=", "HUBNET_TLS_KEY=", "HUBNET_TLS_CA="]
ANOTHER_CA = "/tmp/another"
OF_THE_NET = {"cert": "/tls/net/tls-worker.crt", "key": "/tls/net/tls-worker.key", "ca": "/tls/net/ca.crt"}
OF_ANOTHER = {"cert": f"{ANOTHER_CA}/tls-worker.crt", "key": f"{ANOTHER_CA}/tls-worker.key", "ca": "/tls/net/ca.crt"}


@pytest.fixture
def net(all_in_tls: Cluster) -> Cluster:
    """The profile's services, registered; and in the worker's container the files of another CA."""

    try:
        eventually(
            lambda: any(name == "tls-worker" and "(healthy)" in status for name, status in all_in_tls.states()), 90
        )
    except AssertionError:
        health = all_in_tls.inspect("tls-worker")["State"]["Health"]["Log"]
        logs = all_in_tls.compose("--profile", "tls", "logs", "--no-color", "--tail", "40", *TLS_SERVICES, check=False)
        pytest.fail(f"the profile's worker is not registered: {health}\n{logs}", pytrace=False)
    make = f"test -e {ANOTHER_CA}/ca.crt || hubnet tls init --directory {ANOTHER_CA} tls-worker,localhost,127.0.0.1"
    all_in_tls.exec("tls-worker", "sh", "-c", make)
    return all_in_tls


def asked_without_tls(worker: str) -> str:
    """What `hubnet peers` says there that has no certificate."""
    command = ["docker", "exec", worker, *WITHOUT_TLS, "hubnet", "peers", "--timeout", "5"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    return done.stderr


def admin(net: Cluster, *command: str) -> str:
    """Redis's own client, as admin, with Redis's certificate."""
    password = net.password("admin")
    own = (
        "--tls",
        "--cacert",
        "/tls/net/ca.crt",
        "--cert",
        "/tls/net/tls-redis.crt",
        "--key",
        "/tls/net/tls-redis.key",
    )
    login = ("env", f"REDISCLI_AUTH={password}", "redis-cli", *own, "-h", "tls-redis", "--user", "admin")
    return net.exec("tls-redis", *login, *command)


def test_the_profile_tls_runs_links_and_redis_inside_tls_with_the_two_users(net: Cluster) -> None:
    worker, hub, redis = (net.containers(name)[0] for name in ("tls-worker", "tls-hub", "tls-redis"))
    found = listed(net, "--wait", "2", where=worker)
    assert {record["host"] for record in found.values()} == {"tls-hub", "tls-worker"}
    assert all(record["reachable"] for record in found.values()), [record["reason"] for record in found.values()]
    assert json.loads(net.exec(hub, "hubnet", "call", "tls", "where", "--json"))["group"] == "tls"
    said = net.exec(redis, "redis-cli", "-h", "tls-redis", "-e", "ping", check=False)
    assert "PONG" not in said
    eventually(lambda: "TLS" in asked_without_tls(worker), timeout=60)
    assert admin(net, "acl", "log") == ""


def test_events_and_calls_go_both_ways_inside_tls(net: Cluster) -> None:
    """From worker to hub and back; a call made inside a call; and who leaves, leaves the listing."""
    at_the_hub = Listener(net, "tls-hub", "--count", "1", "--timeout", "40")
    assert net.exec("tls-hub", "hubnet", "call", "tls", "finish", "7") == "7"
    assert at_the_hub.heard() == [[7]]
    serves = """
        import hubnet
        got = []
        hubnet.subscribe("marked")(got.append)
        publish = hubnet.event("marked")(lambda word: ((word,), {}))
        @hubnet.connect("back")
        def back(to, word):
            return hubnet.pass_through(word, peer=to), hubnet.Peer().group
    """
    with inside(net, "tls-hub", **ASKING) as one, inside(net, "tls-worker", **ASKING) as other:
        for actor in (one, other):
            actor.run(serves)
            live(actor)
        ids = {actor: id_of(actor) for actor in (one, other)}
        for actor, far in ((one, other), (other, one)):
            eventually(lambda actor=actor, far=far: ids[far] in actor.ask("hubnet.peers(refresh=True)['peers']"))
            assert actor.ask(f"back({ids[actor]!r}, b'w' * 3_000_000, peer={ids[far]!r})") == (
                b"w" * 3_000_000,
                "asking",
            )
            actor.run(f"publish({ids[actor]!r})")
            eventually(lambda actor=actor, far=far: ids[actor] in far.ask("got"))
        assert other.leave() == 0
        eventually(lambda: ids[other] not in one.ask("hubnet.peers(refresh=True)['peers']"))
    assert admin(net, "acl", "log") == ""


def tls(cert: str, key: str, ca: str) -> dict[str, str]:
    return {"HUBNET_TLS_CERT": cert, "HUBNET_TLS_KEY": key, "HUBNET_TLS_CA": ca}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (OF_ANOTHER, "HUBNET_TLS_CERT: .*does not pass"),
        ({**OF_ANOTHER, "ca": f"{ANOTHER_CA}/ca.crt"}, "no TLS with|does not accept our certificate|NoHub|no hub"),
    ],
    ids=["a certificate of another CA", "all of another CA"],
)
def test_who_has_files_of_another_ca_has_no_link_and_is_told(net: Cluster, files: dict[str, str], told: str) -> None:
    with inside(net, "tls-worker", **ASKING, **tls(**files), HUBNET_TIMEOUT="20") as one:
        with pytest.raises(Raised, match=told) as caught:
            one.run("import hubnet").ask("hubnet.pass_through(1, peer=('tls-hub', 3010))", timeout=60)
        assert set(caught.value.kinds) & {"ConfigError", "AuthenticationError", "PeerUnreachable"}, caught.value.trace
    assert json.loads(net.exec("tls-hub", "hubnet", "call", "tls", "where", "--json"))["group"] == "tls"


def test_a_listener_refuses_a_dialler_that_shows_no_certificate(net: Cluster) -> None:
    """Python's own TLS, with nothing to show: the session ends before a word of ours."""
    code = """
        import socket, ssl
        def dial(cert=None, key=None):
            context = ssl.create_default_context(cafile="/tls/net/ca.crt")
            if cert:
                context.load_cert_chain(cert, key)
            with socket.create_connection(("tls-hub", 3010), 10) as plain:
                with context.wrap_socket(plain, server_hostname="tls-hub") as link:
                    link.sendall(b"HUB1")
                    return link.recv(1)
    """
    with inside(net, "tls-worker") as stranger:
        stranger.run(code)
        for files in ((), (OF_ANOTHER["cert"], OF_ANOTHER["key"])):
            with pytest.raises(Raised) as caught:
                stranger.ask(f"dial{files!r}")
            assert {"SSLError", "ConnectionError"} & set(caught.value.kinds), caught.value.trace
        with_ours = f"dial({OF_THE_NET['cert']!r}, {OF_THE_NET['key']!r})"
        assert stranger.ask(with_ours) == b""  # a stranger inside TLS, closed when its five seconds were up


# -- Redis -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def inside_worker(net: Cluster) -> Iterator[Inside]:
    """A process that speaks to Redis as it likes."""
    with inside(net, "tls-worker") as made:
        made.run(f"""
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
            def ping(user="worker", password={net.password("worker")!r}, host="tls-redis", **files):
                where = dict(ssl=True, ssl_check_hostname=True, ssl_ca_certs="/tls/net/ca.crt", **files)
                once = dict(socket_timeout=10, retry=Retry(NoBackoff(), 0))
                return redis.Redis(host=host, username=user, password=password, **once, **where).ping()
        """)
        yield made


def options(files: dict[str, str]) -> str:
    return f"ssl_certfile={files['cert']!r}, ssl_keyfile={files['key']!r}"


def test_redis_takes_who_shows_a_certificate_of_the_net_and_says_a_password_and_nobody_else(
    inside_worker: Inside,
) -> None:
    own = options(OF_THE_NET)
    assert inside_worker.ask(f"ping({own})") is True
    refused = {
        "ping()": "ConnectionError",
        f"ping({options(OF_ANOTHER)})": "ConnectionError",
        f"ping(password='wrong', {own})": "AuthenticationError",
        f"ping(user='default', password=None, {own})": "AuthenticationError",
        f"ping(host=__import__('socket').gethostbyname('tls-redis'), {own})": "ConnectionError",  # not a name of its certificate
    }
    for question, kind in refused.items():
        with pytest.raises(Raised) as caught:
            inside_worker.ask(question)
        assert kind in caught.value.kinds, caught.value.trace
    assert inside_worker.ask(f"ping({own})") is True


def test_inside_tls_a_workers_user_has_a_workers_rights(net: Cluster, inside_worker: Inside) -> None:
    own = options(OF_THE_NET)
    inside_worker.run(f"""
        store = redis.Redis(host="tls-redis", username="worker", password={net.password("worker")!r}, ssl=True,
                            ssl_ca_certs="/tls/net/ca.crt", {own})
    """)
    assert list(inside_worker.ask("store.hgetall('hubnet:{default}:hubs')"))
    for question in (
        "store.hset('hubnet:{default}:hubs', 'id', 'text')",
        "store.eval('return 1', 0)",
        "store.config_get()",
    ):
        with pytest.raises(Raised, match="permissions"):
            inside_worker.ask(question)
    assert "worker" in admin(net, "acl", "log")
    admin(net, "acl", "log", "reset")


def test_a_peer_does_not_log_in_to_a_redis_of_another_ca(net: Cluster) -> None:
    """The dialler verifies, too: with the CA of others it takes ours for a stranger."""
    with inside(net, "tls-worker") as made:
        made.run("""
            import os
            from hubnet.broker import Broker
            from hubnet.environment import Settings
            def ping(ca):
                url = os.environ["HUBNET_REDIS_URL"]
                assert "/tls/net/ca.crt" in url
                return Broker(Settings(redis_url=url.replace("/tls/net/ca.crt", ca))).ask(b"PING")
        """)
        assert made.ask("ping('/tls/net/ca.crt')") == b"PONG"
        with pytest.raises(Raised, match="verify failed") as caught:
            made.ask(f"ping('{ANOTHER_CA}/ca.crt')", timeout=60)
        assert caught.value.kind == "BrokerUnavailable"
        assert net.password("worker") not in caught.value.trace + made.said


# -- who listens -----------------------------------------------------------------------------------------------------


def test_who_sniffs_the_profile_tls_hears_no_call_no_event_no_password_and_no_secret(net: Cluster) -> None:
    worker, hub = (net.containers(name)[0] for name in ("tls-worker", "tls-hub"))
    peer_id = next(one for one, said in listed(net, where=worker).items() if said["host"] == "tls-worker").encode()
    with contextlib.ExitStack() as all_of_them:
        sniffer = all_of_them.enter_context(sniffing(net, worker))
        caller = all_of_them.enter_context(inside(net, hub, **ASKING))
        beside = all_of_them.enter_context(inside(net, worker, **ASKING))
        for one in (caller, beside):
            live(one.run(CALLS_WITH_THE_WORD).run("got = []\nhubnet.subscribe('marked')(got.append)"))
        caller.run(f"say({peer_id!r})")
        beside.run(f"publish({WORD!r})")
        eventually(lambda: caller.ask("got") == [WORD])
        all_of_it = heard(sniffer)
    assert len(all_of_it) > 2 * 10_000 * len(WORD)  # it heard the large argument, and could not read it
    assert WORD not in all_of_it
    assert b"HUB1" not in all_of_it
    assert net.password("worker").encode() not in all_of_it
    assert leaked(all_of_it, secret_of(net)) == []
