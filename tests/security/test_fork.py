"""Attack 25: a child of fork has its parent's memory, keys and counters with it, and must use none of them.

A counter used twice under one key would give a sealed link away, and a frame of the child's on a link of the parent's
would end it. So whoever is at the other end says by which of its links a call came, and whose: the parent's stay as they were.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import Actor, Net, Raised
from tests.api.witness import serves
from tests.waiting import eventually

TELLS = """
import atexit, os, signal, threading, time
from hubnet.links.context import here
links = []
@hubnet.connect("tell")
def tell(value=None):
    link = here.call.link
    if link not in links:
        links.append(link)
    return value, links.index(link), link.foreign.incarnation.hex()
@hubnet.connect("whoami")
def whoami():
    return hubnet.Peer().id
@hubnet.connect("hold")
def hold():
    released.clear()
    held.set()
    released.wait(20)
    return "held"
held, released = threading.Event(), threading.Event()
@hubnet.connect("forks")
def forks():
    return os.fork()
def child(work):
    pid = os.fork()
    if not pid:
        try:
            work()
            atexit._run_exitfuncs()
        except BaseException as error:
            print(repr(error), flush=True, file=sys.stderr)
            os._exit(9)
        os._exit(0)
    return pid
def ended(pid):
    found, status = os.waitpid(pid, os.WNOHANG)
    return found == pid and (os.waitstatus_to_exitcode(status), )
import sys
"""
CALLS_THE_HUB = "hub = hubnet.peers(hubs_only=True)[0]\ntell(peer=hub); reading, writing = os.pipe()"


@pytest.fixture(params=["sealed", "open-mac"], scope="module")
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """One net for each suite."""
    made = Net(tmp_path_factory.mktemp("fork"))
    made.env["HUBNET_WIRE"] = request.param
    yield made
    made.close()


@pytest.fixture(scope="module")
def hub(net: Net) -> Actor:
    return net.hub(TELLS)


@pytest.fixture(scope="module")
def parent(net: Net, hub: Actor) -> Actor:
    """A peer with a warm link to the hub."""
    return net.worker(TELLS + CALLS_THE_HUB)


@pytest.fixture(autouse=True)
def _refusals(parent: Actor, hub: Actor) -> Iterator[None]:
    """Nobody hears a frame that was not meant for it."""
    yield
    for one in (parent, hub):
        assert one.ask("hubnet.stats().get('frames.rejected', 0)") == 0


def holds(hub: Actor) -> None:
    """Wait until a call is under way there, which lasts until it is released."""
    eventually(lambda: hub.ask("held.is_set()"))
    hub.run("held.clear()")


def whole(actor: Actor, pid: int) -> None:
    """Wait for a child's end, which must be a good one."""
    assert eventually(lambda: actor.ask(f"ended({pid})")) == (0,)


def test_a_child_that_calls_has_a_link_and_an_incarnation_of_its_own(parent: Actor) -> None:
    """While the parent goes on over its own link, at the same time."""
    _, link, incarnation = parent.ask("tell(peer=hub)")
    parent.run("calls = lambda: [tell(number, peer=hub) for number in range(200)]")
    pid = parent.ask("child(lambda: os.write(writing, repr(calls()).encode()))")
    ours = parent.ask("calls()")
    theirs = eval(parent.ask("os.read(reading, 1 << 16)"))
    whole(parent, pid)
    assert [value for value, _, _ in ours] == [value for value, _, _ in theirs] == list(range(200))
    assert {(one, who) for _, one, who in ours} == {(link, incarnation)}
    (their_link, their_incarnation), *others = {(one, who) for _, one, who in theirs}
    assert others == []
    assert their_link != link
    assert their_incarnation != incarnation
    assert parent.ask("tell(1, peer=hub)") == (1, link, incarnation)


def test_a_child_that_is_called_answers_for_itself_and_its_parent_by_the_link_that_was_there(
    parent: Actor, hub: Actor
) -> None:
    me = parent.ask("hubnet.Peer().id")
    before = hub.ask(f"tell(peer={me!r})")
    pid = parent.ask("child(lambda: (os.write(writing, whoami(peer=hub) and hubnet.Peer().id), hubnet.serve()))")
    try:
        child = parent.ask("os.read(reading, 1000)")
        assert child != me
        assert eventually(lambda: hub.ask(f"whoami(peer={child!r})"), not_yet=Raised) == child  # once it is registered
        assert hub.ask(f"whoami(peer={me!r})") == me
        assert hub.ask(f"tell(peer={me!r})") == before
        eventually(lambda: serves(pid))
    finally:
        parent.run(f"os.kill({pid}, signal.SIGTERM)")
    whole(parent, pid)
    assert hub.ask(f"tell(peer={me!r})") == before


def test_children_that_come_and_end_disturb_no_call_that_is_under_way(parent: Actor, hub: Actor) -> None:
    """They end with all that is to be done at exit, in the middle of calls in both directions."""
    me = parent.ask("hubnet.Peer().id")
    hub.run(f"forth = [tell(peer={me!r})[1:]]\nstop = threading.Event()")
    hub.run(
        f"def on_and_on():\n    while not stop.is_set(): forth.append(tell(peer={me!r})[1:])\n"
        "thread = threading.Thread(target=on_and_on); thread.start()"
    )
    parent.run(
        "back, stop = [], threading.Event()\n"
        "def on_and_on():\n    while not stop.is_set(): back.append(tell(peer=hub)[1:])\n"
        "thread = threading.Thread(target=on_and_on); thread.start()"
    )
    for _ in range(8):
        seen = parent.ask("len(back)"), hub.ask("len(forth)")
        whole(parent, parent.ask("child(lambda: None)"))
        eventually(lambda seen=seen: parent.ask("len(back)") > seen[0] and hub.ask("len(forth)") > seen[1])
    for one in (parent, hub):
        one.run("stop.set(); thread.join(20)")
        assert not one.ask("thread.is_alive()")
    assert len(set(hub.ask("forth"))) == 1
    assert len(set(parent.ask("back"))) == 1


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
def test_a_served_function_that_forks_is_answered_once_by_its_parent(parent: Actor, hub: Actor, *, hot: bool) -> None:
    """The child comes back into the thread that serves, with the link's key and counter in hand."""
    me = parent.ask("hubnet.Peer().id")
    before = hub.ask(f"tell(peer={me!r})")
    before_each = f"[tell(peer={me!r}) for _ in range(50)]" if hot else "None"
    hub.run(f"pids = []\nfor _ in range(3):\n    {before_each}\n    pids.append(forks(peer={me!r}))")
    pids = hub.ask("pids")
    assert all(pid > 0 for pid in pids)
    assert hub.ask(f"[tell(number, peer={me!r})[:2] for number in range(20)]") == [(n, before[1]) for n in range(20)]
    for pid in pids:
        assert eventually(lambda pid=pid: parent.ask(f"ended({pid})"))
    assert hub.ask(f"tell(peer={me!r})") == before


def test_a_fork_while_a_call_waits_leaves_its_answer_to_the_parent(parent: Actor, hub: Actor) -> None:
    """The thread that waits is not in the child, but its socket would be; the hub goes on hearing the parent only."""
    before = parent.ask("tell(peer=hub)")[1:]
    parent.run("answers = []\nthread = threading.Thread(target=lambda: answers.append(hold(peer=hub))); thread.start()")
    holds(hub)
    pid = parent.ask("child(lambda: tell(peer=hub))")
    whole(parent, pid)
    hub.run("released.set()")
    parent.run("thread.join(20)")
    assert parent.ask("answers") == ["held"]
    assert parent.ask("tell(peer=hub)")[1] >= before[0]


@pytest.mark.parametrize("net", ["sealed"], indirect=True)
def test_a_child_that_comes_out_of_a_signal_handler_into_its_parents_call_does_not_take_its_answer(
    net: Net, hub: Actor
) -> None:
    """The handler forks while the main thread waits for an answer, so the child comes back to wait for the same one."""
    one = net.worker(
        TELLS
        + CALLS_THE_HUB
        + """
def fork_now(*_):
    global pid
    pid = os.fork()
signal.signal(signal.SIGALRM, fork_now)
def waits():
    try:
        answer = hold(peer=hub)
    except BaseException as error:
        answer = repr(error)
    if not pid:
        os.write(writing, str(answer).encode())
        os._exit(0)
    return answer
"""
    )
    try:
        one.send("ask", "waits()")
        holds(hub)
        one.signal(signal.SIGALRM)
        children = Path(f"/proc/{one.pid}/task/{one.pid}/children")
        eventually(children.read_text)
        hub.run("released.set()")
        assert one.answer(3) == "held"
        one.send("ask", "os.read(reading, 1000)")
        assert b"forked in the middle of the call" in one.answer(3)
    finally:
        os.killpg(one.pid, signal.SIGKILL)  # the child as well


def test_a_child_that_lives_on_holds_no_link_of_its_parents_open(net: Net, hub: Actor) -> None:
    """Else nobody would be told that the parent has died."""
    one = net.worker(TELLS + CALLS_THE_HUB)
    _, link, _ = one.ask("tell(peer=hub)")
    one.run("lives, waits = os.pipe()")
    child = one.ask("child(lambda: os.read(lives, 1))")
    try:
        assert not hub.ask(f"links[{link}].ended")
        one.kill()
        eventually(lambda: hub.ask(f"links[{link}].ended"))
        assert Path(f"/proc/{child}").exists()
    finally:
        os.kill(child, signal.SIGKILL)


def test_events_of_a_child_are_numbered_as_its_own(parent: Actor, hub: Actor) -> None:
    """A number of the parent's used again would be a replay, and nobody would hear it."""
    hub.run("heard = []\nhubnet.subscribe('news')(lambda *args: heard.append(args))")
    eventually(
        lambda: hub.ask("all(hubnet.Peer().ready().subscriber.is_live(one) for one in hubnet.Peer().subscriptions)")
    )
    parent.run("news = hubnet.event('news')(lambda *args: (args, {}))\nnews('parent', 1); news('parent', 2)")
    eventually(lambda: hub.ask("len(heard)") == 2)
    pid = parent.ask("child(lambda: [news('child', number) for number in range(5)])")
    parent.run("news('parent', 3)")
    whole(parent, pid)
    expected = sorted([("parent", 1), ("parent", 2), ("parent", 3), *(("child", number) for number in range(5))])
    eventually(lambda: sorted(hub.ask("heard")) == expected)
