"""The event decorator as a hook: the function runs here as before, and its pair is what travels, as it was at that moment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net, Raised
from .witness import id_of, live

HEARS = """
heard = []
@hubnet.subscribe("news")
def hear(*args, **kwargs): heard.append((args, kwargs))
"""
TELLS = """
@hubnet.event("news")
def tell(*args, **kwargs): return args, kwargs
"""


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


@pytest.fixture(scope="module")
def ears_of_all(shared: Net, hub: Actor) -> Actor:
    return live(shared.worker(HEARS))


@pytest.fixture
def ears(ears_of_all: Actor) -> Actor:
    """A peer that has not heard anything yet."""
    return ears_of_all.run("del heard[:]")


@pytest.fixture(scope="module")
def mouth(shared: Net, hub: Actor) -> Actor:
    return shared.worker(TELLS)


def test_the_caller_gets_the_very_pair_that_the_function_made(mouth: Actor, ears: Actor) -> None:
    """A list does for args, and a tuple with names for the pair; subscribers are called with what is in them."""
    mouth.run(
        """
        from typing import NamedTuple
        class Pair(NamedTuple):
            args: list
            kwargs: dict
        @hubnet.event("news")
        def hook(value):
            global made
            made = Pair([value, len(value)], {"kind": "made here"})
            return made
        got = hook("frame")
        """
    )
    assert mouth.ask("got is made")
    eventually(lambda: ears.ask("heard") == [(("frame", 5), {"kind": "made here"})])


def test_what_travels_is_the_value_as_it_was_when_the_event_was_triggered(mouth: Actor, ears: Actor) -> None:
    mouth.run(
        """
        frames = [1]
        args, kwargs = tell(frames, names={"a"})
        frames.append(2)
        kwargs["names"].add("b")
        tell(frames)
        """
    )
    eventually(lambda: ears.ask("heard") == [(([1],), {"names": {"a"}}), (([1, 2],), {})])


@pytest.mark.processes
def test_the_function_runs_once_a_call_on_the_callers_thread_whether_anybody_listens_or_not(mouth: Actor) -> None:
    mouth.run(
        """
        import threading
        ran = []
        @hubnet.event("nobody listens to this")
        def hook():
            ran.append(threading.current_thread())
            return (), {}
        thread = threading.Thread(target=hook)
        hook(); thread.start(); thread.join()
        me = threading.current_thread()
        """
    )
    assert mouth.ask("ran == [me, thread]")


def test_the_trigger_looks_like_its_function(mouth: Actor) -> None:
    mouth.run(
        """
        import inspect
        @hubnet.event("news")
        def done(shot: str, frame: int = 1):
            "A frame is done."
            return (shot, frame), {}
        """
    )
    assert mouth.ask("done.__name__, done.__doc__, str(inspect.signature(done))") == (
        "done",
        "A frame is done.",
        "(shot: str, frame: int = 1)",
    )
    with pytest.raises(Raised, match=r"done\(\) missing 1 required positional argument: 'shot'"):
        mouth.ask("done()")


def test_whatever_the_function_raises_comes_to_its_caller_as_it_is_and_nothing_travels(
    mouth: Actor, ears: Actor
) -> None:
    mouth.run(
        """
        import hubnet.errors
        errors = [LookupError("a"), KeyboardInterrupt("b"), SystemExit(3), hubnet.errors.NoHub("c"), OSError(5, "d")]
        @hubnet.event("news")
        def hook(error):
            raise error
        met = []
        for error in errors:
            try:
                hook(error)
            except BaseException as caught:
                met.append(caught)
        tell("the next one")
        """
    )
    assert mouth.ask("len(met) == 5 and all(one is other for one, other in zip(met, errors))")
    eventually(lambda: ears.ask("heard") == [(("the next one",), {})])


@pytest.mark.parametrize(
    "name", ["peer", "timeout", "time_out", "name", "event", "function", "self", "local", "sender", "body", "args"]
)
def test_a_keyword_of_any_name_travels(mouth: Actor, ears: Actor, name: str) -> None:
    assert mouth.ask(f"tell(1, **{{{name!r}: 'mine'}})") == ((1,), {name: "mine"})
    eventually(lambda: ears.ask("heard") == [((1,), {name: "mine"})])


def test_methods_may_be_events_and_handlers(shared: Net, mouth: Actor, ears: Actor) -> None:
    listener = shared.worker(
        """
        class Log:
            def __init__(self): self.lines = []
            def write(self, *said): self.lines.append(said)
            __call__ = write
        one, other, plain = Log(), Log(), []
        hubnet.subscribe("news")(one.write)
        hubnet.subscribe("news")(other)
        hubnet.subscribe("a plain one")(plain.append)
        """
    )
    live(listener)
    mouth.run(
        """
        class Shot:
            def __init__(self, name): self.name = name
            @hubnet.event("news")
            def done(self, frame): return (self.name, frame), {}
            @classmethod
            @hubnet.event("news")
            def kind(cls): return (cls.__name__,), {}
            @staticmethod
            @hubnet.event("news")
            def still(frame): return (frame,), {}
        Shot("s010").done(1); Shot.kind(); Shot("s020").still(3)
        hubnet.event("a plain one")(lambda: ((4,), {}))()
        """
    )
    expected = [("s010", 1), ("Shot",), (3,)]
    eventually(lambda: listener.ask("one.lines, other.lines, plain") == (expected, expected, [4]))
    listener.leave()


def test_one_function_may_trigger_two_events_and_one_handler_hear_both(shared: Net, mouth: Actor) -> None:
    listener = shared.worker(
        """
        heard = []
        @hubnet.subscribe("first news")
        @hubnet.subscribe("second news")
        def hear(value): heard.append(value)
        """
    )
    live(listener)
    mouth.run(
        """
        ran = []
        @hubnet.event("first news")
        @hubnet.event("second news")
        def both(value):
            ran.append(value)
            return (value,), {}
        both(1)
        """
    )
    eventually(lambda: listener.ask("heard") == [1, 1])
    assert mouth.ask("ran") == [1]
    listener.leave()


def test_two_functions_may_trigger_one_event(mouth: Actor, ears: Actor) -> None:
    mouth.run("other = hubnet.event('news')(lambda value: (('other', value), {}))\ntell(1); other(2); tell(3)")
    eventually(lambda: ears.ask("heard") == [((1,), {}), (("other", 2), {}), ((3,), {})])


def test_an_event_inside_an_event_goes_out_first_as_it_is_triggered_first(mouth: Actor, ears: Actor) -> None:
    mouth.run(
        """
        @hubnet.event("news")
        def outer(value):
            tell("before", value)
            return ("after", value), {}
        outer(1)
        """
    )
    eventually(lambda: ears.ask("heard") == [(("before", 1), {}), (("after", 1), {})])


def test_an_event_that_is_a_connection_as_well_is_told_by_the_peer_where_it_runs(
    shared: Net, mouth: Actor, ears: Actor, hub: Actor
) -> None:
    both = """
    @hubnet.connect("done")
    @hubnet.event("news")
    def done(frame): return (hubnet.Peer().id, frame), {}
    """
    worker = shared.worker(both, HUBNET_GROUP="both")
    ears.run("of_worker = []\nhubnet.subscribe('news', groups='both')(lambda *said: of_worker.append(said))")
    live(ears)
    mouth.run(both)
    where = id_of(worker)
    assert mouth.ask(f"done(7, peer={where!r})") == ((where, 7), {})
    eventually(lambda: ears.ask("of_worker") == [(where, 7)])
    worker.leave()


def test_an_event_without_arguments_calls_its_handlers_without_any(mouth: Actor, ears: Actor) -> None:
    assert mouth.ask("tell()") == ((), {})
    eventually(lambda: ears.ask("heard") == [((), {})])


VALUES = [
    "None", "b''", "''", "()", "[]", "{}", "0", "False", "float('inf')", "b'\\0' * 70_000", "'x' * (1 << 20)", "b'x' * (1 << 20)",
    "bytearray(b'y' * (1 << 20))", "numpy.arange(200_000)", "numpy.zeros((0, 3))", "numpy.ones((400, 400), order='F')",
    "numpy.ones((4, 4))[::2, ::2]", "list(range(100_000))", "{'a': [1, (2, {3})]}", "range(5)", "Ellipsis", "OSError",
]  # fmt: skip


def test_values_from_nothing_to_megabytes_arrive_as_they_were(mouth: Actor, ears: Actor) -> None:
    mouth.run("import numpy")
    ears.run(
        """
        import numpy
        def same(one, other):
            if isinstance(other, numpy.ndarray):
                return one.dtype == other.dtype and numpy.array_equal(one, other)
            return type(one) is type(other) and one == other
        """
    )
    for value in VALUES:
        mouth.run(f"tell({value}, kept={value})")
    eventually(lambda: ears.ask("len(heard)") == len(VALUES))
    found = [
        value
        for number, value in enumerate(VALUES)
        if not ears.ask(f"same(heard[{number}][0][0], {value})")
        or not ears.ask(f"same(heard[{number}][1]['kept'], {value})")
    ]
    assert found == []


def test_what_a_handler_is_given_is_its_own_to_change(shared: Net, mouth: Actor) -> None:
    listener = shared.worker(
        """
        first, second = [], []
        for heard in (first, second):
            @hubnet.subscribe("to change")
            def change(array, frames, raw, heard=heard):
                array[0] += 1; frames.append(3); raw[0] += 1
                heard.append((int(array[0]), frames, raw[0]))
        """
    )
    live(listener)
    mouth.run(
        "import numpy; hubnet.event('to change')(lambda *a: (a, {}))(numpy.arange(50_000), [1], bytearray(100_000))"
    )
    eventually(lambda: listener.ask("first, second") == ([(1, [1, 3], 1)], [(1, [1, 3], 1)]))
    listener.leave()


def test_the_largest_event_that_may_travel_does_and_one_byte_more_does_not(mouth: Actor, ears: Actor) -> None:
    mouth.run(
        """
        limit = 4 << 20
        rest = len(hubnet.Peer().encode(((bytes(limit - 1000),), {}))) - (limit - 1000)
        """
    )
    assert mouth.ask("len(hubnet.Peer().encode(((bytes(limit - rest),), {})))") == 4 << 20
    mouth.run("tell(bytes(limit - rest))")
    with pytest.raises(Raised, match="event 'news': 4194305 bytes; at most 4194304 travel") as caught:
        mouth.run("tell(bytes(limit - rest + 1))")
    assert caught.value.kind == "EncodeError"
    mouth.run("tell('the next one')")
    eventually(lambda: ears.ask("len(heard)") == 2)
    assert ears.ask("heard[1][0]") == ("the next one",)
    assert ears.ask("heard[0][0][0] == bytes(len(heard[0][0][0])) and len(heard[0][0][0])") == mouth.ask("limit - rest")


def test_an_event_that_cannot_travel_leaves_no_hole(mouth: Actor, ears: Actor) -> None:
    mouth.run(
        """
        import threading
        tell(1)
        for bad in (threading.Lock(), bytes(5 << 20)):
            try:
                tell(bad)
            except hubnet.EncodeError:
                pass
        tell(2)
        """
    )
    eventually(lambda: ears.ask("heard") == [((1,), {}), ((2,), {})])
    assert ears.ask("hubnet.stats().get('events.lost', 0)") == 0


@pytest.mark.processes
def test_an_event_triggered_as_the_program_ends_is_heard(shared: Net, ears: Actor) -> None:
    ending = "import atexit, os\natexit.register(tell, 'the end of', os.getpid())\n"
    early, late = shared.actor(TELLS + ending), shared.worker(TELLS + ending)
    assert (early.leave(), late.leave()) == (0, 0)
    expected: list[Any] = sorted([(("the end of", early.pid), {}), (("the end of", late.pid), {})])
    eventually(lambda: sorted(ears.ask("heard")) == expected)


@pytest.mark.processes
def test_an_event_of_a_forked_child_is_the_childs_and_its_parent_hears_it(
    shared: Net, mouth: Actor, ears: Actor
) -> None:
    parent = live(shared.worker("import os\n" + HEARS + TELLS))
    parent.run(
        """
        tell("parent")
        pid = os.fork()
        if not pid:
            try:
                tell("child")
                hubnet.Peer().stop()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        tell("parent again")
        """
    )
    eventually(lambda: parent.ask("heard") == [(("child",), {})])
    expected: list[Any] = [(("child",), {}), (("parent",), {}), (("parent again",), {})]
    eventually(lambda: sorted(ears.ask("heard")) == expected)
    parent.leave()


@pytest.mark.processes
def test_a_trigger_goes_on_after_its_peer_was_stopped_and_what_is_not_sent_is_told_once_and_counted(
    shared: Net, hub: Actor
) -> None:
    mouth = shared.worker(TELLS)
    mouth.run("tell(0); hubnet.Peer().stop()")
    assert mouth.ask("[tell(number)[0][0] for number in range(50)]") == list(range(50))
    assert mouth.ask("hubnet.stats()['events.unsent']") == 50
    assert mouth.said.count("event 'news' was not sent: event 'news' after this peer was stopped") == 1
    assert mouth.ask("[hubnet.flush(1), hubnet.flush(1)]") == [False, True]  # told once
    mouth.leave()


@pytest.mark.processes
def test_a_signal_handler_may_trigger_an_event_whatever_it_interrupts(shared: Net, hub: Actor) -> None:
    """As on SIGTERM: "this worker is going", told while the main thread tells of its frames."""
    mouth = shared.worker(TELLS)
    mouth.send(
        "run",
        """
        import random, signal, threading
        going, rest = 0, threading.Event()
        def go(*_):
            global going
            tell("going")
            going += 1
        signal.signal(signal.SIGALRM, go)
        while going < 150:
            if going % 2:
                rest.wait(0.001)  # now and then the publisher is asleep, and must be woken
            before = going
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.0005))
            while going == before:
                tell("a frame")
        """,
    )
    mouth.answer(6)
    assert mouth.ask("going") == 150
    assert "publishing failed" not in mouth.said
