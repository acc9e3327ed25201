"""What protection costs: a tiny call, and 64 MiB each way, over links that are open, proved, sealed and inside TLS.

    python -m benchmarks.protection [--starts N] [--rounds N] [--calls N] [--large N] [--core C] [--other C]

Each way has a net of its own: a hub, a peer that serves and one that calls. The callers take turns in short sweeps, in another
order each round, so drift of the machine falls on all alike; what a way adds is told round by round, as the ratio to "open" of
the same round. Where a process's code and memory happen to lie moves a call by up to a half, so all processes are started
several times. "open, again" is the same as "open": how far these two lie apart is how far the others can be believed.

"open" exists here alone: the handshake is made, and then frames have zeros where suite 1 has proofs, as they have inside TLS.
Suite 1 leaves large buffers without a proof, suite 1 whole does not. Needs NumPy and the package cryptography.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

MIB = 1 << 20
LARGE = 64 * MIB
WARMING = 20  # calls before each sweep: the other ways have had the caches meanwhile
LIMIT = 120.0


class Way(NamedTuple):
    """One way of protecting links.

    Attributes:
        wire: its HUBNET_WIRE.
        link: what the caller's link must be, or something else would be measured.
        most_added: the goal for a tiny call, as a share of "open".
        least_speed: the goal for 64 MiB, as a share of suite 1.
        integrity: its HUBNET_INTEGRITY.
    """

    wire: str
    link: str
    most_added: float | None = None
    least_speed: float | None = None
    integrity: str = "header"


OPEN, AGAIN, TAGGED, HASHED, TLS = "open", "open, again", "suite 1", "suite 3", "TLS"
WAYS = {
    OPEN: Way("open-mac", "Bare on socket"),
    AGAIN: Way("open-mac", "Bare on socket"),
    TAGGED: Way("open-mac", "Tagged on socket", most_added=0.15),
    "suite 1 whole": Way("open-mac", "TaggedWhole on socket", integrity="full"),
    "suite 2 (sealed)": Way("sealed", "Sealed on socket", most_added=0.35, least_speed=0.8),
    HASHED: Way("open-mac", "Hashed on socket"),
    TLS: Way("tls", "Bare on EncryptedSocket"),
}
Tiny = dict[str, list[int]]  # by way: nanoseconds of each call of one sweep
Large = dict[str, tuple[int, int]]  # by way: nanoseconds of 64 MiB there, and back


class Net(NamedTuple):
    """The processes of one way."""

    hub: subprocess.Popen[str]
    server: subprocess.Popen[str]
    caller: subprocess.Popen[str]


# -- in the processes --------------------------------------------------------------------------------------------------


def take_on(way: str) -> None:
    """Make this process one that protects its links in this way, where no setting does."""
    from hubnet.core import frames, handshake

    if way in {OPEN, AGAIN}:
        frames._KINDS[handshake.TAGGED] = frames.Bare
    if way == HASHED:
        handshake._HAS_BLAKE2 = False


def run(role: str, way: str) -> None:
    """One of the processes."""
    take_on(way)
    {"hub": be_hub, "serve": serve, "call": call}[role]()


def be_hub() -> None:
    """A hub."""
    import hubnet

    print(hubnet.Peer().id.decode(), flush=True)
    hubnet.serve()


def array() -> Any:
    """64 MiB that both sides know."""
    import numpy

    return numpy.arange(LARGE // 8, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)


def connections() -> dict[str, Callable[..., Any]]:
    """The functions that are called."""
    import hubnet

    known = array()

    @hubnet.connect("add")
    def add(a: int, b: int) -> int:
        return a + b

    @hubnet.connect("there")
    def there(data: bytes) -> int:
        return len(data)

    @hubnet.connect("back")
    def back() -> Any:
        return known

    @hubnet.connect("arrives")
    def arrives(data: bytes) -> bool:
        return bool(data == known.tobytes())

    return {"add": add, "there": there, "back": back, "arrives": arrives}


def serve() -> None:
    """A peer with these connections."""
    import hubnet

    connections()
    print(hubnet.Peer().id.decode(), flush=True)
    hubnet.serve()


def call() -> None:
    """A caller: for each line on stdin a sweep, answered by what it took."""
    import hubnet

    functions = connections()
    known = array()
    data = known.tobytes()
    peer = hubnet.wait_for(1, "serving", timeout=LIMIT)[0].id
    assert functions["arrives"](data, peer=peer)
    assert (functions["back"](peer=peer) == known).all()
    print(link_to(peer), flush=True)
    for line in sys.stdin:
        calls = int(line)
        took = tiny(functions["add"], peer, calls) if calls else large(functions, peer, data)
        print(json.dumps(took), flush=True)


def link_to(peer: bytes) -> str:
    """How the link that was used last is protected."""
    import hubnet

    parts: Any = hubnet.Peer()._parts
    link = parts.caller.pools[peer][1].idle[-1]
    return f"{type(link.protection).__name__} on {type(link._sock).__name__}"


def tiny(add: Callable[..., int], peer: bytes, calls: int) -> list[int]:
    """Nanoseconds of each of many calls."""
    clock = time.perf_counter_ns
    took = []
    for _ in range(WARMING):
        add(1, 2, peer=peer)
    for _ in range(calls):
        begin = clock()
        found = add(1, 2, peer=peer)
        took.append(clock() - begin)
        assert found == 3
    return took


def large(functions: Mapping[str, Callable[..., Any]], peer: bytes, data: bytes) -> tuple[int, int]:
    """Nanoseconds of 64 MiB of bytes there, and of array back."""
    there, back = functions["there"], functions["back"]
    begin = time.perf_counter_ns()
    length = there(data, peer=peer)
    between = time.perf_counter_ns()
    found = back(peer=peer)
    end = time.perf_counter_ns()
    assert length == found.nbytes == LARGE
    return between - begin, end - between


# -- around them -------------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=12, help="of tiny calls, in each start")
    parser.add_argument("--calls", type=int, default=400, help="in each sweep")
    parser.add_argument("--large", type=int, default=3, help="rounds of 64 MiB, in each start and place")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--other", type=int, default=1, help="for the server, where each end has a core of its own")
    parser.add_argument("role", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        run(*options.role)
        return
    if min(options.starts, options.rounds, options.calls, options.large) < 1:
        parser.error("at least one start, round, call and round of 64 MiB")
    cores = {f"both ends on core {options.core}": options.core}
    if options.other in os.sched_getaffinity(0) - {options.core}:
        cores[f"caller on core {options.core}, server on core {options.other}"] = options.other
    os.sched_setaffinity(0, {options.core})
    small: list[Tiny] = []
    big: dict[str, list[Large]] = {place: [] for place in cores}
    order = random.Random(0)
    for _ in range(options.starts):
        with nets() as started:
            small += [tiny_round(started, order, options.calls) for _ in range(options.rounds)]
            for place, core in cores.items():
                for net in started.values():
                    move(net.server, core)
                big[place] += [large_round(started, order) for _ in range(options.large)]
    many = f"{options.starts} starts of {options.rounds} sweeps of {options.calls}"
    print(f"tiny call, both ends on core {options.core}, {many}, Python {sys.version.split()[0]}")
    report_tiny(small)
    for place, rounds in big.items():
        print(f"\n64 MiB of bytes there, 64 MiB of array back, {place}, {options.starts} starts of {options.large}")
        report_large(rounds)


@contextmanager
def nets() -> Iterator[dict[str, Net]]:
    """All processes, each way's in a namespace of its own; one embedded broker, in a folder that goes with them."""
    processes: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        certificates = make_certificates(Path(folder))
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
        try:
            started = {}
            for number, (name, way) in enumerate(WAYS.items()):
                env = {
                    **plain, "TMPDIR": folder, "HUBNET_PORT": "0", "HUBNET_NAMESPACE": f"bench-{number}",
                    "HUBNET_WIRE": way.wire, "HUBNET_INTEGRITY": way.integrity, **(certificates if name == TLS else {}),
                }  # fmt: skip
                hub, _ = begin("hub", name, {**env, "HUBNET_IS_HUB": "1"}, processes)
                server, _ = begin("serve", name, {**env, "HUBNET_GROUP": "serving"}, processes)
                caller, link = begin("call", name, env, processes)
                assert link == way.link, f"{name}: the link is {link}, not {way.link}"
                started[name] = Net(hub, server, caller)
            yield started
        finally:
            for process in reversed(processes):  # one by one: who outlives its hub complains
                process.terminate()
                process.wait()


def make_certificates(folder: Path) -> dict[str, str]:
    """The settings for TLS on loopback, and the files they name."""
    from hubnet import certificates

    made = certificates.init(folder / "tls", [certificates.names_of("127.0.0.1,localhost")], days=1)
    (host,) = made.hosts
    return {
        "HUBNET_TLS_CERT": str(host.certificate), "HUBNET_TLS_KEY": str(host.key),
        "HUBNET_TLS_CA": str(made.authority.certificate),
    }  # fmt: skip


def begin(
    role: str, way: str, env: dict[str, str], processes: list[subprocess.Popen[str]]
) -> tuple[subprocess.Popen[str], str]:
    """A process, added to the list, and the line that it printed."""
    command = [sys.executable, "-m", "benchmarks.protection", role, way]
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    processes.append(process)
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, f"{way}: the process that should {role} did not start"
    return process, line


def move(process: subprocess.Popen[str], core: int) -> None:
    """Pin all threads of a process."""
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), {core})
        except ProcessLookupError:
            pass  # it has ended meanwhile


def tiny_round(started: Mapping[str, Net], order: random.Random, calls: int) -> Tiny:
    """One sweep of each way."""
    return {name: sweep(started[name], calls) for name in shuffled(started, order)}


def large_round(started: Mapping[str, Net], order: random.Random) -> Large:
    """64 MiB there and back, each way once."""
    return {name: tuple(sweep(started[name], 0)) for name in shuffled(started, order)}


def shuffled(names: Mapping[str, Net], order: random.Random) -> list[str]:
    """The ways in an order of their own."""
    return order.sample(list(names), len(names))


def sweep(net: Net, calls: int) -> Any:
    """Ask a caller for one sweep."""
    assert net.caller.stdin is not None
    assert net.caller.stdout is not None
    net.caller.stdin.write(f"{calls}\n")
    net.caller.stdin.flush()
    return json.loads(net.caller.stdout.readline())


# -- the tables --------------------------------------------------------------------------------------------------------


def report_tiny(rounds: Sequence[Tiny]) -> None:
    """Print median and 99th percentile of all calls, and what each way adds to "open"."""
    print(f"{'':18}{'median':>10}{'p99':>12}{'adds':>10}   middle half of rounds   goal")
    for name, way in WAYS.items():
        took = [value / 1e3 for times in rounds for value in times[name]]
        line = f"{name:18}{statistics.median(took):7.1f} µs{rank(took, 0.99):9.1f} µs"
        if name != OPEN:
            added = [statistics.median(times[name]) / statistics.median(times[OPEN]) - 1 for times in rounds]
            middle = statistics.median(added)
            line += f"{middle:+10.1%}   {rank(added, 0.25):+8.1%} … {rank(added, 0.75):+.1%}"
            if way.most_added is not None:
                line = f"{line:74}≤ {way.most_added:.0%}: {'met' if middle <= way.most_added else 'missed'}"
        print(line)


def report_large(rounds: Sequence[Large]) -> None:
    """Print the median speeds, and what each way's is to suite 1's."""
    print(f"{'':18}{'there':>10}{'back':>8}{'both':>8} MiB/s{'x suite 1':>12}   middle half of rounds   goal")
    for name, way in WAYS.items():
        there = statistics.median(speed(times[name][0]) for times in rounds)
        back = statistics.median(speed(times[name][1]) for times in rounds)
        both = statistics.median(speed(*times[name]) for times in rounds)
        line = f"{name:18}{there:10.0f}{back:8.0f}{both:8.0f}"
        if name != TAGGED:
            ratios = [sum(times[TAGGED]) / sum(times[name]) for times in rounds]
            middle = statistics.median(ratios)
            line += f"{middle:18.2f}   {rank(ratios, 0.25):8.2f} … {rank(ratios, 0.75):.2f}"
            if way.least_speed is not None:
                line = f"{line:86}≥ {way.least_speed:.2f}: {'met' if middle >= way.least_speed else 'missed'}"
        print(line)


def speed(*nanoseconds: int) -> float:
    """MiB/s of 64 MiB in each of these."""
    return len(nanoseconds) * LARGE / MIB / (sum(nanoseconds) / 1e9)


def rank(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


if __name__ == "__main__":
    main()
