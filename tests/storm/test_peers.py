"""Peers crash, stand still, are restarted and asked to leave, and call each other in crowds: what becomes of their calls."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.storm import calls, peers
from benchmarks.storm.nets import StormNet
from tests.api.witness import id_of
from tests.waiting import eventually

from .outcomes import held

pytestmark = pytest.mark.processes


def test_a_killed_peers_calls_are_lost_and_its_death_is_told_once(tmp_path: Path) -> None:
    held("peer-killed", peers.killed(tmp_path, 1))


def test_a_stopped_peer_is_suspect_and_picked_by_nobody_and_its_running_call_ends_later(tmp_path: Path) -> None:
    held("peer-stopped", peers.stopped(tmp_path, 1, lease=0.5))


def test_a_peer_whose_interpreter_is_held_by_c_code_is_suspect_and_its_call_is_answered(tmp_path: Path) -> None:
    held("peer-held", peers.stopped(tmp_path, 1, how="hold", lease=0.5))


def test_a_peer_that_is_stopped_for_good_is_gone_after_the_time_for_suspects_and_not_before(tmp_path: Path) -> None:
    held("peer-stopped-for-good", peers.stopped_for_good(tmp_path, 1, lease=0.5, suspect=1.0))


SLEEPS = """
import time
@hubnet.connect("work")
def work(seconds):
    time.sleep(seconds)
    return "done"
"""
CALLS = """
work = hubnet.connect("work")(lambda seconds: None)
def outcome(seconds, peer, timeout=None):
    try:
        return work(seconds, peer=peer, timeout=timeout)
    except hubnet.HubnetError as error:
        return type(error).__name__, error.ran, str(error)
"""


def test_a_call_without_a_deadline_ends_when_its_peer_is_silent_for_as_long_as_the_net_bears(tmp_path: Path) -> None:
    """Its machine keeps the link of a stopped process, and answers for it."""
    with closing(StormNet(tmp_path, HUBNET_LEASE="0.5", HUBNET_SUSPECT="2")) as net:
        net.hub()
        worker, caller = net.worker(SLEEPS), net.worker(CALLS)
        caller.send("ask", f"outcome(60, {id_of(worker)!r})")
        eventually(lambda: worker.ask("hubnet.stats()['calls.running']") == 1)
        worker.signal(signal.SIGSTOP)
        try:
            how, ran, text = caller.answer(60)
        finally:
            worker.signal(signal.SIGCONT)
        assert (how, ran) == ("PeerLost", "MAYBE")
        assert "silent for 2 s" in text
        assert "HUBNET_SUSPECT" in text


def test_a_call_with_a_deadline_waits_for_that_and_no_longer_whatever_is_thought_of_its_peer(tmp_path: Path) -> None:
    with closing(StormNet(tmp_path, HUBNET_LEASE="0.5", HUBNET_SUSPECT="0.5")) as net:
        net.hub()
        worker, caller = net.worker(SLEEPS), net.worker(CALLS)
        caller.send("ask", f"outcome(60, {id_of(worker)!r}, 7)")
        eventually(lambda: worker.ask("hubnet.stats()['calls.running']") == 1)
        worker.signal(signal.SIGSTOP)
        try:
            how, ran, _ = caller.answer(60)
        finally:
            worker.signal(signal.SIGCONT)
        assert (how, ran) == ("CallTimeout", "MAYBE")


def test_a_call_that_runs_for_longer_than_the_net_bears_silence_is_answered_by_a_peer_that_is_not_silent(
    tmp_path: Path,
) -> None:
    with closing(StormNet(tmp_path, HUBNET_LEASE="0.5", HUBNET_SUSPECT="1")) as net:
        net.hub()
        worker, caller = net.worker(SLEEPS), net.worker(CALLS)
        assert caller.ask(f"outcome(8, {id_of(worker)!r})", 60) == "done"


def test_of_a_stream_of_calls_to_a_peer_that_restarts_on_its_address_none_runs_twice(tmp_path: Path) -> None:
    held("peer-restarted", peers.restarted(tmp_path, 1))


def test_a_peer_that_is_asked_to_end_drains_in_sight_of_all_and_new_calls_go_elsewhere(tmp_path: Path) -> None:
    held("peer-terminated", peers.terminated(tmp_path, 1))


def test_chains_of_calls_between_two_full_peers_are_all_answered(tmp_path: Path) -> None:
    held("chains", calls.chains(tmp_path, 1))


def test_two_hundred_threads_that_call_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    held("threads", calls.threads(tmp_path, 1))
