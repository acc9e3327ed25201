"""Small calls: hubnet through the decorator against a raw socket with pickle, both ends on one core.

    python -m benchmarks.calls [--starts N] [--rounds N] [--calls N] [--core C]

Serving processes: one raw thread-per-link server, one hubnet peer with suite 1 (open-mac), one with suite 2 (sealed). The
caller times short sweeps of each in turn, so drift of the machine falls on all alike. Where a process's code and memory happen
to lie moves a call by up to a half, raw or not, so all processes are started several times.
"""

from __future__ import annotations

import argparse
import binascii
import os
import pickle
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable

HEAD = struct.Struct("<I")
SYSTEMS: list[tuple[str, str, dict[str, str]]] = [
    ("raw socket + pickle", "raw", {}),
    ("suite 1 (tagged)", "peer", {"HUBNET_WIRE": "open-mac"}),
    ("suite 2 (sealed)", "peer", {"HUBNET_WIRE": "auto"}),
]
Sweeps = dict[str, list[float]]


def raw_server() -> None:
    """Echo sums over a bare socket, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    link, _ = listener.accept()
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := link.recv(65536):
        args, kwargs = pickle.loads(data[4:])
        body = pickle.dumps(add(*args, **kwargs), 5)
        link.sendall(HEAD.pack(len(body)) + body)


def raw_caller(port: str) -> Callable[[], None]:
    """One call over a bare socket."""
    link = socket.create_connection(("127.0.0.1", int(port)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call() -> None:
        body = pickle.dumps(((1, 2), {}), 5)
        link.sendall(HEAD.pack(len(body)) + body)
        data = link.recv(65536)
        assert pickle.loads(data[4:]) == 3

    return call


def hubnet_caller(target: str) -> Callable[[], None]:
    """One call through the decorator."""
    import hubnet

    remote = hubnet.connect("add")(add)
    peer = binascii.b2a_base64(binascii.a2b_base64(target), newline=False)  # bytes, as peers() gives it

    def call() -> None:
        assert remote(1, 2, peer=peer) == 3

    return call


def add(a: int, b: int) -> int:
    """The function that is called."""
    return a + b


def spawn(*args: str, **env: str) -> tuple[subprocess.Popen[str], str]:
    """A serving process and the line that it printed."""
    command = [sys.executable, "-m", "benchmarks.calls", *args]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def serve_hubnet() -> None:
    """A hubnet peer with one connection."""
    import hubnet

    hubnet.connect("add")(add)
    print(hubnet.Peer().id.decode(), flush=True)
    hubnet.serve()


def caller_process(call: Callable[[], None], calls: int) -> None:
    """A caller: for each line on stdin a sweep, answered by its microseconds per call."""
    call()
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        print((time.perf_counter() - begin) / calls * 1e6, flush=True)


def sweep(process: subprocess.Popen[str]) -> float:
    """Ask a caller process for one sweep."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def run(role: str, target: str = "", *, calls: int) -> None:
    """One of the processes."""
    if role == "raw":
        raw_server()
    elif role == "peer":
        serve_hubnet()
    else:
        caller_process({"call-raw": raw_caller, "call-peer": hubnet_caller}[role](target), calls)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("role", nargs="*")
    options = parser.parse_args()
    if options.role:
        run(*options.role, calls=options.calls)
        return
    os.sched_setaffinity(0, {options.core})
    starts = []
    for _ in range(options.starts):
        processes: list[subprocess.Popen[str]] = []
        try:
            starts.append(one_start(options, processes))
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait()
    report(options, starts)


def one_start(options: argparse.Namespace, processes: list[subprocess.Popen[str]]) -> Sweeps:
    """Start all processes, added to the list, and interleave their sweeps: µs per call by system."""

    def begin(*args: str, **env: str) -> tuple[subprocess.Popen[str], str]:
        process, line = spawn(*args, HUBNET_NAMESPACE="bench", **env)
        processes.append(process)
        return process, line

    begin("peer", HUBNET_IS_HUB="1")
    callers = {}
    for name, role, env in SYSTEMS:
        _, target = begin(role, **env)
        callers[name], ready = begin("--calls", str(options.calls), f"call-{role}", target, **env)
        assert ready == "ready", ready
    times: Sweeps = {name: [] for name in callers}
    for _ in range(options.rounds):
        for name, caller in callers.items():
            times[name].append(sweep(caller))
    return times


def report(options: argparse.Namespace, starts: list[Sweeps]) -> None:
    """Print medians and ratios to the raw socket: over all sweeps, and of the luckiest start of each."""
    python = sys.version.split()[0]
    many = f"{options.starts} starts of {options.rounds} sweeps of {options.calls}"
    print(f"tiny call, both ends on core {options.core}, {many}, Python {python}")
    print(" " * 25 + "median       x    best start   x")
    raw = raw_best = 0.0
    for name in starts[0]:
        middle = statistics.median(value for times in starts for value in times[name])
        best = min(statistics.median(times[name]) for times in starts)
        raw, raw_best = raw or middle, raw_best or best
        print(f"{name:22} {middle:6.1f} µs  {middle / raw:5.2f}   {best:6.1f} µs  {best / raw_best:5.2f}")


if __name__ == "__main__":
    main()
