"""A hub's Lua reaches Redis in two ways: as scripts that the hub loads itself, or as functions that somebody loaded for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import redis
from click.testing import CliRunner

from hubnet import lua
from hubnet.broker import Broker
from hubnet.cli.redis import functions
from hubnet.core.channels import Names
from hubnet.core.register import Entry
from hubnet.embedded import EmbeddedServer
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable
from hubnet.redis_url import has_user
from hubnet.scripts import RedisStore
from tests.guarded import DOCKER, TEMPLATE, load_functions

CALLS = {"function": "cmdstat_fcall", "script": "cmdstat_evalsha"}
HOSTILE = f"""#!lua name=hubnet_{lua.VERSION}
local function lie() return 7 end
""" + "\n".join(f"redis.register_function('{lua.function_of(script)}', lie)" for script in lua.SCRIPTS)
ENTRY = Entry("g", b"10.0.0.1:3010 -> g", b'{"incarnation": "' + b"11" * 16 + b'"}', "11" * 16, 1, "")


@pytest.fixture
def open_admin(server: EmbeddedServer, admin: redis.Redis) -> Iterator[redis.Redis]:
    """The server has no functions, one user beside the default one, and room, when a test begins."""
    admin.function_flush()
    line = next(line for line in TEMPLATE.read_text().splitlines() if line.startswith("user hub "))
    admin.execute_command(
        "ACL",
        "SETUSER",
        "hub",
        "reset",
        *[word for word in re.findall(r"\([^)]*\)|\S+", line)[2:] if word[0] != "#"],
        ">hub",
    )
    admin.config_resetstat()
    yield admin
    admin.config_set("maxmemory", 0)
    admin.function_flush()
    admin.acl_deluser("hub")


def store_of(server: EmbeddedServer, user: str = "") -> RedisStore:
    server_at = server.url.rpartition("@")[2]
    url = f"redis://{user}:{user}@{server_at}" if user else server.url
    return RedisStore(Broker(Settings(redis_url=url)), Names("default"))


def called(admin: redis.Redis) -> dict[str, int]:
    """How often each way was gone to its end since the last look."""
    seen = admin.info("commandstats")
    counts = {
        way: seen[name]["calls"] - seen[name]["failed_calls"] if name in seen else 0 for way, name in CALLS.items()
    }
    admin.config_resetstat()
    return counts


def test_without_a_user_a_hub_loads_its_scripts_and_looks_at_no_function(server, open_admin):
    load_functions(server.url)
    store = store_of(server)
    for _ in range(3):
        assert store.late().version == ""
    assert CALLS["function"] not in open_admin.info("commandstats")
    assert called(open_admin)["script"] == 3
    store.close()


def test_functions_that_somebody_else_put_there_do_nothing_to_a_hub_without_a_user(server, open_admin):
    """A function goes by its name alone: whoever writes a Redis without users could replace what hubs run, for good."""
    open_admin.function_load(HOSTILE)
    store = store_of(server)
    assert store.write(ENTRY, 10_000, 10**6, "e")[0] == "written"
    assert list(store.records()["g"]) == [ENTRY.peer_id]
    store.close()


def test_a_user_calls_the_functions_that_were_loaded(server, open_admin):
    load_functions(server.url)
    store = store_of(server, "hub")
    for _ in range(3):
        store.late()
    assert called(open_admin) == {"function": 3, "script": 0}
    assert open_admin.acl_log() == []
    store.close()


def test_a_user_that_may_loads_the_scripts_itself_where_there_are_no_functions(server, open_admin):
    open_admin.execute_command("ACL", "SETUSER", "hub", "+evalsha", "+script|load")
    store = store_of(server, "hub")
    for _ in range(3):
        store.late()
    assert open_admin.info("commandstats")[CALLS["function"]]["calls"] == 1  # tried in the beginning
    assert called(open_admin) == {"function": 0, "script": 3}
    load_functions(server.url)
    open_admin.execute_command("ACL", "SETUSER", "hub", "-evalsha")
    store.late()
    assert called(open_admin) == {"function": 1, "script": 0}
    store.close()


def test_a_default_user_that_may_load_nothing_calls_functions_as_well(server, open_admin):
    load_functions(server.url)
    store = store_of(server)
    open_admin.execute_command("ACL", "SETUSER", "default", "-evalsha")
    try:
        store.late()
        assert called(open_admin) == {"function": 1, "script": 0}
    finally:
        open_admin.execute_command("ACL", "SETUSER", "default", "+evalsha")
        store.close()


def test_every_operation_is_a_function(server, open_admin):
    load_functions(server.url)
    said = repr(open_admin.function_list(f"hubnet_{lua.VERSION}"))
    assert [script for script in lua.SCRIPTS if lua.function_of(script) not in said] == []
    assert said.count("'hubnet_") == len(lua.SCRIPTS) + 1, said


def test_a_hub_that_may_load_no_script_and_finds_no_functions_says_what_to_load_and_goes_on_when_it_is_there(
    server, open_admin
):
    store = store_of(server, "hub")
    with pytest.raises(BrokerUnavailable, match="hubnet redis functions"):
        store.late()
    load_functions(server.url)
    assert store.late().version == ""
    store.close()


@pytest.mark.parametrize("operation", ["write", "withdraw", "renew", "late"])
def test_functions_that_are_not_hubnets_are_told_as_such(server, open_admin, operation):
    open_admin.function_load(HOSTILE)
    store = store_of(server, "hub")
    work = {
        "write": lambda: store.write(ENTRY, 10_000, 10**6, "e"), "late": store.late,
        "withdraw": lambda: store.withdraw("g", ENTRY.peer_id, ENTRY.incarnation, "e", only_if_expired=False),
        "renew": lambda: store.renew([], None, 10_000, 10**6),
    }  # fmt: skip
    if operation == "withdraw":  # a number is an answer to that: not withdrawn
        assert work[operation]() is False
    else:
        with pytest.raises(BrokerUnavailable, match="is not hubnet's: load its functions anew"):
            work[operation]()
    store.close()


def test_the_register_goes_on_by_functions_in_a_redis_that_is_full(server, open_admin):
    """Of durable events, say. Where hubs cannot list nobody is called, and where they cannot renew all are gone."""
    load_functions(server.url)
    store = store_of(server, "hub")
    open_admin.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        open_admin.set("x", "y")
    assert store.write(ENTRY, 10_000, 10**6, "e")[0] == "written"
    assert store.renew([], None, 10_000, 10**6).missing == []
    assert store.late().since == {}
    assert store.withdraw("g", ENTRY.peer_id, ENTRY.incarnation, "e", only_if_expired=False)
    store.close()


def test_what_is_wrong_in_an_operation_is_not_taken_for_a_way_that_is_closed(server, open_admin):
    load_functions(server.url)
    store = store_of(server, "hub")
    open_admin.set(Names("default").leases, "a string")
    assert store.late().since == {}  # cleared away by a function as well
    assert called(open_admin)["script"] == 0
    store.close()


@pytest.mark.parametrize(
    ("url", "user"),
    [("", False), ("redis://h:6379", False), ("redis://:pw@h", False), ("redis://default:pw@h", False),
     ("redis://hub:p%40@h:1/0", True), ("rediss://hub@h", True), ("unix://hub:pw@/run/redis.sock", True),
     ("redis://h?username=hub&password=pw", True), ("unix:///run/a@b.sock", False),
     ("redis+sentinel://hub:pw@s1,s2/service", True), ("redis+sentinel://s1/service?sentinel_username=x", False),
     ("redis+cluster://:pw@n1:7000,n2:7001", False)],
)  # fmt: skip
def test_who_asks_is_read_from_the_url(url, user):
    assert has_user(url) is user


def test_the_file_for_compose_is_what_the_command_prints():
    """Else: hubnet redis functions > docker/redis/functions.lua."""
    printed = CliRunner().invoke(functions).output
    assert printed == lua.library()
    assert (DOCKER / "redis" / "functions.lua").read_text() == printed
