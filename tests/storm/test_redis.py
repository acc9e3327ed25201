"""Redis dies and freezes, subscribers are slow or stopped: everything is heard or counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.storm import brokers, events
from benchmarks.storm.nets import StormNet
from benchmarks.storm.samples import Trials
from tests.waiting import eventually

from .outcomes import held

pytestmark = pytest.mark.processes


def test_redis_restarts_freezes_and_is_killed_thrice_and_nobody_but_the_counters_can_tell(tmp_path: Path) -> None:
    held("redis-lost", brokers.everything(tmp_path, size=2))


@pytest.mark.parametrize(
    ("row", "run"),
    [
        ("redis-restarted-durable", partial(brokers.durable, trials=3, kept=True)),
        ("redis-lost-durable", partial(brokers.durable, trials=3, kept=False)),
        ("redis-killed-thrice-durable", partial(brokers.durable_killed_thrice, trials=2)),
        ("redis-frozen-durable", partial(brokers.durable_frozen, trials=1, seconds=1.5)),
        ("redis-away-durable", partial(brokers.durable_away, trials=2, seconds=2.5)),
    ],
)
def test_durable_events_outlive_what_happens_to_redis_and_none_comes_twice(
    tmp_path: Path, row: str, run: Callable[..., Trials]
) -> None:
    held(row, run(tmp_path, size=2))


def test_a_redis_that_died_and_came_back_between_two_questions_is_told_all_again_however_long_leases_are(
    tmp_path: Path,
) -> None:
    net = StormNet(tmp_path, HUBNET_LEASE="600")
    try:
        net.hub()
        (peer_id,) = net.ids([net.peer()])
        eventually(lambda: net.there(peer_id))
        eventually(lambda: net.lease(peer_id) < 597.5)  # what came with its registration is over
        net.redis.kill()
        net.redis.start()
        eventually(lambda: net.there(peer_id) and net.records("None"))
    finally:
        net.close()


def test_subscribers_that_are_slow_or_stopped_harm_nobody_and_all_they_lose_is_counted(tmp_path: Path) -> None:
    held("slow-subscriber", events.slow(tmp_path, 1, count=250_000))
