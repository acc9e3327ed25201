"""Two minutes of storm in the suite: all of the long one, on real processes, with an eye on that it really happened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests import requirements_

from . import soak
from .run import Wish, run
from .schedule import KINDS

SEED = int(os.environ.get("HUBNET_CHAOS_SEED", "5"))
SECONDS = float(os.environ.get("HUBNET_CHAOS_SECONDS", "120"))


@pytest.mark.timeout(900)
def test_a_net_under_fire_keeps_its_promises(tmp_path: Path):
    requirements_.server_binary()
    wish = Wish(SEED, SECONDS, every=0.5, scale=0.5, threads=4, pace=0.05, lease=1.0, slack=8.0)
    report = run(wish, tmp_path)
    print(json.dumps(report.numbers, indent=1))
    assert report.findings == []
    numbers = report.numbers
    assert set(numbers["blows"]) == set(KINDS)
    assert numbers["killed"] >= 20
    assert numbers["calls"] >= 1000
    assert numbers["runs"] >= 1000
    assert numbers["heard"] >= 10_000
    assert numbers["durable, heard"] >= 2000
    assert numbers["lost and counted"] >= 10
    assert numbers["dropped by a full outbox"] >= 10
    assert numbers["left"] >= 10
    assert numbers["left, and had to be"] >= 1
    assert numbers["calls in peace"] >= 200
    assert numbers["NO"] + numbers["MAYBE"] >= 20


def test_a_soak_weighs_each_process_and_steers_its_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Not what memory did: that takes half an hour."""
    requirements_.server_binary()
    monkeypatch.setattr(soak, "_FULL_SPEED", 2.0)
    monkeypatch.setattr(soak, "_LOOK", 1.0)
    wish = Wish(SEED, 5.0, every=0.0, hubs=1, workers=2, callers=1, threads=2)
    numbers = soak.soak(wish, tmp_path, warm_up=1.0).numbers
    assert set(numbers["memory"]) == {"h1", "w1", "w2", "c1"}
    assert all(one["MiB"] > 5 for one in numbers["memory"].values())
    assert numbers["calls a second, full speed"] > 0
    assert numbers["in the soak"] > 0
