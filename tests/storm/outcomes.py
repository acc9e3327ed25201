"""What a row of benchmarks/storm showed, for tests: its outcomes alone. How long anything takes is measured there."""

from __future__ import annotations

from benchmarks.storm.__main__ import ROWS
from benchmarks.storm.samples import Trials


def held(row: str, trials: Trials) -> None:
    """All that the row promises was seen, and nothing of it was broken."""
    seen = list(trials)
    assert [sample for sample in seen if sample.broken] == []
    assert {sample.what for sample in seen} >= {promise.what for promise in ROWS[row].promises}
