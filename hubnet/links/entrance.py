"""The entrance: accepts who comes to one listening socket, and rests for a moment when no more files may be open.

Whoever waits there would be reported again at once, so it is not armed while it rests; no thread sleeps over that. Its owner
arms it again as soon as a link has ended, or the moment is over.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from hubnet import files
from hubnet.files import Files
from hubnet.links.complaints import Complaints

_MOST = 16
_REST = (0.1, 1.0)
_TOLD_EVERY = 10.0
_log = logging.getLogger("hubnet")


class Entrance:
    """One listening socket.

    Args:
        listener: which is closed with this.
        kept_back: open files for those who come when no others are to be had.

    Attributes:
        rests_until: the instant (monotonic) at which to accept again; infinite while it does not rest.
    """

    def __init__(self, listener: socket.socket, kept_back: int) -> None:
        self._listener = listener
        self._files = Files(kept_back)
        self._told = Complaints(every=_TOLD_EVERY)
        self._rest = _REST[0]
        self.rests_until = float("inf")

    def accept(self) -> list[tuple[socket.socket, Any]]:
        """Some of those who wait, and their addresses; it may rest afterwards."""
        came: list[tuple[socket.socket, Any]] = []
        try:
            while len(came) < _MOST:
                came.append(self._listener.accept())
                self._rest = _REST[0]
        except BlockingIOError:
            pass  # nobody else waits
        except OSError as error:  # otherwise it broke off before it came in
            if files.none_left(error):
                self._tell(error)
                if not self._files.let_go():
                    self.rests_until = time.monotonic() + self._rest
                    self._rest = min(2 * self._rest, _REST[1])
        return came

    @property
    def rests(self) -> bool:
        """Whether nobody is to be accepted for now."""
        return self.rests_until < float("inf")

    def is_rested(self) -> None:
        """Accept again."""
        self.rests_until = float("inf")

    def has_files(self) -> bool:
        """Whether there are files for others than those for whom some are kept back."""
        return not self._files.are_scarce()

    def let_go(self) -> bool:
        """Somebody else here needs one of the files that are kept back; whether there were any."""
        return self._files.let_go()

    def _tell(self, error: OSError) -> None:
        host, port = self._listener.getsockname()[:2]
        why = f"{error.strerror}, {files.limit()}"
        what = f"no more links can be taken ({why}): raise that limit, or add hubs or workers"
        if said := self._told.about(f"{host}:{port}", what):
            _log.error("%s", said)

    def close(self) -> None:
        """Close the socket, and keep no files back."""
        self._listener.close()
        self._files.close()
