"""Admission: which calls run now, which wait in order, and which are refused.

The cap holds per depth of nesting. A call made inside a call is one deeper, and a call at depth d waits only for slots of
depth d, whose holders wait only for d+1: so chains A→B→A… can never deadlock. Built-ins are not counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from hubnet.core.connections import Connection

DEEPEST = 16
Job = TypeVar("Job")


class _Waiting(Generic[Job]):
    """A job in the queue; compared by identity."""

    __slots__ = ("connection", "job", "until")

    def __init__(self, job: Job, connection: Connection, until: float) -> None:
        self.job = job
        self.connection = connection
        self.until = until


class Admission(Generic[Job]):
    """Slots per depth and per limited connection, with one queue in order of arrival for each depth.

    Not locked: the owner calls it under its own lock.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._running = [0] * DEEPEST
        self._waiting: list[deque[_Waiting[Job]]] = [deque() for _ in range(DEEPEST)]
        self.queued = 0

    def enter(self, connection: Connection, depth: int) -> bool:
        """Take a slot if there is one; False: wait, or refuse what is nested too deep."""
        if self._running[depth] >= self._cap or not self._below_limit(connection):
            return False
        if self._waiting[depth] and self._runnable(depth):
            return False  # others came first
        self._running[depth] += 1
        connection.running += 1
        return True

    def wait(self, job: Job, connection: Connection, depth: int, until: float) -> None:
        """Keep a job, in order, until it has a slot or `until` has passed."""
        self._waiting[depth].append(_Waiting(job, connection, until))
        self.queued += 1

    def leave(self, connection: Connection, depth: int) -> Sequence[Job]:
        """Give a slot back; returns the waiting jobs that have one now."""
        self._running[depth] -= 1
        connection.running -= 1
        return self._next_in_order() if self.queued else ()

    def _next_in_order(self) -> list[Job]:
        ready: list[Job] = []
        for depth in range(DEEPEST):
            while self._running[depth] < self._cap and (waiting := self._runnable(depth)):
                self._waiting[depth].remove(waiting)
                self.queued -= 1
                self._running[depth] += 1
                waiting.connection.running += 1
                ready.append(waiting.job)
        return ready

    def expire(self, now: float) -> list[Job]:
        """Take out and return the jobs that have waited too long."""
        late: list[Job] = []
        if self.queued:
            for level, queue in enumerate(self._waiting):
                late.extend(waiting.job for waiting in queue if waiting.until <= now)
                self._waiting[level] = deque(waiting for waiting in queue if waiting.until > now)
            self.queued -= len(late)
        return late

    def next_expiry(self) -> float | None:
        """When the first waiting job has waited too long, or None."""
        return (
            min((waiting.until for queue in self._waiting for waiting in queue), default=None) if self.queued else None
        )

    @property
    def running(self) -> int:
        """Calls that have a slot now."""
        return sum(self._running)

    def _runnable(self, depth: int) -> _Waiting[Job] | None:
        return next((waiting for waiting in self._waiting[depth] if self._below_limit(waiting.connection)), None)

    @staticmethod
    def _below_limit(connection: Connection) -> bool:
        return connection.limit is None or connection.running < connection.limit
