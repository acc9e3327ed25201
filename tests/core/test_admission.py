"""Admission: never over the cap, in order, and no job is ever lost or stuck, whatever happens in which order."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubnet.core.admission import DEEPEST, Admission
from hubnet.core.connections import Connection

CAP = 3


def connection(limit: int | None = None) -> Connection:
    return Connection("tag", print, limit=limit)


class Serving(RuleBasedStateMachine):
    """What a serving room does with it, against a plain account of all jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.admission: Admission[int] = Admission(CAP)
        self.connections = [connection(), connection(1), connection(2)]
        self.running: list[tuple[int, int, Connection]] = []
        self.waiting: list[tuple[int, int, Connection, float]] = []
        self.next_job = 0
        self.now = 0.0

    @rule(which=st.integers(0, 2), depth=st.sampled_from([0, 0, 0, 1, DEEPEST - 1]), patience=st.integers(1, 10))
    def arrive(self, which: int, depth: int, patience: int) -> None:
        one, job = self.connections[which], self.next_job
        self.next_job += 1
        if self.admission.enter(one, depth):
            self.running.append((job, depth, one))
        else:
            self.admission.wait(job, one, depth, self.now + patience)
            self.waiting.append((job, depth, one, self.now + patience))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        _, depth, one = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        ready = list(self.admission.leave(one, depth))
        started = []
        for job in ready:
            entry = next(entry for entry in self.waiting if entry[0] == job)
            self.waiting.remove(entry)
            started.append(entry)
            self.running.append(entry[:3])
        for job, level, which, _ in started:  # nobody of the same kind who came earlier still waits
            assert not any(other < job and at == level and kind is which for other, at, kind, _ in self.waiting)

    @rule(seconds=st.integers(0, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        late = self.admission.expire(self.now)
        assert sorted(late) == sorted(job for job, _, _, until in self.waiting if until <= self.now)
        self.waiting = [entry for entry in self.waiting if entry[3] > self.now]

    @invariant()
    def never_over_the_cap(self) -> None:
        for depth in range(DEEPEST):
            assert sum(1 for _, at, _ in self.running if at == depth) <= CAP
        for one in self.connections:
            count = sum(1 for _, _, which in self.running if which is one)
            assert one.running == count
            assert one.limit is None or count <= one.limit

    @invariant()
    def accounts_agree(self) -> None:
        assert self.admission.running == len(self.running)
        assert self.admission.queued == len(self.waiting)
        assert self.admission.next_expiry() == min((until for *_, until in self.waiting), default=None)

    @invariant()
    def nobody_waits_who_could_run(self) -> None:
        for _, depth, one, _ in self.waiting:
            full = sum(1 for _, at, _ in self.running if at == depth) >= CAP
            assert full or (one.limit is not None and one.running >= one.limit)

    def teardown(self) -> None:
        """All that run end: then all that wait have run."""
        for _ in range(len(self.running) + len(self.waiting)):
            if self.running:
                _, depth, one = self.running.pop(0)
                for job in self.admission.leave(one, depth):
                    entry = next(entry for entry in self.waiting if entry[0] == job)
                    self.waiting.remove(entry)
                    self.running.append(entry[:3])
        assert not self.waiting
        assert self.admission.queued == self.admission.running == 0


Serving.TestCase.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestServing = Serving.TestCase


def test_jobs_of_one_kind_run_in_the_order_in_which_they_came():
    admission: Admission[int] = Admission(1)
    one = connection()
    assert admission.enter(one, 0)
    for job in range(5):
        assert not admission.enter(one, 0)
        admission.wait(job, one, 0, 10.0)
    assert [list(admission.leave(one, 0)) for _ in range(6)] == [[0], [1], [2], [3], [4], []]


def test_a_full_connection_keeps_nobody_else_out():
    admission: Admission[str] = Admission(2)
    limited, free = connection(1), connection()
    assert admission.enter(limited, 0)
    assert not admission.enter(limited, 0)
    admission.wait("second", limited, 0, 10.0)
    assert admission.enter(free, 0)
    assert list(admission.leave(free, 0)) == []
    assert list(admission.leave(limited, 0)) == ["second"]


def test_a_newcomer_does_not_overtake_one_who_could_run():
    admission: Admission[str] = Admission(1)
    one, other = connection(), connection(1)
    assert admission.enter(one, 0)
    admission.wait("first", other, 0, 10.0)
    assert list(admission.leave(one, 0)) == ["first"]
    assert not admission.enter(one, 0)


def test_a_slot_of_a_limited_connection_freed_at_one_depth_serves_another():
    admission: Admission[str] = Admission(5)
    limited = connection(1)
    assert admission.enter(limited, 0)
    admission.wait("deeper", limited, 1, 10.0)
    assert list(admission.leave(limited, 0)) == ["deeper"]


def test_chains_of_calls_back_and_forth_never_deadlock():
    """A calls B calls A …, each peer with one slot: each depth has a slot of its own."""
    peers = [Admission[int](1), Admission[int](1)]
    one = connection()
    for depth in range(DEEPEST):
        assert peers[depth % 2].enter(one, depth)
    for depth in reversed(range(DEEPEST)):
        peers[depth % 2].leave(one, depth)
    assert peers[0].running == peers[1].running == 0


@pytest.mark.parametrize("now", [4.9, 5.0, 5.1])
def test_a_job_waits_until_its_instant(now):
    admission: Admission[str] = Admission(1)
    one = connection()
    admission.enter(one, 0)
    admission.wait("job", one, 0, 5.0)
    assert admission.next_expiry() == 5.0
    assert admission.expire(now) == (["job"] if now >= 5.0 else [])
    assert list(admission.leave(one, 0)) == ([] if now >= 5.0 else ["job"])
    assert admission.next_expiry() is None
