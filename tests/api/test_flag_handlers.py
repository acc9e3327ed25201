"""Flags in every situation, and what every peer serves by itself: whose handler runs, what it is told, what is never a flag."""

from __future__ import annotations

import pytest

from .conftest import Actor, Net, Raised
from .witness import id_of, path_tag

APP = """
    import asyncio, threading

    handled = []

    def handler(name):
        def handle(connection, foreign_peer_id):
            handled.append((name, connection, foreign_peer_id))
            return "handled here", name
        return hubnet.flag(name)(handle)

    for name in ("RETRY", "LATER", "any text: \\u5317 -> 1", " ", "x" * 4096):
        handler(name)

    @hubnet.connect()
    def answer(name):
        return hubnet.Peer().get_flag(name)

    @hubnet.connect("answer, later")
    async def answer_later(name):
        await asyncio.sleep(0)
        return hubnet.Peer().get_flag(name)

    @hubnet.connect("every other")
    def every_other(n):
        return hubnet.Peer().get_flag("RETRY") if n % 2 else n

    @hubnet.connect("second time")
    def second_time(key):
        tried.append(key)
        return hubnet.Peer().get_flag("AGAIN") if tried.count(key) == 1 else ("done", key)

    tried = []

    @hubnet.connect("ask further")
    def ask_further(name, target):
        return answer(name, peer=target)

    @hubnet.connect("ask further, and pass it on")
    def pass_on(name, target):
        answer(name, peer=target)
        return hubnet.Peer().get_flag(name)

    @hubnet.connect("NULL")
    def named_null(value="NULL"):
        return value

    @hubnet.connect("RETRY")
    def named_retry(value="RETRY"):
        return value

    @hubnet.connect("contents")
    def contents(kind):
        flag = hubnet.Peer().get_flag("RETRY")
        return {"list": [flag], "tuple": (flag, {}), "dict": {"flag": flag, flag: 1}, "deep": [[{"a": (flag,)}]]}[kind]

    class Forged:
        name = "RETRY"
        def __init__(self, how): self.how = how
        def __eq__(self, other): return True
        def __hash__(self): return hash(hubnet.Peer().get_flag("RETRY"))
        def __str__(self): return "RETRY"
        __repr__ = __str__

    class Reduced:
        "What becomes a flag when it is rebuilt."
        def __reduce__(self): return type(hubnet.Peer().get_flag("RETRY")), ("RETRY",)

    @hubnet.connect("forged")
    def forged(how):
        kind = type(hubnet.Peer().get_flag("RETRY"))
        if how == "a subclass":
            return type("Flag", (kind,), {"__module__": "__main__"})("RETRY")
        return {"an object that equals any": Forged(1), "its class": kind, "rebuilt as one": Reduced()}[how]

    @hubnet.connect("told who I am")
    def told_who():
        return hubnet.info(), hubnet.connections().keys() == hubnet.connections(peer=hubnet.Peer().id).keys()
"""


@pytest.fixture(scope="module")
def peers(shared: Net) -> dict[str, Actor]:
    """Two that answer and one that calls, each with handlers of its own, and a hub."""
    return {
        "hub": shared.hub(APP, HUBNET_GROUP="hubs"),
        "one": shared.worker(APP, HUBNET_GROUP="one"),
        "two": shared.worker(APP, HUBNET_GROUP="two"),
        "caller": shared.worker(APP, HUBNET_GROUP="callers"),
    }


@pytest.fixture
def caller(peers: dict[str, Actor]) -> Actor:
    """The one that calls; it knows the others by their names."""
    for name in ("one", "two", "hub"):
        peer_id = id_of(peers[name])
        peers["caller"].run(f"{name} = hubnet.RemotePeer({peer_id!r}, hubnet.peers()['peers'][{peer_id!r}])")
    for actor in peers.values():
        actor.run("del handled[:], tried[:]")
    return peers["caller"]


def friendly(actor: Actor) -> dict[str, object]:
    """What it says of itself."""
    said: dict[str, object] = actor.ask("hubnet.Peer().friendly_id")
    return said


def handled(actor: Actor) -> list[tuple[str, str, dict[str, object]]]:
    """What its handlers were given."""
    given: list[tuple[str, str, dict[str, object]]] = actor.ask("handled")
    return given


# -- whose handler -----------------------------------------------------------------------------------------------------


def test_the_handlers_of_several_peers_differ_and_each_caller_runs_its_own(
    peers: dict[str, Actor], caller: Actor
) -> None:
    for name, actor in peers.items():
        actor.run(f"hubnet.flag('RETRY')(lambda connection, foreign: ({name!r}, foreign['group']))")
    ids = {name: id_of(actor) for name, actor in peers.items()}
    for name, actor in peers.items():
        for there, peer_id in ids.items():
            assert actor.ask(f"answer('RETRY', peer={peer_id!r})") == (name, friendly(peers[there])["group"])
    for actor in peers.values():
        actor.run("handler('RETRY')")


def test_only_the_caller_runs_a_handler(peers: dict[str, Actor], caller: Actor) -> None:
    assert caller.ask("answer('LATER', peer=one)") == ("handled here", "LATER")
    assert [len(handled(actor)) for actor in peers.values()] == [0, 0, 0, 1]


def test_a_handler_runs_on_the_thread_that_called(caller: Actor) -> None:
    caller.run("hubnet.flag('RETRY')(lambda connection, foreign: threading.get_ident())")
    for target in ("peer=one", "peer=one, timeout=20", "peer=hubnet.Peer().id", ""):
        assert caller.ask(f"answer('RETRY'{', ' if target else ''}{target}) == threading.get_ident()"), target
    caller.run("handler('RETRY')")


@pytest.mark.parametrize("name", ["RETRY", "any text: \u5317 -> 1", " ", "x" * 4096], ids=lambda name: ascii(name)[:20])
def test_a_flag_of_any_name_is_the_same_everywhere(caller: Actor, name: str) -> None:
    for target in ("peer=one", "peer=two", "peer=hub", "peer=hubnet.Peer().id", "", "peer=one, timeout=20"):
        assert caller.ask(f"answer({name!r}{', ' if target else ''}{target})") == ("handled here", name), target


def test_the_later_handler_of_a_name_is_the_one_that_runs(caller: Actor) -> None:
    caller.run("hubnet.Peer().register_flag('CHANGING', lambda connection, foreign: 1)")
    assert caller.ask("answer('CHANGING')") == 1
    caller.run("hubnet.flag('CHANGING')(lambda connection, foreign: 2)")
    assert caller.ask("answer('CHANGING')") == 2
    caller.run("hubnet.Peer().register_flag('CHANGING', lambda connection, foreign: 3)")
    assert caller.ask("answer('CHANGING')") == 3


@pytest.mark.parametrize("value", ["None", "0", "[]", "object", "threading", "hubnet.Peer()"])
def test_a_call_returns_the_very_object_that_the_handler_returns(caller: Actor, value: str) -> None:
    caller.run(f"value = {value}; hubnet.flag('RETRY')(lambda connection, foreign: value)")
    assert caller.ask("answer('RETRY', peer=one) is value and answer('RETRY') is value")
    caller.run("handler('RETRY')")


def test_a_handler_may_call_the_one_who_answered_again(peers: dict[str, Actor], caller: Actor) -> None:
    peers["one"].run("handler('AGAIN')")
    caller.run(
        """
        @hubnet.flag("AGAIN")
        def again(connection, foreign_peer_id):
            return second_time("key", peer=(foreign_peer_id["host"], foreign_peer_id["port"]))
        """
    )
    assert caller.ask("second_time('key', peer=one)") == ("done", "key")
    assert peers["one"].ask("tried") == ["key", "key"]


def test_what_a_handler_raises_is_raised_as_it_is(caller: Actor) -> None:
    caller.run("@hubnet.flag('RETRY')\ndef trouble(connection, foreign): raise KeyError(connection)")
    for call in ("answer('RETRY', peer=one)", "answer('RETRY')"):
        with pytest.raises(Raised) as caught:
            caller.ask(call)
        assert (caught.value.kind, caught.value.cause) == ("KeyError", None)
    caller.run("handler('RETRY')")


def test_flags_and_values_of_one_conversation_are_never_confused(caller: Actor) -> None:
    assert caller.ask("[every_other(n, peer=one) for n in range(200)]") == [
        ("handled here", "RETRY") if n % 2 else n for n in range(200)
    ]
    assert len(handled(caller)) == 100


def test_an_answer_by_flag_is_counted_as_such(caller: Actor) -> None:
    before = caller.ask("hubnet.stats().get('calls.flag', 0)")
    caller.run("answer('RETRY', peer=one); answer('NULL', peer=one); hubnet.pass_through('NULL', peer=one)")
    assert caller.ask("hubnet.stats()['calls.flag']") == before + 2


def test_an_async_function_answers_by_flag_as_any_other(caller: Actor) -> None:
    for target in ("one", "hubnet.Peer().id"):
        assert caller.ask(f"answer_later('RETRY', peer={target})") == ("handled here", "RETRY")


def test_an_async_function_that_is_awaited_here_answers_by_flag_as_any_other(caller: Actor) -> None:
    caller.run("answered = asyncio.run(answer_later('RETRY'))")
    assert caller.ask("str(answered)") == str(("handled here", "RETRY"))


# -- what a handler is told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["one", "one.id", "one.id.decode()", "(one.host, one.port)", "hubnet.peers()['peers'][one.id]"]
)
def test_a_handler_is_told_the_tag_and_who_answered_however_that_was_named(
    peers: dict[str, Actor], caller: Actor, target: str
) -> None:
    caller.run(f"answer('RETRY', peer={target})")
    assert handled(caller) == [("RETRY", caller.ask("answer.connection.tag"), friendly(peers["one"]))]


def test_the_first_call_of_a_fresh_peer_by_address_tells_who_answered(
    shared: Net, peers: dict[str, Actor], caller: Actor
) -> None:
    address = peers["one"].ask("(hubnet.Peer().host, hubnet.Peer().port)")
    fresh = shared.actor(APP)
    fresh.run(f"answer('RETRY', peer={address!r})")
    assert handled(fresh)[0][2] == friendly(peers["one"])
    fresh.close()


def test_a_handler_is_told_the_tag_that_was_called(peers: dict[str, Actor], caller: Actor) -> None:
    caller.run("one.call('answer, later', 'RETRY'); answer('RETRY'); answer_later('RETRY', peer=hubnet.Peer().id)")
    assert [(connection, who) for _, connection, who in handled(caller)] == [
        ("answer, later", friendly(peers["one"])),
        (caller.ask("answer.connection.tag"), friendly(caller)),
        ("answer, later", friendly(caller)),
    ]
    assert all(type(connection) is str for _, connection, _ in handled(caller))


def test_in_nested_calls_each_caller_runs_its_own_handler_for_who_answered_it(
    peers: dict[str, Actor], caller: Actor
) -> None:
    tag = caller.ask("answer.connection.tag")
    assert caller.ask("ask_further('RETRY', two.id, peer=one)") == ("handled here", "RETRY")
    assert handled(peers["one"]) == [("RETRY", tag, friendly(peers["two"]))]
    assert handled(caller) == handled(peers["two"]) == []


def test_a_flag_that_is_passed_on_makes_each_caller_on_the_way_run_its_handler(
    peers: dict[str, Actor], caller: Actor
) -> None:
    tag = caller.ask("answer.connection.tag")
    assert caller.ask("pass_on('RETRY', two.id, peer=one)") == ("handled here", "RETRY")
    assert handled(peers["one"]) == [("RETRY", tag, friendly(peers["two"]))]
    assert handled(caller) == [("RETRY", "ask further, and pass it on", friendly(peers["one"]))]


def test_what_a_handler_does_to_what_it_is_told_changes_nothing_for_the_next(
    peers: dict[str, Actor], caller: Actor
) -> None:
    caller.run("@hubnet.flag('LATER')\ndef takes(connection, foreign): foreign.clear()\nanswer('LATER', peer=two)")
    caller.run("handler('LATER'); answer('LATER', peer=two); told = [handled[-1][2], dict(handled[-1][2])]")
    caller.run("told[0].update(hubnet.info(peer=two)); told[0].pop('labels')")  # for the tests that follow
    assert caller.ask("told[1]") == friendly(peers["two"])


# -- NULL and INVALID_CONNECTION ---------------------------------------------------------------------------------------


def test_a_handler_of_ones_own_for_null_is_run_for_null_itself(caller: Actor) -> None:
    caller.run("handler('NULL')")
    assert (
        caller.ask("hubnet.null(1, a=2, peer=one), hubnet.null(), answer('NULL_RESPONSE', peer=one)")
        == (("handled here", "NULL"),) * 3
    )
    assert {connection for _, connection, _ in handled(caller)[:2]} == {path_tag("hubnet.null")}
    caller.run("hubnet.flag('NULL')(hubnet.null_response)")
    assert caller.ask("hubnet.null(peer=one)") == "NULL"


@pytest.mark.parametrize("register", ["hubnet.flag('NULL_RESPONSE')", "registered"])
def test_a_handler_of_ones_own_may_be_registered_under_the_other_name_of_null(caller: Actor, register: str) -> None:
    caller.run("registered = lambda handler: hubnet.Peer().register_flag('NULL_RESPONSE', handler)")
    caller.run(f"{register}(lambda connection, foreign: 'mine')")
    said = caller.ask("answer('NULL_RESPONSE', peer=one), answer('NULL_RESPONSE'), hubnet.null(peer=one)")
    caller.run(f"{register}(hubnet.null_response)")
    assert said == ("mine",) * 3


def test_a_handler_of_ones_own_for_a_missing_connection_decides_what_the_call_returns(
    peers: dict[str, Actor], caller: Actor
) -> None:
    caller.run("@hubnet.connect('nowhere else')\ndef nowhere_else(): pass")
    caller.run("handler('INVALID_CONNECTION')")
    for call in ("nowhere_else(peer=one)", "one.call('nowhere else')", "nowhere_else(peer=one, timeout=20)"):
        assert caller.ask(call) == ("handled here", "INVALID_CONNECTION")
    for _, connection, who in handled(caller):
        assert connection == "nowhere else"
        assert set(who.pop("connections")) == set(peers["one"].ask("hubnet.connections()"))  # type: ignore[call-overload]
        assert who == friendly(peers["one"])
    caller.run("hubnet.flag('INVALID_CONNECTION')(hubnet.invalid_connection)")
    with pytest.raises(Raised, match="Peer does not have the connection you are requesting: 'nowhere else'") as caught:
        caller.ask("nowhere_else(peer=one)")
    assert (caught.value.kind, caught.value.ran) == ("InvalidConnection", "NO")


@pytest.mark.parametrize("target", ["peer=one", "peer=one, timeout=20", "peer=hubnet.Peer().id", ""])
def test_a_function_that_answers_by_hand_that_it_is_missing_ran_and_the_error_says_so(
    peers: dict[str, Actor], caller: Actor, target: str
) -> None:
    host, port = peers["one" if "one" in target else "caller"].ask("(hubnet.Peer().host, hubnet.Peer().port)")
    with pytest.raises(Raised, match="Peer does not have the connection you are requesting") as caught:
        caller.ask(f"answer('INVALID_CONNECTION', {target})")
    assert (caught.value.kind, caught.value.ran) == ("InvalidConnection", "YES")
    assert f"actor.answer' at {host}:{port} ran and answered with flag 'INVALID_CONNECTION'" in caught.value.text
    assert "it has" not in caught.value.text
    caller.run("handler('INVALID_CONNECTION')")
    assert caller.ask(f"answer('INVALID_CONNECTION', {target})") == ("handled here", "INVALID_CONNECTION")
    assert "connections" not in handled(caller)[0][2]
    caller.run("hubnet.flag('INVALID_CONNECTION')(hubnet.invalid_connection)")


def test_a_missing_connection_names_the_path_of_a_function_without_a_tag_and_what_there_is(
    peers: dict[str, Actor], caller: Actor
) -> None:
    caller.run("@hubnet.connect()\ndef only_here(): pass")
    with pytest.raises(
        Raised, match=r"actor\.only_here' at .*it has: .*actor\.answer, answer, later, every other"
    ) as caught:
        caller.ask("only_here(peer=one)")
    address = peers["one"].ask("(hubnet.Peer().host, hubnet.Peer().port)")
    assert f"at {address[0]}:{address[1]};" in caught.value.text
    for theirs in ("hubnet.null", "hubnet.info"):
        assert theirs not in caught.value.text


# -- flags that are not there ------------------------------------------------------------------------------------------


def test_a_flag_that_the_answering_peer_does_not_know_is_told_with_those_it_knows(
    peers: dict[str, Actor], caller: Actor
) -> None:
    caller.run("handler('ONLY THE CALLER')")
    with pytest.raises(Raised, match=r"no flag 'ONLY THE CALLER' here; there are: .*LATER, NULL") as caught:
        caller.ask("answer('ONLY THE CALLER', peer=one)")
    assert (caught.value.kind, caught.value.cause, caught.value.ran) == ("RemoteError", "UnknownFlag", "YES")
    assert caller.ask("answer('ONLY THE CALLER')") == ("handled here", "ONLY THE CALLER")


def test_names_of_flags_are_told_apart_to_the_letter(caller: Actor) -> None:
    for name in ("retry", "RETRY ", " RETRY", "null", "NULL_RESPONSE "):
        with pytest.raises(Raised, match="no flag") as caught:
            caller.ask(f"answer({name!r})")
        assert caught.value.kind == "UnknownFlag"


# -- out of band -------------------------------------------------------------------------------------------------------

VALUES = [
    "'RETRY'", "'NULL'", "'INVALID_CONNECTION'", "b'RETRY'", "'<flag RETRY>'", "('RETRY',)", "['NULL']", "{'flag': 'RETRY'}",
    "{'NULL': 'NULL'}", "('flag', 'RETRY', {})", "'every other'",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_no_value_is_taken_for_a_flag_whatever_function_returns_it(caller: Actor, value: str) -> None:
    for function in ("named_null", "named_retry", "hubnet.pass_through"):
        for target in (", peer=one", ", peer=one, timeout=20", ", peer=hubnet.Peer().id", ""):
            assert caller.ask(f"(lambda it: ({function}(it{target}) == it))({value})"), (function, target)
    assert handled(caller) == []


def test_a_function_whose_tag_is_a_flags_name_is_a_function(caller: Actor) -> None:
    assert caller.ask("named_null(peer=one), named_retry(peer=two), one.call('NULL'), named_null(), named_retry()") == (
        "NULL", "RETRY", "NULL", "NULL", "RETRY",
    )  # fmt: skip
    assert handled(caller) == []


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "deep"])
def test_a_flag_inside_a_value_is_part_of_that_value(caller: Actor, kind: str) -> None:
    for target in ("peer=one", "peer=hubnet.Peer().id", ""):
        assert caller.ask(f"contents({kind!r}{', ' if target else ''}{target}) == contents({kind!r})")
    assert caller.ask(f"hubnet.pass_through(contents({kind!r}), peer=two) == contents({kind!r})")
    assert handled(caller) == []


@pytest.mark.parametrize("how", ["a subclass", "an object that equals any", "its class", "rebuilt as one"])
def test_no_forged_flag_is_taken_for_one(caller: Actor, how: str) -> None:
    for target in ("peer=one", "peer=one, timeout=20", "peer=hubnet.Peer().id", ""):
        caller.run(f"came = forged({how!r}{', ' if target else ''}{target})")
        assert caller.ask("str(came) != str(('handled here', 'RETRY'))")
    assert handled(caller) == []


# -- what every peer serves --------------------------------------------------------------------------------------------


def test_inside_a_connection_info_and_connections_are_of_the_peer_that_runs_it(
    peers: dict[str, Actor], caller: Actor
) -> None:
    for name in ("one", "two"):
        said, alike = caller.ask(f"told_who(peer={name})")
        assert said == {**friendly(peers[name]), "labels": {}}
        assert alike is True
    assert caller.ask("told_who()[0]") == {**friendly(caller), "labels": {}}


def test_a_hub_serves_what_every_peer_serves(peers: dict[str, Actor], caller: Actor) -> None:
    assert caller.ask("hubnet.info(peer=hub)") == {**friendly(peers["hub"]), "labels": {}}
    assert caller.ask("hubnet.info(peer=hub)['hub'], hubnet.info(peer=one)['hub']") == (True, False)
    assert caller.ask("hubnet.null(peer=hub), hubnet.pass_through(1, peer=hub)") == ("NULL", 1)
    assert caller.ask("hubnet.connections(peer=hub)") == peers["hub"].ask("hubnet.connections()")
    assert "answer, later" in caller.ask("hubnet.connections(peer=hub)")


def test_what_is_registered_late_is_listed_and_served_at_once(peers: dict[str, Actor], caller: Actor) -> None:
    assert "late" not in caller.ask("hubnet.connections(peer=one)")
    peers["one"].run(
        '''
        @hubnet.connect("late")
        def late(shot: str, /, frame: int = 1, *more, quality="high", **rest) -> bool:
            """Come late.

            Or later:
                indented.
            """
            return True
        hubnet.connect("late, built in")(len)
        '''
    )
    listed = caller.ask("hubnet.connections(peer=one)")
    assert listed["late"]["name"] == "late"
    assert listed["late"]["doc"] == "Come late.\n\nOr later:\n    indented."
    assert listed["late"]["signature"].replace("'", "") == (
        "(shot: str, /, frame: int = 1, *more, quality=high, **rest) -> bool"
    )
    assert listed["late, built in"]["module"] == "builtins"
    assert listed["late, built in"]["signature"] == "(obj, /)"
    assert caller.ask("one.call('late', 's'), one.call('late, built in', 'four')") == (True, 4)


def test_functions_that_every_peer_serves_are_not_listed_but_cannot_be_missing(caller: Actor) -> None:
    builtin = [path_tag(f"hubnet.{name}") for name in ("info", "connections", "pass_through", "null", "stats")]
    listed = caller.ask("hubnet.connections(peer=one)")
    assert not [tag for tag in builtin if tag in listed]
    assert caller.ask(f"one.call({builtin[2]!r}, 5), one.call({builtin[0]!r})['group']") == (5, "one")


def test_pass_through_gives_the_very_object_here_and_takes_off_what_is_hubnets(caller: Actor) -> None:
    assert caller.ask("hubnet.pass_through(threading) is threading")
    assert caller.ask("hubnet.pass_through(1, peer=one, timeout=20), hubnet.pass_through(1, time_out=20)") == (1, 1)
    assert caller.ask("hubnet.pass_through(None, peer=one)") is None
    assert caller.ask("hubnet.pass_through(((1,), {}), peer=one)") == ((1,), {})
