"""A peer is asked to end while calls run: what ends within its grace is answered, and what does not is told to have begun."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from benchmarks.storm.nets import StormNet, harm
from benchmarks.storm.peers import _catches
from hubnet.peer import GRACE
from tests.waiting import eventually

pytestmark = pytest.mark.processes


def test_a_call_that_ends_within_the_grace_is_answered_and_one_that_does_not_may_have_run_and_then_the_peer_leaves(
    tmp_path: Path,
) -> None:
    net = StormNet(tmp_path)
    try:
        net.hub()
        listener, caller = net.listener(), net.peer(group="callers")
        worker = net.peer()
        (peer_id,) = net.ids([worker])
        worker.send("run", "hubnet.serve()")
        eventually(lambda: _catches(worker, signal.SIGTERM))
        soon, never = net.gate(), net.gate()
        caller.run(f"begin(wait_at, {soon.path!r}, {peer_id!r}, ['short'])")
        caller.run(f"begin(wait_at, {never.path!r}, {peer_id!r}, ['long', 'as long'])")
        eventually(lambda: caller.ask(f"hubnet.stats(peer={peer_id!r})['calls.running']") == 3)
        asked = harm(worker, signal.SIGTERM)
        eventually(lambda: net.records()[peer_id]["state"] == "draining")
        soon.open()
        eventually(lambda: caller.ask("len(outcomes)") == 1)
        assert net.there(peer_id)  # it waits for the others
        outcomes = {token: (kind, ran, at) for token, kind, ran, at in caller.ask("ended()", 60)}
        worker.answer()
        assert worker.leave() == 0
        assert outcomes["short"][:2] == ("answer", worker.pid)
        assert {outcomes[token][:2] for token in ("long", "as long")} == {("PeerLost", "MAYBE")}
        assert all(outcomes[token][2] - asked >= GRACE * 1e9 for token in ("long", "as long"))
        assert f"calls that still ran {GRACE:g} s after this peer was asked to end: 2;" in worker.said
        eventually(lambda: not net.there(peer_id))
        eventually(lambda: listener.ask("[what for what, who, _ in news if what == 'left']"))
        assert listener.ask(f"[what for what, who, _ in news if who == {peer_id!r}].count('left')") == 1
    finally:
        net.close()
