"""The real cluster of docker-compose.yml, for tests that break it: pytest-docker and any Compose.

One cluster serves all tests of this folder: Redis, two hubs, two workers in each group. A test asks for `cluster`,
does its damage by `cluster.kill`, `.pause`, `.disconnect`, ..., and must leave a cluster that can heal:
`healed` waits for that. Where no Docker engine answers the tests skip with the reason, and fail in CI
(HUBNET_CI=1).

The user's own .env, secrets, images and containers are never touched: docker/prepare works into a temporary
directory, image tags are `test` (stable, so that the next run finds its layers), and the project's name is
this run's own.
"""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pytest
import redis

from tests.waiting import eventually

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
WORKERS = 2  # in each group
SIZE = {"redis": 1, "hub-1": 1, "hub-2": 1, "worker-east": WORKERS, "worker-west": WORKERS}
NETWORKS = ("east", "west")
SETTINGS = {
    "HUBNET_TAG": "test",
    "HUBNET_HEALTH_INTERVAL": "2s",  # how soon a fault, and its end, show in `docker ps`
    "HUBNET_REDIS_PORT": "0",  # any free one: several runs at a time
}
IMAGES = ("HUBNET_PYTHON_IMAGE", "HUBNET_REDIS_IMAGE")  # the environment may choose these, as in CI's matrix


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("docker")
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(600))  # the first one also makes the images, from nothing


def run(*argv: str, check: bool = True, timeout: float = 60) -> str:
    """Run a command on this machine.

    Returns:
        What it wrote to standard output, stripped.

    Raises:
        AssertionError: it failed; with its standard error, which CalledProcessError would keep to itself.
    """
    done = subprocess.run(argv, check=False, timeout=timeout, text=True, capture_output=True)
    if check and done.returncode:
        raise AssertionError(f"{shlex.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


class Cluster:
    """The containers, found by Compose's labels: their names differ between Compose 1 (a_b_1) and 2 (a-b-1).

    Wherever one container is meant, `target` is its id, or the service's name for its first container.
    """

    def __init__(self, project: str, compose: list[str], settings: Mapping[str, str]) -> None:
        self.project = project
        self._compose = compose
        self._settings = settings
        self._cut: dict[tuple[str, str], dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Cluster {self.project}>"

    # ---- looking ----

    def compose(self, *argv: str, check: bool = True, timeout: float = 120) -> str:
        """Run a Compose command on this project, such as ("run", "--rm", "shell", "hubnet", "peers")."""
        return run(*self._compose, *argv, check=check, timeout=timeout)

    def containers(self, service: str, stopped: bool = False) -> list[str]:
        """Ids of a service's containers, oldest first; with the stopped ones if asked to."""
        ids = self._ps("{{.ID}}", f"label=com.docker.compose.service={service}", stopped=stopped)
        return ids[::-1]

    def container(self, target: str) -> str:
        if target not in SIZE and target not in TLS_SERVICES and target != "shell":
            return target
        found = self.containers(target, stopped=True)
        assert found, f"{self} has no container of {target}"
        return found[0]

    def inspect(self, target: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(run("docker", "inspect", self.container(target)))
        return found[0]

    def hostname(self, target: str) -> str:
        return str(self.inspect(target)["Config"]["Hostname"])

    def address(self, target: str, network: str) -> str:
        return str(self.inspect(target)["NetworkSettings"]["Networks"][self.network(network)]["IPAddress"])

    def pid(self, target: str) -> int:
        """The container's first process as this machine numbers it: for `nsenter -t PID -n` (root)."""
        return int(self.inspect(target)["State"]["Pid"])

    def logs(self, target: str, tail: int = 200) -> str:
        done = subprocess.run(
            ["docker", "logs", "--tail", str(tail), self.container(target)],
            check=True,
            timeout=30,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout

    def exec(self, target: str, *argv: str, check: bool = True, timeout: float = 60) -> str:
        """Run a command in a container, as its user."""
        return run("docker", "exec", self.container(target), *argv, check=check, timeout=timeout)

    def redis(self, user: str = "admin", *, text: bool = True) -> redis.Redis:
        """Open a client as admin, hub, worker or health. Ask again after a restart: the port changes."""
        published = run("docker", "port", self.container("redis"), "6379/tcp", check=False)
        if not published:
            raise ConnectionError("Redis's port is not published: is it running?")
        host, _, port = published.splitlines()[0].rpartition(":")
        return redis.Redis(
            host=host,
            port=int(port),
            username=user,
            password=self.password(user),
            socket_timeout=2,
            socket_connect_timeout=1,
            decode_responses=text,
        )

    def password(self, user: str) -> str:
        """Of a user of Redis."""
        return self._settings[f"HUBNET_{user.upper()}_PASSWORD"]

    @property
    def secrets(self) -> pathlib.Path:
        """The folder with the net's secret and the users of Redis."""
        return pathlib.Path(self._settings["HUBNET_SECRETS_DIR"])

    def states(self) -> list[tuple[str, str]]:
        """Service and status of every container, such as ("hub-1", "Up 3 seconds (healthy)")."""
        lines = self._ps('{{.Label "com.docker.compose.service"}}\t{{.Status}}', stopped=True)
        return sorted((service, status) for service, _, status in (line.partition("\t") for line in lines))

    def healthy(self) -> bool:
        """Whether all are there, and each one's own health check passed."""
        up = [name for name, status in self.states() if "(healthy)" in status and "(Paused)" not in status]
        return all(up.count(service) == number for service, number in SIZE.items())

    def report(self) -> str:
        """What there is to know when the cluster is not what it should be."""
        lines = [f"{service:12} {status}" for service, status in self.states()]
        return "\n".join([*lines, self.compose("logs", "--no-color", "--tail", "20", check=False)])

    # ---- breaking and mending ----

    def kill(self, target: str, signal: str = "KILL") -> None:
        run("docker", "kill", "--signal", signal, self.container(target))

    def start(self, target: str) -> None:
        run("docker", "start", self.container(target))

    def restart(self, target: str, grace: int = 5) -> None:
        run("docker", "restart", "-t", str(grace), self.container(target))

    def pause(self, target: str) -> None:
        """Stop every process where it is: TCP stays open, the kernel goes on accepting, nobody answers."""
        run("docker", "pause", self.container(target))

    def unpause(self, target: str) -> None:
        run("docker", "unpause", self.container(target))

    def network(self, name: str) -> str:
        return f"{self.project}_{name}"

    def disconnect(self, network: str, target: str) -> dict[str, Any]:
        """Pull the plug on one network.

        Returns:
            What connect() needs to make it as before.
        """
        cid = self.container(target)
        before: dict[str, Any] = self.inspect(cid)["NetworkSettings"]["Networks"][self.network(network)]
        run("docker", "network", "disconnect", self.network(network), cid)
        self._cut[network, cid] = before
        return before

    def connect(self, network: str, target: str, before: Mapping[str, Any]) -> None:
        """Plug it in again: same address, same names. By itself Docker gives neither back."""
        cid = self.container(target)
        aliases = [arg for alias in before["Aliases"] or () for arg in ("--alias", alias)]
        run(
            "docker", "network", "connect", "--ip", before["IPAddress"], *aliases,
            self.network(network), cid,
        )  # fmt: skip
        self._cut.pop((network, cid), None)

    def mend(self) -> None:
        """Plug in, start and thaw whatever a test left cut, stopped or paused."""
        for (network, cid), before in list(self._cut.items()):
            self.connect(network, cid, before)
        for line in self._ps("{{.ID}}\t{{.Status}}", stopped=True):
            cid, _, status = line.partition("\t")
            if "(Paused)" in status:
                run("docker", "unpause", cid, check=False)
            elif not status.startswith("Up"):
                run("docker", "start", cid, check=False)

    def _ps(self, form: str, *filters: str, stopped: bool = False) -> list[str]:
        mine = (f"label=com.docker.compose.project={self.project}", "label=com.docker.compose.oneoff=False")
        options = [arg for one in (*mine, *filters) for arg in ("--filter", one)]
        return run("docker", "ps", *(["-a"] if stopped else []), *options, "--format", form).splitlines()


# ---- fixtures: pytest-docker asks for those whose names begin with docker_ ----


def _cannot(reason: str) -> NoReturn:
    if os.environ.get("HUBNET_CI") == "1":
        pytest.fail(f"{reason} (HUBNET_CI=1: not a reason to skip)", pytrace=False)
    pytest.skip(reason)


def _works(*argv: str) -> bool:
    try:
        return subprocess.run(argv, check=False, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.fixture(scope="session")
def compose_program() -> str:
    if not _works("docker", "info"):
        _cannot("no Docker engine answers")
    if _works("docker", "compose", "version"):
        return "docker compose"
    if shutil.which("docker-compose"):
        return "docker-compose"
    _cannot("neither 'docker compose' nor 'docker-compose' is here")


@pytest.fixture(scope="session")
def docker_settings(compose_program: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The .env of this run, by docker/prepare, which also makes base images where no registry answers."""
    directory = tmp_path_factory.mktemp("cluster")
    env_file = directory / ".env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in SETTINGS.items()))
    # Passwords and the like in the environment are the user's own net's.
    env = {k: v for k, v in os.environ.items() if k in IMAGES or not k.startswith("HUBNET_")}
    done = subprocess.run(
        [ROOT / "docker" / "prepare", directory],
        check=False, timeout=500, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        _cannot(f"docker/prepare failed:\n{done.stdout}")
    settings = dict(line.split("=", 1) for line in env_file.read_text().splitlines() if "=" in line)
    return {**settings, "directory": str(directory)}


@pytest.fixture(scope="session")
def docker_compose_command(compose_program: str, docker_settings: dict[str, str]) -> str:
    """Compose with this run's settings.

    --env-file stands before the subcommand, is absolute and replaces the .env beside docker-compose.yml: so
    both Compose 1.29 and v2 have it. Both let the environment win over the file, therefore `env -u` takes
    out of it whatever the file says. The secrets' directory is one of the file's settings, and absolute as
    well.
    """
    unset = [arg for name in docker_settings if name.isupper() for arg in ("-u", name)]
    env_file = pathlib.Path(docker_settings["directory"]) / ".env"
    return f"env {shlex.join(unset)} {compose_program} --env-file {shlex.quote(str(env_file))}"


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return f"hubnet-test-{uuid.uuid4().hex[:8]}"  # not the pid: test runs in containers have the same ones


@pytest.fixture(scope="session")
def docker_compose_file(docker_settings: dict[str, str], docker_compose_project_name: str) -> list[str]:
    """docker-compose.yml, and one more file that gives each network a subnet of its own.

    Docker lets a container choose its address (and so have it back after a cut) only where the subnet was
    chosen, too. Which ones are free Docker knows best: it is asked by making the networks, once, without
    saying.
    """
    subnets = {}
    try:
        for name in NETWORKS:
            probe = f"{docker_compose_project_name}-probe-{name}"
            run("docker", "network", "create", probe)
            ask = "{{(index .IPAM.Config 0).Subnet}}"
            subnets[name] = run("docker", "network", "inspect", "-f", ask, probe)
    finally:
        for name in NETWORKS:
            run("docker", "network", "rm", f"{docker_compose_project_name}-probe-{name}", check=False)
    override = pathlib.Path(docker_settings["directory"]) / "subnets.yml"
    networks = {name: {"ipam": {"config": [{"subnet": subnet}]}} for name, subnet in subnets.items()}
    override.write_text(json.dumps({"networks": networks}))  # JSON is YAML
    return [str(ROOT / "docker-compose.yml"), str(override)]


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    scale = " ".join(f"--scale {service}={number}" for service, number in SIZE.items() if number > 1)
    return ["build --quiet", f"up -d {scale}"]  # without --wait, which Compose 1.29 lacks: `cluster` waits


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return []  # compose_project does it, because pytest-docker does not after a failed "up"


@pytest.fixture(scope="package")
def compose_project(
    docker_compose_command: str, docker_compose_file: list[str], docker_compose_project_name: str
) -> Iterator[list[str]]:
    """Compose's command line for this project; in the end nothing is left of it, whatever happened."""
    files = [arg for file in docker_compose_file for arg in ("-f", file)]
    compose = [*shlex.split(docker_compose_command), *files, "-p", docker_compose_project_name]
    yield compose
    run(*compose, "--profile", "tools", "down", "-v", "--remove-orphans", "--timeout", "1", timeout=180)


@pytest.fixture(scope="package")
def cluster(
    compose_project: list[str],
    docker_compose_project_name: str,
    docker_settings: dict[str, str],
    request: pytest.FixtureRequest,
) -> Cluster:
    """The cluster, up and healthy, until the last of these tests: its health checks would keep a core busy for all others."""
    up = Cluster(docker_compose_project_name, compose_project, docker_settings)
    try:
        request.getfixturevalue("docker_services")  # after compose_project, so that it is undone before
        eventually(up.healthy, 90, 0.2)
    except Exception as exc:  # pytest-docker raises bare ones
        pytest.fail(f"the cluster did not come up: {exc}\n{up.report()}", pytrace=False)
    return up


TLS_SERVICES = ("tls-worker", "tls-hub", "tls-redis", "tls-init")


@pytest.fixture(scope="module")
def all_in_tls(cluster: Cluster) -> Iterator[Cluster]:
    """The services of the profile tls, while the other net's peers are stopped: two nets' health checks take two cores."""
    cluster.compose("stop", *(service for service in SIZE if service != "redis"))
    cluster.compose("--profile", "tls", "up", "-d", "tls-worker", timeout=300)
    yield cluster
    cluster.compose("--profile", "tls", "rm", "-s", "-f", "-v", *TLS_SERVICES)
    healed_again(cluster)


def healed_again(broken: Cluster) -> None:
    """Mend it, and wait until every container is healthy."""
    broken.mend()
    try:
        eventually(broken.healthy, 60, 0.2)
    except AssertionError:
        pytest.fail(f"the cluster has not healed:\n{broken.report()}", pytrace=False)


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test that used the cluster leaves a whole one behind; those inside TLS do when the last of them is over."""
    if "cluster" not in request.fixturenames or "all_in_tls" in request.fixturenames:
        yield
        return
    broken: Cluster = request.getfixturevalue("cluster")
    yield
    healed_again(broken)
