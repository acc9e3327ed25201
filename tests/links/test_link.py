"""One link: frames of every size, and the truth about how it ended."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubnet.core import frames
from hubnet.errors import MAYBE, NO, CallTimeout, PeerLost, RemoteProtocolError
from hubnet.links import link as link_room
from hubnet.links.link import Link

from .loopback import SUITES, Running, pair, soon

KIB, MIB = 1 << 10, 1 << 20
SIZES = [0, 1, KIB - 1, KIB, KIB + 1, 32 * KIB - 1, 32 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB]


WAYS = [
    *(f"{suite}-{kind}" for suite in SUITES if suite != "bare" for kind in ("unix", "tcp")),
    "bare-tls",
    "sealed-tls",
]


@pytest.fixture(params=WAYS)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Link, Link]]:
    suite, kind = request.param.split("-")
    made = pair(suite, kind)
    yield made
    for link in made:
        link.close()


@pytest.fixture(params=[way for way in WAYS if way != "bare-tls"])
def proved(request: pytest.FixtureRequest) -> Iterator[tuple[Link, Link]]:
    """Ends whose frames carry a proof of their own; inside TLS alone it is TLS that refuses."""
    made = pair(*request.param.split("-"))
    yield made
    for link in made:
        link.close()


@pytest.fixture
def tcp() -> Iterator[tuple[Link, Link]]:
    made = pair("tagged", "tcp")
    yield made
    for link in made:
        link.close()


def answer(link: Link, *, times: int = 1) -> None:
    """The other side: send back what came."""
    for _ in range(times):
        frame = link.receive()
        link.send(
            link.protection.pack(frames.RESULT, bytes(frame.body), buffers=[memoryview(b) for b in frame.buffers])
        )


def test_frames_of_every_size_go_there_and_come_back(ends: tuple[Link, Link]) -> None:
    near, far = ends
    there = Running(answer, far, times=len(SIZES))
    for size in SIZES:
        body = os.urandom(size)
        frame = near.exchange(b"tag", body, [], 0, 0, soon())
        assert frame.kind == frames.RESULT
        assert bytes(frame.body) == body, size
    there.result()


def test_large_buffers_travel_beside_the_body(ends: tuple[Link, Link]) -> None:
    near, far = ends
    there = Running(answer, far)
    buffers = [os.urandom(size) for size in (0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5)]

    frame = near.exchange(b"tag", b"body", [memoryview(one) for one in buffers], 0, 0, soon(10))

    assert bytes(frame.body) == b"body"
    assert [bytes(one) for one in frame.buffers] == buffers
    there.result()


def test_a_request_says_its_name_depth_patience_and_remaining_time(ends: tuple[Link, Link]) -> None:
    near, far = ends
    there = Running(far.receive)
    asking = Running(near.exchange, b"render", b"body", [], 3, 250, soon(5))

    frame = there.result()
    far.send(far.protection.pack(frames.RESULT, b""))
    asking.result()

    assert (frame.kind, frame.name, bytes(frame.body)) == (frames.REQUEST, b"render", b"body")
    assert (frame.depth, frame.patience) == (3, 250)
    assert 4_000_000 < frame.remaining <= 5_000_000


def test_the_hot_way_and_the_other_one_follow_each_other_on_one_link(ends: tuple[Link, Link]) -> None:
    near, far = ends
    there = Running(answer, far, times=20)
    for number in range(10):
        body = b"%d" % number
        assert near.exchange_plain(frames.prefix(frames.REQUEST, b"tag"), body) == body
        assert bytes(near.exchange(b"tag", body * 20_000, [], 0, 0, soon()).body) == body * 20_000
    there.result()


def test_several_frames_in_one_read_are_told_apart(ends: tuple[Link, Link]) -> None:
    near, far = ends
    near.send([b"".join(bytes(piece) for n in range(5) for piece in near.protection.pack(frames.RESULT, b"%d" % n))])
    near.send(near.protection.pack(frames.RESULT, b"x" * 100_000))

    assert [bytes(far.receive(soon()).body) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert bytes(far.receive(soon()).body) == b"x" * 100_000


def test_a_deadline_that_passes_is_a_call_timeout_that_may_have_run(ends: tuple[Link, Link]) -> None:
    near, _ = ends
    begin = time.monotonic()
    with pytest.raises(CallTimeout) as caught:
        near.exchange(b"tag", b"", [], 0, 0, soon(0.2))

    assert caught.value.ran == MAYBE
    assert isinstance(caught.value, TimeoutError)
    assert 0.15 < time.monotonic() - begin < 10


def test_a_deadline_that_passes_while_sending_is_a_call_timeout_that_did_not_run(ends: tuple[Link, Link]) -> None:
    near, _ = ends
    body = memoryview(bytes(32 * MIB))  # too much, in all, to be sealed before it is sent
    begin = time.monotonic()
    with pytest.raises(CallTimeout) as caught:
        near.exchange(b"tag", b"", [body] * 128, 0, 0, soon(0.3))

    assert caught.value.ran == NO
    assert time.monotonic() - begin < 3


def test_a_deadline_is_met_to_the_tenth_of_a_second_after_a_long_one(tcp: tuple[Link, Link]) -> None:
    near, far = tcp
    there = Running(answer, far)
    near.exchange(b"tag", b"", [], 0, 0, soon(0.05))
    there.result()
    there = Running(answer, far)
    near.exchange(b"tag", b"", [], 0, 0, soon(60))
    there.result()

    for seconds in (0.4, 0.1, 0.02):
        begin = time.monotonic()
        with pytest.raises(CallTimeout):
            near.receive(soon(0))
        with pytest.raises(CallTimeout):
            near.exchange(b"tag", b"", [], 0, 0, soon(seconds))
        assert time.monotonic() - begin < seconds + 10


def test_an_end_without_a_goodbye_after_a_request_may_have_run(ends: tuple[Link, Link]) -> None:
    near, far = ends
    there = Running(lambda: (far.receive(), far.shutdown()))
    with pytest.raises(PeerLost, match="without a goodbye") as caught:
        near.exchange(b"tag", b"", [], 0, 0, soon())

    assert caught.value.ran == MAYBE
    there.result()


@pytest.mark.parametrize("hot", [True, False])
def test_a_goodbye_that_crossed_the_request_means_it_did_not_run(ends: tuple[Link, Link], hot: bool) -> None:
    near, far = ends
    far.say_bye()
    with pytest.raises(PeerLost, match="goodbye") as caught:
        if hot:
            near.exchange_plain(frames.prefix(frames.REQUEST, b"tag"), b"")
        else:
            near.exchange(b"tag", b"", [], 0, 0, soon())

    assert caught.value.ran == NO


def test_a_send_onto_a_closed_link_did_not_run(ends: tuple[Link, Link]) -> None:
    near, far = ends
    far.close()
    with pytest.raises(PeerLost) as caught:
        near.exchange(b"tag", b"", [memoryview(bytes(32 * MIB))], 0, 0, soon())

    assert caught.value.ran == NO


def test_a_peer_that_does_not_read_for_long_is_waited_for(tcp: tuple[Link, Link]) -> None:
    near, far = tcp
    much = os.urandom(MIB) * 64
    sending = Running(near.exchange, b"tag", b"", [memoryview(much)], 0, 0, None)

    sending.thread.join(4.5)  # longer than a vanished machine is given
    assert not sending.over

    there = Running(answer, far)
    assert bytes(sending.result().buffers[0]) == much
    there.result()


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_frame_that_is_cut_in_the_middle_is_a_lost_peer(ends: tuple[Link, Link], size: int) -> None:
    near, far = ends
    whole = b"".join(bytes(piece) for piece in far.protection.pack(frames.RESULT, b"x" * size))
    for cut in (1, frames.HEADER_SIZE, frames.HEADER_SIZE + 3, len(whole) - 1):
        near, far = pair("tagged", "tcp")
        whole = b"".join(bytes(piece) for piece in far.protection.pack(frames.RESULT, b"x" * size))
        far.send([whole[:cut]])
        far.shutdown()
        with pytest.raises(PeerLost) as caught:
            near.receive(soon())
        assert caught.value.ran == MAYBE
        near.close()
        far.close()


def test_a_cut_between_the_body_and_its_buffers_is_a_lost_peer(ends: tuple[Link, Link]) -> None:
    near, far = ends
    pieces = list(far.protection.pack(frames.RESULT, b"body", buffers=[memoryview(bytes(100_000))]))
    far.send(pieces[:-1])
    far.shutdown()
    with pytest.raises(PeerLost, match="middle"):
        near.receive(soon())


@pytest.mark.parametrize("at", [0, 4, 5, 10, frames.HEADER_SIZE, -1])
def test_one_flipped_bit_anywhere_is_refused(proved: tuple[Link, Link], at: int) -> None:
    near, far = proved
    whole = bytearray(b"".join(bytes(piece) for piece in far.protection.pack(frames.RESULT, b"x" * 2000)))
    whole[at] ^= 1
    far.send([bytes(whole)])
    far.shutdown()
    with pytest.raises((RemoteProtocolError, PeerLost)):
        near.receive(soon())


def test_a_frame_sent_twice_is_refused(proved: tuple[Link, Link]) -> None:
    near, far = proved
    piece = far.protection.small(frames.PLAIN_RESULT, b"once")
    far.send([piece])
    assert bytes(near.receive(soon()).body) == b"once"
    far.send([piece])
    with pytest.raises(RemoteProtocolError):
        near.receive(soon())


def test_an_announced_gigabyte_takes_no_memory_before_it_arrives(tcp: tuple[Link, Link]) -> None:
    near, far = tcp
    far.send([frames.HEADER.pack(1 << 30, frames.RESULT, 0, 0, 0, 0, 0, 0) + b"x" * 100])
    far.shutdown()
    before = _peak_memory()
    with pytest.raises(PeerLost):
        near.receive(soon())
    assert _peak_memory() - before < 64 * MIB


def _peak_memory() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def test_a_signal_that_interrupts_a_wait_does_not_end_it(tcp: tuple[Link, Link]) -> None:
    import signal

    near, far = tcp
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        there = Running(
            lambda: (far.receive(), threading.Event().wait(0.5), far.send(far.protection.pack(frames.RESULT, b"late")))
        )
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        frame = near.exchange(b"tag", b"", [], 0, 0, soon())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    there.result()
    assert bytes(frame.body) == b"late"
    assert len(seen) > 2


@pytest.mark.parametrize("with_numpy", [True, False])
def test_memory_for_a_buffer_is_taken_as_its_bytes_arrive(monkeypatch: pytest.MonkeyPatch, *, with_numpy: bool) -> None:
    if not with_numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)
    before = resident()
    memory = link_room._memory(1 << 33)
    assert memory.nbytes == 1 << 33
    memory[: 1 << 20] = bytes(1 << 20)
    assert resident() - before < 64 << 20
    with pytest.raises(RemoteProtocolError, match="no memory"):
        link_room._memory(1 << 62)


def resident() -> int:
    """Bytes of memory that this process really has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
