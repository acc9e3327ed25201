"""Containers in the compose net that lack the secret: they write Redis, listen on a network, speak to ports.

All else they have: hubnet's own code, the networks, the passwords of Redis. Honest callers call all the while, and none of their
calls may fail.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from hubnet.core.identity import generate_id
from hubnet.links import arrivals
from tests.api.conftest import Actor, Raised
from tests.api.witness import live
from tests.security.test_nothing_leaks import leaked
from tests.security.visiting import M2_SIZE
from tests.waiting import eventually

from .actors import ATTACKER, CALLS_WITH_THE_WORD, WORD, Inside, heard, inside, secret_of, sniffing, stranger
from .conftest import SIZE, Cluster
from .test_cluster import HUBS, WORKERS, listed

SANG = "/tmp/sang"
PORT = 3010  # of hubs, and of the first peer in each worker's container
USERS = pytest.mark.parametrize("user", ["hub", "worker"])
CALLS_ON = """
import hubnet, threading
where = hubnet.connect("where")(lambda: None)
answered, failed, ends = 0, [], threading.Event()
def _calls_on():
    global answered
    while not ends.is_set():
        for peer_id, hostname in known.items():
            try:
                answer = where(peer=peer_id)
                assert answer["hostname"] == hostname, answer
                answered += 1
            except Exception as error:
                failed.append(repr(error))
threading.Thread(target=_calls_on, daemon=True).start()
"""
LISTENS = """
import hubnet
heard = []
hubnet.subscribe("frame_done")(lambda frame, **_: heard.append(frame))
hubnet.peers()
"""


@contextlib.contextmanager
def honest_calls(cluster: Cluster, victims: list[str]) -> Iterator[None]:
    """A peer that knows these containers' workers, from before, and calls them all the while."""
    known = {peer_of(cluster, one): cluster.hostname(one) for one in victims}
    with inside(cluster, "hub-1", HUBNET_IS_HUB="0", HUBNET_GROUP="asking", HUBNET_PORT="0") as caller:
        caller.run(f"known = {known!r}").run(CALLS_ON)
        eventually(lambda: caller.ask("answered") > 2 * len(known))
        before = caller.ask("answered")
        yield
        assert caller.ask("failed") == []
        eventually(lambda: caller.ask("answered") > before + 20)
        caller.run("ends.set()")


def peer_of(cluster: Cluster, container: str) -> bytes:
    """The id of the worker that is a container's service; one that listens there beside it has another group."""
    group = cluster.inspect(container)["Config"]["Labels"]["com.docker.compose.service"].removeprefix("worker-")
    host = cluster.address(container, group)
    found: dict[str, Any] = eventually(
        lambda: {one: said for one, said in listed(cluster, group).items() if said["host"] == host}, timeout=60
    )
    assert len(found) == 1
    return next(iter(found)).encode()


def counted(actor: Actor, what: str, peer_id: bytes | None = None) -> int:
    """A counter of the process that is asked, or of the peer that it asks."""
    return int(actor.ask(f"hubnet.stats({f'peer={peer_id!r}' if peer_id else ''}).get({what!r}, 0)"))


def nothing_was_rebuilt(cluster: Cluster, attacker: Actor) -> None:
    """In no container of the net; that the canary sings where it is rebuilt, the attacker's own shows."""
    for service in SIZE:
        for container in cluster.containers(service):
            assert cluster.exec(container, "sh", "-c", f"ls -d {SANG} || echo silent", check=False) == "silent"
    attacker.run("pickle.loads(CANARY)")
    assert attacker.ask("SANG.exists()")


@pytest.fixture
def workers(cluster: Cluster) -> list[str]:
    """One container of each group's, whose services are listed."""
    eventually(lambda: len(listed(cluster)) == WORKERS + HUBS, 60)
    return [cluster.containers("worker-east")[0], cluster.containers("worker-west")[0]]


def take_out_what_was_added(cluster: Cluster) -> None:
    """As admin: what nobody believes is told of in the log of each that comes, for as long as it stands in the register."""
    admin, ours = cluster.redis(), set(listed(cluster))
    keys = [str(key) for key in admin.keys("hubnet:{default}:*") if admin.type(key) == "hash"]
    for key in keys:
        if not key.endswith(":version"):
            for field in set(admin.hkeys(key)) - ours:
                admin.hdel(key, field)
    for one in set(admin.zrange("hubnet:{default}:leases", 0, -1)) - ours:
        admin.zrem("hubnet:{default}:leases", one)


@pytest.fixture
def attacker(cluster: Cluster, workers: list[str]) -> Iterator[Inside]:
    """A process of the attacker's, in a container of its own on both networks."""
    with stranger(cluster, networks=("east", "west")) as container, inside(cluster, container, ATTACKER) as made:
        made.run("from attacker import *")
        assert made.ask("[name for name in os.environ if name.startswith('HUBNET')]") == []
        yield made
    take_out_what_was_added(cluster)


# -- who has a user of Redis -----------------------------------------------------------------------------------------


@USERS
def test_what_a_container_without_the_secret_publishes_is_dropped_counted_and_rebuilt_by_nobody(
    cluster: Cluster, workers: list[str], attacker: Inside, user: str
) -> None:
    attacker.run(f"store = client({user!r}, {cluster.password(user)!r})\near = Ear(store)")
    channel, presence = "hubnet:default:event:east:frame_done", "hubnet:default:presence"
    with contextlib.ExitStack() as all_of_them:
        all_of_them.enter_context(honest_calls(cluster, workers))
        ears = [
            all_of_them.enter_context(inside(cluster, one, HUBNET_GROUP="ears", HUBNET_PORT="0")) for one in workers
        ]
        for ear in ears:
            live(ear.run(LISTENS))
        asks = all_of_them.enter_context(inside(cluster, "hub-2", HUBNET_IS_HUB="0", HUBNET_PORT="0"))
        asks.run("import hubnet\nfinish = hubnet.connect('finish')(lambda frame: None)")
        east = peer_of(cluster, workers[0])
        assert asks.ask(f"finish(1, peer={east!r})") == 1
        for ear in ears:
            eventually(lambda ear=ear: ear.ask("heard") == [1])
        eventually(lambda: attacker.ask(f"len(ear.of({channel!r}))") == 1)
        before = [(counted(ear, "events.rejected"), counted(ear, "events.repeated")) for ear in ears]
        attacker.run(f"""
            recorded = ear.of({channel!r})[0]
            forged = forgeries(recorded, {channel!r})
            reached = [store.publish(to, data) for to in ({channel!r}, {presence!r}) for data in forged]
            moved = [store.publish(to, recorded) for to in ({channel.replace("east", "west")!r}, {presence!r})]
            again = [store.publish({channel!r}, recorded) for _ in range(5)]
        """)
        assert all(attacker.ask("[*reached, *moved, *again]"))  # somebody was given each of them
        assert asks.ask(f"finish(2, peer={east!r})") == 2
        forged = attacker.ask("len(forged)")
        for ear, (rejected, repeated) in zip(ears, before, strict=True):
            eventually(
                lambda ear=ear: ear.ask("heard") == [1, 2]
            )  # what came behind the forged ones: those were dealt with
            assert counted(ear, "events.rejected") >= rejected + forged + 1
            eventually(
                lambda ear=ear, n=rejected + 2 * forged + 2: counted(ear, "events.rejected") == n
            )  # on the other channel
            assert counted(ear, "events.repeated") == repeated + 5
            assert ear.ask("heard") == [1, 2]
    nothing_was_rebuilt(cluster, attacker)


NEWCOMER = "import hubnet\nwhere = hubnet.connect('where')(lambda: None)"
UNLED = {"PeerUnreachable", "NoHub", "NoPeer"}


def test_what_a_container_with_a_hubs_user_writes_leads_nobody_to_it_and_the_register_heals(
    cluster: Cluster, workers: list[str], attacker: Inside
) -> None:
    """All of the register, some forty times a second: forged, moved, made up."""
    whole = listed(cluster)
    hubs = [one.encode() for one, said in whole.items() if said["hub"]]
    victims = {peer_of(cluster, one): cluster.hostname(one) for one in workers}
    address = attacker.ask("socket.gethostbyname(socket.gethostname())")
    with honest_calls(cluster, workers), inside(cluster, "hub-2", HUBNET_IS_HUB="0", HUBNET_PORT="0") as asks:
        asks.run("import hubnet")
        before = [counted(asks, "records.rejected", hub) for hub in hubs]
        attacker.run(f"""
            impostor = Impostor()
            writer = Writer(client("hub", {cluster.password("hub")!r}), {address!r}, impostor.port)
        """)
        eventually(lambda: attacker.ask("writer.rounds") > 5)
        told = []
        for at in range(2):
            settings = {"HUBNET_IS_HUB": "0", "HUBNET_PORT": "0", "HUBNET_TIMEOUT": "3", "HUBNET_GROUP": "new"}
            if at:
                settings["HUBNET_HUBS"] = (
                    "hub-1:3010,hub-2:3010"  # else it reads where they are, in what is written over
                )
            with inside(cluster, f"hub-{at + 1}", **settings) as newcomer:
                newcomer.run(NEWCOMER)
                for victim, hostname in victims.items():
                    try:
                        answer = newcomer.ask(f"where(peer={victim!r})", timeout=40)["hostname"]
                        assert answer == hostname
                        told.append("answered")
                    except Raised as error:
                        assert set(error.kinds) & UNLED, error.trace
                        assert error.ran == "NO"
                        told.append(error.kind)
                with contextlib.suppress(Raised):
                    found = newcomer.ask("hubnet.peers(refresh=True)['peers']", timeout=40)
                    assert all(record["host"] != address for record in found.values())
        print(told)
        for hub, number in zip(hubs, before, strict=True):
            eventually(lambda hub=hub, number=number: counted(asks, "records.rejected", hub) > number + 20, 60)
        rounds, written, refused = attacker.ask("writer.end()")
        assert (rounds > 20, written >= 5 * rounds, refused) == (True, True, 0)
        assert attacker.ask("impostor.heard") == []
        eventually(lambda: where_all_are(listed(cluster)) == where_all_are(whole), 60)
    nothing_was_rebuilt(cluster, attacker)


def where_all_are(found: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Of the services: those that ask have groups of their own."""
    ours = {one: said for one, said in found.items() if said["hub"] or said["group"] in {"east", "west"}}
    return {one: (said["host"], said["port"], said["incarnation"], said["state"]) for one, said in ours.items()}


def test_a_container_with_a_workers_user_writes_nothing_of_the_register(
    cluster: Cluster, workers: list[str], attacker: Inside
) -> None:
    whole = where_all_are(listed(cluster))
    hubs = [one.encode() for one, said in listed(cluster).items() if said["hub"]]
    with honest_calls(cluster, workers), inside(cluster, "hub-2", HUBNET_IS_HUB="0", HUBNET_PORT="0") as asks:
        asks.run("import hubnet")
        before = [counted(asks, "records.rejected", hub) for hub in hubs]
        attacker.run(f"writer = Writer(client('worker', {cluster.password('worker')!r}), '10.0.0.1', 1)")
        eventually(lambda: attacker.ask("writer.rounds") > 20)
        rounds, written, refused = attacker.ask("writer.end()")
        assert (written, refused >= 6 * rounds) == (0, True)
        assert [counted(asks, "records.rejected", hub) for hub in hubs] == before
    assert where_all_are(listed(cluster)) == whole
    cluster.redis().acl_log_reset()  # it is full of this


def test_whoever_takes_over_the_address_of_a_dead_worker_hears_a_first_message_and_no_call(
    cluster: Cluster, workers: list[str]
) -> None:
    """Its record stays in the register: a hub's user brings it back as often as it is taken out."""
    victim = cluster.containers("worker-west")[1]
    peer_id, address, before = peer_of(cluster, victim), cluster.address(victim, "west"), None
    place = b"hubnet:{default}:peers:west"
    text = cluster.redis().hget(place, peer_id)
    before = cluster.disconnect("west", victim)
    try:
        with contextlib.ExitStack() as all_of_them:
            where = ("--network", cluster.network("west"), "--ip", address)
            impostors = all_of_them.enter_context(stranger(cluster, *where))
            attacker = all_of_them.enter_context(inside(cluster, impostors, ATTACKER))
            attacker.run(f"from attacker import *\nimpostor = Impostor({PORT})")
            attacker.run(f"""
                store = client("hub", {cluster.password("hub")!r})
                def keeps():
                    while True:
                        store.hset({place!r}, {peer_id!r}, {text!r})
                        store.zadd(NAMES.leases, {{{peer_id!r}: CENTURY}})
                        store.hincrby(NAMES.version, "counter", 1)
                        time.sleep(0.02)
                threading.Thread(target=keeps, daemon=True).start()
            """)
            all_of_them.enter_context(honest_calls(cluster, workers))
            asks = all_of_them.enter_context(inside(cluster, "hub-1", HUBNET_IS_HUB="0", HUBNET_PORT="0"))
            asks.run("import hubnet")
            with pytest.raises(Raised) as caught:
                asks.ask(f"hubnet.pass_through({WORD!r}, peer={peer_id!r})", timeout=60)
            assert set(caught.value.kinds) & {"PeerUnreachable", "AuthenticationError"}, caught.value.trace
            assert caught.value.ran == "NO"
            heard = attacker.ask("impostor.heard")
            assert any(heard)  # hubs and the caller did come
            assert all(said[:4] in {b"HUB1", b""} and len(said) <= 80 for said in heard), heard
    finally:
        cluster.connect("west", victim, before)
    eventually(lambda: peer_of(cluster, victim) == peer_id, 60)


# -- who listens on a network ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wire", "open_"), [("open-mac", True), ("auto", False), ("sealed", False)])
def test_who_sniffs_hears_a_marked_argument_only_where_the_wire_is_open_and_the_secret_nowhere(
    cluster: Cluster, workers: list[str], wire: str, open_: bool
) -> None:
    """Arguments and results, small and large. Redis without TLS is heard: its users' passwords, and events."""
    victim, peer_id = workers[0], peer_of(cluster, workers[0])
    caller_at = cluster.containers("worker-east")[1]
    with (
        sniffing(cluster, victim) as sniffer,
        inside(cluster, caller_at, HUBNET_WIRE=wire, HUBNET_GROUP="asking", HUBNET_PORT="0") as caller,
    ):
        caller.run(CALLS_WITH_THE_WORD).run(f"say({peer_id!r})")
        assert cluster.exec(victim, "hubnet", "peers", "--json")  # a process that logs in to Redis
        all_of_it = heard(sniffer)
    assert (WORD in all_of_it, WORD[::-1] in all_of_it) == (open_, False)
    assert b"HUB1" in all_of_it
    assert cluster.password("worker").encode() in all_of_it  # so the sniffer does hear
    assert leaked(all_of_it, secret_of(cluster)) == []


def test_recorded_calls_random_bytes_and_half_open_links_get_no_word_run_nothing_and_are_counted(
    cluster: Cluster, workers: list[str], attacker: Inside
) -> None:
    victim, peer_id, address = workers[0], peer_of(cluster, workers[0]), cluster.address(workers[0], "east")
    caller_at = cluster.containers("worker-east")[1]
    asking = {"HUBNET_GROUP": "asking", "HUBNET_PORT": "0"}
    with contextlib.ExitStack() as all_of_them:
        ear = all_of_them.enter_context(inside(cluster, workers[1], **asking))
        live(ear.run(LISTENS))
        sniffer = all_of_them.enter_context(sniffing(cluster, victim))
        # the weaker of the suites: what was recorded can be read, and is worth no more for that
        caller = all_of_them.enter_context(inside(cluster, caller_at, HUBNET_WIRE="open-mac", **asking))
        caller.run("import hubnet\nfinish = hubnet.connect('finish')(lambda frame: None)")
        assert caller.ask(f"[finish(frame, peer={peer_id!r}) for frame in range(3)]") == [0, 1, 2]
        eventually(lambda: ear.ask("heard") == [0, 1, 2])
        assert sniffer.ask("sniffer.end()", timeout=60) == 0
        recorded = sniffer.ask(f"sniffer.spoken_to({address!r}, {PORT})")
        assert recorded

        all_of_them.enter_context(honest_calls(cluster, workers))
        asks = all_of_them.enter_context(inside(cluster, "hub-1", HUBNET_IS_HUB="0", HUBNET_PORT="0"))
        asks.run("import hubnet")
        names = ("handshakes.broken", "handshakes.refused", "handshakes.timed_out")
        before = {name: counted(asks, name, peer_id) for name in names}
        words = [os.urandom(999) for _ in range(20)]
        half = [b"", b"H", recorded[0][0][:-1], recorded[0][0]] * 5
        attacker.run(f"half = HalfOpen({address!r}, {PORT}, {half!r})")
        for said, took in attacker.ask(f"[say({address!r}, {PORT}, words) for words in {words!r}]", timeout=60):
            assert said == b""
            assert took < arrivals.LIMIT  # closed for what was said, not because its time was up
        for pieces in recorded:
            for _ in range(5):
                answer, more = attacker.ask(f"say_again({address!r}, {PORT}, {pieces!r})")
                assert answer[:4] == b"HUB1"
                assert (len(answer) in M2_SIZE.values(), more) == (True, b"")
        answers = attacker.ask("half.answers()", timeout=60)
        assert [len(said) > 0 for said in answers] == [False, False, False, True] * 5
        assert {len(said) for said in answers[3::4]} <= set(M2_SIZE.values())
        after = {name: counted(asks, name, peer_id) - before[name] for name in names}
        print(after, [[len(piece) for piece in pieces] for pieces in recorded])
        assert after["handshakes.broken"] >= len(words)
        assert after["handshakes.refused"] >= 5 * len(recorded)
        assert after["handshakes.timed_out"] >= len(half)  # more where a health check was too slow as well
        assert (
            asks.run("finish = hubnet.connect('finish')(lambda frame: None)").ask(f"finish(9, peer={peer_id!r})") == 9
        )
        eventually(lambda: 9 in ear.ask("heard"))
        assert ear.ask("heard") == [0, 1, 2, 9]
        assert generate_id(PORT, address, "east") == peer_id
