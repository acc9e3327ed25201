"""Starting, gathering and idling: ``python -m benchmarks.fleet [--peers N] [--idle SECONDS]``.

Import time over bare Python; from process start to the first served call; how long N peers need to register with one hub; what
an idle peer costs. Everything runs on an embedded broker of its own.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = "import hubnet; hubnet.connect('add')(lambda a, b: a + b); hubnet.serve()"
FIRST_CALL = """
import sys, time
begin = time.perf_counter()
import hubnet
print(1e3 * (time.perf_counter() - begin))
add = hubnet.connect("add")(lambda a, b: a + b)
assert add(1, 2, peer=sys.argv[1]) == 3
print(1e3 * (time.perf_counter() - begin))
"""
CROWD = """
import sys, time
import hubnet
hubnet.Peer().ready()
print("imported", flush=True)
hubnet.serve()
"""


def timed(code: str) -> float:
    """Milliseconds of a whole interpreter."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - begin) * 1e3


def imports(rounds: int = 11) -> None:
    """Import time over a bare interpreter, interleaved."""
    rows = [(timed("pass"), timed("import hubnet"), timed("import redis")) for _ in range(rounds)]
    bare, ours, redis = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"bare interpreter {bare:.0f} ms; import hubnet +{ours - bare:.0f} ms; import redis +{redis - bare:.0f} ms")


def first_call(environ: dict[str, str], target: str, rounds: int = 7) -> None:
    """From the first line of a process to its first answer, a hub being there."""
    rows = []
    for _ in range(rounds):
        command = [sys.executable, "-c", FIRST_CALL, target]
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        rows.append([float(line) for line in done.stdout.split()])
    print(f"first line to first answer {statistics.median(row[1] for row in rows):.0f} ms (median of {rounds})")


def crowd(environ: dict[str, str], peers: int) -> list[subprocess.Popen[str]]:
    """Start many peers; the time from the last import to the full listing."""
    import hubnet

    begin = time.perf_counter()
    command = [sys.executable, "-c", CROWD]
    crowd_env = {**environ, "HUBNET_GROUP": "crowd"}
    started = [subprocess.Popen(command, env=crowd_env, stdout=subprocess.PIPE, text=True) for _ in range(peers)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
    imported = time.perf_counter()
    hubnet.wait_for(peers, groups="crowd", timeout=120)
    there = time.perf_counter()
    print(
        f"{peers} peers: imported and listening after {imported - begin:.1f} s, all listed {there - imported:.1f} s later"
    )
    return started


def idle(process: subprocess.Popen[str], seconds: float) -> None:
    """What one of them costs while nothing happens."""
    status = Path(f"/proc/{process.pid}")

    def cpu() -> float:
        fields = (status / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def nanoseconds() -> int:
        return sum(int(task.read_text().split()[0]) for task in status.glob("task/*/schedstat"))

    begin, ran = time.perf_counter(), nanoseconds()
    time.sleep(seconds)
    share = (nanoseconds() - ran) / 1e9 / (time.perf_counter() - begin)
    memory = next(line for line in (status / "status").read_text().splitlines() if line.startswith("VmRSS"))
    threads = len(list(status.glob("task/*")))
    print(
        f"idle peer over {seconds:.0f} s: {share:.3%} of a core, {int(memory.split()[1]) / 1024:.0f} MB, {threads} threads"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--idle", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        logging.disable(logging.WARNING)  # the farewells of a whole net are no news
        os.environ.update(TMPDIR=folder, HUBNET_PORT="0", HUBNET_NAMESPACE="bench", HUBNET_AUTOSTART="1")
        tempfile.tempdir = None
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        imports()
        environ = dict(os.environ)
        processes = [subprocess.Popen([sys.executable, "-c", PEER], env={**environ, "HUBNET_IS_HUB": "1"}, text=True)]
        try:
            import hubnet

            hub = hubnet.wait_for(1, hubs_only=True)[0]
            first_call(environ, hub.id.decode())
            processes += crowd(environ, options.peers)
            idle(processes[-1], options.idle)
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait()


if __name__ == "__main__":
    main()
