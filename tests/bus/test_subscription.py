"""One subscription: its handler, its queue, and nobody else's trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from hubnet.bus import subscription as room
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.gap import Gap
from hubnet.core.selection import Query
from hubnet.counters import Counters
from tests.waiting import eventually

from .conftest import NAMES, RING, Wires


def test_a_handler_that_raises_harms_nothing_and_is_logged(wires: Wires, caplog: pytest.LogCaptureFixture) -> None:
    one, other = wires(), wires()

    def fail(body: bytes) -> None:
        if body == b"bad":
            raise ValueError("the handler's fault")
        if body == b"worse":
            raise SystemExit(3)

    heard, neighbour = other.hear("done", fail), other.hear("done")
    for body in (b"1", b"bad", b"2", b"worse", b"3"):
        one.publish("done", body)
    eventually(lambda: len(heard) == len(neighbour) == 5)
    assert heard == [b"1", b"bad", b"2", b"worse", b"3"]
    eventually(lambda: other.counted("events.delivered") == 10)
    assert other.counted("events.handler_errors") == 2
    assert "the handler's fault" in caplog.text


def test_a_handler_runs_on_one_thread_of_its_own(wires: Wires) -> None:
    one, other = wires(), wires()
    first, second = other.hear("done"), other.hear("done")
    for _ in range(100):
        one.publish("done", b"x")
    eventually(lambda: len(first) == len(second) == 100)
    assert len(first.threads) == len(second.threads) == 1
    assert not first.threads & second.threads


def test_a_handler_for_which_there_was_no_thread_gets_one_with_a_later_event_and_runs_what_waited(
    wires: Wires, threads_lack: Callable[[str], AbstractContextManager[None]]
) -> None:
    one, other = wires(), wires()
    poor, neighbour = other.hear("poor"), other.hear("done")
    with threads_lack("hubnet-on-poor"):
        one.publish("poor", b"1")
        one.publish("done", b"1")
        eventually(lambda: neighbour == [b"1"])
        eventually(lambda: poor.subscription.depth == 1)
    one.publish("poor", b"2")
    eventually(lambda: poor == [b"1", b"2"])
    assert other.counted("events.interruptions") == 0


def test_a_slow_handler_drops_the_oldest_of_its_own_queue_alone(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "QUEUE_EVENTS", 1000)
    one, other = wires(), wires()
    gate = threading.Event()
    slow, fast = other.hear("done", lambda body: gate.wait(20)), other.hear("done")
    for number in range(10_000):
        one.publish("done", b"%d" % number)
        if number % 100 == 0:
            eventually(lambda number=number: len(fast) > number - 500)  # type: ignore[misc]  # it keeps up
    eventually(lambda: len(fast) == 10_000)
    assert fast == [b"%d" % number for number in range(10_000)]
    assert slow.subscription.depth <= 1200
    gate.set()
    eventually(lambda: slow[-1] == b"9999")

    dropped = other.counted("events.dropped_queue")
    assert len(slow) + dropped == 10_000
    assert dropped > 8000
    assert other.counted("events.lost") == 0
    numbers = [int(body) for body in slow]
    assert numbers == sorted(numbers)
    eventually(lambda: slow.subscription.depth == 0)


@pytest.mark.parametrize("queue", [1, 100])
def test_the_newest_stay_though_the_handler_has_an_envelope_in_hand(wires: Wires, queue: int) -> None:
    one, other = wires(), wires()
    begun, gate, said = threading.Event(), threading.Event(), []

    def handle(body: bytes) -> None:
        said.append(int(body))
        begun.set()
        gate.wait(20)

    slow = other.hear("done", handle, queue=queue, on_gap=said.append)
    fast = other.hear("done")
    channel = NAMES.event("render", "done").encode()
    last = queue + 50
    numbered = [b"%d" % number for number in range(last)]
    wires.server.client().publish(channel, one.packer.pack(channel, 0, numbered[:queue]))
    assert begun.wait(20)
    wires.server.client().publish(channel, one.packer.pack(channel, queue, numbered[queue:]))
    eventually(lambda: len(fast) == last)
    assert slow.subscription.depth == queue
    gate.set()
    eventually(lambda: len(said) == 2 + queue)
    assert said[0] == 0
    assert (said[1].lost, said[1].reason) == (49, "queue")  # told in its place, though the envelope in hand went on
    assert said[2:] == list(range(50, last))
    assert other.counted("events.dropped_queue") == 49


def test_the_queue_is_bounded_by_bytes_as_well(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "QUEUE_BYTES", 1 << 20)
    one, other = wires(), wires()
    gate = threading.Event()
    slow, fast = other.hear("done", lambda body: gate.wait(20)), other.hear("done")
    for number in range(100):
        one.publish("done", bytes(100_000))
        eventually(lambda number=number: len(fast) > number - 5)  # type: ignore[misc]  # it keeps up, the slow one does not
    eventually(lambda: len(fast) == 100)
    assert slow.subscription.depth <= 12
    gate.set()
    eventually(lambda: len(slow) + other.counted("events.dropped_queue") == 100)


def test_closing_drops_what_waits(wires: Wires) -> None:
    one, other = wires(), wires()
    gate = threading.Event()
    slow, fast = other.hear("done", lambda body: gate.wait(20)), other.hear("done")
    for _ in range(1000):
        one.publish("done", b"x")
    eventually(lambda: len(fast) == 1000 and len(slow) == 1)
    slow.subscription.close()
    gate.set()
    eventually(lambda: not [one for one in threading.enumerate() if one.ident in slow.threads])
    assert len(slow) == 1


@pytest.mark.parametrize("found", [0, 180])
def test_what_comes_while_the_past_is_read_is_held_within_the_queues_bounds(found: int) -> None:
    """What had to go is counted, unless the reading found it again."""
    gaps: list[Gap] = []
    heard: list[bytes] = []
    counters = Counters()
    packer, opener = Packer(Sender(b"10.0.0.1:3010 -> render", b"i" * 16, False, "machine"), RING), Opener(RING)
    channel = NAMES.event("render", "done").encode()
    sent = [opener.open(channel, packer.pack(channel, number, [b"%d" % number], durable=True)) for number in range(250)]
    one = room.Subscription(
        "done", lambda body, _: heard.append(bytes(body)), Query(), channels=None, pattern="*", counters=counters,
        since=60.0, queue=100, on_gap=gaps.append,
    )  # fmt: skip
    for envelope in sent:
        one.put(envelope, 0, channel)
    one.replay([(channel, envelope) for envelope in sent[:found]])
    eventually(lambda: len(heard) + counters.snapshot()["events.dropped_queue"] == 250)
    eventually(lambda: sum(gap.lost for gap in gaps) == counters.snapshot()["events.dropped_queue"])
    one.close()
    assert heard == sorted(set(heard), key=int)
    assert heard[-100:] == [b"%d" % number for number in range(150, 250)]
    assert found or len(heard) == 100
