"""Peers reduced to their links: a serving and a calling side on loopback, which find each other in a dict."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hubnet import certificates
from hubnet.core import calls, handshake
from hubnet.core.connections import Connection, Connections
from hubnet.core.flags import Flags
from hubnet.core.frames import Bare, Hashed, Sealed, Tagged, TaggedWhole
from hubnet.core.handshake import Responder, Self, digest_of
from hubnet.core.identity import generate_id
from hubnet.core.keys import Keyring, new_token
from hubnet.counters import Counters
from hubnet.errors import PeerUnreachable
from hubnet.links.calling import Caller, Endpoint
from hubnet.links.dial import Dialler
from hubnet.links.encrypted import EncryptedSocket, Secured
from hubnet.links.limits import Limits
from hubnet.links.link import Link
from hubnet.links.serving import Serving

RING = Keyring.of([new_token(bytes(32))], "tests")
OTHER_RING = Keyring.of([new_token(bytes(range(32)))], "tests")
NOBODY = Self(bytes(32), bytes(16))
SUITES = {"bare": Bare, "tagged": Tagged, "sealed": Sealed, "hashed": Hashed, "tagged whole": TaggedWhole}


def soon(seconds: float = 5.0) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def listener(port: int = 0) -> socket.socket:
    """A listening socket of loopback."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(512)
    return sock


def descriptors() -> set[str]:
    """What this process has open: descriptor and what it is."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except OSError:
            continue  # the one that listed
    return found


def serving_threads() -> list[threading.Thread]:
    """Threads that serve."""
    return [thread for thread in threading.enumerate() if thread.name == "hubnet-serve"]


@cache
def hosts() -> list[Secured]:
    """Two hosts of one CA, made once."""
    with tempfile.TemporaryDirectory() as folder:
        made = certificates.init(Path(folder) / "tls", [("one", "127.0.0.1"), ("two", "127.0.0.1")], days=2)
        return [Secured.of(*map(str, (host.certificate, host.key, made.authority.certificate))) for host in made.hosts]


def secured(number: int = 0) -> Secured:
    """What a host of one CA needs for TLS."""
    return hosts()[number]


def pair(suite: str, kind: str) -> tuple[Link, Link]:
    """Two ends of one link, over a socketpair, over TCP or inside TLS."""
    if kind == "unix":
        left, right = socket.socketpair()
    else:
        with listener() as waiting:
            left = socket.create_connection(waiting.getsockname())
            right, _ = waiting.accept()
    if kind == "tls":
        _ = secured()  # not by two threads at once
        accepting = Running(_accepted, right)
        left, _ = secured().dial(left, "127.0.0.1", soon())  # type: ignore[assignment]
        left.sendall(b".")
        right = accepting.result()
    forth, back = os.urandom(32), os.urandom(32)
    protect = SUITES[suite]
    return Link(left, protect(forth, back), NOBODY, 0), Link(right, protect(back, forth), NOBODY, 0)


def _accepted(sock: socket.socket) -> EncryptedSocket:
    """The listening end of TLS, once the dialler has shown its certificate as well."""
    made = secured().accept(sock)
    made.settimeout(5)
    assert made.recv(1) == b"."
    return made


class End:
    """One peer's links. It is the host of its own serving room.

    Attributes:
        book: who is where, shared by the ends of one test.
        asked: how often the book was asked, and whether afresh.
    """

    invoke: Callable[..., Any] | None = None
    peer = None

    def __init__(
        self, book: dict[bytes, Endpoint], *, cap: int = 32, patience: float = 10.0, port: int = 0, ring: Keyring = RING,
        wire: str = "auto", tls: Secured | None = None,
        limits: Limits = Limits(),  # noqa: B008 - it cannot change
    ) -> None:  # fmt: skip
        self.book = book
        self.asked: list[bool] = []
        self.counters = Counters()
        self.connections = Connections()
        self.table = self.connections.by_name
        sock = listener(port)
        self.port = sock.getsockname()[1]
        self.id = generate_id(self.port, "127.0.0.1")
        self.own = Self(digest_of(self.id), os.urandom(16))
        self.ring = ring
        self.suites = handshake.suites_for(wire, in_tls=tls is not None)
        self.binding = tls.binding if tls else b""
        self.refusal = handshake.ACCEPTED
        self.ended_links: list[Link] = []
        self.flags = Flags()
        self.dialler = Dialler(self.own, ring, self.suites, self._hello, secured=tls, most=limits.call)
        self.caller = Caller(self.dialler, self.resolve, self.flags, self.counters, reach=patience, most=limits.call)
        self.serving = Serving(sock, self, cap=cap, patience=patience, secured=tls, limits=limits)
        friendly = {"host": "127.0.0.1", "port": self.port, "group": "None"}
        self.endpoint = Endpoint(self.id, self.own.incarnation, "127.0.0.1", self.port, friendly)
        book[self.id] = self.endpoint

    def serve(self, *functions: Callable[..., Any], **options: Any) -> End:
        """Register functions under their names, and begin."""
        for function in functions:
            self.connections.add(Connection(function.__name__, function, **options))
        self.serving.start()
        return self

    def call(self, other: End, name: str, *args: Any, timeout: float | None = 20.0, idempotent: bool = False) -> Any:
        """Call a connection of another end."""
        connection = Connection(name, print, idempotent=idempotent)
        return self.caller.call(connection, other.id, args, {}, timeout)

    def call_hot(self, other: End, connection: Connection, *args: Any) -> Any:
        """As an application's small call without a deadline goes."""
        known = self.caller.pools.get(other.id)
        if known is None:
            return self.caller.call(connection, other.id, args, {}, None)
        return self.caller.call_plain(connection, known, args, 0)

    def counted(self, what: str) -> int:
        """A counter."""
        return self.counters.snapshot().get(what, 0)

    def drain(self, seconds: float = 5.0) -> bool:
        """As a peer drains: newcomers learn it in the handshake."""
        self.refusal = handshake.DRAINING
        return self.serving.drain(soon(seconds))

    def close(self) -> None:
        """Close both sides."""
        self.caller.close()
        self.serving.close()

    # -- what the two rooms ask ------------------------------------------------------------------------------------

    def resolve(self, peer_id: bytes, deadline: float, fresh: bool) -> Endpoint:
        self.asked.append(fresh)
        if peer_id not in self.book:
            raise PeerUnreachable("not in the book", peer=peer_id)
        return self.book[peer_id]

    def responder(self) -> Responder:
        return Responder(self.own, self.ring, self.suites, os.urandom, self.binding, judge=self._judge)

    def _judge(self, digest: bytes) -> int:
        if self.refusal == handshake.ACCEPTED and not self.serving.has_room_for(digest):
            return handshake.FULL
        return self.refusal

    def _hello(self) -> bytes:
        return json.dumps({"id": self.id.decode()}).encode()

    def find(self, name: bytes) -> Connection | None:
        return self.table.get(name)

    find_late = find

    def missing(self, name: bytes) -> bytes:
        return calls.refusal(calls.NO_CONNECTION, "none", connections=self.connections.tags())

    def greeted(self, link: Link, hello: bytes) -> None:
        link.friendly = json.loads(hello)

    def ended(self, link: Link) -> None:
        self.ended_links.append(link)

    def count(self, what: str) -> None:
        self.counters.add(what)


class Ends:
    """Makes ends that share one book."""

    def __init__(self) -> None:
        self.book: dict[bytes, Endpoint] = {}
        self.made: list[End] = []

    def __call__(self, **options: Any) -> End:
        self.made.append(End(self.book, **options))
        return self.made[-1]


@contextmanager
def ends_of_a_test() -> Iterator[Ends]:
    """Ends, closed afterwards."""
    made = Ends()
    try:
        yield made
    finally:
        for end in made.made:
            end.close()


class Running:
    """A call in a thread: its result or what it raised."""

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._outcome: list[Any] = []

        def run() -> None:
            try:
                self._outcome.append((function(*args, **kwargs), None))
            except BaseException as error:
                self._outcome.append((None, error))

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self._outcome)

    def result(self, timeout: float = 20.0) -> Any:
        """Its result."""
        self.thread.join(timeout)
        assert self._outcome, f"still running after {timeout} s"
        value, error = self._outcome[0]
        if error is not None:
            raise error
        return value

    def error(self, timeout: float = 20.0) -> BaseException | None:
        """What it raised."""
        self.thread.join(timeout)
        assert self._outcome, f"still running after {timeout} s"
        return self._outcome[0][1]
