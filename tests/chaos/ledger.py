"""Ledgers: what each process saw, one line a fact, in a file of its own that only grows.

A line is handed to the kernel in one write as soon as the fact is there, so SIGKILL loses none. Times are CLOCK_MONOTONIC,
which all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Line = dict[str, Any]
"""One fact: ``t``, ``what``, ``life`` (whose ledger it stands in), and what the fact is about."""


class Ledger:
    """One process's own; any thread may write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, what: str, **about: Any) -> None:
        """Note a fact, now."""
        line = json.dumps({"t": round(time.monotonic(), 6), "what": what, **about}, separators=(",", ":")) + "\n"
        os.write(self._file, line.encode())


def read(folder: Path) -> list[Line]:
    """All ledgers of a run: each in its own order, one after the other."""
    return [line for path in sorted(folder.glob("*.jsonl")) for line in read_one(path)]


def read_one(path: Path) -> list[Line]:
    """One ledger; its file's name is the life that wrote it."""
    return [{**json.loads(text), "life": path.stem} for text in path.read_text().splitlines()]
