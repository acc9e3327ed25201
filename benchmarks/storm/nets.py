"""A net to be harmed: peers that are asked over pipes, a Redis that can be killed, frozen and restarted, and the observer's eyes.

The register is read where it stands, in Redis, so that nobody's cache or politeness is between the fault and what is seen of it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import redis

from hubnet.core.channels import Names
from hubnet.embedded import find_server
from hubnet.redis_socket import answers
from tests.api.conftest import Net, Process
from tests.waiting import eventually, free_port

NAMES = Names("default")
PEER = """
import ctypes, os, threading, time
ran, under_way, outcomes, threads = [], set(), [], []

@hubnet.connect("nap")
def nap(seconds, token=None):
    ran.append(token)
    under_way.add(token)
    time.sleep(seconds)
    under_way.discard(token)
    return os.getpid()

@hubnet.connect("wait_at")
def wait_at(gate, token=None):
    under_way.add(token)
    open(gate).close()  # a pipe with a name: once somebody has it open for writing
    under_way.discard(token)
    return os.getpid()

@hubnet.connect("hold")
def hold(until, token=None):
    libc = ctypes.PyDLL(None)  # C code that keeps the interpreter to itself
    libc.sleep(until) if isinstance(until, int) else libc.open(until.encode(), os.O_RDONLY)
    return os.getpid()

@hubnet.connect("work")
def work(seconds, token=None):
    end = time.monotonic() + seconds
    under_way.add(token)
    while time.monotonic() < end:
        sum(range(1000))
    under_way.discard(token)
    return os.getpid()

def outcome_of(call, token):
    try:
        return token, "answer", call(), time.monotonic_ns()
    except hubnet.HubnetError as error:
        return token, type(error).__name__, error.ran, time.monotonic_ns()

def begin(function, until, peer, tokens):
    for token in tokens:
        def one(token=token):
            outcomes.append(outcome_of(lambda: function(until, token, peer=peer), token))
        threads.append(threading.Thread(target=one))
        threads[-1].start()

def ended():
    for one in threads: one.join()
    told = list(outcomes)
    threads.clear(), outcomes.clear()
    return told
"""
STEADY = """
class Steady:
    # calls these peers in turn, on and on, and keeps what did not end with an answer
    def __init__(self, peers, pause):
        self.peers, self.pause, self.calls, self.bad, self.on = peers, pause, 0, [], True
        for peer in peers: nap(0, peer=peer)  # from now on they are known
        self.thread = threading.Thread(target=self.run); self.thread.start()
    def run(self):
        while self.on:
            for peer in self.peers:
                told = outcome_of(lambda: nap(0, peer=peer), None)
                self.calls += 1
                if told[1] != "answer": self.bad.append(told[1:3])
                time.sleep(self.pause)
                if not self.on: break
    def stop(self):
        self.on = False
        self.thread.join()
        return self.calls, self.bad
"""
LISTENER = """
import time
news, directory = [], hubnet.Peer().ready().directory
def noting(told, hear=directory.on_presence):
    news.extend((what, peer_id.encode(), time.monotonic_ns()) for what, peer_id in told)
    hear(told)
directory.on_presence = noting
hubnet.peers()
"""


class Redis:
    """A server of ours, on one port for all its lives, for this machine alone or for whoever reaches an address of it."""

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.url = f"redis://{address}:{self.port}/0"
        self._dump = folder / "dump.rdb"
        self._config = folder / "redis.conf"
        self._config.write_text(
            f'port {self.port}\nbind {address}\nprotected-mode no\nsave ""\ndir "{folder}"\nlogfile "{folder}/redis.log"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis.from_url(self.url, socket_timeout=60)
        self.start()

    def start(self) -> int:
        """Run; when it answered, in monotonic nanoseconds."""
        self._process = subprocess.Popen([find_server(), str(self._config)])
        eventually(lambda: answers(self.url), pause=0.001)
        return time.monotonic_ns()

    def kill(self, *, kept: bool = False) -> int:
        """End it at once, with its data on disk or with none; when."""
        assert self._process is not None
        if kept:
            self.client.save()
        else:
            self._dump.unlink(missing_ok=True)
        at = time.monotonic_ns()
        self._process.kill()
        self._process.wait()
        return at

    def signal(self, number: int) -> int:
        """Freeze it, or let it go on; when."""
        assert self._process is not None
        at = time.monotonic_ns()
        self._process.send_signal(number)
        return at

    def close(self) -> None:
        """End it."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.client.close()


class Gate:
    """Where calls wait until it is opened: a pipe with a name."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._descriptor = -1

    def open(self) -> None:
        """Let all through, also those who come later."""
        self._descriptor = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        """Be gone."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


class StormNet(Net):
    """A net of processes around a Redis of its own, or around one that was made for it."""

    def __init__(self, folder: Path, made: Any = None, **env: str) -> None:
        super().__init__(folder, own_broker=True)
        self.redis = made or Redis(folder)
        self.env.update(HUBNET_REDIS_URL=self.redis.url, **env)
        self._gates: list[Gate] = []

    def gate(self) -> Gate:
        """A gate that is shut."""
        self._gates.append(Gate(self.folder / f"gate-{len(self._gates)}"))
        return self._gates[-1]

    def peer(self, code: str = "", group: str = "w", **env: str) -> Process:
        """A registered peer that serves and calls."""
        made = self.worker(PEER + code, HUBNET_GROUP=group, **env)
        assert isinstance(made, Process)
        return made

    def crowd(self, size: int, group: str = "w", code: str = PEER, **env: str) -> list[Process]:
        """Many registered peers, started side by side."""
        made: list[Process] = []
        while len(made) < size:
            few = [self.actor(start=False, HUBNET_GROUP=group, **env) for _ in range(min(8, size - len(made)))]
            for one in few:
                one.send("run", "import hubnet\n" + code)
            for one in few:
                one.answer(60)
                assert isinstance(one, Process)
                made.append(one)
        ids = set(self.ids(made))
        eventually(lambda: ids <= self.records(group).keys(), 60)
        return made

    @staticmethod
    def ids(peers: Iterable[Process]) -> list[bytes]:
        """Their ids."""
        return [one.ask("hubnet.Peer().id", 60) for one in peers]

    def listener(self) -> Process:
        """A peer that notes what hubs tell of others' comings and goings."""
        made = self.actor(LISTENER, HUBNET_GROUP="listeners")
        assert isinstance(made, Process)
        channel = NAMES.presence
        eventually(lambda: dict(self.redis.client.pubsub_numsub(channel))[channel.encode()] >= 1)
        return made

    def records(self, group: str = "w") -> dict[bytes, dict[str, Any]]:
        """What the register holds of a group."""
        return {peer_id: json.loads(text) for peer_id, text in self.redis.client.hgetall(NAMES.peers(group)).items()}

    def there(self, peer_id: bytes, group: str = "w") -> bool:
        """Whether the register holds a record of this id."""
        return bool(self.redis.client.hexists(NAMES.peers(group), peer_id))

    def when(self, check: Callable[[], object], timeout: float = 30.0, pause: float = 0.001) -> int:
        """The moment at which this was seen to be so, in monotonic nanoseconds."""
        eventually(check, timeout, pause)
        return time.monotonic_ns()

    def late(self) -> set[bytes]:
        """Those whose lease has ended."""
        return set(self.redis.client.zrangebyscore(NAMES.leases, "-inf", self._now()))

    def lease(self, peer_id: bytes) -> float:
        """Seconds that are left of its lease."""
        return (self.redis.client.zscore(NAMES.leases, peer_id) - self._now()) / 1000

    def _now(self) -> int:
        """Milliseconds of Redis's own clock."""
        seconds, microseconds = self.redis.client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def close(self) -> None:
        """End all of it; Redis last."""
        for one in self.actors:
            if one.alive:
                one.signal(signal.SIGCONT)
        for one in reversed(self.actors):
            one.close()
        for gate in self._gates:
            gate.close()
        self.redis.close()


def harm(peer: Process, number: int) -> int:
    """Send a signal; when, in monotonic nanoseconds, just before it."""
    at = time.monotonic_ns()
    peer.signal(number)
    return at


def since(fault: int, moment: int) -> float:
    """Seconds between two moments."""
    return (moment - fault) / 1e9


def all_of(*claims: tuple[bool, str]) -> str:
    """Which of these claims do not hold, in words."""
    return "; ".join(words for holds, words in claims if not holds)
