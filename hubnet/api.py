"""Asking who is there: listings, remote peers, waiting for peers, statistics; and serving until stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hubnet import peer as peer_room
from hubnet.connect import one_timeout
from hubnet.core.connections import Connection, elsewhere, untagged
from hubnet.core.identity import came, decode_id, text, whole
from hubnet.core.membership import OPEN, SUSPECT
from hubnet.core.selection import Query, group_names
from hubnet.core.targets import boolean, seconds
from hubnet.errors import ConfigError, NoPeer

if TYPE_CHECKING:
    from hubnet.core.membership import Record


_MOST_PEERS = 1_000_000
_NEEDED = frozenset({"host", "port", "group", "connections"})


class RemotePeer:
    """A peer as a listing told of it: the record's fields as attributes, its connections as methods."""

    def __init__(self, peer_id: bytes, record: Record) -> None:
        if not isinstance(record, dict) or not record.keys() >= _NEEDED:
            raise TypeError(f"RemotePeer(…, record) takes a record out of hubnet.peers(), not {came(record)}")
        if not isinstance(peer_id, bytes):
            raise TypeError(f"RemotePeer(peer_id, …) takes an id as bytes, not {came(peer_id)}")
        decode_id(peer_id)
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

    def call(
        self, tag: str, /, *args: Any, timeout: float | None = None, time_out: float | None = None, **kwargs: Any
    ) -> Any:
        """Call one of its connections by tag; see ``connect``."""
        tag = text(tag, "call(tag, …) takes the tag as a str")
        if not tag:
            raise ConfigError("call(tag, …): an empty tag")
        if "peer" in kwargs:
            raise TypeError(f"call(tag, …) calls {self!r}: it takes no peer=, as {came(kwargs['peer'])}")
        limit = one_timeout(timeout, time_out)
        return peer_room.call(Connection(tag, elsewhere), self.id, args, kwargs, limit)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePeer) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<hubnet peer {self._record['host']}:{self._record['port']} group {self._record['group']}>"

    def __reduce__(self) -> tuple[type[RemotePeer], tuple[bytes, Record]]:
        return RemotePeer, (self.id, self._record)


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
        if isinstance(key, int) and not isinstance(key, bool):
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
        first: the same by position, in this order; or, as in the reference's examples, the groups first.
        refresh: ask a hub even if the last answer still holds.
        groups: a group's name or a list of names; all by default.
        on_host: peers of this machine alone.
        hubs_only: hubs alone.

    Returns:
        ``{"peers": {id: record, …}, "<group>": [id, …], …}``; a peer without a group is in "None". Everybody is listed, whatever
        their ``state``: who is open and reachable comes first, who is suspect last. So ``peers()[0]``, as a ``RemotePeer``, is
        one that can be called if there is any.

    Raises:
        NoHub: no hub answered within HUBNET_TIMEOUT.
        TypeError, ValueError: naming the parameter.
    """
    named = {"refresh": refresh, "groups": groups, "on_host": on_host, "hubs_only": hubs_only}
    order = list(named) if first and isinstance(first[0], bool) else ["groups", "refresh", "on_host", "hubs_only"]
    if len(first) > len(order):
        raise TypeError(f"peers() takes refresh, groups, on_host and hubs_only, not {len(first)} arguments")
    for name, value in zip(order, first, strict=False):
        if named[name]:
            raise TypeError(f"peers(): {name} given twice: {came(value)} and {came(named[name])}")
        named[name] = value
    refresh = boolean(named["refresh"], "refresh")
    query = _query(named["groups"], on_host=named["on_host"], hubs_only=named["hubs_only"])
    return Listing(_listed(query, refresh=refresh), query)


def _query(groups: Any, *, on_host: bool, hubs_only: bool, parameter: str = "groups") -> Query:
    machine = peer_room.process_peer().world.machine_id() if boolean(on_host, "on_host") else None
    return Query(group_names(groups, parameter), hubs_only=boolean(hubs_only, "hubs_only"), machine=machine)


def _listed(query: Query, *, refresh: bool, timeout: float | None = None) -> dict[bytes, Record]:
    peer = peer_room.Peer()
    deadline = time.monotonic() + (peer.settings.timeout if timeout is None else timeout)
    directory = peer.ready(deadline).directory
    peer.open_now()
    found = directory.listing(query, refresh=refresh, deadline=deadline)
    return {peer_id: _copied(record) for peer_id, record in sorted(found.items(), key=_readiness)}


def _readiness(item: tuple[bytes, Record]) -> int:
    """Whoever takes the first of a listing wants one that can be called; otherwise the hub's order stays."""
    record = item[1]
    if record["state"] == OPEN and record["reachable"]:
        return 0
    return 2 if record["state"] == SUSPECT else 1


def _copied(record: Record) -> Record:
    """The caller's own: what it does to a listing stays with it."""
    return {name: value.copy() if isinstance(value, (list, dict)) else value for name, value in record.items()}


def peer_group(name: str | None = None, hubs_only: bool = False, on_host: bool = False) -> list[RemotePeer]:
    """The peers of one group, whatever their ``state``: who is open and reachable comes first, who is suspect last.

    Args:
        name: of the group; this peer's own by default.
        hubs_only: hubs alone.
        on_host: peers of this machine alone.

    Raises:
        NoHub: no hub answered within HUBNET_TIMEOUT.
        TypeError, ConfigError: naming the parameter.
    """
    query = _query(name, on_host=on_host, hubs_only=hubs_only, parameter="name")
    if name is None:
        query = query._replace(groups=frozenset((peer_room.Peer().group,)))
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
        TypeError, ValueError: naming the parameter.
    """
    n = whole(n, "wait_for(n) takes a number of peers", 0, _MOST_PEERS)
    query = _query(groups, on_host=False, hubs_only=hubs_only)
    deadline = time.monotonic() + (seconds(timeout, optional=False) or 0.0)
    peer = peer_room.Peer()
    changes = -1
    while True:
        left = max(0.05, deadline - time.monotonic())
        found = _listed(query, refresh=changes >= 0, timeout=left)
        there = {peer_id: record for peer_id, record in found.items() if record["state"] == OPEN}
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

    From then on others see it draining and call elsewhere. Calls that still run ten seconds later are given up: their callers get
    PeerLost, whose ``.ran`` is MAYBE.

    Args:
        main_thread: run calls on this thread, one after the other, for hosts that allow nothing else. A call that comes
            back here while this thread waits in the call that caused it waits for its deadline: give it a timeout.

    Raises:
        ConfigError: a setting is wrong.
        TypeError: naming the parameter.
    """
    boolean(main_thread, "main_thread")
    from hubnet import stopping
    from hubnet.links.running import MainThread

    peer = peer_room.Peer()
    parts = peer.ready()
    runner = MainThread()

    def finish() -> None:
        try:
            peer.stop()  # the calls that were accepted may still need this thread: it goes on until they have ended
        finally:
            runner.stop()

    with stopping.signals(finish, runner.wake):
        parts.invoke = runner.invoke if main_thread else None
        try:
            peer.open_now(serves=True)  # once signals are taken: whoever sees it open may send one
            runner.loop()
        finally:
            parts.invoke = None  # whoever left by an exception runs no more calls


def flush(timeout: float = 30) -> bool:
    """Wait until Redis has taken every event that this process has triggered.

    With ``durable="replicated"`` that includes that a replica of Redis has it.

    Args:
        timeout: seconds.

    Returns:
        Whether it has within that time; what has not goes on waiting in the outbox. It is False as well, once, where events
        were lost for good since it was last asked (``events.dropped_outbox``, ``.refused_by_redis``, ``.unsent`` in ``stats()``).

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    return peer_room.process_peer().flush(seconds(timeout, optional=False) or 0.0)
