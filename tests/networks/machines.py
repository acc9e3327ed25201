"""Machines of a net on this one: each is a network namespace of its own, plugged into one switch.

For hubnet they are machines: boot id and namespace tell them apart, and nothing is shared but the file system. Cables can be
pulled and plugged in again, packets dropped, one way or at random. Clocks cannot be told apart by namespaces, so a library that
is loaded before all others moves those of single processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from hubnet.core.keys import new_token
from tests.api.conftest import Process
from tests.guarded import users
from tests.requirements_ import server_binary
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
NETWORK = "10.213.7"
PORT = 3010
BROKER = 6379
_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long ahead(void) {
    static volatile long *seconds;
    if (!seconds) {
        static long none;
        int file = open(getenv("CLOCK_AHEAD"), O_RDONLY);
        void *there = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        if (file >= 0) close(file);
        seconds = there == MAP_FAILED ? &none : there;
    }
    return *seconds;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += ahead();
    return failed;
}
time_t time(time_t *now) {
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    if (now) *now = read.tv_sec;
    return read.tv_sec;
}
"""


def cannot(reason: str) -> NoReturn:
    """Skip the test, or fail where CI promises all of it."""
    if os.environ.get("HUBNET_CI") == "1":
        pytest.fail(f"{reason} (HUBNET_CI=1: not a reason to skip)", pytrace=False)
    pytest.skip(reason)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Machine:
    """One of them.

    Attributes:
        name: as people call it.
        address: its IPv4 address.
        ahead: the file that says by how many seconds the clocks of its processes are ahead.
    """

    def __init__(self, switch: str, number: int, name: str, folder: Path) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        self._switch, self._cable = switch, f"c{number}"
        self._space = f"{switch}-{number}"
        self.ahead = folder / f"{name}.ahead"
        self.set_clock(0)
        _run("ip", "netns", "add", self._space)
        _run(
            "ip", "-n", switch, "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._space
        )
        _run("ip", "-n", switch, "link", "set", self._cable, "master", "bridge", "up")
        _run("ip", "-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _run("ip", "-n", self._space, "link", "set", device, "up")

    def __repr__(self) -> str:
        return f"<machine {self.name}, {self.address}>"

    @property
    def enter(self) -> list[str]:
        """A command's first words: it runs there."""
        return ["nsenter", f"--net=/var/run/netns/{self._space}"]

    def unplug(self) -> None:
        """Pull the cable out, at the switch: it has vanished, for all others."""
        _run("ip", "-n", self._switch, "link", "set", self._cable, "down")

    def plug_in(self) -> None:
        """Plug it in again."""
        _run("ip", "-n", self._switch, "link", "set", self._cable, "up")

    def deaf_to(self, other: Machine) -> None:
        """Drop whatever comes from another machine; what is sent there arrives."""
        self._rule("-A", "INPUT", "-s", other.address, "-j", "DROP")

    def lossy(self, share: float) -> None:
        """Drop this share of whatever comes in, at random."""
        self._rule("-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")

    def has_a_way_out_to_nobody(self) -> None:
        """Whatever is not of this net goes to an address that does not answer: name servers as well."""
        _run("ip", "-n", self._space, "route", "replace", "default", "via", f"{NETWORK}.250")

    def hears_all(self) -> None:
        """Drop nothing any more."""
        self._rule("-F", "INPUT")

    def set_clock(self, ahead: int) -> None:
        """Move the clock of those of its processes that have one of their own: seconds ahead of the true one."""
        with self.ahead.open("r+b" if self.ahead.exists() else "wb") as file:
            file.write(struct.pack("l", ahead))

    def _rule(self, *words: str) -> None:
        _run(*self.enter, "iptables", *words)

    def remove(self) -> None:
        """Delete it; nothing may run there any more."""
        with contextlib.suppress(OSError):
            _run("ip", "netns", "del", self._space)


class Machines:
    """A net over several machines: one that Redis runs on, and as many others as are asked for."""

    def __init__(self, folder: Path, *, clocks: bool = False, quiet: bool = False) -> None:
        self._quiet = quiet
        if os.geteuid():
            cannot("network namespaces need root")
        if missing := [tool for tool in ("ip", "nsenter", "iptables") if not shutil.which(tool)]:
            cannot(f"not here: {', '.join(missing)}")
        self.folder = folder
        self._switch = f"hn{os.getpid()}{folder.name[-6:]}"
        self._machines: list[Machine] = []
        self.actors: list[Process] = []
        self._preload = str(self._clock()) if clocks else ""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUBNET_")}
        self.env = {
            **kept, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "HUBNET_PORT": str(PORT),
            "HUBNET_SECRET": new_token(os.urandom(32)),
        }  # fmt: skip
        try:
            self._switch_on()
            self.store = self.machine("redis")
            self._server = self._redis()
        except BaseException:
            self.close()
            raise

    def _switch_on(self) -> None:
        try:
            _run("ip", "netns", "add", self._switch)
            _run("ip", "-n", self._switch, "link", "add", "bridge", "type", "bridge")
            _run("ip", "-n", self._switch, "link", "set", "bridge", "up")
        except OSError as error:
            cannot(f"no network namespaces here: {error}")

    def machine(self, name: str) -> Machine:
        """One more."""
        made = Machine(self._switch, len(self._machines) + 1, name, self.folder)
        self._machines.append(made)
        return made

    def actor(self, machine: Machine, code: str = "", *, user: str = "worker", **env: str) -> Process:
        """A process there, with ``import hubnet`` done and this code run."""
        settings = {**self.env, "HUBNET_REDIS_URL": self.url(user), **env, **self._with_clock(machine)}
        made = Process(self.folder, settings, f"{len(self.actors)}-{machine.name}", through=machine.enter)
        self.actors.append(made)
        made.run("import hubnet\n" + textwrap.dedent(code))
        return made

    def hub(self, machine: Machine, code: str = "", **env: str) -> Process:
        """A hub that answers."""
        made = self.actor(machine, code, user="hub", HUBNET_IS_HUB="1", **env)
        made.ask("hubnet.peers()")
        return made

    def worker(self, machine: Machine, code: str = "", **env: str) -> Process:
        """A peer that is registered."""
        made = self.actor(machine, code, **env)
        eventually(lambda: made.ask("hubnet.Peer().id and hubnet.stats()['registered']"))
        return made

    def url(self, user: str) -> str:
        return f"redis://{user}:{user}@{self.store.address}:{BROKER}/0"

    def admin(self, *words: str) -> Any:
        """What Redis answers to admin, asked from its own machine."""
        code = f"import redis, json\nprint(json.dumps(redis.Redis.from_url({self.url('admin')!r}).execute_command(*{words!r})))"
        argv = [*self.store.enter, sys.executable, "-c", code]
        said = subprocess.run(argv, check=True, capture_output=True, text=True)
        return json.loads(said.stdout)

    def close(self) -> None:
        """End all processes, then take all of it down."""
        for one in reversed(self.actors):
            one.close()
            if self._quiet:
                continue
            print(f"--- {one.name}\n{one.said}")
        if server := getattr(self, "_server", None):
            server.terminate()
            server.wait(10)
        for machine in self._machines:
            machine.remove()
        with contextlib.suppress(OSError):
            _run("ip", "netns", "del", self._switch)

    def _redis(self) -> subprocess.Popen[bytes]:
        (self.folder / "users.acl").write_text(users())
        (self.folder / "server.conf").write_text(
            f'port {BROKER}\nbind 0.0.0.0\ndir "{self.folder}"\naclfile "{self.folder}/users.acl"\nsave ""\n'
        )
        env = {**os.environ, **self._with_clock(self.store)}
        with (self.folder / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [*self.store.enter, server_binary(), str(self.folder / "server.conf")],
                stdout=log, stderr=log, env=env,
            )  # fmt: skip
        eventually(lambda: b"Ready to accept" in (self.folder / "server.log").read_bytes())
        loader = f"redis://loader:loader@127.0.0.1:{BROKER}/0"
        subprocess.run([*self.store.enter, sys.executable, "-m", "tests.guarded", loader], cwd=ROOT, check=True)
        return server

    def _with_clock(self, machine: Machine) -> dict[str, str]:
        return {"LD_PRELOAD": self._preload, "CLOCK_AHEAD": str(machine.ahead)} if self._preload else {}

    def _clock(self) -> Path:
        compiler = shutil.which("cc") or cannot("no C compiler for a clock of its own")
        source, library = self.folder / "clock.c", self.folder / "clock.so"
        source.write_text(_CLOCK)
        _run(compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl")
        return library


@contextlib.contextmanager
def machines(folder: Path, *, clocks: bool = False, quiet: bool = False) -> Iterator[Machines]:
    """For a while; what its processes wrote is told at the end, unless quiet."""
    made = Machines(folder, clocks=clocks, quiet=quiet)
    try:
        yield made
    finally:
        made.close()
