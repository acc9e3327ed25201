"""Calling: whom it reaches, what is sent again, and what the caller is told."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from hubnet.core import calls, codec, frames
from hubnet.core.connections import Connection
from hubnet.core.handshake import Self
from hubnet.core.identity import generate_id
from hubnet.errors import (
    MAYBE,
    NO,
    CallTimeout,
    DecodeError,
    EncodeError,
    PeerLost,
    PeerUnreachable,
    RemoteError,
    RemoteProtocolError,
)
from hubnet.links import workers
from hubnet.links.calling import Endpoint
from hubnet.links.link import Link
from hubnet.links.pool import IDLE_LIMIT
from tests.waiting import eventually

from .loopback import End, Ends, Running


def double(value: int) -> int:
    return 2 * value


def fail(text: str) -> None:
    raise KeyError(text)


class Cut:
    """A function that cuts its caller's link the first times it runs."""

    def __init__(self, times: int) -> None:
        self.ran = 0
        self.times = times

    def __call__(self) -> int:
        from hubnet.links.context import here

        self.ran += 1
        if self.ran <= self.times:
            assert here.call.link is not None
            here.call.link.shutdown()
        return self.ran


def test_a_call_returns_what_the_function_returns(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(double)
    assert one.call(other, "double", 21) == 42
    assert one.caller.answered == 1


def test_one_link_serves_call_after_call(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(double)
    for number in range(50):
        assert one.call(other, "double", number) == 2 * number
    assert one.caller.links == other.serving.links == 1
    assert one.asked == [False]


def test_calls_at_once_have_a_link_each_and_share_them_later(ends: Ends) -> None:
    gate = threading.Barrier(8)

    def together() -> int:
        return gate.wait(10)

    one, other = ends().serve(), ends().serve(together)
    for _ in range(3):
        calls = [Running(one.call, other, "together") for _ in range(8)]
        assert sorted(call.result() for call in calls) == list(range(8))
    assert one.caller.links == 8


@pytest.mark.parametrize("how", ["its only link has ended", "what we say of ourselves has changed", "it was cold"])
def test_a_peer_is_dialled_once_and_then_called_over_that_link(ends: Ends, how: str) -> None:
    one, other = ends().serve(), ends().serve(double)
    one.call(other, "double", 1)
    (idle,) = one.caller.pools[other.id][1].idle
    if how == "its only link has ended":
        for link in list(other.serving._links.values()):
            link.shutdown()
        cool(idle)
    elif how == "what we say of ourselves has changed":
        one.caller.greet_anew()
    else:
        idle.used -= 2 * IDLE_LIMIT
        one.call(ends().serve(double), "double", 1)
    used = []
    for _ in range(3):
        assert one.call(other, "double", 2) == 4
        used += one.caller.pools[other.id][1].idle
    assert len(used) == 3
    assert used[0] is used[1] is used[2] is not idle


def test_a_link_that_came_about_while_its_caller_was_closed_serves_its_call_and_no_other(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = ends().serve(), ends().serve(double)
    dial = one.caller._dialler.dial

    def dial_late(*where: object, **how: object) -> Link:
        link = dial(*where, **how)  # type: ignore[arg-type]
        one.caller.close()
        return link

    monkeypatch.setattr(one.caller._dialler, "dial", dial_late)
    assert one.call(other, "double", 1) == 2
    assert one.caller.links == 0
    eventually(lambda: other.serving.links == 0)


@pytest.mark.parametrize("side", ["dialled", "accepted"])
def test_a_handler_of_the_log_may_call_where_links_are_cut_off(ends: Ends, side: str) -> None:
    one, other = ends().serve(), ends().serve(double)
    third = ends().serve(double)
    one.call(other, "double", 1)
    (idle,) = one.caller.pools[other.id][1].idle
    heard: list[object] = []

    class Ships(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append((one if side == "dialled" else other).call(third, "double", len(heard) + 1, timeout=20))
            cool(idle)
            heard.append(one.call(other, "double", 3, timeout=20))  # over a new link

    log, handler = logging.getLogger("hubnet"), Ships(logging.WARNING)
    log.addHandler(handler)
    try:
        (one.dialler if side == "dialled" else other.serving).cut([])
    finally:
        log.removeHandler(handler)
    assert heard == [2, 6]


def test_nothing_is_kept_for_long_of_peers_that_were_called_and_vanished(ends: Ends) -> None:
    one, there = ends().serve(), ends().serve(double)
    for _ in range(5):
        gone = ends().serve(double)
        assert one.call(gone, "double", 1) == 2
        (idle,) = one.caller.pools[gone.id][1].idle
        gone.close()
        cool(idle)
        del one.book[gone.id]
        with pytest.raises(PeerUnreachable):
            one.call(gone, "double", 1)
        assert one.call(there, "double", 1) == 2
        one.caller.forget(there.id, there.own.incarnation)  # so the next call dials
    assert len(one.caller.pools) <= 1


def test_a_peer_whose_only_link_is_in_use_is_not_let_go_of(ends: Ends) -> None:
    begun, over = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return over.wait(10)

    one, other, third = ends().serve(), ends().serve(wait), ends().serve(double)
    call = Running(one.call, other, "wait")
    assert begun.wait(10)
    assert one.call(third, "double", 1) == 2
    over.set()
    assert call.result()
    assert one.caller.links == 2


@pytest.mark.parametrize("warm", [False, True])
def test_a_restarted_peer_on_the_same_address_is_told_apart_and_called_anew(ends: Ends, warm: bool) -> None:
    one, other = ends().serve(), ends().serve(double)
    old = other.endpoint
    assert one.call(other, "double", 1) == 2
    idle = one.caller.pools[other.id][1].idle[0]
    if not warm:
        one.caller.forget(other.id, other.own.incarnation)
    other.close()
    _closed(other)
    if warm:
        cool(idle)
    again = ends(port=other.port).serve(double)
    assert again.id == other.id
    one.book[other.id] = old  # the cache does not know yet; a fresh question does
    one.resolve = lambda peer_id, deadline, fresh: again.endpoint if fresh else old  # type: ignore[method-assign]
    one.caller._resolve = one.resolve

    assert one.call(again, "double", 4) == 8
    assert one.caller.pools[other.id][0].incarnation == again.own.incarnation


def cool(link: Link) -> None:
    """An idle link whose end has arrived, past the 10 ms within which it is taken unseen."""
    assert link.wait_readable(5)
    link.used -= 1


def _closed(end: End) -> None:
    eventually(lambda: not end.serving._workers._threads)


def test_a_reused_port_never_serves_the_wrong_peer(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(double)
    other.close()
    _closed(other)
    stranger = ends(port=other.port)
    one.book[other.id] = other.endpoint
    stranger.own = Self(bytes(32), os.urandom(16))
    stranger.serve(double)

    with pytest.raises(PeerUnreachable, match="another peer listens there") as caught:
        one.call(other, "double", 1)
    assert caught.value.ran == NO
    assert one.asked == [False, True]


def test_a_stale_link_of_the_pool_is_not_used(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(double)
    one.call(other, "double", 1)
    (idle,) = one.caller.pools[other.id][1].idle
    for link in list(other.serving._links.values()):
        link.shutdown()
    cool(idle)

    assert one.call(other, "double", 2) == 4
    assert one.counted("calls.PeerLost") == 0


@pytest.mark.parametrize("hot", [False, True])
def test_a_lost_call_of_an_idempotent_connection_is_sent_again(ends: Ends, hot: bool) -> None:
    cut = Cut(2)
    one, other = ends().serve(), ends()
    other.connections.add(Connection("cut", cut))
    other.serve(double)
    one.call(other, "double", 1)
    if hot:
        assert one.call_hot(other, Connection("cut", print, idempotent=True)) == 3
    else:
        assert one.call(other, "cut", idempotent=True) == 3
    assert cut.ran == 3


@pytest.mark.parametrize("hot", [False, True])
def test_a_lost_call_of_any_other_connection_is_not(ends: Ends, hot: bool) -> None:
    cut = Cut(2)
    one, other = ends().serve(), ends()
    other.connections.add(Connection("cut", cut))
    other.serve(double)
    one.call(other, "double", 1)
    with pytest.raises(PeerLost, match=f"lost 127.0.0.1:{other.port} while it ran '?cut'?") as caught:
        one.call_hot(other, Connection("cut", print)) if hot else one.call(other, "cut")
    assert caught.value.ran == MAYBE
    assert (caught.value.connection, caught.value.peer) == ("cut", other.id)
    assert cut.ran == 1


def test_an_idempotent_call_is_not_sent_for_ever(ends: Ends) -> None:
    cut = Cut(100)
    one, other = ends().serve(), ends()
    other.connections.add(Connection("cut", cut))
    other.serve()
    with pytest.raises(PeerLost) as caught:
        one.call(other, "cut", idempotent=True)
    assert caught.value.ran == MAYBE
    assert cut.ran == 3


def test_a_lost_idempotent_call_to_a_peer_that_is_gone_may_have_run(ends: Ends) -> None:
    one, other = ends().serve(), ends()

    def vanish() -> None:
        other.serving._listener.shutdown(socket.SHUT_RDWR)
        other.close()

    other.serve(vanish)
    with pytest.raises(PeerLost) as caught:
        one.call(other, "vanish", idempotent=True)
    assert caught.value.ran == MAYBE


def test_a_lost_idempotent_call_whose_repeat_is_refused_may_have_run(ends: Ends) -> None:
    """The first try still has the only place: the next one finds none, which is no word on the first."""
    gate = threading.Event()

    def holds() -> None:
        gate.wait(60)

    one, other = ends(patience=1.0).serve(), ends(cap=1).serve(holds)  # so long a call waits for a place
    links, dial = [], one.dialler.dial
    one.dialler.dial = lambda *args, **how: links.append(dial(*args, **how)) or links[-1]  # type: ignore[func-returns-value, method-assign]
    call = Running(one.call, other, "holds", idempotent=True)
    eventually(lambda: other.serving.running == 1)
    links[0].shutdown()
    error = call.error()
    gate.set()
    assert isinstance(error, PeerLost)
    assert error.ran == MAYBE


def test_a_lost_idempotent_call_whose_repeats_never_begin_may_have_run(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(double)
    tries: list[str] = []

    def breaks(link: Link, *args: object) -> object:
        tries.append("sent")
        if len(tries) == 1:
            raise PeerLost("cut off", ran=MAYBE)
        raise PeerLost("cut off before all of it had left", ran=NO)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "exchange", breaks)
        with pytest.raises(PeerLost) as caught:
            one.call(other, "double", idempotent=True)
    assert (caught.value.ran, len(tries)) == (MAYBE, 3)


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_deadline_that_passes_is_told_and_never_repeated(ends: Ends, idempotent: bool) -> None:
    ran, gate = [], threading.Event()

    def wait() -> None:
        ran.append(1)
        gate.wait(10)

    one, other = ends().serve(), ends().serve(wait)
    with pytest.raises(
        CallTimeout, match=f"'?wait'? on 127.0.0.1:{other.port} did not answer before its deadline"
    ) as caught:
        one.call(other, "wait", timeout=0.3, idempotent=idempotent)
    gate.set()

    assert caught.value.ran == MAYBE
    assert ran == [1]
    assert one.caller.links == 0  # the answer still to come must not be taken for the next call's


def test_an_answer_that_comes_late_is_never_taken_for_another_calls(ends: Ends) -> None:
    gates = [threading.Event() for _ in range(5)]

    def slow(number: int) -> int:
        gates[number].wait(10)
        return -1

    one, other = ends().serve(), ends().serve(slow, double)
    assert one.call(other, "double", 0) == 0  # the link is there: dialling is not what the deadline is for
    for number in range(5):
        with pytest.raises(CallTimeout):
            one.call(other, "slow", number, timeout=0.05)
        gates[number].set()
        assert one.call(other, "double", number) == 2 * number


def test_the_deadline_goes_down_to_nested_calls(ends: Ends) -> None:
    one, other, third = ends().serve(), ends(), ends()
    seen: list[BaseException | None] = []
    over = threading.Event()

    def outer() -> None:
        try:
            other.call(third, "inner", timeout=None)
        except BaseException as error:
            seen.append(error)
            raise

    def inner() -> None:
        over.wait(30)

    other.serve(outer)
    third.serve(inner)
    begin = time.monotonic()
    with pytest.raises((CallTimeout, RemoteError)):  # whoever wakes first: both have the same deadline
        one.call(other, "outer", timeout=0.5)
    eventually(lambda: seen, 10)
    over.set()
    assert isinstance(seen[0], CallTimeout)
    assert time.monotonic() - begin < 15


def test_what_the_function_raised_is_the_cause_of_a_remote_error(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(fail)
    with pytest.raises(RemoteError, match="raised KeyError: 'no such shot'") as caught:
        one.call(other, "fail", "no such shot")
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.__cause__.args == ("no such shot",)
    assert "in fail" in caught.value.traceback_text
    assert caught.value.ran == "YES"


@pytest.mark.parametrize("position", [0, 1])
def test_an_argument_that_cannot_travel_is_named_and_nothing_is_sent(ends: Ends, position: int) -> None:
    one, other = ends().serve(), ends().serve(print)
    arguments: list[object] = [1, 2]
    arguments[position] = threading.Lock()
    with pytest.raises(EncodeError, match=f"argument {position} cannot travel.*lock"):
        one.call(other, "print", *arguments)


class OnlyHere:
    def __reduce__(self) -> tuple[object, ...]:
        return _made_here, (os.getpid(), threading.get_ident())


def _made_here(pid: int, thread: int) -> str:
    if thread != threading.get_ident():
        raise ValueError("only where it was made")
    return "made"


def test_an_argument_that_cannot_be_rebuilt_there_is_a_decode_error_that_did_not_run(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(print, double)
    with pytest.raises(DecodeError, match="only where it was made") as caught:
        one.call(other, "print", OnlyHere())
    assert caught.value.ran == NO
    assert one.call(other, "double", 2) == 4


def test_a_result_that_cannot_travel_is_told_and_the_link_goes_on(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve(threading.Lock, double)
    with pytest.raises(RemoteError, match="cannot travel"):
        one.call(other, "lock" if "lock" in other.connections.tags() else other.connections.tags()[0])
    assert one.call(other, "double", 2) == 4
    assert one.caller.links == 1


def test_a_result_in_too_many_pieces_is_told_and_frees_its_slot(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    def pieces(count: int) -> list[object]:
        return [numpy.zeros(codec.LARGE) for _ in range(count)]

    monkeypatch.setattr(frames, "MOST_BUFFERS", 40)

    one, other = ends().serve(), ends(cap=1).serve(pieces, double)
    assert len(one.call(other, "pieces", frames.MOST_BUFFERS)) == frames.MOST_BUFFERS
    with pytest.raises(RemoteError, match="at most 40"):
        one.call(other, "pieces", frames.MOST_BUFFERS + 1)
    assert one.call(other, "double", 2, timeout=5) == 4
    assert other.serving.running == 0


def test_large_values_of_many_kinds_come_back_as_they_were(ends: Ends) -> None:
    import numpy

    def same(*values: object) -> object:
        return values

    one, other = ends().serve(), ends().serve(same)
    array = numpy.arange(300_000).reshape(3, -1)
    values = (
        os.urandom(200_000),
        bytearray(os.urandom(100_000)),
        array,
        array[::2, ::3],
        "x" * 100_000,
        [b"y" * 70_000],
    )
    back = one.call(other, "same", *values)

    assert [type(value) for value in back] == [type(value) for value in values]
    for sent, got in zip(values, back, strict=True):
        assert numpy.array_equal(sent, got) if isinstance(sent, numpy.ndarray) else sent == got


def test_a_peer_that_breaks_the_rules_is_an_error_and_its_link_is_closed(ends: Ends) -> None:
    def garbage() -> None:
        from hubnet.links.context import here

        assert here.call.link is not None
        here.call.link._sock.send(b"\xff" * 100)

    one, other = ends().serve(), ends().serve(garbage)
    with pytest.raises((RemoteProtocolError, PeerLost), match="frame"):
        one.call(other, "garbage")
    assert one.caller.links == 0


def test_a_peer_that_is_not_there_is_asked_for_once_more_and_then_unreachable(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve()
    other.close()
    _closed(other)
    with pytest.raises(PeerUnreachable, match=f"127.0.0.1:{other.port}.*nobody listens") as caught:
        one.call(other, "print")
    assert one.asked == [False, True]
    assert caught.value.connection == "print"
    assert caught.value.peer == other.id


@pytest.mark.parametrize("ran", [NO, MAYBE])
def test_a_peer_that_broke_a_call_s_link_and_answers_no_dial_after_it_keeps_nobody_longer_than_a_vanished_one(
    ends: Ends, ran: str
) -> None:
    """A killed container's kernel resets its links and is gone before the next dial, which nobody refuses any more."""
    one, other = ends().serve(), ends().serve(double)
    waits: list[float] = []

    def silent(host: str, port: int, deadline: float) -> socket.socket:
        waits.append(deadline - time.monotonic())
        raise TimeoutError

    def breaks(link: Link, *args: object) -> object:
        raise PeerLost("reset", ran=ran)

    one.call(other, "double", 1)
    one.dialler._open = silent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "exchange", breaks)
        with pytest.raises(PeerUnreachable if ran == NO else PeerLost) as caught:
            one.call(other, "double", 1, idempotent=True)
    with pytest.raises(PeerUnreachable):
        one.call(other, "double", 1)
    assert caught.value.ran == ran
    again, first = waits
    assert calls.VANISHED_AFTER_MS / 1000 <= again < 4 < first


DIES = """
import os, signal, socket
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
there, _ = listening.accept()
there.recv(4096)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_peer_that_is_killed_in_the_middle_of_a_handshake_is_unreachable(ends: Ends) -> None:
    """And not taken for one with another secret, which hangs up as silently."""
    one = ends().serve()
    with subprocess.Popen([sys.executable, "-c", DIES], stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout
        port = int(dying.stdout.readline())
        gone = generate_id(port, "127.0.0.1")
        one.book[gone] = Endpoint(gone, bytes(16), "127.0.0.1", port, {})
        with pytest.raises(PeerUnreachable, match="nobody listens") as caught:
            one.caller.call(Connection("print", print), gone, (), {}, 20.0)
    assert caught.value.ran == NO


def test_a_hundred_threads_call_ten_peers(ends: Ends) -> None:
    one, others = ends().serve(), [ends().serve(double) for _ in range(10)]

    def many(first: int) -> int:
        return sum(one.call(others[(first + n) % 10], "double", n) for n in range(10))

    calls = [Running(many, number) for number in range(100)]
    assert [call.result() for call in calls] == [90] * 100
    assert workers._MOST > 100
