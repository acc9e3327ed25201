"""Idle links to one peer, last in, first out."""

from __future__ import annotations

import time
from collections import deque

from hubnet.links.link import Link

_IDLE_LIMIT = 60.0


class Pool:
    """The links to one incarnation of a peer. The warmest is used first; the coldest are closed on the way."""

    def __init__(self) -> None:
        self._idle: deque[Link] = deque()
        self._closed = False

    def take(self) -> Link | None:
        """An idle link that has not ended, or None."""
        while self._idle:
            try:
                link = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if not link.stale():
                return link
            link.close()
        return None

    def give(self, link: Link) -> None:
        """Put a link back after its exchange."""
        link.used = now = time.monotonic()
        if self._closed:
            link.say_bye()
            link.close()
            return
        self._idle.append(link)
        if len(self._idle) > 1 and now - self._idle[0].used > _IDLE_LIMIT:
            self._retire()

    def _retire(self) -> None:
        try:
            coldest = self._idle.popleft()
        except IndexError:
            return
        coldest.say_bye()
        coldest.close()

    def __len__(self) -> int:
        return len(self._idle)

    def close(self) -> None:
        """Say goodbye on every idle link; those in use follow when they come back."""
        self._closed = True
        while self._idle:
            self._retire()
