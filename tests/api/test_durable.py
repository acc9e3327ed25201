"""Durable events between real processes: who comes late, who was away, a Redis that forgets, queues that overflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm.nets import StormNet
from tests.waiting import eventually

from .conftest import Actor, Net, Raised
from .test_events import live

KEPT = """
@hubnet.event("kept", durable=True)
def keep(number): return (number,), {}
"""
HEARS = """
heard = []
@hubnet.subscribe("kept")
def hear(number): heard.append(number)
"""


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    return shared.hub()


def test_who_comes_late_hears_with_since_what_was_before_once_and_in_order(shared: Net, hub: Actor) -> None:
    mouth = shared.worker(KEPT)
    mouth.run("for number in range(5): keep(number)\nassert hubnet.flush(20)")
    late = shared.worker("heard = []\nhubnet.subscribe('kept', since='5m')(heard.append)")
    other = shared.worker(HEARS)
    live(late), live(other)
    mouth.run("keep(5)")
    eventually(lambda: late.ask("heard") == [0, 1, 2, 3, 4, 5])
    eventually(lambda: other.ask("heard") == [5])


@pytest.mark.parametrize(("overflow", "kept"), [("oldest", [0, 7, 8, 9]), ("newest", [0, 1, 2, 3])])
def test_a_full_queue_loses_what_was_declared_and_its_gap_is_told(
    shared: Net, hub: Actor, overflow: str, kept: list[int]
) -> None:
    name = f"much of {overflow}"
    mouth = shared.worker(f"tell = hubnet.event({name!r})(lambda number: ((number,), {{}}))")
    ears = shared.worker(f"""
        import threading
        begun, goes_on, heard, gaps = threading.Event(), threading.Event(), [], []
        @hubnet.subscribe({name!r}, queue=3, overflow={overflow!r}, on_gap=gaps.append)
        def hear(number):
            begun.set()
            goes_on.wait(20)
            heard.append(number)
    """)
    live(ears)
    mouth.run("tell(0)")
    eventually(lambda: ears.ask("begun.is_set()"))
    mouth.run("for number in range(1, 10): tell(number)")
    eventually(lambda: ears.ask("hubnet.stats().get('events.dropped_queue', 0)") == 6)
    ears.run("goes_on.set()")
    eventually(lambda: ears.ask("heard") == kept)
    eventually(lambda: ears.ask("sum(gap.lost for gap in gaps)") == 6)
    assert ears.ask("{(gap.event, gap.reason) for gap in gaps}") == {(name, "queue")}


@pytest.mark.processes
@pytest.mark.parametrize("data_is", ["kept", "lost"])
def test_a_redis_that_dies_in_the_middle_costs_no_durable_event_and_doubles_none(tmp_path: Path, data_is: str) -> None:
    net = StormNet(tmp_path)
    try:
        net.hub()
        mouth, ears = net.worker(KEPT), net.worker(HEARS)
        live(ears)
        mouth.run("for number in range(100): keep(number)\nassert hubnet.flush(20)")
        net.redis.kill(kept=data_is == "kept")
        mouth.run("for number in range(100, 200): keep(number)")
        net.redis.start()
        assert mouth.ask("hubnet.flush(30)", 60)
        eventually(lambda: len(ears.ask("heard")) >= 200)
        mouth.run("keep(200)")
        eventually(lambda: ears.ask("heard[-1]") == 200)
        assert ears.ask("heard") == list(range(201))
        assert ears.ask("hubnet.stats().get('events.lost', 0)") == 0
    finally:
        net.close()


def test_without_a_replica_a_replicated_event_is_heard_and_never_done(shared: Net, hub: Actor) -> None:
    ears = shared.worker("heard = []\nhubnet.subscribe('copied')(heard.append)")
    live(ears)
    mouth = shared.worker("@hubnet.event('copied', durable='replicated')\ndef copy(number): return (number,), {}")
    mouth.run("copy(1)")
    eventually(lambda: ears.ask("heard") == [1])
    assert not mouth.ask("hubnet.flush(0.5)")


@pytest.mark.parametrize(
    ("wish", "kind", "text"),
    [
        ("event('kept', durable='yes')", "ValueError", "durable is True, False"),
        ("event('kept', durable=1)", "TypeError", "durable is True, False"),
        ("subscribe('kept', since='5x')", "ValueError", "since is a number of seconds"),
        ("subscribe('kept', since=-1)", "ValueError", "since"),
        ("subscribe('kept', on_gap=5)", "TypeError", "on_gap takes a function"),
        ("subscribe('kept', queue=0)", "ValueError", "queue is a number of events"),
        ("subscribe('kept', queue='many')", "TypeError", "queue is a number of events"),
        ("subscribe('kept', overflow='all')", "ValueError", "overflow is"),
        ("subscribe('kept', overflow=None)", "TypeError", "overflow is"),
        ("flush('soon')", "TypeError", "timeout"),
        ("flush(0)", "ValueError", "timeout"),
    ],
)
def test_what_cannot_be_is_told_at_once_by_name(hub: Actor, wish: str, kind: str, text: str) -> None:
    with pytest.raises(Raised, match=text) as caught:
        hub.run(f"hubnet.{wish}")
    assert kind in caught.value.kinds


def test_one_event_is_not_durable_here_and_plain_there(hub: Actor) -> None:
    hub.run("hubnet.event('both', durable=True)(lambda: ((), {}))")
    with pytest.raises(Raised, match="declare it alike"):
        hub.run("hubnet.event('both')(lambda: ((), {}))")
