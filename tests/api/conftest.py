"""Nets of real user processes: each process runs the code that a test sends it.

With HUBNET_TEST_BROKER=acl each net has a server with the two users of docker/users.acl.template, hubs come as one and
everybody else as the other, and nothing may be in its ACL LOG at the end.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guarded import Guarded
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
LIMIT = 25.0


class Raised(Exception):
    """What the code raised over there.

    Attributes:
        kinds: names of the type and its bases.
        ran: as the error says, or None.
        cause: name of the type of its ``__cause__``, or None.
    """

    def __init__(self, kinds: list[str], text: str, ran: str | None, cause: str | None, trace: str) -> None:
        super().__init__(f"{kinds[0]}: {text}")
        self.kinds, self.kind, self.text, self.ran, self.cause, self.trace = kinds, kinds[0], text, ran, cause, trace


class Actor:
    """A user's process."""

    def __init__(self, folder: Path, env: dict[str, str], name: str) -> None:
        self.log = folder / f"{name}.log"
        self.name = name
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("actor.py"))], env=env, cwd=folder, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.pid = self._process.pid

    def run(self, code: str) -> Actor:
        """Have it run statements."""
        self.send("run", code)
        self.answer()
        return self

    def ask(self, expression: str, timeout: float = LIMIT) -> Any:
        """The value of an expression over there."""
        self.send("ask", expression)
        return self.answer(timeout)

    def send(self, kind: str, code: str) -> None:
        """Ask, without waiting for the answer."""
        body = pickle.dumps((kind, textwrap.dedent(code).strip()))
        assert self._process.stdin is not None
        self._process.stdin.write(struct.pack("<I", len(body)) + body)
        self._process.stdin.flush()

    def answer(self, timeout: float = LIMIT) -> Any:
        """The answer to what was sent."""
        deadline = time.monotonic() + timeout
        (length,) = struct.unpack("<I", self._read(4, deadline))
        good, value = pickle.loads(self._read(length, deadline))
        if not good:
            raise Raised(*value)
        return value

    def _read(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        data = b""
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise AssertionError(f"{self.name} hangs; its log:\n{self.said}")
            more = os.read(self._process.stdout.fileno(), size - len(data))
            assert more, f"{self.name} ended ({self._process.wait(5)}); its log:\n{self.said}"
            data += more
        return data

    @property
    def said(self) -> str:
        """Its log and prints so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self.close()

    def leave(self, timeout: float = LIMIT) -> int:
        """Let it end as a program ends; its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(timeout)

    def wait(self, timeout: float = LIMIT) -> int:
        """Wait for its end."""
        return self._process.wait(timeout)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, however."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Net:
    """A net of its own: temporary directory, embedded broker and secret under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
        self.env = {**kept, "TMPDIR": str(folder), "HUBNET_PORT": "0", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.actors: list[Actor] = []
        self.guarded = Guarded(folder) if os.environ.get("HUBNET_TEST_BROKER") == "acl" else None

    def actor(self, code: str = "", *, start: bool = True, **env: str) -> Actor:
        """A process with ``import hubnet`` done and this code run."""
        if self.guarded and "HUBNET_REDIS_URL" not in env:
            env["HUBNET_REDIS_URL"] = self.guarded.url("hub" if env.get("HUBNET_IS_HUB") == "1" else "worker")
        made = Actor(self.folder, {**self.env, **env}, f"actor-{len(self.actors)}")
        self.actors.append(made)
        if start:
            made.run("import hubnet\n" + textwrap.dedent(code))
        return made

    def hub(self, code: str = "", **env: str) -> Actor:
        """A hub that answers."""
        made = self.actor(code, HUBNET_IS_HUB="1", **env)
        made.ask("hubnet.peers()")
        return made

    def worker(self, code: str = "", **env: str) -> Actor:
        """A peer that is registered."""
        made = self.actor(code, **env)
        eventually(lambda: made.ask("hubnet.Peer().id and hubnet.stats()['registered']"))
        return made

    def module(self, name: str, code: str) -> None:
        """Write a module that every process can import."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(code))

    def close(self) -> None:
        """End all of it, the hubs last."""
        for one in reversed(self.actors):
            one.close()
            print(f"--- {one.name}\n{one.said}")
        if self.guarded:
            denied = self.guarded.denied()
            self.guarded.close()
            assert denied == []


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Net]:
    """A net for this test alone."""
    made = Net(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A net for the tests of one file; they do it no harm."""
    made = Net(tmp_path_factory.mktemp("net"))
    yield made
    made.close()


SIGKILL, SIGTERM, SIGSTOP, SIGCONT, SIGINT = (
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGSTOP,
    signal.SIGCONT,
    signal.SIGINT,
)
