"""Rows about the network: machines vanish, cables are cut one way or both, packets are lost, a reader pauses, clocks are set.

Each process runs on a machine of its own, a network namespace; what is done to it is in tests/networks/faults.py, where the tests
have it from as well. It takes root. One farm serves all trials of a row, for each of them mends what it broke.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.storm.samples import Sample, Trials
from tests.networks import faults
from tests.networks.farm import Farm, Seen
from tests.networks.faults import Fault
from tests.networks.machines import machines

HOUR = 3600
LEASE = 2.0  # where clocks are set: three of them are waited for


def broken_by(fault: Fault, folder: Path, trials: int) -> Trials:
    """One thing breaks and is mended, again and again."""
    with machines(folder, quiet=True) as net:
        farm = Farm(net)
        for trial in range(trials):
            yield from shown(trial, fault(farm))


def clock_set(place: str, ahead: int, folder: Path, trials: int) -> Trials:
    """The clock of one machine jumps by so many seconds, and back again."""
    with machines(folder, clocks=True, quiet=True) as net:
        farm = Farm(net, HUBNET_LEASE=f"{LEASE:g}")
        for trial in range(trials):
            yield from shown(trial, faults.clock(farm, place, ahead, seconds=3 * LEASE))


def shown(trial: int, seen: Seen) -> Iterator[Sample]:
    """A sample of each thing that was seen, whether or not it has a time."""
    for what in {**seen.times, **seen.broken}:
        yield Sample(trial, what, seen.times.get(what), seen.broken.get(what, ""))
