"""Words of a process that is no more come late, when another one has its address: they say nothing of that one.

The old one's hub stands still while it says goodbye and ends, while the new one registers with another hub, and goes on then: it
reads the goodbye, and sees the end of a link, of somebody whose place is taken.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.storm.hubs import new_hub
from benchmarks.storm.nets import StormNet
from tests.api.conftest import Process
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.processes
NOTING = """
hub, withdrawn = hubnet.Peer().ready().hub, []
def noting(peer_id, incarnation, *, real=hub._registry.withdraw, **more):
    withdrawn.append((peer_id, incarnation, real(peer_id, incarnation, **more)))
    return withdrawn[-1][2]
hub._registry.withdraw = noting
"""


@pytest.fixture
def net(tmp_path: Path) -> Iterator[StormNet]:
    made = StormNet(tmp_path)
    yield made
    made.close()


def _home_of(net: StormNet, hubs: dict[bytes, Process], peer_id: bytes) -> Process:
    return hubs[str(net.records()[peer_id]["home"]).encode()]


@pytest.mark.parametrize("how", ["says goodbye", "is killed"])
def test_what_is_heard_late_of_an_old_process_removes_nothing_of_the_one_on_its_address(
    net: StormNet, how: str
) -> None:
    hubs = {net.ids([hub])[0]: hub for hub in (new_hub(net), new_hub(net))}
    listener = net.listener()
    port = str(free_port())
    old = net.peer(HUBNET_PORT=port)
    (peer_id,) = net.ids([old])
    before = net.records()[peer_id]["incarnation"]
    home = _home_of(net, hubs, peer_id)
    home.run(NOTING)
    home.signal(signal.SIGSTOP)
    eventually(lambda: home.rests)
    if how == "is killed":
        old.kill()
    else:
        old.leave()
    new = net.peer(HUBNET_PORT=port)
    assert net.ids([new]) == [peer_id]
    stands = net.records()[peer_id]
    assert stands["pid"] == new.pid
    assert stands["incarnation"] != before
    home.signal(signal.SIGCONT)
    eventually(lambda: home.ask(f"{peer_id!r} not in hub.keeper.watch.members"))
    wanted = (
        [(peer_id, before, False)] if how == "says goodbye" else []
    )  # a hub that sees a new one there leaves it at that
    eventually(lambda: home.ask("withdrawn") == wanted)
    assert net.records()[peer_id]["incarnation"] == stands["incarnation"]  # it may have registered anew by itself
    eventually(lambda: net.lease(peer_id) > 8)  # it is renewed as anybody is
    assert [what for what, who, _ in listener.ask("news") if who == peer_id and what == "left"] == []
    caller = net.peer(group="callers")
    assert caller.ask(f"nap(0, peer={peer_id!r})") == new.pid
