"""Redis fails over, behind Sentinels and in a Cluster: the net follows, and no durable event is lost without being counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import failovers

from .outcomes import held

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("how", ["killed", "lagging", "frozen"])
def test_a_master_that_sentinels_follow_is_killed_and_its_replica_takes_its_place(tmp_path: Path, how: str) -> None:
    held("sentinel", failovers.sentinels(tmp_path, 2, how=how, size=2))


@pytest.mark.parametrize("how", ["killed", "lagging"])
def test_the_node_of_a_cluster_that_has_our_keys_is_killed_and_its_replica_takes_its_place(
    tmp_path: Path, how: str
) -> None:
    held("cluster", failovers.cluster(tmp_path, 2, how=how, size=2))
