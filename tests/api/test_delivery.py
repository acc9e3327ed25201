"""What arrives: each event once for each subscription, in its publisher's order; what broken connections lose is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.waiting import eventually, free_port

from .conftest import Actor, Net
from .witness import id_of, live, stopped

TELLS = """
@hubnet.event("news")
def tell(*args): return args, {}
"""
HEARS = """
heard = []
@hubnet.subscribe("news")
def hear(value): heard.append(value)
"""
FLOWS = """
import threading
flowing, told = True, 0
def flow():
    global told
    while flowing:
        tell(told)
        told += 1
        if told % 10 == 0:
            pace.wait(0.002)
pace, flowing_thread = threading.Event(), threading.Thread(target=flow, daemon=True)
flowing_thread.start()
"""
PUBLISHED = "sum(hubnet.stats().get(f'{what}.published', 0) for what in ('events', 'news'))"
RECONNECTS = "hubnet.stats().get('reconnects.subscriptions', 0)"
LOST = "hubnet.stats().get('events.lost', 0)"
REPEATED = "hubnet.stats().get('events.repeated', 0)"
Made = Callable[..., Actor]


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


@pytest.fixture(scope="module")
def admin(shared: Net, hub: Actor) -> Iterator[redis.Redis]:
    """A client of the net's Redis that may end the connections of others."""
    url = shared.guarded.url("admin") if shared.guarded else hub.ask("hubnet.Peer().ready().broker.url()")
    made: redis.Redis = redis.Redis.from_url(url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def mouth(shared: Net, hub: Actor) -> Actor:
    return shared.worker(TELLS)


@pytest.fixture
def peer(shared: Net, hub: Actor) -> Iterator[Made]:
    """Makes peers with subscriptions that are live; after the test they leave as programs do."""
    made: list[Actor] = []

    def make(code: str, **env: str) -> Actor:
        made.append(shared.worker(code, **env))
        return live(made[-1])

    yield make
    for one in made:
        if one.alive:
            one.leave()


def test_five_subscribers_each_hear_three_publishers_each_in_its_order(peer: Made) -> None:
    ears = [peer(HEARS) for _ in range(5)]
    mouths = {name: peer(TELLS, HUBNET_GROUP=name) for name in ("first", "second", "third")}
    for name, actor in mouths.items():
        actor.send("run", f"for number in range(400): tell(({name!r}, number))")
    for actor in mouths.values():
        actor.answer()
    for one in ears:
        eventually(lambda: len(one.ask("heard")) >= 1200)  # noqa: B023 - asked at once
        heard = one.ask("heard")
        for name in mouths:
            assert [number for who, number in heard if who == name] == list(range(400))
        assert len(heard) == 1200


def test_subscriptions_that_overlap_each_get_every_event_once_and_in_order(peer: Made) -> None:
    """By every route: for everybody, for a group, for two groups, for a peer, for all of that, and one function twice."""
    mouth, other = peer(TELLS, HUBNET_GROUP="red"), peer(TELLS, HUBNET_GROUP="blue")
    ears = peer(
        f"""
        it = {id_of(mouth)!r}
        hubnet.wait_for(1, "red")
        wishes = [
            "", "'red'", "['red', 'blue']", "peers=it", "peers=[it, it.decode()]", "peers=hubnet.peers()", "on_host=True",
            "peers=hubnet.peers('red'), groups=['blue', 'red']", "peers=hubnet.peers('red')[0], groups='red'", "local=True",
        ]
        heard = [[] for _ in wishes]
        for wish, into in zip(wishes, heard):
            eval(f"hubnet.subscribe('news', {{wish}})")(into.append)
        twice = []
        hubnet.subscribe("news", "red")(twice.append)
        hubnet.subscribe("news", "red")(twice.append)
        """
    )
    mouth.run("for number in range(1000): tell(number)")
    eventually(lambda: min(ears.ask("[len(one) for one in heard]")) >= 1000)
    eventually(lambda: len(ears.ask("twice")) >= 2000)
    other.run("tell('the end')")
    eventually(lambda: ears.ask("sum('the end' in one for one in heard)") == 5)
    heard, twice = ears.ask("heard, twice")
    assert [[value for value in one if value != "the end"] for one in heard] == [list(range(1000))] * 10
    assert sorted(twice) == sorted([*range(1000), *range(1000)])
    assert ears.ask(f"{LOST}, {REPEATED}") == (0, 0)


def test_many_events_of_a_megabyte_all_arrive_in_order(peer: Made, mouth: Actor) -> None:
    ears = peer(
        "heard = []\n@hubnet.subscribe('news')\ndef hear(number, data): heard.append((number, len(data), data[-1]))"
    )
    mouth.run("for number in range(40): tell(number, bytes((1 << 20) - 1) + bytes([number]))")
    eventually(lambda: len(ears.ask("heard")) >= 40)
    assert ears.ask("heard") == [(number, 1 << 20, number) for number in range(40)]
    assert ears.ask(LOST) == 0


def test_small_and_large_events_keep_their_order_among_each_other(peer: Made, mouth: Actor) -> None:
    ears = peer("heard = []\n@hubnet.subscribe('news')\ndef hear(number, data): heard.append(number)")
    mouth.run("for number in range(600): tell(number, bytes(200_000 if number % 50 == 7 else number % 50))")
    eventually(lambda: len(ears.ask("heard")) >= 600)
    assert ears.ask("heard") == list(range(600))


def test_a_subscriber_that_comes_late_hears_from_then_on_and_misses_nothing_by_its_own_count(
    peer: Made, mouth: Actor
) -> None:
    early = peer(HEARS)
    mouth.run("for number in range(100): tell(number)")
    eventually(lambda: len(early.ask("heard")) >= 100)
    late = peer(HEARS)
    mouth.run("for number in range(100, 200): tell(number)")
    eventually(lambda: len(early.ask("heard")) >= 200 and len(late.ask("heard")) >= 100)
    assert (early.ask("heard"), late.ask("heard")) == (list(range(200)), list(range(100, 200)))
    assert late.ask(f"{LOST}, {REPEATED}") == (0, 0)


@pytest.mark.processes
def test_a_subscription_made_while_events_flow_hears_all_from_some_event_on(peer: Made) -> None:
    mouth, ears = peer(TELLS), peer(HEARS)
    mouth.run(FLOWS)
    for number in range(5):
        ears.run(
            f"late{number} = []\nhubnet.subscribe('news', groups={[None, 'None'][number % 2]!r})(late{number}.append)"
        )
        eventually(lambda: ears.ask(f"len(late{number})") > 100)  # noqa: B023 - asked at once
    mouth.run("flowing = False; flowing_thread.join()")
    told = mouth.ask("told")
    eventually(lambda: ears.ask("heard[-1], hubnet.stats()['events.queued']") == (told - 1, 0))
    assert ears.ask("heard") == list(range(told))
    for number in range(5):
        late = ears.ask(f"late{number}")
        assert late == list(range(late[0], told))
    assert ears.ask(f"{LOST}, {REPEATED}") == (0, 0)


@pytest.mark.processes
@pytest.mark.parametrize("end", ["kill", "leave"])
def test_a_subscriber_that_comes_again_at_its_address_hears_from_then_on(shared: Net, mouth: Actor, end: str) -> None:
    where = {"HUBNET_PORT": str(free_port()), "HUBNET_PORT_RANGE": "1"}
    told = 0
    for _ in range(3):
        ears = live(shared.worker(HEARS, **where))
        mouth.run(f"for number in range({told}, {told + 50}): tell(number)")
        eventually(lambda: len(ears.ask("heard")) >= 50)  # noqa: B023 - asked at once
        assert ears.ask("heard") == list(range(told, told + 50))
        assert ears.ask(f"{LOST}, {REPEATED}") == (0, 0)
        ears.kill() if end == "kill" else ears.leave()
        mouth.run("tell('to nobody')")
        told += 50


@pytest.mark.processes
def test_what_an_earlier_life_of_a_subscriber_heard_leaves_the_listing_with_it(shared: Net, mouth: Actor) -> None:
    where = {"HUBNET_PORT": str(free_port()), "HUBNET_PORT_RANGE": "1"}
    first = live(shared.worker(HEARS + "hubnet.subscribe('other news')(print)", **where))
    listed = f"hubnet.peers()['peers'].get({id_of(first)!r}, {{}}).get('subscriptions')"
    eventually(lambda: mouth.ask(listed) == ["news", "other news"])
    first.kill()
    again = live(shared.worker("hubnet.subscribe('new news')(print)", **where))
    eventually(lambda: mouth.ask(listed) == ["new news"])
    assert again.leave() == 0
    eventually(lambda: mouth.ask(listed) is None)
    mouth.run("tell('to whoever is left')")
    eventually(lambda: mouth.ask("hubnet.stats()['events.outbox']") == 0)
    assert mouth.ask("hubnet.stats().get('events.unsent', 0)") == 0


# -- when connections break ----------------------------------------------------------------------------------------------


def cut(admin: redis.Redis, what: str) -> None:
    """End the connections of all subscribers, or of all publishers."""
    if what == "subscribers":
        admin.client_kill_filter(_type="pubsub")
    for client in admin.client_list() if what == "publishers" else ():
        if client["cmd"] == "publish":
            admin.client_kill_filter(_id=client["id"])


def cut_and_told(admin: redis.Redis, mouth: Actor) -> int:
    """Cut publishers off; how often this one has noticed so far. It may be on its way back from the last time."""
    cut(admin, "publishers")
    told: int = mouth.ask("hubnet.stats().get('events.interruptions', 0)")
    return told


@pytest.mark.processes
@pytest.mark.parametrize("what", ["subscribers", "publishers", "both"])
def test_when_connections_are_cut_while_events_flow_what_arrives_comes_once_and_in_order_and_what_is_lost_is_counted(
    peer: Made, admin: redis.Redis, what: str
) -> None:
    mouth, ears = peer(TELLS), peer(HEARS + "of_group = []\nhubnet.subscribe('news', 'elsewhere')(of_group.append)")
    mouth.run(FLOWS)
    for number in range(1, 4):
        before = ears.ask("len(heard)")
        eventually(lambda: ears.ask("len(heard)") > before + 200)  # noqa: B023 - asked at once
        if what != "publishers":
            cut(admin, "subscribers")
        if what != "subscribers":
            eventually(lambda: cut_and_told(admin, mouth) >= number, pause=0.2)  # noqa: B023
        if what != "publishers":
            eventually(lambda: ears.ask(RECONNECTS) >= number)  # noqa: B023
            live(ears)
    before = ears.ask("len(heard)")
    eventually(lambda: ears.ask("len(heard)") > before + 200)
    mouth.run("flowing = False; flowing_thread.join()")
    told = mouth.ask("told")
    eventually(lambda: ears.ask(f"len(heard) + {LOST}") >= told)
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 0)
    heard = ears.ask("heard")
    assert heard == sorted(set(heard))
    assert len(heard) + ears.ask(LOST) == told
    if what == "publishers":
        assert heard == list(range(told))
    assert ears.ask("of_group") == []


@pytest.mark.processes
def test_what_is_told_while_a_subscriber_is_cut_off_is_lost_and_counted_and_the_rest_is_heard(
    peer: Made, mouth: Actor, admin: redis.Redis
) -> None:
    ears = peer(HEARS)
    mouth.run("for number in range(10): tell(number)")
    eventually(lambda: len(ears.ask("heard")) == 10)
    with cut_off(ears, admin, mouth):
        mouth.run("for number in range(10, 17): tell(number)")
    mouth.run("for number in range(17, 20): tell(number)")
    eventually(lambda: ears.ask("heard") == [*range(10), *range(17, 20)])
    assert ears.ask(LOST) == 7


@contextmanager
def cut_off(ears: Actor, admin: redis.Redis, mouth: Actor) -> Iterator[None]:
    """For as long as it takes Redis to get what this one publishes meanwhile; then it hears again."""
    published, reconnects = mouth.ask(PUBLISHED), ears.ask(RECONNECTS)
    with stopped(ears):
        cut(admin, "subscribers")
        yield
        eventually(lambda: mouth.ask(f"{PUBLISHED} > {published} and not hubnet.stats()['events.outbox']"))
    eventually(lambda: ears.ask(RECONNECTS) > reconnects)
    live(ears)


@pytest.mark.processes
def test_the_last_events_before_a_silence_are_counted_as_lost_as_well(
    peer: Made, mouth: Actor, admin: redis.Redis
) -> None:
    ears = peer(HEARS)
    mouth.run("tell(0)")
    eventually(lambda: ears.ask("heard") == [0])
    with cut_off(ears, admin, mouth):
        mouth.run("for number in range(1, 6): tell(number)")
    eventually(lambda: ears.ask(LOST) == 5)
    assert ears.ask("heard") == [0]


@pytest.mark.processes
def test_own_events_that_a_local_subscription_lost_are_counted(peer: Made, admin: redis.Redis) -> None:
    both = peer(TELLS + "heard = []\nhubnet.subscribe('news', local=True)(heard.append)\ntold = 1")
    both.run("tell(0)")
    eventually(lambda: both.ask("heard") == [0])

    def something_is_lost() -> bool:
        reconnects = both.ask(RECONNECTS)
        cut(admin, "subscribers")
        both.run("tell(told); tell(told + 1); told += 2")
        eventually(lambda: both.ask(RECONNECTS) > reconnects)
        live(both).run("tell(told); told += 1")
        eventually(lambda: both.ask("heard[-1] == told - 1"))
        return bool(both.ask("len(heard) < told"))

    eventually(something_is_lost)
    assert both.ask(f"len(heard) + {LOST}") == both.ask("told")


@pytest.mark.processes
def test_events_that_no_subscription_here_wants_are_not_counted_as_lost(peer: Made, admin: redis.Redis) -> None:
    wanted, unwanted = peer(TELLS, HUBNET_GROUP="red"), peer(TELLS, HUBNET_GROUP="red")
    ears = peer(f"heard = []\nhubnet.subscribe('news', peers={id_of(wanted)!r})(heard.append)")
    unwanted.run("tell(0)")
    wanted.run("tell(1)")
    eventually(lambda: ears.ask("heard") == [1])
    with cut_off(ears, admin, unwanted):
        unwanted.run("tell(2)")
    unwanted.run("tell(3)")
    wanted.run("tell(4)")
    eventually(lambda: ears.ask("heard") == [1, 4])
    assert ears.ask(LOST) == 0


@pytest.mark.processes
def test_news_of_peers_that_came_and_went_are_not_counted_as_lost_events(
    peer: Made, mouth: Actor, hub: Actor, admin: redis.Redis
) -> None:
    ears = peer(HEARS + "hubnet.peers()\nparts = hubnet.Peer().ready()\ndirectory = parts.directory")

    def newcomer_is_heard_of() -> None:
        eventually(lambda: ears.ask("parts.subscriber.is_live(directory._presence)"))
        before = ears.ask("directory._changes")
        peer("")
        eventually(lambda: ears.ask("directory._changes") > before)

    newcomer_is_heard_of()
    for _ in range(2):  # the first may be what the hub had not told yet
        with cut_off(ears, admin, hub):
            peer("").leave()
    newcomer_is_heard_of()
    live(ears)
    mouth.run("tell(1)")
    eventually(lambda: ears.ask("heard") == [1])
    assert ears.ask(LOST) == 0
    assert "lost" not in ears.said


RELOADED = """
import hubnet
met = globals().get("met", [])
@hubnet.subscribe("news")
def hear(value): met.append(({!r}, value))
"""


@pytest.mark.processes
def test_a_module_that_is_reloaded_hears_each_event_once_by_its_new_handler(
    shared: Net, peer: Made, mouth: Actor
) -> None:
    """As a connection's later function replaces the earlier one of its tag."""
    shared.module("reloaded_ears", RELOADED.format("the first"))
    ears = peer("import importlib, reloaded_ears")
    mouth.run("tell('a')")
    eventually(lambda: ears.ask("reloaded_ears.met") == [("the first", "a")])
    shared.module("reloaded_ears", RELOADED.format("the second"))
    ears.run("importlib.reload(reloaded_ears)\nhubnet.subscribe('news')(lambda value: done.append(value))\ndone = []")
    live(ears)
    mouth.run("tell('b')")
    eventually(lambda: ears.ask("done") == ["b"])
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 0)
    assert ears.ask("reloaded_ears.met") == [("the first", "a"), ("the second", "b")]


MADE_ELSEWHERE = """
import functools, hubnet, ears_made
met = globals().get("met", [])
def shouts(function): return lambda value: function(value.upper())
def into(box, value): box.append(("{0}", value))
hubnet.subscribe("news")(ears_made.writing(met, "{0} of a factory"))
hubnet.subscribe("news")(functools.partial(into, met))
@hubnet.subscribe("news")
@shouts
def hear(value): met.append(("{0}", value))
def plain(value): met.append(("main wants", value))
"""


@pytest.mark.processes
def test_handlers_that_others_made_are_replaced_with_the_module_that_subscribed_them_and_no_others(
    shared: Net, peer: Made, mouth: Actor
) -> None:
    """A factory's, a partial and a decorator's without wraps; what ``__main__`` made of a module's function stays."""
    shared.module("ears_made", "def writing(box, name): return lambda value: box.append((name, value))")
    shared.module("made_ears", MADE_ELSEWHERE.format("first"))
    ears = peer("import importlib, made_ears\nhubnet.subscribe('news')(made_ears.plain)")
    mouth.run("tell('a')")
    eventually(lambda: len(ears.ask("made_ears.met")) == 4)
    shared.module("made_ears", MADE_ELSEWHERE.format("second one"))
    ears.run("importlib.reload(made_ears); made_ears.met.clear()")
    live(ears)
    mouth.run("tell('b')")
    wanted = [("main wants", "b"), ("second one", "B"), ("second one", "b"), ("second one of a factory", "b")]
    eventually(lambda: len(ears.ask("made_ears.met")) >= 4)
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 0)
    assert sorted(ears.ask("made_ears.met")) == wanted


@pytest.mark.processes
def test_a_cell_that_is_run_again_replaces_its_handler(peer: Made, mouth: Actor) -> None:
    """As in a notebook: the same name for the same event, in the text of another run."""
    ears = peer("heard = []")
    for run in "one", "two":
        ears.run(f"@hubnet.subscribe('news')\ndef on_news(value): heard.append(({run!r}, value))")
    ears.run("@hubnet.subscribe('news')\ndef on_news_too(value): heard.append(('too', value))")
    live(ears)
    mouth.run("tell('a')")
    eventually(lambda: len(ears.ask("heard")) >= 2)
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 0)
    assert sorted(ears.ask("heard")) == [("too", "a"), ("two", "a")]


BY_A_FUNCTION = """
import hubnet
met = globals().get("met", [])
def hear(value): met.append(({!r}, value))
def setup(): hubnet.subscribe("news")(hear)
"""


@pytest.mark.processes
def test_handlers_that_a_function_of_a_reloaded_module_subscribes_are_replaced(
    shared: Net, peer: Made, mouth: Actor
) -> None:
    shared.module("set_up_ears", BY_A_FUNCTION.format("first"))
    ears = peer("import importlib, set_up_ears\nset_up_ears.setup()")
    mouth.run("tell('a')")
    eventually(lambda: ears.ask("set_up_ears.met") == [("first", "a")])
    shared.module("set_up_ears", BY_A_FUNCTION.format("the second"))
    ears.run("importlib.reload(set_up_ears).setup()")
    live(ears)
    mouth.run("tell('b')")
    eventually(lambda: len(ears.ask("set_up_ears.met")) >= 2)
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 0)
    assert ears.ask("set_up_ears.met") == [("first", "a"), ("the second", "b")]


@pytest.mark.processes
def test_texts_that_only_look_alike_keep_their_handlers(shared: Net, peer: Made, mouth: Actor) -> None:
    """Plugins of one module name, functions of one name in two modules, one function wanted twice, two scripts that are run."""
    for name in "one", "two":
        shared.module(f"plugin_{name}", f"import builtins, hubnet\ndef hear(value): builtins.met.append('{name}')\n"
            "if __name__ in ('plugin', '__main__'): hubnet.subscribe('news')(hear)")  # fmt: skip
    ears = peer(
        f"""
        import builtins, importlib.util, runpy, plugin_one, plugin_two
        builtins.met = []
        def load(name):
            spec = importlib.util.spec_from_file_location("plugin", {str(shared.folder)!r} + f"/plugin_{{name}}.py")
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        """
    )
    ears.run("load('one'); load('two')")
    ears.run("hubnet.subscribe('news')(plugin_one.hear)")
    ears.run("hubnet.subscribe('news')(plugin_two.hear)")
    ears.run("hubnet.subscribe('news', groups=[None, 'x'])(plugin_two.hear)")
    ears.run(f"runpy.run_path({str(shared.folder / 'plugin_one.py')!r}, run_name='__main__')")
    ears.run(f"runpy.run_path({str(shared.folder / 'plugin_two.py')!r}, run_name='__main__')")
    live(ears)
    mouth.run("tell('a')")
    eventually(lambda: len(ears.ask("met")) >= 7)
    assert sorted(ears.ask("met")) == ["one"] * 3 + ["two"] * 4
