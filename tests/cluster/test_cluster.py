"""The compose net as its users meet it: listings, calls and events across two networks, with the two ACL users."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import eventually

from .conftest import Cluster

WORKERS = 4
HUBS = 2


def listed(cluster: Cluster, *options: str, where: str = "worker-east") -> dict[str, dict[str, Any]]:
    """What `hubnet peers` lists there: records by id."""
    found: dict[str, dict[str, Any]] = json.loads(cluster.exec(where, "hubnet", "peers", "--json", *options))
    return found


def worker_in(cluster: Cluster, group: str) -> tuple[str, dict[str, Any]]:
    """Id and record of one worker."""
    cluster_wide = listed(cluster, "--wait", str(WORKERS + HUBS))
    return next((peer_id, record) for peer_id, record in cluster_wide.items() if record["group"] == group)


class Listener:
    """`hubnet listen` in a container, from the moment its subscription is live."""

    def __init__(self, cluster: Cluster, where: str, *options: str) -> None:
        command = ["docker", "exec", cluster.container(where), "hubnet", "listen", "frame_done", "--json", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self.said = self._process.stderr.readline()
        assert "listening" in self.said, self.said

    def heard(self) -> list[list[Any]]:
        """The arguments of what it heard, once it has ended."""
        out, err = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, err
        return [json.loads(line)["args"] for line in out.splitlines()]


def test_every_hub_and_worker_is_listed_open_and_reachable_from_either_network(cluster: Cluster) -> None:
    for where in ("worker-east", "worker-west", "hub-1"):
        found = listed(cluster, "--wait", str(WORKERS + HUBS), where=where)
        records = list(found.values())
        assert sum(record["hub"] for record in records) == HUBS
        assert sorted(record["group"] for record in records if not record["hub"]) == ["east", "east", "west", "west"]
        assert {record["state"] for record in records} == {"open"}
        assert all(record["reachable"] for record in records), [record["reason"] for record in records]


@pytest.mark.parametrize("where", ["hub-1", "hub-2"])
@pytest.mark.parametrize("group", ["east", "west"])
def test_a_hub_calls_workers_of_both_networks(cluster: Cluster, where: str, group: str) -> None:
    answer = json.loads(cluster.exec(where, "hubnet", "call", group, "where", "--json"))
    assert answer["group"] == group


@pytest.mark.parametrize("group", ["east", "west"])
def test_the_tools_shell_calls_workers_of_both_networks(cluster: Cluster, group: str) -> None:
    command = ["run", "--rm", "-T", "shell", "hubnet", "call", group, "where", "--json"]
    said = cluster.compose(*command)
    answer = json.loads(said[said.index("{") :])  # Compose 1.29 says what it creates on the same stream
    assert answer["group"] == group


def test_a_call_to_a_network_without_a_route_ends_unreachable_within_the_limit_and_names_the_address(
    cluster: Cluster,
) -> None:
    peer_id, record = worker_in(cluster, "west")
    begin = time.monotonic()
    done = subprocess.run(
        ["docker", "exec", "-e", "HUBNET_TIMEOUT=3", cluster.container("worker-east"), "hubnet", "call", peer_id, "where"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    took = time.monotonic() - begin
    assert done.returncode == 3, done
    assert f"cannot reach {record['host']}:{record['port']}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert took < 15  # 3 s for the dial; the rest is two Pythons that start


def test_an_event_of_one_group_is_heard_in_the_other_and_nowhere_it_should_not(cluster: Cluster) -> None:
    of_west = Listener(cluster, "worker-east", "--group", "west", "--count", "2", "--timeout", "60")
    of_east = Listener(cluster, "worker-east", "--group", "east", "--count", "2", "--timeout", "60")
    everywhere = Listener(cluster, "worker-west", "--count", "4", "--timeout", "60")
    for number, group in (("7", "west"), ("8", "east"), ("9", "west"), ("10", "east")):
        assert cluster.exec("hub-1", "hubnet", "call", group, "finish", number) == number
    assert of_west.heard() == [[7], [9]]  # 8 never came its way, nor 7 and 9 the other's
    assert of_east.heard() == [[8], [10]]
    assert sorted(everywhere.heard()) == [[7], [8], [9], [10]]


def test_a_killed_worker_leaves_the_listing_and_a_started_one_comes_back(cluster: Cluster) -> None:
    victim = cluster.containers("worker-west")[0]
    cluster.kill(victim)
    eventually(lambda: len(listed(cluster, "west")) == 1, 30)
    cluster.start(victim)
    eventually(lambda: len(listed(cluster, "west")) == 2, 30)


def test_the_peers_of_a_killed_hub_move_to_the_other_one_and_stay_listed(cluster: Cluster) -> None:
    worker_in(cluster, "east")
    cluster.kill("hub-1")
    eventually(lambda: sum(record["hub"] for record in listed(cluster).values()) == 1, 30)
    found = listed(cluster)
    assert sorted(record["group"] for record in found.values() if not record["hub"]) == ["east", "east", "west", "west"]
    assert json.loads(cluster.exec("hub-2", "hubnet", "call", "east", "where", "--json"))["group"] == "east"


CALL_AT_A_SIGN = """
import sys, time, hubnet
what, peer = sys.argv[1:]
checksum = hubnet.connect("checksum")(lambda data: None)
finish = hubnet.connect("finish")(lambda frame, seconds: None)
checksum(b"", peer=peer)
print("ready", flush=True)
sys.stdin.readline()
begin = time.monotonic()
try:
    finish(1, 120, peer=peer) if what == "running" else checksum(bytes(1 if what == "asked" else 64 << 20), peer=peer)
except hubnet.CallError as error:
    print(type(error).__name__, error.ran, f"{time.monotonic() - begin:.1f} s", error, flush=True)
"""


@pytest.mark.parametrize("what", ["running", "asked", "stuck"])
def test_a_call_to_a_machine_that_vanishes_ends(cluster: Cluster, what: str) -> None:
    """While it runs; asked for just after; and with its argument half on the way."""
    caller, victim = cluster.containers("worker-east")
    worker_in(cluster, "east")
    address = cluster.address(victim, "east")
    peer = next(peer_id for peer_id, record in listed(cluster, "east").items() if record["host"] == address)
    command = ["docker", "exec", "-i", "-e", "HUBNET_GROUP=asking", caller, "python", "-c", CALL_AT_A_SIGN, what, peer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as calling:
        assert calling.stdin is not None
        assert calling.stdout is not None
        assert calling.stdout.readline() == "ready\n"
        if what == "stuck":
            cluster.pause(victim)
        if what == "asked":
            before = cluster.disconnect("east", victim)
        print("now", file=calling.stdin, flush=True)
        if what != "asked":
            time.sleep(2)  # it runs; or the argument has filled what the stopped peer's kernel takes
            assert calling.poll() is None
            before = cluster.disconnect("east", victim)
        said, _ = calling.communicate(timeout=120)
    cluster.connect("east", victim, before)
    assert calling.returncode == 0
    assert said.split()[:2] == ["PeerLost", "NO" if what == "stuck" else "MAYBE"], said


class Script:
    """One of the examples, running in a container: to its own end, or until it is told to leave."""

    _UNTIL_TOLD = '"$@" & { cat >/dev/null; kill $!; } ; wait $!'

    def __init__(self, cluster: Cluster, where: str, folder: str, *argv: str, stays: bool = True, **env: str) -> None:
        container = cluster.container(where)
        source = Path(__file__).parents[2] / "examples" / folder
        subprocess.run(["docker", "cp", f"{source}/.", f"{container}:/tmp/{folder}"], check=True, capture_output=True)
        settings = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
        words = ["sh", "-c", self._UNTIL_TOLD, "sh", *argv] if stays else list(argv)
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", *settings, "-w", f"/tmp/{folder}", container, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def ended(self) -> list[str]:
        """What it printed, once it has ended well."""
        said, _ = self._process.communicate(timeout=90)
        assert self._process.returncode == 0, said
        return said.splitlines()

    def heard(self, lines: int) -> list[str]:
        """Its first lines."""
        assert self._process.stdout is not None
        return [self._process.stdout.readline().strip() for _ in range(lines)]

    def leave(self) -> None:
        """End it over there as well: its record must not stay for the next test."""
        self._process.communicate(timeout=60)


def test_the_example_of_a_simple_connection_runs_between_hosts(cluster: Cluster) -> None:
    one, other = cluster.containers("worker-east")
    server = Script(cluster, one, "simple_connection", "python", "server.py", HUBNET_GROUP="servers", HUBNET_PORT="0")
    there, here = Script(
        cluster, other, "simple_connection", "python", "client.py", stays=False, HUBNET_PORT="0"
    ).ended()
    assert there.startswith(f"there: you are {cluster.hostname(one)}, process ")
    assert here.startswith(f"here: I am {cluster.hostname(other)}, process ")
    server.leave()


def test_the_example_of_a_simple_subscription_runs_between_networks(cluster: Cluster) -> None:
    hub = Script(cluster, "hub-1", "simple_subscription", "python", "hub.py", HUBNET_IS_HUB="1", HUBNET_PORT="0")
    settings = {"HUBNET_GROUP": "cellar", "HUBNET_PORT": "0", "EVERY": "0.1"}
    publisher = Script(cluster, "worker-west", "simple_subscription", "python", "publisher.py", **settings)
    words = ["python", "subscriber.py", "cellar"]
    listener = Script(cluster, "worker-east", "simple_subscription", *words, HUBNET_PORT="0")
    assert all(line.startswith("cellar ") for line in listener.heard(3))
    assert all(line.startswith("hub: cellar ") for line in hub.heard(3))
    for script in (listener, publisher, hub):
        script.leave()


def test_the_example_of_two_versions_runs_between_hosts_in_both_directions(cluster: Cluster) -> None:
    folder, running = "tagged_connection", []
    hosts = cluster.containers("worker-east")
    for host, version, module in zip(hosts, ("version1", "version2"), ("app.pictures", "app.images"), strict=True):
        env = {"PYTHONPATH": f"/tmp/{folder}/{version}", "HUBNET_GROUP": version, "HUBNET_PORT": "0"}
        running.append(Script(cluster, host, folder, "hubnet", "worker", module, **env))
    for host, version, other in zip(hosts, "12", "21", strict=True):
        env = {"PYTHONPATH": f"/tmp/{folder}/version{version}", "HUBNET_PORT": "0"}
        asked = Script(cluster, host, folder, "python", "ask.py", version, stays=False, **env)
        assert asked.ended() == [f"version {other} made sunset.exr at 32"]
    for script in running:
        script.leave()


def test_redis_that_has_no_functions_any_more_is_given_them_as_it_starts(cluster: Cluster) -> None:
    assert cluster.redis().acl_log() == []
    cluster.redis().function_flush()
    cluster.restart("redis")
    eventually(cluster.healthy, 60, 0.2)
    eventually(lambda: len(listed(cluster)) == WORKERS + HUBS, 30)
    cluster.redis().acl_log_reset()  # hubs that asked before they were there


def test_redis_restarts_and_the_register_is_whole_again(cluster: Cluster) -> None:
    assert cluster.redis().acl_log() == []  # which a restart forgets
    cluster.restart("redis")
    eventually(cluster.healthy, 60, 0.2)
    eventually(lambda: len(listed(cluster)) == WORKERS + HUBS, 30)


def test_redis_refused_nothing_that_a_hub_or_a_worker_asked(cluster: Cluster) -> None:
    entries = cluster.redis().acl_log()
    assert entries == [], entries
