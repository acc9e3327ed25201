"""Counters: how often each thing happened to this peer, exact under threads; a signal handler may count as well."""

from __future__ import annotations

import threading


class Counters:
    """Named numbers that only grow."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._lock = threading.RLock()

    def add(self, what: str, number: int = 1) -> None:
        """Count."""
        with self._lock:
            self._numbers[what] = self._numbers.get(what, 0) + number

    def snapshot(self) -> dict[str, int]:
        """All numbers by name."""
        with self._lock:
            return dict(sorted(self._numbers.items()))
