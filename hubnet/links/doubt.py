"""Doubt: whether the process at the other end of a long call still does anything, while the link itself stands.

A process that is stopped keeps its links, for its kernel answers in its place. So whoever waits for long dials the peer now and
then: one that shakes no hands for as long as the net bears a silent peer, its lease and HUBNET_SUSPECT, is given up here as well.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hubnet.core.handshake import Self
from hubnet.errors import HubnetError
from hubnet.links.dial import HANDSHAKE_LIMIT, SILENT, UNANSWERED, Dialler, Unreachable

if TYPE_CHECKING:
    from hubnet.links.link import Link

_LOOKS = 8
_SHORTEST = 1.0


class Doubt:
    """What is thought of the other end of one link while a call waits on it; asked each time that nothing has come."""

    def __init__(self, dialler: Dialler, host: str, port: int, wanted: Self, most: float) -> None:
        """Trust it at first.

        Args:
            dialler: dials it now and then.
            host, port: where it listens.
            wanted: who has to answer.
            most: seconds for which it may shake no hands.
        """
        self._dialler = dialler
        self._where = host, port
        self._wanted = wanted
        self._most = most
        self._every = max(_SHORTEST, most / _LOOKS)
        self._next = 0.0
        self._silent_since: float | None = None

    def __call__(self, link: Link) -> str:
        """Why not to wait any longer, or ""."""
        begun = time.monotonic()
        if link.stalls <= 1:  # another wait, or something has come meanwhile
            self._next, self._silent_since = begun + self._every, None
        if begun < self._next:
            return ""
        if self._shakes_hands():
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = begun
        now = time.monotonic()
        self._next = now + self._every
        if self._silent_since is None or now - self._silent_since < self._most:
            return ""
        return (
            f"its process has been silent for {self._most:.0f} s, stopped or held by C code; "
            "raise HUBNET_SUSPECT where calls may be silent for longer"
        )

    def _shakes_hands(self) -> bool:
        """Whether its process answers a dial, or its machine says why it does not."""
        try:
            link = self._dialler.dial(*self._where, self._wanted, time.monotonic() + HANDSHAKE_LIMIT)
        except Unreachable as error:
            return error.how not in {SILENT, UNANSWERED}  # those that look may have filled its backlog
        except HubnetError:
            return True
        link.say_bye()
        link.close()
        return True
