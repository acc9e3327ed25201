"""The dial-back as a weapon: a member names an address that is not its own, and the hub goes there.

It cannot be avoided, since an address is proved by dialling it. So what arrives there is our own handshake alone, whatever the
one who listens answers and whatever the member wrote into its record; and it is not many times a minute.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.api.conftest import Actor, Net
from tests.api.witness import id_of
from tests.waiting import eventually

MOST_A_MINUTE = 20
M1_SIZES = {48, 80}
M3_SIZE = 128
EVIL = "EVIL\r\nFLUSHALL\r\n"
ATTACKS = f"""
import json, os, time
from hubnet.core.handshake import ANY_INCARNATION, Self, digest_of
from hubnet.directory import ask_over
from hubnet.hub import LOOK, REGISTER
from hubnet.links.dial import Dialler
def link(port):
    # over a link of an id that names the victim's address
    peer = hubnet.Peer()
    own, where = peer.ready().home._dialler, peer.decode_id(hub)
    posed, born = peer.generate_id(port, '127.0.0.1', 'evil'), os.urandom(16)
    poser = Dialler(Self(digest_of(posed), born), own._ring, own._suites, lambda: json.dumps({{'id': posed.decode()}}).encode())
    made = poser.dial(where['host'], where['port'], Self(digest_of(hub), ANY_INCARNATION), time.monotonic() + 10)
    record = dict(peer.record(), id=posed.decode(), incarnation=born.hex(), host='127.0.0.1', port=port, hostname={EVIL!r})
    return made, record
def lead(door, at, **more):
    made, record = link(at)
    try:
        return ask_over(made, door, {{**record, **more}})
    finally:
        made.close()
def lead_often(port, times):
    made, record = link(port)
    answers = 0
    for _ in range(times):
        try:
            ask_over(made, REGISTER, record)
            answers += 1
        except hubnet.PeerBusy:
            pass
    made.close()
    return answers
"""


class Victim:
    """Somebody who has nothing to do with the net, and notes what arrives.

    Attributes:
        port: where it listens.
        visits: what each visitor sent, until it went away.
    """

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listening.getsockname()[1])
        self.visits: list[bytes] = []
        self.ended = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            self.visits.append(b"")
            threading.Thread(target=self._serve, args=(link, len(self.visits) - 1), daemon=True).start()

    def _serve(self, link: socket.socket, at: int) -> None:
        with link:
            try:
                while data := link.recv(65536):
                    self.visits[at] += data
                    answer = self._answer(data)
                    if answer is None:
                        break
                    link.sendall(answer)
            except OSError:
                pass  # it was reset
        self.ended += 1

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def looks_like_m2(m1: bytes) -> bytes | None:
    """Suite 1 and the key's id that it was told: all that a stranger can say. Behind the proof it hangs up."""
    return b"HUB1" + bytes((1, 1, 0, 0)) + m1[8:16] + bytes(32) if m1.startswith(b"HUB1") else None


VICTIMS: dict[str, Callable[[bytes], bytes | None]] = {
    "hangs up": lambda _: None,
    "mail": lambda _: b"220 mail.example ESMTP\r\n",
    "web": lambda _: b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "Redis": lambda _: b"-ERR unknown command 'HUB1'\r\n",
    "an echo": lambda data: data,
    "much": lambda _: b"x" * 1_000_000,
    "silent": lambda _: b"",
    "almost hubnet": looks_like_m2,
}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    made = Net(tmp_path_factory.mktemp("net"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def hub(net: Net) -> Actor:
    return net.hub()


@pytest.fixture(scope="module")
def member(net: Net, hub: Actor) -> Actor:
    return net.worker(f"hub = {id_of(hub)!r}\n{ATTACKS}", HUBNET_GROUP="evil")


@pytest.fixture
def victim_of(hub: Actor) -> Iterator[Callable[..., Victim]]:
    made: list[Victim] = []

    def start(answer: Callable[[bytes], bytes | None]) -> Victim:
        made.append(Victim(answer))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.parametrize("answer", VICTIMS.values(), ids=VICTIMS)
def test_whoever_listens_at_a_foreign_address_gets_our_handshakes_bytes_and_no_others(member, victim_of, answer):
    """Attack 40. By registering with that address."""
    victim = victim_of(answer)
    assert member.ask(f"lead(REGISTER, {victim.port})")["reachable"] is False
    eventually(lambda: victim.visits and victim.ended == len(victim.visits))
    for said in victim.visits:
        first = next(size for size in sorted(M1_SIZES) if len(said) in {size, size + M3_SIZE})
        assert said[:5] == b"HUB1\x01"
        assert said[7] == 1  # one key id: 8 bytes follow, then the nonce
        assert first == 8 + 8 + 32 + 32 * (first == max(M1_SIZES))
        if answer is not looks_like_m2:
            assert len(said) == first  # not even the proof
        for word in (b"EVIL", b"FLUSHALL", b"\r\n\r\n"):
            assert word not in said


def test_a_member_cannot_register_for_another(net, hub, member, victim_of):
    """Attack 40. Whose record it is was proved by the link; only where it is, is what it says."""
    other = net.worker(HUBNET_GROUP="good")
    record = f"id={id_of(other).decode()!r}"
    with pytest.raises(Exception, match="a peer registers itself"):
        member.ask(f"lead(REGISTER, 1, {record})")
    listed = hub.ask("hubnet.peers(refresh=True)['peers']")
    assert listed[id_of(other)]["pid"] == other.pid
    assert listed[id_of(other)]["reachable"]


def test_a_hub_is_led_to_a_foreign_address_a_few_times_a_minute_and_no_more(member, victim_of):
    """Attack 40. Else each message of a member would be a connection to somebody else."""
    victim = victim_of(lambda _: None)
    assert member.ask(f"lead_often({victim.port}, {3 * MOST_A_MINUTE})") == MOST_A_MINUTE
    assert len(victim.visits) <= 2 * MOST_A_MINUTE  # a hub also looks by itself at whom it could not reach


def test_a_member_that_is_no_hub_has_no_hub_look_for_it(member, victim_of):
    """Attack 40. What a look finds would tell which ports are open."""
    victim = victim_of(lambda _: None)
    with pytest.raises(Exception, match="NotAllowed: hubs alone"):
        member.ask(f"lead(LOOK, {victim.port})")
    assert victim.visits == []


@pytest.mark.parametrize("other", ["port=1", "host='localhost'", "group='good'"])
def test_a_record_that_contradicts_its_own_id_is_refused(member, victim_of, other):
    """Attack 40. The id names host and port: a hub need not go anywhere else."""
    victim = victim_of(lambda _: None)
    with pytest.raises(Exception, match="contradicts its own id"):
        member.ask(f"lead(REGISTER, {victim.port}, {other})")
    assert victim.visits == []
