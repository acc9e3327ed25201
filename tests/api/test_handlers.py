"""Handlers that misbehave, act on the net themselves, or are many: none of it reaches the publisher or another handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.waiting import eventually

from .conftest import SIGCONT, SIGSTOP, Actor, Net
from .witness import id_of, live

TELLS = """
@hubnet.event("news")
def tell(*args, **kwargs): return args, kwargs
"""
NEIGHBOUR = """
beside = []
@hubnet.subscribe("news")
def beside_it(*args): beside.append(args)
"""


@pytest.fixture(scope="module")
def mouth(shared: Net) -> Actor:
    shared.hub()
    return shared.worker(TELLS + "@hubnet.connect('told')\ndef told(): return 'by the publisher'")


@pytest.fixture
def peer(shared: Net, mouth: Actor) -> Iterator[Callable[..., Actor]]:
    """Makes peers with subscriptions that are live; after the test they leave as programs do."""
    made: list[Actor] = []

    def make(code: str, **env: str) -> Actor:
        made.append(shared.worker(code, **env))
        return live(made[-1])

    yield make
    for one in made:
        if one.alive:
            one.leave()


FAILS = """
class Unspeakable(Exception):
    def __str__(self): raise RuntimeError("it cannot be shown either")
    __repr__ = __str__
met = []
@hubnet.subscribe("news")
def fail(kind):
    met.append(kind)
    raise eval(kind)
"""
RAISED = [
    "SystemExit(3)",
    "KeyboardInterrupt()",
    "GeneratorExit()",
    "Unspeakable()",
    "RecursionError()",
    "StopIteration()",
]


@pytest.mark.processes
def test_no_exception_of_a_handler_ends_it_its_neighbour_or_its_process(
    peer: Callable[..., Actor], mouth: Actor
) -> None:
    ears = peer(NEIGHBOUR + FAILS)
    mouth.run(f"for kind in {RAISED!r}: tell(kind)")
    eventually(lambda: ears.ask("met") == RAISED)
    eventually(lambda: ears.ask("beside") == [(kind,) for kind in RAISED])
    eventually(lambda: ears.ask("hubnet.stats()['events.handler_errors']") == len(RAISED))
    eventually(lambda: ears.said.count("a handler of event 'news' failed") == len(RAISED))
    assert ears.said.count("Traceback (most recent call last)") >= len(RAISED)
    assert ears.said.count(", in fail\n") == len(RAISED)  # where in the user's code
    assert mouth.ask("tell('still here')") == (("still here",), {})
    assert ears.leave() == 0


@pytest.mark.processes
def test_sys_exit_in_a_handler_is_logged_and_the_process_goes_on_serving(
    peer: Callable[..., Actor], mouth: Actor
) -> None:
    ears = peer(
        """
        import sys
        @hubnet.connect("alive")
        def alive(): return True
        @hubnet.subscribe("news")
        def leave(code): sys.exit(code)
        """
    )
    mouth.run("tell(4)")
    eventually(lambda: "SystemExit: 4" in ears.said)
    mouth.run("@hubnet.connect('alive')\ndef alive(): pass")
    assert mouth.ask(f"alive(peer={id_of(ears)!r})") is True
    assert ears.leave() == 0


@pytest.mark.processes
def test_an_event_that_cannot_be_rebuilt_is_told_and_the_next_ones_are_heard(
    peer: Callable[..., Actor], shared: Net, mouth: Actor
) -> None:
    ears = peer("heard = []\n@hubnet.subscribe('news')\ndef hear(value): heard.append(value)")
    publisher = shared.worker(
        TELLS
        + """
import sys, types
only_here = sys.modules["only_here"] = types.ModuleType("only_here")
exec("class Shot: pass", vars(only_here))
tell("before"); tell(only_here.Shot()); tell("after")
"""
    )
    eventually(lambda: ears.ask("heard") == ["before", "after"])
    assert "cannot be rebuilt here: ModuleNotFoundError: No module named 'only_here'" in ears.said
    assert ears.ask("hubnet.stats()['events.handler_errors']") == 1
    publisher.leave()


BLOCKS = """
import threading
entered, gate = [], threading.Event()
@hubnet.subscribe("news")
def block(value):
    entered.append(value)
    gate.wait()
@hubnet.connect("alive")
def alive(): return True
"""


@pytest.mark.processes
def test_a_handler_that_blocks_holds_up_nothing_but_itself(peer: Callable[..., Actor], mouth: Actor) -> None:
    """Not its neighbour, not another event's handler, not calls, not later subscriptions, and not the end of the process."""
    ears = peer(BLOCKS + NEIGHBOUR + "others = []\nhubnet.subscribe('other news')(others.append)")
    mouth.run("for number in range(500): tell(number)\nhubnet.event('other news')(lambda: ((1,), {}))()")
    eventually(lambda: ears.ask("beside") == [(number,) for number in range(500)])
    eventually(lambda: ears.ask("others") == [1])
    mouth.run("@hubnet.connect('alive')\ndef alive(): pass")
    assert mouth.ask(f"alive(peer={id_of(ears)!r})") is True
    ears.run("late = []\nhubnet.subscribe('news')(late.append)")
    live(ears)
    mouth.run("tell(500)")
    eventually(lambda: ears.ask("late") == [500])
    assert ears.ask("entered") == [0]
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 500)  # and one that the handler has
    assert ears.leave() == 0


def test_what_waited_for_a_blocked_handler_comes_in_its_order_once_it_goes_on(
    peer: Callable[..., Actor], mouth: Actor
) -> None:
    ears = peer(BLOCKS)
    mouth.run("for number in range(3000): tell(number)")
    eventually(lambda: ears.ask("hubnet.stats()['events.queued']") == 2999)
    ears.run("gate.set()")
    eventually(lambda: len(ears.ask("entered")) == 3000)
    assert ears.ask("entered") == list(range(3000))


def test_a_handler_may_trigger_events_which_others_hear_in_turn(peer: Callable[..., Actor], mouth: Actor) -> None:
    end = peer("heard = []\nhubnet.subscribe('relayed twice')(heard.append)")
    second = peer(
        """
        @hubnet.subscribe("relayed once")
        @hubnet.event("relayed twice")
        def again(value): return (value + ["second"],), {}
        """
    )
    first = peer(
        """
        @hubnet.subscribe("news")
        @hubnet.event("relayed once")
        def once(value): return ([value, "first"],), {}
        """
    )
    mouth.run("for number in range(50): tell(number)")
    eventually(lambda: len(end.ask("heard")) >= 50)
    assert end.ask("heard") == [[number, "first", "second"] for number in range(50)]
    assert first.alive and second.alive


def test_two_handlers_that_answer_each_other_with_the_event_they_hear_do_not_hear_themselves(
    peer: Callable[..., Actor],
) -> None:
    code = """
    heard = []
    @hubnet.event("rally")
    def hit(count): return (count,), {}
    @hubnet.subscribe("rally")
    def hear(count):
        heard.append(count)
        if count < 100:
            hit(count + 1)
    """
    one, other = peer(code), peer(code)
    one.run("hit(1)")
    eventually(lambda: one.ask("heard") == list(range(2, 101, 2)))
    assert other.ask("heard") == list(range(1, 101, 2))


def test_a_handler_may_trigger_its_own_event_and_hear_it_where_it_asked_for_that(peer: Callable[..., Actor]) -> None:
    counts = peer(
        """
        heard = []
        @hubnet.event("count down")
        def count(number): return (number,), {}
        @hubnet.subscribe("count down", local=True)
        def hear(number):
            heard.append(number)
            if number:
                count(number - 1)
        """
    )
    counts.run("count(50)")
    eventually(lambda: counts.ask("heard") == list(range(50, -1, -1)))


def test_a_handler_may_call_its_publisher_back(peer: Callable[..., Actor], mouth: Actor) -> None:
    """Even while the publisher's main thread waits for what that call brings about."""
    callers = [
        peer(
            """
            answers = []
            @hubnet.connect("ask back")
            def ask_back(who): pass
            @hubnet.subscribe("call me")
            def hear(publisher): answers.append(ask_back(hubnet.Peer().id, peer=publisher))
            """
        )
        for _ in range(3)
    ]
    mouth.run(
        """
        import threading
        asked, all_asked = [], threading.Event()
        @hubnet.connect("ask back")
        def ask_back(who):
            asked.append(who)
            if len(asked) == 3:
                all_asked.set()
            return len(asked)
        hubnet.event("call me")(lambda: ((hubnet.Peer().id,), {}))()
        in_time = all_asked.wait(20)
        """
    )
    assert mouth.ask("in_time")
    assert sorted(mouth.ask("asked")) == sorted(id_of(one) for one in callers)
    eventually(lambda: sorted(number for one in callers for number in one.ask("answers")) == [1, 2, 3])


def test_a_handler_may_list_peers_and_say_who_it_is(peer: Callable[..., Actor], mouth: Actor) -> None:
    ears = peer(
        """
        met = []
        @hubnet.subscribe("news")
        def look(value):
            met.append((hubnet.Peer().id, sorted(hubnet.peers()["peers"])))
        """
    )
    eventually(lambda: id_of(mouth) in ears.ask("hubnet.peers()['peers']"))
    mouth.run("tell(1)")
    eventually(lambda: ears.ask("met"))
    assert ears.ask("met[0]") == (id_of(ears), ears.ask("sorted(hubnet.peers()['peers'])"))


def test_a_handler_may_subscribe_and_what_it_subscribed_hears_the_events_after(
    peer: Callable[..., Actor], mouth: Actor
) -> None:
    ears = peer(
        """
        first, same, other = [], [], []
        @hubnet.subscribe("news")
        def hear(value):
            if not first:
                hubnet.subscribe("news")(same.append)
                hubnet.subscribe("news of another name")(other.append)
            first.append(value)
        """
    )
    mouth.run("tell(0)")
    eventually(lambda: ears.ask("first") == [0])
    live(ears)
    mouth.run("tell(1); hubnet.event('news of another name')(lambda: ((2,), {}))()")
    eventually(lambda: ears.ask("first, same, other") == ([0, 1], [1], [2]))
    assert ears.ask("hubnet.Peer().SUBSCRIPTIONS") == ["news", "news of another name"]


def test_a_handlers_thread_runs_one_event_at_a_time_and_each_subscription_has_its_own(
    peer: Callable[..., Actor], mouth: Actor
) -> None:
    """A handler needs no lock of its own; two subscriptions of one function may run at once."""
    ears = peer(
        """
        import threading, time
        inside, most, done = 0, 0, []
        def hear(value):
            global inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.001)
            inside -= 1
            done.append(value)
        hubnet.subscribe("news")(hear)
        both = threading.Barrier(2, timeout=20)
        met = []
        def meet(value): met.append(both.wait())
        hubnet.subscribe("meet")(meet)
        hubnet.subscribe("meet")(meet)
        """
    )
    mouth.run("for number in range(100): tell(number)\nhubnet.event('meet')(lambda: ((1,), {}))()")
    eventually(lambda: ears.ask("done") == list(range(100)))
    assert ears.ask("most") == 1
    eventually(lambda: sorted(ears.ask("met")) == [0, 1])


@pytest.mark.processes
def test_a_subscriber_that_is_stopped_holds_up_nobody_and_gets_what_it_missed_in_order(
    peer: Callable[..., Actor], mouth: Actor
) -> None:
    code = "heard = []\nhubnet.subscribe('news')(heard.append)"
    stops, goes_on = peer(code), peer(code)
    stops.signal(SIGSTOP)
    try:
        mouth.run("for number in range(2000): tell(number)")
        eventually(lambda: len(goes_on.ask("heard")) >= 2000)
    finally:
        stops.signal(SIGCONT)
    eventually(lambda: len(stops.ask("heard")) >= 2000)
    assert stops.ask("heard") == goes_on.ask("heard") == list(range(2000))
    assert stops.ask("hubnet.stats().get('events.lost', 0)") == 0


IS_ASYNC = """
heard, refused = [], None
async def hear(value): heard.append(value)
try:
    hubnet.subscribe("news")(hear)
except TypeError as error:
    refused = str(error)
"""


def test_an_async_handler_is_run_or_refused(peer: Callable[..., Actor], mouth: Actor) -> None:
    ears = peer(NEIGHBOUR + IS_ASYNC)
    if ears.ask("refused"):
        return
    mouth.run("tell(1); tell(2)")
    eventually(lambda: len(ears.ask("beside")) == 2)
    eventually(lambda: ears.ask("heard") == [1, 2])  # what the handler has in hand waits no more, and has not run yet
