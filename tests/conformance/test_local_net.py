"""A net in memory: calls, events and listings between its peers, and its faults."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

import hubnet
from hubnet.core.connections import path_tag
from hubnet.testing import LocalNet, LocalPeer
from tests.waiting import eventually


@hubnet.connect("local.where")
def where(seconds: float = 0.0) -> tuple[str, bytes]:
    """Which peer runs this."""
    time.sleep(seconds)
    peer = hubnet.Peer()
    return peer.group, peer.id


_holds, _let_go = threading.Semaphore(0), threading.Event()


@hubnet.connect("local.held", limit=1)
def held() -> None:
    """Takes the only slot that there is."""
    _holds.release()
    _let_go.wait(20)


@hubnet.flag("LATER")
def later(connection: str, foreign_peer_id: dict[str, object]) -> tuple[str, bytes]:
    """Whose connection answered with it."""
    return connection, hubnet.Peer().generate_id(
        foreign_peer_id["port"], foreign_peer_id["host"], foreign_peer_id["group"]
    )


_AUDITED = """
import sys
opened, wanted = [], ("socket.__new__", "socket.connect", "socket.bind", "subprocess.Popen", "os.fork")
sys.addaudithook(lambda event, args: opened.append((event, args)) if event in wanted else None)
import queue
import hubnet
from hubnet.testing import LocalNet

done = hubnet.event("done")(lambda: ((1,), {}))

@hubnet.connect()
def render():
    done()
    return hubnet.Peer().group

heard = queue.Queue()
with LocalNet() as net:
    net.me.subscribe("done")(heard.put)
    worker = net.peer(render, group="render")
    ran = render(peer=worker.id)
    print(f"ran in {ran}, {len(hubnet.peers())} peers, heard {heard.get(timeout=20)}")
print(opened)
"""


@pytest.fixture
def net() -> Iterator[LocalNet]:
    with LocalNet() as one:
        yield one


def test_a_call_runs_on_the_peer_that_was_asked(net: LocalNet) -> None:
    worker = net.peer(where, group="render")
    assert where(peer=worker.id) == ("render", worker.id)
    assert where() == ("None", net.me.id)


def test_a_net_in_memory_opens_no_socket_and_starts_no_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_AUDITED)
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "HUBNET_AUTOSTART": "0"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("ran in render, 3 peers, heard 1\n[]\n", 0), done.stderr


def test_a_nested_call_is_the_peers_that_makes_it(net: LocalNet) -> None:
    worker, other = net.peer(where, group="one"), net.peer(where, group="two")
    asked_by = []

    @worker.connect("ask")
    def ask(peer_id: bytes) -> tuple[str, bytes]:
        return where(peer=peer_id)

    @other.connect("local.who_asks")
    def who_asks() -> None:
        asked_by.append(hubnet.Peer().group)

    remote = hubnet.connect("ask")(lambda peer_id: None)
    assert remote(other.id, peer=worker.id) == ("two", other.id)


def test_the_constants_are_of_the_peer_that_asks(net: LocalNet) -> None:
    worker = net.peer(group="render", thread_limit=7)
    asked = hubnet.connect("local.constants")(lambda: (hubnet.GROUP, hubnet.THREAD_LIMIT, hubnet.IS_HUB))
    worker.serve(asked)
    assert asked(peer=worker.id) == ("render", 7, False)
    with worker:
        assert hubnet.GROUP == "render"
    with net.hubs[0]:
        assert hubnet.IS_HUB
    assert hubnet.GROUP == "None"


def test_threads_that_act_as_one_peer_at_a_time_are_themselves_again_afterwards(net: LocalNet) -> None:
    """Each goes on as who it was: the calls of two others each trigger an event of a third."""
    third = net.peer(group="third")
    both = threading.Barrier(2)
    trigger = third.event("done")(lambda: (both.wait(10), ((), {}))[1])

    def act() -> str:
        for _ in range(20):
            trigger()
            both.wait(10)
        return str(hubnet.Peer().group)

    acts = hubnet.connect("act")(act)
    others = [net.peer(acts, group=name) for name in ("first", "second")]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(acts, peer=one.id, timeout=60) for one in others]
        assert [one.result(60) for one in asked] == ["first", "second"]


def test_peers_know_the_flags_that_imported_modules_registered(net: LocalNet) -> None:
    answers = hubnet.connect("local.flagged")(lambda: hubnet.Peer().get_flag("LATER"))
    worker = net.peer(answers)
    assert answers(peer=worker.id) == ("local.flagged", worker.id)


def test_a_peer_may_serve_more_functions_later_each_with_a_limit_of_its_own(net: LocalNet) -> None:
    @hubnet.connect("local.limited", limit=1)
    def limited(seconds: float) -> tuple[str, bytes]:
        return where(seconds)

    ones = [net.peer(group=group) for group in ("one", "two")]
    for one in ones:
        one.serve(limited, len)
    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(lambda one: limited(0.1, peer=one.id)[0], ones)) == ["one", "two"]
    assert hubnet.peer_group("one")[0].call(path_tag("builtins", "len"), [1, 2]) == 2


def test_a_stopped_peer_ends_what_it_runs_and_is_gone(net: LocalNet) -> None:
    worker = net.peer(where, group="leaves")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(where, 0.5, peer=worker.id)
        eventually(lambda: worker.stats()["calls.running"])
        net.stop(worker)
        assert running.result(10)[0] == "leaves"
    eventually(lambda: "leaves" not in hubnet.peers(refresh=True))
    with pytest.raises(hubnet.PeerUnreachable):
        where(peer=worker.id)


def test_without_a_hub_nobody_is_registered_until_there_is_one() -> None:
    with LocalNet(hubs=0, timeout=0.5) as net:
        worker = net.peer(where)
        assert not worker.registered
        with pytest.raises(hubnet.NoHub):
            hubnet.peers()
        net.hub(group="keepers")
        eventually(lambda: worker.registered)
        assert [peer.group for peer in hubnet.peer_group("keepers")] == ["keepers"]


def test_it_lists_as_a_real_one_does(net: LocalNet) -> None:
    one, other = net.peer(where, group="render"), net.peer(where, group="render", host="big-machine")
    listing = hubnet.wait_for(2, groups="render")
    assert set(listing["render"]) == {one.id, other.id}
    assert listing["peers"][other.id]["host"] == "big-machine"
    assert listing["peers"][other.id]["state"] == "open"
    (found,) = [peer for peer in hubnet.peer_group("render") if peer.id == other.id]
    assert found.call("local.where") == ("render", other.id)


def test_events_reach_the_handlers_of_every_peer_and_each_acts_for_its_own(net: LocalNet) -> None:
    heard: list[tuple[int, str]] = []
    one, other = net.peer(group="one"), net.peer(group="two")
    for peer in (one, other):

        @peer.subscribe("done")
        def on_done(frame: int) -> None:
            heard.append((frame, hubnet.Peer().group))

    done = net.peer(group="three").event("done")(lambda frame: ((frame,), {}))
    hubnet.wait_for(3)
    eventually(lambda: [done(0), heard][1])
    heard.clear()
    done(1)
    eventually(lambda: {(1, "one"), (1, "two")} <= set(heard))


def test_a_flag_makes_the_caller_run_its_handler(net: LocalNet) -> None:
    worker = net.peer()

    @worker.flag("local.tired")
    def on_worker(connection: str, foreign: dict) -> str:
        return "worker"

    @net.me.flag("local.tired")
    def on_me(connection: str, foreign: dict) -> str:
        return f"{connection} by {foreign['host']}"

    worker.connect("rest")(lambda: hubnet.Peer().get_flag("local.tired"))
    assert hubnet.connect("rest")(lambda: None)(peer=worker.id) == f"rest by {worker.host}"


def test_what_raises_is_a_remote_error(net: LocalNet) -> None:
    worker = net.peer()
    worker.connect("divide")(lambda a, b: a / b)
    with pytest.raises(hubnet.RemoteError) as caught:
        hubnet.connect("divide")(lambda a, b: None)(1, 0, peer=worker.id)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_large_values_arrive_whole(net: LocalNet) -> None:
    worker = net.peer()
    worker.connect("same")(lambda value: value)
    much = os.urandom(20 << 20)
    assert hubnet.connect("same")(lambda value: None)(much, peer=worker.id) == much


def test_an_async_function_is_awaited_where_it_runs(net: LocalNet) -> None:
    worker = net.peer()

    @worker.connect("later")
    async def later(value: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return 10 // value

    remote = hubnet.connect("later")(lambda value: None)
    assert remote(2, peer=worker.id) == 5
    with pytest.raises(hubnet.RemoteError) as caught:
        remote(0, peer=worker.id)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with worker:
        assert remote(5, peer=worker.id) == 2  # its own id: it runs here, and is awaited as well


# -- faults ----------------------------------------------------------------------------------------------------------


def test_a_killed_peers_running_call_is_lost_and_it_leaves_the_listing(net: LocalNet) -> None:
    worker, entered, gate = net.peer(where, group="render"), threading.Event(), threading.Event()
    worker.connect("local.wait")(lambda: (entered.set(), gate.wait(20)))
    wait = hubnet.connect("local.wait")(lambda: None)
    killer = threading.Thread(target=lambda: (entered.wait(20), net.kill(worker)))
    killer.start()
    with pytest.raises(hubnet.PeerLost) as caught:
        wait(peer=worker.id)
    gate.set()
    killer.join()
    assert caught.value.ran == "MAYBE"
    eventually(lambda: "render" not in hubnet.peers(refresh=True))
    with pytest.raises(hubnet.PeerUnreachable) as after:
        where(peer=worker.id)
    assert after.value.ran == "NO"


def test_a_cut_cable_ends_a_running_call_and_a_mended_one_carries_the_next(net: LocalNet) -> None:
    worker = net.peer(where)
    where(peer=worker.id)
    net.cut(net.me, worker)
    with pytest.raises(hubnet.PeerLost) as caught:
        where(peer=worker.id)
    assert caught.value.ran == "MAYBE"
    net.mend()
    assert where(peer=worker.id)[1] == worker.id


def test_a_paused_peers_call_goes_on_when_it_does(net: LocalNet) -> None:
    worker = net.peer(where)
    where(peer=worker.id)
    net.pause(worker)
    with pytest.raises(hubnet.CallTimeout):
        where(peer=worker.id, timeout=0.2)
    timer = threading.Timer(0.3, net.mend, [worker])
    timer.start()
    assert where(peer=worker.id)[1] == worker.id
    timer.join()


def test_what_is_slow_arrives_later(net: LocalNet) -> None:
    worker = net.peer(where)
    where(peer=worker.id)
    net.delay(0.1, net.me, worker)
    with pytest.raises(hubnet.CallTimeout):
        where(peer=worker.id, timeout=0.05)
    assert where(peer=worker.id)[1] == worker.id


def test_dropped_links_are_dialled_again(net: LocalNet) -> None:
    worker = net.peer(where)
    where(peer=worker.id)
    net.drop(net.me, worker)
    assert where(peer=worker.id)[1] == worker.id


@pytest.mark.parametrize("forget", [False, True])
def test_the_broker_restarts_and_everybody_is_listed_again(net: LocalNet, forget: bool) -> None:
    worker = net.peer(where)
    net.broker.restart(forget=forget)
    eventually(lambda: len(hubnet.peers(refresh=True)["peers"]) == 2)
    assert where(peer=worker.id)[1] == worker.id


def test_calls_go_on_without_a_broker_and_without_hubs(net: LocalNet) -> None:
    worker = net.peer(where)
    where(peer=worker.id)
    net.broker.stop()
    net.kill(net.hubs[0])
    assert where(peer=worker.id)[1] == worker.id


def test_lost_messages_are_counted(net: LocalNet) -> None:
    publisher, heard = net.peer(), []
    net.me.subscribe("news")(heard.append)
    tell = publisher.event("news")(lambda number: ((number,), {}))
    eventually(lambda: [tell(0), heard][1])
    net.broker.lose(1)
    tell(1)
    eventually(lambda: [tell(2), net.me.stats().get("events.lost")][1])


def test_peers_move_to_the_other_hub_when_theirs_dies() -> None:
    with LocalNet(hubs=2) as net:
        workers = [net.peer(where) for _ in range(4)]
        net.kill(net.hubs[0])
        eventually(lambda: all(worker.registered for worker in workers))
        eventually(lambda: len(hubnet.peers(refresh=True)["peers"]) == 5)
        assert [where(peer=worker.id)[1] for worker in workers] == [worker.id for worker in workers]


def test_slow_hubs_are_given_the_time_that_they_take() -> None:
    """Each question would go to both of them otherwise, just when they have much to do."""
    with LocalNet(hubs=2, timeout=20.0) as net:
        parts = net.me._peer._parts
        assert parts is not None
        asked, ask = [], parts.directory._asker.call
        parts.directory._asker.call = lambda *args: (asked.append(1), ask(*args))[1]  # type: ignore[method-assign]
        for hub in net.hubs:
            net.delay(0.3, net.me, hub)

        def one_is_asked() -> bool:
            asked.clear()
            hubnet.peers(refresh=True)
            return len(asked) == 1

        eventually(one_is_asked)


def states() -> dict[str, str]:
    return {record["group"]: record["state"] for record in hubnet.peers(refresh=True)["peers"].values()}


def test_a_peer_that_is_silent_for_long_is_suspect_and_then_gone() -> None:
    with LocalNet(lease=0.5, suspect=1.5) as net:
        worker = net.peer(where, group="render")
        net.pause(worker)
        eventually(lambda: states().get("render") == "suspect")
        eventually(lambda: "render" not in states())
        net.mend(worker)
        eventually(lambda: states().get("render") == "open")


@pytest.mark.parametrize("fault", [LocalNet.pause, LocalNet.cut])
def test_half_of_a_net_that_falls_silent_at_once_is_gone_in_the_end(fault, caplog: pytest.LogCaptureFixture) -> None:
    with LocalNet(lease=0.4, suspect=0.8) as net:
        workers = [net.peer(where, group=f"group {number}") for number in range(5)]
        for worker in workers:
            fault(net, worker)
        eventually(lambda: len(states()) == 1)
        assert caplog.text.count("half of the register") == 1
        net.mend()
        eventually(lambda: len(states()) == 6)


# -- order -----------------------------------------------------------------------------------------------------------


def test_it_leaves_nothing_behind() -> None:
    def descriptors() -> set[str]:
        return {fd.name for fd in Path("/proc/self/fd").iterdir()}

    with LocalNet() as net:
        where(peer=net.peer(where).id)
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("hubnet-")])
    before = descriptors()
    for _ in range(3):
        with LocalNet() as net:
            worker = net.peer(where)
            where(peer=worker.id)
            net.cut(net.me, worker)
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("hubnet-")])
    left = descriptors() - before
    assert not left, sorted(left)


def test_what_a_test_registers_ends_with_its_net() -> None:
    before = hubnet.peer.process_peer()  # type: ignore[attr-defined]
    had = (before.CONNECTIONS, before.SUBSCRIPTIONS, before.FLAGS)
    with LocalNet() as net:
        hubnet.connect("local.left", limit=1)(lambda: None)
        hubnet.subscribe("local left")(lambda: None)
        hubnet.flag("local.left")(lambda tag, peer: None)
        hubnet.event("local left", durable=True)(lambda: ((), {}))
        assert "local.left" in net.me._peer.CONNECTIONS
    assert had == (before.CONNECTIONS, before.SUBSCRIPTIONS, before.FLAGS)
    with LocalNet() as net:
        assert had == (net.me._peer.CONNECTIONS, net.me._peer.SUBSCRIPTIONS, net.me._peer.FLAGS)
        hubnet.event("local left")(lambda: ((), {}))


def test_what_still_runs_of_one_net_takes_no_slot_in_the_next() -> None:
    _let_go.clear()
    with ThreadPoolExecutor() as pool:
        try:
            for _ in range(2):
                with LocalNet() as net:
                    asking = net.peer()
                    pool.submit(_ask, asking, net.me.id)
                    assert _holds.acquire(timeout=20)
        finally:
            _let_go.set()


def _ask(asking: LocalPeer, peer_id: bytes) -> None:
    with asking, suppress(hubnet.HubnetError):  # it may end with its net
        held(peer=peer_id)


def test_what_a_module_registers_while_it_is_imported_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next test imports it as well, which runs nothing."""
    (tmp_path / "local_late.py").write_text(
        "import hubnet\n@hubnet.connect('local.late')\ndef late(): return hubnet.Peer().id\n"
        "@hubnet.subscribe('local late')\ndef hear(): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with LocalNet() as net:
            import local_late

            other = net.peer()
            with other:
                assert local_late.late(peer=net.me.id) == net.me.id
            assert net.me._peer.SUBSCRIPTIONS.count("local late") == 1


def test_what_a_reload_registers_stays_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "local_anew.py"
    text = "import hubnet\n@hubnet.connect('local.version')\ndef version(): return {}\n"
    file.write_text(text.format(1))
    monkeypatch.syspath_prepend(tmp_path)
    with LocalNet() as net:
        import local_anew

        file.write_text(text.format("'the second'"))
        importlib.reload(local_anew)
    with LocalNet() as net:
        other = net.peer()
        with other:
            assert local_anew.version(peer=net.me.id) == "the second"


def test_the_process_has_its_own_peer_again_afterwards() -> None:
    before = hubnet.peer.process_peer()  # type: ignore[attr-defined]
    with LocalNet() as net:
        assert hubnet.Peer().id == net.me.id
    assert hubnet.peer.process_peer() is before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"leese": 1}, "LocalNet() has no setting 'leese'"),
        ({"lease": "soon"}, "LocalNet(lease=…): 'soon' is not allowed"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings: dict, words: str) -> None:
    with pytest.raises(hubnet.ConfigError) as caught:
        LocalNet(**settings)
    assert words in str(caught.value)
