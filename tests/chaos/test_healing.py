"""What the chaos run found, each as a small scene on its stage."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import requirements_
from tests.waiting import eventually

from .ledger import read_one
from .run import wait_until_born
from .schedule import Blow
from .stage import Stage


@pytest.fixture(params=[1])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """One hub or more, two workers of which the second is behind a relay, and somebody who lists."""
    requirements_.server_binary()
    wishes = {"seed": 1, "threads": 0, "pace": 1, "beats": 0}
    made = Stage(tmp_path, wishes, hubs=request.param, workers=2, callers=1, lease=2.0)
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


@pytest.mark.parametrize("stage", [2], indirect=True)
def test_a_hub_that_was_stopped_brings_back_nobody_whom_another_has_seen_leave(stage, tmp_path):
    def news(life: str) -> list[str]:
        return [line["news"] for line in read_one(tmp_path / "eye.jsonl") if line.get("id") == ids[life]]

    second_hub = stage.strike(Blow(0, "kill-hub", ("h2",), 0))
    stage.strike(Blow(0, "kill-worker", ("w1", "w2"), 0))()  # so they can register with the first hub alone
    wait_until_born(stage)
    ids = {actor.life: actor.ledger.find("born")["id"] for actor in stage.actors.values()}
    assert stage.ask_all("check", 40, ["caller"], there={peer_id: life for life, peer_id in ids.items()}) == []
    second_hub()
    wait_until_born(stage)
    gone, other = stage.actors["w1"].life, stage.actors["w2"].life
    go_on = stage.strike(Blow(0, "pause-hub", ("h1",), 0))
    before = len(news(gone))
    stage.kill("w1")
    eventually(lambda: "left" in news(gone)[before:], timeout=40)
    so_far = len(news(gone))
    go_on()
    stage.actors["w2"].signal(signal.SIGTERM)
    stage.see_off("w2", "stop")
    eventually(lambda: news(other)[-1:] == ["left"], timeout=30)
    assert news(gone)[so_far:] == []
