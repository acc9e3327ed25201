"""A hub's round, on a net in memory whose clock the test puts back: what it writes again, and what it leaves buried."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest

from hubnet import watch as watch_room
from hubnet.core import membership
from hubnet.core.identity import generate_id
from hubnet.core.membership import Seen
from hubnet.errors import BrokerUnavailable, ConfigError
from hubnet.registry import Snapshot
from hubnet.testing import LocalNet
from hubnet.watch import DIAL_BACK, Watch
from tests.waiting import eventually

LEASE = 600.0  # nobody renews by itself while the test lasts


def test_a_hub_that_was_stopped_does_not_write_again_whom_another_may_have_buried() -> None:
    """Neither who was last heard before the stop, nor in the middle of a round: until it is heard from again."""
    with LocalNet(lease=LEASE) as net:
        worker = net.peer(group="render")
        hub = net.hubs[0]._peer._parts.hub.keeper
        member, record = hub.watch.members[worker.id], hub.watch.members[worker.id].record
        member.heard = time.monotonic() - LEASE / 2 - 0.1
        assert hub._registry.withdraw(worker.id, record["incarnation"])
        hub._renew(float("-inf"), own=False, everyone=False)
        assert worker.id not in hub._registry.snapshot().records
        hub._grant_everyone(time.monotonic())  # as after a stop
        hub._renew(float("-inf"), own=False, everyone=True)
        assert worker.id not in hub._registry.snapshot().records
        member.heard = member.renewed = time.monotonic()
        eventually(lambda: worker.id in hub._registry.snapshot().records)


def test_a_hub_that_may_open_no_more_files_buries_nobody_whom_it_cannot_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*args: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with LocalNet(lease=LEASE) as net:
        worker = net.peer(group="render")
        watch = net.hubs[0]._peer._parts.hub.keeper.watch
        record = watch.members[worker.id].record
        assert watch.look(record) == (Seen.ALIVE, "")
        monkeypatch.setattr(watch._dialler, "_open", no_file)
        seen, why = watch.look(record)
        assert seen is Seen.SILENT
        assert "no more files may be open here" in why


@pytest.fixture
def crowd() -> Iterator[tuple[Watch, Snapshot]]:
    """A hub's eye, and a register with a thousand silent peers and as many leases of nobody."""
    with LocalNet(lease=LEASE) as net:
        watch = net.hubs[0]._peer._parts.hub.keeper.watch
        shown = watch._registry.snapshot()
        record = next(iter(shown.records.values()))
        ids = [generate_id(1 + number, "127.0.0.1") for number in range(2000)]
        records = {peer_id: {**record, "id": peer_id.decode()} for peer_id in ids[:1000]}
        yield watch, shown._replace(records=records, silent_for=dict.fromkeys(ids, 1e6))


def test_a_sweep_looks_at_no_more_than_its_share_at_once(
    crowd: tuple[Watch, Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, snapshot = crowd
    begun: list[Iterator[float]] = []
    withdrawn: list[bytes] = []
    monkeypatch.setattr(watch, "begin", begun.append)
    monkeypatch.setattr(watch._registry, "withdraw", lambda peer_id, *_, **__: withdrawn.append(peer_id))
    watch.sweep(snapshot)
    assert (len(begun), len(withdrawn)) == (256, 256)
    looked = set(watch._looking)
    watch._looking.clear()  # these have been looked at, and are as silent as before: the others come first
    watch.sweep(snapshot)
    assert len(begun) == 512
    assert not looked & watch._looking


def test_who_could_not_be_looked_at_for_want_of_a_thread_is_looked_at_later(
    crowd: tuple[Watch, Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, snapshot = crowd
    begun: list[Iterator[float]] = []

    def begin(steps: Iterator[float]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(watch._registry, "withdraw", lambda *_, **__: None)
    monkeypatch.setattr(watch, "begin", begin)
    watch.sweep(snapshot)
    monkeypatch.setattr(watch, "begin", begun.append)
    watch.sweep(snapshot)
    assert len(begun) == 256


def test_who_is_stopped_and_takes_no_more_links_is_silent_as_long_as_its_own_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each look waits in its backlog; once that is full its machine answers none of those that dial."""

    def no_answer(*args: object) -> None:
        raise TimeoutError("timed out")

    with LocalNet(lease=LEASE) as net:
        worker = net.peer(group="render")
        watch = net.hubs[0]._peer._parts.hub.keeper.watch
        member = watch.members[worker.id]
        monkeypatch.setattr(watch._dialler, "_open", no_answer)
        assert watch.look(member.record)[0] is Seen.SILENT
        net.pause(worker)  # or it has another link at once
        member.link.shutdown()
        eventually(lambda: watch.look(member.record)[0] is Seen.UNANSWERED)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_leases_are_given_anew_where_the_clock_of_the_register_was_set(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalNet(lease=LEASE, suspect=LEASE) as net:
        worker = net.peer(group="render")
        hub = net.hubs[0]._peer._parts.hub.keeper
        clock = hub._registry.clock
        hub._clock = clock._replace(ahead=clock.ahead - seconds)
        assert hub._follow_clock()
        assert not hub._follow_clock()
        assert worker.id in hub._registry.snapshot().records


def test_another_hub_has_time_for_its_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that is silent takes all of it, and that is what the one who asks has to hear."""
    with LocalNet(hubs=2, lease=LEASE) as net:
        worker = net.peer(group="render")
        first, other = (hub._peer._parts.hub.keeper.watch for hub in net.hubs)
        member = first.members.get(worker.id) or other.members[worker.id]
        net.pause(worker)
        monkeypatch.setattr(membership, "is_heard_from", lambda *_: False)
        asked = first.colleagues.ask(member.record, DIAL_BACK)
        eventually(lambda: next(asked.wait(), None) is None)
        assert asked.together_with(Seen.UNANSWERED) is Seen.SILENT


def test_whom_its_home_hears_lives_for_all_hubs_though_nobody_can_dial_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*args: object) -> None:
        raise TimeoutError("timed out")

    with LocalNet(hubs=2, lease=LEASE) as net:
        worker = net.peer(group="render")
        watches = [hub._peer._parts.hub.keeper.watch for hub in net.hubs]
        watches.sort(key=lambda one: worker.id not in one.members)  # its home first
        home, other = watches
        member = home.members[worker.id]
        monkeypatch.setattr(home._dialler, "_open", no_answer)
        assert home.look(member.record)[0] is not Seen.ALIVE
        assert home.hears(member.record)
        asked = other.colleagues.ask(member.record, DIAL_BACK)
        eventually(lambda: next(asked.wait(), None) is None)
        assert asked.together_with(Seen.UNANSWERED) is Seen.ALIVE
        monkeypatch.setattr(membership, "is_heard_from", lambda *_: False)
        assert not home.hears(member.record)


def test_a_silence_begins_with_the_look_that_found_it_and_ends_with_one_that_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with LocalNet(lease=LEASE) as net:
        watch = net.hubs[0]._peer._parts.hub.keeper.watch
        moment = [1000]
        monkeypatch.setattr(watch_room, "time", SimpleNamespace(monotonic=lambda: moment[0]))
        silences = []
        for seconds, seen in (
            (0, Seen.SILENT),
            (50, Seen.SILENT),
            (10, Seen.UNANSWERED),
            (10, Seen.SILENT),
            (5, Seen.SILENT),
        ):
            moment[0] += seconds
            silences.append(watch._silent_for(b"peer", seen))
        assert silences == [0, 50, 0, 0, 5]


def test_a_hub_whose_own_record_is_refused_answers_what_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may hold its id, which is no fault of the register's; only that is told at once to those who have no time."""
    with LocalNet(lease=LEASE) as net:
        net.peer(group="render")
        hub = net.hubs[0]._peer._parts.hub.keeper
        monkeypatch.setattr(hub, "_renew_and_look", mock.Mock(side_effect=ConfigError("another one holds the id")))
        hub.round()
        assert hub.trouble == ""
        monkeypatch.setattr(hub, "_renew_and_look", mock.Mock(side_effect=BrokerUnavailable("it stands still")))
        hub.round()
        assert hub.trouble == "it stands still"


def test_a_member_whose_id_another_one_has_taken_is_no_member_any_more_and_the_others_are_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else its lease would be given to the other's record, which would be listed long after that one has died."""
    with LocalNet(hubs=2, lease=LEASE) as net:
        workers = [net.peer(group="render") for _ in range(6)]
        hubs = [hub._peer._parts.hub.keeper for hub in net.hubs]
        hubs.sort(key=lambda hub: -len(hub.watch.members))
        (hub, other), homed = hubs, [worker.id for worker in workers if worker.id in hubs[0].watch.members]
        contested, *rest = homed
        assert rest
        mine = hub.watch.members[contested].record
        theirs = {**mine, "incarnation": "ab" * 16, "revision": mine["revision"] + 1}
        assert other._registry.write(contested, theirs, replaces=mine["incarnation"]).outcome == "written"
        monkeypatch.setattr(hub.watch, "look", lambda *_: (Seen.ALIVE, ""))
        asked: list[set[bytes]] = []
        renew = hub._registry.renew
        monkeypatch.setattr(
            hub._registry, "renew", lambda ids, *more, **also: (asked.append(set(ids)), renew(ids, *more, **also))[1]
        )
        for _ in range(2):
            hub._renew(0.0, own=False, everyone=True)
        assert [contested in ids for ids in asked] == [True, False]
        assert all(set(rest) <= ids for ids in asked)
        assert hub._registry.snapshot().records[contested]["incarnation"] == theirs["incarnation"]
        assert contested not in hub.watch.members
