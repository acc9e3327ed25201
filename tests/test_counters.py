"""Counters: exact, also where a signal's handler counts in the middle of counting."""

from __future__ import annotations

import signal
import sys
from itertools import count

import pytest

from hubnet.counters import Counters


@pytest.mark.parametrize("first", [False, True])
def test_what_a_signals_handler_counts_in_the_middle_of_counting_is_not_lost(first):
    """It comes at the first place of that at which Python looks for signals, at the second, and so on."""
    counters, raised = Counters(), []
    before = signal.signal(signal.SIGUSR1, lambda *_: counters.add("events"))
    try:
        for place in range(12):
            if not first:
                counters.add("events")
            places = count()

            def at_each(*_: object, place: int = place, places: count[int] = places) -> None:
                if next(places) == place:
                    raised.append(place)
                    signal.raise_signal(signal.SIGUSR1)

            sys.setprofile(at_each)
            counters.add("events")
            sys.setprofile(None)
            assert counters.snapshot()["events"] == 1 + len(raised) + (not first)
            counters._numbers.clear()
            raised.clear()
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGUSR1, before)
