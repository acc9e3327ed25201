"""What is in use is told from what only was: by the allocator that storms run with, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .stage import ALLOCATOR

MEGABYTE = 1 << 20
PROGRAM = """
import json, threading
from tests.chaos.weight import weigh
over, busy = threading.Event(), threading.Barrier(21)
def work():
    busy.wait()
    pieces = [bytes(size) for size in range(1000) for _ in range(10)]
    del pieces
    busy.wait()
    over.wait()
threads = [threading.Thread(target=work) for _ in range(20)]
for thread in threads: thread.start()
before = weigh()
busy.wait()
busy.wait()
of_threads = weigh()["used"] - before["used"]
over.set()
for thread in threads: thread.join()
weigh()
told = [weigh()]
small, large = [bytes(100 + n % 10) for n in range(20_000)], b"x" * (4 << 20)
told.append(weigh())
del small, large
told.append(weigh())
print(json.dumps([*told, of_threads]))
"""


def test_what_is_taken_is_seen_and_what_is_given_back_is_not():
    root = Path(__file__).parents[2]
    env = {**os.environ, **ALLOCATOR, "PYTHONPATH": str(root)}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True, cwd=root
    )
    first, full, last, of_threads = json.loads(said.stdout)
    assert 6.5 * MEGABYTE < full["used"] - first["used"] < 9 * MEGABYTE
    assert full["rss"] - first["rss"] > 6 * MEGABYTE
    assert last["used"] - first["used"] < 0.2 * MEGABYTE
    assert last["rss"] - first["rss"] < 1 * MEGABYTE
    assert of_threads < 0.2 * MEGABYTE
