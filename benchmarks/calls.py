"""Small calls: hubnet through the decorator against a raw socket with pickle, both ends on one core.

    python -m benchmarks.calls [--rounds N] [--calls N] [--core C]

Serving processes: one raw thread-per-link server, one hubnet peer with suite 1 (open-mac), one with suite 2 (sealed). The
caller times short sweeps of each in turn, so drift of the machine falls on all alike; medians and ratios are printed.
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
from typing import Any

HEAD = struct.Struct("<I")


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


def raw_caller(port: int) -> Callable[[], None]:
    """One call over a bare socket."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call() -> None:
        body = pickle.dumps(((1, 2), {}), 5)
        link.sendall(HEAD.pack(len(body)) + body)
        data = link.recv(65536)
        assert pickle.loads(data[4:]) == 3

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


def caller_process(target: Any, calls: int) -> None:
    """A hubnet caller: for each line on stdin a sweep, answered by its microseconds per call."""
    import hubnet

    remote = hubnet.connect("add")(add)
    target = binascii.b2a_base64(binascii.a2b_base64(target), newline=False)  # bytes, as peers() gives it
    assert remote(1, 2, peer=target) == 3
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        for _ in range(calls):
            remote(1, 2, peer=target)
        print((time.perf_counter() - begin) / calls * 1e6, flush=True)


def sweep(process: subprocess.Popen[str]) -> float:
    """Ask a caller process for one sweep."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("role", nargs="*")
    options = parser.parse_args()
    if options.role:
        role, *rest = options.role
        {"raw": raw_server, "peer": serve_hubnet}.get(role, lambda: caller_process(rest[0], options.calls))()
        return
    os.sched_setaffinity(0, {options.core})
    processes: list[subprocess.Popen[str]] = []
    try:
        compare(options, processes)
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


def compare(options: argparse.Namespace, processes: list[subprocess.Popen[str]]) -> None:
    """Interleave the sweeps and print medians and ratios; started processes are added to the list."""

    def begin(*args: str, **env: str) -> tuple[subprocess.Popen[str], str]:
        process, line = spawn(*args, HUBNET_NAMESPACE="bench", **env)
        processes.append(process)
        return process, line

    begin("peer", HUBNET_IS_HUB="1")
    _, port = begin("raw")
    raw_call = raw_caller(int(port))
    callers = {}
    for name, wire in (("suite 1 (tagged)", "open-mac"), ("suite 2 (sealed)", "auto")):
        _, peer_id = begin("peer", HUBNET_WIRE=wire)
        callers[name], ready = begin("--calls", str(options.calls), "call", peer_id, HUBNET_WIRE=wire)
        assert ready == "ready", ready
    times: dict[str, list[float]] = {"raw socket + pickle": [], **{name: [] for name in callers}}
    for _ in range(options.rounds):
        start = time.perf_counter()
        for _ in range(options.calls):
            raw_call()
        times["raw socket + pickle"].append((time.perf_counter() - start) / options.calls * 1e6)
        for name, caller in callers.items():
            times[name].append(sweep(caller))
    base = times["raw socket + pickle"]
    python = sys.version.split()[0]
    print(f"tiny call, both ends on core {options.core}, {options.rounds} sweeps of {options.calls}, Python {python}")
    for name, values in times.items():
        ratio = statistics.median(value / reference for value, reference in zip(values, base, strict=True))
        print(f"{name:22} {statistics.median(values):7.1f} µs   x {ratio:.2f}")


if __name__ == "__main__":
    main()
