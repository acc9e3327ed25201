"""How a peer ends: by its program's end in every way there is, by signals with and without ``serve``, and on the main thread."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from tests.waiting import eventually

from .conftest import SIGINT, SIGTERM, Actor, Net, Raised
from .witness import id_of, serves

SERVES = """
import threading
@hubnet.connect("whoami")
def whoami(): return hubnet.Peer().id
@hubnet.connect("slow")
def slow(seconds): threading.Event().wait(seconds); return seconds
@hubnet.connect("fails")
def fails(error): raise error
released = threading.Event()
@hubnet.connect("hold")
def hold(): return released.wait(20)
"""


@pytest.fixture(scope="module")
def hub(shared: Net) -> Actor:
    """It hears how scripts are doing."""
    return shared.hub(SERVES + "heard = []\nhubnet.subscribe('done')(lambda *args: heard.append(args))")


class Program:
    """A script of a user's, as a process."""

    def __init__(self, net: Net, hub: Actor, name: str, code: str, before: str = "") -> None:
        text = f"{before}\nimport hubnet, os, sys, threading\nhub = {id_of(hub)!r}\n{SERVES}" + textwrap.dedent(code)
        file = net.folder / f"{name}.py"
        file.write_text(text)
        where = {"HUBNET_REDIS_URL": net.guarded.url("worker")} if net.guarded else {}
        self._log = net.folder / f"{name}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(file)], env={**net.env, **where, "HUBNET_GROUP": name},
                stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
            )  # fmt: skip

    def ends(self) -> int:
        """Let it go on, if it waits for that, and wait for its end; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            return self.process.wait(25)
        finally:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        return self._log.read_text()


def pids(actor: Actor) -> set[int]:
    """The processes that are listed."""
    return set(actor.ask("[one['pid'] for one in hubnet.peers(refresh=True)['peers'].values()]"))


# -- the end of the program ------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "end", "code", "text"),
    [
        ("end", "", 0, ""),
        ("exit", "sys.exit(3)", 3, ""),
        ("error", "raise RuntimeError('gave up')", 1, "RuntimeError: gave up"),
        ("interrupt", "os.kill(os.getpid(), 2); input()", -2, "KeyboardInterrupt"),
    ],
)
def test_however_python_ends_the_record_is_withdrawn_and_the_exit_code_is_the_programs(
    shared: Net, hub: Actor, name: str, end: str, code: int, text: str
) -> None:
    one = Program(shared, hub, f"ends_{name}", f"sys.stdin.read()\n{end}")
    assert hub.ask(f"hubnet.wait_for(1, 'ends_{name}')[0].pid") == one.process.pid
    assert one.ends() == code
    assert one.process.pid not in pids(hub)  # at once: it said so itself
    assert text in one.said
    assert one.said.count("Traceback") == bool(text), one.said


@pytest.mark.processes
def test_a_program_that_ends_without_a_word_is_missed_all_the_same(shared: Net, hub: Actor) -> None:
    one = Program(shared, hub, "ends_hard", "sys.stdin.read()\nos._exit(5)")
    assert hub.ask("hubnet.wait_for(1, 'ends_hard')[0].pid") == one.process.pid
    assert one.ends() == 5
    eventually(lambda: one.process.pid not in pids(hub), 8)  # well within its lease


@pytest.mark.processes
def test_a_call_that_runs_when_its_program_ends_is_answered(shared: Net, hub: Actor) -> None:
    one = Program(shared, hub, "ends_busy", "sys.stdin.read()")
    hub.run("busy = hubnet.wait_for(1, 'ends_busy')[0]")
    asker = shared.actor()
    running = "hubnet.stats(peer=hubnet.peers('ends_busy')[0])['calls.running']"
    assert asker.ask(running) == 0
    hub.send("ask", "busy.slow(0.8), busy.id")
    eventually(lambda: asker.ask(running) == 1)
    assert one.ends() == 0
    assert hub.answer()[0] == 0.8
    assert one.said == ""
    asker.leave()


@pytest.mark.processes
def test_threads_that_python_waits_for_go_on_calling_after_the_main_one_has_ended(shared: Net, hub: Actor) -> None:
    code = """
    done = hubnet.event("done")(lambda *args: (args, {}))
    def work():
        threading.main_thread().join()
        for number in range(30):
            assert whoami(peer=hub) == hub
        done(os.getpid(), number, len(hubnet.peers()["peers"]))
    for _ in range(3):
        threading.Thread(target=work).start()
    """
    one = Program(shared, hub, "ends_threads", code)
    assert one.ends() == 0, one.said
    eventually(lambda: [args[1] for args in hub.ask("heard") if args[0] == one.process.pid] == [29] * 3)
    assert one.said == ""


@pytest.mark.processes
def test_threads_that_python_does_not_wait_for_hold_up_no_end(shared: Net, hub: Actor) -> None:
    code = """
    def work():
        while True:
            whoami(peer=hub)
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    threading.Thread(target=lambda: hold(peer=hub), daemon=True).start()
    sys.stdin.read()
    """
    one = Program(shared, hub, "ends_daemons", code)
    assert hub.ask("hubnet.wait_for(1, 'ends_daemons')[0].pid") == one.process.pid
    eventually(lambda: hub.ask("hubnet.stats()['calls.running']"))
    assert one.ends() == 0
    assert "Fatal" not in one.said
    assert one.process.pid not in pids(hub)
    hub.run("released.set()")


@pytest.mark.processes
def test_what_the_program_does_at_exit_may_still_use_the_net(shared: Net, hub: Actor) -> None:
    code = """
    import atexit
    done = hubnet.event("done")(lambda *args: (args, {}))
    atexit.register(lambda: done("at exit", whoami(peer=hub) == hub, len(hubnet.peers(hubs_only=True)["peers"])))
    """
    one = Program(shared, hub, "ends_atexit", code)
    assert one.ends() == 0
    assert one.said == ""
    eventually(lambda: ("at exit", True, 1) in hub.ask("heard"))


@pytest.mark.processes
def test_after_its_end_a_peer_says_so_and_events_still_never_raise(shared: Net, hub: Actor) -> None:
    """What was to run at exit before hubnet was imported runs after hubnet's own end."""
    (shared.folder / "first.py").write_text(
        "import atexit\nlater = []\natexit.register(lambda: [one() for one in later])"
    )
    code = """
    done = hubnet.event("done")(lambda *args: (args, {}))
    def last():
        print(done("too late"))
        try:
            whoami(peer=hub)
        except hubnet.HubnetError as error:
            print(type(error).__name__, error)
    first.later.append(last)
    """
    one = Program(shared, hub, "ends_late", code, before="import first")
    assert one.ends() == 0
    assert "(('too late',), {})\nConfigError this peer has been stopped" in one.said
    assert "Traceback" not in one.said


@pytest.mark.processes
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", ""])
def test_a_program_that_never_found_the_net_ends_as_well(alone: Net, url: str) -> None:
    code = "import hubnet\n@hubnet.connect()\ndef f(): pass\nhubnet.event('e')(lambda: ((), {}))()"
    env = {**alone.env, "HUBNET_REDIS_URL": url} if url else alone.env
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


# -- signals ---------------------------------------------------------------------------------------------------------

HANDLERS = "[signal.getsignal(number) for number in sorted(signal.valid_signals())]"


@pytest.mark.processes
def test_nothing_but_serve_touches_signals(shared: Net, hub: Actor) -> None:
    one = shared.actor(f"import signal\nbefore = {HANDLERS}", HUBNET_AUTOSTART="0")
    one.run(
        SERVES
        + f"hub = {id_of(hub)!r}\nwhoami(peer=hub); hubnet.peers(); hubnet.event('done')(lambda: ((), {{}}))()\n"
        + "hubnet.subscribe('done')(print)"
    )
    assert one.ask(f"{HANDLERS} == before and signal.set_wakeup_fd(-1) == -1 and not signal.pthread_sigmask(0, [])")
    one.signal(SIGTERM)
    assert one.wait() == -SIGTERM
    eventually(lambda: one.pid not in pids(hub), 8)


@pytest.mark.processes
def test_a_handler_of_the_users_is_run_before_during_no_call_and_after_serve(shared: Net, hub: Actor) -> None:
    """``serve`` takes SIGTERM and Ctrl-C while it runs and gives them back."""
    one = shared.worker(
        SERVES
        + """
import signal
caught = []
signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
"""
    )
    one.signal(SIGTERM)
    eventually(lambda: one.ask("caught") == [15])
    one.send("run", "hubnet.serve()")
    who = id_of_listed(hub, one)
    eventually(lambda: hub.ask(f"whoami(peer={who!r})"))
    one.signal(signal.SIGUSR1)
    one.signal(SIGTERM)
    one.answer()
    assert one.ask("sorted(caught)") == [signal.SIGUSR1, 15]
    one.signal(SIGINT)
    eventually(lambda: one.ask("caught")[-1] == 2)
    assert one.ask("signal.set_wakeup_fd(-1)") == -1
    assert one.leave() == 0


def id_of_listed(hub: Actor, one: Actor) -> bytes:
    """The id of a peer that serves, as others see it: it registers while its program goes on."""
    found: list[bytes] = eventually(
        lambda: hub.ask(f"[i for i, r in hubnet.peers()['peers'].items() if r['pid'] == {one.pid}]")
    )
    return found[0]


@pytest.mark.processes
def test_serving_from_another_thread_leaves_signals_to_the_program(shared: Net, hub: Actor) -> None:
    one = shared.worker(
        SERVES + f"import signal\nbefore = {HANDLERS}\nthread = threading.Thread(target=hubnet.serve)\nthread.start()",
        HUBNET_GROUP="aside",
    )
    assert hub.ask("hubnet.wait_for(1, 'aside')[0].whoami()") == id_of(one)
    assert one.ask(f"{HANDLERS} == before, thread.is_alive()") == (True, True)
    one.signal(SIGTERM)
    assert one.wait() == -SIGTERM


@pytest.mark.processes
def test_ctrl_c_ends_a_call_that_waits_and_the_next_one_is_right(shared: Net, hub: Actor) -> None:
    """What was asked before must not be taken for the answer to what is asked after it."""
    one = shared.worker(SERVES + f"hub = {id_of(hub)!r}\nwhoami(peer=hub)")
    for _ in range(2):
        one.send("ask", "slow(1.0, peer=hub)")
        eventually(lambda: hub.ask("hubnet.stats()['calls.running']"))
        one.signal(SIGINT)
        with pytest.raises(Raised) as caught:
            one.answer(5)
        assert caught.value.kind == "KeyboardInterrupt"
        assert one.ask("whoami(peer=hub)") == id_of(hub)
        eventually(lambda: not hub.ask("hubnet.stats()['calls.running']"))
    assert one.ask("whoami(peer=hub), slow(0, peer=hub)") == (id_of(hub), 0)
    assert one.leave() == 0


# -- serving on the main thread --------------------------------------------------------------------------------------

ONE_BY_ONE = (
    SERVES
    + """
runs, threads, together = 0, set(), 0
@hubnet.connect("count")
def count(*args):
    global runs, together
    runs += 1
    together = max(together, runs)
    threads.add(threading.current_thread() is threading.main_thread())
    threading.Event().wait(0.02)
    runs -= 1
    return args
@hubnet.connect("seen")
def seen(): return together, threads
@hubnet.connect("ours")
def ours(): return whoami(peer=hubnet.Peer().id), count(1, peer=hubnet.Peer().id)
@hubnet.connect("outward")
def outward(other): return whoami(peer=other), threading.current_thread() is threading.main_thread()
@hubnet.connect("later")
async def later(): return "awaited"
"""
)


@pytest.fixture(scope="module")
def main(shared: Net, hub: Actor) -> Actor:
    """It serves on its main thread."""
    one = shared.worker(ONE_BY_ONE, HUBNET_GROUP="main")
    one.send("run", "hubnet.serve(main_thread=True)")
    hub.run("main = hubnet.wait_for(1, 'main')[0]\nimport concurrent.futures")
    eventually(lambda: serves(one.pid))
    return one


@pytest.mark.processes
def test_calls_on_the_main_thread_run_one_by_one_and_each_is_answered(hub: Actor, main: Actor) -> None:
    hub.run("with concurrent.futures.ThreadPoolExecutor(8) as pool: said = list(pool.map(main.count, range(40)))")
    assert hub.ask("said") == [(number,) for number in range(40)]
    assert hub.ask("main.seen()") == (1, {True})


@pytest.mark.processes
@pytest.mark.parametrize(
    "error", ["ValueError('v')", "SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()", "BaseException('b')"]
)
def test_an_exception_in_a_call_on_the_main_thread_is_its_callers_and_ends_nothing(
    hub: Actor, main: Actor, error: str
) -> None:
    with pytest.raises(Raised) as caught:
        hub.ask(f"main.fails({error})")
    assert caught.value.kind == "RemoteError"
    assert error.partition("(")[0] in caught.value.text
    assert hub.ask("main.count(1)") == (1,)


@pytest.mark.processes
def test_a_call_on_the_main_thread_may_call_its_own_peer_others_and_be_async(hub: Actor, main: Actor) -> None:
    assert hub.ask("main.ours() == (main.id, (1,))")
    assert hub.ask("main.outward(hubnet.Peer().id) == (hubnet.Peer().id, True)")
    assert hub.ask("main.later()") == "awaited"
    assert hub.ask("hubnet.info(peer=main)['group'], hubnet.stats(peer=main)['state']") == ("main", "open")


@pytest.mark.processes
def test_what_every_peer_brings_along_is_answered_while_the_main_thread_is_busy(hub: Actor, main: Actor) -> None:
    hub.run("pool = concurrent.futures.ThreadPoolExecutor(1)\nbusy = pool.submit(main.slow, 0.8)")
    eventually(lambda: hub.ask("hubnet.stats(peer=main)['calls.running']") == 1)
    assert hub.ask("hubnet.info(peer=main)['group'], hubnet.pass_through(5, peer=main), busy.done()") == (
        "main",
        5,
        False,
    )
    assert hub.ask("busy.result()") == 0.8
    hub.run("pool.shutdown()")


@pytest.mark.processes
def test_ctrl_c_while_the_main_thread_runs_a_call_lets_it_end(shared: Net, hub: Actor) -> None:
    one = shared.worker(ONE_BY_ONE, HUBNET_GROUP="interrupted")
    one.send("run", "hubnet.serve(main_thread=True)")
    eventually(lambda: serves(one.pid))
    hub.run("busy = hubnet.wait_for(1, 'interrupted')[0]")
    asker = shared.actor("busy = hubnet.wait_for(1, 'interrupted')[0]")
    asker.ask("hubnet.stats(peer=busy)")  # its link stands: the call is short
    hub.send("ask", "busy.slow(3)")
    eventually(lambda: asker.ask("hubnet.stats(peer=busy)['calls.running']") == 1)
    one.signal(SIGINT)
    assert hub.answer() == 3
    one.answer()
    assert one.pid not in pids(hub)
    assert one.leave() == 0
    assert "Traceback" not in one.said
    asker.leave()


def test_serve_on_the_main_thread_takes_a_bool(shared: Net, hub: Actor) -> None:
    one = shared.actor()
    with pytest.raises(Raised, match="main_thread is a bool") as caught:
        one.run("hubnet.serve('yes')")
    assert caught.value.kind == "TypeError"
    one.leave()


HELPERS = """
import multiprocessing, signal, time
ctx = multiprocessing.get_context("fork")
@hubnet.connect("terminated")
def terminated(name):
    helper = ctx.Process(target=time.sleep, args=(60,))
    helper.start()
    time.sleep(0.2)
    os.kill(helper.pid, getattr(signal, name))
    helper.join(20)
    code = helper.exitcode
    helper.kill()
    return code
@hubnet.connect("pooled")
def pooled():
    with ctx.Pool(2) as pool:
        return pool.map(abs, range(-4, 0))
"""


@pytest.mark.processes
def test_helpers_that_a_serving_peer_forks_die_of_signals_as_they_would_without_it(hub: Actor, shared: Net) -> None:
    """A render worker may have its frames computed by a pool, which ends its processes by SIGTERM."""
    worker = shared.worker("import os\n" + HELPERS, HUBNET_GROUP="forks")
    caller = shared.actor(
        """
        terminated = hubnet.connect("terminated")(lambda name: None)
        pooled = hubnet.connect("pooled")(lambda: None)
        peer = hubnet.wait_for(1, "forks")[0]
        """
    )
    worker.send("run", "hubnet.serve()")
    assert caller.ask("terminated('SIGTERM', peer=peer, timeout=60)") == -signal.SIGTERM
    assert caller.ask("terminated('SIGINT', peer=peer, timeout=60)") == 1  # as Python has it: a KeyboardInterrupt
    for _ in range(5):
        assert caller.ask("pooled(peer=peer, timeout=60)") == [4, 3, 2, 1]
    worker.signal(SIGTERM)
    worker.answer()  # serve() has returned
    assert "Bad file descriptor" not in worker.said
