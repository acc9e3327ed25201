"""The rows of benchmarks/storm, a trial or two of each, for their outcomes: who is listed, which error, what ran, what counts.

How long anything takes is measured there and is no matter here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks.storm import brokers, calls, events, hubs, peers
from benchmarks.storm.__main__ import ROWS
from benchmarks.storm.samples import Sample

pytestmark = pytest.mark.processes


def held(samples: Iterable[Sample], *whats: str) -> None:
    """All that these rows promise was seen, and nothing of it was broken."""
    seen = list(samples)
    assert [sample for sample in seen if sample.broken] == []
    assert {sample.what for sample in seen} >= set(whats)


def of(row: str) -> list[str]:
    """What a row of the page promises."""
    return [promise.what for promise in ROWS[row].promises]


def test_a_killed_peers_calls_are_lost_and_its_death_is_told_once(tmp_path: Path) -> None:
    held(peers.killed(tmp_path, 2), *of("peer-killed"))


def test_a_stopped_peer_is_suspect_and_picked_by_nobody_and_its_running_call_ends_later(tmp_path: Path) -> None:
    held(peers.stopped(tmp_path, 1, lease=1.0), *of("peer-stopped"))


def test_a_peer_whose_interpreter_is_held_by_c_code_is_suspect_and_its_call_is_answered(tmp_path: Path) -> None:
    held(peers.stopped(tmp_path, 1, how="hold", lease=1.0), *of("peer-held"))


def test_a_peer_that_is_stopped_for_good_is_gone_after_the_time_for_suspects_and_not_before(tmp_path: Path) -> None:
    held(peers.stopped_for_good(tmp_path, 1, lease=0.5, suspect=1.0), *of("peer-stopped-for-good"))


def test_of_a_stream_of_calls_to_a_peer_that_restarts_on_its_address_none_runs_twice(tmp_path: Path) -> None:
    held(peers.restarted(tmp_path, 2), *of("peer-restarted"))


def test_a_peer_that_is_asked_to_end_drains_in_sight_of_all_and_new_calls_go_elsewhere(tmp_path: Path) -> None:
    held(peers.terminated(tmp_path, 1), *of("peer-terminated"))


def test_when_their_hub_is_killed_its_peers_move_and_no_call_fails_and_no_listing_is_short(tmp_path: Path) -> None:
    held(hubs.killed(tmp_path, 2, size=8), *of("hub-killed"))


@pytest.mark.parametrize("many", [1, 2])
def test_while_a_hub_is_stopped_for_longer_than_a_lease_nobody_is_declared_gone(tmp_path: Path, many: int) -> None:
    held(hubs.stopped(tmp_path, 1, seconds=2.5, lease=1.0, hubs=many, size=4), "nobody gone")


def test_when_all_hubs_die_known_peers_are_called_who_asks_is_told_and_one_hub_gathers_all(tmp_path: Path) -> None:
    held(hubs.all_die(tmp_path, 1, size=4, away=0.3), *of("all-hubs-die"))


def test_redis_restarts_freezes_and_is_killed_thrice_and_nobody_but_the_counters_can_tell(tmp_path: Path) -> None:
    held(brokers.everything(tmp_path, size=3), *of("redis-lost"))


def test_chains_of_calls_between_two_full_peers_are_all_answered(tmp_path: Path) -> None:
    held(calls.chains(tmp_path, 2), *of("chains"))


def test_two_hundred_threads_that_call_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    held(calls.threads(tmp_path, 1), *of("threads"))


def test_subscribers_that_are_slow_or_stopped_harm_nobody_and_all_they_lose_is_counted(tmp_path: Path) -> None:
    held(events.slow(tmp_path, 1, count=250_000), *of("slow-subscriber"))
