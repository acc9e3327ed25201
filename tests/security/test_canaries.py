"""Attack 27, on a listening process and on a dialler: pickles wherever a stranger has a word, and nobody may rebuild them."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from hubnet.core import frames, handshake
from hubnet.core.keys import Keyring, new_token
from hubnet.errors import NO, AuthenticationError, HubnetError, PeerLost
from tests.links.loopback import End, Ends, ends_of_a_test, soon
from tests.links.test_dial import stranger
from tests.security import by_hand, canary
from tests.security.by_hand import EACH_KIND
from tests.security.member import Member, member
from tests.security.visiting import (
    KEYS,
    M2_SIZE,
    M3_SIZE,
    M4_SIZE,
    NONCE,
    PRIVATE,
    all_that_is_said,
    dialled,
    dialled_without_hello,
    dialler,
    limited,
    read,
    say,
    visit,
)
from tests.waiting import eventually

BIRD = b"ctests.security.canary\nsing\n(Vthere\ntR."  # by hand: it has to fit into the fields of a proof
suite_of_each = pytest.mark.parametrize("suite", EACH_KIND, ids=["tagged", "sealed"])


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    canary.sung.clear()
    yield
    assert canary.sung == []


# -- on a listener -----------------------------------------------------------------------------------------------------


def frames_with_canaries(suite: int) -> bytes:
    """Requests, answers and greetings under a key that is not the link's."""
    hand = by_hand.frames_of(suite, bytes(32))
    kinds = range(frames.HELLO, frames.BYE + 1)
    return b"".join(hand.frame(kind, BIRD, name, [BIRD]) for kind in kinds for name in (b"connect/echo", BIRD, b""))


def fields(size: int) -> bytes:
    return (BIRD * 4)[:size]


# What a stranger says after its offer was answered; before that, instead of it or within it.
FIRST = {
    "nothing else": lambda suite: BIRD,
    "behind our magic": lambda suite: b"HUB1" + BIRD,
    "frames at once": frames_with_canaries,
    "as the nonce": lambda suite: by_hand.offer([KEYS.kid], fields(64)[:32], fields(64)[32:], suites=suite),
    "over key ids and nonce": lambda suite: by_hand.offer(
        [BIRD[at : at + 8] for at in (0, 8, 16, 24)], fields(64)[32:], suites=1
    ),
}
THEN = {
    "instead of the proof": lambda suite: fields(M3_SIZE),
    "in the proof's fields": lambda suite: fields(M3_SIZE - 32) + bytes(32),
    "as the proof": lambda suite: bytes(M3_SIZE - 32) + fields(32),
    "frames instead of the proof": frames_with_canaries,
    "frames behind the proof": lambda suite: bytes(M3_SIZE) + frames_with_canaries(suite),
}


@suite_of_each
@pytest.mark.parametrize("words", FIRST.values(), ids=FIRST)
def test_no_canary_sings_where_a_stranger_begins_with_it(
    there: Member, one: End, suite: int, words: Callable[[int], bytes]
) -> None:
    with visit(there) as sock:
        say(sock, words(suite))
        with suppress(OSError):  # it was closed
            sock.shutdown(socket.SHUT_WR)
        assert len(all_that_is_said(sock)) in {0, M2_SIZE[suite]}


@suite_of_each
@pytest.mark.parametrize("words", THEN.values(), ids=THEN)
def test_no_canary_sings_where_a_stranger_has_had_its_offer_answered(
    there: Member, one: End, suite: int, words: Callable[[int], bytes]
) -> None:
    with visit(there) as sock:
        say(sock, dialler(suite, there).m1())
        assert len(read(sock, M2_SIZE[suite])) == M2_SIZE[suite]
        say(sock, words(suite))
        assert all_that_is_said(sock) == b""


@suite_of_each
def test_no_canary_sings_out_of_a_members_frames_that_are_no_request(there: Member, one: End, suite: int) -> None:
    """A member may run code here by a call, but in no other way: not by its hello, and not by what only a listener says."""
    end = limited(one, suite)
    for kind in (frames.RESULT, frames.RAISED, frames.FLAG, frames.REFUSED, frames.BYE):
        link = dialled(end, there)
        link.send(link.protection.pack(kind, BIRD))
        with pytest.raises(PeerLost):
            link.receive(soon())
        link.close()


@suite_of_each
def test_no_canary_sings_in_a_request_that_is_not_served(there: Member, one: End, suite: int) -> None:
    """Before the hello as after it: for a connection that is not there, or nested too deep."""
    end = limited(one, suite)
    link = dialled_without_hello(end, there)
    for name, depth in ((b"no such", 0), (BIRD, 0), (b"", 0), (b"echo", 16), (b"echo", 65535)):
        link.send(link.protection.pack(frames.REQUEST, BIRD, name=name, depth=depth))
        assert link.receive(soon()).kind == frames.REFUSED
    link.send(link.protection.pack(frames.REQUEST, BIRD, name=b"no such", buffers=[memoryview(BIRD)] * 3))
    assert link.receive(soon()).kind == frames.REFUSED
    link.close()
    with pytest.raises(HubnetError):
        end.call(there, "no such", canary.Canary("there"))


def test_the_canary_would_be_heard_in_the_members_process() -> None:
    """Else its silence there would prove nothing."""
    pickle.loads(BIRD)
    assert canary.sung == ["there"]
    canary.sung.clear()
    with member() as there, ends_of_a_test() as ends:
        ends.book[there.id] = there.endpoint
        caller = ends().serve()
        with pytest.raises(HubnetError):
            caller.call(there, "echo", canary.Canary("there"), 2)
        assert caller.call(there, "sung") == ["there"]


# -- a hostile listener, attack 27 -----------------------------------------------------------------------------------


def answers(*words: Callable[[int], bytes]) -> Callable[[socket.socket], None]:
    """One that says this, each after it has heard something."""

    def behave(sock: socket.socket) -> None:
        for one_of_them in words:
            offer = sock.recv(4096)
            suite = handshake.SEALED if offer[6:7] == bytes((handshake.SEALED,)) else handshake.TAGGED
            sock.sendall(one_of_them(suite))
        sock.shutdown(socket.SHUT_WR)
        all_that_is_said(sock)

    return behave


def pretends(sock: socket.socket) -> None:
    """One that says of itself what the dialler has just said of the peer that it wants."""
    offer = sock.recv(4096)
    sock.sendall(choice(suite := handshake.SEALED if len(offer) == 80 else handshake.TAGGED))
    wanted = sock.recv(4096)[48:96]
    sock.sendall(wanted + bytes((handshake.ACCEPTED,)) + bytes(32) + frames_with_canaries(suite))
    sock.shutdown(socket.SHUT_WR)
    all_that_is_said(sock)


def choice(suite: int) -> bytes:
    """The message that anybody can give who has seen the offer."""
    return by_hand.choice(KEYS.kid, NONCE, by_hand.point_of(PRIVATE) if suite == handshake.SEALED else b"", suite=suite)


HOSTILE = {
    "at once": answers(lambda suite: BIRD),
    "as frames": answers(frames_with_canaries),
    "as nonce and point": answers(
        lambda suite: by_hand.choice(KEYS.kid, fields(64)[:32], fields(64)[32:], suite=2), lambda _: BIRD
    ),
    "as key id and nonce": answers(lambda suite: b"HUB1\1" + bytes((suite, 0, 0)) + fields(72)),
    "instead of its proof": answers(choice, lambda suite: fields(M4_SIZE)),
    "in its proof's fields": answers(choice, lambda suite: fields(48) + b"\0" + bytes(32)),
    "behind its proof": answers(choice, lambda suite: bytes(M4_SIZE) + frames_with_canaries(suite)),
    "as frames instead of its proof": answers(choice, frames_with_canaries),
    "as the peer that is wanted": pretends,
}


@pytest.mark.parametrize("wire", ["open-mac", "sealed"])
@pytest.mark.parametrize("behave", HOSTILE.values(), ids=HOSTILE)
def test_no_canary_of_a_listener_without_the_secret_sings_and_its_caller_is_told_that_nothing_ran(
    behave: Callable[[socket.socket], None], wire: str
) -> None:
    with stranger(behave) as port, ends_of_a_test() as ends:
        one, other = ends(wire=wire).serve(), ends().serve()
        ends.book[other.id] = other.endpoint._replace(port=port)
        with pytest.raises(HubnetError) as caught:
            one.call(other, "echo", 1)
        assert caught.value.ran == NO
        assert one.caller.links == 0


def test_a_listener_without_the_secret_learns_the_key_id_and_names_as_digests_and_never_a_call(ends: Ends) -> None:
    heard: list[bytes] = []

    def listen(sock: socket.socket) -> None:
        heard.append(sock.recv(4096))
        sock.sendall(choice(handshake.TAGGED))
        heard.append(sock.recv(4096))
        sock.sendall(bytes(M4_SIZE))
        heard.append(all_that_is_said(sock))

    with stranger(listen) as port:
        one, other = ends(wire="open-mac").serve(), ends().serve()
        ends.book[other.id] = other.endpoint._replace(port=port)
        with pytest.raises(AuthenticationError):
            one.call(other, "echo", "an argument")
        eventually(lambda: len(heard) == 3)
    assert [len(message) for message in heard] == [48, M3_SIZE, 0]
    said = b"".join(heard)
    for name in (one.id, other.id, b"echo", b"an argument", b"tests", str(one.port).encode(), KEYS.link):
        assert name not in said
    assert Keyring.of([new_token(bytes(32))], "tests").first.kid in heard[0]
