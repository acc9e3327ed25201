"""A peer's container is killed: who waits for it is told, all learn that it is gone, and another one takes its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.storm import containers
from tests.networks import faults
from tests.networks.faults import Fault
from tests.storm.outcomes import held

from .conftest import SETTINGS, Cluster


@pytest.mark.parametrize(
    ("row", "fault"),
    [("container-killed", faults.vanish_idle), ("container-killed-in-flight", containers.in_flight)],
    ids=["idle", "in flight"],
)
def test_a_peer_whose_container_is_killed_is_lost_and_gone_and_followed(
    cluster: Cluster, tmp_path: Path, row: str, fault: Fault
) -> None:
    assert cluster.healthy()  # which made the image
    held(row, containers.killed(fault, tmp_path, 2, image=f"hubnet:{SETTINGS['HUBNET_TAG']}"))
