"""Peers in poor places: a home that nobody can write, a disk that is full, few open files. They work, or say what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.storm.calls import CHAIN
from benchmarks.storm.nets import Redis, StormNet
from hubnet.core.keys import new_token
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


FEW_FILES = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"


@pytest.mark.parametrize("poor", ["caller", "served"])
def test_of_calls_at_once_with_64_open_files_each_is_answered_or_has_not_run_and_later_ones_are_answered(
    tmp_path: Path, poor: str
) -> None:
    net = StormNet(tmp_path)
    try:
        net.hub()
        served = net.peer(CHAIN + (FEW_FILES if poor == "served" else ""))
        caller = net.peer(CHAIN + (FEW_FILES if poor == "caller" else ""), group="callers", HUBNET_TIMEOUT="2")
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
