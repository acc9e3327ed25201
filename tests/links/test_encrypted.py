"""Links inside TLS: who is let in, and that a link waits, ends and is lost there as anywhere else."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hubnet import certificates
from hubnet.core.handshake import BARE, SEALED
from hubnet.errors import (
    AuthenticationError,
    CallTimeout,
    HubnetError,
    PeerBusy,
    PeerLost,
    PeerUnreachable,
    RemoteProtocolError,
)
from hubnet.links.encrypted import Secured
from tests.waiting import eventually

from .loopback import OTHER_RING, End, Ends, Running, ends_of_a_test, secured, soon
from .test_serving import Gate, echo

MIB = 1 << 20


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ends_of_a_test() as made:
        yield made


@pytest.fixture
def strangers(tmp_path: Path) -> Secured:
    """Certificates of another CA."""
    made = certificates.init(tmp_path / "others", [("127.0.0.1",)], days=2)
    return Secured.of(*(str(file) for file in (*made.hosts[0][:2], made.authority.certificate)))


def test_calls_of_every_size_go_both_ways_and_the_hot_way(ends: Ends) -> None:
    one, other = (ends(wire="tls", tls=secured()).serve(echo) for _ in range(2))
    for size in (0, 1, 16_383, 16_384, 16_385, 65_536, MIB + 1, 9 * MIB):
        data = os.urandom(size)
        assert one.call(other, "echo", data) == data
        assert other.call(one, "echo", data) == data
    assert [one.call(other, "echo", n) for n in range(300)] == list(range(300))
    assert {link.suite for link in one.serving._links.values()} == {BARE}


def test_many_callers_at_once_share_nothing(ends: Ends) -> None:
    one, other = (ends(wire="tls", tls=secured()).serve(echo) for _ in range(2))

    def ask(thread: int) -> list[object]:
        return [one.call(other, "echo", (thread, n, bytes(n * 1000))) for n in range(40)]

    asking = [Running(ask, thread) for thread in range(12)]
    for thread, asked in enumerate(asking):
        assert asked.result() == [(thread, n, bytes(n * 1000)) for n in range(40)]


def test_wire_sealed_seals_inside_tls_as_well(ends: Ends) -> None:
    one, other = (ends(wire="sealed", tls=secured()).serve(echo) for _ in range(2))
    assert one.call(other, "echo", 1) == 1
    assert {link.suite for link in other.serving._links.values()} == {SEALED}


def test_another_secret_is_refused_inside_tls(ends: Ends) -> None:
    one, other = ends(tls=secured(), ring=OTHER_RING).serve(), ends(tls=secured()).serve(echo)
    with pytest.raises(AuthenticationError, match="closed our handshake: another secret"):
        one.call(other, "echo", 1)
    assert other.counted("handshakes.refused") == 1


def test_a_certificate_of_another_ca_is_refused_whoever_dials(
    ends: Ends, strangers: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = ends(tls=secured()).serve(echo), ends(tls=strangers).serve(echo)
    for one, other in ((ours, theirs), (theirs, ours)):
        caplog.clear()
        with pytest.raises(AuthenticationError, match=r"no TLS with .*HUBNET_TLS_CA"):
            one.call(other, "echo", 1)
        eventually(lambda other=other: other.counted("handshakes.without_tls") >= 1)  # type: ignore[misc]
        assert "refused a link from 127.0.0.1: no TLS (" in caplog.text


def test_a_dialler_without_a_certificate_of_the_ca_is_told_that_it_is_not_accepted(
    ends: Ends, strangers: Secured
) -> None:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for mine in (trusting, strangers.client):
        mine.check_hostname, mine.verify_mode = False, ssl.CERT_NONE
        one, other = ends(tls=Secured(strangers.server, mine, b"x")).serve(), ends(tls=secured()).serve(echo)
        with pytest.raises(AuthenticationError, match="does not accept our certificate"):
            one.call(other, "echo", 1)
        eventually(lambda other=other: other.counted("handshakes.without_tls") >= 1)  # type: ignore[misc]


@pytest.mark.parametrize("near_has_tls", [True, False])
def test_tls_at_one_end_alone_is_told_to_who_dials(ends: Ends, near_has_tls: bool) -> None:
    one = ends(tls=secured() if near_has_tls else None).serve()
    other = ends(tls=None if near_has_tls else secured()).serve(echo)
    with pytest.raises((AuthenticationError, RemoteProtocolError, PeerUnreachable), match="TLS"):
        one.call(other, "echo", 1)
    apart = "handshakes.broken" if near_has_tls else "handshakes.without_tls"
    eventually(lambda: other.counted(apart) >= 1)
    alike = ends(tls=None if near_has_tls else secured())
    assert alike.call(other, "echo", 2) == 2


def test_whoever_stands_between_two_sessions_is_no_party_to_the_handshake(ends: Ends) -> None:
    """Attack 13: with the certificate of another host of the same CA, but without the secret."""
    one, other = ends(tls=secured()).serve(), ends(tls=secured()).serve(echo)
    relay = _Relay(other.port)
    book = dict(ends.book)
    ends.book[other.id] = other.endpoint._replace(port=relay.port)
    with pytest.raises(HubnetError) as caught:
        one.call(other, "echo", 1, timeout=5)
    assert isinstance(caught.value, AuthenticationError)
    ends.book.update(book)
    relay.close()


class _Relay:
    """TLS towards both, and the plain bytes handed on."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._relaying = Running(self._relay)

    def _relay(self) -> None:
        front, _ = self._listening.accept()
        own = secured(1)
        near = own.accept(front)
        near.settimeout(5)
        far, _ = own.dial(socket.create_connection(("127.0.0.1", self._target)), "127.0.0.1", soon())
        far.settimeout(5)
        far.sendall(near.recv(65536))
        near.sendall(far.recv(65536))
        try:
            far.sendall(near.recv(65536))
            near.sendall(far.recv(65536))
        except OSError:
            pass  # either of them saw through it
        near.close()
        far.close()

    def close(self) -> None:
        self._listening.close()


def test_a_deadline_passes_and_a_peer_dies_inside_tls_as_elsewhere(ends: Ends) -> None:
    gate = Gate()
    one, other = ends(tls=secured()).serve(), ends(tls=secured()).serve(gate.through)
    with pytest.raises(CallTimeout):
        one.call(other, "through", 1, timeout=0.3)
    waiting = Running(one.call, other, "through", 2, timeout=None)
    eventually(lambda: gate.running == 2)
    for link in list(other.serving._links.values()):
        link.shutdown()
    assert isinstance(waiting.error(), PeerLost)
    gate.opened.set()


def test_a_peer_drains_inside_tls(ends: Ends) -> None:
    gate = Gate()
    one, other = ends(tls=secured()).serve(), ends(tls=secured()).serve(gate.through, echo)
    assert one.call(other, "echo", 1) == 1
    running = Running(one.call, other, "through", 7, timeout=None)
    eventually(lambda: gate.running == 1)
    draining = Running(other.drain)
    eventually(lambda: other.serving._draining)
    gate.opened.set()
    assert running.result() == 7
    assert draining.result()
    with pytest.raises(PeerBusy):
        one.call(other, "echo", 2, timeout=5)


def test_strangers_in_the_middle_of_tls_are_closed_in_time(ends: Ends) -> None:
    other: End = ends(tls=secured()).serve(echo)
    silent = socket.create_connection(("127.0.0.1", other.port))
    loud = socket.create_connection(("127.0.0.1", other.port))
    loud.sendall(b"GET / HTTP/1.1\r\n\r\n")
    loud.settimeout(20)
    with suppress(ConnectionResetError):
        while said := loud.recv(100):
            assert b"hubnet" not in said.lower()
    begin = time.monotonic()
    silent.settimeout(20)
    assert silent.recv(1) == b""
    assert time.monotonic() - begin > 2
    assert other.counted("handshakes.timed_out") == 1
    assert ends(tls=secured()).call(other, "echo", 3) == 3
    silent.close()
    loud.close()
