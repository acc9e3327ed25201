"""A peer that is stopped is listed as suspect, and whatever picks a peer for its user picks another one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from benchmarks.storm.nets import StormNet
from tests.api.conftest import Raised
from tests.conftest import Net as Commands
from tests.waiting import eventually

pytestmark = pytest.mark.processes

PICKS = (
    "hubnet.peers('w')[0].id",
    "hubnet.peers('w', refresh=True)[0].id",
    "hubnet.peers(groups=['w', 'nobody'], on_host=True)[0].id",
    "next(iter(hubnet.peers('w')['peers']))",
    "hubnet.peers('w')['w'][0]",
    "hubnet.peers()['w'][0]",
    "hubnet.peer_group('w')[0].id",
    "hubnet.peer_group('w', on_host=True)[0].id",
    "hubnet.wait_for(1, 'w')[0].id",
)


def test_no_selector_picks_a_suspect_and_all_do_again_when_it_goes_on(tmp_path: Path) -> None:
    net = StormNet(tmp_path, HUBNET_LEASE="2")
    commands = Commands(tmp_path)
    commands.env |= net.env
    try:
        net.hub()
        made = [net.peer(), net.peer()]
        by_id = dict(zip(net.ids(made), made, strict=True))
        asker = net.peer(group="askers")
        state = "{one: said['state'] for one, said in hubnet.peers('w', refresh=True)['peers'].items()}"
        eventually(lambda: asker.ask(state) == dict.fromkeys(by_id, "open"))
        stopped, there = asker.ask(f"list({state})")  # in an order of the register's own
        first, second = by_id[stopped], by_id[there]
        first.signal(signal.SIGSTOP)
        eventually(lambda: asker.ask(state) == {there: "open", stopped: "suspect"})
        for pick in PICKS:  # what was listed before holds for a lease
            eventually(lambda pick=pick: asker.ask(pick) == there)
        assert asker.ask("[one.state for one in hubnet.peer_group('w')]") == ["open", "suspect"]
        with pytest.raises(Raised, match="NoPeer: 1 of 2 peers in w came"):
            asker.ask("hubnet.wait_for(2, 'w', timeout=0.3)")
        assert [commands.cli("call", "w", "nap", "0").stdout for _ in range(3)] == [f"{second.pid}\n"] * 3
        waited = json.loads(commands.cli("peers", "w", "--wait", "1", "--json").stdout)
        assert set(waited) == {there.decode()}
        listed = json.loads(commands.cli("peers", "w", "--json").stdout)
        assert {one: said["state"] for one, said in listed.items()} == {
            stopped.decode(): "suspect",
            there.decode(): "open",
        }
        second.kill()
        eventually(lambda: not net.there(there))
        none = commands.cli("call", "w", "nap", "0")
        assert none.returncode == 3
        assert "none of the 1 peers of group 'w' is open and reachable: suspect" in none.stderr
        first.signal(signal.SIGCONT)
        eventually(lambda: asker.ask(state) == {stopped: "open"})
        for pick in PICKS:
            eventually(lambda pick=pick: asker.ask(pick) == stopped)
    finally:
        net.close()
