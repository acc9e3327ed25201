"""A gate that all calls of a process go through: while it is shut none is under way, and it can be opened again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Open at first; any thread may go through."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = True
        self._inside = 0

    @contextmanager
    def through(self) -> Iterator[None]:
        """Be inside meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._open)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait until nobody is inside."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: not self._inside)

    def open(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._open = True
            self._changed.notify_all()
