"""A storm on the compose net: every actor a container, Redis with its two users, cables that are pulled."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.harbour import Harbour, secret_in
from tests.chaos.run import Wish, run_on, wishes_of

from .conftest import SETTINGS, SIZE, Cluster, healed_again

SEED = int(os.environ.get("HUBNET_CHAOS_SEED", "3"))
SECONDS = float(os.environ.get("HUBNET_CHAOS_SECONDS", "120"))


@pytest.fixture
def without_peers(cluster: Cluster) -> Iterator[Cluster]:
    """The net's own peers are stopped meanwhile."""
    cluster.compose("stop", *(service for service in SIZE if service != "redis"))
    yield cluster
    healed_again(cluster)


@pytest.mark.timeout(900)
def test_a_net_of_containers_under_fire_keeps_its_promises(without_peers: Cluster, tmp_path: Path) -> None:
    net = without_peers
    wish = Wish(SEED, SECONDS, every=1.0, scale=0.5, threads=3, pace=0.05, beats=10.0, lease=2.0, slack=8.0)
    urls = {user: f"redis://{user}:{net.password(user)}@redis:6379/0" for user in ("hub", "worker")}
    stage = Harbour(
        tmp_path, wishes_of(wish), project=net.project, network=net.network("east"), image=f"hubnet:{SETTINGS['HUBNET_TAG']}",
        server=net.container("redis"), secret=secret_in(net.secrets), urls=urls, connect=lambda: net.redis(text=False),
        hubs=wish.hubs, workers=wish.workers, callers=wish.callers, lease=wish.lease,
    )  # fmt: skip
    report = run_on(stage, wish)
    print(json.dumps(report.numbers, indent=1))
    assert report.findings == []
    numbers = report.numbers
    assert set(numbers["blows"]) == set(Harbour.kinds)
    assert numbers["killed"] >= 5
    assert numbers["calls"] >= 500
    assert numbers["heard"] >= 1000
    assert numbers["durable, heard"] >= 500
    assert numbers["left"] >= 2
    assert numbers["left, and had to be"] >= 1
    assert numbers["calls in peace"] >= 100
    assert numbers["NO"] + numbers["MAYBE"] >= 5
