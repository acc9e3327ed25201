"""Workers: threads that wait for the descriptors of one room, all in one epoll.

A descriptor is armed for one event at a time (EPOLLONESHOT), so whichever worker the kernel wakes owns it until it is armed
again: no hand-over, and no thread for what is idle. Whoever begins something long makes sure first that another worker waits;
spare ones retire, and the last one of a closed room puts out the light.
"""

from __future__ import annotations

import select
import threading
import time
from typing import Protocol

from hubnet import machine
from hubnet.links.threads import begin

_SPARE_AFTER = 10.0
_MOST = 512
_ARMED = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT


class Room(Protocol):
    """What workers do."""

    def on_event(self, fd: int) -> None:
        """Something happened on a descriptor, which is the caller's now. Never raises."""

    def next_limit(self) -> float | None:
        """The instant (monotonic) at which something is to be looked after without an event."""

    def limits_passed(self) -> bool:
        """Look after it; whether any limits were set."""

    def dismantle(self) -> None:
        """Close what is left; nobody works here any more."""


class Workers:
    """The threads of one room.

    Attributes:
        waiting: how many wait for an event now.
        closed: they end after what they do now.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._epoll = select.epoll()
        self._nudge = machine.Nudge()
        self._epoll.register(self._nudge.fileno, _ARMED)
        self._lock = threading.Lock()
        self._threads = 0
        self._dark = False
        self.waiting = 0
        self.closed = False

    def start(self) -> bool:
        """Begin with one; whether there is any."""
        if not self._threads:
            self._spawn()
        return self._threads > 0

    def watch(self, fd: int) -> None:
        """Wait for a descriptor's first event as well."""
        self._epoll.register(fd, _ARMED)

    def arm(self, fd: int) -> None:
        """Wait for its next event."""
        try:
            self._epoll.modify(fd, _ARMED)
        except (OSError, ValueError):
            pass  # closed meanwhile

    def make_sure_another_waits(self) -> None:
        """The calling worker will be away for a while."""
        if self.waiting == 0 and self._threads < _MOST:
            self._spawn()

    @property
    def exhausted(self) -> bool:
        """Whether nobody waits, and no further one may be had."""
        return self.waiting == 0 and self._threads >= _MOST

    def nudge(self) -> None:
        """A limit was set: whoever waits must ask for the next one."""
        self._nudge.give()

    def close(self) -> None:
        """Let all go; the last one calls ``dismantle``."""
        with self._lock:
            self.closed = True
            if self._threads:
                self._nudge.give()
                return
        self._put_out_the_light()

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors without a word."""
        self._epoll.close()
        self._nudge.abandon()

    def _spawn(self) -> None:
        with self._lock:
            if self.closed:
                return
            self._threads += 1
        if begin(self._work, "hubnet-serve") is None:  # those that there are must do
            with self._lock:
                self._threads -= 1

    def _work(self) -> None:
        poll, on_event = self._epoll.poll, self._room.on_event
        try:
            while not self.closed:
                with self._lock:
                    self.waiting += 1
                patience = self._patience()
                events = poll(patience, 1)
                with self._lock:
                    self.waiting -= 1
                    spare = self.waiting > 0
                watched = 0 <= patience < _SPARE_AFTER and self._room.limits_passed()
                if events:
                    fd = events[0][0]
                    if fd == self._nudge.fileno:
                        self._hear_nudge()
                    else:
                        on_event(fd)
                elif spare and not watched:
                    return
        finally:
            with self._lock:
                self._threads -= 1
                last = self.closed and self._threads == 0
            if last:
                self._put_out_the_light()

    def _patience(self) -> float:
        """How long to wait for an event: until the next limit, or for ever. Spare workers retire."""
        limit = self._room.next_limit()
        if limit is not None:
            return max(0.0, limit - time.monotonic()) + 0.001
        return _SPARE_AFTER if self.waiting > 1 else -1

    def _hear_nudge(self) -> None:
        if not self.closed:  # otherwise it wakes them all, one after the other
            self._nudge.take()
        self.arm(self._nudge.fileno)

    def _put_out_the_light(self) -> None:
        with self._lock:
            if self._dark:
                return
            self._dark = True
        self._room.dismantle()
        self._epoll.close()
        self._nudge.close()
