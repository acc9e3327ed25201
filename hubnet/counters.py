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
            if what not in self._numbers:
                self._numbers.setdefault(what, 0)
            self._numbers[what] += number  # no call between load and store: that would be a place for a signal

    def snapshot(self) -> dict[str, int]:
        """All numbers by name."""
        with self._lock:
            return dict(sorted(self._numbers.items()))
