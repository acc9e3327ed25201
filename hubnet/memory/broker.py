"""A broker in memory: pub/sub and durable streams as hubnet needs them of Redis, over ends of streams, and the register.

Its server is one thread that reads commands as Redis does and hands each message to whoever subscribed; to its clients it has
the bytes of Redis, so publisher and subscriber run on it unchanged. A test may stop it, start it again with or without what it
knew, and let it lose messages.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hubnet.core.register import Entry, Late, Register, Renewal, Renewed
from hubnet.errors import BrokerUnavailable
from hubnet.memory.network import Listener, Network
from hubnet.memory.stream import End

HOST, PORT = "broker", 6379
_UNBOUNDED = 1 << 62  # what waits for a subscriber is Redis's memory, not the publisher's patience
Answer = TypeVar("Answer")


class _Client:
    """One connection to the server."""

    def __init__(self, end: End) -> None:
        import hiredis

        self.end = end
        self.reader = hiredis.Reader()
        self.channels: set[bytes] = set()
        self.patterns: dict[bytes, re.Pattern[bytes]] = {}
        self.queued: list[list[bytes]] | None = None  # the commands of a transaction that has begun


class Server:
    """The broker of one net in memory.

    Attributes:
        register: what its hubs keep, guarded by `lock`.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.register = Register()
        self.lock = threading.Lock()
        self._clients: dict[int, _Client] = {}
        self._to_lose = 0
        self._run_id = os.urandom(20).hex()
        self._streams: dict[bytes, deque[tuple[bytes, list[bytes]]]] = {}
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        """Whether it answers."""
        return self._listener is not None

    def start(self) -> None:
        """Answer, from now on."""
        if self._listener is None:
            self._listener = listener = self.network.listen(HOST, HOST, PORT)
            self._thread = threading.Thread(target=self._run, args=(listener,), name="hubnet-broker", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Be gone, and every connection with it."""
        listener, self._listener = self._listener, None
        if listener is not None and self._thread is not None:
            listener.wake()
            self._thread.join(5)
            listener.close()

    def forget(self) -> None:
        """Lose the register, and the streams; be another one."""
        with self.lock:
            self.register = Register()
            self._streams = {}
            self._run_id = os.urandom(20).hex()

    def lose(self, messages: int) -> None:
        """Take the next messages and hand them to nobody."""
        self._to_lose = messages

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self, listener: Listener) -> None:
        poll = select.poll()
        poll.register(listener.fileno(), select.POLLIN)
        while self._listener is listener:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    self._accept(listener, poll)
                elif client := self._clients.get(fd):
                    self._read(fd, client, poll)
        for fd, client in list(self._clients.items()):
            self._drop(fd, client, poll)

    def _accept(self, listener: Listener, poll: select.poll) -> None:
        try:
            end, _ = listener.accept()
        except OSError:
            return  # woken to stop
        end.setblocking(False)
        end.room = _UNBOUNDED
        self._clients[end.fileno()] = _Client(end)
        poll.register(end.fileno(), select.POLLIN)

    def _read(self, fd: int, client: _Client, poll: select.poll) -> None:
        try:
            data = client.end.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(fd, client, poll)
            return
        client.reader.feed(data)
        while (command := client.reader.gets()) is not False:
            self._obey(client, command)

    def _drop(self, fd: int, client: _Client, poll: select.poll) -> None:
        del self._clients[fd]
        poll.unregister(fd)
        client.end.close()

    def _obey(self, client: _Client, command: list[bytes]) -> None:
        name, *words = command
        if client.queued is not None and name != b"EXEC":
            client.queued.append(command)
            _send(client, b"+QUEUED\r\n")
        elif name == b"MULTI":
            client.queued = []
            _send(client, b"+OK\r\n")
        elif name == b"EXEC":
            commands, client.queued = client.queued or [], None
            _send(client, b"*%d\r\n" % len(commands))
            for one in commands:
                self._obey(client, one)
        elif name in {b"SUBSCRIBE", b"PSUBSCRIBE"}:
            self._subscribe(client, name, words)
        elif name == b"PING" and (client.channels or client.patterns):
            _send(client, _array(b"pong", *(words or [b""])))
        else:
            _send(client, self._answer(name, words))

    @staticmethod
    def _subscribe(client: _Client, name: bytes, routes: list[bytes]) -> None:
        for route in routes:
            if name == b"SUBSCRIBE":
                client.channels.add(route)
            else:
                client.patterns[route] = re.compile(b".*".join(map(re.escape, route.split(b"*"))), re.DOTALL)
            _send(client, _array(name.lower(), route, len(client.channels) + len(client.patterns)))

    def _answer(self, name: bytes, words: list[bytes]) -> bytes:
        """What does not depend on who asks."""
        if name == b"PUBLISH":
            return b":%d\r\n" % self._publish(*words)
        if name == b"XADD":
            return _bulk(self._append(*words))
        if name == b"XREVRANGE":
            return self._read_back(words[0], words[1], int(words[4]))
        if name == b"TIME":
            return _array(*(b"%d" % part for part in divmod(time.time_ns() // 1000, 1_000_000)))
        if name == b"INFO":
            return _bulk(b"run_id:" + self._run_id.encode())
        if name == b"WAIT":
            return b":0\r\n"  # there are no replicas
        if name == b"PING":
            return _array(words[0])[4:] if words else b"+PONG\r\n"
        return b"-ERR unknown command\r\n"

    def _append(self, key: bytes, _maxlen: bytes, _about: bytes, most: bytes, _id: bytes, *fields: bytes) -> bytes:
        stream = self._streams.setdefault(key, deque(maxlen=int(most)))
        at, number = time.time_ns() // 1_000_000, 0
        if stream:
            last, _, last_number = stream[-1][0].partition(b"-")
            at, number = max((at, 0), (int(last), int(last_number) + 1))
        stream.append((b"%d-%d" % (at, number), list(fields)))
        return stream[-1][0]

    def _read_back(self, key: bytes, end: bytes, most: int) -> bytes:
        entries = list(self._streams.get(key, ()))[::-1]
        if end != b"+":
            ids = [entry_id for entry_id, _ in entries]
            entries = entries[ids.index(end[1:]) + 1 :] if end[1:] in ids else []
        shown = [b"*2\r\n" + _bulk(entry_id) + _array(*fields) for entry_id, fields in entries[:most]]
        return b"*%d\r\n" % len(shown) + b"".join(shown)

    def _publish(self, channel: bytes, message: bytes) -> int:
        if self._to_lose > 0:
            self._to_lose -= 1
            return 0
        heard = 0
        for client in self._clients.values():
            if channel in client.channels:
                heard += 1
                _send(client, _array(b"message", channel, message))
            for route, pattern in client.patterns.items():
                if pattern.fullmatch(channel):
                    heard += 1
                    _send(client, _array(b"pmessage", route, channel, message))
        return heard


def _send(client: _Client, data: bytes) -> None:
    try:
        client.end.sendall(data)
    except OSError:
        pass  # it has ended: its end is read next


def _bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _array(*parts: bytes | int) -> bytes:
    lines = [b":%d\r\n" % part if isinstance(part, int) else b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]
    return b"*%d\r\n" % len(parts) + b"".join(lines)


class MemoryStore:
    """The register as one hub reaches it."""

    def __init__(self, server: Server, node: str) -> None:
        self._server = server
        self._node = node
        self.where = "the broker in memory"

    def write(self, entry: Entry, lease: int, expiry: int, epoch: str) -> tuple[str, bytes]:
        return self._do(lambda register, now: register.write(now, entry, lease, expiry, epoch))

    def withdraw(self, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool) -> bool:
        return self._do(
            lambda register, now: register.withdraw(
                now, group, peer_id, incarnation, epoch, only_if_expired=only_if_expired
            )
        )

    def renew(self, members: Sequence[Renewal], hub: tuple[bytes, bytes] | None, lease: int, expiry: int) -> Renewed:
        return self._do(lambda register, now: register.renew(now, members, hub, lease, expiry))

    def late(self) -> Late:
        return self._do(lambda register, now: register.late(now))

    def records(self) -> dict[str, dict[bytes, bytes]]:
        return self._do(lambda register, now: register.records(now))

    def hubs(self, deadline: float | None = None) -> dict[bytes, bytes]:
        return self._do(lambda register, now: register.hubs(now))

    def now(self) -> float:
        return self._do(lambda register, now: now)

    def close(self) -> None:
        """Nothing is open."""

    def _do(self, work: Callable[[Register, float], Answer]) -> Answer:
        reached = self._server.network.reaches(self._node, HOST)
        if not (reached and self._server.runs):
            raise BrokerUnavailable("the broker in memory is out of reach")
        with self._server.lock:
            return work(self._server.register, time.monotonic() * 1000)


class MemoryBroker:
    """The broker as one peer reaches it; has the interface of ``hubnet.broker.Broker``."""

    local = True
    embedded = False
    may_move = False
    shown = "the broker in memory"

    def __init__(self, server: Server, node: str) -> None:
        self._server = server
        self._node = node

    def route(self) -> str:
        """Our own address."""
        return self._node

    def look_up(self) -> None:
        """There are no names to look up."""

    def open(self, deadline: float | None = None) -> tuple[Any, Any]:
        """A stream to the server, and its owner.

        Raises:
            BrokerUnavailable: it is out of reach.
        """
        try:
            end = self._server.network.connect(self._node, HOST, PORT, time.monotonic() + 3.0)
        except OSError as error:
            raise BrokerUnavailable(f"the broker in memory is out of reach: {error}") from error
        end.room = _UNBOUNDED
        return end, _Owner(end)

    def retire(self) -> None:
        """It starts no server anyway."""

    def close(self) -> None:
        """The server belongs to the net."""


class _Owner:
    """Closes a stream, and lets go whoever reads it."""

    def __init__(self, end: End) -> None:
        self._end = end

    def disconnect(self) -> None:
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed already
        self._end.close()
