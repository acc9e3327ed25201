"""The stage: the processes of one run, its server and its relay, and what can be done to each of them.

Every process started here is ended here, by its pid.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import redis

from hubnet.core.keys import new_token
from tests.waiting import eventually

from .eye import Eye
from .ledger import Ledger, Line
from .relay import HOST, RelayProcess
from .schedule import KINDS, REDIS, Blow, Cast

ROOT = Path(__file__).parents[2]
GROUPS = {"hub": "hubs", "worker": "farm", "caller": "callers"}
ALLOCATOR = {
    "PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}  # fmt: skip
"""What an allocator keeps for later hides a leak, or looks like one: arenas of Python's and of each thread, what a thread has
freed (up to 0.2 MB for each, which glibc counts as in use), and the place of what was large once."""
_LEAVE_LIMIT = 30.0
SPARED = ("w1", "c1")
_SMALL_OUTBOX = {"w2": "64KiB,12"}
"""What this one publishes while Redis is away does not all fit, and is dropped."""


class Part(NamedTuple):
    """An actor's place: what stays when it is started again."""

    name: str
    role: str
    port: int
    door: int
    """Where others reach it: its own port, or its relay's."""
    redis: int
    """Where it reaches Redis."""


class Reader:
    """One ledger, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.outcomes = 0
        self.lines: list[Line] = []
        """All but those of calls and events."""

    def look(self) -> Reader:
        """Read what has come."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            self._at += len(data)
            for text in data.splitlines():
                line = json.loads(text)
                self.outcomes += line["what"] == "end"
                if line["what"] == "count":
                    self.outcomes = sum(count for what, count in line["counts"].items() if what.startswith("end "))
                if line["what"] in {"born", "listing", "obeyed", "last", "counters", "bye", "weighed"}:
                    self.lines.append(line)
        return self

    def find(self, what: str, **about: Any) -> Line | None:
        """The first line of this kind of which all this is true."""
        wanted = {"what": what, **about}
        return next((line for line in self.look().lines if wanted.items() <= line.items()), None)


class Process(Protocol):
    """What is asked of one: a ``subprocess.Popen`` with text to its standard input, or a container."""

    stdin: IO[str] | None
    returncode: int | Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Actor:
    """One life of a part."""

    def __init__(self, part: Part, folder: Path, process: Process, life: str) -> None:
        self.part = part
        self.sent = 0.0
        self.stopped = False
        self.process = process
        self.life = life
        self.ledger = Reader(folder / f"{life}.jsonl")

    def tell(self, do: str, **more: Any) -> None:
        """Have it do something; it notes when that is done."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, which is found elsewhere

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.sent = time.monotonic()
        self.process.send_signal(number)

    def has_lived(self, seconds: float) -> bool:
        """Whether it began so long ago."""
        born = self.ledger.find("born")
        return born is not None and time.monotonic() - born["t"] > seconds


class Stage:
    """All processes of one run.

    Attributes:
        kinds: of blows that can fall here.
    """

    kinds: Sequence[str] = tuple(KINDS)

    def __init__(
        self, folder: Path, wishes: dict[str, Any], *, hubs: int, workers: int, callers: int, lease: float
    ) -> None:
        self._begin(folder, wishes)
        self._redis_port = free_port()
        roles = {"hub": hubs, "worker": workers, "caller": callers}
        routes: dict[str, tuple[int, int]] = {}
        self.parts = [
            self._part(f"{role[0]}{number}", role, number, count, routes)
            for role, count in roles.items()
            for number in range(1, count + 1)
        ]
        secret = new_token(os.urandom(32))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
        self._env = {
            **kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder), "HUBNET_SECRET": secret,
            "HUBNET_LEASE": str(lease), "HUBNET_TIMEOUT": "10", "HUBNET_PORT_RANGE": "1", "HUBNET_HOST": HOST,
            "HUBNET_THREAD_LIMIT": "16", **ALLOCATOR,
        }  # fmt: skip
        self._redis: subprocess.Popen[bytes] | None = None
        self.relay = RelayProcess(routes, self._env, folder / "relay.log")
        self.start_redis()
        port = self._redis_port
        self.eye = Eye(lambda: redis.Redis(port=port, socket_timeout=5), secret, Ledger(folder / "eye.jsonl"))

    def _begin(self, folder: Path, wishes: dict[str, Any]) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "run.jsonl")
        self._wishes = wishes
        self._numbers = 0
        self._lives = itertools.count(1)
        self.deaths = 0
        self.actors: dict[str, Actor] = {}
        self._past: list[Actor] = []

    def _part(self, name: str, role: str, number: int, count: int, routes: dict[str, tuple[int, int]]) -> Part:
        """The younger half is reached through the relay; every other one reaches Redis through it."""
        port = door = free_port()
        redis = self._redis_port
        if number > count / 2:
            door = free_port()
            routes[name] = (door, port)
        if number % 2 == 0:
            redis = free_port()
            routes[f"{name}>redis"] = (redis, self._redis_port)
        return Part(name, role, port, door, redis)

    @property
    def cast(self) -> Cast:
        """Who is there to be struck."""
        by_role = {
            role: [part.name for part in self.parts if part.role == role] for role in ("hub", "worker", "caller")
        }
        cuttable = [part.name for part in self.parts if part.door != part.port]
        from_redis = [part.name for part in self.parts if part.redis != self._redis_port]
        return Cast(by_role["hub"], by_role["worker"], by_role["caller"], cuttable, from_redis, SPARED)

    # -- processes -------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Begin a life of this part."""
        part = next(part for part in self.parts if part.name == name)
        env = {"HUBNET_GROUP": GROUPS[part.role], "HUBNET_IS_HUB": str(int(part.role == "hub"))}
        if name in _SMALL_OUTBOX:
            env["HUBNET_OUTBOX"] = _SMALL_OUTBOX[name]
        life = f"{name}-{next(self._lives)}"  # no process's number: they are given again within an hour
        process = self._born(part, {**env, "CHAOS_LIFE": life}, life)
        self.actors[name] = Actor(part, self.folder, process, life)

    def _born(self, part: Part, env: dict[str, str], life: str) -> Process:
        env = {
            **self._env, **env, "HUBNET_PORT": str(part.port), "HUBNET_ADVERTISE": f"{HOST}:{part.door}",
            "HUBNET_REDIS_URL": f"redis://{HOST}:{part.redis}/0",
        }  # fmt: skip
        if part.door != part.port:
            self.relay.tell("listen", part.name)
        with (self.folder / f"{part.name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self._program(part)], env=env, stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True, text=True, bufsize=1,
            )  # fmt: skip

    def _program(self, part: Part) -> list[str]:
        return ["tests.chaos.actors", part.role, part.name, str(self.folder), json.dumps(self._wishes)]

    def kill(self, name: str) -> None:
        """End a life, as the kernel does when memory runs out."""
        actor = self.actors[name]
        actor.signal(signal.SIGKILL)
        actor.process.wait()
        self._buried(actor, "kill")

    def see_off(self, name: str, how: str) -> None:
        """Wait for the end of one that was asked to stop."""
        actor = self.actors[name]
        try:
            code = actor.process.wait(max(0.1, actor.sent + _LEAVE_LIMIT - time.monotonic()))
            self._buried(actor, how if code == 0 else "failed")
        except subprocess.TimeoutExpired:
            actor.process.kill()
            actor.process.wait()
            self._buried(actor, "hung")

    def _buried(self, actor: Actor, how: str) -> None:
        self.deaths += how == "kill"
        part = actor.part
        if part.door != part.port:
            self.relay.tell("unlisten", part.name)
        said = "" if how in {"kill", "stop", "end"} else self._last_words(part.name)
        self.ledger.write("ended", whose=actor.life, sent=actor.sent, how=how, code=actor.process.returncode, text=said)
        assert actor.process.stdin
        actor.process.stdin.close()
        del self.actors[part.name]
        self._past.append(actor)

    def _last_words(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-1500:]

    def bury_the_dead(self) -> list[str]:
        """Those who died by themselves: they are noted, and their names returned."""
        dead = [name for name, actor in self.actors.items() if not actor.stopped and actor.process.poll() is not None]
        for name in dead:
            self._buried(self.actors[name], "itself")
        return dead

    @property
    def there(self) -> dict[str, str]:
        """Ids of all who are there, with their lives."""
        return {(actor.ledger.find("born") or {})["id"]: actor.life for actor in self.actors.values()}

    @property
    def outcomes(self) -> int:
        """Calls that have one."""
        return sum(actor.ledger.look().outcomes for actor in [*self._past, *self.actors.values()])

    # -- Redis ------------------------------------------------------------------------------------------------------

    def start_redis(self) -> None:
        """Start the server, with what is left of its data."""
        from hubnet.embedded import find_server

        data = self.folder / "redis"
        data.mkdir(exist_ok=True)
        with (self.folder / "redis.log").open("ab") as log:
            self._redis = subprocess.Popen(
                [find_server(os.environ.get("HUBNET_REDIS_SERVER", "")), "--port", str(self._redis_port), "--bind", HOST,
                 "--dir", str(data), "--save", "", "--appendonly", "yes"], stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        eventually(self._answers, timeout=10)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._redis_port)) == 0

    def kill_redis(self, *, forget: bool) -> None:
        """End the server; its data may go with it."""
        assert self._redis
        self._redis.kill()
        self._redis.wait()
        if forget:
            shutil.rmtree(self.folder / "redis")

    # -- blows ------------------------------------------------------------------------------------------------------

    def strike(self, blow: Blow) -> Callable[[], bool] | None:
        """Let a blow fall; what is returned ends it, or says that it is too early. None: its target is not there now."""
        if any(name != REDIS and (name not in self.actors or self.actors[name].stopped) for name in blow.targets):
            return None
        if blow.kind.startswith("stop") and not self.actors[blow.targets[0]].has_lived(1.0):
            return None  # before it serves, SIGTERM is death
        number = self._numbers = self._numbers + 1
        self.ledger.write("blow", number=number, kind=blow.kind, targets=blow.targets)
        undo = self._strike(blow)

        def end() -> bool:
            if blow.kind.startswith("stop") and not self._has_left(blow.targets[0]):
                return False
            undo()
            self.ledger.write("over", number=number)
            return True

        return end

    def _has_left(self, name: str) -> bool:
        actor = self.actors[name]
        return actor.process.poll() is not None or time.monotonic() > actor.sent + _LEAVE_LIMIT

    def _strike(self, blow: Blow) -> Callable[[], Any]:
        verb, name = blow.kind.partition("-")[0], blow.targets[0]
        if name == REDIS:
            return self._strike_redis(verb)
        if verb == "kill":
            for target in blow.targets:
                self.kill(target)
            return lambda: [self.start(target) for target in blow.targets]
        if verb == "stop":
            actor = self.actors[name]
            actor.stopped = True
            actor.signal(signal.SIGTERM)
            return lambda: (self.see_off(name, "stop"), self.start(name))
        if verb == "pause":
            process = self.actors[name].process
            process.send_signal(signal.SIGSTOP)
            return lambda: process.send_signal(signal.SIGCONT)
        return self._cut(blow.kind, name)

    def _cut(self, kind: str, name: str) -> Callable[[], Any]:
        route = f"{name}>redis" if kind.endswith("-redis") else name
        verb = kind.removesuffix("-redis")
        if verb == "lose-answers":  # what was asked is done over there, and nobody hears of it
            self.relay.tell("freeze-answers", route)
            return lambda: (self.relay.tell("reset", route), self.relay.tell("mend", route))
        self.relay.tell(verb, route)
        return lambda: self.relay.tell({"refuse": "listen"}.get(verb, "mend"), route)

    def _strike_redis(self, verb: str) -> Callable[[], Any]:
        assert self._redis
        server = self._redis
        if verb == "pause":
            server.send_signal(signal.SIGSTOP)
            return lambda: server.send_signal(signal.SIGCONT)
        self.kill_redis(forget=verb == "forget")
        return self.start_redis

    # -- the end ----------------------------------------------------------------------------------------------------

    def ask_all(
        self, do: str, timeout: float, roles: Sequence[str] = ("hub", "worker", "caller"), **more: Any
    ) -> list[str]:
        """Have all actors of these roles do something; who has not done it in time."""
        asked = [actor for actor in self.actors.values() if actor.part.role in roles]
        for actor in asked:
            actor.tell(do, **more)
        deadline = time.monotonic() + timeout
        while True:
            late = [actor.life for actor in asked if not actor.ledger.find("obeyed", wish=do)]
            if not late or time.monotonic() > deadline:
                return late
            time.sleep(0.05)

    def close(self) -> None:
        """End whatever still runs."""
        self._end_actors()
        self.relay.close()
        if self._redis:
            self._redis.kill()
            self._redis.wait()

    def _end_actors(self) -> None:
        self.eye.close()
        for actor in self.actors.values():
            actor.process.kill()
            actor.process.wait()
            assert actor.process.stdin
            actor.process.stdin.close()


_given: set[int] = set()


def free_port() -> int:
    """A port of loopback below those that the system gives to whoever dials, so that it is still free after a restart."""
    while True:
        port = 20_000 + random.SystemRandom().randrange(12_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
