"""The register's rule and its scripts do the same: one random story is told to both, on a real server and in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubnet.broker import Broker
from hubnet.core.channels import Names
from hubnet.core.register import ANYTHING, Entry, Renewal, Store, mark_of
from hubnet.environment import Settings
from hubnet.memory.broker import MemoryStore, Server
from hubnet.memory.network import Network
from hubnet.scripts import RedisStore

GROUPS, IDS, INCARNATIONS = ["render", "sim"], [b"alice", b"bob", b"carol"], ["11", "22"]
LONG = 3_600_000

group, peer_id, incarnation = st.sampled_from(GROUPS), st.sampled_from(IDS), st.sampled_from(INCARNATIONS)
lease = st.sampled_from([LONG, 0])  # 0: over at once
text = st.sampled_from([None, b"no json", b"[1]", b'"word"', b'{"revision": "2"}', b"{}"])
write = st.tuples(
    st.just("write"), group, peer_id, text, incarnation, st.integers(1, 3), st.sampled_from(["", ANYTHING, "11"]), lease
)
withdraw = st.tuples(st.just("withdraw"), group, peer_id, incarnation, st.booleans())
mark = st.sampled_from(["", mark_of(b"text"), mark_of(json.dumps({"incarnation": "a", "revision": 1}).encode())])
renew = st.tuples(st.just("renew"), st.lists(st.tuples(group, peer_id, mark), max_size=4), st.none() | peer_id, lease)
story = st.lists(write | withdraw | renew, max_size=25)


def tell(store: Store, wish: tuple) -> object:
    """One event of a story, and what the store answers."""
    kind, *more = wish
    if kind == "write":
        where, who, said, born, revision, replaces, lasts = more
        body = said if said is not None else json.dumps({"incarnation": born, "revision": revision}).encode()
        return store.write(Entry(where, who, body, born, revision, replaces), lasts, LONG, "epoch")
    if kind == "withdraw":
        where, who, born, only_if_expired = more
        return store.withdraw(where, who, born, "epoch", only_if_expired=only_if_expired)
    members, hub, lasts = more
    renewed = store.renew([Renewal(*one) for one in members], (hub, b"entry") if hub else None, lasts, LONG)
    return renewed.missing, renewed.epoch == store.late().version.rpartition(":")[0]


def seen(store: Store) -> tuple[object, ...]:
    """What anybody may see afterwards; of the version only how far it went."""
    late = store.late()
    return store.records(), store.hubs(), set(late.since), late.version.rpartition(":")[2]


@pytest.fixture
def redis_store(server) -> Iterator[RedisStore]:
    broker = Broker(Settings(redis_url=server.url))
    one = RedisStore(broker, Names("conformance"))
    yield one
    one.close()


@given(told=story)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_the_scripts_and_the_rule_agree_on_every_story(redis_store, server, told):
    with Broker(Settings(redis_url=server.url)).client() as admin:
        admin.flushall()
    one_process = Server(Network())
    one_process.start()
    memory_store = MemoryStore(one_process, "hub")
    try:
        for wish in told:
            answer = tell(redis_store, wish)
            assert answer == tell(memory_store, wish), wish
            assert wish[0] != "renew" or answer[1], "a renewal tells another register than the version does"
        assert seen(redis_store) == seen(memory_store)
    finally:
        one_process.stop()
