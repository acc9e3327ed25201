"""Flags: answers out of band that make the caller run its own handler."""

from __future__ import annotations

import pytest

from .conftest import Actor, Net, Raised

APP = """
    import hubnet

    @hubnet.flag("RETRY")
    def retry(connection, foreign):
        return "handled", connection, foreign

    @hubnet.connect("ask for a retry")
    def ask():
        return hubnet.Peer().get_flag("RETRY")

    @hubnet.connect("unknown there")
    def unknown():
        return hubnet.Peer().get_flag("NOBODY KNOWS")

    @hubnet.connect("null")
    def null(name="NULL"):
        return hubnet.Peer().get_flag(name)
"""


@pytest.fixture(scope="module")
def parts(shared: Net) -> tuple[Actor, Actor, Actor]:
    shared.module("flags_app", APP)
    hub = shared.hub("from flags_app import *", HUBNET_GROUP="hubs")
    worker = shared.worker("from flags_app import *", HUBNET_GROUP="flags")
    caller = shared.actor("from flags_app import *\nworker = hubnet.wait_for(1, 'flags')[0]")
    return hub, worker, caller


@pytest.mark.processes
def test_the_callers_own_handler_runs_with_the_tag_and_who_answered(parts: tuple[Actor, Actor, Actor]) -> None:
    _, worker, caller = parts
    caller.run(
        """
        here = []
        @hubnet.flag("RETRY")
        def mine(connection, foreign):
            here.append(1)
            return "mine", connection, foreign
        """
    )
    friendly = worker.ask("hubnet.Peer().friendly_id")
    assert caller.ask("ask(peer=worker)") == ("mine", "ask for a retry", friendly)
    assert caller.ask("here") == [1]


@pytest.mark.processes
def test_a_local_call_runs_the_handler_as_well(parts: tuple[Actor, Actor, Actor]) -> None:
    worker = parts[1]
    assert worker.ask("ask()") == ("handled", "ask for a retry", worker.ask("hubnet.Peer().friendly_id"))


@pytest.mark.processes
def test_a_hub_that_answers_with_a_flag_says_who_it_is(shared: Net, parts: tuple[Actor, Actor, Actor]) -> None:
    hub = parts[0]
    fresh = shared.actor(f"from flags_app import *\nhub = {hub.ask('hubnet.Peer().id')!r}")
    fresh.ask("hubnet.peers('no such group')")  # it has asked the hub before
    assert fresh.ask("ask(peer=hub)") == ("handled", "ask for a retry", hub.ask("hubnet.Peer().friendly_id"))
    fresh.close()


def test_null_is_built_in_under_both_names(parts: tuple[Actor, Actor, Actor]) -> None:
    caller = parts[2]
    assert (
        caller.ask("hubnet.null(peer=worker), hubnet.null(), null(peer=worker), null('NULL_RESPONSE', peer=worker)")
        == ("NULL",) * 4
    )
    assert caller.ask("hubnet.null_response('x', {})") == "NULL"


def test_a_flag_without_a_handler_here_is_an_unknown_flag_and_the_call_ran(parts: tuple[Actor, Actor, Actor]) -> None:
    _, worker, caller = parts
    worker.run("@hubnet.flag('NOBODY KNOWS')\ndef known(connection, foreign): return 1")
    with pytest.raises(Raised, match="'NOBODY KNOWS', which has no handler here") as caught:
        caller.ask("unknown(peer=worker)")
    assert (caught.value.kind, caught.value.ran) == ("UnknownFlag", "YES")


@pytest.mark.processes
def test_asking_for_a_flag_that_does_not_exist_lists_those_that_do(parts: tuple[Actor, Actor, Actor]) -> None:
    with pytest.raises(Raised, match=r"no flag 'NO SUCH'.*INVALID_CONNECTION, NULL.*RETRY") as caught:
        parts[2].ask("hubnet.Peer().get_flag('NO SUCH')")
    assert caught.value.kind == "UnknownFlag"


@pytest.mark.parametrize("value", ["'NULL'", "b'NULL'", "('flag', 'NULL')", "{'flag': 'RETRY'}"])
def test_no_value_is_mistaken_for_a_flag(parts: tuple[Actor, Actor, Actor], value: str) -> None:
    assert parts[2].ask(f"hubnet.pass_through({value}, peer=worker) == {value}")


def test_a_flags_handler_may_raise(parts: tuple[Actor, Actor, Actor]) -> None:
    caller = parts[2]
    caller.run("@hubnet.flag('NULL')\ndef other(connection, foreign): raise LookupError('mine')")
    with pytest.raises(Raised, match="mine"):
        caller.ask("null(peer=worker)")
    caller.run("hubnet.flag('NULL')(hubnet.null_response)")


@pytest.mark.parametrize("code", ["hubnet.flag(5)", "hubnet.flag('')", "hubnet.flag('x')(5)", "hubnet.flag"])
def test_a_flag_that_cannot_be_is_refused(parts: tuple[Actor, Actor, Actor], code: str) -> None:
    if code == "hubnet.flag":
        assert callable(parts[2].ask(code))
        return
    with pytest.raises(Raised, match="flag") as caught:
        parts[2].ask(code)
    assert caught.value.kind == "TypeError"
