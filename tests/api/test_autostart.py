"""How a process becomes a peer: by importing, by first use, late, in children and from many threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from tests import requirements_
from tests.waiting import eventually, free_port

from .conftest import Actor, Net, Raised
from .witness import id_of

APP = """
    import hubnet, os, threading
    def quiet(): return not [one.name for one in threading.enumerate() if one.name.startswith("hubnet")]
    @hubnet.connect("whoami")
    def whoami(): return hubnet.Peer().id, os.getpid()
    @hubnet.connect()
    def untagged(value): return value
    heard = []
    @hubnet.subscribe("news")
    def hear(*args): heard.append(args)
    tell = hubnet.event("news")(lambda *args: (args, {}))
"""
WHO = "@hubnet.connect('whoami')\ndef whoami(): import os; return hubnet.Peer().id, os.getpid()"


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    shared.env["HUBNET_LEASE"] = "3"
    shared.module("app", APP)
    return shared.hub(WHO)


def program(net: Net, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A program of a user's, to its end."""
    where = {"HUBNET_REDIS_URL": net.guarded.url("worker")} if net.guarded else {}
    return subprocess.run(
        [sys.executable, *arguments], env={**net.env, **where, **env}, cwd=net.folder, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def script(net: Net, name: str, code: str, **env: str) -> list[str]:
    """What a script prints that ends well."""
    (net.folder / name).write_text(textwrap.dedent(code))
    done = program(net, name, **env)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    return done.stdout.split("\n")[:-1]


def pids(actor: Actor) -> set[int]:
    """The processes that are listed."""
    return set(actor.ask("[one['pid'] for one in hubnet.peers(refresh=True)['peers'].values()]"))


# -- by importing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["@hubnet.connect()\ndef f(): pass", "@hubnet.subscribe('e')\ndef f(): pass"])
def test_the_first_connection_or_subscription_makes_a_peer(shared: Net, hub: Actor, what: str) -> None:
    one = shared.actor(what)
    eventually(lambda: one.pid in pids(hub))
    one.leave()


@pytest.mark.processes
def test_importing_hubnet_and_what_needs_no_peer_start_none(shared: Net, hub: Actor) -> None:
    one = shared.actor(
        """
        @hubnet.event("e")
        def f(): return (), {}
        @hubnet.flag("f")
        def g(*_): pass
        hubnet.LOGGER, hubnet.GROUP, hubnet.RemotePeer
        """
    )
    assert one.ask("[one.name for one in __import__('threading').enumerate()]") == ["MainThread"]
    assert one.leave() == 0


CHECKED = """
import unittest, app, hubnet
assert app.quiet(), "importing made a peer"
class Tests(unittest.TestCase):
    def test_it(self):
        self.assertTrue(app.quiet())
        self.assertEqual(app.untagged(5), 5)
        self.assertEqual(hubnet.peers(hubs_only=True)[0].call("whoami")[1], {pid})
        self.assertFalse(app.quiet())
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    "command",
    [
        "-m pytest -q -p no:cacheprovider test_checked.py",
        "-c import(pytest,sys);sys.exit(pytest.main(['-q','-p','no:cacheprovider','test_checked.py']))",
        "-m unittest -q test_checked",
    ],
    ids=["pytest", "pytest.main", "unittest"],
)
def test_under_a_test_collector_only_first_use_makes_a_peer(shared: Net, hub: Actor, command: str) -> None:
    (shared.folder / "test_checked.py").write_text(CHECKED.format(pid=hub.pid))
    first, rest = command.split(" ", 1)
    arguments = [rest.replace("(pytest,sys)", " pytest,sys", 1)] if first == "-c" else rest.split()
    done = program(shared, first, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.processes
def test_a_doctest_run_makes_no_peer(shared: Net, hub: Actor) -> None:
    (shared.folder / "documented.py").write_text('"""\n>>> import app\n>>> app.quiet()\nTrue\n"""\nimport app\n')
    done = program(shared, "-m", "doctest", "-v", "documented.py")
    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.processes
@pytest.mark.parametrize(
    "imported",
    [
        "unittest.mock, doctest",
        "pytest",
    ],
)
def test_a_program_that_only_imports_a_test_library_becomes_a_peer(shared: Net, hub: Actor, imported: str) -> None:
    said = script(shared, "uses.py", f"import {imported}, app\nprint(app.quiet())")
    assert said == ["False"]


@pytest.mark.processes
def test_without_autostart_nothing_runs_until_first_use(shared: Net, hub: Actor) -> None:
    one = shared.actor("import app", HUBNET_AUTOSTART="off")
    assert one.ask("app.quiet()")
    assert one.ask("app.untagged(3)") == 3  # a call here needs no peer
    assert one.ask("app.quiet()")
    assert one.ask("app.whoami()[0]") == id_of(one)
    eventually(lambda: one.pid in pids(hub))
    assert hub.ask(f"whoami(peer={id_of(one)!r})") == (id_of(one), one.pid)
    one.leave()


# -- until it has been imported --------------------------------------------------------------------------------------

NEVER_BY_ITSELF = "import hubnet.autostart; hubnet.autostart._OPEN_AFTER = 1e9\n"
OPENS = {
    "a call": "hubnet.info(peer=hub)",
    "a listing": "hubnet.peers()",
    "an event": "hubnet.event('e')(lambda: ((), {}))()",
}


@pytest.mark.processes
@pytest.mark.parametrize("how", OPENS)
def test_a_script_is_starting_until_it_uses_the_net(shared: Net, hub: Actor, how: str) -> None:
    one = shared.worker(NEVER_BY_ITSELF + WHO + f"\nhub = {id_of(hub)!r}", HUBNET_GROUP="slow")
    state = "[one.state for one in hubnet.peer_group('slow')]"
    eventually(lambda: hub.ask(state) == ["starting"])
    with pytest.raises(Raised, match=r"0 of 1 peers in slow came"):
        hub.ask("hubnet.wait_for(1, 'slow', timeout=0.5)")
    assert hub.ask(f"whoami(peer={id_of(one)!r})[1]") == one.pid  # whoever names it reaches it
    one.run(OPENS[how])
    assert hub.ask("hubnet.wait_for(1, 'slow')[0].pid") == one.pid
    one.leave()


@pytest.mark.processes
def test_a_script_is_starting_until_it_serves(shared: Net, hub: Actor) -> None:
    one = shared.worker(NEVER_BY_ITSELF + WHO, HUBNET_GROUP="slow")
    eventually(lambda: hub.ask("[one.state for one in hubnet.peer_group('slow')]") == ["starting"])  # the last has left
    one.send("run", "hubnet.serve()")
    assert hub.ask("hubnet.wait_for(1, 'slow')[0].pid") == one.pid
    one.signal(15)
    one.answer()
    one.leave()


def test_a_script_that_registers_no_more_is_open_by_itself(shared: Net, hub: Actor) -> None:
    one = shared.actor(WHO, HUBNET_GROUP="by itself")
    assert hub.ask("hubnet.wait_for(1, 'by itself')[0].call('whoami')[1]") == one.pid
    one.leave()


WAITS = """
    import hubnet, pathlib
    @hubnet.connect("first")
    def first(): return 1
    {lists}
    while not pathlib.Path("{name}.go").exists(): pass
    @hubnet.connect("second")
    def second(): return 2
    {ends}
"""


def being_imported(net: Net, hub: Actor, name: str, lists: str = "", ends: str = "") -> Actor:
    """A peer that is in the middle of importing a module, which goes on when told."""
    net.module(name, WAITS.format(name=name, lists=lists, ends=ends))
    worker = net.actor(HUBNET_GROUP=name)
    worker.send("run", f"import {name}")
    eventually(lambda: worker.pid in pids(hub))
    eventually(lambda: hub.ask(f"hubnet.peers('{name}', refresh=True)[0].call('first')") == 1)
    hub.run(f"peer = hubnet.peers('{name}')[0]")
    return worker


@pytest.mark.processes
def test_a_tag_that_does_not_come_is_told_when_the_import_has_ended(shared: Net, hub: Actor) -> None:
    worker = being_imported(shared, hub, "half")
    hub.send("ask", "peer.call('never')")
    (shared.folder / "half.go").touch()
    with pytest.raises(Raised, match="Peer does not have the connection") as caught:
        hub.answer()
    assert caught.value.kind == "InvalidConnection"
    worker.answer()
    assert hub.ask("hubnet.wait_for(1, 'half')[0].second()") == 2
    worker.leave()


@pytest.mark.processes
def test_a_module_that_fails_half_way_leaves_an_open_peer_with_what_it_registered(shared: Net, hub: Actor) -> None:
    worker = being_imported(shared, hub, "broken", ends="raise RuntimeError('half way')")
    assert hub.ask("peer.state") == "starting"
    (shared.folder / "broken.go").touch()
    with pytest.raises(Raised, match="half way"):
        worker.answer()
    assert hub.ask("hubnet.wait_for(1, 'broken')[0].call('second')") == 2
    worker.leave()


@pytest.mark.processes
def test_a_module_that_lists_while_it_is_imported_is_starting_until_its_end(shared: Net, hub: Actor) -> None:
    """As the reference's own examples do, before they subscribe."""
    worker = being_imported(shared, hub, "asking", lists="group = hubnet.peers('nobody')")
    try:
        assert hub.ask("hubnet.peers('asking', refresh=True)[0].state") == "starting"
        hub.send("ask", "peer.call('second')")
        (shared.folder / "asking.go").touch()
        assert hub.answer() == 2
    finally:
        (shared.folder / "asking.go").touch()
        worker.answer()
        worker.leave()


# -- before Redis ----------------------------------------------------------------------------------------------------


@contextmanager
def server(port: int, folder: str) -> Iterator[None]:
    """A Redis that comes late."""
    command = [requirements_.server_binary(), "--port", str(port), "--save", "", "--dir", folder, "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.processes
def test_peers_that_started_before_redis_list_call_and_hear_each_other_once_it_is_there(alone: Net) -> None:
    port = free_port()
    alone.env.update(HUBNET_REDIS_URL=f"redis://127.0.0.1:{port}", HUBNET_LEASE="3")
    alone.module("app", APP)
    worker = alone.actor("import app", HUBNET_GROUP="work")
    hub = alone.actor("import app", HUBNET_IS_HUB="1")
    caller = alone.actor("import app\nfor number in range(5): app.tell(number)")  # into the void, as yet
    caller.send("ask", "hubnet.wait_for(2)['peers'] and hubnet.peers('work')[0].whoami()")
    with server(port, str(alone.folder)):
        assert caller.answer() == (id_of(worker), worker.pid)
        assert caller.ask("len(hubnet.peers(hubs_only=True)['peers'])") == 1
        for one in (worker, hub):
            eventually(lambda one=one: caller.run("app.tell('late')") and ("late",) in one.ask("app.heard"))  # type: ignore[misc]
            numbers = [args[0] for args in one.ask("app.heard") if args[0] != "late"]
            assert numbers == sorted(set(numbers))  # those of before come in their order, or not at all
        assert caller.ask(f"app.untagged('x', peer={id_of(hub)!r})") == "x"
        for one in (caller, worker, hub):
            assert one.leave() == 0


# -- children --------------------------------------------------------------------------------------------------------

MANY = """
    import concurrent.futures, multiprocessing, os, sys, time
    import hubnet

    @hubnet.connect("whoami")
    def whoami(): return hubnet.Peer().id, os.getpid()

    @hubnet.connect()
    def untagged(value): return value

    class Thing:
        def __init__(self, number): self.number = number

    def quiet():
        import threading
        hubnet.connect("late")(lambda: 0)  # as a module that is imported in the child alone
        return not [one.name for one in threading.enumerate() if one.name.startswith("hubnet")]

    def child(what, parent, hub):
        mine = hubnet.Peer().id
        if what == "joins":
            same = whoami(peer=mine)[1] == os.getpid(), whoami(peer=parent)[0] == parent
            return mine != parent, *same, len(hubnet.peers(hubs_only=True)["peers"])
        try:
            return untagged(5, peer=parent) if what == "untagged" else hubnet.pass_through(Thing(7), peer=hub).number
        except hubnet.HubnetError as error:
            return type(error).__name__

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        parent, hub = hubnet.Peer().id, hubnet.wait_for(1, hubs_only=True)[0].id
        while not hubnet.stats()["registered"]:  # else a child may ask for it too soon
            time.sleep(0.01)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            print(pool.submit(quiet).result(), len(hubnet.peer_group()))
            for what in ("joins", "untagged", "thing"):
                print(pool.submit(child, what, parent, hub).result())
        if sys.argv[1] == "fork":
            with context.Pool(1) as pool:
                print(pool.apply(child, ("joins", parent, hub)))
                pool.close()
                pool.join()
        print(whoami(peer=parent)[1] == os.getpid(), whoami(peer=hub)[1] != os.getpid())
"""
SAID = ["True 0", "(True, True, True, 1)", "5", "7"]


@pytest.fixture(scope="module")
def many(shared: Net, hub: Actor) -> Callable[[str], list[str]]:
    """What a script prints whose children use the net, by how they are made."""
    (shared.folder / "many.py").write_text(textwrap.dedent(MANY))

    @cache
    def said(method: str) -> list[str]:
        done = program(shared, "many.py", method, HUBNET_GROUP=method)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return said


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_does_not_join_by_itself(many: Callable[[str], list[str]], method: str) -> None:
    assert many(method)[0] == SAID[0]


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_joins_on_first_use_as_itself(
    hub: Actor, many: Callable[[str], list[str]], method: str
) -> None:
    said = many(method)
    assert said[1] == SAID[1]
    assert said[4:] == ([SAID[1]] if method == "fork" else []) + ["True True"]
    eventually(lambda: pids(hub) == set())


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_untagged_functions_of_a_script_meet_between_it_and_its_children(
    many: Callable[[str], list[str]], method: str
) -> None:
    assert many(method)[2] == SAID[2]


@pytest.mark.processes
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_a_script_defines_travels_from_its_children(many: Callable[[str], list[str]], method: str) -> None:
    assert many(method)[3] == SAID[3]


def forked(code: str) -> str:
    """Code that forks a child, which writes a value into a pipe and ends as given."""
    return textwrap.dedent(
        f"""
        import os, threading
        def fork(ends=lambda: os._exit(0)):
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                try:
                    os.write(writing, repr(({code})).encode())
                except BaseException as error:
                    os.write(writing, repr(error).encode())
                finally:
                    ends()
            os.close(writing)
            said = os.read(reading, 1000)
            os.close(reading)
            os.waitpid(pid, 0)
            return said.decode()
        """
    )


@pytest.mark.processes
def test_a_child_forked_from_a_thread_works_and_so_does_its_parent(shared: Net, hub: Actor) -> None:
    asked = "whoami(peer=hub)[1], hubnet.Peer().id != parent, len(hubnet.peers(hubs_only=True)['peers'])"
    one = shared.worker(WHO + f"\nhub = {id_of(hub)!r}\nparent = hubnet.Peer().id" + forked(asked))
    one.run(
        """
        said = []
        threads = [threading.Thread(target=lambda: said.append(fork())) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    assert one.ask("said") == [f"({hub.pid}, True, 1)"] * 3
    assert one.ask("whoami(peer=hub)[1]") == hub.pid
    assert hub.ask(f"whoami(peer={id_of(one)!r})[1]") == one.pid
    one.leave()


@pytest.mark.processes
def test_a_forked_child_for_which_no_port_is_left_says_so_and_harms_nothing(shared: Net, hub: Actor) -> None:
    port = str(free_port())
    code = WHO + f"\nhub = {id_of(hub)!r}" + forked("whoami(peer=hub)")
    one = shared.worker(code, HUBNET_PORT=port, HUBNET_PORT_RANGE="1")
    said = one.ask("fork()")
    assert said.startswith("ConfigError"), said
    assert "HUBNET_PORT" in said
    assert port in said
    assert hub.ask(f"whoami(peer={id_of(one)!r})[1]") == one.pid
    assert one.ask("whoami(peer=hub)[1]") == hub.pid
    one.leave()


@pytest.mark.processes
def test_a_fork_while_calls_run_disturbs_neither_them_nor_the_child(shared: Net, hub: Actor) -> None:
    """The child has copies of links in the middle of an exchange: it must not touch them."""
    hub.run("lock = __import__('threading').Event()\n@hubnet.connect('hold')\ndef hold(x): lock.wait(20); return x")
    one = shared.worker(
        WHO + f"\nhub = {id_of(hub)!r}\n@hubnet.connect('hold')\ndef hold(x): pass" + forked("whoami(peer=hub)[1]")
    )
    one.run(
        """
        import concurrent.futures
        pool = concurrent.futures.ThreadPoolExecutor(4)
        held = [pool.submit(hold, number, peer=hub) for number in range(4)]
        """
    )
    eventually(lambda: hub.ask("hubnet.stats()['calls.running']") == 4)
    assert one.ask("[fork() for _ in range(3)]") == [str(hub.pid)] * 3
    hub.run("lock.set()")
    assert one.ask("[one.result() for one in held]") == [0, 1, 2, 3]
    one.run("pool.shutdown()")
    one.leave()


@pytest.mark.processes
def test_a_child_made_inside_a_connection_calls_back_while_its_parent_answers(shared: Net, hub: Actor) -> None:
    one = shared.worker(
        WHO
        + """
import multiprocessing, os
def child(caller, pipe):
    pipe.send((whoami(peer=caller)[1], hubnet.Peer().id))
@hubnet.connect("makes")
def makes(caller):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(caller, there))
    process.start()
    said = here.recv()
    process.join()
    return said, process.exitcode, hubnet.Peer().id, os.getpid()
""",
        HUBNET_GROUP="makers",
    )
    hub.run("makes = hubnet.wait_for(1, 'makers')[0].makes")
    for _ in range(3):
        (caller, child), code, parent, pid = hub.ask("makes(hubnet.Peer().id)")
        assert (caller, code, parent, pid) == (hub.pid, 0, id_of(one), one.pid)
        assert child != parent
    assert hub.ask("hubnet.peer_group('makers')[0].pid") == one.pid
    one.leave()


@pytest.mark.processes
def test_a_forked_child_hears_what_its_parent_had_subscribed_to(shared: Net, hub: Actor) -> None:
    one = shared.worker(
        """
        import os, signal
        reading, writing = os.pipe()
        hubnet.subscribe("for both")(lambda *args: os.write(writing, b"%d " % os.getpid()))
        hubnet.peers()
        pid = os.fork()
        if not pid:
            hubnet.Peer()
            signal.pause()
        os.set_blocking(reading, False)
        said = b""
        def who():
            global said
            try:
                said += os.read(reading, 1000)
            except BlockingIOError:
                pass
            return set(map(int, said.split()))
        """
    )
    child = one.ask("pid")
    try:
        hub.run("both = hubnet.event('for both')(lambda *args: (args, {}))")
        eventually(lambda: hub.run("both()") and one.ask("who()") == {one.pid, child})
    finally:
        os.kill(child, 9)
    one.leave()


@pytest.mark.processes
@pytest.mark.parametrize(
    "ends",
    ["(atexit._run_exitfuncs(), os._exit(0))", "os.kill(os.getpid(), 9)"],
    ids=["in order", "killed"],
)
def test_a_child_that_ends_takes_nothing_of_its_parent_along(alone: Net, ends: str) -> None:
    """The parent is the hub that owns the server, and its child was a hub as well."""
    alone.env["HUBNET_LEASE"] = "2"
    hub = alone.hub(WHO + "\nimport atexit, os" + forked("len(hubnet.peers()['peers'])"))
    worker = alone.worker(WHO + f"\nhub = {id_of(hub)!r}")
    hub.send("ask", f"fork(lambda: {ends})")
    assert int(hub.answer()) >= 1
    assert worker.ask("whoami(peer=hub)[1]") == hub.pid
    eventually(lambda: pids(worker) == {hub.pid})
    assert pids(hub) == {worker.pid}
    worker.run("heard = []\nhubnet.subscribe('still')(heard.append)")
    hub.run("still = hubnet.event('still')(lambda *args: (args, {}))")
    eventually(lambda: hub.run("still(1)") and worker.ask("heard"))


# -- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize(
    "first", ["hubnet.Peer().id", "hubnet.peers() and hubnet.Peer().id", "whoami(peer=hub) and hubnet.Peer().id"]
)
def test_first_use_from_fifty_threads_at_once_makes_one_peer(shared: Net, hub: Actor, first: str) -> None:
    one = shared.actor(WHO + f"\nhub = {id_of(hub)!r}", HUBNET_AUTOSTART="0", HUBNET_GROUP="fifty")
    one.run(
        f"""
        import threading
        said, barrier = [], threading.Barrier(50)
        def use():
            barrier.wait(20)
            try:
                said.append({first})
            except BaseException as error:
                said.append(error)
        threads = [threading.Thread(target=use) for _ in range(50)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    assert one.ask("len(said), list(set(said))") == (50, [id_of(one)])
    assert hub.ask("[one.pid for one in hubnet.wait_for(1, 'fifty')['peers'] and hubnet.peer_group('fifty')]") == [
        one.pid
    ]
    one.leave()


@pytest.mark.processes
def test_calls_from_threads_that_live_for_one_call_share_a_few_links(shared: Net, hub: Actor) -> None:
    one = shared.worker(WHO + f"\nhub = {id_of(hub)!r}")
    one.run(
        """
        import threading
        said = []
        for _ in range(200):
            thread = threading.Thread(target=lambda: said.append(whoami(peer=hub)[1]))
            thread.start()
            thread.join()
        """
    )
    assert one.ask("len(said), set(said)") == (200, {hub.pid})
    assert one.ask("hubnet.stats()['links.idle']") <= 2
    one.leave()
