"""One subscription: its handler, its queue, and nobody else's trouble."""

from __future__ import annotations

import threading

import pytest

from hubnet.bus import subscription as room
from tests.waiting import eventually

from .conftest import Wires


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
