"""Rows about containers: the one that a peer runs in is killed, and another one takes its address.

Each peer is a container with an address of its own on a network that is made for the row; Redis is a process of this machine.
They run this checkout in the image of docker-compose.yml, which `docker/prepare` and `docker compose build hub-1` make. Whoever
kills a container does not know what its kernel still tells the others: that is what is measured.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.storm.nets import Redis
from benchmarks.storm.networks import shown
from benchmarks.storm.samples import Trials
from hubnet.core.keys import new_token
from tests.api.conftest import ROOT, Process
from tests.api.witness import id_of
from tests.networks import faults
from tests.networks.farm import Farm, Seen
from tests.networks.faults import Fault
from tests.waiting import eventually

IMAGE = f"hubnet:{os.environ.get('HUBNET_TAG', 'local')}"
CHECKOUT = "/checkout"


def docker(*words: str, check: bool = True) -> str:
    """What a command of Docker's says."""
    done = subprocess.run(["docker", *words], check=False, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


class Berth(NamedTuple):
    """Where a container may be: its name, and its address."""

    name: str
    address: str


class Box(Process):
    """A user's process in a container; what runs here is Docker's client."""

    def __init__(self, folder: Path, container: str, words: list[str]) -> None:
        self.container = container
        command = (
            f"exec python {CHECKOUT}/tests/api/actor.py"  # not this machine's Python, which a process is started with
        )
        through = ["docker", "run", "--rm", "-i", "--init", "--name", container, *words, "sh", "-c", command]
        super().__init__(folder, dict(os.environ), container, through=through)

    def kill(self) -> None:
        docker("kill", self.container)

    def close(self) -> None:
        super().close()
        docker("rm", "-f", self.container, check=False)


class Docks:
    """A network of Docker's with a Redis beside it; for a farm it is what a net of machines is."""

    def __init__(self, folder: Path, image: str) -> None:
        self._folder, self._image, self._network = folder, image, f"hubnet-{os.getpid()}-{folder.name[-6:]}"
        self._boxes: list[Box] = []
        docker("image", "inspect", image)
        subnet, gateway = self._plan()
        docker("network", "create", "--subnet", subnet, "--gateway", gateway, self._network)
        try:
            self._first = gateway.rpartition(".")[0]
            self._places = 0
            self._redis = Redis(folder, gateway)
        except BaseException:
            docker("network", "rm", self._network)
            raise
        self._env = {
            "PYTHONPATH": CHECKOUT, "HUBNET_REDIS_URL": self._redis.url, "HUBNET_SECRET": new_token(os.urandom(32)),
            "HUBNET_PORT": "3010",
        }  # fmt: skip

    def _plan(self) -> tuple[str, str]:
        """A subnet that is free, as Docker knows, and its gateway: who is to choose addresses must choose the subnet."""
        docker("network", "create", self._network)
        form = "{{with index .IPAM.Config 0}}{{.Subnet}} {{.Gateway}}{{end}}"
        subnet, gateway = docker("network", "inspect", "-f", form, self._network).split()
        docker("network", "rm", self._network)
        return subnet, gateway

    def machine(self, name: str) -> Berth:
        """A place for one more."""
        self._places += 1
        return Berth(name, f"{self._first}.{10 + self._places}")

    def worker(self, berth: Berth, code: str = "", **env: str) -> Box:
        """A registered peer in a container of its own."""
        settings = [word for name, value in {**self._env, **env}.items() for word in ("--env", f"{name}={value}")]
        words = ["--network", self._network, "--ip", berth.address, "--volume", f"{ROOT}:{CHECKOUT}:ro", *settings]
        made = Box(self._folder, f"{self._network}-{len(self._boxes)}-{berth.name}", [*words, self._image])
        self._boxes.append(made)
        made.run("import hubnet\n" + code)
        eventually(lambda: made.ask("hubnet.Peer().id and hubnet.stats()['registered']"))
        return made

    def hub(self, berth: Berth, code: str = "", **env: str) -> Box:
        """A hub in a container of its own."""
        return self.worker(berth, code, HUBNET_IS_HUB="1", **env)

    def close(self) -> None:
        """End all of them."""
        for one in reversed(self._boxes):
            one.close()
        self._redis.close()
        docker("network", "rm", self._network)


class Harboured(Farm):
    """A farm of containers, of which the victim's is killed."""

    def vanish(self) -> None:
        self.victim.kill()

    def come_back(self) -> float:
        self.victim.close()
        begin = time.monotonic()
        self.victim = self.new_victim()
        self.ids["victim"] = id_of(self.victim)
        return begin


def in_flight(farm: Farm) -> Seen:
    """Of whose argument only a part has come, that call has not run: a kernel that still refuses the next dial shows it."""
    return faults.vanish_in_flight(farm, ("PeerUnreachable", "NO"))


def killed(fault: Fault, folder: Path, trials: int, *, image: str = IMAGE) -> Trials:
    """The victim's container is killed, and another one starts on its address."""
    net = Docks(folder, image)
    try:
        farm = Harboured(net)
        for trial in range(trials):
            yield from shown(trial, fault(farm))
    finally:
        net.close()
