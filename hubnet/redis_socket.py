"""Sockets to Redis that are spoken to by hand: opened, logged in, asked one question.

redis-py does the same and more, and costs a peer 134 ms and 19 MB; what takes TLS or options is left to it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from hubnet import address, machine
from hubnet.errors import BrokerUnavailable

CONNECT_LIMIT = 3.0
ANSWER_LIMIT = 5.0
ANSWER_BYTES = 16 << 20


class TooMuch(BrokerUnavailable):
    """An answer that is longer than any that we ask for."""


class Owner(Protocol):
    """Whoever must close a socket to Redis."""

    def disconnect(self) -> None: ...


class Closing:
    """The owner of a socket that was opened by hand."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def disconnect(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it
        except OSError:
            pass  # it had ended
        self._sock.close()


def resp(*parts: bytes) -> bytes:
    """A command as Redis reads it."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def open_socket(where: SplitResult, limit: float) -> socket.socket:
    end = time.monotonic() + limit
    if where.scheme == "unix":
        sock = _connected(socket.AF_UNIX, unquote(where.path), limit)
    else:
        sock = _open_first(address.resolve(where.hostname or "127.0.0.1", where.port or 6379, end), end)
        machine.no_delay(sock)
        machine.watch_for_silence(sock)
    try:
        if where.password is not None:
            user = [unquote(where.username).encode()] if where.username else []
            answer(sock, (b"AUTH", *user, unquote(where.password).encode()), sooner(end, limit))
        database = where.path.strip("/") if where.scheme == "redis" else ""
        if database not in {"", "0"}:
            answer(sock, (b"SELECT", database.encode()), sooner(end, limit))
    except BaseException:
        sock.close()
        raise
    sock.settimeout(None)
    return sock


def _open_first(candidates: address.Resolved, end: float) -> socket.socket:
    failure: OSError = OSError("no address")
    for family, target in candidates:
        try:
            return _connected(family, target, max(0.001, end - time.monotonic()))
        except OSError as error:
            failure = error
    raise failure


def _connected(family: int, target: Any, limit: float) -> socket.socket:
    sock = socket.socket(family)
    try:
        sock.settimeout(limit)
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    return sock


def sooner(deadline: float | None, limit: float) -> float:
    """The seconds that are left, at most the limit."""
    return limit if deadline is None else max(0.001, min(limit, deadline - time.monotonic()))


def answer(sock: socket.socket, command: Sequence[bytes], limit: float = ANSWER_LIMIT) -> Any:
    """The answer to one command, on a socket where nothing else waits for one; the socket keeps a timeout.

    Raises:
        BrokerUnavailable: Redis refuses the command, or says too much.
        OSError: it ended the connection, or the seconds are over.
    """
    import hiredis

    sock.settimeout(limit)
    sock.sendall(resp(*command))
    try:
        reply = next_reply(sock, hiredis.Reader(), time.monotonic() + limit)
    except hiredis.HiredisError as error:
        raise BrokerUnavailable(f"what listens there is no Redis: {error}; check HUBNET_REDIS_URL") from error
    if isinstance(reply, Exception):
        raise BrokerUnavailable(
            f"Redis refuses {command[0].decode()}: {reply}; check the user and password in HUBNET_REDIS_URL"
        )
    return reply


def next_reply(
    sock: socket.socket, reader: Any, end: float, most: int = ANSWER_BYTES, *, pace: float = float("inf")
) -> Any:
    """What Redis says next, which may be an error.

    Args:
        sock: that it says it on; it keeps a timeout.
        reader: a ``hiredis.Reader`` that has nothing left.
        end: monotonic seconds by which all of it must be here.
        most: bytes.
        pace: the slowest that will do, in bytes a second: as long as it is kept the end moves away.

    Raises:
        TooMuch: it is longer; the socket is of no more use.
        OSError: Redis ended the connection, or the time is over.
    """
    got = 0
    while (reply := reader.gets()) is False:
        if (left := end + got / pace - time.monotonic()) <= 0:
            raise TimeoutError("no whole answer in time")
        sock.settimeout(left)
        data = sock.recv(262_144)
        if not data:
            raise ConnectionResetError("closed by Redis")
        got += len(data)
        if got > most:
            raise TooMuch(f"Redis answers with more than {most} bytes")
        reader.feed(data)
    return reply


def answers(url: str) -> bool:
    """Whether a server at this URL takes its password."""
    try:
        open_socket(urlsplit(url), 1.0).close()
        return True
    except (OSError, BrokerUnavailable):
        return False
