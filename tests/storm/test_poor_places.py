"""Peers in poor places: a home that nobody can write, a disk that is full, few open files. They work, or say what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.storm.calls import CHAIN
from benchmarks.storm.nets import PEER, Redis, StormNet
from hubnet.core.keys import new_token
from tests.api.conftest import Raised
from tests.conftest import Net
from tests.waiting import eventually

WORKER = "import hubnet\n@hubnet.connect('double')\ndef double(n): return 2 * n\n"
FULL = """
mount -t tmpfs -o size=16k,mode=1777 full "$FULL"
mkdir -m 700 "$FULL/hubnet-0"
dd if=/dev/zero of="$FULL/everything" bs=1k 2>/dev/null
exec "$@"
"""
ON_FULL_DISK = """
import os, sys, tempfile
tempfile.tempdir = os.environ["FULL"]  # chosen while there was room: Python itself goes elsewhere otherwise
sys.argv[0] = "hubnet"
import runpy
runpy.run_module("hubnet", run_name="__main__")
"""


@pytest.fixture
def full(net: Net) -> list[str]:
    """What to put before a command so that its folder for temporary files is on a full disk, which it alone sees."""
    own_view = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    (net.folder / "full").mkdir()
    net.env["FULL"] = str(net.folder / "full")
    tried = subprocess.run(
        [*own_view, "mount", "-t", "tmpfs", "none", net.env["FULL"]], capture_output=True, check=False
    )
    if tried.returncode:
        told = f"no file system of its own may be mounted here: {tried.stderr.decode().strip()}"
        (pytest.fail if os.environ.get("HUBNET_CI") == "1" else pytest.skip)(told)
    return [*own_view, "sh", "-c", FULL, "sh"]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    """A Redis that is not on the full disk."""
    made = Redis(tmp_path)
    yield made
    made.close()


def test_on_a_full_disk_a_hub_that_needs_it_says_so_in_one_line(net: Net, full: list[str]) -> None:
    hub = net.run(*full, sys.executable, "-c", ON_FULL_DISK, "hub")
    assert hub.wait() == 2, hub.report()
    (line,) = hub.err.splitlines()
    assert "No space left on device" in line
    assert "TMPDIR" in line
    assert net.env["FULL"] in line


def test_on_a_full_disk_a_worker_that_was_told_all_it_needs_is_listed_and_called(
    net: Net, full: list[str], redis_server: Redis
) -> None:
    net.env.update(HUBNET_REDIS_URL=redis_server.url, HUBNET_SECRET=new_token(os.urandom(32)))
    net.hub()
    (net.folder / "tasks.py").write_text(WORKER)
    worker = net.run(*full, sys.executable, "-c", ON_FULL_DISK, "worker", "tasks", HUBNET_GROUP="w")
    worker.wait_for("listening on")
    found = json.loads(net.cli("peers", "w", "--wait", "1", "--json").stdout)
    assert [record["state"] for record in found.values()] == ["open"]
    assert net.cli("call", "w", "double", "21").stdout == "42\n"
    assert worker.stop() == 0


def test_a_home_that_nobody_can_write_is_not_needed(net: Net) -> None:
    net.env["HOME"] = "/proc"
    net.hub()
    net.worker(WORKER, HUBNET_GROUP="w")
    net.cli("peers", "w", "--wait", "1")
    assert net.cli("call", "w", "double", "21").stdout == "42\n"


FEW_FILES = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
mine = []
def take_all_but(left):
    try:
        while True: mine.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        for _ in range(left): os.close(mine.pop())
def give_back():
    while mine: os.close(mine.pop())
"""
TAKES_ALL = """
import threading, time
on, took = True, 0
def take_all():
    global took
    while on:
        take_all_but(0)
        took += 1
        time.sleep(0.001)
taking = threading.Thread(target=take_all, daemon=True)
taking.start()
"""
HEARS = """
heard, gaps = [], []
@hubnet.subscribe("tick", on_gap=gaps.append)
def tick(n): heard.append(n)
"""
LINGERS = """
go = threading.Event()
@hubnet.connect("linger")
def linger(until, token):
    under_way.add(token)
    go.wait()
"""
TOLD_OF_FILES = "Too many open files, ulimit -n is 64"


@pytest.fixture
def storm_net(tmp_path: Path) -> Iterator[StormNet]:
    """A net around a Redis of its own."""
    made = StormNet(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("poor", ["caller", "served"])
def test_of_calls_at_once_with_64_open_files_each_is_answered_or_has_not_run_and_later_ones_are_answered(
    tmp_path: Path, poor: str
) -> None:
    net = StormNet(tmp_path)
    try:
        net.hub()
        served = net.peer(CHAIN + (FEW_FILES if poor == "served" else ""))
        caller = net.peer(CHAIN + (FEW_FILES if poor == "caller" else ""), group="callers", HUBNET_TIMEOUT="8")
        (peer_id,) = net.ids([served])
        _, outcomes = caller.ask(f"at_once({peer_id!r}, 100)", 60)
        assert len(outcomes) == 100
        assert all(told == token if kind == "answer" else told == "NO" for token, kind, told, _ in outcomes), outcomes
        assert eventually(lambda: caller.ask(f"outcome_of(lambda: nap(0, peer={peer_id!r}), 0)")[1] == "answer")
    finally:
        net.close()


def test_idle_links_make_room_for_a_peer_that_was_not_called_before(tmp_path: Path) -> None:
    """All files that may be open are idle links to one peer, which are kept for a minute; a second one is called at once."""
    net = StormNet(tmp_path)
    try:
        net.hub()
        served, second = net.peer(), net.peer()
        caller = net.peer(group="callers")
        known, unknown = net.ids([served, second])
        gate = net.gate()
        caller.run(f"begin(wait_at, {gate.path!r}, {known!r}, range(30))")
        eventually(lambda: len(served.ask("under_way")) == 30)
        gate.open()
        assert [kind for _, kind, _, _ in caller.ask("ended()", 60)] == ["answer"] * 30
        caller.run("import resource; used = len(os.listdir('/proc/self/fd')) - 1")
        assert caller.ask("hubnet.stats()['links.idle']") >= 30
        caller.run("resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))")
        assert caller.ask(f"outcome_of(lambda: nap(0, peer={unknown!r}), 0)")[1:3] == ("answer", second.pid)
    finally:
        net.close()


def test_a_hub_with_64_open_files_answers_whom_it_took_and_whom_it_did_not_and_both_learn_why(
    storm_net: StormNet,
) -> None:
    """Of twenty peers no more than four find a file there; all of them list at once, and each is answered."""
    net, begun = storm_net, time.monotonic()
    hub = net.hub(FEW_FILES)
    hub.run("take_all_but(12)")
    crowd = [net.actor(start=False, HUBNET_GROUP="w") for _ in range(20)]
    for one in crowd:
        one.send("run", "import hubnet\n" + PEER)
    for one in crowd:
        one.answer(60)
    told = "takes no further peer: it may open no more files (ulimit -n is 64 there)"
    eventually(lambda: all(one.ask("hubnet.stats().get('registered')") or told in one.said for one in crowd))
    before = net.records().keys()
    for one in crowd:
        one.send("ask", "set(hubnet.peers('w', refresh=True)['peers']) | {hubnet.Peer().id}")
    answers = [one.answer(60) for one in crowd]
    all_the_while = before & net.records().keys()
    assert 0 < len(all_the_while) < len(crowd)
    assert all(answer >= all_the_while for answer in answers)
    hub.run("give_back()")
    eventually(lambda: len(net.records()) == len(crowd))
    lines = [line for line in hub.said.splitlines() if TOLD_OF_FILES in line]
    assert 1 <= len(lines) <= 1 + (time.monotonic() - begun) // 10, hub.said


def test_who_asks_a_hub_that_accepts_nobody_learns_within_its_limit_that_it_may_be_out_of_files(
    storm_net: StormNet,
) -> None:
    hub = storm_net.hub(FEW_FILES)
    hub.run("resource.setrlimit(resource.RLIMIT_NOFILE, (3, 64))")  # what comes free is of no use either
    asker = storm_net.actor(HUBNET_GROUP="w", HUBNET_TIMEOUT="2")
    eventually(lambda: asker.ask("hubnet.Peer().id"), not_yet=Raised)
    with pytest.raises(Raised, match="may open no more files") as told:
        asker.ask("hubnet.peers(refresh=True)")
    assert told.value.kind == "NoHub"
    assert "secret" not in told.value.text
    assert eventually(lambda: "Too many open files, ulimit -n is 3" in hub.said)
    hub.run("resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))")
    eventually(lambda: asker.ask("hubnet.stats()['registered']"))
    assert asker.ask("len(hubnet.peers(refresh=True)['peers'])") == 1


def test_a_subscriber_with_64_open_files_says_what_keeps_it_from_redis_and_hears_again_when_it_has_one(
    storm_net: StormNet,
) -> None:
    """Redis ends its connection, and the application takes each file that comes free; what it missed is counted."""
    storm_net.hub()
    subscriber = storm_net.peer(FEW_FILES + HEARS)
    publisher = storm_net.peer("@hubnet.event('tick')\ndef tick(n): return (n,), {}\n")
    eventually(lambda: "tick" in storm_net.records()[subscriber.ask("hubnet.Peer().id")]["subscriptions"])
    publisher.run("tick(0)")
    eventually(lambda: subscriber.ask("heard") == [0])
    subscriber.run(TAKES_ALL)
    eventually(lambda: subscriber.ask("took"))
    storm_net.redis.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    publisher.run("tick(1)")
    eventually(
        lambda: "out of reach: [Errno 24] Too many open files; ulimit -n is 64: raise that limit" in subscriber.said
    )
    subscriber.run("on = False; taking.join(); give_back()")
    numbers = iter(range(2, 10_000))

    def hears() -> bool:
        publisher.run(f"tick({next(numbers)})")
        return bool(subscriber.ask("heard[-1] > 1"))

    eventually(hears)
    last = next(numbers) - 1
    eventually(lambda: subscriber.ask("heard[-1]") == last)
    heard, lost = subscriber.ask("(heard, sum(gap.lost for gap in gaps))")
    assert heard == sorted(set(heard))
    assert len(heard) + lost == last + 1
    assert "secret" not in subscriber.said


def test_idle_links_of_some_callers_make_room_for_others_and_running_calls_go_on(storm_net: StormNet) -> None:
    """A worker has files for eight links, and sixteen callers keep theirs after each call."""
    net = storm_net
    net.hub()
    worker = net.peer(FEW_FILES + LINGERS)
    (peer_id,) = net.ids([worker])
    worker.run("take_all_but(8)")
    long = net.peer(LINGERS, group="callers")
    long.run(f"begin(linger, None, {peer_id!r}, range(2))")
    eventually(lambda: worker.ask("len(under_way)") == 2)
    callers = net.crowd(16, group="callers", HUBNET_TIMEOUT="20")
    for _ in range(2):
        for one in callers:
            one.send("ask", f"outcome_of(lambda: nap(0, peer={peer_id!r}), 0)[1:3]")
        assert {one.answer(60) for one in callers} == {("answer", worker.pid)}
    worker.run("go.set()")
    assert [told[1] for told in long.ask("ended()")] == ["answer"] * 2
    assert TOLD_OF_FILES in worker.said
