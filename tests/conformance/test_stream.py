"""A stream in memory behaves as a TCP connection does: one suite, run on both."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hubnet import machine
from hubnet.memory.network import Network
from tests.waiting import eventually

Pair = tuple[Any, Any]


@pytest.fixture(params=["tcp", "memory"])
def ends(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "memory":
        near, far = Network().stream("near", "far")
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
    yield near, far
    near.close()
    far.close()


def readable(end: Any, seconds: float = 0.0) -> bool:
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def received(end: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := end.recv(size - len(data))):
        data += more
    return data


def test_what_is_sent_is_received_in_order(ends: Pair) -> None:
    near, far = ends
    for word in (b"one ", b"two ", b"three"):
        near.sendall(word)
    assert received(far, 13) == b"one two three"
    far.sendall(bytearray(b"back"))
    memory = bytearray(4)
    assert near.recv_into(memoryview(memory)) == 4
    assert memory == b"back"


def test_more_than_there_is_room_for_waits_for_the_reader(ends: Pair) -> None:
    near, far = ends
    much = os.urandom(16 << 20)
    sending = threading.Thread(target=near.sendall, args=(much,))
    sending.start()
    assert received(far, len(much)) == much
    sending.join(10)
    assert not sending.is_alive()


def test_a_full_stream_takes_no_more_within_its_limit(ends: Pair) -> None:
    near, _ = ends
    machine.limit_waits(near, 0.05, 0.05)
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            near.send(bytes(1 << 20))


def test_its_descriptor_is_readable_while_something_waits(ends: Pair) -> None:
    near, far = ends
    assert not readable(far)
    near.sendall(b"word")
    assert readable(far, 5)
    far.recv(2)
    assert readable(far)
    far.recv(2)
    assert not readable(far)
    near.close()
    assert readable(far, 5)


def test_nothing_there_is_told_at_once_or_in_time(ends: Pair) -> None:
    near, _ = ends
    with pytest.raises(BlockingIOError):
        near.recv(1, socket.MSG_DONTWAIT)
    near.settimeout(0.02)
    with pytest.raises(TimeoutError):
        near.recv(1)
    near.setblocking(False)
    with pytest.raises(BlockingIOError):
        near.recv(1)
    near.settimeout(None)
    machine.limit_waits(near, 0.02)
    with pytest.raises(BlockingIOError):
        near.recv(1)


def test_the_end_comes_after_what_was_sent(ends: Pair) -> None:
    near, far = ends
    near.sendall(b"last words")
    near.close()
    assert received(far, 100) == b"last words"
    assert far.recv(1) == b""


def test_one_direction_may_end_before_the_other(ends: Pair) -> None:
    near, far = ends
    near.shutdown(socket.SHUT_WR)
    assert far.recv(1) == b""
    far.sendall(b"still")
    assert received(near, 5) == b"still"
    with pytest.raises(BrokenPipeError):
        near.sendall(b"not any more")


def test_shutting_down_lets_go_whoever_waits(ends: Pair) -> None:
    near, _ = ends
    heard: list[bytes] = []
    waiting = threading.Thread(target=lambda: heard.append(near.recv(1)))
    waiting.start()
    near.shutdown(socket.SHUT_RDWR)
    waiting.join(5)
    assert heard == [b""]


def test_sending_to_who_has_closed_is_a_broken_pipe_or_a_reset(ends: Pair) -> None:
    near, far = ends
    far.close()

    def fails() -> bool:
        try:
            near.sendall(b"word")
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False

    eventually(fails)


def test_a_closed_end_has_no_descriptor_and_does_nothing(ends: Pair) -> None:
    near, _ = ends
    near.close()
    near.close()
    assert near.fileno() == -1
    for act in (lambda: near.send(b"x"), lambda: near.recv(1), lambda: near.shutdown(socket.SHUT_RDWR)):
        with pytest.raises(OSError, match=r"closed|Bad file descriptor"):
            act()
