"""What Redis's users may do: of every command that the server has, exactly those of the template; of every key, their own.

That what is allowed is enough, and is used, is shown in ``registry/test_acl.py``. Here the server is asked for all that it
knows, so that a command of a later version, or a slip of the template, shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import redis

from hubnet import lua
from hubnet.core.channels import Names
from tests.guarded import TEMPLATE, Guarded, load_functions, users

USERS = ("hub", "worker", "loader", "health")
WITHOUT_RIGHTS = {"auth", "hello", "quit", "reset"}
"""What Redis allows anybody: to say who it is, and to leave."""
DANGEROUS = [
    "eval", "eval_ro", "evalsha", "evalsha_ro", "script|load", "fcall_ro", "function|restore",
    "function|delete", "function|list", "config|get",
    "config|set", "config|rewrite", "keys", "scan", "randomkey", "flushall", "flushdb", "debug", "module|load", "module|list",
    "acl|setuser", "acl|getuser", "acl|list", "client|kill", "client|list", "monitor", "shutdown", "save", "bgsave", "replicaof",
    "slaveof", "migrate", "restore", "dump", "swapdb", "select", "move", "script|flush", "script|kill", "script|debug",
    "psync", "sync", "failover", "latency|reset", "slowlog|get", "memory|doctor", "object|encoding", "sort", "copy", "rename",
]  # fmt: skip

OTHER_NAMES = [
    "hubnet:{other}:hubs", "hubnet:{other}:leases", "hubnet:{other}:stream:a:b", "hubnet:{other}:peers:render",
    "hubnet:{default2}:hubs", "hubnet:{defaul}:hubs", "hubnet:{DEFAULT}:hubs", "hubnet:default:hubs", "hubnet:{default}",
    "hubnet:{default}hubs", "hubnet:{{default}:hubs", "hubnet:{default}}:hubs", " hubnet:{default}:hubs",
    "ahubnet:{default}:hubs",
    "hubnet:{*}:hubs", "hubnet:*", "*", "", "hubnet", "anything", "{default}:hubs", "hubnet:{other}:{default}:hubs",
    "hubnet:{other}:hubnet:{default}:hubs", "hubnet:{\x00default}:hubs", "hubnet:{default\x00}:hubs",
]  # fmt: skip
KEYLESS = {
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "punsubscribe",
    "publish",
    "ping",
    "info",
    "time",
    "multi",
    "exec",
    "wait",
}
OWN = {"hub": "hubnet:{default}:peers:render", "worker": "hubnet:{default}:stream:render:done"}
HUBS = "hubnet:{default}:hubs"


class Command(NamedTuple):
    """A command as the server has it: with its shortest arguments."""

    name: str
    words: tuple[str, ...]

    @property
    def parts(self) -> list[str]:
        return self.name.split("|")


class Wire:
    """A connection of one user that takes answers as they come, errors as well."""

    def __init__(self, server: Guarded, user: str) -> None:
        self._client = redis.Redis.from_url(server.url(user), decode_responses=True, protocol=2)
        self._connection = self._client.connection_pool.get_connection()

    def ask(self, *words: object) -> Any:
        self._connection.send_command(*words)
        try:
            return self._connection.read_response()
        except redis.exceptions.ResponseError as error:
            return error

    def close(self) -> None:
        self._client.connection_pool.release(self._connection)
        self._client.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if not TEMPLATE.exists():
        pytest.skip("docker/users.acl.template is not here")
    made = Guarded(tmp_path_factory.mktemp("rights"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def admin(server: Guarded) -> Iterator[Wire]:
    wire = Wire(server, "admin")
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def commands(admin: Wire) -> list[Command]:
    """All that the server has; of those that only hold others, the others."""
    found: list[Command] = []
    for said in admin.ask("COMMAND"):
        inner = [Command(one[0], _words(one)) for one in said[9]]
        found += [one for one in inner if not one.name.endswith("|help")] or [Command(said[0], _words(said))]
    return found


def _words(said: Sequence[Any]) -> tuple[str, ...]:
    arity = abs(said[1]) - len(said[0].split("|"))
    return tuple("1" for _ in range(arity))


def granted(user: str) -> set[str]:
    """What the template's line says."""
    (line,) = (line for line in users().splitlines() if line.startswith(f"user {user} "))
    return {word.strip("()")[1:] for word in line.split() if word.startswith("+")}


def may_run(admin: Wire, user: str, command: Command) -> bool:
    """Whether it is allowed the command; its keys and channels are another question."""
    said = admin.ask("ACL", "DRYRUN", user, *command.parts, *command.words)
    assert isinstance(said, str), f"{command}: {said!r}"
    return "no permissions to run" not in said


def _turned_off(command: Command, said: Any) -> bool:
    """What the server's own configuration forbids everybody, before rights are asked for."""
    return command.name.startswith(("debug", "module")) and "command not allowed" in str(said)


# -- 43: commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
def test_of_all_commands_a_user_may_run_exactly_those_of_its_line(admin, commands, user):
    """Attack 43."""
    assert len(commands) > 300  # all of them were asked about
    allowed = {command.name for command in commands if may_run(admin, user, command)}
    assert allowed - WITHOUT_RIGHTS == granted(user)


def test_the_answer_to_whether_one_may_is_believed_of_the_administrator_alone(admin, commands):
    """Else the test above might see nobody do anything."""
    assert all(may_run(admin, "admin", command) for command in commands)


@pytest.mark.parametrize("user", USERS)
def test_what_is_not_in_its_line_is_refused_when_a_user_really_tries(server, commands, user):
    """Attack 43. Each command of the server, sent; none of them is carried out, and the user stays connected."""
    wire = Wire(server, user)
    refused = 0
    for command in commands:
        if command.name in granted(user) | WITHOUT_RIGHTS:
            continue
        said = wire.ask(*command.parts, *command.words)
        no = isinstance(said, redis.exceptions.NoPermissionError) or "NOPERM" in str(said)
        assert no or _turned_off(command, said), f"{command}: {said!r}"
        refused += 1
    assert refused > 300
    said = wire.ask("PING")
    assert said == "PONG" if "ping" in granted(user) else isinstance(said, redis.exceptions.NoPermissionError)
    wire.close()


def test_the_line_of_nobody_has_a_dangerous_command(commands):
    """Attack 43. No scripting but the call of what is loaded; nothing that looks at or changes the server."""
    known = {command.name for command in commands}
    assert not [name for name in DANGEROUS if name not in known and name not in {"slaveof", "swapdb"}]
    for user in USERS:
        assert not granted(user) & set(DANGEROUS)
        assert not [
            name
            for name in granted(user)
            if name.startswith(("config", "acl", "module", "debug", "client", "eval", "script"))
        ]
    assert [user for user in USERS if "fcall" in granted(user)] == ["hub"]
    assert [user for user in USERS if "function|load" in granted(user)] == ["loader"]
    assert granted("loader") == {"function|load"}


def test_no_line_takes_categories_or_passwords_that_anybody_knows():
    """Attack 43. A category grows with the server's version; `nopass` is no password."""
    for line in users().splitlines():
        name, words = line.split()[1], line.split()[2:]
        assert "nopass" not in words
        assert not [word for word in words if word.startswith(("+@", "%", ">")) and name in USERS and word[:3] != "%R~"]
        assert "resetkeys" in words or name not in USERS
        assert "-@all" in words or name not in USERS


LUA = "#!lua name=mine\nredis.register_function('mine', function() return 6 * 7 end)"


@pytest.mark.parametrize(
    "words",
    [("SCRIPT", "LOAD", "return 6 * 7"), ("EVAL", "return 6 * 7", 0), ("EVAL_RO", "return 6 * 7", 0), ("EVALSHA", "DIGEST", 0),
     ("FUNCTION", "LOAD", LUA), ("FUNCTION", "LOAD", "REPLACE", LUA), ("FUNCTION", "RESTORE", "DUMP", "REPLACE")],
    ids=lambda words: " ".join(words[:2]).split(" return")[0],
)  # fmt: skip
def test_a_hubs_user_runs_no_script_but_hubnets_own(server, admin, words):
    """Attack 43. Lua has been the way into the server itself more than once. Nor what somebody else has loaded as a script."""
    made = {"DIGEST": admin.ask("SCRIPT", "LOAD", "return 6 * 7"), "DUMP": server.admin.function_dump()}
    wire = Wire(server, "hub")
    try:
        said = wire.ask(*[made.get(word, word) for word in words])
        assert isinstance(said, redis.exceptions.NoPermissionError), said
        assert isinstance(wire.ask("FCALL", "mine", 0), redis.exceptions.ResponseError)
        keys = [OWN["hub"], *(f"hubnet:{{default}}:{one}" for one in ("leases", "groups", "version", "hubs"))]
        assert wire.ask("FCALL", lua.function_of(lua.EXPIRED), 2, keys[1], keys[3])[1:] == [[], None, None]
    finally:
        wire.close()


def test_who_loads_the_functions_can_call_none_and_look_at_none(server):
    """Attack 43. But what it loads is what hubs call: its password is for the machine of Redis alone."""
    wire, hub = Wire(server, "loader"), Wire(server, "hub")
    name = lua.function_of(lua.EXPIRED)
    try:
        for words in (("FCALL", name, 0), ("FUNCTION", "LIST"), ("FUNCTION", "DELETE", "x"), ("PING",)):
            assert isinstance(wire.ask(*words), redis.exceptions.NoPermissionError)
        other = f"#!lua name=hubnet_{lua.VERSION}\nredis.register_function('{name}', function() return 'other' end)"
        assert wire.ask("FUNCTION", "LOAD", "REPLACE", other) == f"hubnet_{lua.VERSION}"
        assert hub.ask("FCALL", name, 0) == "other"
    finally:
        load_functions(server.url("loader"))
        wire.close()
        hub.close()


# -- 44: keys --------------------------------------------------------------------------------------------------------


Keyed = dict[str, tuple[list[str], int]]


@pytest.fixture(scope="module")
def keyed(admin: Wire, commands: list[Command]) -> Keyed:
    """By name, commands that have a key, and where in them it stands."""
    found: Keyed = {"fcall": (["FCALL", lua.function_of(lua.EXPIRED), "1", "1"], 3)}
    for command in commands:
        words = [*command.parts, *command.words]
        if not isinstance(admin.ask("COMMAND", "GETKEYS", *words), Exception):
            found.setdefault(command.name, (words, admin.ask("COMMAND", "INFO", command.parts[0])[0][3]))
    return found


def about(keyed: Keyed, user: str, key: str) -> Iterator[list[str]]:
    """All that a user may send about a key."""
    assert granted(user) - set(keyed) == granted(user) & KEYLESS
    for name in sorted(granted(user) & set(keyed)):
        words, at = keyed[name]
        yield [*words[:at], key, *words[at + 1 :]]


@pytest.mark.parametrize("user", ["hub", "worker"])
@pytest.mark.parametrize("key", OTHER_NAMES)
def test_no_command_of_a_user_touches_a_key_outside_of_its_namespace(server, admin, keyed, user, key):
    """Attack 44."""
    wire = Wire(server, user)
    for words in about(keyed, user, key):
        assert "no permissions to access" in admin.ask("ACL", "DRYRUN", user, *words), words
        assert isinstance(wire.ask(*words), redis.exceptions.NoPermissionError), words
    wire.close()
    assert admin.ask("EXISTS", key) == 0


@pytest.mark.parametrize("user", ["hub", "worker"])
def test_the_same_commands_are_allowed_on_a_users_own_keys(admin, keyed, user):
    """Else the test above would prove nothing."""
    for words in about(keyed, user, OWN[user]):
        key = HUBS if (user, words[0]) == ("worker", "hgetall") else OWN[user]
        assert admin.ask("ACL", "DRYRUN", user, *[key if word == OWN[user] else word for word in words]) == "OK", words


def test_a_worker_may_read_where_the_hubs_are_and_not_write_it(admin):
    """Attack 44. Nor anything else of its own namespace's register."""
    assert admin.ask("ACL", "DRYRUN", "worker", "HGETALL", HUBS) == "OK"
    for words in (
        ["XADD", HUBS, "*", "a", "b"],
        *(["HGETALL", f"hubnet:{{default}}:{one}"] for one in ("leases", "peers:", "groups")),
    ):
        assert "no permissions to access" in admin.ask("ACL", "DRYRUN", "worker", *words)


@pytest.mark.parametrize(
    "script",
    ["return redis.call('HSET', 'hubnet:{other}:hubs', 'a', 'b')", "return redis.call('DEL', 'hubnet:{other}:hubs')",
     "return redis.call('HGETALL', 'hubnet:{' .. 'other}:hubs')",
     "return redis.pcall('FLUSHALL')", "return redis.call('CONFIG', 'GET', '*')",
     "return redis.call('KEYS', '*')", "return redis.call('EVAL', 'return 1', 0)", "return redis.call('SELECT', 1)"],
)  # fmt: skip
def test_a_function_that_a_hubs_user_calls_may_do_no_more_than_the_user(server, admin, script):
    """Attacks 43 and 44. A key that the function names itself, and was not announced, is judged as well."""
    admin.ask("HSET", "hubnet:{other}:hubs", "field", "value")
    server.admin.function_load(f"#!lua name=strange\nredis.register_function('strange', function() {script} end)")
    wire = Wire(server, "hub")
    try:
        assert isinstance(wire.ask("FCALL", "strange", 0), redis.exceptions.ResponseError)
        assert admin.ask("HGETALL", "hubnet:{other}:hubs") == ["field", "value"]
    finally:
        wire.close()
        server.admin.function_delete("strange")
        admin.ask("DEL", "hubnet:{other}:hubs")


def test_a_transaction_of_a_worker_may_do_no_more_than_its_commands(server):
    """Attack 44. What is refused in it spoils all of it."""
    wire = Wire(server, "worker")
    assert wire.ask("MULTI") == "OK"
    assert isinstance(wire.ask("XADD", "hubnet:{other}:stream:a:b", "*", "a", "b"), redis.exceptions.NoPermissionError)
    assert isinstance(wire.ask("EXEC"), redis.exceptions.ExecAbortError)
    wire.close()


def test_all_that_hubnet_names_in_redis_is_within_its_hubs_pattern(admin):
    """Attack 44, from the other end: no name of ours, however its group is called, is in another namespace's reach."""
    names = Names("default")
    for group in ("render", "", "}:x", "a:b", "{other}", "*", "é\0"):
        for key in (names.peers(group), names.leases, names.hubs, names.groups, names.version):
            assert admin.ask("ACL", "DRYRUN", "hub", "HGETALL", key) == "OK"
            assert key.startswith("hubnet:{default}:")
        for key in (Names("other").peers(group), Names("default.x").peers(group), Names("default-x").hubs):
            assert "no permissions to access" in admin.ask("ACL", "DRYRUN", "hub", "HGETALL", key)


ELSEWHERE = [
    Names("other").event("render", "done"),
    "__sentinel__:hello",
    "__keyevent@0__:del",
    "hubnet:defaul",
    "*",
    "x",
]


@pytest.mark.parametrize("user", ["hub", "worker"])
@pytest.mark.parametrize("channel", ELSEWHERE)
def test_no_channel_of_another_namespace_or_purpose_is_open_to_a_user(server, admin, user, channel):
    """Attack 44. Sentinels go where a channel of theirs says: who may publish there chooses the master."""
    for command in (["PUBLISH", channel, "event"], ["SUBSCRIBE", channel]):
        assert "no permissions to access" in admin.ask("ACL", "DRYRUN", user, *command)
    wire = Wire(server, user)
    assert isinstance(wire.ask("PUBLISH", channel, "event"), redis.exceptions.NoPermissionError)
    wire.close()
    own = Names("default").event("render", "done")
    for command in (["PUBLISH", own, "event"], ["SUBSCRIBE", own], ["SUBSCRIBE", Names("default").presence]):
        assert admin.ask("ACL", "DRYRUN", user, *command) == "OK"


@pytest.mark.parametrize("user", ["hub", "worker"])
def test_a_pattern_of_another_namespace_may_be_listened_to(admin, user):
    """Attack 44, its limit: Redis takes a PSUBSCRIBE only where the very pattern is allowed. What is heard is signed."""
    for names in (Names("default"), Names("other")):
        assert admin.ask("ACL", "DRYRUN", user, "PSUBSCRIBE", names.event_everywhere("done")) == "OK"
