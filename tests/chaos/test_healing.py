"""What the chaos run found, each as a small scene on its stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import requirements_
from tests.waiting import eventually

from .run import wait_until_born
from .schedule import Blow
from .stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A hub, two workers of which the second is behind a relay, and somebody who lists."""
    requirements_.server_binary()
    wishes = {"seed": 1, "threads": 0, "pace": 1, "beats": 0}
    made = Stage(tmp_path, wishes, hubs=1, workers=2, callers=1, lease=2.0)
    try:
        for part in made.parts:
            made.start(part.name)
        wait_until_born(made)
        yield made
    finally:
        made.close()


def test_a_peer_that_registered_while_others_were_cut_off_from_it_is_reachable_once_that_has_healed(stage, tmp_path):
    heal = stage.strike(Blow(0, "freeze", ("w2",), 0))
    restart = stage.strike(Blow(0, "kill-hub", ("h1",), 0))
    assert heal
    assert restart
    restart()
    eventually(lambda: "others cannot reach this peer" in (tmp_path / "w2.log").read_text())
    heal()
    wait_until_born(stage)
    there = {actor.ledger.find("born")["id"]: actor.life for actor in stage.actors.values()}
    assert stage.ask_all("check", 40, ["caller"], there=there) == []
    caller = stage.actors["c1"]
    wanted = {peer_id: "open" for peer_id, life in there.items() if life != caller.life}
    assert caller.ledger.find("listing")["listed"] == wanted
