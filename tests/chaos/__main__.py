"""The command: ``python -m tests.chaos --minutes 2 --seed 1``. It ends with 1 where it finds a broken promise."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from .memory import WARM_UP
from .run import Wish, run
from .soak import soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long the storm lasts (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the storm and of the load (1)")
    parser.add_argument("--calls", type=int, default=0, help="storm on until so many calls have an outcome")
    parser.add_argument(
        "--every", type=float, default=0.7, help="mean seconds from one blow to the next; 0: none (0.7)"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="factor on how long blows last (1)")
    parser.add_argument("--pace", type=float, default=0.01, help="mean seconds between two calls of a thread (0.01)")
    parser.add_argument("--threads", type=int, default=8, help="calling threads of each caller (8)")
    parser.add_argument("--beats", type=float, default=20.0, help="events a second from each worker (20)")
    parser.add_argument("--lease", type=float, default=2.0, help="HUBNET_LEASE (2)")
    parser.add_argument(
        "--soak", action="store_true", help="no storm: half of full speed, and memory that stays where it is"
    )
    parser.add_argument("--keep", type=Path, help="a folder for ledgers and logs, which are kept there")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends the run ends its processes
    folder = given.keep or Path(tempfile.mkdtemp(prefix="hubnet-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    wish = Wish(
        given.seed, given.minutes * 60, calls=given.calls, every=given.every, scale=given.scale, pace=given.pace,
        threads=given.threads, beats=given.beats, lease=given.lease,
    )  # fmt: skip
    report = soak(wish, folder, warm_up=min(WARM_UP, wish.seconds / 6)) if given.soak else run(wish, folder)
    print(json.dumps(report.numbers, indent=1))
    for finding in report.findings:
        print(f"BROKEN: {finding.promise}: {finding.text}")
    if report.findings or given.keep:
        print(f"ledgers and logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
