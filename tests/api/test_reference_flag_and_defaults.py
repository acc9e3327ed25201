"""The reference's document on ``net.flag`` and on what every peer serves by itself, sentence by sentence."""

from __future__ import annotations

from typing import Any

import pytest

import hubnet
from tests.examples import code
from tests.sentences import differs, example, sentence

from .conftest import Actor, Net, Raised
from .witness import id_of, parameters, watching

APP = """
    import hubnet

    @hubnet.flag("RETRY")
    def retry(connection, foreign_peer_id):
        return "the handler of who answered"

    @hubnet.connect()
    def flagged(name):
        return hubnet.Peer().get_flag(name)
"""
PRINTED = ("group", "host", "port", "hub", "executable", "user")


@pytest.fixture(scope="module")
def there(shared: Net) -> Actor:
    """The peer that is called."""
    shared.module("flags_app", APP)
    shared.hub()
    only_there = "@hubnet.flag('ONLY THERE')\ndef only_there(connection, foreign_peer_id): pass"
    return shared.worker(f"from flags_app import *\n{only_there}", HUBNET_GROUP="somewhere")


@pytest.fixture(scope="module")
def caller(shared: Net, there: Actor) -> Actor:
    return shared.worker(
        watching("null_response", "invalid_connection", "mine")
        + f"from flags_app import *\nthere = {id_of(there)!r}\n"
        + "@hubnet.flag('RETRY')\ndef mine(connection, foreign_peer_id): return 'the handler of who called'\n"
        + "@hubnet.connect()\ndef absent(): pass"
    )


def handled(caller: Actor, call: str) -> tuple[Any, list[dict[str, Any]]]:
    """What a call returns, and what a handler was given meanwhile."""
    caller.run("del ran[:]")
    return caller.ask(call), caller.ask("ran")


def printed(peer: Actor) -> dict[str, Any]:
    """What the peer says of itself, of that what the document prints."""
    friendly = peer.ask("hubnet.Peer().friendly_id")
    return {name: friendly[name] for name in PRINTED}


# -- flag --------------------------------------------------------------------------------------------------------------


@sentence("net.flag.flag(name)", "net.flag(name)")
def test_flag_takes_a_name() -> None:
    from hubnet.flag import flag

    assert flag is hubnet.flag
    assert parameters(flag) == "(name)"


@sentence("Register a function as a flag handler for the peer server.")
def test_flag_registers_a_function_as_a_flag_handler_for_the_peer_server(caller: Actor) -> None:
    """The peer that calls runs its own handler, whether it answers itself or another peer does."""
    assert caller.ask("hubnet.Peer().FLAGS['RETRY'] is mine")
    assert caller.ask("flagged('RETRY', peer=there)") == "the handler of who called"
    assert caller.ask("flagged('RETRY')") == "the handler of who called"


@sentence("Register a function as a flag handler for the peer server.")
def test_a_flag_for_which_the_caller_has_registered_no_handler_is_an_error(caller: Actor) -> None:
    with pytest.raises(Raised, match="'ONLY THERE', which has no handler here") as caught:
        caller.ask("flagged('ONLY THERE', peer=there)")
    assert (caught.value.kind, caught.value.ran) == ("UnknownFlag", "YES")


@sentence("name – str")
def test_a_flags_name_is_a_str(caller: Actor) -> None:
    for code_ in ("hubnet.flag(5)", "hubnet.flag(b'RETRY')", "hubnet.flag(None)"):
        with pytest.raises(Raised, match="a flag's name is a str") as caught:
            caller.ask(code_)
        assert caught.value.kind == "TypeError"
    assert caller.ask("hubnet.flag('any text: ü')(mine) is mine")
    assert caller.ask("flagged('any text: ü')") == "the handler of who called"


# -- null_response -----------------------------------------------------------------------------------------------------


@sentence("net.null_response(connection, foreign_peer_id)")
def test_null_response_takes_a_connection_and_a_foreign_peer_id() -> None:
    assert parameters(hubnet.null_response) == "(connection, foreign_peer_id)"


@sentence("Execute this if the peer has returned the NULL_RESPONSE flag.", of="null_response")
def test_null_response_is_executed_if_the_peer_has_returned_the_null_response_flag(caller: Actor) -> None:
    answer, given = handled(caller, "flagged('NULL_RESPONSE', peer=there)")
    assert answer == "NULL"
    assert len(given) == 1


@sentence("connection – name of the connection requested", of="null_response")
def test_null_response_is_given_the_name_of_the_connection_requested(caller: Actor) -> None:
    _, given = handled(caller, "flagged('NULL_RESPONSE', peer=there)")
    assert given[0]["connection"] == caller.ask("flagged.connection.tag")


@sentence("foreign_peer_id – The foreign peers friendly_id", of="null_response")
def test_null_response_is_given_the_foreign_peers_friendly_id(caller: Actor, there: Actor) -> None:
    _, given = handled(caller, "flagged('NULL_RESPONSE', peer=there)")
    assert given[0]["foreign_peer_id"] == printed(there)


@sentence("Returns: str", of="null_response")
def test_null_response_returns_a_str(caller: Actor) -> None:
    assert caller.ask("hubnet.null_response('flags', {})") == "NULL"


# -- pass_through ------------------------------------------------------------------------------------------------------


@sentence("net.pass_through(*args, **kwargs)")
def test_pass_through_takes_anything() -> None:
    assert parameters(hubnet.pass_through) == "(*args, **kwargs)"


@pytest.mark.parametrize(
    "value",
    ["None", "True", "-1", "2**100", "1.5", "'text ü'", "b'bytes'", "bytearray(b'x')", "(1, (2,))", "[1, [2]]", "{1: {2: 3}}",
     "{1, 2}", "frozenset({1})", "range(5)", "1j", "__import__('datetime').datetime(2020, 1, 2)", "ValueError"],
)  # fmt: skip
@sentence("Used for testing, takes your arguments and passes them back for type testing.")
def test_pass_through_takes_your_arguments_and_passes_them_back_for_type_testing(caller: Actor, value: str) -> None:
    assert caller.ask(f"(lambda sent, back: (sent == back, type(sent) is type(back)))"
                      f"({value}, hubnet.pass_through({value}, peer=there))") == (True, True)  # fmt: skip


@sentence("Used for testing, takes your arguments and passes them back for type testing.")
@example("pass_through")
def test_pass_through_brings_a_variable_back_the_way_it_was_sent(caller: Actor, there: Actor) -> None:
    caller.run(code("pass_through", somepeer=id_of(there)))
    assert caller.ask("response") == "Test this comes back the way I sent it."


@sentence("Returns: *args, **kwargs")
def test_pass_through_returns_args_and_kwargs(caller: Actor) -> None:
    """One argument comes back bare, as the example has it; otherwise both come back."""
    assert caller.ask("hubnet.pass_through(1, [2], a={3: 4}, peer=there)") == ((1, [2]), {"a": {3: 4}})
    assert caller.ask("hubnet.pass_through(a=1, peer=there)") == ((), {"a": 1})
    assert caller.ask("hubnet.pass_through(peer=there)") == ((), {})


# -- null --------------------------------------------------------------------------------------------------------------


@sentence("net.null(*args, **kwargs)")
def test_null_takes_anything(caller: Actor) -> None:
    assert parameters(hubnet.null) == "(*args, **kwargs)"
    assert caller.ask("hubnet.null(1, a=2, peer=there)") == "NULL"


@sentence("Return a null response flag")
def test_null_returns_a_null_response_flag(caller: Actor) -> None:
    """The flag makes the caller run its handler, and is never seen as a value."""
    answer, given = handled(caller, "hubnet.null(peer=there)")
    assert answer == "NULL"
    assert [one["connection"] for one in given] == [caller.ask("hubnet.null.connection.tag")]


@sentence("Returns: NULL Flag")
def test_what_null_itself_returns_is_the_null_flag(there: Actor) -> None:
    assert there.ask("hubnet.null.__wrapped__() == hubnet.Peer().get_flag('NULL')")
    assert there.ask("hubnet.Peer().get_flag('NULL') == hubnet.Peer().get_flag('NULL_RESPONSE')")
    assert there.ask("hubnet.null.__wrapped__() == 'NULL'") is False


# -- info --------------------------------------------------------------------------------------------------------------


@sentence("net.info(*args, **kwargs)")
def test_info_takes_anything(caller: Actor) -> None:
    assert parameters(hubnet.info) == "(*args, **kwargs)"
    assert caller.ask("hubnet.info(1, a=2, peer=there) == hubnet.info(peer=there)")


@sentence("Return information about the peer requested.")
@example("info")
def test_info_returns_information_about_the_peer_requested(caller: Actor, there: Actor) -> None:
    caller.run(code("info", somepeer=id_of(there)))
    said = caller.ask("friendly_information")
    assert (said["group"], said["host"], said["port"]) == (
        "somewhere",
        *there.ask("(hubnet.Peer().host, hubnet.Peer().port)"),
    )
    assert caller.ask("hubnet.info()['group']") == "None"


@differs("Returns: peer.friendly_id")
def test_info_returns_the_peers_friendly_id_and_its_labels(caller: Actor, there: Actor) -> None:
    said = caller.ask("hubnet.info(peer=there)")
    assert said == {**there.ask("hubnet.Peer().friendly_id"), "labels": {}}
    assert set(said) == {*PRINTED, "labels"}


# -- invalid_connection ------------------------------------------------------------------------------------------------


def refusal(caller: Actor, call: str) -> tuple[Raised, dict[str, Any]]:
    """What a call raises that asks for a connection which is not there, and what the handler was given."""
    caller.run("del ran[:]")
    with pytest.raises(Raised) as caught:
        caller.ask(call)
    (given,) = caller.ask("ran")
    return caught.value, given


@sentence("net.invalid_connection(connection, foreign_peer_id)")
def test_invalid_connection_takes_a_connection_and_a_foreign_peer_id() -> None:
    assert parameters(hubnet.invalid_connection) == "(connection, foreign_peer_id)"


@differs("Execute this if the peer has returned the NULL_RESPONSE flag.", of="invalid_connection")
def test_invalid_connection_is_executed_if_the_peer_has_returned_the_invalid_connection_flag(caller: Actor) -> None:
    for call in ("absent(peer=there)", "flagged('INVALID_CONNECTION', peer=there)"):
        error, _ = refusal(caller, call)
        assert error.kind == "InvalidConnection"
        assert "Peer does not have the connection you are requesting" in error.text


@sentence("connection – name of the connection requested", of="invalid_connection")
def test_invalid_connection_is_given_the_name_of_the_connection_requested(caller: Actor) -> None:
    error, given = refusal(caller, "absent(peer=there)")
    assert given["connection"] == caller.ask("absent.connection.tag")
    assert "absent" in error.text


@sentence("foreign_peer_id – The foreign peers friendly_id", of="invalid_connection")
def test_invalid_connection_is_given_the_foreign_peers_friendly_id(caller: Actor, there: Actor) -> None:
    error, given = refusal(caller, "absent(peer=there)")
    foreign = given["foreign_peer_id"]
    assert {name: foreign[name] for name in PRINTED} == printed(there)
    assert f"{foreign['host']}:{foreign['port']}" in error.text


# -- connections -------------------------------------------------------------------------------------------------------


@sentence("net.connections(*args, **kwargs)")
def test_connections_takes_anything(caller: Actor) -> None:
    assert parameters(hubnet.connections) == "(*args, **kwargs)"
    assert caller.ask("hubnet.connections(1, a=2, peer=there) == hubnet.connections(peer=there)")


@sentence("Return the connections registered with the peer.")
@example("connections")
def test_connections_returns_the_connections_registered_with_the_peer(shared: Net, caller: Actor, there: Actor) -> None:
    other = shared.worker("@hubnet.connect('1')\ndef one(): pass\n@hubnet.connect()\ndef two(): pass")
    caller.run(code("connections", somepeer=id_of(other)))
    assert set(caller.ask("friendly_information")) == {*other.ask("(one.connection.tag, two.connection.tag)")}
    assert set(caller.ask("hubnet.connections()")) == {*caller.ask("(flagged.connection.tag, absent.connection.tag)")}
    other.leave()


@differs("Returns: peer.CONNECTIONS")
def test_connections_returns_the_tags_of_peer_connections_with_what_the_functions_are(
    shared: Net, caller: Actor
) -> None:
    shared.module("described", 'import hubnet\n@hubnet.connect("draw")\ndef draw(shot, frame=1):\n    "Draw it."')
    other = shared.worker("import described\ntag = described.draw.connection.tag")
    assert caller.ask(f"hubnet.connections(peer={id_of(other)!r})") == {
        other.ask("tag"): {"module": "described", "name": "draw", "signature": "(shot, frame=1)", "doc": "Draw it."}
    }
    assert other.ask("hubnet.Peer().CONNECTIONS[tag] is described.draw.__wrapped__")
    everywhere = {"info", "connections", "pass_through", "null", "stats"}
    assert set(other.ask("[one.__name__ for one in hubnet.Peer().CONNECTIONS.values()]")) == {"draw", *everywhere}
    other.leave()
