"""Whom a subscription hears: filters in pairs and all at once, queries that are kept live, publishers that come again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations, product
from typing import Any

import pytest

from tests.waiting import eventually, free_port

from .conftest import Actor, Net
from .witness import id_of, live

TELLS = """
def tell(event, *said): return hubnet.event(event)(lambda *args: (args, {}))(*said)
"""
FAR = """
import hubnet.machine
hubnet.machine.machine_id = lambda: "another machine"  # as it is in another machine's process
"""
HEARS = """
def hears(event, wishes):
    heard = [[] for _ in wishes]
    for wish, into in zip(wishes, heard):
        eval(f"hubnet.subscribe({event!r}, {wish})")(lambda *said, into=into: into.append(said))
    return heard
"""
NEAR = frozenset({"hub", "red", "second", "blue", "none"})
RED = frozenset({"hub", "red", "second"})


@pytest.fixture(scope="module")
def near(shared: Net) -> dict[str, Actor]:
    """A hub and two workers in red, one in blue, one without a group."""
    return {
        "hub": shared.hub(TELLS, HUBNET_GROUP="red"),
        "red": shared.worker(TELLS, HUBNET_GROUP="red"),
        "second": shared.worker(TELLS, HUBNET_GROUP="red"),
        "blue": shared.worker(TELLS, HUBNET_GROUP="blue"),
        "none": shared.worker(TELLS),
    }


@pytest.fixture
def far(shared: Net, near: dict[str, Actor]) -> Iterator[Actor]:
    """One on another machine."""
    made = shared.worker(FAR + TELLS, HUBNET_GROUP="far")
    yield made
    made.leave()


@pytest.fixture
def listener(shared: Net, near: dict[str, Actor]) -> Iterator[Actor]:
    """Another one in blue, which knows the ids of all by their names."""
    ids = {name: id_of(actor) for name, actor in near.items()}
    made = shared.worker(HEARS + TELLS + f"ids = {ids!r}\nids['me'] = hubnet.Peer().id", HUBNET_GROUP="blue")
    expected = set(ids.values())  # those of earlier tests have left
    eventually(lambda: set(made.ask("hubnet.peers(refresh=True)['peers']")) == expected)
    yield made
    made.leave()


@pytest.fixture
def joins(shared: Net, near: dict[str, Actor]) -> Iterator[Callable[..., Actor]]:
    """Makes peers with the event; after the test they leave as programs do."""
    made: list[Actor] = []

    def join(**env: str) -> Actor:
        made.append(shared.worker(TELLS, **env))
        return made[-1]

    yield join
    for one in made:
        if one.alive:
            one.leave()


def heard(listener: Actor, tellers: dict[str, Actor], wishes: list[str], event: str) -> list[list[str]]:
    """Subscribe with each of these filters; let everybody tell its name; who was heard by each, once for each time."""
    listener.run(f"heard = hears({event!r}, {wishes!r})")
    return hears_again(listener, tellers, event)


def hears_again(listener: Actor, tellers: dict[str, Actor], event: str) -> list[list[str]]:
    """Let everybody tell its name once more; who was heard this time."""
    listener.run(f"(everything,) = hears({event!r}, ['local=True']); [one.clear() for one in heard]")
    live(listener)
    for name, actor in tellers.items():
        actor.run(f"tell({event!r}, {name!r})")
    # the last subscription of the process: what it has was handed to all others before
    eventually(lambda: {name for (name,) in listener.ask("everything")} >= set(tellers))
    eventually(lambda: listener.ask("hubnet.stats()['events.queued']") == 0)
    return [sorted(name for (name,) in said) for said in listener.ask("heard")]


GROUPS: dict[str, frozenset[str]] = {
    "groups=None": NEAR,
    "groups='red'": RED,
    "groups=['blue', 'red']": RED | {"blue"},
    "groups={'blue', None}": frozenset({"blue", "none"}),
    "groups='None'": frozenset({"none"}),
    "groups=''": frozenset({"none"}),
    "groups=[]": frozenset(),
    "groups='nobody'": frozenset(),
    "groups=ids['second']": frozenset({"second"}),
    "groups=hubnet.peers('red')": RED,
    "groups=hubnet.peers(hubs_only=True)": frozenset({"hub"}),
    "groups=['blue', hubnet.peers('red', hubs_only=True)]": frozenset({"hub", "blue"}),
    "groups=[hubnet.peers('blue')[0], ids['red']]": frozenset({"blue", "red"}),
}
PEERS: dict[str, frozenset[str]] = {
    "peers=None": NEAR,
    "peers=ids['red']": frozenset({"red"}),
    "peers=ids['red'].decode()": frozenset({"red"}),
    "peers=hubnet.peers()['peers'][ids['blue']]": frozenset({"blue"}),
    "peers=hubnet.peers('blue')[0]": frozenset({"blue"}),
    "peers=[ids['red'], ids['none'].decode(), hubnet.peers()['peers'][ids['hub']]]": frozenset({"red", "none", "hub"}),
    "peers=(ids['blue'], [ids['red'], (ids['second'],)])": frozenset({"blue", "red", "second"}),
    "peers={ids['red'], ids['blue']}": frozenset({"red", "blue"}),
    "peers=[ids['red'], ids['red'], ids['red'].decode()]": frozenset({"red"}),
    "peers=[]": frozenset(),
    "peers=ids['me']": frozenset(),
    "peers=hubnet.Peer().generate_id(1, '127.0.0.1', 'red')": frozenset(),
    "peers=hubnet.peer_group('red')": RED,
    "peers=hubnet.peers()['red']": RED,
    "peers=hubnet.peers()": NEAR,
    "peers=hubnet.peers(['red', 'None'])": RED | {"none"},
    "peers=hubnet.wait_for(1, 'red', hubs_only=True)": frozenset({"hub"}),
    "peers=[hubnet.peers(hubs_only=True), ids['blue']]": frozenset({"hub", "blue"}),
}
HUBS: dict[str, frozenset[str]] = {"hubs_only=True": frozenset({"hub"}), "hubs_only=False": NEAR}
EVERYBODY = NEAR | {"far"}
ON_HOST = {"on_host=True": NEAR, "on_host=False": EVERYBODY, "on_host=None": EVERYBODY}


def with_far(filters: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """The same filters where there is one more, far away in a group of its own: those that mean everybody mean it too."""
    return {wish: EVERYBODY if names == NEAR else names for wish, names in filters.items()} | {
        "groups='far'" if filters is GROUPS else "peers=ids['far']": frozenset({"far"})
    }


def combined(*filters: dict[str, frozenset[str]]) -> dict[str, list[str]]:
    """Each combination of one of each, and who passes all of them."""
    return {
        ", ".join(wish for wish, _ in chosen): sorted(frozenset.intersection(*(names for _, names in chosen)))
        for chosen in product(*(one.items() for one in filters))
    }


@pytest.mark.parametrize(
    "filters",
    list(combinations([GROUPS, PEERS, HUBS], 2)),
    ids=["groups and peers", "groups and hubs_only", "peers and hubs_only"],
)
def test_two_filters_together_hear_whom_both_of_them_mean(
    listener: Actor, near: dict[str, Actor], filters: tuple[dict[str, frozenset[str]], ...]
) -> None:
    expected = combined(*filters)
    assert dict(zip(expected, heard(listener, near, list(expected), "pairs"), strict=True)) == expected


@pytest.mark.processes
@pytest.mark.parametrize("others", [GROUPS, PEERS, HUBS], ids=["groups", "peers", "hubs_only"])
def test_on_host_together_with_another_filter_hears_whom_both_of_them_mean(
    listener: Actor, near: dict[str, Actor], far: Actor, others: dict[str, frozenset[str]]
) -> None:
    listener.run(f"ids['far'] = {id_of(far)!r}; hubnet.wait_for(1, 'far')")
    expected = combined(with_far(others), ON_HOST)
    assert (
        dict(zip(expected, heard(listener, {**near, "far": far}, list(expected), "on host"), strict=True)) == expected
    )


def test_three_and_four_filters_together_hear_whom_all_of_them_mean(listener: Actor, near: dict[str, Actor]) -> None:
    groups = {wish: GROUPS[wish] for wish in ("groups='red'", "groups=['blue', 'red']", "groups=hubnet.peers('red')")}
    peers = {
        wish: PEERS[wish]
        for wish in ("peers=hubnet.peer_group('red')", "peers=[hubnet.peers(hubs_only=True), ids['blue']]", "peers=[]")
    }
    expected = {**combined(groups, peers, HUBS), **combined(groups, peers, HUBS, {"on_host=True": NEAR})}
    assert dict(zip(expected, heard(listener, near, list(expected), "all"), strict=True)) == expected


def test_in_groups_a_str_is_a_groups_name_even_if_it_looks_like_a_peer_id(
    listener: Actor, near: dict[str, Actor], joins: Callable[..., Actor]
) -> None:
    odd = joins(HUBNET_GROUP=id_of(near["red"]).decode())
    wishes = ["groups=ids['red'].decode()", "peers=ids['red'].decode()"]
    assert heard(listener, {**near, "odd": odd}, wishes, "looks like") == [["odd"], ["red"]]


def test_own_events_pass_the_filters_as_those_of_others_do(listener: Actor, near: dict[str, Actor]) -> None:
    expected = {
        "local=True": sorted({*NEAR, "me"}),
        "peers=ids['me'], local=True": ["me"],
        "peers=[ids['me'], ids['red']], local=True": ["me", "red"],
        "groups='blue', local=True": ["blue", "me"],
        "groups='red', local=True": sorted(RED),
        "hubs_only=True, local=True": ["hub"],
        "on_host=True, groups='blue', local=True": ["blue", "me"],
        "peers=hubnet.peers('blue'), local=True": [
            "blue",
            "me",
        ],  # its query means this peer, though no listing shows it
        "groups='blue'": ["blue"],
    }
    found = heard(listener, {**near, "me": listener}, list(expected), "own")
    assert dict(zip(expected, found, strict=True)) == expected


LIVE = [
    "peers=hubnet.peers('crew')",
    "groups=hubnet.peers('crew')",
    "peers=hubnet.wait_for(0, 'crew')",
    "groups=['red', hubnet.peers('crew')], peers=hubnet.peers('crew')",
    "peers=hubnet.peers(['crew', 'red']), groups='crew'",
    "groups=hubnet.peers(), peers=[hubnet.peers('crew'), ids['blue']], hubs_only=False",
    "peers=hubnet.peers('crew', on_host=True), on_host=True",
]
CREW_HUBS = ["peers=hubnet.peers('crew', hubs_only=True)", "peers=hubnet.peers('crew'), hubs_only=True"]


def test_a_query_is_kept_live_for_those_who_join_leave_and_come_again(
    listener: Actor, near: dict[str, Actor], joins: Callable[..., Actor]
) -> None:
    listener.run(f"assert not hubnet.peers('crew')['peers']\nheard = hears('crew', {LIVE + CREW_HUBS!r})")
    live(listener)
    nobody: list[list[str]] = [["blue"] if "ids['blue']" in wish else [] for wish in LIVE + CREW_HUBS]
    assert hears_again(listener, near, "crew") == nobody

    def crew(**also: Actor) -> list[list[str]]:
        return [sorted(also) if wish in LIVE else [] for wish in LIVE + CREW_HUBS]

    def without_blue(found: list[list[str]]) -> list[list[str]]:
        return [[name for name in names if name != "blue"] for names in found]

    one, other = joins(HUBNET_GROUP="crew"), joins(HUBNET_GROUP="crew")
    both = {"one": one, "other": other}
    assert without_blue(hears_again(listener, {**near, **both}, "crew")) == crew(**both)

    one.leave()
    elsewhere = joins(HUBNET_GROUP="not crew")
    found = hears_again(listener, {**near, "other": other, "elsewhere": elsewhere}, "crew")
    assert without_blue(found) == crew(other=other)

    again = joins(HUBNET_GROUP="crew")
    found = hears_again(listener, {**near, "other": other, "again": again, "elsewhere": elsewhere}, "crew")
    assert without_blue(found) == crew(other=other, again=again)


def test_a_query_for_hubs_hears_a_hub_that_joins_later(
    listener: Actor, near: dict[str, Actor], joins: Callable[..., Actor]
) -> None:
    listener.run(f"heard = hears('hubs of the crew', {CREW_HUBS!r})")
    live(listener)
    tellers = {**near, "worker": joins(HUBNET_GROUP="crew"), "new": joins(HUBNET_GROUP="crew", HUBNET_IS_HUB="1")}
    assert hears_again(listener, tellers, "hubs of the crew") == [["new"], ["new"]]


@pytest.mark.parametrize(
    "wish", ["hubnet.peer_group('blue')", "hubnet.peers()['blue']", "list(hubnet.peers('blue')['peers'])"]
)
def test_a_list_of_peers_is_these_peers_and_nobody_who_joins_later(
    listener: Actor, near: dict[str, Actor], joins: Callable[..., Actor], wish: str
) -> None:
    wishes = [f"peers={wish}", f"groups={wish}"]
    listener.run(f"heard = hears('listed', {wishes!r})")
    tellers = {**near, "later": joins(HUBNET_GROUP="blue")}
    assert hears_again(listener, tellers, "listed") == [["blue"], ["blue"]]


@pytest.mark.processes
@pytest.mark.parametrize("end", ["kill", "leave"])
def test_a_publisher_that_comes_again_at_its_address_is_heard_by_every_filter_that_meant_it(
    shared: Net, listener: Actor, near: dict[str, Actor], end: str
) -> None:
    """Its id is the same, its numbers start anew: nothing is taken for repeated or lost."""
    where = {"HUBNET_PORT": str(free_port()), "HUBNET_PORT_RANGE": "1", "HUBNET_GROUP": f"again {end}"}
    listener.run(f"ids['it'] = hubnet.Peer().generate_id({where['HUBNET_PORT']}, '127.0.0.1', 'again {end}')")
    wishes = ["", f"'again {end}'", "peers=ids['it']", f"peers=hubnet.peers('again {end}')", "groups=ids['it']"]
    event = f"comes again {end}"
    listener.run(f"heard = hears({event!r}, {wishes!r})")  # before it was ever there
    live(listener)
    expected: list[Any] = []
    for life in range(3):
        publisher = shared.worker(TELLS, **where)
        assert id_of(publisher) == listener.ask("ids['it']")
        publisher.run(f"for number in range(20): tell({event!r}, {life}, number)")
        expected += [(life, number) for number in range(20)]
        eventually(lambda: min(listener.ask("[len(one) for one in heard]")) >= len(expected))  # noqa: B023 - asked at once
        publisher.kill() if end == "kill" and life < 2 else publisher.leave()
    assert listener.ask("heard") == [expected] * len(wishes)
    assert (
        listener.ask("[hubnet.stats().get('events.' + what, 0) for what in ('lost', 'repeated', 'rejected')]")
        == [0] * 3
    )
