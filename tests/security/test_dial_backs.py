"""The dial-back as a weapon: a member names an address that is not its own, and the hub goes there.

It cannot be avoided, since an address is proved by dialling it. So what arrives there is our own handshake alone, whatever the
one who listens answers and whatever the member wrote into its record; and it is not many times a minute.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from hubnet.hub import _MOST_LOOKS
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
def pose_as_a_hub(port, targets):
    made, record = link(port)
    ask_over(made, REGISTER, dict(record, hub=True))
    said = []
    for target in targets:
        posed = hubnet.Peer().generate_id(target, '127.0.0.1', 'evil').decode()
        where = dict(record, hub=True, id=posed, port=target, incarnation=record['incarnation'])
        try:
            said.append(ask_over(made, LOOK, where))
        except hubnet.HubnetError as error:
            said.append(str(error))
    made.close()
    return said
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


def test_who_calls_itself_a_hub_has_others_look_at_an_address_a_few_times_a_minute_and_no_more(member, victim_of):
    """Attack 40. What was seen would tell which ports are open."""
    home, victim = victim_of(lambda _: None), victim_of(lambda _: None)
    said = member.ask(f"pose_as_a_hub({home.port}, [{victim.port}] * {2 * MOST_A_MINUTE})")
    assert sum("HUBNET_DIAL_BACK_LIMIT" in one for one in said) == MOST_A_MINUTE
    assert len(victim.visits) == MOST_A_MINUTE


def test_who_calls_itself_a_hub_has_others_look_so_often_in_all_and_no_more(member, victim_of):
    """Attack 40. At another address each time; a real hub that has lost a hundred peers at once asks for a few hundred looks."""
    home = victim_of(lambda _: None)
    said = member.ask(f"pose_as_a_hub({home.port}, list(range(1, {_MOST_LOOKS + 101})))")
    assert sum("for more looks" in one for one in said) == 100


@pytest.mark.parametrize("other", ["port=1", "host='localhost'", "group='good'"])
def test_a_record_that_contradicts_its_own_id_is_refused(member, victim_of, other):
    """Attack 40. The id names host and port: a hub need not go anywhere else."""
    victim = victim_of(lambda _: None)
    with pytest.raises(Exception, match="contradicts its own id"):
        member.ask(f"lead(REGISTER, {victim.port}, {other})")
    assert victim.visits == []


@pytest.mark.parametrize("other", ["hub=1", "group=None", "executable=5", "revision='x'", "labels=[]"])
def test_a_record_that_others_could_not_read_is_refused(member, victim_of, other):
    """One that lacked a field made every listing of the net fail."""
    victim = victim_of(lambda _: None)
    with pytest.raises(
        Exception, match=f"{other.partition('=')[0]} is missing, or of another kind|contradicts its own id"
    ):
        member.ask(f"lead(REGISTER, {victim.port}, {other})")
    assert victim.visits == []


def test_a_member_cannot_have_another_one_leave_the_register(net, hub, member):
    """Its id and incarnation stand in every listing."""
    other = net.worker(HUBNET_GROUP="good")
    hub.run(f"record = hubnet.peers(refresh=True)['peers'][{id_of(other)!r}]")
    incarnation = hub.ask("record['incarnation']")
    member.run("from hubnet.hub import LEAVE")
    with pytest.raises(Exception, match="withdraws itself"):
        member.ask(f"ask_over(link(1)[0], LEAVE, {id_of(other)!r}, {incarnation!r})")
    assert id_of(other) in hub.ask("list(hubnet.peers(refresh=True)['peers'])")


def test_only_a_hub_has_a_word_with_other_peers_and_it_is_one_line_a_minute(net, hub, member):
    """Whoever can write lines into others' logs can tell them what to do."""
    other = net.worker(HUBNET_GROUP="good")
    member.run(
        """
        from hubnet.core.connections import Connection
        from hubnet.colleagues import WARN
        parts = hubnet.Peer().ready()
        def warn(peer, text): return parts.caller.call(Connection(WARN, print), peer, (text,), {}, 10)
        """
    )
    with pytest.raises(Exception, match="hubs alone have a word"):
        member.ask(f"warn({id_of(other)!r}, 'FORGED')")
    assert "FORGED" not in other.said
