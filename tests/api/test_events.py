"""Events between real processes, by every filter."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net, Raised

NO_START = {
    "HUBNET_REDIS_URL": "redis://no-such-host.invalid:6379",
    "HUBNET_SECRET": "a passphrase that is long enough",
}
MEMORY = "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss // 1024"

NEWS = dedent("""
    @hubnet.event("news")
    def tell(*args, **kwargs): return args, kwargs
""")
EARS = dedent("""
    heard = []
    @hubnet.subscribe("news")
    def hear(*args, **kwargs): heard.append((args, kwargs))
""")
IS_LIVE = "all(hubnet.Peer().ready().subscriber.is_live(one) for one in hubnet.Peer().subscriptions)"


def live(actor: Actor) -> Actor:
    """Wait until Redis has confirmed all of its subscriptions."""
    eventually(lambda: actor.ask(IS_LIVE))
    return actor


@pytest.fixture(scope="module")
def parts(shared: Net) -> dict[str, Actor]:
    return {
        "hub": shared.hub(NEWS, HUBNET_GROUP="red"),
        "red": shared.worker(NEWS, HUBNET_GROUP="red"),
        "blue": shared.worker(NEWS, HUBNET_GROUP="blue"),
        "green": shared.worker(
            NEWS + "other = hubnet.event('other news')(lambda *a: (a, {}))", HUBNET_GROUP="green: 100% {*}"
        ),
    }


def heard_from(parts: dict[str, Actor], listener: Actor) -> set[str]:
    """Let everybody tell its name, and see whom the latest subscription heard."""
    for name, actor in parts.items():
        actor.run(f"tell({name!r})")
    eventually(lambda: all(name in listener.ask("[args[0] for args, _ in everything]") for name in parts))
    # one reader hands each event to all subscriptions at once; their queues may still be a moment behind
    eventually(lambda: listener.ask("hubnet.stats()['events.queued']") == 0)
    found = set(listener.ask("[args[0] for args, _ in heard]"))
    listener.run("del everything[:], heard[:]")
    return found


@pytest.fixture(scope="module")
def listener(shared: Net, parts: dict[str, Actor]) -> Actor:
    ids = {name: actor.ask("hubnet.Peer().id") for name, actor in parts.items()}
    return live(
        shared.worker(
            f"""
            everything, heard = [], []
            ids = {ids!r}
            @hubnet.subscribe("news")
            def hear_all(*args, **kwargs): everything.append((args, kwargs))
            hubnet.wait_for(4)
            """
        )
    )


def test_what_the_trigger_returns_is_what_handlers_get(parts: dict[str, Actor], listener: Actor) -> None:
    parts["red"].run(
        """
        @hubnet.event("news")
        def cleaned(value, secret): return (value, [1, 2]), {"kept": True}
        """
    )
    assert parts["red"].ask("cleaned('x', secret='y')") == (("x", [1, 2]), {"kept": True})
    eventually(lambda: listener.ask("everything") == [(("x", [1, 2]), {"kept": True})])
    listener.run("del everything[:]")


FILTERS = [
    ("", "hub red blue green"),
    ("groups='red'", "hub red"),
    ("groups=['red', 'blue']", "hub red blue"),
    ("groups='green: 100% {*}'", "green"),
    ("groups='re'", ""),
    ("groups='*'", ""),
    ("groups=[]", ""),
    ("hubs_only=True", "hub"),
    ("groups='blue', hubs_only=True", ""),
    ("on_host=True", "hub red blue green"),
    ("on_host=True, groups='blue'", "blue"),
    ("peers=ids['red']", "red"),
    ("peers=ids['red'].decode()", "red"),
    ("peers=[ids['red'], ids['blue'].decode()]", "red blue"),
    ("peers=hubnet.peers()['peers'][ids['blue']]", "blue"),
    ("peers=hubnet.peers('blue')[0]", "blue"),
    ("peers=hubnet.peer_group('red')", "hub red"),
    ("peers=hubnet.peers('red')", "hub red"),
    ("peers=hubnet.peers(hubs_only=True)", "hub"),
    ("peers=hubnet.peers()['red']", "hub red"),
    ("groups=hubnet.peers('blue')", "blue"),
    ("groups=hubnet.peers('blue')[0]", "blue"),
    ("groups=['red', ids['blue']]", "hub red blue"),
    ("groups='red', peers=ids['blue']", ""),
    ("groups='red', peers=[ids['blue'], ids['red']]", "red"),
]


@pytest.mark.parametrize(("wish", "expected"), FILTERS)
def test_a_filter_hears_those_it_means(parts: dict[str, Actor], listener: Actor, wish: str, expected: str) -> None:
    listener.run(
        f"heard = []\nhubnet.subscribe('news', {wish})(lambda *args, to=heard, **kwargs: to.append((args, kwargs)))"
    )
    live(listener)
    assert heard_from(parts, listener) == set(expected.split())


def test_the_references_examples_work_as_printed(parts: dict[str, Actor], listener: Actor) -> None:
    listener.run(
        """
        heard = []
        group1_peers = hubnet.peers(groups=['blue'])
        @hubnet.subscribe("news", group1_peers)
        def from_group(name, subscription_kwarg=None, heard=heard): heard.append(((name,), {}))
        peer = [one for one in hubnet.peer_group('green: 100% {*}')][0]
        @hubnet.subscribe("news", peer)
        def from_peer(name, subscription_kwarg=None, heard=heard): heard.append(((name,), {}))
        """
    )
    live(listener)
    assert heard_from(parts, listener) == {"blue", "green"}


@pytest.mark.parametrize(
    ("wish", "kind", "text"),
    [
        ("groups=5", "TypeError", "groups= takes a group"),
        ("peers=5", "TypeError", "peers= takes a peer id"),
        ("peers=['x', 5]", "ValueError", "not a peer id"),
        ("peers='nonsense'", "ValueError", "not a peer id"),
        ("groups='peers'", "ConfigError", "may not be called"),
    ],
)
def test_a_filter_of_the_wrong_kind_is_told(listener: Actor, wish: str, kind: str, text: str) -> None:
    with pytest.raises(Raised, match=text) as caught:
        listener.run(f"hubnet.subscribe('news', {wish})")
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("name", "kind"), [("5", "TypeError"), ("''", "ConfigError"), ("'a*'", "ConfigError"), ("None", "TypeError")]
)
@pytest.mark.parametrize("decorator", ["event", "subscribe"])
def test_an_events_name_that_cannot_be_is_told(listener: Actor, decorator: str, name: str, kind: str) -> None:
    with pytest.raises(Raised, match="event's name") as caught:
        listener.run(f"hubnet.{decorator}({name})")
    assert caught.value.kind == kind


def test_a_live_query_hears_those_who_join_later(shared: Net, listener: Actor) -> None:
    listener.run(
        "later = []\nhubnet.subscribe('joined', peers=hubnet.peers('late group'))(lambda *a: later.append(a))\n"
        "hubnet.subscribe('joined', peers=hubnet.peers('another'))(lambda *a: later.append(a))"
    )
    live(listener)
    joiner = shared.worker("tell = hubnet.event('joined')(lambda *a: (a, {}))", HUBNET_GROUP="late group")
    joiner.run("tell(1)")
    eventually(lambda: listener.ask("later") == [(1,)])
    joiner.close()


def test_own_events_are_heard_only_where_asked(listener: Actor, parts: dict[str, Actor]) -> None:
    red = parts["red"]
    red.run(
        """
        mine, theirs = [], []
        hubnet.subscribe("own", local=True)(lambda *a: mine.append(a))
        hubnet.subscribe("own")(lambda *a: theirs.append(a))
        own = hubnet.event("own")(lambda *a: (a, {}))
        """
    )
    live(red).run("own(1)")
    parts["blue"].run("hubnet.event('own')(lambda *a: (a, {}))(2)")
    eventually(lambda: red.ask("sorted(mine), theirs") == ([(1,), (2,)], [(2,)]))


def test_two_handlers_of_one_event_each_get_it_once_and_in_order(shared: Net, parts: dict[str, Actor]) -> None:
    ears = live(
        shared.worker(
            EARS.replace("heard", "first").replace("hear(", "one(")
            + EARS.replace("heard", "second").replace("hear(", "two(")
        )
    )
    parts["blue"].run("for number in range(2000): tell(number)")
    expected = [((number,), {}) for number in range(2000)]
    eventually(lambda: ears.ask("len(first), len(second)") == (2000, 2000))
    assert ears.ask("first") == ears.ask("second") == expected
    ears.close()


def test_a_handler_that_raises_is_logged_and_harms_nothing(shared: Net, parts: dict[str, Actor]) -> None:
    ears = live(
        shared.worker(
            """
            heard = []
            @hubnet.subscribe("news")
            def hear(value):
                heard.append(value)
                raise LookupError(f"the handler's own fault {value}")
            """
        )
    )
    parts["red"].run("tell(1); tell(2, too='many'); tell(3)")
    eventually(lambda: ears.ask("heard") == [1, 3])
    eventually(lambda: "the handler's own fault 3" in ears.said)
    assert "Traceback" in ears.said
    assert ears.ask("hubnet.stats()['events.handler_errors']") == 3
    assert parts["red"].ask("hubnet.stats().get('events.unsent', 0)") == 0
    ears.close()


@pytest.mark.parametrize("value", ["None", "5", "(1, 2, 3)", "(1, {})", "((1,), [])", "[(), {}]"])
def test_an_event_that_returns_no_pair_is_a_type_error(listener: Actor, value: str) -> None:
    listener.run(f"@hubnet.event('wrong')\ndef wrong(): return {value}")
    with pytest.raises(Raised, match=r"event 'wrong': wrong\(\) must return \(args, kwargs\)") as caught:
        listener.ask("wrong()")
    assert caught.value.kind == "TypeError"


def test_what_the_trigger_raises_is_the_callers(listener: Actor) -> None:
    listener.run("@hubnet.event('wrong')\ndef wrong(): raise LookupError('mine')")
    with pytest.raises(Raised, match="mine"):
        listener.ask("wrong()")


def test_an_event_that_cannot_travel_or_is_too_large_is_an_encode_error(listener: Actor) -> None:
    listener.run("import threading\nany_event = hubnet.event('any')(lambda *a: (a, {}))")
    with pytest.raises(Raised, match="cannot be pickled") as caught:
        listener.ask("any_event(threading.Lock())")
    assert caught.value.kind == "EncodeError"
    with pytest.raises(
        Raised, match=r"event 'any': 5000\d\d\d bytes; at most 4194304 travel: send a reference, or call"
    ) as caught:
        listener.ask("any_event(bytes(5_000_000))")
    assert caught.value.kind == "EncodeError"


def test_arrays_and_objects_of_main_travel_together(parts: dict[str, Actor], shared: Net) -> None:
    ears = live(shared.worker("got = []\nhubnet.subscribe('objects')(lambda *a: got.append(a))"))
    parts["red"].run(
        """
        import numpy
        class Shot: name = "s010"
        objects = hubnet.event("objects")(lambda *a: (a, {}))
        objects(numpy.arange(100_000), Shot(), lambda x: x + 1)
        """
    )
    eventually(lambda: ears.ask("len(got)"))
    assert ears.ask("int(got[0][0].sum()), got[0][1].name, got[0][2](1)") == (4999950000, "s010", 2)
    ears.close()


def test_a_subscriber_that_starts_first_hears_a_publisher_that_starts_later(alone: Net) -> None:
    ears = alone.actor(EARS)  # before any hub, so before Redis
    alone.hub()
    live(ears)
    mouth = alone.actor(NEWS, HUBNET_GROUP="mouths")
    mouth.run("tell('at once')")  # before its peer has started
    eventually(lambda: ears.ask("heard") == [(("at once",), {})])


def test_events_triggered_before_there_is_redis_are_kept_in_their_order(alone: Net) -> None:
    mouth = alone.actor(NEWS)
    mouth.run("for number in range(100): tell(number)")
    alone.hub(EARS)
    eventually(lambda: mouth.ask("hubnet.stats().get('events.published', 0)") == 100)


def test_a_hub_counts_the_events_of_its_user_and_its_own_news_apart(alone: Net) -> None:
    hub = alone.hub(NEWS)
    alone.worker()
    eventually(lambda: hub.ask("hubnet.stats().get('news.published', 0)"))
    hub.run("tell('once')")
    eventually(lambda: hub.ask("hubnet.stats().get('events.published', 0)"))
    assert hub.ask("hubnet.stats()['events.published']") == 1


@pytest.mark.processes
def test_events_of_a_peer_that_has_not_started_are_bounded_in_number(alone: Net) -> None:
    mouth = alone.actor(NEWS, HUBNET_OUTBOX="1MiB,50", **NO_START)
    mouth.run("for number in range(200): tell(number)")
    assert mouth.ask("hubnet.stats()['events.dropped_outbox']") == 150
    assert mouth.ask("hubnet.stats().get('events.unsent', 0)") == 0  # the others may go yet


@pytest.mark.processes
def test_of_the_events_that_an_outbox_dropped_the_durable_ones_are_told_apart(alone: Net) -> None:
    mouth = alone.actor(NEWS, HUBNET_OUTBOX="1MiB,50", **NO_START)
    mouth.run("@hubnet.event('kept', durable=True)\ndef keep(n): return (n,), {}")
    mouth.run("for number in range(30): keep(number); tell(number)")
    assert mouth.ask("[hubnet.stats()['events.dropped_' + which] for which in ('outbox', 'durable')]") == [10, 5]


@pytest.mark.processes
def test_events_of_a_peer_that_has_not_started_are_bounded_in_bytes(alone: Net) -> None:
    mouth = alone.actor(NEWS, HUBNET_OUTBOX="4MiB", **NO_START)
    mouth.run("tell(bytes(1_000_000))")
    before = mouth.ask(MEMORY)
    mouth.run("for _ in range(299): tell(bytes(1_000_000))")
    assert mouth.ask("hubnet.stats()['events.dropped_outbox']") == 296
    assert mouth.ask(MEMORY) - before < 100  # MiB, of 300


@pytest.mark.processes
def test_an_event_larger_than_the_whole_outbox_is_dropped_and_counted(alone: Net) -> None:
    mouth = alone.actor(NEWS, HUBNET_OUTBOX="1KiB", **NO_START)
    mouth.run("tell(1); tell(bytes(5000)); tell(2)")
    assert mouth.ask("hubnet.stats()['events.dropped_outbox']") == 2


def test_flush_tells_once_of_events_that_a_full_outbox_has_dropped(alone: Net) -> None:
    alone.hub()
    mouth = alone.worker(NEWS, HUBNET_OUTBOX="1KiB")
    mouth.run("tell(1)")
    assert mouth.ask("hubnet.flush(20)")
    mouth.run("tell(bytes(5000)); tell(2)")
    assert mouth.ask("[hubnet.flush(20), hubnet.flush(20)]") == [False, True]


@pytest.mark.processes
@pytest.mark.parametrize("wrong", ["HUBNET_SECRET", "HUBNET_PORT"])
def test_an_event_of_a_peer_that_cannot_start_is_logged_and_counted_and_never_raised(alone: Net, wrong: str) -> None:
    mouth = failed(alone, wrong)
    assert mouth.ask("[tell(number)[0][0] for number in range(100)]") == list(range(100))
    assert mouth.ask("hubnet.stats()['events.unsent']") == 100
    assert "event 'news' was not sent: " + wrong in mouth.said
    assert "Traceback" not in mouth.said
    assert mouth.leave() == 0


@pytest.mark.processes
@pytest.mark.parametrize("wrong", ["HUBNET_SECRET", "HUBNET_PORT"])
def test_events_of_a_peer_that_cannot_start_are_not_kept(alone: Net, wrong: str) -> None:
    mouth = failed(alone, wrong)
    mouth.run("tell(bytes(1_000_000))")
    before = mouth.ask(MEMORY)
    mouth.run("for _ in range(199): tell(bytes(1_000_000))")
    assert mouth.ask(MEMORY) - before < 100  # MiB, of 200


def failed(net: Net, wrong: str) -> Actor:
    """A peer whose start has failed for good."""
    mouth = net.actor(NEWS, **{wrong: "tooshort"})
    with pytest.raises(Raised, match=wrong) as caught:
        mouth.ask("hubnet.Peer().id")
    assert caught.value.kind == "ConfigError"
    return mouth


def test_the_events_of_a_script_that_ends_at_once_are_heard(
    shared: Net, parts: dict[str, Actor], listener: Actor
) -> None:
    listener.run("brief = []\nhubnet.subscribe('brief')(lambda *a: brief.append(a))")
    live(listener)
    script = shared.actor("tell = hubnet.event('brief')(lambda *a: (a, {}))\nfor number in range(50): tell(number)")
    assert script.leave() == 0
    eventually(lambda: listener.ask("brief") == [(number,) for number in range(50)])


def test_subscriptions_are_in_the_record(parts: dict[str, Actor], listener: Actor) -> None:
    found = eventually(
        lambda: parts["red"].ask("[r['subscriptions'] for r in hubnet.peers('None', refresh=True)['peers'].values()]")
    )
    assert any("news" in events for events in found)
