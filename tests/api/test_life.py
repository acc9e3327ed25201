"""The life of peers and hubs: starting, draining, dying, forking."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.waiting import eventually, free_port

from .conftest import SIGINT, SIGTERM, Actor, Net, Raised
from .witness import live, serves

pytestmark = pytest.mark.processes

SERVER = """
    import threading, time
    @hubnet.connect("slow")
    def slow(seconds, size=0):
        time.sleep(seconds)
        return seconds, bytes(size)
    @hubnet.connect("who")
    def who(): return hubnet.Peer().id
    @hubnet.connect("thread")
    def thread(): return threading.current_thread() is threading.main_thread()
"""
QUICK = {"HUBNET_LEASE": "2"}


def pids(actor: Actor, wish: str = "refresh=True") -> set[int]:
    """The processes that are listed."""
    return set(actor.ask(f"[one['pid'] for one in hubnet.peers({wish})['peers'].values()]"))


@pytest.fixture
def hub(alone: Net) -> Actor:
    alone.env.update(QUICK)
    return alone.hub()


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_serve_drains_and_withdraws_on_a_signal(alone: Net, hub: Actor, number: int) -> None:
    worker = alone.worker(SERVER, HUBNET_GROUP="w")
    caller = alone.actor(SERVER + "    peer = hubnet.wait_for(1, 'w')[0]\n    who(peer=peer)")
    worker.send("run", "hubnet.serve()")
    eventually(lambda: serves(worker.pid))
    assert not _running(alone, worker)  # so that who looks has started before there is something to see
    caller.send("ask", "slow(1.0, 30_000_000, peer=peer) == (1.0, bytes(30_000_000))")
    eventually(lambda: _running(alone, worker))
    worker.signal(number)

    assert caller.answer() is True  # what ran was answered, whole
    worker.answer()
    assert worker.pid not in pids(caller)
    with pytest.raises(Raised) as caught:
        caller.ask("who(peer=peer)")
    assert caught.value.ran == "NO"
    assert caught.value.kind in {"PeerUnreachable", "PeerBusy"}
    assert worker.leave() == 0
    assert "Traceback" not in worker.said


def test_what_runs_may_call_list_and_publish_until_it_has_ended(alone: Net, hub: Actor) -> None:
    hub.run(
        """
        heard = []
        hubnet.subscribe("rendered")(heard.append)
        @hubnet.connect("report")
        def report(frame, peer_id): return "reported", frame
        """
    )
    live(hub)
    worker = alone.worker(
        """
        import threading
        moment = threading.Event()
        report = hubnet.connect("report")(lambda frame, peer_id: None)
        rendered = hubnet.event("rendered")(lambda frame: ((frame,), {}))
        @hubnet.connect("render")
        def render(frame):
            while hubnet.Peer().state != "draining":
                moment.wait(0.01)
            rendered(frame)
            (boss,) = hubnet.peers(hubs_only=True, refresh=True)["peers"]
            return report(frame, hubnet.Peer().id, peer=boss), hubnet.Peer().group
        """,
        HUBNET_GROUP="w",
    )
    worker.send("run", "hubnet.serve()")
    caller = alone.actor("worker = hubnet.wait_for(1, 'w')[0]")
    caller.send("ask", "worker.call('render', 7)")
    eventually(lambda: hub.ask("hubnet.stats(peer=hubnet.peers('w')[0])['calls.running']"))
    worker.signal(SIGTERM)
    assert caller.answer() == (("reported", 7), "w")
    worker.answer()
    assert worker.leave() == 0
    eventually(lambda: hub.ask("heard") == [7])


def _running(alone: Net, worker: Actor) -> bool:
    asker = next((one for one in alone.actors if one.name == "asker"), None)
    if asker is None:
        asker = alone.actor("stats = lambda: hubnet.stats(peer=hubnet.peers('w')[0])")
        asker.name = "asker"
    running = asker.ask("stats()")["calls.running"]
    if running:
        asker.close()
        alone.actors.remove(asker)
    return bool(running)


def test_calls_run_on_the_main_thread_where_asked(alone: Net, hub: Actor) -> None:
    worker = alone.worker(SERVER, HUBNET_GROUP="w")
    worker.send("run", "hubnet.serve(main_thread=True)")
    eventually(lambda: serves(worker.pid))
    hub.run(SERVER)
    hub.run("peer = hubnet.wait_for(1, 'w')[0]")
    assert eventually(lambda: hub.ask("thread(peer=peer)"))
    worker.signal(SIGTERM)
    worker.answer()


def test_stopping_a_main_thread_that_works_answers_all_that_was_taken(alone: Net, hub: Actor, tmp_path: Path) -> None:
    gate = tmp_path / "opened"
    held = f"""
    import pathlib
    @hubnet.connect("held")
    def held():
        while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)
        return "ran"
    """
    worker = alone.worker(SERVER + held, HUBNET_GROUP="w")
    worker.send("run", "hubnet.serve(main_thread=True)")
    eventually(lambda: serves(worker.pid))
    caller = alone.actor(SERVER + held).run("peer = hubnet.wait_for(1, 'w')[0]")
    assert eventually(lambda: caller.ask("thread(peer=peer)"))
    caller.run(
        """
        outcomes = []
        def one():
            try:
                outcomes.append(held(peer=peer))
            except hubnet.HubnetError as error:
                outcomes.append(error.ran)
        def start(number):
            started = [threading.Thread(target=one) for _ in range(number)]
            for thread in started: thread.start()
            return started
        threads = start(4)
        """
    )
    eventually(lambda: caller.ask("hubnet.stats(peer=peer)['calls.running']") == 4)
    worker.signal(SIGTERM)
    caller.run("threads += start(3)")
    gate.touch()
    caller.run("for one in threads: one.join()")
    worker.answer()
    outcomes = caller.ask("outcomes")
    assert set(outcomes) <= {"ran", "NO"}, outcomes
    assert outcomes.count("ran") >= 4


def test_a_program_that_ends_withdraws_its_record(alone: Net, hub: Actor) -> None:
    worker = alone.worker(SERVER)
    assert worker.pid in pids(hub)
    assert worker.leave() == 0
    assert worker.pid not in pids(hub)


def test_a_worker_that_is_killed_leaves_the_listing_soon(alone: Net) -> None:
    hub = alone.hub()  # with the default lease of ten seconds
    worker = alone.worker(SERVER)
    assert worker.pid in pids(hub)
    worker.kill()
    eventually(lambda: worker.pid not in pids(hub), 8)


def test_a_killed_worker_that_had_forked_leaves_the_listing_as_soon(alone: Net) -> None:
    hub = alone.hub()
    worker = alone.worker("import os, time\npid = os.fork()\nif not pid:\n    time.sleep(30)\n    os._exit(0)")
    assert worker.pid in pids(hub)
    child = worker.ask("pid")
    worker.kill()
    try:
        eventually(lambda: worker.pid not in pids(hub), 5)
    finally:
        os.kill(child, 9)


def test_a_call_under_way_to_a_killed_peer_is_lost_at_once_and_may_have_run(alone: Net, hub: Actor) -> None:
    worker = alone.worker(SERVER, HUBNET_GROUP="w")
    caller = alone.actor(SERVER + "    peer = hubnet.wait_for(1, 'w')[0]")
    caller.send("ask", "slow(60, peer=peer)")
    eventually(
        lambda: (
            "calls.running" in (said := hub.ask("hubnet.stats(peer=hubnet.peers('w')[0])")) and said["calls.running"]
        )
    )
    worker.kill()
    with pytest.raises(Raised, match="it may have run") as caught:
        caller.answer(5)
    assert (caught.value.kind, caught.value.ran) == ("PeerLost", "MAYBE")


def test_a_restarted_worker_is_called_anew(alone: Net, hub: Actor) -> None:
    port = str(free_port())
    worker = alone.worker(SERVER, HUBNET_PORT=port, HUBNET_PORT_RANGE="1", HUBNET_GROUP="w")
    caller = alone.actor(SERVER + "    peer = hubnet.wait_for(1, 'w')[0]\n    who(peer=peer)")
    worker.kill()
    again = alone.worker(SERVER, HUBNET_PORT=port, HUBNET_PORT_RANGE="1", HUBNET_GROUP="w")
    assert caller.ask("who(peer=peer)") == again.ask("hubnet.Peer().id")
    eventually(lambda: caller.ask("hubnet.peers('w', refresh=True)[0].pid") == again.pid)


def broker_owner(alone: Net) -> int:
    """The process that runs the embedded server."""
    (said,) = Path(alone.folder).glob("hubnet-*/broker.json")
    return int(json.loads(said.read_text())["pid"])


@pytest.mark.embedded
def test_a_hub_that_is_killed_is_replaced_by_the_next_and_calls_go_on(alone: Net, hub: Actor) -> None:
    second = alone.hub()
    worker = alone.worker(SERVER, HUBNET_GROUP="w")
    caller = alone.worker(SERVER + "    peer = hubnet.wait_for(1, 'w')[0]\n    who(peer=peer)")
    assert broker_owner(alone) == hub.pid
    second.kill()
    assert caller.ask("who(peer=peer)") == worker.ask("hubnet.Peer().id")
    third = alone.hub()
    eventually(lambda: pids(caller) >= {hub.pid, worker.pid, third.pid})


@pytest.mark.embedded
def test_the_owner_of_the_broker_is_killed_and_everything_comes_back(alone: Net, hub: Actor) -> None:
    """Another hub runs the server anew, everybody is listed again, events and calls go on."""
    second = alone.hub()
    worker = alone.worker(
        SERVER + "    heard = []\n    hubnet.subscribe('news')(lambda *a: heard.append(a))", HUBNET_GROUP="w"
    )  # fmt: skip
    caller = alone.worker(
        SERVER
        + "    peer = hubnet.wait_for(1, 'w')[0]\n    who(peer=peer)\n    tell = hubnet.event('news')(lambda *a: (a, {}))"
    )
    assert broker_owner(alone) == hub.pid
    hub.kill()

    assert caller.ask("who(peer=peer)") == worker.ask("hubnet.Peer().id")  # needs nobody
    eventually(lambda: broker_owner(alone) == second.pid)
    eventually(lambda: pids(second) == {worker.pid, caller.pid})
    eventually(lambda: pids(caller) == {worker.pid, second.pid})
    newcomer = alone.worker(SERVER)
    assert newcomer.ask("hubnet.wait_for(1, 'w')[0].who()") == worker.ask("hubnet.Peer().id")

    def told() -> bool:
        caller.run("tell('again')")
        return bool(worker.ask("heard"))

    eventually(told)


@pytest.mark.embedded
def test_two_first_hubs_race_and_share_one_broker(alone: Net) -> None:
    alone.env.update(QUICK)
    hubs = [alone.actor(HUBNET_IS_HUB="1") for _ in range(4)]
    for hub in hubs:
        hub.send("ask", "len(hubnet.wait_for(3)['peers'])")
    assert [hub.answer() for hub in hubs] == [3] * 4
    assert len(list(Path(alone.folder).glob("hubnet-*/server-*"))) == 1


@pytest.mark.embedded
def test_a_hub_that_cannot_run_a_server_says_why_and_ends_when_asked(alone: Net) -> None:
    hub = alone.actor(HUBNET_IS_HUB="1", HUBNET_REDIS_SERVER="no-such-program")
    hub.send("run", "hubnet.serve()")
    eventually(lambda: "HUBNET_REDIS_SERVER" in hub.said and serves(hub.pid))
    hub.signal(SIGTERM)
    hub.answer()
    assert hub.leave() == 0
    assert "Traceback" not in hub.said


def test_a_worker_that_starts_before_any_hub_joins_when_one_comes(alone: Net) -> None:
    worker = alone.actor(SERVER)
    worker.send("run", "hubnet.serve()")
    eventually(lambda: serves(worker.pid))
    hub = alone.hub()
    eventually(lambda: worker.pid in pids(hub))
    worker.signal(SIGTERM)
    worker.answer()


def test_a_forked_child_is_a_peer_of_its_own(alone: Net, hub: Actor) -> None:
    parent = alone.worker(SERVER, HUBNET_GROUP="w")  # registered: its child will list it
    parent.run(
        """
    import os
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            hub = hubnet.peers(hubs_only=True)[0]
            os.write(writing, hubnet.Peer().id + b" %d" % len(hubnet.peers()['peers']))
            time.sleep(30)
        finally:
            os._exit(0)
    """
    )
    child = parent.ask("pid")
    try:
        other, listed = parent.ask("os.read(reading, 1000)").split()
        assert other != parent.ask("hubnet.Peer().id")
        assert int(listed) == 2
        eventually(lambda: {parent.pid, child} <= pids(hub))
        hub.run(SERVER)
        assert hub.ask(f"who(peer={other!r})") == other
        assert hub.ask("sorted(one.who() for one in hubnet.peer_group('w'))") == sorted(
            [other, parent.ask("hubnet.Peer().id")]
        )
    finally:
        os.kill(child, 9)
    eventually(lambda: child not in pids(hub))
    assert parent.pid in pids(hub)


def test_a_child_forked_while_its_parent_was_starting_starts_as_well(alone: Net, hub: Actor) -> None:
    parents = [
        alone.actor(
            f"""
            import os, time
            @hubnet.connect("who")
            def who(): return hubnet.Peer().id
            time.sleep({delay})
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                try:
                    os.write(writing, b"%d" % len(hubnet.peers(hubs_only=True)["peers"]))
                except BaseException as error:
                    os.write(writing, repr(error).encode())
                os._exit(0)
            """
        )
        for delay in (0, 0.02, 0.05, 0.1)
    ]
    assert [parent.ask("os.read(reading, 1000)") for parent in parents] == [b"1"] * len(parents)


def test_a_child_forked_inside_a_limited_call_may_serve_it_too(alone: Net, hub: Actor) -> None:
    worker = alone.worker(
        """
        import os, time
        @hubnet.connect("one at a time", limit=1)
        def one(): return os.getpid()
        @hubnet.connect("fork", limit=1)
        def fork():
            pid = os.fork()
            if not pid:
                hubnet.peers()
                time.sleep(30)
                os._exit(0)
            return pid
        """,
        HUBNET_GROUP="w",
    )
    child = hub.ask("hubnet.wait_for(1, 'w')[0].fork()")
    try:
        record = eventually(
            lambda: hub.ask(f"[i for i, r in hubnet.peers('w', refresh=True)['peers'].items() if r['pid'] == {child}]")
        )
        hub.run("@hubnet.connect('fork')\ndef fork(): pass")
        grandchild = hub.ask(f"fork(peer={record[0]!r}, timeout=5)")
        os.kill(grandchild, 9)
    finally:
        os.kill(child, 9)
    assert worker.alive


def test_children_of_multiprocessing_do_not_join_by_themselves(alone: Net, hub: Actor) -> None:
    alone.module(
        "many",
        "import hubnet, os\n@hubnet.connect()\ndef f(): pass\ndef work(n): return hubnet.peer.process_peer().started",
    )
    worker = alone.worker("import sys, multiprocessing, many; sys.argv = ['']")
    worker.run(
        """
        with multiprocessing.get_context("fork").Pool(2) as pool:
            started = pool.map(many.work, range(3))
            pool.close()
            pool.join()
        """
    )
    assert worker.ask("started") == [False] * 3


def test_autostart_may_be_forbidden(alone: Net, hub: Actor) -> None:
    quiet = alone.actor(SERVER, HUBNET_AUTOSTART="0")
    assert quiet.ask("hubnet.peer.process_peer().started") is False
    assert quiet.ask("hubnet.Peer().friendly_id['group']") == "None"
    assert quiet.ask("hubnet.peer.process_peer().started") is True


def test_importing_never_waits_and_never_fails_for_the_network(alone: Net) -> None:
    begin = time.monotonic()
    worker = alone.actor(
        SERVER + "    hubnet.event('news')(lambda *a: (a, {}))(1)", HUBNET_REDIS_URL="redis://127.0.0.1:1"
    )
    assert time.monotonic() - begin < 15
    assert worker.ask("who.__name__") == "who"


def test_a_call_for_a_tag_that_is_still_being_imported_waits_for_it(alone: Net, hub: Actor) -> None:
    alone.module(
        "slowly",
        """
        import hubnet, pathlib, time
        @hubnet.connect("first")
        def first(): return 1
        while not pathlib.Path("go").exists(): time.sleep(0.01)
        @hubnet.connect("second")
        def second(): return 2
        """,
    )
    worker = alone.actor(HUBNET_GROUP="w")
    worker.send("run", "import slowly")
    eventually(lambda: worker.pid in pids(hub))
    assert hub.ask("[one.state for one in hubnet.peer_group('w')]") == ["starting"]
    hub.run("peer = hubnet.peer_group('w')[0]")
    hub.send("ask", "peer.call('first'), peer.call('second')")
    (alone.folder / "go").touch()
    assert hub.answer() == (1, 2)
    worker.answer()
    assert hub.ask("hubnet.wait_for(1, 'w')[0].state") == "open"


def test_a_stopped_peer_says_so(alone: Net, hub: Actor) -> None:
    worker = alone.worker(SERVER)
    worker.run("hubnet.Peer().stop()")
    with pytest.raises(Raised, match="has been stopped") as caught:
        worker.ask("hubnet.peers()")
    assert caught.value.kind == "ConfigError"
    assert worker.leave() == 0
