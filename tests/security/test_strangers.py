"""Attacks 31 and 32 on a listening process: by strangers, who speak another language, or ours without the secret."""

from __future__ import annotations

import random
import ssl
import struct
import time
from contextlib import ExitStack

import pytest

from hubnet.core import handshake
from hubnet.links import arrivals
from tests.links.loopback import End
from tests.security import by_hand
from tests.security.by_hand import EACH_KIND
from tests.security.member import Member
from tests.security.visiting import (
    KEYS,
    M2_SIZE,
    NONCE,
    all_that_is_said,
    dialler,
    read,
    say,
    visit,
)

suite_of_each = pytest.mark.parametrize("suite", EACH_KIND, ids=["tagged", "sealed"])


# -- those who mean somebody else, attack 31 -------------------------------------------------------------------------


def client_hello() -> bytes:
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="render.example.org").do_handshake()
    return out.read()


WORDS = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n",
    "HTTP that begins as we do": b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "a browser's WebSocket": b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\n\r\n",
    "TLS": client_hello(),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "Redis in words": b"PING\r\n",
    "SMTP": b"HELO example.org\r\n",
    "JSON": b'{"jsonrpc": "2.0", "method": "x", "id": 1}\n',
    "zeros": bytes(256),
    "random": random.Random(31).randbytes(999),
    "our magic, then random": b"HUB1" + random.Random(32).randbytes(999),
    "a later version": by_hand.offer([KEYS.kid], NONCE, suites=1, lowest=2, highest=9),
    "a handshake of another secret": by_hand.offer([bytes(8)], NONCE, suites=1),
    "no suite": by_hand.offer([KEYS.kid], NONCE, suites=0),
    "much": b"x" * 1_000_000,
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_who_speaks_another_language_is_closed_and_not_a_byte_is_answered(
    there: Member, one: End, words: bytes
) -> None:
    timed_out = one.call(there, "counted", "handshakes.timed_out")
    with ExitStack() as all_of_them:
        visits = [all_of_them.enter_context(visit(there)) for _ in range(10)]
        for sock in visits:
            say(sock, words)
        assert [all_that_is_said(sock) for sock in visits] == [b""] * 10
    assert one.call(there, "counted", "handshakes.timed_out") == timed_out  # at once, not after five seconds


def test_who_says_nothing_too_little_or_says_it_slowly_is_closed_after_five_seconds(there: Member, one: End) -> None:
    """Attacks 30 and 32: the listener does not speak first; sending on gains no time; nor does the offer's answer."""
    offer = dialler(handshake.SEALED, there).m1()
    before = one.call(there, "counted", "handshakes.timed_out")
    begin = time.monotonic()
    with ExitStack() as all_of_them:
        silent, short, shorter, slow, asking = (all_of_them.enter_context(visit(there)) for _ in range(5))
        say(short, b"H")
        say(shorter, offer[:-1])
        say(asking, offer)
        assert len(read(asking, 80)) == 80
        slow.settimeout(0.1)
        for letter in offer[:-1]:
            say(slow, bytes((letter,)))
            try:
                assert slow.recv(1) == b""
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it was listened to until the end")
        slow_took = time.monotonic() - begin
        for sock in (silent, short, shorter, asking):
            assert all_that_is_said(sock) == b""
    assert slow_took > 0.8 * arrivals.LIMIT
    assert arrivals.LIMIT == 5.0
    assert one.call(there, "counted", "handshakes.timed_out") == before + 5


# -- what a stranger learns, attack 32 -------------------------------------------------------------------------------


@suite_of_each
def test_a_listener_tells_a_stranger_its_suite_a_nonce_and_what_the_stranger_said(
    there: Member, one: End, suite: int
) -> None:
    """All but nonce and point are constants or the stranger's own; both are fresh, and then nothing more is said."""
    seen = set()
    hand = dialler(suite, there)
    for _ in range(5):
        with visit(there) as sock:
            say(sock, hand.m1([bytes(8), KEYS.kid, b"\x77" * 8]))
            answer = read(sock, M2_SIZE[suite])
            say(sock, hand.m3(hand.m1(), answer))
            assert all_that_is_said(sock) == b""
        assert answer[:16] == b"HUB1" + bytes((1, suite, 0, 0)) + KEYS.kid
        seen |= {answer[at : at + 32] for at in range(16, len(answer), 32)}
        for known in (there.id, there.own.digest, there.own.incarnation, b"tests", struct.pack(">H", there.port)):
            assert known not in answer or len(known) < 4
    assert len(seen) == 5 * (len(answer) // 32)


def test_a_key_id_is_the_same_for_every_namespace_and_tells_none_apart(there: Member, one: End) -> None:
    """Who knows the secret but not the namespace is as far as who knows neither."""
    other = by_hand.keys_of(bytes(32), "production")
    assert (other.kid, other.link != KEYS.link) == (KEYS.kid, True)
    hand = dialler(handshake.TAGGED, there, other)
    with visit(there) as sock:
        say(sock, m1 := hand.m1())
        say(sock, hand.m3(m1, read(sock, 48)))
        assert all_that_is_said(sock) == b""
