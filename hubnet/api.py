"""Asking who is there: listings, remote peers, waiting for peers, statistics; and serving until stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hubnet import peer as peer_room
from hubnet.core.connections import Connection, untagged
from hubnet.core.selection import Query, group_names
from hubnet.core.targets import seconds
from hubnet.errors import ConfigError, NoPeer

if TYPE_CHECKING:
    from hubnet.core.membership import Record


class RemotePeer:
    """A peer as a listing told of it: the record's fields as attributes, its connections as methods."""

    def __init__(self, peer_id: bytes, record: Record) -> None:
        self.id = peer_id
        self._record = record

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        record = self._record
        if name in record:
            return record[name]
        meant = [tag for tag in record["connections"] if tag == name or untagged(tag).rpartition(".")[2] == name]
        if len(meant) == 1:
            return lambda *args, **kwargs: self.call(meant[0], *args, **kwargs)
        problem = "several connections end in that name" if meant else "no field and no connection of that name"
        has = ", ".join(untagged(tag) for tag in record["connections"]) or "none"
        raise AttributeError(f"{self!r}: {problem}: {name!r}; its connections: {has}")

    def call(self, tag: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call one of its connections by tag; see ``connect``."""
        if not isinstance(tag, str):
            raise TypeError(f"call(tag, …) takes the tag as a str, not {type(tag).__name__}: {tag!r:.100}")
        connection = Connection(tag, _only_there)
        return peer_room.call(connection, self.id, args, kwargs, seconds(timeout))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePeer) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<hubnet peer {self._record['host']}:{self._record['port']} group {self._record['group']}>"

    def __reduce__(self) -> tuple[type[RemotePeer], tuple[bytes, Record]]:
        return RemotePeer, (self.id, self._record)


def _only_there(*args: Any, **kwargs: Any) -> Any:
    raise ConfigError("this connection was named by its tag; it exists on the other peer only")


class Listing(dict[Any, Any]):
    """A result of ``peers()``: ``{"peers": {id: record}, group: [id, …]}``.

    Attributes:
        query: the filter that it answers; ``subscribe`` keeps it live.
    """

    def __init__(self, records: dict[bytes, Record], query: Query) -> None:
        super().__init__(peers=dict(records))
        for peer_id, record in records.items():
            self.setdefault(record["group"], []).append(peer_id)
        self.query = query

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int):
            ids = list(super().__getitem__("peers"))
            if not -len(ids) <= key < len(ids):
                raise IndexError(f"no peer number {key}: {len(ids)} are listed")
            return RemotePeer(ids[key], super().__getitem__("peers")[ids[key]])
        return super().__getitem__(key)


def peers(
    *first: Any, refresh: bool = False, groups: Any = None, on_host: bool = False, hubs_only: bool = False
) -> Listing:
    """Who is on the net, this peer left out.

    Args:
        first: as in the reference's examples, a group or a list of groups may come first; so may `refresh`, as a bool.
        refresh: ask a hub even if the last answer still holds.
        groups: a group's name or a list of names; all by default.
        on_host: peers of this machine alone.
        hubs_only: hubs alone.

    Returns:
        ``{"peers": {id: record, …}, "<group>": [id, …], …}``; a peer without a group is in "None".

    Raises:
        NoHub: no hub answered within HUBNET_TIMEOUT.
        TypeError: naming the parameter.
    """
    for value in first:
        if isinstance(value, bool):
            refresh = value
        elif groups is None:
            groups = value
        else:
            raise TypeError(f"peers(): groups given twice: {groups!r:.100} and {value!r:.100}")
    query = _query(groups, on_host=on_host, hubs_only=hubs_only)
    return Listing(_listed(query, refresh=refresh), query)


def machine_id() -> str:
    """What processes of this machine have in common."""
    from hubnet import machine

    return machine.machine_id()


def _query(groups: Any, *, on_host: bool, hubs_only: bool) -> Query:
    for name, value in (("on_host", on_host), ("hubs_only", hubs_only)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} is a bool, not {type(value).__name__}: {value!r:.100}")
    machine = machine_id() if on_host else None
    return Query(groups=group_names(groups), hubs_only=hubs_only, machine=machine)


def _listed(query: Query, *, refresh: bool, timeout: float | None = None) -> dict[bytes, Record]:
    peer = peer_room.Peer()
    deadline = time.monotonic() + (peer.settings.timeout if timeout is None else timeout)
    directory = peer.ready(deadline).directory
    peer.open_now()
    return directory.listing(query, refresh=refresh, deadline=deadline)


def peer_group(name: str | None = None, hubs_only: bool = False, on_host: bool = False) -> list[RemotePeer]:
    """The peers of one group.

    Args:
        name: of the group; this peer's own by default.
        hubs_only: hubs alone.
        on_host: peers of this machine alone.
    """
    group = peer_room.Peer().group if name is None else name
    query = _query(group, on_host=on_host, hubs_only=hubs_only)
    return [RemotePeer(peer_id, record) for peer_id, record in _listed(query, refresh=False).items()]


def wait_for(n: int, groups: Any = None, hubs_only: bool = False, timeout: float = 30) -> Listing:
    """Wait until at least n peers are there and open.

    Args:
        n: how many.
        groups: a group's name or a list of names; all by default.
        hubs_only: count hubs alone.
        timeout: seconds.

    Returns:
        The listing of those peers.

    Raises:
        NoPeer: fewer came in time; the text says how many.
        NoHub: no hub answered.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise TypeError(f"wait_for(n) takes a number of peers, not {n!r:.100}")
    query = _query(groups, on_host=False, hubs_only=hubs_only)
    deadline = time.monotonic() + (seconds(timeout) or 0.0)
    peer = peer_room.Peer()
    changes = -1
    while True:
        left = max(0.05, deadline - time.monotonic())
        found = _listed(query, refresh=changes >= 0, timeout=left)
        there = {peer_id: record for peer_id, record in found.items() if record["state"] == "open"}
        if len(there) >= n:
            return Listing(there, query)
        if time.monotonic() >= deadline:
            where = "" if query.groups is None else f" in {', '.join(sorted(query.groups))}"
            raise NoPeer(
                f"{len(there)} of {n} peers{where} came within {timeout} s; are they running, and in that group?"
            )
        changes = peer.ready(deadline).directory.wait_for_change(changes, deadline)


def serve(main_thread: bool = False) -> None:
    """Be a peer until stopped: by SIGTERM or Ctrl-C, after which running calls end and the record is withdrawn.

    Args:
        main_thread: run calls on this thread, for hosts that allow nothing else.

    Raises:
        ConfigError: a setting is wrong.
    """
    from hubnet import stopping
    from hubnet.links.running import MainThread

    peer = peer_room.Peer()
    parts = peer.ready()
    runner = MainThread()
    if main_thread:
        parts.invoke = runner.invoke
    peer.open_now()

    def finish() -> None:
        try:
            peer.stop()  # the calls that were accepted may still need this thread: it goes on until they have ended
        finally:
            runner.stop()

    with stopping.signals(finish, runner.wake):
        runner.loop()
