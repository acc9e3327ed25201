"""Who is there, to the letter: types, keys and order of a listing, its caches, odd groups, churn, and waiting for peers."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from tests.waiting import eventually

from .conftest import Actor, Net, Raised

KINDS = {
    "group": str, "host": str, "port": int, "hub": bool, "executable": str, "user": str, "hostname": str, "pid": int,
    "incarnation": str, "state": str, "reachable": bool, "labels": dict, "connections": list, "subscriptions": list,
    "version": str, "since": float, "machine": str, "revision": int, "reason": str,
}  # fmt: skip
SERVES = "@hubnet.connect('whoami')\ndef whoami(): return hubnet.Peer().id"


@pytest.fixture(scope="module")
def parts(shared: Net) -> dict[str, Actor]:
    """Hubs of two groups, workers of two groups and none, and one who asks and finds them all."""
    shared.env["HUBNET_LEASE"] = "60"  # what is cached stays so for the length of a test
    made = {
        "hub1": shared.hub(HUBNET_GROUP="group1"),
        "hub2": shared.hub(HUBNET_GROUP="group2"),
        "one": shared.worker(SERVES + "\nhubnet.subscribe('e')(print)", HUBNET_GROUP="group1"),
        "two": shared.worker(SERVES, HUBNET_GROUP="group2"),
        "unset": shared.worker(),
        "empty": shared.worker(HUBNET_GROUP=""),
        "named": shared.worker(HUBNET_GROUP="None"),
        "asker": shared.worker(HUBNET_GROUP="group2"),
    }
    made["asker"].ask("hubnet.wait_for(7) and None")
    return made


@pytest.fixture(scope="module")
def ids(parts: dict[str, Actor]) -> dict[str, bytes]:
    return {name: actor.ask("hubnet.Peer().id") for name, actor in parts.items()}


@pytest.fixture
def asker(parts: dict[str, Actor]) -> Actor:
    return parts["asker"]


def pids(actor: Actor) -> set[int]:
    """The processes that are listed."""
    return {record["pid"] for record in actor.ask("list(hubnet.peers(refresh=True)['peers'].values())")}


def names(ids: dict[str, bytes], found: Any) -> set[str]:
    """Who these ids are."""
    back = {peer_id: name for name, peer_id in ids.items()}
    return {back[peer_id] for peer_id in found}


# -- the shape -------------------------------------------------------------------------------------------------------


def test_a_listing_is_a_dict_of_records_by_id_and_of_lists_of_ids_by_group(asker: Actor) -> None:
    listing = asker.ask("dict(hubnet.peers(refresh=True))")
    assert asker.ask("isinstance(hubnet.peers(), dict)")
    assert {type(key) for key in listing} == {str}
    assert {type(peer_id) for peer_id in listing["peers"]} == {bytes}
    assert {type(record) for record in listing["peers"].values()} == {dict}
    for group in set(listing) - {"peers"}:
        assert type(listing[group]) is list
        assert {type(peer_id) for peer_id in listing[group]} == {bytes}


def test_each_value_of_a_record_has_its_type(asker: Actor) -> None:
    records = asker.ask("list(hubnet.peers(refresh=True)['peers'].values())")
    assert len(records) == 7
    for record in records:
        assert {name: type(value) for name, value in record.items()} == KINDS
        assert all(type(tag) is str for tag in record["connections"] + record["subscriptions"])
        assert len(bytes.fromhex(record["incarnation"])) == 16
        json.dumps(record)  # plain all the way down


def test_the_groups_of_a_listing_are_those_of_its_peers_each_once_and_in_their_order(asker: Actor) -> None:
    for wish in ("", "'group1'", "['group2', 'None']", "hubs_only=True"):
        listing = asker.ask(f"dict(hubnet.peers({wish}))")
        found = listing.pop("peers")
        expected: dict[str, list[bytes]] = {}
        for peer_id, record in found.items():
            expected.setdefault(record["group"], []).append(peer_id)
            text = base64.b64decode(peer_id, validate=True).decode()
            assert text == f"{record['host']}:{record['port']} -> {record['group']}"
        assert listing == expected


def test_a_listing_of_nobody_has_the_key_peers_and_no_other(asker: Actor) -> None:
    for call in ("peers('nobody')", "peers([])", "peers('None', hubs_only=True)", "wait_for(0, 'nobody')"):
        assert asker.ask(f"dict(hubnet.{call})") == {"peers": {}}


def test_the_first_of_a_listing_stays_the_first_while_nobody_comes_or_goes(asker: Actor) -> None:
    first = asker.ask("list(hubnet.peers(refresh=True)['peers'])")
    for _ in range(5):
        assert asker.ask("list(hubnet.peers(refresh=True)['peers'])") == first
    assert asker.ask("hubnet.peers()[0].id") == first[0]


def test_no_group_an_empty_one_and_one_called_none_are_one_and_the_same(asker: Actor, ids: dict[str, bytes]) -> None:
    for wish in ("'None'", "''", "[None]", "['']", "['None', None, '']", "groups='None'"):
        listing = asker.ask(f"dict(hubnet.peers({wish}))")
        assert set(listing) == {"peers", "None"}
        assert names(ids, listing["None"]) == {"unset", "empty", "named"}
        assert {record["group"] for record in listing["peers"].values()} == {"None"}
    assert names(ids, asker.ask("[one.id for one in hubnet.peer_group('')]")) == {"unset", "empty", "named"}
    assert names(ids, asker.ask("hubnet.wait_for(3, '')['None']")) == {"unset", "empty", "named"}


def test_a_peer_without_a_group_has_those_without_one_in_its_own_group(
    parts: dict[str, Actor], ids: dict[str, bytes]
) -> None:
    for name in ("unset", "empty", "named"):
        others = {"unset", "empty", "named"} - {name}
        assert names(ids, parts[name].ask("[one.id for one in hubnet.peer_group()]")) == others
        assert parts[name].ask("hubnet.Peer().group, hubnet.info()['group']") == ("None", "None")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("peers(None)", "hub1 hub2 one two unset empty named"),
        ("peers(None, True)", "hub1 hub2 one two unset empty named"),
        ("peers(False)", "hub1 hub2 one two unset empty named"),
        ("peers(('group1', 'group2'))", "hub1 hub2 one two"),
        ("peers(frozenset({'group1'}))", "hub1 one"),
        ("peers(name for name in ('group1', 'group2'))", "hub1 hub2 one two"),
        ("peers({'group1': 1}.keys())", "hub1 one"),
        ("peers(['group1', 'group1'])", "hub1 one"),
        ("peers(['group1', 'nobody'])", "hub1 one"),
        ("peers(['group1', 'group2'], False, True, True)", "hub1 hub2"),
        ("peers(True, ['group1'], True, True)", "hub1"),
        ("peers('group2', hubs_only=True, on_host=True, refresh=True)", "hub2"),
        ("peers(hubs_only=True)", "hub1 hub2"),
        ("wait_for(2, hubs_only=True)", "hub1 hub2"),
        ("wait_for(1, ['group1', 'group2'], True)", "hub1 hub2"),
        ("wait_for(1, groups=('group1',))", "hub1 one"),
    ],
)
def test_every_form_of_a_filter_is_understood(asker: Actor, ids: dict[str, bytes], call: str, expected: str) -> None:
    assert names(ids, asker.ask(f"list(hubnet.{call}['peers'])")) == set(expected.split())


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("", "hub2 two"),
        ("'group1'", "hub1 one"),
        ("None, True", "hub2"),
        ("'group1', True, True", "hub1"),
        ("name='group1', on_host=True", "hub1 one"),
        ("'nobody'", ""),
    ],
)
def test_a_peer_group_is_a_list_of_remote_peers(asker: Actor, ids: dict[str, bytes], call: str, expected: str) -> None:
    asker.run(f"found = hubnet.peer_group({call})")
    assert asker.ask("type(found) is list and all(type(one) is hubnet.RemotePeer for one in found)")
    assert names(ids, asker.ask("[one.id for one in found]")) == set(expected.split())


# -- what is kept ----------------------------------------------------------------------------------------------------


def test_the_answer_to_one_filter_is_never_anothers(asker: Actor, ids: dict[str, bytes]) -> None:
    asked = {
        "": "hub1 hub2 one two unset empty named",
        "'group1'": "hub1 one",
        "['group1']": "hub1 one",
        "['group1', 'group2']": "hub1 hub2 one two",
        "['group2', 'group1']": "hub1 hub2 one two",
        "'group1', hubs_only=True": "hub1",
        "hubs_only=True": "hub1 hub2",
        "'None'": "unset empty named",
        "[]": "",
    }
    for refresh in (True, False, False):
        for wish, expected in asked.items():
            call = f"hubnet.peers({wish}{', ' if wish else ''}refresh={refresh})"
            assert names(ids, asker.ask(f"list({call}['peers'])")) == set(expected.split()), call


@pytest.mark.parametrize(
    "harm",
    [
        "peers()['peers'].clear()",
        "peers()['group1'].clear()",
        "peers().clear()",
        "peers()['peers'].update({b'x': {}})",
        "wait_for(7)['peers'].popitem()",
        "peer_group('group1').clear()",
    ],
)
def test_what_a_caller_does_to_a_listing_harms_no_later_answer(asker: Actor, harm: str) -> None:
    assert _all_the_same_after(asker, harm)


@pytest.mark.parametrize(
    "harm",
    [
        "peers()['peers'][peer_id].clear()",
        "peers()['peers'][peer_id].update(group='mine', note=1)",
        "peers()['peers'][peer_id]['connections'].append('mine')",
        "peers()['peers'][peer_id]['labels'].update(mine=1)",
        "wait_for(7)['peers'][peer_id].update(group='mine')",
        "peer_group('group1')[0].connections.append('mine')",
        "peers('group1')[0].labels.update(mine=1)",
    ],
)
def test_what_a_caller_does_to_a_record_harms_no_later_answer(asker: Actor, harm: str) -> None:
    assert _all_the_same_after(asker, harm)


def _all_the_same_after(asker: Actor, harm: str) -> bool:
    """Whether later answers are as before the harm; done in one go, so that they come from what is kept."""
    asker.run(
        f"""
        def answers(refresh=False):
            import copy
            told = [hubnet.peers(refresh=refresh), hubnet.peers("group1", refresh=refresh), hubnet.wait_for(7)]
            return copy.deepcopy([dict(one) for one in told])
        before = answers(refresh=True)
        peer_id = before[1]["group1"][0]
        try:
            for _ in range(20):
                hubnet.{harm}
                after = answers()
                if after != before:
                    break
        finally:
            answers(refresh=True)
        """
    )
    return bool(asker.ask("after == before"))


def test_a_listing_can_be_copied_and_travels(asker: Actor, ids: dict[str, bytes]) -> None:
    asker.run("import copy, pickle\nlisting = hubnet.peers('group1')")
    for how in ("copy.copy(listing)", "copy.deepcopy(listing)", "pickle.loads(pickle.dumps(listing))"):
        assert asker.ask(f"{how} == listing and {how}[0] == listing[0] and type({how}[0]).__name__") == "RemotePeer"
    there = f"hubnet.pass_through(listing, peer={ids['two']!r})"
    assert asker.ask(f"{there} == listing and {there}[-1] == listing[-1]")


# -- groups of any name ----------------------------------------------------------------------------------------------

ODD = [
    " a", "a ", "A", "a:b/c", "{a}{100% %20", "'\"`$(b)\\", "two\nlines\tand a tab", "x -> y -> None", "none", "漢" * 200,
    "*", "[a-z]?*",
]  # fmt: skip


def test_a_group_of_any_name_is_listed_called_heard_and_found(shared: Net, asker: Actor) -> None:
    code = SERVES + "\ntell = hubnet.event('odd')(lambda *args: (args, {}))"
    workers = {group: shared.actor(code, HUBNET_GROUP=group) for group in ODD}
    asker.run("heard = {}")
    for group, worker in workers.items():
        asker.run(f"heard[{group!r}] = []\nhubnet.subscribe('odd', groups={group!r})(heard[{group!r}].append)")
        listing = asker.ask(f"dict(hubnet.wait_for(1, {group!r}))")
        assert list(listing) == ["peers", group]
        ((peer_id, record),) = listing["peers"].items()
        assert (listing[group], record["group"], record["pid"]) == ([peer_id], group, worker.pid)
        assert asker.ask(f"hubnet.Peer().decode_id({peer_id!r})")["group"] == group
        assert asker.ask(f"[one.whoami() for one in hubnet.peer_group({group!r})]") == [peer_id]
        assert worker.ask("hubnet.Peer().id, hubnet.Peer().group") == (peer_id, group)
        assert group in asker.ask("dict(hubnet.peers(refresh=True))")
    for number, worker in enumerate(workers.values()):
        eventually(lambda worker=worker, number=number: _heard(asker, worker, ODD[number]))  # type: ignore[misc]
    assert {group: set(told) for group, told in asker.ask("heard").items()} == {group: {group} for group in ODD}
    for worker in workers.values():
        worker.leave()


def _heard(asker: Actor, worker: Actor, group: str) -> bool:
    worker.run("tell(hubnet.Peer().group)")
    return bool(asker.ask(f"heard[{group!r}]"))


# -- coming and going ------------------------------------------------------------------------------------------------

CHURN = """
import os, signal
living = []
def born():
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            while not (hubnet.Peer().id and hubnet.stats()["registered"]):
                pass
            os.write(writing, b".")
            signal.pause()
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1)
    os.close(reading)
    living.append(pid)
    return pid
def dies():
    pid = living.pop(0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
def churn(n):
    pids = []
    for _ in range(n):
        pids.append(born())
        if len(living) > 3:
            dies()
    while living:
        dies()
    return pids
"""
LISTS = """
import threading
problems, rounds, known = [], [0], set()
over = threading.Event()
def look(record, peer_id):
    if {name: type(value) for name, value in record.items()} != kinds:
        problems.append(("half a record", record))
    if hubnet.Peer().decode_id(peer_id) != {name: record[name] for name in ("host", "port", "group")}:
        problems.append(("an id that says something else", peer_id, record))
def watch():
    while not over.is_set():
        try:
            for listing in (hubnet.peers("churn", refresh=rounds[0] % 2 == 0), hubnet.peers(), hubnet.wait_for(1)):
                listed = [one for group, members in listing.items() if group != "peers" for one in members]
                if sorted(listed) != sorted(listing["peers"]):
                    problems.append(("groups and peers differ", dict(listing)))
                for peer_id, record in listing["peers"].items():
                    look(record, peer_id)
                    known.add(record["pid"])
            for one in hubnet.peer_group("churn"):
                look({name: getattr(one, name) for name in kinds}, one.id)
            rounds[0] += 1
        except BaseException as error:
            problems.append(repr(error))
watchers = [threading.Thread(target=watch) for _ in range(2)]
for one in watchers: one.start()
"""


@pytest.mark.processes
def test_listings_stay_whole_while_peers_come_and_go(alone: Net) -> None:
    alone.env["HUBNET_LEASE"] = "2"
    alone.hub()
    asker = alone.worker("kinds = " + "{" + ", ".join(f"{n!r}: {k.__name__}" for n, k in KINDS.items()) + "}")
    churner = alone.worker(CHURN, HUBNET_GROUP="churn")
    asker.run(LISTS)
    gone = churner.ask("churn(10)", timeout=60)
    eventually(lambda: not set(gone) & set(asker.ask("[one.pid for one in hubnet.peer_group('churn')]")))
    rounds = asker.ask("rounds[0]")
    eventually(lambda: asker.ask("rounds[0]") > rounds)
    asker.run("over.set()\nfor one in watchers: one.join()")
    assert asker.ask("problems[:3]") == []
    assert asker.ask(f"len(known & {set(gone)!r})") > 5  # it did see them


DIE_TOGETHER = """
import os, signal, socket, struct
def listening(port):
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and sock.getsockname()[1] == port:
            return sock
def born():
    here, there = socket.socketpair()
    pid = os.fork()
    if not pid:
        try:
            while not (hubnet.Peer().id and hubnet.stats()["registered"]):
                pass
            listener = listening(hubnet.Peer().port)
            socket.send_fds(there, [b"."], [listener.fileno()])
            signal.pause()
        finally:
            os._exit(0)
    there.close()
    _, (fd,), _, _ = socket.recv_fds(here, 1, 1)
    here.close()
    listener = socket.socket(fileno=fd)
    listener.settimeout(10)
    return pid, listener
def die(children):
    for pid, _ in children:
        os.kill(pid, signal.SIGKILL)
    for pid, _ in children:
        os.waitpid(pid, 0)
    for _, listener in children:
        dial, _ = listener.accept()
        listener.close()
        dial.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        dial.close()
"""


@pytest.mark.processes
def test_peers_that_are_killed_together_leave_the_listing_as_soon_as_one_does(alone: Net) -> None:
    """The system ends a process's links before it stops to listen: the hub's first look may come between, and is broken off."""
    hub = alone.hub()  # with the default lease of ten seconds
    farm = alone.worker(DIE_TOGETHER + "children = [born() for _ in range(6)]", HUBNET_GROUP="farm")
    assert set(farm.ask("[pid for pid, _ in children]")) < pids(hub)
    farm.run("die(children)")
    eventually(lambda: pids(hub) == {farm.pid}, 5)


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_wait_for_returns_more_than_asked_for_and_leaves_out_who_asks(asker: Actor, ids: dict[str, bytes]) -> None:
    assert names(ids, asker.ask("list(hubnet.wait_for(1)['peers'])")) == set(ids) - {"asker"}
    with pytest.raises(Raised, match=r"7 of 8 peers came within 0\.3 s") as caught:
        asker.ask("hubnet.wait_for(8, timeout=0.3)")
    assert (caught.value.kind, caught.value.ran) == ("NoPeer", "NO")


@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ("3, 'group1'", "2 of 3 peers in group1"),
        ("9, ['group2', 'group1']", "4 of 9 peers in group1, group2"),
        ("3, hubs_only=True", "2 of 3"),
        ("2, 'group1', True", "1 of 2 peers in group1"),
        ("1, 'nobody'", "0 of 1 peers in nobody"),
    ],
)
def test_wait_for_tells_how_many_came_and_where(asker: Actor, wish: str, text: str) -> None:
    begin = time.monotonic()
    with pytest.raises(Raised) as caught:
        asker.ask(f"hubnet.wait_for({wish}, timeout=0.5)")
    assert caught.value.kind == "NoPeer"
    assert text in caught.value.text
    assert 0.5 <= time.monotonic() - begin < 10


def test_waiting_for_nobody_is_answered_at_once_with_whoever_is_there(asker: Actor, ids: dict[str, bytes]) -> None:
    assert names(ids, asker.ask("list(hubnet.wait_for(0, 'group1', timeout=0.5)['peers'])")) == {"hub1", "one"}
    assert names(ids, asker.ask("list(hubnet.wait_for(0, hubs_only=True)['peers'])")) == {"hub1", "hub2"}


@pytest.mark.processes
def test_many_may_wait_at_once_each_for_its_own(shared: Net, asker: Actor) -> None:
    asker.run(
        """
        import concurrent.futures
        pool = concurrent.futures.ThreadPoolExecutor(10)
        waits = [pool.submit(hubnet.wait_for, 1, f"late {number % 2}") for number in range(10)]
        """
    )
    late = [shared.actor("hubnet.Peer()", HUBNET_GROUP=f"late {number}") for number in range(2)]
    found = asker.ask("[one.result()[0].pid for one in waits]")
    assert found == [late[number % 2].pid for number in range(10)]
    asker.run("pool.shutdown()")
    for one in late:
        one.close()


def test_wait_for_waits_for_the_first_hub_as_well_and_for_the_hubs_it_was_asked_for(alone: Net) -> None:
    early = alone.actor()
    early.send("ask", "sorted(one['pid'] for one in hubnet.wait_for(2, hubs_only=True)['peers'].values())")
    hubs = [alone.hub(), alone.hub(HUBNET_GROUP="others")]
    assert early.answer() == sorted(hub.pid for hub in hubs)


def test_wait_for_without_any_hub_is_an_error_when_its_time_is_up(alone: Net) -> None:
    lonely = alone.actor()
    for wish in ("1, timeout=2", "0, timeout=0.5"):
        with pytest.raises(Raised) as caught:
            lonely.ask(f"hubnet.wait_for({wish})")
        assert caught.value.kind == "NoHub"
        assert "hubnet hub" in caught.value.text


def test_a_listing_that_was_waited_for_names_whom_to_hear(parts: dict[str, Actor], asker: Actor) -> None:
    asker.run("waited = []\nhubnet.subscribe('w', hubnet.wait_for(1, 'group1'))(waited.append)")
    for name in ("two", "one"):
        parts[name].run("tell_w = hubnet.event('w')(lambda *args: (args, {}))")

    def told() -> bool:
        for name in ("two", "one"):
            parts[name].run(f"tell_w({name!r})")
        return bool(asker.ask("waited"))

    eventually(told)
    assert set(asker.ask("waited")) == {"one"}


@pytest.mark.processes
def test_links_to_hubs_that_were_asked_are_counted_with_the_others(shared: Net, asker: Actor) -> None:
    """A dozen threads that look somebody up at once leave a dozen links: statistics name every socket that stays open."""
    one = shared.worker()
    one.run(
        """
        import os, socket, stat, threading

        ports = {record["port"] for record in hubnet.peers(hubs_only=True)["peers"].values()}

        def to_hubs():
            found = 0
            for name in os.listdir("/proc/self/fd"):
                try:
                    if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                        with socket.socket(fileno=os.dup(int(name))) as sock:
                            found += sock.getpeername()[1] in ports
                except OSError:  # closed meanwhile, or one that listens
                    pass
            return found

        before, idle = to_hubs(), hubnet.stats()["links.idle"]
        together = threading.Barrier(12)
        def look():
            together.wait()
            for _ in range(20):
                hubnet.peers(refresh=True)
        threads = [threading.Thread(target=look) for _ in range(12)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        more = hubnet.stats()["links.idle"] - idle
        """
    )
    assert one.ask("more") >= 1
    assert one.ask("to_hubs() - before") == one.ask("more")
    one.leave()
