"""Network faults, measured: ``python -m benchmarks.storm_network ROW --trials N`` (root; Linux network namespaces).

Each trial breaks one thing and mends it again; an observer on a machine of its own notes when it saw what. Raw samples are
appended to ``docs/reliability/ROW.jsonl``, one line each with the load average beside it; ``--summary`` prints the percentiles
of what stands there. What the rows do is in ``tests/networks/faults.py``, where the tests have them from as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.networks import faults
from tests.networks.faults import Farm, Fault, Seen
from tests.networks.machines import machines

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reliability"
HOUR = 3600
LEASE = 2.0


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        fault: breaks it, once.
        limits: seconds that are promised, by what is seen.
        clocks: whether machines have clocks of their own; the lease is short then.
    """

    fault: Fault
    limits: dict[str, float]
    clocks: bool = False


def _clock(place: str, ahead: int) -> Row:
    return Row(lambda farm: faults.clock(farm, place, ahead, seconds=3 * LEASE), {}, clocks=True)


ROWS: dict[str, Row] = {
    "vanish-idle": Row(faults.vanish_idle, {"PeerLost": 4.0, "gone": 5.0}),
    "vanish-in-flight": Row(faults.vanish_in_flight, {"PeerLost": 4.0, "gone": 5.0}),
    "cut-worker-hub": Row(faults.cut_worker_and_hub, {"healed": 3.0}),
    "cut-one-way": Row(faults.cut_one_way, {"healed": 3.0}),
    "cut-worker-worker": Row(faults.cut_workers, {"PeerLost": 4.0, "healed": 3.0}),
    "no-name-server": Row(faults.no_name_server, {}),
    "packet-loss": Row(faults.loss, {}),
    "slow-reader": Row(faults.slow_reader, {}),
    "clock-hub-ahead": _clock("hub", HOUR),
    "clock-hub-back": _clock("hub", -HOUR),
    "clock-worker-ahead": _clock("victim", HOUR),
    "clock-worker-back": _clock("victim", -HOUR),
    "clock-redis-ahead": _clock("redis", HOUR),
    "clock-redis-back": _clock("redis", -HOUR),
}


def trials(row: Row, number: int) -> Iterator[Seen]:
    """One farm for all of them: each leaves it whole."""
    with (
        tempfile.TemporaryDirectory(prefix="storm-") as folder,
        machines(Path(folder), clocks=row.clocks, quiet=True) as net,
    ):
        farm = Farm(net, **({"HUBNET_LEASE": str(LEASE)} if row.clocks else {}))
        for _ in range(number):
            yield row.fault(farm)


def append(name: str, seen: Seen, trial: int) -> None:
    """A line for each thing that a trial showed."""
    FOLDER.mkdir(exist_ok=True)
    told = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    commit = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        for what in {**seen.times, **seen.broken}:
            seconds = seen.times.get(what)
            said: dict[str, Any] = {"row": name, "trial": trial, "what": what}
            said |= {"seconds": None if seconds is None else round(seconds, 6), "broken": seen.broken.get(what, "")}
            said |= {"load": round(os.getloadavg()[0], 2), "commit": commit, "python": platform.python_version()}
            said["date"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            file.write(json.dumps(said) + "\n")


def percentile(values: list[float], share: float) -> float:
    """The smallest value that this share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summary(name: str) -> Iterator[str]:
    """A line for each thing that is seen: p50, p99 and maximum of all samples."""
    samples = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
    for what in dict.fromkeys(one["what"] for one in samples):
        mine = [one for one in samples if one["what"] == what]
        times = [one["seconds"] for one in mine if one["seconds"] is not None]
        broken = [one["broken"] for one in mine if one["broken"]]
        limit = ROWS[name].limits.get(what)
        line = f"{name:20} {what:28} {len(mine):4} trials"
        if times:
            line += f"  p50 {percentile(times, 0.5):6.2f}  p99 {percentile(times, 0.99):6.2f}  max {max(times):6.2f} s"
        if limit:
            line += f"  promised {limit:.1f} s"
        yield line + (f"  BROKEN {len(broken)}: {broken[0]}" if broken else "")


def main() -> None:
    """Run the trials of a row, or show what all rows came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=[*ROWS, "all"], metavar="ROW", help=f"all, or one of {', '.join(ROWS)}")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--summary", action="store_true", help="run nothing")
    options = parser.parse_args()

    for name in ROWS if options.row == "all" else [options.row]:
        for number, seen in enumerate(() if options.summary else trials(ROWS[name], options.trials)):
            append(name, seen, number)
            print(name, number, {what: round(took, 2) for what, took in seen.times.items()}, *seen.broken.values())
        if (FOLDER / f"{name}.jsonl").exists():
            print(*summary(name), sep="\n")


if __name__ == "__main__":
    main()
