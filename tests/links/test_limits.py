"""What one peer lets others make it hold: links in all and from one peer, strangers from one address, bytes of a call."""

from __future__ import annotations

import socket
import tracemalloc
from typing import ClassVar
from weakref import WeakSet

import pytest

from hubnet.core import frames
from hubnet.errors import EncodeError, PeerBusy, PeerLost, PeerUnreachable, RemoteError
from hubnet.links import running
from hubnet.links.limits import Limits
from tests.waiting import eventually

from .loopback import Ends, Running, pair, soon
from .test_serving import Gate, echo, gate

MIB = 1 << 20
__all__ = ["gate"]


def zeros(size: int) -> bytes:
    """A large result."""
    return bytes(size)


def test_one_peer_gets_no_more_links_than_its_share_and_others_get_theirs(ends: Ends, gate: Gate) -> None:
    other = ends(limits=Limits(links=(5, 2))).serve(gate.through, echo)
    greedy, modest = ends().serve(), ends().serve()
    holding = [Running(greedy.call, other, "through", n, timeout=None) for n in range(2)]
    eventually(lambda: gate.running == 2)
    with pytest.raises(PeerBusy, match="too many links"):
        greedy.call(other, "echo", 1)
    assert modest.call(other, "echo", 2) == 2
    gate.opened.set()
    assert sorted(one.result() for one in holding) == [0, 1]
    assert greedy.call(other, "echo", 3) == 3


def test_no_more_links_than_in_all_and_a_place_that_was_left_is_free_again(ends: Ends) -> None:
    other = ends(limits=Limits(links=(3, 3))).serve(echo)
    callers = [ends().serve() for _ in range(4)]
    assert [one.call(other, "echo", n) for n, one in enumerate(callers[:3])] == [0, 1, 2]
    with pytest.raises(PeerBusy, match="too many links"):
        callers[3].call(other, "echo", 3)
    callers[0].caller.close()
    eventually(lambda: other.serving.links == 2)
    assert callers[3].call(other, "echo", 3) == 3
    assert sum(other.serving._links_of.values()) == other.serving.links


def test_strangers_of_one_address_make_room_for_each_other_alone(ends: Ends) -> None:
    other = ends(limits=Limits(strangers=(6, 3))).serve(echo)
    patient = [_stranger(other.port, f"127.0.0.{n}") for n in (2, 3)]
    loud = [_stranger(other.port, "127.0.0.9") for _ in range(9)]
    eventually(lambda: other.counted("handshakes.turned_away") == 6)
    assert ends().serve().call(other, "echo", 1) == 1
    assert [_is_open(one) for one in patient] == [True, True]
    assert [_is_open(one) for one in loud] == [False] * 6 + [True] * 3
    for one in (*patient, *loud):
        one.close()


def test_when_all_places_are_taken_the_busiest_address_gives_one_up(ends: Ends) -> None:
    other = ends(limits=Limits(strangers=(4, 3))).serve(echo)
    single = _stranger(other.port, "127.0.0.2")
    crowd = [_stranger(other.port, "127.0.0.3") for _ in range(3)]
    eventually(lambda: len(other.serving._arrivals) == 4)
    newcomer = _stranger(other.port, "127.0.0.4")
    eventually(lambda: other.counted("handshakes.turned_away") == 1)
    assert _is_open(single)
    assert _is_open(newcomer)
    assert [_is_open(one) for one in crowd] == [False, True, True]
    for one in (single, newcomer, *crowd):
        one.close()


def _stranger(port: int, address: str) -> socket.socket:
    """A link from this address whose other end says nothing."""
    return socket.create_connection(("127.0.0.1", port), source_address=(address, 0))


def _is_open(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "value", [bytes(2 * MIB), "x" * (2 * MIB), [b"y" * MIB, b"z" * MIB]], ids=["bytes", "str", "list"]
)
def test_arguments_and_results_over_the_limit_are_refused_before_they_are_sent(ends: Ends, value: object) -> None:
    small = Limits(call=2 * MIB - 1)
    one, other = (ends(limits=small).serve(echo, zeros) for _ in range(2))
    with pytest.raises(EncodeError, match="HUBNET_CALL_LIMIT=2097151") as caught:
        one.call(other, "echo", value)
    assert caught.value.ran == "NO"
    with pytest.raises(RemoteError, match="HUBNET_CALL_LIMIT=2097151"):
        one.call(other, "zeros", 2 * MIB)
    assert one.call(other, "echo", bytes(MIB)) == bytes(MIB)


class Heavy(Exception):
    """One that holds more than its text; what is alive of it is counted."""

    alive: ClassVar[WeakSet[Heavy]] = WeakSet()

    def __init__(self, text: str, load: bytes) -> None:
        super().__init__(text, load)
        self.text = text
        self.alive.add(self)

    def __str__(self) -> str:
        return self.text


def heavy(size: int) -> None:
    """Fails with so many bytes."""
    raise Heavy("the load", bytes(size))


def test_an_exception_over_the_limit_of_results_is_told_and_stays_where_it_was_raised(ends: Ends) -> None:
    limit = 2 * MIB
    one, other = (ends(limits=Limits(call=limit)).serve(echo, heavy) for _ in range(2))
    for size in (limit, 8 * MIB):
        with pytest.raises(RemoteError, match=f"raised .*Heavy: the load .*HUBNET_CALL_LIMIT={limit}") as caught:
            one.call(other, "heavy", size)
        assert caught.value.type_name == f"{__name__}.Heavy"
        assert "in heavy\n" in caught.value.traceback_text
        assert caught.value.__cause__ is None
        del caught
    with pytest.raises(RemoteError) as caught:
        one.call(other, "heavy", MIB)
    assert caught.value.args[0].endswith("Heavy: the load")
    assert isinstance(caught.value.__cause__, Heavy)
    assert caught.value.__cause__.args == ("the load", bytes(MIB))
    del caught
    assert one.call(other, "echo", 1) == 1
    eventually(lambda: not Heavy.alive)


def test_the_memory_of_an_exception_that_stays_is_free_again(ends: Ends) -> None:
    one, other = ends().serve(echo), ends(limits=Limits(call=MIB)).serve(echo, heavy)
    tracemalloc.start()
    try:
        for _ in range(2):
            with pytest.raises(RemoteError, match=r"Heavy: the load .*HUBNET_CALL_LIMIT"):
                one.call(other, "heavy", 16 * MIB)
            assert one.call(other, "echo", 1) == 1
            eventually(lambda: tracemalloc.get_traced_memory()[0] < MIB)
    finally:
        tracemalloc.stop()


def test_an_exception_that_no_frame_takes_is_told_all_the_same(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is far below a frame's, which would need gigabytes here."""
    assert running._LARGEST_EXCEPTION + MIB < frames._MOST_SEALED
    monkeypatch.setattr(running, "_LARGEST_EXCEPTION", MIB)
    one, other = ends().serve(), ends().serve(heavy)
    with pytest.raises(RemoteError, match=r"Heavy: the load .* bytes, more than the 1048576 that may travel"):
        one.call(other, "heavy", MIB)


def test_what_another_peer_announces_over_our_limit_is_refused_before_memory_is_taken(ends: Ends) -> None:
    one, other = ends().serve(), ends(limits=Limits(call=MIB)).serve(echo)
    for value in (bytes(2 * MIB), "x" * 2 * MIB):
        with pytest.raises((PeerLost, PeerUnreachable)):  # as it meets us reading or writing
            one.call(other, "echo", value)
    assert other.counted("frames.rejected") >= 2
    assert one.call(other, "echo", 1) == 1


def test_the_limit_holds_for_pickle_and_buffers_together() -> None:
    near, far = pair("tagged", "unix")
    far.most = 100_000
    near.send(near.protection.pack(frames.REQUEST, b"p" * 60_000, buffers=[memoryview(b"b" * 50_000)]))
    with pytest.raises(Exception, match="were announced, more than HUBNET_CALL_LIMIT=100000"):
        far.receive(soon())
    near.close()
    far.close()
