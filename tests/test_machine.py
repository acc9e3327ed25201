"""What hubnet draws at random: pauses that are each process's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DRAWS = """
import os, random
from hubnet import machine
random.seed(1)  # as an application does that wants to see the same again
print(machine.jitter(0.0, 1.0), flush=True)
for _ in range(8):
    if not os.fork():
        random.seed(1)
        print(machine.jitter(0.0, 1.0), flush=True)
        os._exit(0)
    os.wait()
"""


def test_forked_processes_and_those_of_an_application_that_seeds_draw_pauses_of_their_own() -> None:
    """A farm of workers that one process has forked loses Redis at one moment, and must not come back at one."""
    drawn = [
        float(line)
        for _ in range(2)
        for line in subprocess.run(
            [sys.executable, "-c", DRAWS], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
        ).stdout.split()
    ]
    assert len(set(drawn)) == len(drawn) == 18
