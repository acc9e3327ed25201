"""The reference's document on ``net.event``, sentence by sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import hubnet
from tests.examples import code, with_the_buffer
from tests.sentences import differs, example, sentence
from tests.waiting import eventually

from .conftest import Actor, Net, Raised
from .witness import id_of, live, parameters, watching

PEER_B = code("event_on_peer_b")
HEARS = """
heard = []
@hubnet.subscribe("doing_something")
def hear(*args, **kwargs): heard.append((args, kwargs))
"""
Made = Callable[..., Actor]


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


@pytest.fixture
def peer(shared: Net, hub: Actor) -> Iterator[Made]:
    """Makes peers with subscriptions that are live; after the test they leave as programs do.

    Half of the net killed at once would look to the hub as if it were cut off itself, and stay listed.
    """
    made: list[Actor] = []

    def make(text: str = "") -> Actor:
        made.append(shared.worker(text))
        return live(made[-1])

    yield make
    for one in made:
        if one.alive:
            one.leave()


def hears(actor: Actor, *expected: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    """Wait until it has heard this, and no more."""
    eventually(lambda: len(actor.ask("heard")) >= len(expected))
    assert actor.ask("heard") == list(expected)


@sentence("net.event.event(name)", "net.event(name)")
def test_event_takes_a_name() -> None:
    from hubnet.event import event

    assert event is hubnet.event
    assert parameters(event) == "(name)"


@sentence("Registers a function as an event trigger.")
def test_event_registers_a_function_as_an_event_trigger(peer: Made) -> None:
    ears, mouth = peer(HEARS), peer()
    mouth.run("def plain(*args): return args, {}\nplain('not yet')\ntrigger = hubnet.event('doing_something')(plain)")
    assert mouth.ask("trigger('now')") == (("now",), {})
    hears(ears, (("now",), {}))


@sentence("Event triggers are hooks into the event system between peers.")
def test_event_triggers_are_hooks_into_the_event_system_between_peers(peer: Made) -> None:
    """The function runs here, and what it returns goes out in place of what it was given."""
    ears, mouth = peer(HEARS), peer()
    mouth.run(
        """
        import os
        @hubnet.event("doing_something")
        def hook(*args): return (os.getpid(), len(args)), {"hooked": True}
        hook("a", "b")
        """
    )
    hears(ears, ((mouth.pid, 2), {"hooked": True}))


@differs("Peers that net.subscribe to a peer, register an event on that peer.")
def test_peers_that_subscribe_say_so_in_the_register_and_on_redis(peer: Made) -> None:
    mouth, ears = peer(PEER_B), peer(HEARS)
    eventually(lambda: mouth.ask("hubnet.peers()['peers']")[id_of(ears)]["subscriptions"] == ["doing_something"])
    assert mouth.ask("hubnet.Peer().SUBSCRIPTIONS") == []  # there is nothing of it on that peer
    mouth.run("imDoingSomething(1)")
    hears(ears, ((1,), {}))


@sentence("Lets say PeerA subscribes to an event on PeerB using the following code.")
@example("event_on_peer_a")
def test_peer_a_subscribes_to_an_event_on_peer_b_using_the_following_code(peer: Made) -> None:
    peer_a = peer(watching("handleEvent") + code("event_on_peer_a"))
    assert peer_a.ask("hubnet.Peer().SUBSCRIPTIONS") == ["doing_something"]
    assert peer_a.ask("handleEvent('called here as before')") is None
    assert peer_a.ask("ran") == [{"whatPeerBDid": "called here as before"}]


@differs(
    "The subscribe decorator has communicated with PeerB and registered itself as on the list of peer to update if "
    "“doing_something” is ever triggered."
)
def test_the_subscribe_decorator_needs_no_peer_b_and_is_updated_if_ever_it_is_triggered(peer: Made) -> None:
    peer_a = peer(watching("handleEvent") + code("event_on_peer_a"))
    peer_b = peer(PEER_B)  # it was not there when PeerA subscribed
    peer_b.run("imDoingSomething('at last')")
    eventually(lambda: peer_a.ask("ran") == [{"whatPeerBDid": "at last"}])


@sentence("On PeerB’s side we have the following.")
@example("event_on_peer_b")
def test_on_peer_bs_side_we_have_the_following(peer: Made) -> None:
    peer_a, peer_b = peer(watching("handleEvent") + code("event_on_peer_a")), peer(code("event_on_peer_b"))
    assert peer_b.ask("imDoingSomething('work')") == (("work",), {})
    eventually(lambda: peer_a.ask("ran") == [{"whatPeerBDid": "work"}])


@sentence("All functions flagged as an event MUST return args and kwargs exactly as displayed above.")
def test_all_functions_flagged_as_an_event_must_return_args_and_kwargs(peer: Made) -> None:
    ears, mouth = peer(HEARS), peer(PEER_B)
    for value in ("None", "args", "kwargs", "(kwargs, args)", "(args, kwargs, 1)"):
        mouth.run(f"@hubnet.event('doing_something')\ndef wrong(*args, **kwargs): return {value}")
        with pytest.raises(Raised, match=r"must return \(args, kwargs\)") as caught:
            mouth.ask("wrong(1, a=2)")
        assert caught.value.kind == "TypeError"
    mouth.run("imDoingSomething(1, a=2)")
    hears(ears, ((1,), {"a": 2}))


@sentence(
    "Now lets say in PeerB we want to trigger the event in a for loop and have it hand off the values to all the "
    "subscribed peers, PeerA in this case."
)
@example("event_in_a_loop")
def test_peer_b_triggers_the_event_in_a_for_loop_and_hands_off_the_values(peer: Made) -> None:
    peer_a, peer_b = peer(watching("handleEvent") + code("event_on_peer_a")), peer(PEER_B)
    peer_b.run(code("event_in_a_loop"))
    eventually(lambda: len(peer_a.ask("ran")) >= 10)
    assert peer_a.ask("ran") == [{"whatPeerBDid": number} for number in range(10)]


@sentence("Keep in mind, you can have any number of peers subscribe to any kind of event.")
def test_any_number_of_peers_may_subscribe_to_any_kind_of_event(peer: Made) -> None:
    names = ("doing_something", "a name, with spaces: ü/漢 100%", "x" * 200)
    listening = "".join(f"hubnet.subscribe({name!r})(lambda *args: heard.append((args, {{}})))\n" for name in names)
    mouth = peer("".join(f"tell{n} = hubnet.event({name!r})(lambda *a: (a, {{}}))\n" for n, name in enumerate(names)))
    ears = [peer("heard = []\n" + listening) for _ in range(3)]
    mouth.run("tell0(0); tell1(1); tell2(2)")
    for one in ears:
        eventually(lambda one=one: sorted(one.ask("heard")) == [((0,), {}), ((1,), {}), ((2,), {})])


@sentence("So if we had 5 peers subscribe to PeerB they would all be passed this value at runtime.")
def test_five_subscribed_peers_would_all_be_passed_this_value(peer: Made) -> None:
    subscribed = [peer(HEARS) for _ in range(5)]
    peer_b = peer(PEER_B)
    peer_b.run("imDoingSomething('this value')")
    for one in subscribed:
        hears(one, (("this value",), {}))


@sentence(
    "Lastly, these event functions act as a buffer between the runtime code of your application and the delivery of the "
    "content to the peer."
)
@example("event_without_buffer")
def test_event_functions_act_as_a_buffer_between_runtime_code_and_delivery(peer: Made) -> None:
    """The application hands over its object as it is; what is delivered is up to the event's function."""
    ears, mouth = (
        peer(HEARS),
        peer("class MyCustomObject:\n    raw = object\nclass Cleaned: pass\ncleanedObj = 'clean'"),
    )
    mouth.run(with_the_buffer("args = (cleanedObj, *args[1:])") + code("event_without_buffer"))
    hears(ears, (("clean",), {}))


@differs("var = MyCustomObject()  # some JSON incompatible object")
@example("event_without_buffer")
def test_an_object_that_json_cannot_hold_travels_as_it_is(peer: Made) -> None:
    ears, mouth = peer(HEARS), peer("class MyCustomObject:\n    def __init__(self): self.parts = {1, 2}\n" + PEER_B)
    mouth.run(code("event_without_buffer"))
    eventually(lambda: ears.ask("len(heard)"))
    assert ears.ask("type(heard[0][0][0]).__name__, heard[0][0][0].parts") == ("MyCustomObject", {1, 2})


@differs("args[0] = cleanedObj")
def test_args_is_a_tuple_and_assigning_into_it_is_the_type_error_of_python(peer: Made) -> None:
    mouth = peer("cleanedObj = 'clean'\n" + with_the_buffer("args[0] = cleanedObj"))
    with pytest.raises(Raised, match="'tuple' object does not support item assignment") as caught:
        mouth.ask("imDoingSomething('raw')")
    assert caught.value.kind == "TypeError"


@sentence("As you can see, these functions act as a hook into the delivery system when the event is triggered.")
def test_these_functions_act_as_a_hook_into_the_delivery_system_when_the_event_is_triggered(peer: Made) -> None:
    """It may change, and it may refuse: what it raises is its caller's, and nothing is delivered."""
    ears, mouth = peer(HEARS), peer()
    mouth.run(
        """
        @hubnet.event("doing_something")
        def hook(number):
            if number % 2:
                raise ValueError("odd")
            return (number * 10,), {}
        refused = 0
        for number in range(6):
            try:
                hook(number)
            except ValueError:
                refused += 1
        """
    )
    assert mouth.ask("refused") == 3
    hears(ears, ((0,), {}), ((20,), {}), ((40,), {}))


@sentence(
    "There are protections put in place to try to prevent the peer that triggered the event to be blocked by a bad handle "
    "on the subscribed peer."
)
def test_the_peer_that_triggered_the_event_is_not_blocked_by_a_bad_handle(peer: Made) -> None:
    bad = peer(
        """
        import threading
        entered, never = [], threading.Event()
        @hubnet.subscribe("doing_something")
        def bad_handle(value):
            entered.append(value)
            never.wait()
        """
    )
    good, mouth = peer(HEARS), peer(PEER_B)
    mouth.run("imDoingSomething(0)")
    eventually(lambda: bad.ask("entered") == [0])
    mouth.run("for number in range(1, 100): imDoingSomething(number)")
    hears(good, *[((number,), {}) for number in range(100)])
    assert bad.ask("entered") == [0]  # it still is in the first


RAISES = """
met = []
@hubnet.subscribe("doing_something")
def bad_handle(value):
    met.append(value)
    raise LookupError(f"the handler of {value} failed")
"""


@pytest.mark.processes
@differs(
    "For the purpose of protecting the event triggering peer from remote errors, all connection errors and remote runtime "
    "errors will be caught and logged."
)
def test_remote_runtime_errors_are_caught_and_logged_where_they_happen(peer: Made) -> None:
    bad, mouth = peer(RAISES), peer(PEER_B)
    assert mouth.ask("imDoingSomething(1)") == ((1,), {})
    eventually(lambda: "LookupError: the handler of 1 failed" in bad.said)
    assert "Traceback" in bad.said
    assert bad.ask("hubnet.stats()['events.handler_errors']") == 1
    assert "LookupError" not in mouth.said


@differs(
    "For the purpose of protecting the event triggering peer from remote errors, all connection errors and remote runtime "
    "errors will be caught and logged."
)
@pytest.mark.embedded
def test_connection_errors_are_caught_and_logged_where_the_event_was_triggered(alone: Net) -> None:
    hub = alone.hub()
    mouth = alone.worker(PEER_B)
    mouth.run("imDoingSomething(0)")
    hub.kill()  # and Redis with it

    def noticed() -> bool:
        mouth.run("imDoingSomething(1)")  # never raises
        return "publishing interrupted" in mouth.said

    eventually(noticed)


@sentence("But nothing will halt the running application.")
def test_nothing_will_halt_the_running_application(alone: Net) -> None:
    """Not a handler that raises, not a subscriber that dies, not the end of the net."""
    hub, bad = alone.hub(), live(alone.worker(RAISES))
    mouth = alone.worker(PEER_B + "done = []\n")
    loop = "for number in range(100): done.append(imDoingSomething(number))"
    mouth.run(loop)
    eventually(lambda: len(bad.ask("met")) == 100)
    bad.kill()
    mouth.run(loop)
    hub.kill()
    mouth.run(loop)
    assert mouth.ask("done") == [((number,), {}) for number in range(100)] * 3


@pytest.mark.processes
@differs("i.e. event -> remote peer errors -> event peer will log and ignore")
def test_event_then_remote_peer_errors_then_the_remote_peer_logs_and_goes_on(peer: Made) -> None:
    bad, mouth = peer(RAISES), peer(PEER_B)
    mouth.run("for number in range(3): imDoingSomething(number)")
    eventually(lambda: bad.ask("met") == [0, 1, 2])
    eventually(lambda: bad.said.count("Traceback") == 3)


@differs("Stale peer subscriptions will be added to the stale list and pruned.")
def test_stale_peer_subscriptions_are_pruned_from_the_register(peer: Made) -> None:
    stale, mouth = peer(HEARS), peer(PEER_B)
    subscribed = "[one for one, r in hubnet.peers()['peers'].items() if 'doing_something' in r['subscriptions']]"
    eventually(lambda: mouth.ask(subscribed) == [id_of(stale)])
    stale.kill()
    eventually(lambda: mouth.ask(subscribed) == [])


@differs(
    "Since the subscriptions are created per client request, the event peer will not know until a request is made that "
    "the subscribed peer went offline."
)
def test_the_event_peer_is_told_that_the_subscribed_peer_went_offline_without_a_request_to_it(peer: Made) -> None:
    gone, stays, mouth = peer(HEARS), peer(HEARS), peer(PEER_B)
    there = id_of(gone)
    eventually(lambda: there in mouth.ask("hubnet.peers()['peers']"))
    gone.kill()
    mouth.run("imDoingSomething('to those who are there')")
    hears(stays, (("to those who are there",), {}))
    eventually(lambda: there not in mouth.ask("hubnet.peers()['peers']"))
