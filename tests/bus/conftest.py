"""A real Redis-compatible server, and parts of the bus on it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hubnet.broker import Broker
from hubnet.bus.durable import DurablePublisher
from hubnet.bus.publisher import Publisher
from hubnet.bus.subscriber import Subscriber
from hubnet.bus.subscription import Subscription
from hubnet.core.channels import Names
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring, new_token
from hubnet.core.selection import Query
from hubnet.counters import Counters
from hubnet.embedded import find_server
from hubnet.environment import Settings
from hubnet.redis_socket import answers
from tests.waiting import eventually, free_port

RING = Keyring.of([new_token(bytes(32))], "tests")
NAMES = Names("tests")
HTTP = b"HTTP/1.0 400 Bad Request\r\n\r\n"


class Server:
    """A server on a port of its own, which may be stopped and started there again."""

    def __init__(self, folder: Path, password: str = "sesame") -> None:
        self.port = free_port()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0" if password else f"redis://127.0.0.1:{self.port}/0"
        self._password = password
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Run, and wait until it answers."""
        said = f'port {self.port}\nbind 127.0.0.1\nsave ""\ndir {self._folder}\n'
        said += f"requirepass {self._password}\n" if self._password else ""
        self._process = subprocess.Popen(
            [find_server(), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        self._process.stdin.write(said.encode())
        self._process.stdin.close()
        eventually(lambda: answers(self.url))

    def kill(self) -> None:
        """As a crash."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """It hangs."""
        assert self._process is not None
        self._process.send_signal(19)

    def go_on(self) -> None:
        """It hangs no more."""
        assert self._process is not None
        self._process.send_signal(18)

    def client(self) -> Any:
        """A redis-py client."""
        import redis

        return redis.Redis.from_url(self.url)


class Wire:
    """One peer's bus: a publisher and a subscriber."""

    def __init__(
        self, server: Server, group: str, port: int, ring: Keyring, outbox: tuple[int, int], hub: bool, length: int
    ) -> None:
        self.broker = Broker(Settings(redis_url=server.url))
        self.counters = Counters()
        self.group = group
        self.sender = Sender(generate_id(port, "127.0.0.1", group), os.urandom(16), hub, "this machine")
        self.packer = Packer(self.sender, ring)
        self.publisher = Publisher(self.broker, self.packer, self.counters, outbox=outbox)
        self.durable = DurablePublisher(self.broker, self.packer, NAMES, self.counters, outbox=outbox, length=length)
        self.confirmations = 0
        self.subscriber = Subscriber(
            self.broker, Opener(ring), NAMES, self.sender.incarnation, self.counters, self._confirmed
        )  # fmt: skip

    def _confirmed(self) -> None:
        self.confirmations += 1

    def publish(self, name: str, body: bytes) -> None:
        """One event."""
        self.publisher.publish(NAMES.event(self.group, name).encode(), body)

    def keep(self, name: str, body: bytes) -> None:
        """One durable event."""
        self.durable.publish(NAMES.event(self.group, name).encode(), body)

    def hear(
        self, name: str, deliver: Callable[[bytes], object] | None = None, *, groups: tuple[str, ...] | None = None,
        matcher: Any = None, local: bool = False, wait: bool = True, **more: Any,
    ) -> Heard:  # fmt: skip
        """Subscribe, and wait until Redis has confirmed it."""
        heard = Heard(deliver)
        heard.subscription = Subscription(
            name, heard, matcher or Query(),
            channels=None if groups is None else frozenset(NAMES.event(group, name) for group in groups),
            pattern=NAMES.event_everywhere(name) if groups is None else None,
            counters=self.counters, hears_itself=local, **more,
        )  # fmt: skip
        self.subscriber.add(heard.subscription)
        if wait:
            assert self.subscriber.wait_live([heard.subscription], time.monotonic() + 10)
        return heard

    def counted(self, what: str) -> int:
        """A counter."""
        return self.counters.snapshot().get(what, 0)

    def close(self) -> None:
        """Close both."""
        self.publisher.close()
        self.durable.close()
        self.subscriber.close()


class Heard(list[bytes]):
    """What a handler got."""

    subscription: Subscription

    def __init__(self, deliver: Callable[[bytes], object] | None) -> None:
        super().__init__()
        self._deliver = deliver
        self.threads: set[int] = set()

    def __call__(self, body: memoryview, sender: Sender) -> None:
        self.threads.add(threading.get_ident())
        self.append(bytes(body))
        if self._deliver:
            self._deliver(bytes(body))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server for this test alone."""
    made = Server(tmp_path)
    yield made
    made.kill()


@pytest.fixture(params=["", "sesame"], ids=["no password", "password"])
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that is not there yet; without a password a stranger in its place is met by the first command only."""
    made = Server(tmp_path, request.param)
    made.kill()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that do it no harm."""
    made = Server(tmp_path_factory.mktemp("server"))
    yield made
    made.kill()


class Wires:
    """Makes peers' buses: ``wires(group="render")``."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.made: list[Wire] = []

    def __call__(
        self, group: str = "render", *, ring: Keyring = RING, outbox: tuple[int, int] = (64 << 20, 200_000), hub: bool = False,
        length: int = 10_000,
    ) -> Wire:  # fmt: skip
        self.made.append(Wire(self.server, group, 4000 + len(self.made), ring, outbox, hub, length))
        return self.made[-1]


@pytest.fixture
def wires(request: pytest.FixtureRequest) -> Iterator[Wires]:
    """On the test's own server where it has one, otherwise on the shared one."""
    own = next((name for name in ("server", "away") if name in request.fixturenames), None)
    made = Wires(request.getfixturevalue(own or "shared_server"))
    if not own:
        made.server.client().flushall()
    yield made
    for wire in made.made:
        wire.close()


@pytest.fixture
def threads_lack(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AbstractContextManager[None]]:
    """Where the system has no thread to give for threads of this name."""

    @contextmanager
    def lack(name: str) -> Iterator[None]:
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if thread.name == name:
                raise RuntimeError("can't start new thread")
            real(thread)

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            yield

    return lack
