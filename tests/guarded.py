"""A Redis-compatible server that knows the users of docker/users.acl.template and nobody else."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import redis

from hubnet.broker import Broker
from hubnet.environment import Settings
from tests import requirements_
from tests.waiting import eventually, free_port

DOCKER = Path(__file__).parents[1] / "docker"
TEMPLATE = DOCKER / "users.acl.template"


def users() -> str:
    """The template with passwords, as docker/prepare makes it."""

    def digest(match: re.Match[str]) -> str:
        return hashlib.sha256(match[1].lower().encode()).hexdigest()

    lines = TEMPLATE.read_text().splitlines()
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    return re.sub(r"@([A-Z]+)@", digest, text) + "\n"


def load_functions(url: str) -> None:
    """As docker/redis/start does it, with the same file."""
    with Broker(Settings(redis_url=url)).client() as loader:  # which does not say what it is: that is not allowed
        loader.function_load((DOCKER / "redis" / "functions.lua").read_text(), replace=True)


class Guarded:
    """A server that knows these users only, with hubnet's functions, and more lines of configuration where a test needs them."""

    def __init__(self, folder: Path, more: str = "") -> None:
        binary = requirements_.server_binary()
        self.port = free_port()
        (folder / "users.acl").write_text(users())
        (folder / "server.conf").write_text(
            f'port {self.port}\nbind 127.0.0.1\ndir "{folder}"\naclfile "{folder}/users.acl"\nsave ""\n{more}\n'
        )
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen([binary, str(folder / "server.conf")], stdout=self._log, stderr=self._log)
        self.admin = redis.Redis.from_url(self.url("admin"))
        eventually(self._up, not_yet=redis.ConnectionError)
        load_functions(self.url("loader"))

    def _up(self) -> bool:
        assert self._process.poll() is None, "the server does not take the template: see server.log"
        return bool(self.admin.ping())

    def url(self, user: str) -> str:
        return f"redis://{user}:{user}@127.0.0.1:{self.port}/0"

    def broker(self, user: str) -> Broker:
        return Broker(Settings(redis_url=self.url(user)))

    def denied(self) -> list[str]:
        """What ACL LOG holds: the user and what it may not."""
        return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in self.admin.acl_log()]

    def close(self) -> None:
        self.admin.close()
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


if __name__ == "__main__":
    load_functions(*sys.argv[1:])
