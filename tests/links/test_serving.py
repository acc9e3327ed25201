"""Serving: calls in order, at once, over the cap, draining; strangers; and nothing left behind."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from hubnet.core import calls, codec, frames
from hubnet.core.connections import Connection
from hubnet.core.handshake import Initiator
from hubnet.errors import HubnetError, PeerBusy, PeerLost
from hubnet.links.limits import Limits
from hubnet.links.link import Link
from tests.waiting import eventually

from .loopback import End, Ends, Running, descriptors, ends_of_a_test, serving_threads, soon


class Gate:
    """Functions that run until the gate is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.running = 0
        self.most = 0
        self.order: list[object] = []
        self._lock = threading.Lock()

    def through(self, value: object = None) -> object:
        with self._lock:
            self.order.append(value)
            self.running += 1
            self.most = max(self.most, self.running)
        self.opened.wait(20)
        with self._lock:
            self.running -= 1
        return value


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def echo(value: object) -> object:
    return value


# -- calls -----------------------------------------------------------------------------------------------------------


def test_a_hot_link_serves_a_thousand_calls_in_order(ends: Ends) -> None:
    seen: list[int] = []

    def note(number: int) -> int:
        seen.append(number)
        return number

    one, other = ends().serve(), ends().serve(note)
    connection = Connection("note", print)
    assert [one.call_hot(other, connection, number) for number in range(1000)] == list(range(1000))
    assert seen == list(range(1000))
    assert other.serving.links == 1
    eventually(lambda: other.serving.running == 0)


def test_a_hot_conversation_mixes_with_large_named_and_raising_calls(ends: Ends) -> None:
    def fail(value: object) -> None:
        raise ValueError(value)

    one, other = ends().serve(), ends().serve(echo, fail)
    connection, failing = Connection("echo", print), Connection("fail", print)
    for number in range(200):
        assert one.call_hot(other, connection, number) == number
        if number % 10 == 0:
            assert one.call_hot(other, connection, b"x" * (1 << (number % 20))) == b"x" * (1 << (number % 20))
        if number % 15 == 0:
            assert one.call(other, "echo", number) == number
        if number % 20 == 0:
            with pytest.raises(HubnetError):
                one.call_hot(other, failing, number)
    assert one.caller.links == 1


@pytest.mark.parametrize("wire", ["open-mac", "auto"])
def test_a_hot_conversation_goes_from_tag_to_tag(ends: Ends, wire: str) -> None:
    def triple(value: int) -> int:
        return 3 * value

    def double(value: int) -> int:  # a tag of the same length
        return 2 * value

    one, other = ends(wire=wire).serve(), ends(wire=wire).serve(triple, double, echo)
    asked = [(Connection(name, print), factor) for name, factor in (("triple", 3), ("double", 2), ("echo", 1))]
    for number in range(300):
        connection, factor = asked[number % 3 if number % 50 else 0]
        assert one.call_hot(other, connection, number) == factor * number
    assert one.caller.links == 1


def test_a_tag_that_is_registered_anew_is_served_anew_at_once(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(echo)
    connection = Connection("echo", print)
    for number in range(50):
        assert one.call_hot(other, connection, number) == number
        other.connections.add(Connection("echo", lambda value: -value))
        assert one.call_hot(other, connection, number) == -number
        other.connections.add(Connection("echo", echo))
    assert one.caller.links == 1


def test_a_slow_call_does_not_keep_others_out(ends: Ends, gate: Gate) -> None:
    one, two, other = ends().serve(), ends().serve(), ends()
    other.serve(gate.through, echo)
    slow = [Running(one.call, other, "through") for _ in range(5)]
    eventually(lambda: gate.running == 5)

    begin = time.monotonic()
    assert [two.call(other, "echo", number) for number in range(20)] == list(range(20))
    assert time.monotonic() - begin < 15
    gate.opened.set()
    for call in slow:
        call.result()


def test_a_call_made_hot_may_turn_slow_and_keeps_nobody_out(ends: Ends, gate: Gate) -> None:
    def sometimes(wait: bool) -> None:
        if wait:
            gate.opened.wait(20)

    one, two, other = ends().serve(), ends().serve(), ends().serve(sometimes)
    connection = Connection("sometimes", print)
    for _ in range(50):
        one.call_hot(other, connection, False)
    slow = Running(one.call_hot, other, connection, True)
    for _ in range(20):
        two.call(other, "sometimes", False, timeout=5)
    assert not slow.over
    gate.opened.set()
    slow.result()


def test_chains_back_and_forth_never_deadlock_below_the_cap(ends: Ends) -> None:
    left, right = ends(cap=4), ends(cap=4)

    def chain(depth: int) -> int:
        return 1 + left.call(right, "back", depth - 1, timeout=None) if depth else 0

    def back(depth: int) -> int:
        return 1 + right.call(left, "chain", depth - 1, timeout=None) if depth else 0

    left.serve(chain)
    right.serve(back)
    callers = [ends().serve() for _ in range(2)]
    chains = [Running(callers[n % 2].call, left, "chain", 4, timeout=30) for n in range(32)]
    assert [chain.result(30) for chain in chains] == [4] * 32


def test_an_endless_chain_is_refused(ends: Ends) -> None:
    left, right = ends(), ends()

    def there(n: int) -> None:
        left.call(right, "back", n + 1, timeout=None)

    def back(n: int) -> None:
        right.call(left, "there", n + 1, timeout=None)

    left.serve(there)
    right.serve(back)
    with pytest.raises(HubnetError, match="nested deeper than 16"):
        ends().serve().call(left, "there", 0)


def test_over_the_cap_calls_queue_in_order(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends(cap=1).serve(gate.through)
    calls = []
    for number in range(8):
        calls.append(Running(one.call, other, "through", number))
        eventually(lambda: len(gate.order) + other.serving.queued == len(calls))
    assert (other.serving.running, other.serving.queued) == (1, 7)
    gate.opened.set()

    assert [call.result() for call in calls] == list(range(8))
    assert gate.order == list(range(8))
    assert gate.most == 1


def test_a_call_that_finds_no_slot_is_told_before_its_deadline(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends(cap=2).serve(gate.through, echo)
    holding = [Running(one.call, other, "through") for _ in range(2)]
    eventually(lambda: gate.running == 2)
    begin = time.monotonic()
    waiting = [Running(one.call, other, "echo", 1, timeout=1.0) for _ in range(3)]

    for call in waiting:
        error = call.error()
        assert isinstance(error, PeerBusy), repr(error)
        assert "HUBNET_THREAD_LIMIT" in str(error)
        assert error.ran == "NO"
    assert 0.5 < time.monotonic() - begin < 10
    gate.opened.set()
    assert [call.result() for call in holding] == [None, None]
    assert one.call(other, "echo", 2) == 2


def test_a_call_without_a_deadline_waits_for_a_slot_for_the_callers_patience(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends(cap=1).serve(gate.through, echo)
    holding = Running(one.call, other, "through", timeout=None)
    eventually(lambda: gate.running == 1)
    link = one.dialler.dial("127.0.0.1", other.port, other.own, soon(20))
    refused = link.exchange(b"echo", codec.encode(((1,), {}))[0], [], 0, 500, None)
    link.close()
    assert refused.kind == frames.REFUSED
    assert isinstance(calls.refused(bytes(refused.body), connection="echo", peer=None)[0], PeerBusy)
    gate.opened.set()
    holding.result()


def test_a_limit_holds_for_one_connection_and_leaves_the_others_alone(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends()
    other.connections.add(Connection("narrow", gate.through, limit=2))
    other.serve(echo)
    calls = [Running(one.call, other, "narrow", number) for number in range(6)]
    eventually(lambda: gate.running == 2 and other.serving.queued == 4)

    assert [one.call(other, "echo", number, timeout=5) for number in range(10)] == list(range(10))
    connection = Connection("echo", print)
    assert [one.call_hot(other, connection, number) for number in range(50)] == list(range(50))
    gate.opened.set()
    assert sorted(call.result() for call in calls) == list(range(6))
    assert gate.most == 2


def test_hot_links_leave_slots_to_those_that_wait(ends: Ends) -> None:
    callers, other = [ends().serve() for _ in range(6)], ends(cap=2).serve(echo)
    connection = Connection("echo", print)

    def many(one: End) -> int:
        return sum(one.call_hot(other, connection, 1) for _ in range(300))

    calls = [Running(many, one) for one in callers]
    assert [call.result(30) for call in calls] == [300] * 6


def test_a_connection_that_is_missing_is_answered_and_the_link_goes_on(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(echo)
    with pytest.raises(HubnetError):
        one.call(other, "nowhere")
    assert one.call(other, "echo", 1) == 1
    assert one.caller.links == 1


# -- draining --------------------------------------------------------------------------------------------------------


def test_draining_lets_running_calls_end_and_refuses_new_ones(ends: Ends, gate: Gate) -> None:
    one, two, other = ends().serve(), ends().serve(), ends()
    other.serve(gate.through, echo)
    two.call(other, "echo", 1)
    slow = Running(one.call, other, "through", "done")
    eventually(lambda: gate.running == 1)
    draining = Running(other.drain, 10)
    eventually(lambda: other.serving._draining)

    for caller in (one, two, ends().serve()):
        error = Running(caller.call, other, "echo", 1).error()
        assert isinstance(error, PeerBusy), repr(error)
        assert error.ran == "NO"
    assert not draining.over
    gate.opened.set()
    assert slow.result() == "done"
    assert draining.result() is True


def test_draining_refuses_calls_that_wait_for_a_slot(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends(cap=1).serve(gate.through)
    slow = Running(one.call, other, "through", 1)
    eventually(lambda: gate.running == 1)
    waiting = Running(one.call, other, "through", 2)
    eventually(lambda: other.serving.queued == 1)
    draining = Running(other.drain, 10)
    assert isinstance(waiting.error(), PeerBusy)
    gate.opened.set()
    assert slow.result() == 1
    assert draining.result() is True
    assert gate.order == [1]


def test_draining_gives_up_after_its_time(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends().serve(gate.through)
    slow = Running(one.call, other, "through", 1)
    eventually(lambda: gate.running == 1)
    begin = time.monotonic()
    assert other.drain(0.3) is False
    assert time.monotonic() - begin < 10
    other.close()
    assert isinstance(slow.error(), PeerLost)


def test_an_idle_link_is_told_goodbye_and_its_caller_calls_no_more_on_it(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(echo)
    one.call(other, "echo", 1)
    (link,) = one.caller.pools[other.id][1].idle
    assert other.drain() is True
    assert link.receive(soon()).kind == 7


def test_a_large_answer_under_way_is_finished_before_the_peer_closes(ends: Ends) -> None:
    much = os.urandom(1 << 20) * 48
    started = threading.Event()

    def large() -> bytes:
        started.set()
        return much

    one, other = ends().serve(), ends().serve(large)
    link = one.dialler.dial("127.0.0.1", other.port, other.own, soon())
    asking = link.protection.small(frames.prefix(frames.REQUEST, b"large"), _pickled_no_arguments())
    link.send([asking])
    assert started.wait(5)
    assert link.wait_readable(5)
    ending = Running(lambda: (other.drain(10), other.close()))
    ending.thread.join(0.3)  # the answer is stuck: we do not read yet
    frame = link.receive(soon(10))

    assert bytes(frame.buffers[0]) == much
    ending.result()
    link.close()


def _pickled_no_arguments() -> bytes:
    import pickle

    return pickle.dumps(((), {}), 5)


def test_no_call_is_lost_when_peers_drain_under_load(ends: Ends) -> None:
    """Each call is either answered, or refused as not run; and what was answered is what ran."""
    ran: list[int] = []
    lock = threading.Lock()

    def note(number: int) -> int:
        with lock:
            ran.append(number)
        return number

    for _ in range(5):
        one, other = ends().serve(), ends().serve(note)
        connection = Connection("note", print)
        answered: list[int] = []
        odd: list[BaseException] = []
        going = threading.Event()

        def call_on(first: int, one: End = one, other: End = other) -> None:
            for number in range(first, first + 100_000):
                try:
                    answered.append(one.call_hot(other, connection, number))  # noqa: B023 - joined below
                except HubnetError as error:
                    if getattr(error, "ran", "?") != "NO":
                        odd.append(error)  # noqa: B023
                    return
                going.set()  # noqa: B023

        calls = [Running(call_on, n * 100_000) for n in range(4)]
        assert going.wait(5)
        eventually(lambda answered=answered: len(answered) > 200)  # type: ignore[misc]
        assert other.drain() is True
        other.close()
        for call in calls:
            call.result()
        assert odd == []
        assert sorted(answered) == sorted(ran)
        ran.clear()


# -- strangers -------------------------------------------------------------------------------------------------------


def test_silent_strangers_are_closed_after_five_seconds_and_keep_nobody_out(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(echo)
    silent = [socket.create_connection(("127.0.0.1", other.port)) for _ in range(300)]
    begin = time.monotonic()
    assert one.call(other, "echo", 1, timeout=5) == 1

    silent[-1].settimeout(20)
    assert silent[-1].recv(1) == b""
    assert 3.5 < time.monotonic() - begin < 15
    for sock in silent:
        sock.settimeout(1)
        with suppress(ConnectionResetError):  # whoever had to make room is reset, so that an honest one comes again
            assert sock.recv(1) == b""
        sock.close()
    assert other.counted("handshakes.timed_out") >= Limits().strangers[1] - 10
    assert len(other.serving._arrivals) == 0


def test_a_stranger_who_sends_half_a_handshake_is_closed(ends: Ends) -> None:
    other = ends().serve()
    side = Initiator(other.own, other.own, other.ring, other.suites, os.urandom)
    with socket.create_connection(("127.0.0.1", other.port)) as sock:
        sock.settimeout(10)
        sock.sendall(side.begin()[:20])
        assert sock.recv(1) == b""
    assert other.counted("handshakes.timed_out") == 1


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 256, b"HUB1" + b"\xff" * 300, b"HUB1\1\1\3\5", os.urandom(999)]
)
def test_garbage_is_closed_at_once_and_keeps_nobody_out(ends: Ends, sent: bytes) -> None:
    one, other = ends().serve(), ends().serve(echo)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", other.port)) as sock:
            sock.settimeout(2)
            sock.sendall(sent)
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
    assert one.call(other, "echo", 1) == 1


def test_garbage_after_the_handshake_ends_that_link_alone(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(echo)
    assert one.call(other, "echo", 1) == 1
    for garbage in (b"\xff" * 100, b"\0" * 24, b"\x10\0\0\0\2\0\0\0" + b"\0" * 32):
        link = one.dialler.dial("127.0.0.1", other.port, other.own, soon())
        link._sock.send(garbage)
        with pytest.raises(PeerLost):
            link.receive(soon())
        link.close()
    assert other.counted("frames.rejected") == 3
    assert one.call(other, "echo", 2) == 2
    assert one.caller.links == 1


def test_many_short_links_at_once_leave_somebody_waiting(ends: Ends) -> None:
    """Strangers and peers come and go while calls run: whoever looks after limits must survive it."""
    one, other = ends().serve(), ends().serve(echo)

    def come_and_go() -> None:
        for number in range(60):
            if number % 3:
                socket.create_connection(("127.0.0.1", other.port)).close()
            else:
                link = one.dialler.dial("127.0.0.1", other.port, other.own, soon())
                link.say_bye()
                link.close()

    def call_on() -> int:
        return sum(one.call(other, "echo", 1) for _ in range(100))

    comers = [Running(come_and_go) for _ in range(6)]
    callers = [Running(call_on) for _ in range(4)]
    for comer in comers:
        comer.result(30)
    assert [caller.result(30) for caller in callers] == [100] * 4
    assert one.call(other, "echo", 1, timeout=5) == 1


def test_a_caller_that_goes_away_in_the_middle_frees_its_slot(ends: Ends, gate: Gate) -> None:
    one, other = ends().serve(), ends(cap=1).serve(gate.through, echo)
    links: list[Link] = []
    dial = one.dialler.dial
    one.dialler.dial = lambda *args, **how: links.append(dial(*args, **how)) or links[-1]  # type: ignore[method-assign, func-returns-value]
    slow = Running(one.call, other, "through")
    eventually(lambda: gate.running == 1)
    links[0].shutdown()
    assert isinstance(slow.error(), PeerLost)
    gate.opened.set()
    assert one.call(other, "echo", 1) == 1


def test_an_ended_link_is_told_to_the_host(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(echo)
    one.call(other, "echo", 1)
    one.caller.close()
    eventually(lambda: len(other.ended_links) == 1)
    assert other.serving.links == 0
    assert other.ended_links[0].friendly == {"id": one.id.decode()}


# -- nothing left behind ---------------------------------------------------------------------------------------------


def test_threads_and_descriptors_are_back_after_close() -> None:
    eventually(lambda: not serving_threads())
    before = descriptors()
    with ends_of_a_test() as ends:
        one, other = ends().serve(), ends().serve(echo)
        calls = [Running(one.call, other, "echo", number) for number in range(20)]
        for call in calls:
            call.result()
        strangers = [socket.create_connection(("127.0.0.1", other.port)) for _ in range(5)]
        assert other.drain() is True
    for sock in strangers:
        sock.close()
    eventually(lambda: not serving_threads())
    left = descriptors() - before
    assert not left, left


def test_a_function_that_outlives_close_ends_quietly(ends: Ends, gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    before = descriptors()
    one, other = ends(), ends().serve(gate.through)
    slow = Running(one.call, other, "through")
    eventually(lambda: gate.running == 1)
    other.drain(0.05)
    other.close()
    assert isinstance(slow.error(), PeerLost)
    gate.opened.set()
    eventually(lambda: not serving_threads())
    one.close()
    assert not descriptors() - before
    assert "Traceback" not in caplog.text
