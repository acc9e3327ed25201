"""Whoever may write to Redis and has no secret, against a net of real processes: they delete, change, bring back, make up.

What a forged or repeated record is worth to the room that reads it is tested in ``test_event_and_record_attacks.py`` and
``registry/test_registry.py``. Here the net lives on: nobody's code runs, nobody is led to the attacker, calls between peers
that know each other do not stop, and the register is whole again a few leases later.
"""

from __future__ import annotations

import json
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from hubnet.core import signing
from hubnet.core.channels import Names
from hubnet.core.envelopes import Packer, Sender
from hubnet.core.identity import decode_id, generate_id
from hubnet.core.keys import Keyring, new_token
from tests.api.conftest import Actor, Net, Raised
from tests.api.witness import id_of
from tests.waiting import eventually, free_port

LEASE = 0.6
NAMES = Names("default")
PEERS = NAMES.peers("render")
FORGED = Keyring.of([new_token(b"what an attacker has is another.")], "default")
SERVES = """
heard = []
@hubnet.connect('whoami')
def whoami(): return hubnet.Peer().id
@hubnet.connect('pid')
def pid():
    import os
    return os.getpid()
def seen():
    from hubnet import api
    return api._listed(api._query(None, on_host=False, hubs_only=False), refresh=True, timeout=2.0)
hubnet.subscribe('done')(lambda *args: heard.append(args))
"""


class Trap:
    """Where an attacker listens who would like to be called; says nothing, and notes who came.

    Attributes:
        port: where it listens.
        heard: what each visitor said, until it went away.
    """

    def __init__(self, port: int = 0, *, hangs_up: bool = False) -> None:
        self._hangs_up = hangs_up
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listening.getsockname()[1])
        self.heard: list[bytearray] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            self.heard.append(bytearray())
            threading.Thread(target=self._note, args=(link, self.heard[-1]), daemon=True).start()

    def _note(self, link: socket.socket, said: bytearray) -> None:
        with link:
            try:
                while data := link.recv(65536):
                    said += data
                    if self._hangs_up:
                        return
            except OSError:
                pass  # it was reset

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


class Attacked(Net):
    """A net, and the attacker's connection to its Redis."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.env.update(HUBNET_LEASE=str(LEASE), HUBNET_TIMEOUT="20")
        self.hub_, self.first, self.second = self.hub(SERVES), self._renderer(), self._renderer()
        self.first.run(f"other = {id_of(self.second)!r}\nwhoami(peer=other)")
        if self.guarded:
            self.writer = self.guarded.admin
        else:
            (address,) = self.folder.glob("hubnet-*/broker.json")
            self.writer = redis.Redis.from_url(json.loads(address.read_text())["url"])

    def _renderer(self, **env: str) -> Actor:
        return self.worker(SERVES, HUBNET_GROUP="render", **env)

    @contextmanager
    def newcomer(self, code: str = SERVES, **env: str) -> Iterator[Actor]:
        """One more, for a while."""
        one = self.actor(code, HUBNET_GROUP="render", **env)
        eventually(lambda: one.ask("hubnet.stats().get('registered')"))
        try:
            yield one
        finally:
            one.leave()

    def reread(self) -> None:
        """Have every hub read all records again, as it does when one has changed."""
        with suppress(redis.ResponseError):  # where it cannot be counted, it is not what they have read
            self.writer.hsetnx(NAMES.version, "epoch", "e")
            self.writer.hincrby(NAMES.version, "counter", 1)

    def whole(self) -> bool:
        """Whether the register says what is so: all are there, open, and found by whoever asks."""
        everybody = {id_of(one): one.pid for one in (self.hub_, self.first, self.second)}
        hub = id_of(self.hub_)
        if self.entry() is None or json.loads(self.entry() or b"")["port"] != decode_id(hub).port:
            return False
        for one in (self.hub_, self.first, self.second):
            told = one.ask("{id: (record['pid'], record['state']) for id, record in seen().items()}")
            if told != {peer_id: (pid, "open") for peer_id, pid in everybody.items() if pid != one.pid}:
                return False
        return True

    def entry(self) -> bytes | None:
        """What stands in the list of hubs for ours."""
        listed = self.writer.type(NAMES.hubs) == b"hash"
        return self.writer.hget(NAMES.hubs, id_of(self.hub_)) if listed else None

    def heals(self) -> None:
        """It is whole by the time that eight renewals of the hub were seen, or after six seconds where it renews no more."""
        renewals: set[bytes] = set()
        stuck = time.monotonic() + 6

        def judged() -> bool:
            nonlocal stuck
            entry = self.entry()
            if entry and entry not in renewals:
                renewals.add(entry)
                stuck = time.monotonic() + 6
            with suppress(Raised):
                if self.whole():
                    return True
            assert len(renewals) < 8, "it renews, and does not see what is wrong"
            assert time.monotonic() < stuck, "it does not even renew"
            return False

        eventually(judged, timeout=120)

    def calls_go_on(self) -> None:
        """Between peers that know each other."""
        for _ in range(20):
            assert self.first.ask("whoami(peer=other)") == id_of(self.second)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    net = Attacked(tmp_path_factory.mktemp("net"))
    yield net
    net.close()


@pytest.fixture
def net(made: Attacked) -> Iterator[Attacked]:
    """One for all tests; each leaves it whole."""
    yield made
    for one in made.actors[3:]:  # whom a test that failed has left behind
        one.close()
    del made.actors[3:]
    made.writer.flushall()
    made.reread()
    eventually(made.whole, timeout=40, not_yet=Raised)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that must never be rebuilt."""
    trace = tmp_path / "sang"
    yield pickle.dumps(Canary(trace))
    assert not trace.exists()


class Canary:
    """Leaves a folder where it is rebuilt."""

    def __init__(self, trace: Path) -> None:
        self._trace = str(trace)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._trace,)


def test_the_canary_sings_when_it_is_rebuilt(tmp_path):
    """Else its silence would prove nothing."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "sang")))
    assert (tmp_path / "sang").exists()


# -- deleting --------------------------------------------------------------------------------------------------------


DELETED = {
    "all there is": lambda writer: writer.flushall(),
    "the scripts as well": lambda writer: (writer.flushall(), writer.script_flush()),
    "one group's records": lambda writer: writer.delete(PEERS),
    "the leases": lambda writer: writer.delete(NAMES.leases),
    "the list of hubs": lambda writer: writer.delete(NAMES.hubs),
    "the list of groups": lambda writer: writer.delete(NAMES.groups),
    "the version": lambda writer: writer.delete(NAMES.version),
}


@pytest.mark.parametrize("delete", DELETED.values(), ids=DELETED)
def test_what_was_deleted_is_back_by_itself_and_calls_go_on_meanwhile(net, delete):
    """Attack 42."""
    delete(net.writer)
    net.reread()
    net.calls_go_on()
    net.heals()


def test_half_of_the_version_is_as_good_as_none(net):
    """Attack 42. Whatever the register holds, who asks gets an answer or an error of ours."""
    net.writer.hdel(NAMES.version, "epoch")
    try:
        net.hub_.ask("seen()")
    except Raised as error:
        assert error.kind in {"NoHub", "BrokerUnavailable"}, error
    net.heals()


def test_who_comes_while_no_hub_is_listed_finds_one_when_it_has_renewed(net):
    """Attack 42."""
    net.writer.delete(NAMES.hubs)
    with net.newcomer() as one:
        assert one.ask(f"whoami(peer={id_of(net.second)!r})") == id_of(net.second)


# -- changing --------------------------------------------------------------------------------------------------------

Harm = Callable[[Attacked, Trap, bytes], None]


def text_of(net: Attacked, actor: Actor) -> tuple[str, bytes, dict[str, Any]]:
    """Where somebody's record is, and what it says."""
    peer_id = id_of(actor)
    for key in net.writer.scan_iter(NAMES.peers("") + "*"):
        if text := net.writer.hget(key, peer_id):
            return key.decode(), peer_id, json.loads(text)
    raise AssertionError("it has no record")


def lead_to_the_trap(whose: str, *, signed: bool) -> Harm:
    def harm(net: Attacked, trap: Trap, _: bytes) -> None:
        key, peer_id, record = text_of(net, getattr(net, whose))
        record.update(host="127.0.0.1", port=trap.port)
        text = signing.sign(record, f"{key}|{peer_id.decode()}", FORGED) if signed else json.dumps(record)
        net.writer.hset(key, peer_id, text)

    return harm


def take_anothers_place(net: Attacked, _: Trap, __: bytes) -> None:
    key, _, record = text_of(net, net.first)
    net.writer.hset(key, id_of(net.second), json.dumps(record))


def put_canaries(net: Attacked, _: Trap, canary: bytes) -> None:
    for key in net.writer.scan_iter(NAMES.peers("") + "*"):
        for field in net.writer.hkeys(key):
            net.writer.hset(key, field, canary)
        net.writer.hset(key, canary, canary)


def forge_hubs(net: Attacked, trap: Trap, canary: bytes) -> None:
    """Ours to the trap, others beside it, unsigned, signed otherwise, and no text at all."""
    ours = id_of(net.hub_)
    entry = json.loads(net.writer.hget(NAMES.hubs, ours)) | {"host": "127.0.0.1", "port": trap.port}
    for peer_id in (ours, *(generate_id(trap.port, "127.0.0.1", group) for group in ("a", "b", "c"))):
        net.writer.hset(NAMES.hubs, peer_id, signing.sign(entry, f"{NAMES.hubs}|{peer_id.decode()}", FORGED))
    net.writer.hset(NAMES.hubs, generate_id(trap.port, "127.0.0.1", "d"), json.dumps(entry))
    net.writer.hset(NAMES.hubs, generate_id(trap.port, "127.0.0.1", "e"), canary)


def list_a_hub(net: Attacked, trap: Trap, _: bytes) -> None:
    """A record of a hub that never was, with a lease."""
    peer_id = generate_id(trap.port, "127.0.0.1", "render")
    record = text_of(net, net.hub_)[2] | {"id": peer_id.decode(), "host": "127.0.0.1", "port": trap.port}
    net.writer.hset(PEERS, peer_id, signing.sign(record, f"{PEERS}|{peer_id.decode()}", FORGED))
    net.writer.zadd(NAMES.leases, {peer_id: 4e12})


def end_all_leases(net: Attacked, _: Trap, __: bytes) -> None:
    for peer_id in net.writer.zrange(NAMES.leases, 0, -1):
        net.writer.zadd(NAMES.leases, {peer_id: 0})


def turn_into_text(key: str) -> Harm:
    def harm(net: Attacked, _: Trap, canary: bytes) -> None:
        net.writer.set(key, canary)

    return harm


CHANGED: dict[str, Harm] = {
    "a peer's address": lead_to_the_trap("second", signed=False),
    "a peer's address, signed with another secret": lead_to_the_trap("second", signed=True),
    "the hub's own record": lead_to_the_trap("hub_", signed=True),
    "a peer's record in the place of another's": take_anothers_place,
    "canaries for records": put_canaries,
    "the list of hubs": forge_hubs,
    "a hub that never was": list_a_hub,
    "all leases ended": end_all_leases,
    "text for the list of hubs": turn_into_text(NAMES.hubs),
    "text for the leases": turn_into_text(NAMES.leases),
    "text for the list of groups": turn_into_text(NAMES.groups),
    "text for the version": turn_into_text(NAMES.version),
    "text for a group's records": turn_into_text(PEERS),
    "a count that is no number": lambda net, _, canary: net.writer.hset(NAMES.version, "counter", canary),
    "a group whose name is no text": lambda net, _, __: net.writer.sadd(NAMES.groups, b"\xff"),
    "a lease of nobody": lambda net, _, __: net.writer.zadd(NAMES.leases, {b"\xff": 0}),
}
SHOWN_ALREADY = {
    "a peer's address, signed with another secret",
    "a peer's record in the place of another's",
    "text for the version",
}
"""They heal as their neighbours in the table do."""


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_whatever_is_written_there_nobody_is_led_astray_and_nothing_runs(net, trap, canary, change):
    """Attack 42. Peers that know each other call on; to those that ask, what was changed is not there."""
    change(net, trap, canary)
    net.reread()
    net.calls_go_on()
    for asks in (net.first, net.hub_):
        try:
            told = asks.ask("seen()")
        except Raised as error:
            assert error.kind in {"NoHub", "BrokerUnavailable"}, error
        else:
            assert trap.port not in {record["port"] for record in told.values()}
            assert all(record["port"] == netted(net)[peer_id] for peer_id, record in told.items())
    assert trap.heard == []


def netted(net: Attacked) -> dict[bytes, int]:
    """The true ports."""
    return {id_of(one): one.ask("hubnet.Peer().port") for one in (net.hub_, net.first, net.second)}


@pytest.mark.parametrize(
    "change", [pytest.param(CHANGED[name], id=name) for name in CHANGED if name not in SHOWN_ALREADY]
)
def test_what_was_changed_is_as_it_was_by_itself(net, trap, canary, change):
    """Attack 42. The hub knows what its own peers told it."""
    change(net, trap, canary)
    net.reread()
    net.heals()


# -- bringing back ---------------------------------------------------------------------------------------------------


def kept(net: Attacked, actor: Actor) -> Callable[[], None]:
    """What the attacker remembers of somebody's record, to be put back with a lease of a century."""
    key, peer_id, _ = text_of(net, actor)
    text = net.writer.hget(key, peer_id)

    def bring_back() -> None:
        net.writer.hset(key, peer_id, text)
        net.writer.sadd(NAMES.groups, key.removeprefix(NAMES.peers("")))
        net.writer.zadd(NAMES.leases, {peer_id: 4e12})
        net.reread()

    return bring_back


def restarted(net: Attacked) -> tuple[Callable[[], None], Actor]:
    """A peer that was killed and has come again under its id, and how to put its first record back."""
    where = {"HUBNET_PORT": str(free_port()), "HUBNET_PORT_RANGE": "1", "HUBNET_GROUP": "render"}
    dead = net.worker(SERVES, **where)
    bring_back, peer_id = kept(net, dead), id_of(dead)
    dead.kill()
    living = net.worker(SERVES, **where)
    assert id_of(living) == peer_id

    def settled() -> bool:  # it has nothing more to announce
        record = text_of(net, living)[2]
        return record["pid"] == living.pid and record["state"] == "open" and record["subscriptions"] == ["done"]

    eventually(settled)
    return bring_back, living


def test_a_call_to_a_peer_whose_dead_record_was_brought_back_finds_the_living_or_nobody(net):
    """Attack 42. By the record of a process that was killed; its successor has the same id and address."""
    bring_back, living = restarted(net)
    bring_back()
    for caller in (net.hub_, net.first):
        caller.run("seen()")
        try:
            assert caller.ask(f"pid(peer={id_of(living)!r})") == living.pid
        except Raised as error:
            assert (error.kinds[-1] == "object", "PeerUnreachable" in error.kinds, error.ran) == (True, True, "NO"), (
                error.text
            )
    living.leave()


def test_the_living_takes_its_place_again_by_itself(net):
    """Attack 42. Its hub knows who it is."""
    bring_back, living = restarted(net)
    bring_back()
    renewals: set[bytes] = set()

    def told() -> bool:
        renewals.add(net.entry() or b"")
        found = net.hub_.ask("{id: record['pid'] for id, record in seen().items()}")
        assert len(renewals) < 8, "it renews, and does not see what is wrong"
        return found.get(id_of(living)) == living.pid

    try:
        eventually(told, timeout=120)
    finally:
        living.leave()


def test_a_record_brought_back_does_not_lead_to_whoever_has_its_address_now(net):
    """Attack 42. A member that listens there is not who was called, and says so; nothing runs."""
    where = {"HUBNET_PORT": str(free_port()), "HUBNET_PORT_RANGE": "1"}
    gone = net.worker(SERVES, HUBNET_GROUP="render", **where)
    bring_back, peer_id = kept(net, gone), id_of(gone)
    assert gone.leave() == 0
    heir = net.worker(SERVES, HUBNET_GROUP="light", **where)
    bring_back()
    for caller in (net.hub_, net.first):
        with pytest.raises(Raised) as caught:
            caller.ask(f"pid(peer={peer_id!r})")
        assert ("PeerUnreachable" in caught.value.kinds, caught.value.ran) == (True, "NO")
    assert net.first.ask(f"pid(peer={id_of(heir)!r})") == heir.pid
    heir.leave()


def test_a_hub_that_was_brought_back_is_asked_for_its_proof_and_passed_over(net):
    """Attack 42. The attacker listens where a hub has been, with that hub's own entry, and gets the first message."""
    port = free_port()
    old = net.hub(HUBNET_PORT=str(port), HUBNET_PORT_RANGE="1")
    peer_id = id_of(old)
    eventually(lambda: net.writer.hexists(NAMES.hubs, peer_id))
    entry = net.writer.hget(NAMES.hubs, peer_id)
    assert old.leave() == 0
    # silent, it would cost each of them the five seconds of a handshake
    trap = Trap(port, hangs_up=True)
    try:
        net.writer.hset(NAMES.hubs, peer_id, entry)
        one = net.actor(SERVES, HUBNET_GROUP="render")

        def came() -> bool:  # the living hub's entry is kept away until then
            net.writer.hdel(NAMES.hubs, id_of(net.hub_))
            return bool(trap.heard)

        eventually(came)
        eventually(lambda: one.ask("hubnet.stats().get('registered')"))
        assert one.ask(f"whoami(peer={id_of(net.second)!r})") == id_of(net.second)
        for said in trap.heard:
            assert bytes(said[:4]) in {b"HUB1", b""}
            assert len(said) <= 80  # no proof, no request: the first message alone
    finally:
        trap.close()
        net.writer.hdel(NAMES.hubs, peer_id)


# -- making up -------------------------------------------------------------------------------------------------------


def test_what_is_published_without_the_secret_is_neither_rebuilt_nor_handed_on(net, canary):
    """Attack 42, by pub/sub: bare pickles, envelopes of another secret, on channels of events and of the hubs' news."""
    channel, sender = NAMES.event("render", "done").encode(), Sender(id_of(net.first), os.urandom(16), True, "machine")
    packed = Packer(sender, FORGED)
    for one in (net.first, net.second):
        eventually(
            lambda one=one: one.ask(
                "all(hubnet.Peer().ready().subscriber.is_live(s) for s in hubnet.Peer().subscriptions)"
            )
        )
        one.run("heard.clear()")
    for to in (channel, NAMES.presence.encode()):
        forged = packed.pack(to, 0, [canary, pickle.dumps(((1,), {}))])
        for data in (canary, forged, forged[:-1], b"", b"HUBE" + canary):
            assert net.writer.publish(to, data)
    net.first.run("hubnet.event('done')(lambda word: ((word,), {}))('true')")
    eventually(lambda: net.second.ask("heard"))
    assert net.second.ask("heard") == [("true",)]
    assert net.whole()
