"""Idle links to one peer, last in, first out."""

from __future__ import annotations

import time
import weakref
from collections import deque

from hubnet.links.link import Link

IDLE_LIMIT = 60.0
STALE_AFTER = 0.010
_now = time.monotonic


class Pool:
    """The links to one incarnation of a peer. The warmest is used first; the coldest are closed on the way.

    Attributes:
        idle: links that no call uses; the hot way of a call pops and appends here itself.
        kid: id of the key that its links came about under; of another one than the first, if one of them did.
    """

    def __init__(self, kid: bytes = b"") -> None:
        self.kid = kid
        self.idle: deque[Link] = deque()
        self.closed = False
        self._met: list[weakref.ref[Link]] = []

    def meet(self, link: Link) -> None:
        """A fresh link, in use until it is given."""
        self._met = [*self._open(), weakref.ref(link)]

    def _open(self) -> list[weakref.ref[Link]]:
        """The links that have not been closed, idle or in use."""
        return [one for one in self._met if (link := one()) is not None and not link.closed]

    def take(self) -> Link | None:
        """An idle link that has not ended, or None."""
        idle = self.idle
        while idle:
            try:
                link = idle.pop()
            except IndexError:  # another thread was faster
                return None
            if _now() - link.used < STALE_AFTER or not link.wait_readable(0):
                return link
            link.close()  # a bye, or the end: nothing else comes unasked
        return None

    def give(self, link: Link) -> None:
        """Put a link back after its exchange."""
        link.used = now = _now()
        idle = self.idle
        idle.append(link)
        if self.closed or (len(idle) > 1 and now - idle[0].used > IDLE_LIMIT):
            self.retire()

    def is_cold(self, now: float) -> bool:
        """Whether no call uses a link of it, nor has for a minute: the peer has gone, or is not called any more."""
        idle = self.idle.copy()  # in one step: other threads take and give meanwhile
        return len(self._open()) <= len(idle) and all(now - link.used > IDLE_LIMIT for link in idle)

    def retire(self) -> bool:
        """Close the coldest link; whether there was one."""
        try:
            coldest = self.idle.popleft()
        except IndexError:
            return False
        coldest.say_bye()
        coldest.close()
        return True

    def __len__(self) -> int:
        return len(self.idle)

    def close(self) -> None:
        """Say goodbye on every idle link; those in use follow when they come back."""
        self.closed = True
        while self.idle:
            self.retire()
