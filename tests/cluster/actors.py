"""Processes in containers that a test can talk to as it does to those of this machine, and strangers' containers beside ours.

A stranger is no service of docker-compose.yml: it runs the same image on the net's networks, or in the network of one of its
containers, and is given no secret.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.api.conftest import Actor
from tests.security.test_nothing_leaks import of_secret

from .conftest import Cluster, run

HERE = Path(__file__).parent
PLACE = "/tmp/actors"
ATTACKER = HERE / "attacker.py"
WORD = b"a marked word that nobody says by accident"
ACTOR = HERE.parent / "api" / "actor.py"
CALLS_WITH_THE_WORD = f"""
import hubnet
checksum = hubnet.connect("checksum")(lambda data: None)
publish = hubnet.event("marked")(lambda word: ((word,), {{}}))
def say(peer):
    assert hubnet.pass_through({WORD!r}, peer=peer) == {WORD!r}
    checksum({WORD!r} * 10_000, peer=peer)
"""


class Inside(Actor):
    """A process in a container; it ends when it is closed, or when nobody asks it any more."""

    def __init__(self, cluster: Cluster, target: str, *files: Path, user: str = "", **env: str) -> None:
        container = cluster.container(target)
        self.name = f"{target[:12]} of {cluster.project}"
        cluster.exec(target, "mkdir", "-p", PLACE)
        for file in (ACTOR, *files):
            run("docker", "cp", str(file), f"{container}:{PLACE}/{file.name}")
        settings = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
        as_user = ["-u", user] if user else []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - close() does
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", "-w", PLACE, *as_user, *settings, container, "python", "actor.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()

    @property
    def said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def leave(self, timeout: float = 40) -> int:
        """Let it end as a program ends; its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(timeout)

    def close(self) -> None:
        """End it here; over there it ends as it has nobody to ask it any more."""
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self.leave()
        if self.alive:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        print(f"--- {self.name}\n{self.said}")
        self._log.close()


@contextlib.contextmanager
def inside(cluster: Cluster, target: str, *files: Path, user: str = "", **env: str) -> Iterator[Inside]:
    """A process over there, for a while."""
    made = Inside(cluster, target, *files, user=user, **env)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def stranger(cluster: Cluster, *options: str, networks: Sequence[str] = ()) -> Iterator[str]:
    """A container that is none of ours; its id. It has all networks of which the names are given, or what the options say."""
    image = cluster.inspect("worker-east")["Config"]["Image"]
    first, *others = (cluster.network(name) for name in networks) if networks else ("",)
    on = ["--network", first] if first else []
    found = run("docker", "run", "-d", "--rm", "--init", "--user", "0", *on, *options, image, "sleep", "infinity")
    try:
        for network in others:
            run("docker", "network", "connect", network, found)
        yield found
    finally:
        run("docker", "rm", "-f", found)


@contextlib.contextmanager
def sniffing(cluster: Cluster, target: str) -> Iterator[Inside]:
    """A container that shares the network of one of ours, and hears all that comes and goes there."""
    where = ("--network", f"container:{cluster.container(target)}", "--cap-add", "NET_RAW")
    with stranger(cluster, *where) as container, inside(cluster, container, ATTACKER, user="0") as made:
        yield made.run("from attacker import *\nsniffer = Sniffer()")


def secret_of(cluster: Cluster) -> dict[str, bytes]:
    """The net's secret and what follows from it, in every spelling."""
    return of_secret((cluster.secrets / "hubnet_secret").read_text().strip())


def heard(sniffer: Inside) -> bytes:
    """All of it, when nothing more comes."""
    assert sniffer.ask("sniffer.end()", timeout=60) == 0, "the kernel heard more than it gave us"
    data: bytes = sniffer.ask("b''.join([*sniffer._frames, *sniffer.streams().values()])", timeout=60)
    return data
