"""Where Redis is, and the embedded server where nobody set one up.

With HUBNET_REDIS_URL set, that is it, or says whom to ask at each connect. Otherwise the first hub on a machine starts a
server of its own under a lock, leaves its address in the runtime directory, and takes it along when it dies; another hub then
starts one anew. Peers read that address again whenever they connect, and believe it once the server has taken the password.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from hubnet import address, files, machine, runtime
from hubnet.embedded import EmbeddedServer, Seen, answers_here, find_server, look
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable, ConfigError, causes
from hubnet.guides import LIMIT, Guides
from hubnet.redis_socket import ANSWER_LIMIT, CONNECT_LIMIT, Closing, Owner, answer, open_socket, sooner
from hubnet.redis_url import guided, has_user, without_password

if TYPE_CHECKING:
    import redis

_log = logging.getLogger("hubnet")
_ADDRESS = "broker.json"
_LOOK = 1.0
_NOBODY = "no hub runs on this machine yet and HUBNET_REDIS_URL is not set: start one with `hubnet hub`"


def import_the_rest(*, hub: bool) -> None:
    """Import now what threads would import later, when a fork might fall into it."""
    import hiredis

    _ = hiredis
    if hub:
        import redis

        _ = redis


def look_up(settings: Settings) -> None:
    """Ask for the address behind Redis's name now, so that nobody who holds a lock has to wait for it.

    Raises:
        BrokerUnavailable: it has none, and a peer that is not told what to advertise needs it.
    """
    try:
        _first_resolved(settings.redis_url)
    except OSError as error:
        if not settings.advertise and settings.host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared with
            raise BrokerUnavailable(
                f"Redis at {without_password(settings.redis_url)}: {error}; check HUBNET_REDIS_URL"
            ) from error


def _hosts(url: str) -> list[tuple[str, int]]:
    """Where a URL leads at first: to Redis, or to those that know where it is. None for a file's."""
    if said := guided(url):
        return list(said.guides)
    where = urlsplit(url)
    return [(where.hostname, where.port or 6379)] if where.hostname else []


def _first_resolved(url: str) -> address.Resolved:
    """The addresses of the first of its hosts that has any; [] where it has no host."""
    failure: OSError | None = None
    end = time.monotonic() + CONNECT_LIMIT
    for host, port in _hosts(url):
        try:
            return address.resolve(host, port, end)
        except OSError as error:
            failure = error
    if failure:
        raise failure
    return []


class Broker:
    """The Redis of this peer: finds it, opens connections to it, and runs it where that falls to us."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: EmbeddedServer | None = None
        self._lock: runtime.Lock | None = None
        self._guard = threading.Lock()
        self.embedded = not settings.redis_url
        self.spare_files: Callable[[], bool] = lambda: False
        """Lets go of files that are kept back; whether there were any."""
        self._embedded_url = ""
        self.has_user = has_user(settings.redis_url)
        said = guided(settings.redis_url)
        self._guides = Guides(said, settings.namespace, self.shown) if said else None
        self.may_move = self._guides is not None
        url = said.server(*said.guides[0]) if said else settings.redis_url
        where = urlsplit(url)
        if where.scheme == "rediss" or where.query:
            _client(url, self.shown)  # what is wrong with its options is told now, not at each try
        numbers = [where.path.strip("/")] if where.scheme != "unix" else []
        if any(number not in {"", "0"} for number in [*numbers, *parse_qs(where.query).get("db", [])]):
            _log.warning(
                "HUBNET_REDIS_URL: a database number keeps no nets apart, pub/sub knows none; use HUBNET_NAMESPACE"
            )
        # A dead machine refuses nothing, and another one may be master by now.
        self._connect_limit = LIMIT if said else CONNECT_LIMIT
        self._runs_one = settings.is_hub

    @property
    def local(self) -> bool:
        """Whether Redis is on this machine, so that peers may stay on loopback."""
        hosts = _hosts(self._settings.redis_url)
        return self.embedded or all(machine.is_loopback(host) for host, _ in hosts)

    @property
    def shown(self) -> str:
        """The URL without its password, or where the embedded server was last."""
        if not self.embedded:
            return without_password(self._settings.redis_url)
        where = urlsplit(self._embedded_url)
        return f"the embedded server at {where.hostname}:{where.port}" if where.port else "the embedded server"

    def route(self) -> str:
        """The source address of the route to Redis.

        Raises:
            BrokerUnavailable: there is none.
        """
        try:
            found = _first_resolved(self._settings.redis_url)
            if not found:
                raise OSError("it is on this machine; set HUBNET_ADVERTISE to where others reach this peer")
            return machine.route_address(*found[0])
        except OSError as error:
            raise BrokerUnavailable(f"no route to Redis at {self.shown}: {error}; check HUBNET_REDIS_URL") from error

    def url(self, deadline: float | None = None) -> str:
        """Where Redis is now, as Sentinels or a Cluster say by the deadline (monotonic); without a URL a hub starts a server.

        Raises:
            BrokerUnavailable: nobody tells, or runs an embedded server yet.
            ConfigError: no server binary to run.
        """
        if self._guides:
            return self._guides.server(self._ask_at, deadline)
        if not self.embedded:
            return self._settings.redis_url
        with self._guard:
            said = runtime.read(_ADDRESS)
            seen = look(str(said["url"]), sooner(deadline, _LOOK)) if said else Seen.GONE
            if said and seen is not Seen.GONE:
                self._embedded_url = str(said["url"])
            if seen is Seen.ANSWERS:
                return self._embedded_url
            silent = self._stands_still() if seen is Seen.SILENT else ""
            if not self._runs_one:
                raise BrokerUnavailable(silent or _NOBODY)
            self._embedded_url = self._run_server(silent)
            return self._embedded_url

    def _run_server(self, silent: str) -> str:
        """The URL of our own server, started if need be; not where another hub runs one, which may stand still."""
        self._lock = self._lock or runtime.Lock("broker.lock")
        if not self._lock.take():
            raise BrokerUnavailable(silent or "another hub is starting the embedded server")
        if self._server and self._server.runs and not answers_here(self._server.url):
            raise BrokerUnavailable(silent or "the embedded server does not answer just now")
        if self._server and not self._server.runs:
            self._server.close()
            self._server = None
        if self._server is None:  # else its address could not be written, or somebody cleared it away
            self._server = EmbeddedServer(find_server(self._settings.redis_server))
        runtime.write(_ADDRESS, {"url": self._server.url, "pid": os.getpid()})
        return self._server.url

    def _stands_still(self) -> str:
        said = runtime.read(_ADDRESS) or {}
        hub = f", which the hub with pid {said['pid']} started," if "pid" in said else ""
        return (
            f"{self.shown}{hub} does not answer: it is stopped, or has much to do; let it go on (kill -CONT), or end that hub "
            "and start one anew with `hubnet hub`"
        )

    def client(self) -> redis.Redis:
        """A redis-py client, for the register.

        Raises:
            BrokerUnavailable: nobody knows where Redis is.
        """
        return _client(self.url(), self.shown, connect=self._connect_limit)

    def open(self, deadline: float | None = None) -> tuple[socket.socket, Owner]:
        """An authenticated socket to Redis by the deadline (monotonic), and its owner to close (and keep alive).

        Plain TCP and Unix sockets are spoken to by hand, which spares a peer 134 ms and 19 MB; everything else (TLS, options in
        the URL) is redis-py's.

        Raises:
            BrokerUnavailable: Redis is out of reach or refuses us.
        """
        return self._open_at(self.url(deadline), deadline)

    def _open_at(self, url: str, deadline: float | None) -> tuple[socket.socket, Owner]:
        where = urlsplit(url)
        try:
            if where.scheme in {"redis", "unix"} and not where.query:
                sock = open_socket(where, sooner(deadline, self._connect_limit))
                return sock, Closing(sock)
            return self._open_by_library(url, deadline)
        except OSError as error:
            raise self.out_of_reach(error) from error

    def _open_by_library(self, url: str, deadline: float | None) -> tuple[socket.socket, Owner]:
        import redis

        connection: Any = _client(
            url, self.shown, deadline, connect=self._connect_limit
        ).connection_pool.make_connection()
        try:
            connection.connect()
            connection.send_command("PING")  # its answer also takes TLS's session tickets off the stream
            connection.read_response()
        except redis.RedisError as error:
            raise self.out_of_reach(error) from error
        sock: socket.socket = connection._sock
        sock.settimeout(None)
        return sock, connection

    def out_of_reach(self, error: Exception, what: str = "Redis") -> BrokerUnavailable:
        """What to tell of an error that came of a connection to Redis: where that is, and what to try."""
        if files.none_left(error):
            self.spare_files()  # the next try has one
            return BrokerUnavailable(
                f"{what} at {self.shown} is out of reach: {error}; {files.limit()}: raise that limit"
            )
        if self.embedded and any(isinstance(one, TimeoutError) for one in causes(error)):
            return BrokerUnavailable(self._stands_still())
        return BrokerUnavailable(f"{what} at {self.shown} is out of reach: {error}; {self.advice}")

    @property
    def advice(self) -> str:
        """What to try where Redis does not take what it was told."""
        if not self.embedded:
            return "check HUBNET_REDIS_URL"
        said = runtime.read(_ADDRESS)
        return (
            self._stands_still()
            if said and look(str(said["url"])) is Seen.SILENT
            else "is there a hub? `hubnet hub` is one"
        )

    def ask(self, *command: bytes, deadline: float | None = None) -> Any:
        """The answer to one command by the deadline (monotonic), over a connection of its own; for what is asked seldom.

        Raises:
            BrokerUnavailable: Redis is out of reach or refuses the command.
        """
        return self._ask_at(self.url(deadline), command, deadline)

    def _ask_at(self, url: str, command: tuple[bytes, ...], deadline: float | None) -> Any:
        sock, owner = self._open_at(url, deadline)
        try:
            return answer(sock, command, sooner(deadline, ANSWER_LIMIT))
        except OSError as error:
            raise self.out_of_reach(error) from error
        finally:
            owner.disconnect()

    def has_moved(self, sock: socket.socket) -> bool:
        """Whether Sentinels, or the Cluster, name another Redis by now than this socket leads to."""
        try:
            where = urlsplit(self.url())
            named = address.resolve(where.hostname or "", where.port or 0, time.monotonic() + CONNECT_LIMIT)
            return sock.getpeername()[:2] not in [there[:2] for _, there in named]
        except (BrokerUnavailable, OSError):
            return False

    def retire(self) -> None:
        """Start no server from now on: its peer is leaving."""
        self._runs_one = False

    def close(self) -> None:
        """Stop the embedded server, if it is ours."""
        with self._guard:
            if self._server:
                self._server.close()
                self._server = None
            if self._lock:
                self._lock.close()
                self._lock = None


def _client(url: str, shown: str, deadline: float | None = None, *, connect: float = CONNECT_LIMIT) -> redis.Redis:
    """redis-py's client for a URL.

    Raises:
        ConfigError: the URL has an option that redis-py does not know, or with a wrong value.
    """
    import redis

    try:
        client = redis.Redis.from_url(url, **_options(deadline, connect, unix=url.startswith("unix:")))
        client.connection_pool.make_connection()  # connects to nothing yet, but tells what it does not understand
        return client
    except (ValueError, TypeError, redis.RedisError) as error:
        raise ConfigError(f"HUBNET_REDIS_URL: {shown} has something that redis-py does not take: {error}") from error


def _options(deadline: float | None, connect: float, *, unix: bool) -> dict[str, Any]:
    """One try, short limits, no chatter that an ACL would refuse: repeating is the business of each owner."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "protocol": 2, "socket_timeout": sooner(deadline, ANSWER_LIMIT),
        "retry": Retry(NoBackoff(), 0), "health_check_interval": 0,
    }  # fmt: skip
    if not unix:
        limit = sooner(deadline, connect)
        options.update(socket_connect_timeout=limit, socket_keepalive=True, socket_keepalive_options=_keepalive())
    if hasattr(redis, "DriverInfo"):
        options["driver_info"] = None
    else:
        options.update(lib_name=None, lib_version=None)
    return options


def _keepalive() -> dict[int, int]:
    return {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 2}
