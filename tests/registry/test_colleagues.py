"""Other hubs are asked for their look, side by side: what any of them sees counts, and none is waited for too long."""

from __future__ import annotations

import time

import pytest

from hubnet.colleagues import Asked
from hubnet.core import membership
from hubnet.core.membership import LOOK_APART, Seen
from hubnet.testing import LocalNet
from tests.waiting import eventually


@pytest.mark.parametrize("who", [1, 2])
def test_whom_one_of_several_hubs_reaches_is_seen_by_who_asks_them_all(
    who: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is the first to be asked or the last."""
    with LocalNet(hubs=3, lease=600.0) as net:
        worker = net.peer(group="render")
        watches = [hub._peer._parts.hub._watch for hub in net.hubs]
        record = next(one.members[worker.id].record for one in watches if worker.id in one.members)
        monkeypatch.setattr(membership, "is_heard_from", lambda *_: False)  # so that its home has to dial it as well
        for number, hub in enumerate(net.hubs):
            if number != who:
                net.cut(hub, worker)
        assert watches[0].look(record, LOOK_APART)[0] in {Seen.UNANSWERED, Seen.SILENT}
        asked = watches[0].colleagues.ask(record, LOOK_APART)
        eventually(lambda: next(asked.wait(), None) is None)
        assert asked.together_with(Seen.UNANSWERED) is Seen.ALIVE


def test_all_answers_are_waited_for_but_who_lives_for_one_lives() -> None:
    asked = Asked(3, time.monotonic() + 60)
    assert next(asked.wait())
    asked.say(Seen.UNANSWERED)
    asked.say(None)
    assert next(asked.wait())
    assert asked.together_with(Seen.UNANSWERED) is Seen.UNANSWERED
    asked.say(Seen.REFUSED)
    assert list(asked.wait()) == []
    assert asked.together_with(Seen.UNANSWERED) is Seen.REFUSED
    early = Asked(3, time.monotonic() + 60)
    early.say(Seen.ALIVE)
    assert list(early.wait()) == []


def test_who_does_not_answer_is_not_waited_for_when_its_time_is_up() -> None:
    asked = Asked(2, time.monotonic())
    assert list(asked.wait()) == []
    asked.say(Seen.ALIVE)  # too late for that, and still what is so
    assert asked.together_with(Seen.UNANSWERED) is Seen.ALIVE


def test_a_hub_for_which_there_is_no_thread_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def aside(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with LocalNet(hubs=2, lease=600.0) as net:
        worker = net.peer(group="render")
        watch = net.hubs[0]._peer._parts.hub._watch
        record = watch._registry.snapshot().records[worker.id]
        monkeypatch.setattr(watch.colleagues, "aside", aside)
        assert list(watch.colleagues.ask(record, LOOK_APART).wait()) == []
