"""Other hubs are asked for their look, side by side: what any of them sees counts, and none is waited for too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hubnet.colleagues import Asked
from hubnet.core import membership
from hubnet.core.membership import LOOK_APART, HubEntry, Seen
from hubnet.testing import LocalNet
from tests.waiting import eventually


@pytest.mark.parametrize("who", [1, 2])
def test_whom_one_of_several_hubs_reaches_is_seen_by_who_asks_them_all(
    who: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is the first to be asked or the last."""
    with LocalNet(hubs=3, lease=600.0) as net:
        worker = net.peer(group="render")
        watches = [hub._peer._parts.hub.keeper.watch for hub in net.hubs]
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
        watch = net.hubs[0]._peer._parts.hub.keeper.watch
        record = watch._registry.snapshot().records[worker.id]
        monkeypatch.setattr(watch.colleagues, "aside", aside)
        assert list(watch.colleagues.ask(record, LOOK_APART).wait()) == []


def test_of_many_hubs_three_are_asked_and_the_first_one_whatever_else_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A switch that dies takes hundreds of peers at once, and each question has a thread and a link."""
    with LocalNet(hubs=2, lease=600.0) as net:
        worker = net.peer(group="render")
        watch = net.hubs[0]._peer._parts.hub.keeper.watch
        record = watch._registry.snapshot().records[worker.id]
        under_way: list[Callable[[Seen | None], None]] = []
        hubs = [HubEntry(b"hub %d" % number, "10.0.0.1", number, bytes(16), 0.0) for number in range(9)]
        monkeypatch.setattr(watch._registry, "hubs", lambda: hubs)
        monkeypatch.setattr(watch.colleagues, "aside", lambda _, tell: under_way.append(tell))
        monkeypatch.setattr(watch.colleagues, "_further", threading.Semaphore(5))
        asked = [watch.colleagues.ask(record, 60.0) for _ in range(4)]
        assert len(under_way) == 4 + 5
        for tell in under_way:
            tell(Seen.UNANSWERED)
        assert all(list(one.wait()) == [] for one in asked)
        watch.colleagues.ask(record, 60.0)
        assert len(under_way) == 9 + 3  # there is room again


def test_a_hub_that_may_open_no_more_files_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its look found nothing out, and would outvote one that was refused."""
    with LocalNet(hubs=2, lease=600.0) as net:
        worker = net.peer(group="render")
        one, other = (hub._peer._parts.hub for hub in net.hubs)
        record = one._registry.snapshot().records[worker.id]
        monkeypatch.setattr(membership, "is_heard_from", lambda *_: False)
        monkeypatch.setattr(other.keeper.watch, "look", lambda *_: (Seen.SILENT, "no more files may be open here"))
        monkeypatch.setattr(other, "_has_room", lambda: False)
        asked = one.keeper.watch.colleagues.ask(record, LOOK_APART)
        eventually(lambda: next(asked.wait(), None) is None)
        assert asked.together_with(Seen.REFUSED) is Seen.REFUSED
