"""The reference's document on ``net.subscribe``, sentence by sentence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import hubnet
from tests.examples import code
from tests.sentences import example, sentence
from tests.waiting import eventually

from .conftest import Actor, Net
from .witness import EVERYTHING, id_of, live, parameters, watching

TELLS = """
@hubnet.event("some_event")
def tell(*args, **kwargs): return args, kwargs
"""
HANDLER = """
@hubnet.subscribe("some_event", {filter})
def your_function(subscription_args, subscription_kwarg=None):
    return some_value
"""


@pytest.fixture(scope="module")
def tellers(shared: Net) -> dict[str, Actor]:
    """Peers with the event: a hub, two of group1, one of group2, and one on another machine."""
    return {
        "hub": shared.hub(TELLS, HUBNET_GROUP="hubs"),
        "one": shared.worker(TELLS, HUBNET_GROUP="group1"),
        "first": shared.worker(TELLS, HUBNET_GROUP="group1"),
        "two": shared.worker(TELLS, HUBNET_GROUP="group2"),
        "far": shared.elsewhere(TELLS, HUBNET_GROUP="far"),
    }


@pytest.fixture
def listener(shared: Net, tellers: dict[str, Actor]) -> Iterator[Actor]:
    """A peer that hears everything besides, and knows the ids of all by their names."""
    ids = {name: id_of(actor) for name, actor in tellers.items()}
    made = shared.worker(watching("your_function") + EVERYTHING + f"some_value = 5\nids = {ids!r}")
    yield made
    made.leave()


def heard(listener: Actor, tellers: dict[str, Actor]) -> str:
    """Let everybody tell its name; whom the example's function heard, in the order of their names."""
    live(listener)
    for name, actor in tellers.items():
        actor.run(f"tell({name!r}, subscription_kwarg={actor.pid})")
    eventually(lambda: set(tellers) <= set(listener.ask("everything")))
    # one reader hands each event to all subscriptions at once; their queues may still be a moment behind
    eventually(lambda: listener.ask("hubnet.stats()['events.queued']") == 0)
    return " ".join(sorted(call["subscription_args"] for call in listener.ask("ran")))


@sentence(
    "net.subscribe.subscribe(event, groups=None, hubs_only=False, peers=None, on_host=None)",
    "net.subscribe(event, groups=None, hubs_only=False, peers=None, on_host=None)",
)
def test_subscribe_takes_the_printed_parameters_in_the_printed_order() -> None:
    from hubnet.subscribe import subscribe

    assert subscribe is hubnet.subscribe
    assert parameters(subscribe) == "(event, groups=None, hubs_only=False, peers=None, on_host=None)"


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ("groups='group1'", "first one"),
        ("groups=['group1', 'group2']", "first one two"),
        ("hubs_only=True", "hub"),
        ("peers=[ids['one'], ids['far']]", "far one"),
        ("on_host=True", "first hub one two"),
        ("on_host=False", "far first hub one two"),
        ("None, False, [ids['one'], ids['far']], True", "one"),
    ],
)
@sentence(
    "net.subscribe.subscribe(event, groups=None, hubs_only=False, peers=None, on_host=None)",
    "net.subscribe(event, groups=None, hubs_only=False, peers=None, on_host=None)",
)
def test_each_parameter_of_subscribe_is_a_filter(
    listener: Actor, tellers: dict[str, Actor], wish: str, expected: str
) -> None:
    listener.run(HANDLER.format(filter=wish))
    assert heard(listener, tellers) == expected


@sentence("Subscribe to an event on another peer or set of peers.")
def test_subscribe_to_an_event_on_another_peer_or_set_of_peers(listener: Actor, tellers: dict[str, Actor]) -> None:
    listener.run("single = []\nhubnet.subscribe('some_event', peers=ids['two'])(lambda *a, **kw: single.append(a))")
    listener.run(HANDLER.format(filter="peers=[ids['hub'], ids['two']]"))
    assert heard(listener, tellers) == "hub two"
    assert listener.ask("single") == [("two",)]


@sentence("Subscribe to an event on another peer or set of peers.")
def test_who_triggers_an_event_is_not_another_peer(listener: Actor, tellers: dict[str, Actor]) -> None:
    listener.run(HANDLER.format(filter="") + TELLS)
    live(listener)
    listener.run("tell('myself')")
    eventually(lambda: listener.ask("hubnet.stats().get('events.published')"))
    assert heard(listener, tellers) == "far first hub one two"


@sentence(
    "When the peer triggers an event using net.event, the peer will take the arguments passed and forward them to this "
    "function."
)
def test_the_peer_will_take_the_arguments_passed_and_forward_them_to_this_function(
    listener: Actor, tellers: dict[str, Actor]
) -> None:
    listener.run("got = []\n@hubnet.subscribe('some_event')\ndef anything(*args, **kwargs): got.append((args, kwargs))")
    live(listener)
    tellers["one"].run("tell('a', [2], {3: b'4'}, named=(5, None))")
    eventually(lambda: listener.ask("got") == [(("a", [2], {3: b"4"}), {"named": (5, None)})])


@sentence("By default, this will subscribe to all peers.")
def test_by_default_this_will_subscribe_to_all_peers(shared: Net, listener: Actor, tellers: dict[str, Actor]) -> None:
    listener.run(HANDLER.format(filter=""))
    live(listener)
    later = shared.worker(TELLS, HUBNET_GROUP="who comes later")
    try:
        assert heard(listener, {**tellers, "later": later}) == "far first hub later one two"
    finally:
        later.leave()  # else the next tests' net has one peer more


@sentence(
    "You can also manually filter the peers by selectively passing in only the peers you want to subscribe to using the "
    "peers keyword argument."
)
@pytest.mark.parametrize(
    "wish", ["ids['first']", "ids['first'].decode()", "[ids['first']]", "hubnet.peers()['peers'][ids['first']]"]
)
def test_you_can_filter_the_peers_by_passing_them_in_using_the_peers_keyword_argument(
    listener: Actor, tellers: dict[str, Actor], wish: str
) -> None:
    listener.run(HANDLER.format(filter=f"peers={wish}"))
    assert heard(listener, tellers) == "first"


@sentence("Subscribe to “some_event” on group1 peers only.")
@example("subscribe_group")
def test_subscribe_to_some_event_on_group1_peers_only(listener: Actor, tellers: dict[str, Actor]) -> None:
    listener.run(code("subscribe_group"))
    assert heard(listener, tellers) == "first one"


@sentence("Subscribe to “some_event” on a single peer.")
@example("subscribe_peer")
def test_subscribe_to_some_event_on_a_single_peer(listener: Actor, tellers: dict[str, Actor]) -> None:
    listener.run(code("subscribe_peer"))
    assert heard(listener, tellers) == listener.ask("[name for name, one in ids.items() if one == peer.id][0]")


@sentence("Subscribe to “some_event” on all peers.")
@example("subscribe_all")
def test_subscribe_to_some_event_on_all_peers(listener: Actor, tellers: dict[str, Actor]) -> None:
    listener.run(code("subscribe_all"))
    assert heard(listener, tellers) == "far first hub one two"
    for call in listener.ask("ran"):
        assert call["subscription_kwarg"] == tellers[call["subscription_args"]].pid
    assert listener.ask("your_function('as before')") == 5
