"""Hubs are killed and stopped: nobody leaves a listing, and peers that know each other go on calling."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import hubs

from .outcomes import held

pytestmark = pytest.mark.processes


def test_when_their_hub_is_killed_its_peers_move_and_no_call_fails_and_no_listing_is_short(tmp_path: Path) -> None:
    held("hub-killed", hubs.killed(tmp_path, 1, size=6))


@pytest.mark.parametrize("many", [1, 2])
def test_while_a_hub_is_stopped_for_longer_than_a_lease_nobody_is_declared_gone(tmp_path: Path, many: int) -> None:
    held("hub-stopped", hubs.stopped(tmp_path, 1, seconds=2.5, lease=0.5, hubs=many, size=2))


def test_when_all_hubs_die_known_peers_are_called_who_asks_is_told_and_one_hub_gathers_all(tmp_path: Path) -> None:
    held("all-hubs-die", hubs.all_die(tmp_path, 1, size=2, away=0.3))
