"""Redis dies and freezes, subscribers are slow or stopped: everything is heard or counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import brokers, events

from .outcomes import held

pytestmark = pytest.mark.processes


def test_redis_restarts_freezes_and_is_killed_thrice_and_nobody_but_the_counters_can_tell(tmp_path: Path) -> None:
    held("redis-lost", brokers.everything(tmp_path, size=2))


def test_subscribers_that_are_slow_or_stopped_harm_nobody_and_all_they_lose_is_counted(tmp_path: Path) -> None:
    held("slow-subscriber", events.slow(tmp_path, 1, count=250_000))
