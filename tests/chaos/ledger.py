"""Ledgers: what each process saw, one line a fact, in a file of its own that only grows.

A line is handed to the kernel in one write as soon as the fact is there, so SIGKILL loses none. Times are CLOCK_MONOTONIC,
which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

Line = dict[str, Any]
"""One fact: ``t``, ``what``, ``life`` (whose ledger it stands in), and what the fact is about."""


CHATTY = frozenset({"call", "end", "ran", "done", "pub", "heard"})
"""What is said of each single call and event."""


class Ledger:
    """One process's own; any thread may write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **about: Any) -> None:
        """Note a fact, now."""
        line = json.dumps({"t": round(time.monotonic(), 6), "what": what, **about}, separators=(",", ":")) + "\n"
        os.write(self._file, line.encode())


class Tally(Ledger):
    """A ledger for long runs: of calls and events it notes how many there were, each few seconds."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._told = 0.0

    def write(self, what: str, **about: Any) -> None:
        if what not in CHATTY:
            super().write(what, **about)
            return
        with self._lock:
            self._counts[f"{what} {about['how']}" if what == "end" else what] += 1
            due = time.monotonic() - self._told > 2
            if due:
                self._told = time.monotonic()
                counts = dict(self._counts)
        if due:
            super().write("count", counts=counts)


def read(folder: Path) -> list[Line]:
    """All ledgers of a run: each in its own order, one after the other."""
    return [line for path in sorted(folder.glob("*.jsonl")) for line in read_one(path)]


def read_one(path: Path) -> list[Line]:
    """One ledger; its file's name is the life that wrote it."""
    return [{**json.loads(text), "life": path.stem} for text in path.read_text().splitlines()]
