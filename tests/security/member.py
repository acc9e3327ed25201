"""A member of a net in a process of its own: its links alone, so that what strangers cost it can be measured from outside.

Run as a program it listens on loopback until its standard input ends. Its own calls say what ran and what was rebuilt.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hubnet.core.handshake import Self, digest_of
from hubnet.links.calling import Endpoint
from hubnet.links.link import Link
from tests.links.loopback import End
from tests.security import canary

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_noted: list[object] = []


class Member:
    """The process, as a test sees it. Calls reach it as they reach any other end of its book."""

    def __init__(self, wire: str = "auto", cores: Sequence[int] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.member", wire, *map(str, cores)], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.id: bytes = said["id"].encode()
        self.port: int = said["port"]
        self.own = Self(digest_of(self.id), bytes.fromhex(said["incarnation"]))
        friendly = {"host": "127.0.0.1", "port": self.port, "group": "None"}
        self.endpoint = Endpoint(self.id, self.own.incarnation, "127.0.0.1", self.port, friendly)

    @property
    def cpu_seconds(self) -> float:
        """What it has computed so far, all threads, in user space and in the kernel."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def most_memory(self) -> int:
        """Bytes that it has really had at once."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))

    @property
    def descriptors(self) -> int:
        """What it has open."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    @property
    def rests(self) -> bool:
        """Whether nothing of it wants to run: it has done with all that came."""
        tasks = list(Path(f"/proc/{self._process.pid}/task").iterdir())
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "S" for task in tasks)

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


@contextmanager
def member(wire: str = "auto", cores: Sequence[int] = ()) -> Iterator[Member]:
    """One for a while."""
    made = Member(wire, cores)
    try:
        yield made
    finally:
        made.close()


# -- what it does for callers ----------------------------------------------------------------------------------------


def echo(value: object) -> object:
    return value


def note(value: object) -> object:
    _noted.append(value)
    return value


def noted() -> list[object]:
    return _noted


def sung() -> list[str]:
    return canary.sung


def reading() -> int:
    """How many links are in the middle of a frame."""
    found = 0
    for frame in sys._current_frames().values():
        below = frame
        while below is not None and below.f_code is not Link.receive.__code__:
            below = below.f_back
        found += below is not None
    return found


def main(wire: str, *cores: str) -> None:
    """Listen until standard input ends."""
    if cores:
        os.sched_setaffinity(0, map(int, cores))
    end = End({}, wire=wire)

    def counted(what: str) -> int:
        return end.counted(what)

    def half_open() -> int:
        return len(end.serving._arrivals)

    end.serve(echo, note, noted, sung, reading, counted, half_open)
    print(json.dumps({"id": end.id.decode(), "port": end.port, "incarnation": end.own.incarnation.hex()}), flush=True)
    sys.stdin.read()
    end.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
