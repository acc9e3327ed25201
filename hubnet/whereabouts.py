"""Where peers are, as this one was told last, which goes on to serve while no hub can be asked.

Peers come and go, and whoever never lists is told of no end: so beyond a thousand, what was told long ago and served no call
of late is forgotten. Whoever calls such a peer once more asks a hub.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hubnet.core.membership import Record
from hubnet.core.recent import one_copy
from hubnet.links.calling import Endpoint

FRIENDLY = ("group", "host", "port", "hub", "executable", "user")
FEW = 1000
LONG_AGO = 3600.0
"""Seconds since a hub, or the peer itself, told of it."""


class Whereabouts:
    """What is known, in the order in which it was told.

    Args:
        in_use: whether there are links to a peer.
        now: a clock that only goes forward, in seconds.
    """

    def __init__(self, in_use: Callable[[bytes], bool], now: Callable[[], float] = time.monotonic) -> None:
        self._in_use = in_use
        self._now = now
        self._lock = threading.Lock()
        self._told: dict[bytes, tuple[Endpoint, float]] = {}

    def __len__(self) -> int:
        return len(self._told)

    def get(self, peer_id: bytes) -> Endpoint | None:
        """Where a peer is; None: nobody told."""
        told = self._told.get(peer_id)
        if told is None:
            with self._lock:  # it may be about to be told once more
                told = self._told.get(peer_id)
        return told[0] if told else None

    def keep(self, endpoint: Endpoint) -> None:
        """A peer is there, as of now."""
        with self._lock:
            now = self._now()
            self._put(endpoint, now)
            self._forget(now)

    def drop(self, peer_id: bytes) -> Endpoint | None:
        """It is there no more; where it was."""
        with self._lock:
            told = self._told.pop(peer_id, None)
            return told[0] if told else None

    def _put(self, endpoint: Endpoint, at: float) -> None:
        self._told.pop(endpoint.peer_id, None)
        self._told[endpoint.peer_id] = endpoint, at

    def _forget(self, now: float) -> None:
        """Let the oldest go; whoever has links to it will need it as soon as they end."""
        while len(self._told) > FEW:
            endpoint, at = next(iter(self._told.values()))
            if now - at < LONG_AGO:
                return
            if self._in_use(endpoint.peer_id):
                self._put(endpoint, now)
            else:
                del self._told[endpoint.peer_id]


def endpoint_of(peer_id: bytes, record: Record) -> Endpoint:
    """Where a record says that its peer is."""
    friendly = {name: one_copy(it) if type(it := record[name]) is str else it for name in FRIENDLY}
    return Endpoint(peer_id, bytes.fromhex(record["incarnation"]), record["host"], record["port"], friendly)
