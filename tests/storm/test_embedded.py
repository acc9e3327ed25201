"""The Redis that a hub started by itself stands still: whoever asks is told that, and where it is, and goes on when it does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import Net, Process, Raised
from tests.conftest import Net as Commands
from tests.waiting import eventually

pytestmark = [pytest.mark.embedded, pytest.mark.processes]

DOUBLE = "@hubnet.connect('double')\ndef double(n): return 2 * n\n"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """A net whose hub started a Redis of its own."""
    made = Net(tmp_path)
    yield made
    made.close()


class Server:
    """The embedded server of a net.

    Attributes:
        where: its host and port, for people.
    """

    def __init__(self, net: Net) -> None:
        (said,) = net.folder.glob("hubnet-*/broker.json")
        self.where = urlsplit(json.loads(said.read_text())["url"]).netloc.rpartition("@")[2]
        port = self.where.rpartition(":")[2].encode()
        (self._pid,) = (int(one.parent.name) for one in Path("/proc").glob("[0-9]*/cmdline") if _is_server(one, port))

    def stands_still(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        eventually(lambda: Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt")

    def goes_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


def _is_server(cmdline: Path, port: bytes) -> bool:
    try:
        words = cmdline.read_bytes()
    except OSError:  # it has ended
        return False
    return b"server" in words and b":" + port in words


def test_a_newcomer_and_a_member_are_told_which_redis_does_not_answer_and_who_started_it(net: Net) -> None:
    hub = net.hub()
    worker = net.worker(DOUBLE, HUBNET_GROUP="w")
    caller = net.worker(DOUBLE + "peer = hubnet.wait_for(1, 'w')[0]\ndouble(1, peer=peer)", HUBNET_TIMEOUT="4")
    server = Server(net)
    server.stands_still()
    newcomer = net.actor(HUBNET_TIMEOUT="4")
    eventually(lambda: "does not answer" in hub.said)
    try:
        for one in (newcomer, caller):
            with pytest.raises(Raised) as told:
                one.ask("hubnet.peers(refresh=True)")
            assert told.value.kind in {"NoHub", "BrokerUnavailable"}
            assert (
                f"the embedded server at {server.where}, which the hub with pid {hub.pid} started, does not answer"
                in (told.value.text)
            )
            assert "kill -CONT" in told.value.text
            assert "runs on this machine yet" not in told.value.text
            assert "HUBNET_REDIS_URL" not in told.value.text
        assert caller.ask("double(21, peer=peer)") == 42
    finally:
        server.goes_on()
    eventually(lambda: newcomer.ask("hubnet.stats().get('registered')"))
    pids = {hub.pid, worker.pid, caller.pid}
    eventually(lambda: {one["pid"] for one in newcomer.ask("hubnet.peers(refresh=True)")["peers"].values()} == pids)


@pytest.mark.parametrize("command", [["listen", "x"], ["emit", "x", "--timeout", "4"], ["peers", "--timeout", "4"]])
def test_a_command_says_so_in_one_line(net: Net, command: list[str]) -> None:
    hub = net.hub()
    assert isinstance(hub, Process)
    server = Server(net)
    server.stands_still()
    commands = Commands(net.folder)
    try:
        ended = commands.cli(*command, HUBNET_TIMEOUT="4")
    finally:
        server.goes_on()
    assert ended.returncode == 3
    assert f"the embedded server at {server.where}, which the hub with pid {hub.pid} started, does not" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
