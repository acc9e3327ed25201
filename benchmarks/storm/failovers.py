"""Rows about a Redis that fails over: the master that Sentinels follow is killed, or the node of a Cluster that has our keys.

Servers are processes of this machine; the fault's end is the moment at which Sentinels, or the Cluster's other nodes, name the
new master.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import redis

from benchmarks.storm.brokers import Shore
from benchmarks.storm.nets import NAMES, all_of
from benchmarks.storm.samples import NoTrial, Sample, Trials
from hubnet.embedded import find_server
from hubnet.redis_socket import answer, answers
from tests.api.conftest import Process
from tests.waiting import eventually, free_port

SERVICE = "farm"
DOWN_AFTER_MS = 1000
LAST_SLOT = 16383
BEHIND = 0.8  # seconds for which a replica hears nothing of its master before that is killed
LOOKED_AT = 2000  # entries of a stream: more than are published in that time


class Node:
    """One server, or one Sentinel, with a folder and ports of its own for all its lives.

    Attributes:
        port: where we ask it.
        entrance: the port by which peers and other servers come, which it announces.
    """

    def __init__(self, folder: Path, lines: str, *options: str) -> None:
        self.port = free_port()
        self.entrance, more = self._opened()
        folder.mkdir()
        self._config = folder / "server.conf"
        self._config.write_text(
            f'port {self.port}\nbind 127.0.0.1\ndir "{folder}"\nlogfile "{folder}/server.log"\n{more}\n{lines}\n'
        )
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.client: Any = redis.Redis(port=self.port, socket_timeout=10)

    def _opened(self) -> tuple[int, str]:
        """The entrance, and what the configuration has to say of it."""
        return self.port, ""

    def start(self, *more: str) -> Node:
        """Run, and wait until it answers."""
        self._process = subprocess.Popen([find_server(), str(self._config), *self._options, *more])
        eventually(lambda: answers(f"redis://127.0.0.1:{self.port}/0"), pause=0.002)
        return self

    def said(self, *command: object) -> Any:
        """Its answer as it came."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            return answer(sock, [str(word).encode() for word in command])

    def signal(self, number: int) -> int:
        """Kill, freeze, or let it go on; when, in monotonic nanoseconds."""
        assert self._process is not None
        at = time.monotonic_ns()
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()
        return at

    @property
    def runs(self) -> bool:
        """Whether it lives, stopped or not."""
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        """End it."""
        if self._process and self.runs:
            self._process.kill()
            self._process.wait()
        self.client.close()


class Group:
    """Servers of which one has our keys; as ``nets.Redis`` to those that look at the register."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.master: Node
        self._behind: Node | None = None
        self._acknowledged: dict[str, list[bytes]] = {}

    @property
    def client(self) -> Any:
        """To ask the one that has our keys."""
        return self.master.client

    def leave_behind(self) -> None:
        """The replica hears nothing more of this master, not even later: it is stopped, and its link is ended.

        Stopped alone it would lose nothing: its kernel goes on taking what the master sends, and it reads that when it goes on.
        """
        (self._behind,) = self._replicas()
        self._behind.signal(signal.SIGSTOP)
        self.master.said("CLIENT", "KILL", "TYPE", "replica")

    def fail_over(self, how: str = "killed", cut_off: Sequence[Process] = ()) -> int:
        """Take the master away; when another was named, in monotonic nanoseconds.

        Args:
            how: "killed"; "lagging": killed when its replica has heard nothing for 0.8 s; "frozen": stopped, until
                ``bring_back``.
            cut_off: peers that hear no events for as long as the replica hears nothing.
        """
        if how == "lagging":
            self.leave_behind()
            for one in cut_off:
                one.signal(signal.SIGSTOP)
            self.master.said("CLIENT", "KILL", "TYPE", "pubsub")
            time.sleep(BEHIND)
        old, behind, self._behind = self.master, self._behind, None
        replica = behind or self._replicas()[0]
        self._acknowledged = self._entries(old) if behind else {}
        old.signal(signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
        if behind:
            behind.signal(signal.SIGCONT)
        for one in cut_off:
            one.signal(signal.SIGCONT)
        try:
            eventually(lambda: self._named() == replica.entrance, 30, 0.002)
        except AssertionError as error:
            raise NoTrial("Redis's own nodes named no other master within 30 s") from error
        at = time.monotonic_ns()
        self.master = replica
        return at

    @staticmethod
    def _entries(node: Node) -> dict[str, list[bytes]]:
        """By stream the ids of its last entries, from the end on."""
        channels = [fields[b"e"].decode() for _, fields in node.client.xrange(NAMES.streams)]
        streams = {NAMES.stream(channel) for channel in channels}
        return {one: [entry for entry, _ in node.client.xrevrange(one, count=LOOKED_AT)] for one in streams}

    def lost(self) -> int:
        """How many entries the master had whose replica was left behind, and whoever took its place never got.

        What is sent again is an entry of another id.

        Raises:
            NoTrial: none.
        """
        lost = 0
        for stream, ids in self._acknowledged.items():
            there = {entry for entry, _ in self.client.xrange(stream, ids[-1], ids[0])} if ids else set()
            lost += len(set(ids) - there)
        if not lost:
            raise NoTrial("the replica had all that its master had")
        return lost

    def bring_back(self) -> None:
        """Start whoever was killed, or let it go on, as the master's replica."""
        raise NotImplementedError

    def _replicas(self) -> list[Node]:
        said = self.master.client.info("replication")
        ports = {one["port"] for name, one in said.items() if name.startswith("slave") and isinstance(one, dict)}
        return [node for node in self.nodes if node.entrance in ports]

    def _named(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        """End all of them."""
        for node in self.nodes:
            node.close()


class Sentinels(Group):
    """A master with one replica, and three Sentinels that follow it."""

    def __init__(self, folder: Path, node: Callable[..., Node] = Node) -> None:
        super().__init__()
        lines = 'save ""\nrepl-diskless-sync-delay 0'
        self.nodes = [node(folder / f"redis-{number}", lines) for number in range(2)]
        self.master = self.nodes[0].start()
        self.nodes[1].start("--replicaof", "127.0.0.1", str(self.master.entrance))
        monitor = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.entrance} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\nsentinel failover-timeout {SERVICE} 3000"
        )
        self.sentinels = [node(folder / f"sentinel-{number}", monitor, "--sentinel").start() for number in range(3)]
        self.nodes += self.sentinels
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{one.entrance}' for one in self.sentinels)}/{SERVICE}"
        self._settle()

    def _settle(self) -> None:
        def ready(sentinel: Node) -> bool:
            master = _fields(sentinel.said("SENTINEL", "MASTER", SERVICE))
            replicas = [_fields(one) for one in sentinel.said("SENTINEL", "REPLICAS", SERVICE)]
            return (
                (int(master["port"]), master["flags"], master["num-other-sentinels"])
                == (self.master.entrance, "master", "2")
                and [one["flags"] for one in replicas] == ["slave"]
                and [one["master-link-status"] for one in replicas] == ["ok"]
            )

        def settled() -> bool:
            named = self._named()  # on a busy machine Sentinels may have changed their mind once more
            self.master = next((node for node in self.nodes[:2] if node.entrance == named), self.master)
            return len(self._replicas()) == 1 and all(map(ready, self.sentinels))

        eventually(settled, 60, 0.05)

    def _named(self) -> int:
        return int(self.sentinels[0].said("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def bring_back(self) -> None:
        for node in self.nodes[:2]:
            if node is not self.master and node.runs:
                node.signal(signal.SIGCONT)  # which Sentinels make a replica
            elif node is not self.master:
                node.start("--replicaof", "127.0.0.1", str(self.master.entrance))
        self._settle()


def _fields(said: list[bytes]) -> dict[str, str]:
    words = [word.decode() for word in said]
    return dict(zip(words[::2], words[1::2], strict=True))


class Cluster(Group):
    """Three masters, and one replica of that which has our keys."""

    def __init__(self, folder: Path, node: Callable[..., Node] = Node) -> None:
        super().__init__()
        for number in range(4):
            lines = f'save ""\ncluster-enabled yes\ncluster-node-timeout {DOWN_AFTER_MS}\ncluster-port {free_port()}'
            self.nodes.append(node(folder / f"node-{number}", lines + "\nrepl-diskless-sync-delay 0").start())
        self.master, replica, *others = self.nodes
        self._slot = int(self.master.said("CLUSTER", "KEYSLOT", NAMES.leases))
        shares = ((self._slot, LAST_SLOT), (0, self._slot // 2), (self._slot // 2 + 1, self._slot - 1))
        for one, (first, last) in zip((self.master, *others), shares, strict=True):
            one.said("CLUSTER", "ADDSLOTSRANGE", first, last)
        bus = self.master.said("CONFIG", "GET", "cluster-port")[1].decode()
        for number, one in enumerate(self.nodes[1:], 2):
            one.said("CLUSTER", "SET-CONFIG-EPOCH", number)
            one.said("CLUSTER", "MEET", "127.0.0.1", self.master.entrance, bus)
        own = self.master.said("CLUSTER", "MYID").decode()
        eventually(lambda: own in replica.said("CLUSTER", "NODES").decode(), 30, 0.1)
        replica.said("CLUSTER", "REPLICATE", own)
        self.url = f"redis+cluster://{','.join(f'127.0.0.1:{one.entrance}' for one in self.nodes)}"
        self._settle()

    def _settle(self) -> None:
        def ready(node: Node) -> bool:
            return b"cluster_state:ok" in node.said("CLUSTER", "INFO") and self._owner(node) == self.master.entrance

        def copied(node: Node) -> bool:
            # who never had all of its master does not take its place, however long nobody else does
            return str(node.client.info("replication").get("master_link_status")) == "up"

        eventually(lambda: [*map(copied, self._replicas())] == [True] and all(map(ready, self.nodes)), 60, 0.05)

    def _owner(self, node: Node) -> int:
        """The entrance of whoever has our slot, as this node knows."""
        ranges = node.said("CLUSTER", "SLOTS")
        port = next((int(owner[1]) for first, last, owner, *_ in ranges if first <= self._slot <= last), 0)
        return next((one.entrance for one in self.nodes if port in {one.port, one.entrance}), 0)

    def _named(self) -> int:
        """By another master, and the Cluster is up again: until then the new one answers CLUSTERDOWN."""
        up = all(b"cluster_state:ok" in node.said("CLUSTER", "INFO") for node in (*self._others(), self.nodes[2]))
        return self._owner(self.nodes[2]) if up else 0

    def _others(self) -> list[Node]:
        """Whoever may take the place of the one that was killed."""
        return [node for node in self.nodes[:2] if node is not self.master]

    def bring_back(self) -> None:
        for node in self._others():
            node.start()
        self._settle()


def _row(folder: Path, trials: int, make: Callable[[Path], Group], *, how: str, size: int = 20) -> Trials:
    group = make(folder)
    shore = Shore(folder, size, group, durable=True)
    lagging, again = how == "lagging", 0
    try:
        for number in range(trials):
            seen = list(shore.trial(number, lambda: group.fail_over(how, shore.hearers[1:] if lagging else ())))
            lost = group.lost() if lagging else 0
            yield from seen
            problems, before = [shore.account()], again
            if lagging:  # their publisher lives, so all that was lost is there once more
                again = shore.teller.ask("hubnet.stats().get('events.sent_again', 0)")
                problems += [
                    shore.missed(),
                    all_of((again - before >= lost, f"{lost} lost, {again - before} sent again")),
                ]
            yield Sample(number, "all accounted for", None, "; ".join(filter(None, problems)))
            group.bring_back()
    finally:
        shore.net.close()


def sentinels(folder: Path, trials: int, *, how: str = "killed", size: int = 20) -> Trials:
    """The master that Sentinels follow is killed, its replica up to date or behind, or is frozen."""
    return _row(folder, trials, Sentinels, how=how, size=size)


def cluster(folder: Path, trials: int, *, how: str = "killed", size: int = 20) -> Trials:
    """The node of a Redis Cluster that has our keys is killed, its replica up to date or behind."""
    return _row(folder, trials, Cluster, how=how, size=size)
