"""Redis's users as docker/users.acl.template has them: enough for all that hubnet does, and for nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from hubnet import lua
from hubnet.bus.publisher import Publisher
from hubnet.bus.subscriber import Subscriber
from hubnet.bus.subscription import Subscription
from hubnet.core.channels import Names
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring
from hubnet.core.selection import Query
from hubnet.counters import Counters
from hubnet.registry import Registry
from hubnet.scripts import RedisStore
from tests.guarded import TEMPLATE, Guarded, users
from tests.registry.conftest import TOKEN

ALICE = generate_id(3010, "10.0.0.1", "a b{c}")
INCARNATION = "11" * 16
RECORD = {"id": ALICE.decode(), "host": "10.0.0.1", "port": 3010, "incarnation": INCARNATION, "revision": 1}
RING = Keyring.of([TOKEN], "default")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if not TEMPLATE.exists():
        pytest.skip("docker/users.acl.template is not here")
    server = Guarded(tmp_path_factory.mktemp("acl"))
    yield server
    server.close()


@pytest.fixture
def server(started: Guarded) -> Guarded:
    started.admin.flushall()
    started.admin.script_flush()
    started.admin.acl_log_reset()
    return started


def registry_of(server: Guarded, user: str) -> Registry:
    return Registry(RedisStore(server.broker(user), Names("default")), Names("default"), RING, lease=10, suspect=60)


def use_bus(server: Guarded, user: str) -> None:
    """Publish and hear: an exact channel, a pattern, presence, a mark."""
    names, counters = Names("default"), Counters()
    heard: list[bytes] = []
    three = threading.Semaphore(0)

    def deliver(body: memoryview, _: Sender) -> None:
        heard.append(bytes(body))
        three.release()

    def subscription(channels: frozenset[str] | None, pattern: str | None) -> Subscription:
        return Subscription(
            "test", deliver, Query(), channels=channels, pattern=pattern, counters=counters, hears_itself=True
        )

    incarnation = user.encode().ljust(16)
    sender = Sender(ALICE, incarnation, user == "hub", "machine")
    publisher = Publisher(server.broker(user), Packer(sender, RING), counters, outbox=(1 << 20, 1000))
    subscriber = Subscriber(server.broker(user), Opener(RING), names, incarnation, counters, lambda: None)
    channel = names.event("a b{c}", "frame:done")
    wishes = [
        subscription(frozenset((channel,)), None),
        subscription(None, names.event_everywhere("frame:done")),
        subscription(frozenset((names.presence,)), None),
    ]
    try:
        for wish in wishes:
            subscriber.add(wish)
        assert subscriber.wait_live(wishes, time.monotonic() + 10)
        publisher.publish(channel.encode(), b"event")
        publisher.publish(names.presence.encode(), b"presence")
        for _ in range(3):
            assert three.acquire(timeout=10)
        assert sorted(heard) == [b"event", b"event", b"presence"]
        assert publisher.flush(10)
    finally:
        publisher.close()
        subscriber.close()


def do_all_that_a_hub_does(server: Guarded) -> None:
    registry = registry_of(server, "hub")
    hub = (ALICE, {"host": "10.0.0.1", "port": 3010, "incarnation": INCARNATION})
    assert registry.write(ALICE, dict(RECORD)).outcome == "written"
    assert registry.write(ALICE, {**RECORD, "incarnation": "22" * 16}).outcome == "held"
    assert registry.renew([ALICE], hub) == []
    assert list(registry.snapshot().records) == [ALICE]
    assert len(registry.hubs()) == 1
    assert not registry.withdraw(ALICE, INCARNATION, only_if_expired=True)
    assert registry.withdraw(ALICE, INCARNATION)
    registry.close()
    use_bus(server, "hub")


def do_all_that_a_worker_does(server: Guarded) -> None:
    worker = registry_of(server, "worker")
    worker.hubs()
    worker.close()
    use_bus(server, "worker")


def test_all_that_a_hub_does_is_allowed_and_leaves_no_trace_in_acl_log(server):
    do_all_that_a_hub_does(server)
    assert server.denied() == []


def test_all_that_a_worker_does_is_allowed_and_leaves_no_trace_in_acl_log(server):
    hub = registry_of(server, "hub")
    hub.renew([], (ALICE, {"host": "10.0.0.1", "port": 3010, "incarnation": INCARNATION}))
    hub.close()
    worker = registry_of(server, "worker")
    assert [seen.peer_id for seen in worker.hubs()] == [ALICE]
    worker.close()
    do_all_that_a_worker_does(server)
    assert server.denied() == []


def test_the_health_check_is_allowed_its_ping(server):
    sock, owner = server.broker("health").open()
    sock.sendall(b"*1\r\n$4\r\nPING\r\n")
    assert sock.recv(64) == b"+PONG\r\n"
    owner.disconnect()
    assert server.denied() == []


def test_what_is_meant_for_durable_events_is_allowed_on_streams_alone(server):
    for user in ("hub", "worker"):
        with redis.Redis.from_url(server.url(user)) as client:
            pipe = client.pipeline(transaction=True)
            pipe.xadd("hubnet:{default}:stream:a:b", {"body": "x"}, maxlen=10)
            pipe.publish("hubnet:default:event:a:b", "x")
            pipe.execute()
            client.xrevrange("hubnet:{default}:stream:a:b")
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.xadd("hubnet:{other}:stream:a:b", {"body": "x"})


REGISTER = [f"hubnet:{{default}}:{name}" for name in ("peers:a", "leases", "groups", "version")]
FORBIDDEN = [
    ("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0), ("SCRIPT", "LOAD", "return 1"), ("FUNCTION", "LIST"),
    ("FCALL", "f", 0), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SCAN", 0), ("FLUSHALL",), ("ACL", "LIST"), ("CLIENT", "LIST"),
    ("MONITOR",), ("SHUTDOWN", "NOSAVE"), ("SELECT", 1), ("GET", "x"), ("SET", "x", 1),
    ("HSET", "hubnet:{default}:hubs", "a", "b"), ("DEL", "hubnet:{default}:hubs"), ("EXPIRE", "hubnet:{default}:hubs", 1),
    ("HGETALL", "hubnet:{other}:hubs"), *[("HGETALL", key) for key in REGISTER], ("SMEMBERS", REGISTER[2]),
    ("ZADD", REGISTER[1], 1, "a"), ("XADD", "hubnet:{default}:hubs", "*", "a", "b"), ("MIGRATE", "h", 1, "k", 0, 1),
    ("REPLICAOF", "h", 1), ("MODULE", "LIST"), ("SAVE",), ("OBJECT", "ENCODING", REGISTER[0]),
]  # fmt: skip


@pytest.mark.parametrize("command", FORBIDDEN, ids=lambda command: " ".join(map(str, command[:3])))
def test_a_worker_may_not(server, command):
    with redis.Redis.from_url(server.url("worker")) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(
    "command",
    [("CONFIG", "GET", "*"), ("FLUSHALL",), ("KEYS", "*"), ("ACL", "LIST"), ("HGETALL", "hubnet:{other}:hubs"),
     ("HSET", "hubnet:default:peers:a", "a", "b"), ("GET", "x"), ("FUNCTION", "LIST"), ("MODULE", "LIST"), ("SHUTDOWN",),
     ("EVAL", "return 1", "0"), ("SCRIPT", "LOAD", "return 1"), ("EVALSHA", "0" * 40, "0"), ("FUNCTION", "FLUSH")],
    ids=lambda command: " ".join(command[:3]),
)  # fmt: skip
def test_a_hub_may_not(server, command):
    with redis.Redis.from_url(server.url("hub")) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


def test_a_function_that_a_hub_calls_reaches_no_key_outside_of_its_namespace(server):
    with redis.Redis.from_url(server.url("hub")) as client:
        for namespace, allowed in (("default", True), ("other", False)):
            keys = [f"hubnet:{{{namespace}}}:{one}" for one in ("leases", "version")]
            if allowed:
                assert client.fcall(lua.function_of(lua.EXPIRED), 2, *keys)[1:] == [[], None, None]
            else:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.fcall(lua.function_of(lua.EXPIRED), 2, *keys)


def test_nobody_comes_in_without_a_name(server):
    with redis.Redis(port=server.port) as client, pytest.raises(redis.exceptions.RedisError):
        client.ping()


DURABLE = {"multi", "exec", "xadd", "xrevrange", "wait", "info", "time"}  # ARCHITECTURE.md, path 2
GOODBYES = {"unsubscribe", "punsubscribe"}
ANYBODY = {"auth"}  # needs no right


def granted(user: str) -> set[str]:
    (line,) = (line for line in users().splitlines() if line.startswith(f"user {user} "))
    return {word.strip("()")[1:] for word in line.split() if word.startswith("+")}


@pytest.mark.parametrize(("user", "work"), [("hub", do_all_that_a_hub_does), ("worker", do_all_that_a_worker_does)])
def test_a_user_may_do_what_it_does_and_no_more(server, user, work):
    """As the server counted it, commands inside of scripts included."""
    server.admin.config_resetstat()
    work(server)
    seen = server.admin.info("commandstats")
    used = {name.removeprefix("cmdstat_") for name in seen} - ANYBODY - {"config|resetstat", "info"}
    assert used <= granted(user)
    assert granted(user) - used <= DURABLE | GOODBYES
