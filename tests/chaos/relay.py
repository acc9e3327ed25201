"""The relay: networks that can be cut. One process forwards TCP for all routes of a run and is told over its standard input.

``freeze`` holds what is under way in both directions, and new links with it, as a pulled cable does; ``freeze-answers`` holds
one direction; ``mend`` lets it go on. ``reset`` breaks all links of a route off; ``refuse`` does, and listens no more until
``listen``. Unlike a cut cable, a frozen route still accepts: a kernel is there. Commands are ``verb route``, each answered with
a line.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)


class Half(asyncio.Protocol):
    """One end of a link that passes here; `other` is where its bytes go."""

    transport: Any = None
    other: Half | None = None

    def __init__(self, route: Route, *, up: bool) -> None:
        self.route = route
        self.up = up
        self._full = False
        self._early: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.route.halves.add(self)
        self.look()
        if self.up:
            self.route.relay.spawn(self._go_on())

    async def _go_on(self) -> None:
        onward = Half(self.route, up=False)
        onward.other = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: onward, HOST, self.route.target)
        except OSError:
            self.reset()
            return
        self.other = onward
        for data in self._early:
            onward.transport.write(data)
        if self.transport.is_closing():
            onward.reset()

    def look(self) -> None:
        """Read, or leave it: as the route is cut, and as the other end keeps up."""
        held = self.route.frozen_up if self.up else self.route.frozen_down
        if held or self._full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other:
            self.other.hold(full=True)

    def resume_writing(self) -> None:
        if self.other:
            self.other.hold(full=False)

    def hold(self, *, full: bool) -> None:
        """The other end is full, or no more."""
        self._full = full
        self.look()

    def connection_lost(self, error: Exception | None) -> None:
        self.route.halves.discard(self)
        if self.other and not self.other.transport.is_closing():
            if error:
                self.other.reset()
            else:
                self.other.transport.close()

    def reset(self) -> None:
        """Break off, as a kernel does for a process that is no more."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class Route:
    """One listening port, and where it leads."""

    def __init__(self, relay: Relay, port: int, target: int) -> None:
        self.relay, self.port, self.target = relay, port, target
        self.halves: set[Half] = set()
        self.frozen_up = self.frozen_down = False
        self._server: asyncio.Server | None = None

    async def tell(self, verb: str) -> None:
        """Do what a command says."""
        if verb in {"freeze", "freeze-answers", "mend"}:
            self.frozen_up, self.frozen_down = verb == "freeze", verb != "mend"
            for half in self.halves:
                half.look()
        elif verb == "listen" and self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: Half(self, up=True), HOST, self.port, backlog=256)
        if verb in {"refuse", "unlisten"} and self._server is not None:
            self._server.close()
            self._server = None
        if verb in {"refuse", "reset"}:
            for half in list(self.halves):
                half.reset()


class Relay:
    """All routes."""

    def __init__(self, routes: dict[str, tuple[int, int]]) -> None:
        self._routes = {name: Route(self, *ports) for name, ports in routes.items()}
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Any) -> None:
        """Do it meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Forward until nobody tells any more."""
        for route in self._routes.values():
            await route.tell("listen")
        print("ready", flush=True)
        while command := await asyncio.to_thread(sys.stdin.readline):
            verb, name = command.split()
            await self._routes[name].tell(verb)
            print("done", flush=True)


class RelayProcess:
    """The relay, as the run has it."""

    def __init__(self, routes: dict[str, tuple[int, int]], env: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.relay", json.dumps(routes)], env=env, text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid
        self._answer("ready")

    def tell(self, verb: str, route: str) -> None:
        """Have it do something, and wait until it is done."""
        assert self._process.stdin
        self._process.stdin.write(f"{verb} {route}\n")
        self._process.stdin.flush()
        self._answer("done")

    def _answer(self, wanted: str) -> None:
        assert self._process.stdout
        said = self._process.stdout.readline().strip()
        assert said == wanted, f"the relay said {said!r}"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


if __name__ == "__main__":
    asyncio.run(Relay(json.loads(sys.argv[1])).run())
