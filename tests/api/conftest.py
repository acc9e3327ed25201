"""Nets of real user processes, each of which runs the code that a test sends it, and nets in memory that are asked alike.

A test is told to both, unless it is marked as one that needs processes.

With HUBNET_TEST_BROKER=acl each net has a server with the two users of docker/users.acl.template, hubs come as one and
everybody else as the other, and nothing may be in its ACL LOG at the end.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
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
    """A peer of a net, with code of its own: a user's process, or one that is like it for whoever asks."""

    name: str
    pid: int
    _questions: int
    _answers: int

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
        data = struct.pack("<I", len(body)) + body
        while data:
            data = data[os.write(self._questions, data) :]

    def answer(self, timeout: float = LIMIT) -> Any:
        """The answer to what was sent."""
        deadline = time.monotonic() + timeout
        (length,) = struct.unpack("<I", self._read(4, deadline))
        good, value = pickle.loads(self._read(length, deadline))
        if not good:
            raise Raised(*value)
        return value

    def _read(self, size: int, deadline: float) -> bytes:
        data = b""
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise AssertionError(f"{self.name} hangs; its log:\n{self.said}")
            more = os.read(self._answers, size - len(data))
            assert more, f"{self.name} ended; its log:\n{self.said}"
            data += more
        return data

    @property
    def said(self) -> str:
        """Its log and prints so far."""
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Send a signal."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it with SIGKILL."""
        raise NotImplementedError

    def leave(self, timeout: float = LIMIT) -> int:
        """Let it end as a program ends; its exit code."""
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        raise NotImplementedError

    @property
    def rests(self) -> bool:
        """Whether SIGSTOP has reached all of it."""
        raise NotImplementedError

    def close(self) -> None:
        """End it, however."""
        raise NotImplementedError


class Process(Actor):
    """A user's process."""

    def __init__(
        self, folder: Path, env: dict[str, str], name: str, *options: str, through: Sequence[str] = (), **given: Any
    ) -> None:
        self.log = folder / f"{name}.log"
        self.name = name
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*through, sys.executable, str(Path(__file__).with_name("actor.py")), *options], env=env, cwd=folder, stderr=log,
                start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **given,
            )  # fmt: skip
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def leave(self, timeout: float = LIMIT) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(timeout)

    def wait(self, timeout: float = LIMIT) -> int:
        """Wait for its end."""
        return self._process.wait(timeout)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def rests(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return all((thread / "stat").read_text().rpartition(")")[2].split()[0] in "Tt" for thread in threads)

    @property
    def memory(self) -> int:
        """Bytes that it has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def close(self) -> None:
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
    """A net of its own: temporary directory, secret and broker under one folder.

    The broker is the embedded one, or with HUBNET_TEST_BROKER=acl one with two users; unless a net brings its own.
    """

    def __init__(self, folder: Path, *, own_broker: bool = False) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
        self.env = {**kept, "TMPDIR": str(folder), "HUBNET_PORT": "0", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.actors: list[Actor] = []
        with_users = os.environ.get("HUBNET_TEST_BROKER") == "acl" and not own_broker
        self.guarded = Guarded(folder) if with_users else None

    def actor(self, code: str = "", *, start: bool = True, **env: str) -> Actor:
        """A process with ``import hubnet`` done and this code run."""
        if self.guarded and "HUBNET_REDIS_URL" not in env:
            env["HUBNET_REDIS_URL"] = self.guarded.url("hub" if env.get("HUBNET_IS_HUB") == "1" else "worker")
        made = self._made(f"actor-{len(self.actors)}", env)
        self.actors.append(made)
        if start:
            made.run("import hubnet\n" + textwrap.dedent(code))
        return made

    def _made(self, name: str, env: dict[str, str]) -> Actor:
        return Process(self.folder, {**self.env, **env}, name)

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

    def elsewhere(self, code: str = "", **env: str) -> Actor:
        """A registered peer of another machine."""
        on_it = "import hubnet.machine\nhubnet.machine.machine_id = lambda: 'another machine'\n"
        return self.worker(on_it + textwrap.dedent(code), **env)

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


class InMemory(Actor):
    """A peer of a net in memory."""

    def __init__(self, net: NetInMemory, number: int, name: str, settings: dict[str, Any]) -> None:
        self.name, self.pid = name, net.process.pid
        self._net, self._number, self._here = net, number, True
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._questions = self._answers = ours.fileno()
        with theirs:
            net.tell("add", number, settings, theirs)

    def run(self, code: str) -> Actor:
        super().run(code)
        return super().run("_serve_what_it_imported()")

    @property
    def said(self) -> str:
        return self._net.process.said

    def signal(self, number: int) -> None:
        self._net.tell({SIGSTOP: "pause", SIGCONT: "resume"}[signal.Signals(number)], self._number)

    def kill(self) -> None:
        self.close()

    def leave(self, timeout: float = LIMIT) -> int:
        self._end("stop")
        return 0

    def close(self) -> None:
        self._end("kill")

    @property
    def alive(self) -> bool:
        return self._here

    @property
    def rests(self) -> bool:
        return True  # told to pause, it paused

    def _end(self, how: str) -> None:
        if self._here:
            self._here = False
            self._net.tell(how, self._number)
            self._socket.close()


class NetInMemory(Net):
    """A net of one process, in whose memory its peers meet; for tests it is like the other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self.process = Process(folder, self.env, "net-in-memory", str(number), pass_fds=[number])

    def tell(self, what: str, which: int, settings: dict[str, Any] | None = None, *sockets: socket.socket) -> None:
        """Have its process do something, and wait until that is done."""
        message = pickle.dumps((what, which, settings))
        socket.send_fds(self._control, [message], [one.fileno() for one in sockets])
        self._control.settimeout(LIMIT)
        wrong = pickle.loads(self._control.recv(1 << 16))
        assert wrong is None, f"{wrong}; the log:\n{self.process.said}"

    def _made(self, name: str, env: dict[str, str]) -> Actor:
        settings = {variable.removeprefix("HUBNET_").lower(): value for variable, value in env.items()}
        return InMemory(self, len(self.actors), name, settings)

    def elsewhere(self, code: str = "", **env: str) -> Actor:
        return self.worker(code, **env, HUBNET_HOST="another-machine")

    def close(self) -> None:
        for one in self.actors:
            one.close()
        self._control.close()
        print(f"--- {self.process.name}\n{self.process.said}")
        self.process.close()


NETS = {"processes": Net, "memory": NetInMemory}


@pytest.fixture(params=NETS)
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Net]:
    """A net for this test alone."""
    made = NETS[request.param](tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module", params=NETS)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    """A net for the tests of one file; they do it no harm."""
    made = NETS[request.param](tmp_path_factory.mktemp("net"))
    yield made
    made.close()


SIGKILL, SIGTERM, SIGSTOP, SIGCONT, SIGINT = (
    signal.SIGKILL,
    signal.SIGTERM,
    signal.SIGSTOP,
    signal.SIGCONT,
    signal.SIGINT,
)
