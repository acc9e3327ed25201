"""The register's scripts on a real server: what they let in, keep, refuse and forget."""

from __future__ import annotations

import json
import logging
from typing import Any
from unittest import mock

import pytest

from hubnet import registry as registry_room
from hubnet.core import signing
from hubnet.core.identity import decode_id, generate_id
from hubnet.core.keys import Keyring, new_token
from hubnet.core.membership import HubEntry
from hubnet.counters import Counters
from hubnet.errors import BrokerUnavailable
from tests.registry.conftest import LEASE, SUSPECT, TOKEN
from tests.waiting import eventually

ALICE = generate_id(3010, "10.0.0.1", "render")
BOB = generate_id(3011, "10.0.0.1", "render")
CAROL = generate_id(3012, "10.0.0.1", "sim")
HUB = generate_id(3000, "10.0.0.9", "hubs")
FIRST, SECOND = "11" * 16, "22" * 16
KEYS = {
    b"hubnet:{default}:peers:render",
    b"hubnet:{default}:leases",
    b"hubnet:{default}:groups",
    b"hubnet:{default}:version",
    b"hubnet:{default}:hubs",
}
RENDER = "hubnet:{default}:peers:render"


def record(peer_id: bytes = ALICE, incarnation: str = FIRST, revision: int = 1, **more: Any) -> dict[str, Any]:
    where = decode_id(peer_id)
    said = {"id": peer_id.decode(), "host": where.host, "port": where.port, "group": where.group}
    return {**said, "incarnation": incarnation, "revision": revision, **more}


def entry(hub: bytes = HUB, incarnation: str = FIRST) -> tuple[bytes, dict[str, Any]]:
    where = decode_id(hub)
    return hub, {"host": where.host, "port": where.port, "incarnation": incarnation}


def redis_now(admin) -> float:
    seconds, micros = admin.time()
    return seconds + micros / 1e6


def end_lease(admin, peer_id: bytes, ago: float = 1.0) -> None:
    """As if the lease had ended, by the server's clock."""
    admin.zadd("hubnet:{default}:leases", {peer_id: int((redis_now(admin) - ago) * 1000)})


# -- writing ---------------------------------------------------------------------------------------------------------


def test_a_written_record_is_listed_as_it_was(registry):
    said = record(load=0.5, tags=["a", "é"])
    assert registry.write(ALICE, said) == ("written", None)
    assert registry.snapshot().records == {ALICE: said}


def test_a_record_in_redis_is_readable_signed_json(registry, admin):
    registry.write(ALICE, record())
    stored = json.loads(admin.hgetall(RENDER)[ALICE])
    assert stored.pop("signature")
    assert stored == record()


def test_an_id_that_another_incarnation_holds_is_refused_and_its_holder_named(registry):
    registry.write(ALICE, record())
    written = registry.write(ALICE, record(incarnation=SECOND))
    assert written == ("held", record())
    assert registry.snapshot().records[ALICE]["incarnation"] == FIRST


def test_an_incarnation_that_is_known_to_be_gone_is_written_over(registry):
    registry.write(ALICE, record())
    assert registry.write(ALICE, record(incarnation=SECOND), replaces=FIRST).outcome == "written"
    assert registry.snapshot().records[ALICE]["incarnation"] == SECOND


def test_what_replaces_a_third_incarnation_is_refused(registry):
    registry.write(ALICE, record(incarnation=SECOND))
    assert registry.write(ALICE, record(incarnation="33" * 16), replaces=FIRST).outcome == "held"


def test_an_older_revision_does_not_replace_a_newer_one(registry):
    registry.write(ALICE, record(revision=5, state="open"))
    assert registry.write(ALICE, record(revision=4)) == ("older", record(revision=5, state="open"))
    assert registry.write(ALICE, record(revision=5, state="paused")).outcome == "written"
    assert registry.write(ALICE, record(revision=6, state="draining")).outcome == "written"
    assert registry.snapshot().records[ALICE]["state"] == "draining"


def test_a_restarted_peer_begins_its_revisions_anew(registry):
    registry.write(ALICE, record(revision=50))
    assert registry.write(ALICE, record(incarnation=SECOND, revision=1), replaces=FIRST).outcome == "written"


def test_a_hub_whose_record_was_older_does_not_miss_it_where_the_newer_one_stands(registry, open_registry):
    other = open_registry()
    registry.write(ALICE, record(revision=1))
    assert other.write(ALICE, record(revision=2)).outcome == "written"
    assert registry.write(ALICE, record(revision=1)).outcome == "older"
    assert registry.renew([ALICE], ours=True) == []
    assert other.renew([ALICE], ours=True) == []


def test_a_record_that_somebody_changed_is_missed_also_after_a_withdrawal_in_vain(registry, admin):
    registry.write(ALICE, record())
    assert not registry.withdraw(ALICE, FIRST, only_if_expired=True)
    (key,) = admin.keys("*:peers:*")
    admin.hset(key, ALICE, b"junk")
    assert registry.renew([ALICE], ours=True) == [ALICE]


def test_two_groups_may_have_the_same_address(registry):
    twin = generate_id(3010, "10.0.0.1", "sim")
    registry.write(ALICE, record())
    assert registry.write(twin, record(twin, SECOND)).outcome == "written"
    assert set(registry.snapshot().records) == {ALICE, twin}


# -- withdrawing -----------------------------------------------------------------------------------------------------


def test_a_withdrawn_record_is_gone_from_every_key(registry, admin):
    registry.write(ALICE, record())
    registry.renew([ALICE], entry(ALICE))
    assert registry.withdraw(ALICE, FIRST)
    assert registry.snapshot().records == {}
    assert registry.hubs() == []
    assert set(admin.keys()) == {b"hubnet:{default}:version"}


def test_only_the_same_incarnation_withdraws(registry):
    registry.write(ALICE, record())
    assert not registry.withdraw(ALICE, SECOND)
    assert not registry.withdraw(BOB, FIRST)
    assert list(registry.snapshot().records) == [ALICE]
    assert registry.withdraw(ALICE, FIRST)
    assert not registry.withdraw(ALICE, FIRST)


def test_a_late_withdrawal_does_not_remove_the_restarted_peer(registry):
    registry.write(ALICE, record())
    registry.write(ALICE, record(incarnation=SECOND), replaces=FIRST)
    assert not registry.withdraw(ALICE, FIRST)
    assert registry.snapshot().records[ALICE]["incarnation"] == SECOND
    assert registry.renew([ALICE]) == []


def test_a_sweep_removes_only_what_has_expired(registry, admin):
    registry.write(ALICE, record())
    assert not registry.withdraw(ALICE, FIRST, only_if_expired=True)
    end_lease(admin, ALICE)
    assert registry.withdraw(ALICE, FIRST, only_if_expired=True)


def test_a_renewal_that_crosses_a_sweep_wins(registry, admin):
    registry.write(ALICE, record())
    end_lease(admin, ALICE)
    assert ALICE in registry.snapshot().silent_for
    registry.renew([ALICE])
    assert not registry.withdraw(ALICE, FIRST, only_if_expired=True)


def test_a_record_that_redis_forgot_before_its_lease_is_withdrawn_all_the_same(registry, admin):
    registry.write(ALICE, record())
    before = registry.snapshot().version
    admin.delete(RENDER)
    assert not registry.withdraw(ALICE, FIRST, only_if_expired=True)  # it may be written again any moment
    end_lease(admin, ALICE)
    assert registry.withdraw(ALICE, FIRST, only_if_expired=True)
    assert registry.snapshot() == (registry.snapshot().version, {}, {})
    assert registry.snapshot().version != before
    assert not registry.withdraw(ALICE, FIRST)


def test_a_group_is_forgotten_with_its_last_peer(registry, admin):
    registry.write(ALICE, record())
    registry.write(BOB, record(BOB))
    registry.withdraw(ALICE, FIRST)
    assert admin.smembers("hubnet:{default}:groups") == {b"render"}
    registry.withdraw(BOB, FIRST)
    assert admin.smembers("hubnet:{default}:groups") == set()


# -- leases ----------------------------------------------------------------------------------------------------------


def test_leases_run_by_the_servers_clock(registry, admin):
    registry.write(ALICE, record())
    until = admin.zscore("hubnet:{default}:leases", ALICE) / 1000
    assert until == pytest.approx(redis_now(admin) + LEASE, abs=2)


def test_a_record_whose_lease_ended_stays_listed_with_the_time_since(registry, admin):
    registry.write(ALICE, record())
    registry.write(BOB, record(BOB))
    end_lease(admin, ALICE, ago=7.0)
    seen = registry.snapshot()
    assert set(seen.records) == {ALICE, BOB}
    assert set(seen.silent_for) == {ALICE}
    assert seen.silent_for[ALICE] == pytest.approx(7.0, abs=2)


def test_a_lease_ends_by_itself(open_registry):
    registry = open_registry(lease=0.05)
    registry.write(ALICE, record())
    eventually(lambda: ALICE in registry.snapshot().silent_for)


def test_renewing_ends_a_silence(registry, admin):
    registry.write(ALICE, record())
    end_lease(admin, ALICE)
    assert registry.renew([ALICE]) == []
    assert registry.snapshot().silent_for == {}


def test_renewing_returns_those_that_had_gone_in_order_and_renews_the_others(registry, admin):
    registry.write(BOB, record(BOB))
    end_lease(admin, BOB)
    assert registry.renew([ALICE, BOB, CAROL]) == [ALICE, CAROL]
    assert registry.snapshot().silent_for == {}
    assert registry.renew([]) == []


def test_renewing_brings_back_nobody_who_has_left(registry):
    registry.write(ALICE, record())
    registry.withdraw(ALICE, FIRST)
    assert registry.renew([ALICE]) == [ALICE]
    assert registry.snapshot().silent_for == {}


def test_renewing_alone_does_not_change_the_version(registry):
    registry.write(ALICE, record())
    before = registry.snapshot().version
    registry.renew([ALICE], entry())
    assert registry.snapshot().version == before


def test_a_thousand_peers_are_renewed_in_one_command(registry, admin):
    ids = [generate_id(port, "10.0.0.1", "render") for port in range(1, 1001)]
    for peer_id in ids[::100]:
        registry.write(peer_id, record(peer_id))
    admin.config_resetstat()
    missing = registry.renew(ids, entry())
    assert len(missing) == 990
    calls = {name: seen["calls"] for name, seen in admin.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] <= 2  # a second time when the script was not loaded yet


# -- versions and the cache ------------------------------------------------------------------------------------------


def test_the_version_changes_with_every_write_and_withdrawal(registry):
    versions = [registry.snapshot().version]
    for change in (
        lambda: registry.write(ALICE, record()),
        lambda: registry.write(ALICE, record(revision=2)),
        lambda: registry.write(BOB, record(BOB)),
        lambda: registry.withdraw(ALICE, FIRST),
    ):
        change()
        versions.append(registry.snapshot().version)
    assert len(set(versions)) == len(versions)


def test_records_are_read_again_only_when_the_version_changed(registry, admin):
    registry.write(ALICE, record())
    registry.snapshot()
    admin.config_resetstat()
    for _ in range(5):
        registry.snapshot()
    assert "cmdstat_hgetall" not in admin.info("commandstats")
    registry.write(BOB, record(BOB))
    assert set(registry.snapshot().records) == {ALICE, BOB}


def test_another_hub_sees_every_change(open_registry):
    one, other = open_registry(), open_registry()
    one.write(ALICE, record())
    assert list(other.snapshot().records) == [ALICE]
    assert one.snapshot().version == other.snapshot().version
    one.withdraw(ALICE, FIRST)
    assert other.snapshot().records == {}


def test_an_empty_register_is_not_taken_for_the_last_one(registry, admin):
    registry.write(ALICE, record())
    registry.snapshot()
    admin.flushall()
    assert registry.snapshot().records == {}


def test_a_register_that_redis_lost_and_got_again_is_read_again(registry, admin):
    registry.write(ALICE, record())
    registry.write(BOB, record(BOB))
    assert set(registry.snapshot().records) == {ALICE, BOB}
    admin.flushall()
    registry.write(BOB, record(BOB))
    registry.write(CAROL, record(CAROL))
    assert set(registry.snapshot().records) == {BOB, CAROL}


def test_scripts_that_the_server_forgot_are_loaded_again(registry, admin):
    registry.write(ALICE, record())
    admin.script_flush()
    assert registry.renew([ALICE]) == []
    assert list(registry.snapshot().records) == [ALICE]


# -- hubs ------------------------------------------------------------------------------------------------------------


def test_a_hub_signs_itself_in_as_it_renews(registry):
    registry.write(HUB, record(HUB))
    registry.renew([HUB], entry())
    (seen,) = registry.hubs()
    assert seen == HubEntry(HUB, "10.0.0.9", 3000, bytes.fromhex(FIRST), seen.renewed)


def test_a_hubs_entry_says_when_it_was_renewed_from_the_first_on(registry, admin):
    registry.write(HUB, record(HUB))
    registry.renew([HUB], entry())
    assert registry.hubs()[0].renewed == pytest.approx(redis_now(admin), abs=2)


def test_a_hubs_entry_follows_its_renewals(registry, admin):
    registry.write(HUB, record(HUB))
    for _ in range(2):
        registry.renew([HUB], entry())
    assert registry.hubs()[0].renewed == pytest.approx(redis_now(admin), abs=2)


def test_a_withdrawn_hub_is_no_hub_any_more(registry):
    registry.write(HUB, record(HUB))
    registry.renew([HUB], entry())
    registry.withdraw(HUB, FIRST)
    assert registry.hubs() == []


def test_a_forged_hub_is_not_believed(registry, open_registry, admin, caplog):
    forger = open_registry(secrets=(new_token(bytes(32)),))
    forger.renew([], entry(BOB))
    admin.hset("hubnet:{default}:hubs", "junk", "junk")
    registry.renew([], entry(HUB))
    with caplog.at_level(logging.WARNING, "hubnet"):
        assert [seen.peer_id for seen in registry.hubs()] == [HUB]
    assert "without a valid signature" in caplog.text


def test_each_record_and_each_hub_that_is_not_believed_is_counted(open_registry, admin):
    counters = Counters()
    registry = open_registry(counters=counters)
    registry.write(ALICE, record())
    assert counters.snapshot() == {}
    admin.hset(RENDER, BOB, admin.hget(RENDER, ALICE))
    admin.hincrby("hubnet:{default}:version", "counter", 1)
    assert list(registry.snapshot().records) == [ALICE]
    assert counters.snapshot() == {"records.rejected": 1}
    admin.hset("hubnet:{default}:hubs", HUB, "junk")
    assert registry.hubs() == []
    assert counters.snapshot() == {"records.rejected": 2}


def test_a_record_is_no_hubs_entry(registry, admin):
    registry.write(HUB, record(HUB))
    admin.hset("hubnet:{default}:hubs", HUB, admin.hget("hubnet:{default}:peers:hubs", HUB))
    assert registry.hubs() == []


# -- what others wrote -----------------------------------------------------------------------------------------------


def touch(admin) -> None:
    """Make hubs read again."""
    admin.hincrby("hubnet:{default}:version", "counter", 1)


def test_a_tampered_record_is_ignored_and_told(registry, admin, caplog):
    registry.write(ALICE, record())
    registry.write(BOB, record(BOB))
    admin.hset(RENDER, ALICE, admin.hget(RENDER, ALICE).replace(b"10.0.0.1", b"10.6.6.6"))
    touch(admin)
    with caplog.at_level(logging.WARNING, "hubnet"):
        assert list(registry.snapshot().records) == [BOB]
    assert RENDER in caplog.text


@pytest.mark.parametrize("junk", [b"", b"junk", b"{}", b"[]", b"null", b"\xff\xfe", b'{"signature": 5}'])
def test_junk_in_a_field_is_ignored(registry, admin, junk):
    registry.write(BOB, record(BOB))
    admin.hset(RENDER, ALICE, junk)
    touch(admin)
    assert list(registry.snapshot().records) == [BOB]


@pytest.mark.parametrize(
    ("field", "junk"),
    [
        pytest.param(
            b"\xff\xfe",
            b"{}",
            id="a field that is no text",
        ),
        pytest.param(ALICE, b"[" * 100_000, id="deeply nested"),
    ],
)
def test_worse_junk_is_ignored_as_well(registry, admin, field, junk):
    registry.write(BOB, record(BOB))
    admin.hset(RENDER, field, junk)
    touch(admin)
    assert list(registry.snapshot().records) == [BOB]


@pytest.mark.parametrize("junk", [b"", b"junk", b"[1]", b"5", b'"text"'])
def test_junk_in_a_field_does_not_keep_its_peer_out(registry, admin, junk):
    admin.hset(RENDER, ALICE, junk)
    assert registry.write(ALICE, record()).outcome == "written"
    assert registry.snapshot().records == {ALICE: record()}


@pytest.mark.parametrize("junk", [b"", b"junk", b"[1]", b"5", b'"text"'])
def test_junk_in_a_field_does_not_stop_a_withdrawal(registry, admin, junk):
    registry.write(ALICE, record())
    admin.hset(RENDER, ALICE, junk)
    assert registry.withdraw(ALICE, FIRST) in {True, False}
    assert registry.snapshot().records == {}


def test_a_record_that_nobody_can_verify_does_not_keep_its_peer_out(registry, admin):
    """Left by a forger, or by the peer itself under a secret that was rotated out meanwhile."""
    admin.hset(RENDER, ALICE, json.dumps(record(incarnation=SECOND)))
    assert registry.write(ALICE, record()).outcome == "written"
    assert registry.snapshot().records == {ALICE: record()}


def test_a_record_moved_to_another_field_or_key_is_ignored(registry, admin):
    registry.write(ALICE, record())
    text = admin.hget(RENDER, ALICE)
    admin.hset(RENDER, BOB, text)
    admin.hset("hubnet:{default}:peers:sim", ALICE, text)
    admin.sadd("hubnet:{default}:groups", "sim")
    touch(admin)
    assert registry.snapshot().records == {ALICE: record()}
    admin.hdel(RENDER, ALICE)
    touch(admin)
    assert registry.snapshot().records == {}


def test_a_record_moved_to_another_namespace_is_ignored(registry, open_registry, admin):
    other = open_registry(namespace="other")
    registry.write(ALICE, record())
    admin.hset("hubnet:{other}:peers:render", ALICE, admin.hget(RENDER, ALICE))
    admin.sadd("hubnet:{other}:groups", "render")
    assert other.snapshot().records == {}


def test_a_hub_of_another_secret_sees_nothing_of_ours(registry, open_registry):
    registry.write(ALICE, record())
    assert open_registry(secrets=(new_token(bytes(32)),)).snapshot().records == {}


def test_a_hub_that_accepts_both_secrets_reads_records_of_either(registry, open_registry):
    other = new_token(bytes(32))
    registry.write(ALICE, record())
    both = open_registry(secrets=(other, TOKEN))
    both.write(BOB, record(BOB))
    assert set(both.snapshot().records) == {ALICE, BOB}


OTHER_KINDS = {
    "text": lambda admin, key: admin.set(key, b"\x80\x04."),
    "a list": lambda admin, key: admin.rpush(key, b"junk"),
    "a hash": lambda admin, key: admin.hset(key, "junk", "junk"),
    "a sorted set": lambda admin, key: admin.zadd(key, {"junk": 1}),
    "a set": lambda admin, key: admin.sadd(key, "junk"),
    "a stream": lambda admin, key: admin.xadd(key, {"junk": "junk"}),
}


KINDS = dict.fromkeys(sorted(key.decode() for key in KEYS), "a hash") | {
    "hubnet:{default}:leases": "a sorted set",
    "hubnet:{default}:groups": "a set",
}


@pytest.mark.parametrize(("key", "kind"), [(key, kind) for key in KINDS for kind in OTHER_KINDS if kind != KINDS[key]])
def test_a_key_of_another_kind_is_cleared_away_and_what_stood_there_written_again(registry, admin, caplog, key, kind):
    """As a hub goes round: it renews, writes what is missed, and looks."""
    registry.write(HUB, record(HUB))
    registry.write(ALICE, record())
    registry.renew([HUB, ALICE], entry(), ours=True)
    admin.delete(key)
    OTHER_KINDS[kind](admin, key)
    with caplog.at_level(logging.WARNING, "hubnet"):
        for peer_id in registry.renew([HUB, ALICE], entry(), ours=True):
            registry.write(peer_id, record(peer_id))
        assert {HUB, ALICE} <= set(registry.snapshot().records)
    assert [seen.peer_id for seen in registry.hubs()] == [HUB]
    assert registry.renew([HUB, ALICE], entry(), ours=True) == []
    assert f"{key} was of another kind" in caplog.text


@pytest.mark.parametrize("put", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_a_group_whose_records_are_of_another_kind_hides_no_other_group(registry, admin, put):
    registry.write(ALICE, record())
    put(admin, "hubnet:{default}:peers:sim")
    admin.sadd("hubnet:{default}:groups", "sim")
    touch(admin)
    assert list(registry.snapshot().records) == [ALICE]


@pytest.mark.parametrize("counter", [b"junk", b"", b"\xff\xfe", b"9223372036854775807", b"1.5"])
def test_a_version_that_cannot_be_counted_is_begun_anew(registry, admin, counter):
    registry.write(ALICE, record())
    admin.hset("hubnet:{default}:version", mapping={"counter": counter, "epoch": b"\xff"})
    assert list(registry.snapshot().records) == [ALICE]
    assert registry.write(BOB, record(BOB)).outcome == "written"
    assert set(registry.snapshot().records) == {ALICE, BOB}
    assert registry.withdraw(BOB, FIRST)
    assert set(registry.snapshot().records) == {ALICE}


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"", b"junk", b"}:x"])
def test_a_group_that_somebody_made_up_is_ignored(registry, admin, junk):
    registry.write(ALICE, record())
    admin.sadd("hubnet:{default}:groups", junk)
    touch(admin)
    assert list(registry.snapshot().records) == [ALICE]


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"", b"junk", b"a" * 100_000])
def test_a_lease_of_what_is_no_peer_id_is_taken_away_as_any_whose_record_is_missing(registry, admin, junk):
    registry.write(ALICE, record())
    end_lease(admin, junk)
    assert set(registry.snapshot().silent_for) == {junk}
    assert registry.withdraw(junk, "", only_if_expired=True)
    assert registry.snapshot().silent_for == {}


# -- keys ------------------------------------------------------------------------------------------------------------


def test_keys_carry_the_namespace_in_literal_braces_and_all_expire(registry, admin):
    registry.write(ALICE, record())
    registry.renew([ALICE], entry())
    assert set(admin.keys()) == KEYS
    limit = (SUSPECT + 2 * LEASE + 86_400) * 1000  # a day more: the clock of Redis may be set ahead
    for key in KEYS:
        assert limit - 5000 < admin.pttl(key) <= limit


def test_renewing_moves_the_expiry_of_every_key_along(registry, admin):
    registry.write(ALICE, record())
    registry.renew([ALICE], entry())
    for key in KEYS:
        admin.pexpire(key, 60_000)
    registry.renew([ALICE], entry())
    assert all(admin.pttl(key) > 3_000_000 for key in KEYS)


def test_every_change_leaves_no_key_without_an_expiry(registry, admin):
    def all_expire():
        return all(admin.pttl(key) > 0 for key in admin.scan_iter())

    for change in (
        lambda: registry.write(ALICE, record()),
        lambda: registry.write(CAROL, record(CAROL)),
        lambda: registry.renew([ALICE, CAROL], entry()),
        lambda: registry.withdraw(ALICE, FIRST),
        lambda: registry.renew([], entry()),
        lambda: registry.withdraw(CAROL, FIRST),
        registry.snapshot,
    ):
        change()
        assert all_expire()


def test_namespaces_on_one_server_do_not_touch_each_other(registry, open_registry, admin):
    other = open_registry(namespace="other")
    registry.write(ALICE, record())
    other.write(ALICE, record(incarnation=SECOND))
    assert registry.snapshot().records[ALICE]["incarnation"] == FIRST
    assert other.snapshot().records[ALICE]["incarnation"] == SECOND
    other.withdraw(ALICE, SECOND)
    assert list(registry.snapshot().records) == [ALICE]


GROUPS = [
    "None", "a b", "a:b", "a/b", "{a}", "a}b{", "50%", "%41", "a*b", "[a-z]", "a\\b", "é", "名前", "a\nb", "a\0b", "🎬",
    "g" * 200, "名" * 200, "..", "-> ", " -> x", "'\"", "|", "hubs",
]  # fmt: skip


@pytest.mark.parametrize("group", GROUPS, ids=ascii)
def test_a_group_of_any_name_is_written_listed_renewed_and_withdrawn(registry, admin, group):
    peer_id = generate_id(3010, "::1", group)
    said = record(peer_id)
    assert registry.write(peer_id, said).outcome == "written"
    assert registry.snapshot().records == {peer_id: said}
    assert registry.renew([peer_id], entry(peer_id)) == []
    for key in admin.scan_iter():
        assert key.isascii()
        assert key.startswith(b"hubnet:{default}:")
        assert key.count(b"{") == key.count(b"}") == 1
    assert registry.withdraw(peer_id, FIRST)
    assert registry.snapshot().records == {}
    assert admin.keys() == [b"hubnet:{default}:version"]


def test_groups_with_similar_names_do_not_mix(registry):
    ids = [generate_id(3010, "h", group) for group in GROUPS]
    for peer_id in ids:
        registry.write(peer_id, record(peer_id))
    assert set(registry.snapshot().records) == set(ids)
    for peer_id in ids[::2]:
        registry.withdraw(peer_id, FIRST)
    assert set(registry.snapshot().records) == set(ids[1::2])


# -- out of reach ----------------------------------------------------------------------------------------------------


def test_a_register_out_of_reach_is_told_without_its_password(open_registry):
    registry = open_registry(url="redis://:hidden-word@127.0.0.1:1/0")
    for ask in (registry.snapshot, registry.hubs, lambda: registry.write(ALICE, record()), lambda: registry.renew([])):
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1") as caught:
            ask()
        assert "hidden-word" not in str(caught.value)


def test_a_connection_that_the_server_closed_is_opened_anew(registry, admin):
    registry.write(ALICE, record())
    for client in admin.client_list(_type="normal"):
        if client["id"] != str(admin.client_id()):
            admin.client_kill_filter(_id=client["id"])
    try:
        registry.snapshot()
    except BrokerUnavailable:
        pass
    assert list(registry.snapshot().records) == [ALICE]


def test_a_closed_register_may_be_closed_again_and_asked_again(registry):
    registry.close()
    registry.close()
    assert registry.snapshot().records == {}


def test_signatures_bind_key_and_field():
    """The place is what the register signs: should it change, running nets would not read each other's records."""
    ring = Keyring.of([TOKEN], "default")
    text = signing.sign(record(), f"{RENDER}|{ALICE.decode()}", ring)
    assert signing.verify(text, "hubnet:{default}:peers:render|" + ALICE.decode(), ring) == record()


@pytest.mark.parametrize("told_at", [0.0, 50.0])
def test_an_answer_that_was_long_under_way_is_no_clock_that_was_set(open_registry, monkeypatch, told_at: float):
    """On a busy machine a hub has its answer some leases later, of the beginning of that time or of its end."""
    registry = open_registry()
    registry.snapshot()
    before = registry.clock
    monkeypatch.setattr(registry_room, "time", mock.Mock(monotonic=lambda: 1050.0))
    registry._told((1000.0 + told_at + before.ahead) * 1000, asked=1000.0)
    assert not registry.clock.was_set(before, LEASE)
    assert registry.clock._replace(ahead=before.ahead + 3600).was_set(before, LEASE)
    assert registry.clock._replace(ahead=before.ahead - 3600).was_set(before, LEASE)


def test_whom_a_hub_has_in_its_last_snapshot_it_knows_without_asking_a_redis_that_may_not_answer(
    open_registry, monkeypatch
):
    """A cut network drops packets, and who is asked for a look has less time than it takes to give Redis up."""
    registry, other = open_registry(), open_registry()
    registry.write(ALICE, record())
    assert registry.known(ALICE) == other.known(ALICE)
    asked = []
    monkeypatch.setattr(registry._store, "late", lambda: asked.append("late"))
    assert registry.known(ALICE)["incarnation"] == FIRST
    assert asked == []
