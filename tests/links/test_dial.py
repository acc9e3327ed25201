"""Dialling: how far it came is named, and where."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hubnet.core import handshake
from hubnet.core.handshake import ANY_INCARNATION, Self, digest_of
from hubnet.errors import AuthenticationError, HubnetError, PeerBusy, PeerUnreachable, RemoteProtocolError
from hubnet.links import arrivals, dial
from hubnet.links.dial import Unreachable
from tests.security import by_hand
from tests.waiting import eventually, free_port

from .loopback import OTHER_RING, Ends, listener, soon

ANYBODY = Self(handshake.ANY_ID, ANY_INCARNATION)


@contextmanager
def stranger(behave: Callable[[socket.socket], object]) -> Iterator[int]:
    """Somebody who accepts one link after the other and does this with it."""
    waiting = listener()
    waiting.settimeout(10)

    def accept() -> None:
        while True:
            try:
                sock, _ = waiting.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(10)
                try:
                    behave(sock)
                except OSError:
                    continue

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield waiting.getsockname()[1]
    finally:
        waiting.shutdown(socket.SHUT_RDWR)
        waiting.close()
        thread.join(5)


def test_a_dial_ends_in_a_link_that_knows_who_is_there(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve()
    link = one.dialler.dial("127.0.0.1", other.port, other.own, soon())

    assert link.foreign == other.own
    link.say_bye()
    link.close()


def test_who_dials_gives_up_before_the_other_end_does() -> None:
    assert dial.HANDSHAKE_LIMIT <= arrivals.LIMIT - 0.5


def test_who_was_stopped_itself_in_the_middle_of_a_handshake_blames_no_secret(ends: Ends) -> None:
    dialler = ends().dialler

    class Stopped(socket.socket):
        """Reads when the time for it is over, as a process does that was stopped meanwhile."""

        def recv(self, size: int) -> bytes:  # type: ignore[override]
            eventually(lambda: time.monotonic() > deadline)
            return super().recv(size)

    def open_(host: str, port: int, deadline: float) -> socket.socket:
        sock = Stopped()
        sock.connect((host, port))
        return sock

    dialler._open = open_
    with stranger(lambda sock: sock.recv(1000)) as port:
        deadline = time.monotonic() + 0.2
        with pytest.raises(Unreachable) as caught:
            dialler.dial("127.0.0.1", port, ANYBODY, deadline)
    assert caught.value.how == dial.SILENT


@pytest.mark.parametrize("what, how", [("late", dial.SILENT), ("broken", dial.BROKEN_OFF)])
def test_a_link_that_is_of_no_use_right_after_its_handshake_is_none(ends: Ends, what: str, how: str) -> None:
    """A hub's look at a peer ended in an error that nobody caught when the deadline passed between these two."""
    one, other = ends().serve(), ends().serve()
    shake = one.dialler._shake

    def shaken(sock: socket.socket, *rest: Any) -> Any:
        done = shake(sock, *rest)
        if what == "late":
            eventually(lambda: time.monotonic() > deadline)
        else:
            sock.shutdown(socket.SHUT_WR)
        return done

    one.dialler._shake = shaken
    deadline = time.monotonic() + (0.3 if what == "late" else 20)
    with pytest.raises(Unreachable) as caught:
        one.dialler.dial("127.0.0.1", other.port, other.own, deadline)
    assert caught.value.how == how


def test_a_peer_that_stops_in_the_middle_of_a_handshake_breaks_it_off_and_blames_no_secret(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve()

    def open_(host: str, port: int, deadline: float) -> socket.socket:
        sock = socket.create_connection((host, port))
        eventually(lambda: len(other.serving._arrivals) == 1)
        other.close()
        return sock

    one.dialler._open = open_
    with pytest.raises(Unreachable) as caught:
        one.dialler.dial("127.0.0.1", other.port, ANYBODY, soon())
    assert caught.value.how == dial.BROKEN_OFF


def test_a_host_name_is_looked_up(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve()
    one.dialler.dial("localhost", other.port, ANYBODY, soon()).close()


def test_a_connection_that_is_reset_as_it_is_made_was_answered_from_there(ends: Ends) -> None:
    dialler = ends().dialler

    def reset(*_: object) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    dialler._open = reset
    with pytest.raises(Unreachable, match="it broke off as we came") as caught:
        dialler.dial("127.0.0.1", 1, ANYBODY, soon())
    assert (caught.value.how, caught.value.ran) == (dial.BROKEN_OFF, "NO")


def test_nobody_listening_is_refused_by_name(ends: Ends) -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=f"cannot reach 127.0.0.1:{port}: nobody listens there") as caught:
        ends().dialler.dial("127.0.0.1", port, ANYBODY, soon())

    assert caught.value.how == dial.REFUSED
    assert caught.value.ran == "NO"
    assert isinstance(caught.value, ConnectionRefusedError)


def test_who_ends_in_the_middle_of_a_handshake_is_not_taken_for_one_with_another_secret(ends: Ends) -> None:
    """Its listening socket ends a moment after the link, and whoever comes just then is broken off: an hour of storm had one."""
    dialler, tries = ends().dialler, []
    with stranger(lambda sock: sock.recv(65_536)) as port:
        real = dialler._open

        def ending(*where: Any) -> socket.socket:
            tries.append(where)
            if len(tries) == 2:
                raise ConnectionResetError("reset as we came")
            if len(tries) > 2:
                raise ConnectionRefusedError("nobody is there any more")
            return real(*where)

        dialler._open = ending
        with pytest.raises(Unreachable, match="nobody listens there") as caught:
            dialler.dial("127.0.0.1", port, ANYBODY, soon(), sure=True)
    assert (caught.value.how, len(tries)) == (dial.REFUSED, 3)


def test_a_listener_that_never_accepts_accepts_but_does_not_answer(ends: Ends) -> None:
    with listener() as sock:
        port = sock.getsockname()[1]
        begin = time.monotonic()
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port} accepts but does not answer") as caught:
            ends().dialler.dial("127.0.0.1", port, ANYBODY, soon(0.3))

    assert caught.value.how == dial.SILENT
    assert time.monotonic() - begin < 2.5  # without a deadline it is 3 s


def test_one_that_trickles_bytes_is_given_up_at_the_deadline(ends: Ends) -> None:
    def trickle(sock: socket.socket) -> None:
        for byte in b"HUB1" * 1000:
            sock.sendall(bytes((byte,)))
            threading.Event().wait(0.05)

    begin = time.monotonic()
    with stranger(trickle) as port, pytest.raises(HubnetError):
        ends().dialler.dial("127.0.0.1", port, ANYBODY, soon(0.5))
    assert time.monotonic() - begin < 10


def test_a_full_backlog_is_no_answer_in_time(ends: Ends) -> None:
    waiting = socket.socket()
    waiting.bind(("127.0.0.1", 0))
    waiting.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(waiting.getsockname())
        fillers.append(filler)
    with pytest.raises(PeerUnreachable, match=f"127.0.0.1:{waiting.getsockname()[1]}"):
        ends().dialler.dial("127.0.0.1", waiting.getsockname()[1], ANYBODY, soon(0.5))
    for sock in (*fillers, waiting):
        sock.close()


def test_another_secret_is_an_authentication_error_at_both_ends(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    one, other = ends(ring=OTHER_RING).serve(), ends().serve()
    with pytest.raises(AuthenticationError, match=f"127.0.0.1:{other.port}.*secret"):
        one.dialler.dial("127.0.0.1", other.port, other.own, soon())

    assert other.counted("handshakes.refused") == 1
    assert "127.0.0.1: an unknown secret" in caplog.text


def test_another_version_is_told_by_the_listener_whatever_numbers_it_has(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger chooses the numbers: they are in no warning, or each would be a line of its own."""
    other = ends().serve()
    for low, high in ((2, 3), (7, 9), (0, 0)):
        with socket.create_connection(("127.0.0.1", other.port)) as sock:
            sock.sendall(by_hand.offer([bytes(8)], bytes(32), suites=by_hand.TAGGED, lowest=low, highest=high))
            assert sock.recv(100) == b""

    assert (other.counted("handshakes.other_version"), other.counted("handshakes.broken")) == (3, 0)
    assert caplog.text.count("127.0.0.1: another version of hubnet") == 1


def test_who_dialled_another_peer_is_counted_apart_by_the_listener(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "hubnet")
    one, other = ends().serve(), ends().serve()
    with pytest.raises(Unreachable) as caught:
        one.dialler.dial("127.0.0.1", other.port, one.own, soon())

    assert caught.value.how == dial.ANOTHER
    eventually(lambda: other.counted("handshakes.for_another") == 1)  # the dialler has its answer first
    assert "127.0.0.1: it dialled another peer" in caplog.text
    with pytest.raises(Unreachable) as caught:
        one.dialler.dial("127.0.0.1", one.port, ANYBODY, soon())
    assert caught.value.how == dial.ITSELF
    eventually(lambda: one.counted("handshakes.declined") == 1)


def test_no_protection_in_common_is_an_authentication_error(ends: Ends) -> None:
    one, other = ends(wire="sealed").serve(), ends(wire="open-mac").serve()
    with pytest.raises(AuthenticationError, match=f"127.0.0.1:{other.port}"):
        one.dialler.dial("127.0.0.1", other.port, other.own, soon())
    with pytest.raises(AuthenticationError, match=f"127.0.0.1:{one.port}"):
        other.dialler.dial("127.0.0.1", one.port, one.own, soon())


@pytest.mark.parametrize("wire", ["auto", "sealed", "open-mac"])
def test_every_protection_carries_a_call(ends: Ends, wire: str) -> None:
    one, other = ends(wire=wire).serve(), ends(wire=wire).serve(abs)
    assert one.call(other, "abs", -3) == 3


def test_another_peer_at_the_address_says_so(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve()
    for wanted in (Self(digest_of(b"somebody"), ANY_INCARNATION), Self(other.own.digest, bytes(15) + b"\1")):
        with pytest.raises(Unreachable, match=f"127.0.0.1:{other.port}: another peer listens there") as caught:
            one.dialler.dial("127.0.0.1", other.port, wanted, soon())
        assert caught.value.how == dial.ANOTHER


def test_a_peer_that_dials_itself_is_told(ends: Ends) -> None:
    one = ends().serve()
    with pytest.raises(Unreachable, match="that is this peer itself"):
        one.dialler.dial("127.0.0.1", one.port, one.own, soon())


def test_a_draining_peer_is_busy(ends: Ends) -> None:
    one, other = ends().serve(), ends().serve()
    other.drain()
    with pytest.raises(PeerBusy, match=f"127.0.0.1:{other.port} takes no link now: draining"):
        one.dialler.dial("127.0.0.1", other.port, other.own, soon())


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"-ERR unknown command\r\n"],
)
def test_a_server_of_another_kind_is_no_hubnet_peer(ends: Ends, said: bytes) -> None:
    with (
        stranger(lambda sock: sock.sendall(said)) as port,
        pytest.raises(HubnetError, match=f"127.0.0.1:{port}") as caught,
    ):
        ends().dialler.dial("127.0.0.1", port, ANYBODY, soon())
    assert isinstance(caught.value, (RemoteProtocolError, AuthenticationError))


def test_a_server_of_another_kind_that_waits_for_our_answer_is_no_hubnet_peer(ends: Ends) -> None:
    def http(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.27\r\nContent-Length: 0\r\n\r\n")
        sock.recv(1000)

    with stranger(http) as port, pytest.raises(RemoteProtocolError, match=f"127.0.0.1:{port} is no hubnet peer"):
        ends().dialler.dial("127.0.0.1", port, ANYBODY, soon())


def test_a_link_that_ends_in_the_handshake_is_told_as_such(ends: Ends) -> None:
    with (
        stranger(lambda sock: sock.recv(10)) as port,
        pytest.raises(HubnetError, match=f"127.0.0.1:{port} .* our handshake"),
    ):
        ends().dialler.dial("127.0.0.1", port, ANYBODY, soon())


def test_a_mirror_proves_nothing(ends: Ends) -> None:
    with stranger(lambda sock: [sock.sendall(sock.recv(1000)) for _ in range(2)]) as port, pytest.raises(HubnetError):
        ends().dialler.dial("127.0.0.1", port, ANYBODY, soon(2))


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 64 + ".invalid", "two..dots", "\udcff"])
def test_a_name_that_does_not_resolve_is_unreachable_at_once(ends: Ends, name: str) -> None:
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="the name does not resolve") as caught:
        ends().dialler.dial(name, 3010, ANYBODY, soon(8))
    assert caught.value.how == dial.UNKNOWN_NAME
    assert time.monotonic() - begin < 6


def test_no_descriptor_is_left_of_a_failed_dial(ends: Ends) -> None:
    from .loopback import descriptors

    one, other = ends(), ends(ring=OTHER_RING).serve()
    before = descriptors()
    for _ in range(10):
        with pytest.raises(AuthenticationError):
            one.dialler.dial("127.0.0.1", other.port, other.own, soon())
    assert len(descriptors() - before) <= 1
