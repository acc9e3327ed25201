"""The harbour: a stage of containers on the compose net. Each actor is a machine of its own, and its cable can be pulled.

Redis is the net's own, with its two users. What is done to a container is done by Docker, as from outside: killed, stopped,
paused, and disconnected from its network, to be connected again with the same address and names.
"""

from __future__ import annotations

import ipaddress
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import redis

from tests.waiting import eventually

from .eye import Eye
from .ledger import Ledger
from .schedule import Blow, Cast
from .stage import ALLOCATOR, ROOT, SPARED, Part, Process, Stage

PORT = 3010
_VERBS = {signal.SIGSTOP: ["pause"], signal.SIGCONT: ["unpause"]}


def docker(*words: str, check: bool = True) -> str:
    """What a command of Docker's says."""
    done = subprocess.run(["docker", *words], check=False, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


class Container:
    """A container as ``subprocess.Popen`` would be: what runs here is its client, which ends with it."""

    def __init__(self, name: str, words: list[str], log: IO[bytes]) -> None:
        self.name = name
        docker("create", "-i", "--name", name, *words)
        self._client = subprocess.Popen(
            ["docker", "start", "-a", "-i", name], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            text=True, bufsize=1,
        )  # fmt: skip
        self.stdin = self._client.stdin

    @property
    def returncode(self) -> int | Any:
        """Its exit code, or that of the signal that ended it."""
        return self._client.returncode

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._client.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        code = self._client.wait(timeout)
        docker("rm", "-f", self.name, check=False)
        return code

    def send_signal(self, sig: int) -> None:
        """As a machine's owner would: a stop is one of everything there."""
        verb = _VERBS.get(signal.Signals(sig), ["kill", "--signal", str(int(sig))])
        docker(*verb, self.name, check=False)

    def kill(self) -> None:
        """End it, whatever it does."""
        docker("unpause", self.name, check=False)
        docker("kill", self.name, check=False)


class Harbour(Stage):
    """All containers of one run, on one network of a compose net whose own peers are stopped."""

    kinds = (
        "kill-worker", "stop-worker", "pause-worker", "kill-caller", "pause-caller", "kill-hub", "stop-hub", "pause-hub",
        "kill-all-hubs", "restart-redis", "pause-redis", "freeze",
    )  # fmt: skip

    def __init__(
        self, folder: Path, wishes: dict[str, Any], *, project: str, network: str, image: str, server: str, secret: str,
        urls: Mapping[str, str], connect: Callable[[], redis.Redis], hubs: int, workers: int, callers: int, lease: float,
    ) -> None:  # fmt: skip
        self._begin(folder, wishes)
        folder.chmod(0o777)  # the containers' user writes its ledgers there
        self._project, self._network, self._image, self._server, self._urls = project, network, image, server, urls
        self._connect = connect
        roles = {"hub": hubs, "worker": workers, "caller": callers}
        self.parts = [
            Part(f"{role[0]}{number}", role, PORT, PORT, 0)
            for role, count in roles.items()
            for number in range(1, count + 1)
        ]
        subnet = ipaddress.ip_network(docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", network))
        # From the end, where Docker gives none away: whoever is unplugged has its address back.
        self._addresses = {part.name: str(subnet[-2 - number]) for number, part in enumerate(self.parts)}
        self._env = {
            "PYTHONPATH": "/app", "HUBNET_SECRET": secret, "HUBNET_LEASE": str(lease), "HUBNET_TIMEOUT": "10",
            "HUBNET_HOST": "0.0.0.0", "HUBNET_PORT": str(PORT), "HUBNET_THREAD_LIMIT": "16", **ALLOCATOR,
        }  # fmt: skip
        self.eye = Eye(connect, secret, Ledger(folder / "eye.jsonl"))

    @property
    def cast(self) -> Cast:
        """All but Redis can be cut off from everybody."""
        by_role = {
            role: [part.name for part in self.parts if part.role == role] for role in ("hub", "worker", "caller")
        }
        return Cast(
            by_role["hub"], by_role["worker"], by_role["caller"], [*by_role["worker"], *by_role["hub"]], [], SPARED
        )

    def _born(self, part: Part, env: dict[str, str], life: str) -> Process:
        url = self._urls["hub" if part.role == "hub" else "worker"]
        told = {
            **self._env, **env, "HUBNET_ADVERTISE": part.name, "HUBNET_REDIS_URL": url,
        }  # fmt: skip
        words = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
        words += ["--init", "--network", self._network, "--network-alias", part.name, "--hostname", part.name]
        words += ["--ip", self._addresses[part.name]]
        words += ["--volume", f"{ROOT / 'tests'}:/app/tests:ro", "--volume", f"{self.folder}:{self.folder}"]
        words += ["--label", f"com.docker.compose.project={self._project}", "--label", "com.docker.compose.oneoff=True"]
        with (self.folder / f"{part.name}.log").open("ab") as log:
            program = ["python", "-m", *self._program(part)]
            return Container(f"{self._project}-{life}", [*words, self._image, *program], log)

    def _buried(self, actor: Any, how: str) -> None:
        super()._buried(actor, how)
        docker("rm", "-f", actor.process.name, check=False)

    def strike(self, blow: Blow) -> Callable[[], bool] | None:
        """As on any stage; whom Docker is still starting is nobody's target."""
        targets = [self.actors[name] for name in blow.targets if name in self.actors]
        return super().strike(blow) if all(actor.has_lived(0.0) for actor in targets) else None

    # -- Redis -----------------------------------------------------------------------------------------------------

    def start_redis(self) -> None:
        """Start it again, with its data, and wait until it answers."""
        docker("start", self._server)
        eventually(lambda: self._connect().ping(), timeout=20, not_yet=(redis.RedisError, OSError, AssertionError))

    def _strike_redis(self, verb: str) -> Callable[[], Any]:
        if verb == "pause":
            docker("pause", self._server, check=False)  # the engine of a busy machine may fail to: nothing befell it
            return lambda: docker("unpause", self._server, check=False)
        docker("kill", self._server)
        return self.start_redis

    # -- the network -----------------------------------------------------------------------------------------------

    def _cut(self, kind: str, name: str) -> Callable[[], Any]:
        container = self.actors[name].process.name  # type: ignore[attr-defined]
        docker("network", "disconnect", self._network, container)
        again = ["network", "connect", "--ip", self._addresses[name], "--alias", name, self._network, container]
        return lambda: docker(*again) if name in self.actors else None  # it may have ended meanwhile

    def close(self) -> None:
        """End whatever still runs."""
        self._end_actors()


def secret_in(folder: Path) -> str:
    """The net's secret, as docker/prepare made it."""
    return (folder / "hubnet_secret").read_text().strip()
