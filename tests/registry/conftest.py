"""One embedded server for the folder, emptied before each test."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import pytest
import redis

from hubnet.broker import Broker
from hubnet.core.channels import Names
from hubnet.core.keys import Keyring, new_token
from hubnet.counters import Counters
from hubnet.embedded import EmbeddedServer
from hubnet.environment import Settings
from hubnet.registry import Registry
from hubnet.scripts import RedisStore
from tests import requirements_

TOKEN = new_token(bytes(range(32)))
LEASE, SUSPECT = 10.0, 3600.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A real server in a runtime directory of its own."""
    binary = requirements_.server_binary()
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("runtime"))
    try:
        one = EmbeddedServer(binary)
        yield one
        one.close()
    finally:
        tempfile.tempdir = before


@pytest.fixture
def admin(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A look inside; the server is empty when a test begins."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


Open = Callable[..., Registry]


@pytest.fixture
def open_registry(server: EmbeddedServer, admin: redis.Redis) -> Iterator[Open]:
    """Registers as different hubs have them."""
    made: list[Registry] = []

    def open_(
        *,
        url: str = "",
        secrets: tuple[str, ...] = (TOKEN,),
        namespace: str = "default",
        lease: float = LEASE,
        counters: Counters | None = None,
    ) -> Registry:
        broker = Broker(Settings(redis_url=url or server.url))
        ring = Keyring.of(secrets, namespace)
        store = RedisStore(broker, Names(namespace))
        made.append(Registry(store, Names(namespace), ring, lease=lease, suspect=SUSPECT, counters=counters))
        return made[-1]

    yield open_
    for registry in made:
        registry.close()


@pytest.fixture
def registry(open_registry: Open) -> Registry:
    """The register as one hub has it."""
    return open_registry()
