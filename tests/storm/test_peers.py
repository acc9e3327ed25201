"""Peers crash, stand still, are restarted and asked to leave, and call each other in crowds: what becomes of their calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import calls, peers

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


def test_of_a_stream_of_calls_to_a_peer_that_restarts_on_its_address_none_runs_twice(tmp_path: Path) -> None:
    held("peer-restarted", peers.restarted(tmp_path, 1))


def test_a_peer_that_is_asked_to_end_drains_in_sight_of_all_and_new_calls_go_elsewhere(tmp_path: Path) -> None:
    held("peer-terminated", peers.terminated(tmp_path, 1))


def test_chains_of_calls_between_two_full_peers_are_all_answered(tmp_path: Path) -> None:
    held("chains", calls.chains(tmp_path, 1))


def test_two_hundred_threads_that_call_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    held("threads", calls.threads(tmp_path, 1))
