"""Publishing durable events: each envelope goes into a capped stream and to its channel in one transaction.

A second publisher beside the one of plain events, with an outbox and a connection of its own: when Redis takes no more into
streams, plain events still go by. What passes (a failover, a full disk, a replica that was told to write) is tried again
until it is done; what was acknowledged within the last minute is kept, and what of it Redis lacks when it turns out to be
another one is sent again, since a failover forgets. Subscribers drop by number what comes twice.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, NamedTuple

from hubnet.broker import Broker
from hubnet.bus.publisher import Group, Publisher, publish_command
from hubnet.core import histories
from hubnet.core.channels import Names
from hubnet.core.envelopes import Packer
from hubnet.counters import Counters
from hubnet.errors import BrokerUnavailable
from hubnet.redis_socket import answer, resp

KEPT_SECONDS = 60.0
"""For so long what Redis acknowledged can still be sent again; while it is away, nothing grows older."""
_MOST_ANNOUNCED = 10_000
_REPLICA_MS = 200
_ASK_AGAIN = 1.0
_ASK: Group = (b"", 0, [])  # in the line of what waits for an answer: a WAIT
_PASSES = (
    "READONLY", "MOVED", "ASK", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "NOREPLICAS", "BUSY",
)  # fmt: skip
_log = logging.getLogger("hubnet")


class _Kept(NamedTuple):
    """What Redis has acknowledged: when, as which entry of its stream, and whether a replica is to have it as well."""

    at: float
    group: Group
    entry: bytes
    replicated: bool


class DurablePublisher(Publisher):
    """The sending side of durable events."""

    def __init__(
        self, broker: Broker, packer: Packer, names: Names, counters: Counters, *, outbox: tuple[int, int], length: int
    ) -> None:
        super().__init__(broker, packer, counters, outbox=outbox)
        self._names = names
        self._length = b"%d" % length
        self._announced: set[bytes] = set()
        self._to_replicate: set[bytes] = set()
        self._kept: deque[_Kept] = deque()
        self._kept_bytes = 0
        self._ages: dict[tuple[bytes, int], float] = {}  # of what is sent again: it gets no younger by it
        self._done_at = 0.0
        self._to_confirm = 0  # of the kept groups: those that a replica is to have
        self._unreplicated = 0  # the last ones of those, which none is known to have
        self._why_unreplicated = ""
        self._asked = 0.0
        self._identity = ""
        self._objection: Exception | None = None

    def replicate(self, channel: bytes) -> None:
        """From now on events of this channel are done only once a replica has them, too."""
        self._to_replicate.add(channel)

    def _count_dropped(self) -> None:
        self._counters.add("events.dropped_durable")  # first: it is never more of the other's than there are
        super()._count_dropped()

    def _is_pending(self) -> bool:
        return super()._is_pending() or self._unreplicated > 0

    # -- the thread ------------------------------------------------------------------------------------------------

    def _opened(self) -> None:
        assert self._sock is not None
        self._announced.clear()
        self._objection = None
        identity = _identity(self._sock)
        again = 1 if self._unreplicated else 0  # WAIT speaks of what its own connection wrote: without that all is well
        if self._identity not in {"", identity}:
            lacking = histories.lacking(len(self._kept), self._has)
            if lacking:
                _log.warning("Redis is another one, or began anew: the last %d envelopes are sent again", lacking)
            again = max(again, lacking)
        self._take_back(again)
        self._identity = identity
        self._sock.settimeout(None)
        self._in_flight = deque(group for group in self._in_flight if group is not _ASK)
        super()._opened()

    def _has(self, number: int) -> bool:
        """Whether the Redis that answers now has what one acknowledged: the same words, as the same entry."""
        _, (channel, first, bodies), entry, _ = self._kept[number]
        stream = self._names.stream(channel.decode()).encode()
        try:
            found = answer(self._sock, (b"XREVRANGE", stream, entry, entry, b"COUNT", b"1"))  # type: ignore[arg-type]
        except BrokerUnavailable as error:
            if any(f"XREVRANGE: {word}" in str(error) for word in _PASSES):
                raise
            return False  # it may not be asked, or is of another kind
        return bool(found == [[entry, [b"e", self._packer.pack(channel, first, bodies, durable=True)]]])

    def _take_back(self, groups: int) -> None:
        """The last of those that Redis has acknowledged go again, before those that it has not."""
        self._busy = self._busy or bool(groups)  # for ``flush``, until there is an answer to them
        for _ in range(groups):
            at, group, _, replicated = self._kept.pop()
            self._ages[group[:2]] = self._done_at - at
            self._kept_bytes -= _size(group)
            self._counters.add("events.sent_again", len(group[2]))
            if replicated:
                self._to_confirm -= 1
                self._unreplicated = max(0, self._unreplicated - 1)
            self._in_flight.appendleft(group)

    def _due(self, now: float) -> list[Group]:
        asks = [_ASK] if self._unreplicated and now >= self._asked + _ASK_AGAIN else []
        return super()._due(now) + asks

    def _longest_rest(self, now: float) -> float | None:
        rest = super()._longest_rest(now)
        return rest if not self._unreplicated else min(_ASK_AGAIN, _ASK_AGAIN if rest is None else rest)

    def _send(self, groups: list[Group]) -> None:
        if any(group[2] and group[0] in self._to_replicate for group in groups):
            groups = [*groups, _ASK]
        super()._send(groups)

    def _write(self, group: Group, out: list[bytes]) -> None:
        channel, first, bodies = group
        if group is _ASK:
            self._asked = time.monotonic()
            out.append(resp(b"WAIT", b"1", b"%d" % _REPLICA_MS))
            return
        message = self._packer.pack(channel, first, bodies, durable=True)
        if not bodies:  # a mark, which is no event
            publish_command(channel, message, out)
            return
        out.append(resp(b"MULTI"))
        if channel not in self._announced:
            self._announced.add(channel)
            out.append(self._append(self._names.streams, b"%d" % _MOST_ANNOUNCED, channel))
        out.append(self._append(self._names.stream(channel.decode()), self._length, message))
        publish_command(channel, message, out)
        out.append(resp(b"EXEC"))

    @staticmethod
    def _append(stream: str, most: bytes, what: bytes) -> bytes:
        return resp(b"XADD", stream.encode(), b"MAXLEN", b"~", most, b"*", b"e", what)

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, bytes):
            return  # OK and QUEUED, on the way to the answer to EXEC
        if isinstance(reply, Exception) and _passes(reply):
            raise BrokerUnavailable(f"Redis takes no durable events just now: {reply}")
        group = self._in_flight[0]
        if isinstance(reply, Exception) and group[2] and not str(reply).startswith("EXECABORT"):
            self._objection = reply  # to one command of the transaction; the answer to all of it follows
            return
        self._in_flight.popleft()
        age = self._ages.pop(group[:2], 0.0) if group[2] else 0.0
        objection, self._objection = self._objection, None
        if group is _ASK:
            self._on_replicas(reply)
        elif not group[2]:
            self._trouble = ""
        elif isinstance(reply, Exception):
            self._refused(objection or reply, len(group[2]))
        else:
            self._done(group, reply, age)

    def _done(self, group: Group, reply: Any, age: float) -> None:
        """Redis took a transaction; one of its commands may have failed all the same."""
        self._trouble = ""
        failure = next((one for one in reply or () if isinstance(one, Exception)), None)
        if failure is not None:
            self._refused(failure, len(group[2]))
            return
        self._counters.add("events.published", len(group[2]))
        self._done_at = now = time.monotonic()
        replicated = group[0] in self._to_replicate
        self._kept.append(_Kept(now - age, group, reply[-2], replicated))
        self._kept_bytes += _size(group)
        self._to_confirm += replicated
        self._unreplicated += replicated
        self._forget_old(now)

    def _forget_old(self, now: float) -> None:
        while self._kept and not self._unreplicated and self._kept[0].at < now - KEPT_SECONDS:
            self._forget_oldest()
        while self._kept_bytes > self._most_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        old = self._kept.popleft()
        self._kept_bytes -= _size(old.group)
        if old.replicated:
            self._to_confirm -= 1
            if self._unreplicated > self._to_confirm:  # it was one of them, for they are the last
                self._unreplicated -= 1
                self._counters.add("events.unreplicated", len(old.group[2]))

    def _on_replicas(self, reply: Any) -> None:
        if isinstance(reply, int) and reply >= 1:
            self._unreplicated = 0
            self._trouble = self._why_unreplicated = ""
            self._forget_old(time.monotonic())
            return
        trouble = f"no replica took them within {_REPLICA_MS} ms"
        said = f"{reply}" if isinstance(reply, Exception) else trouble
        if said != self._why_unreplicated:
            self._why_unreplicated = said
            _log.warning('events declared durable="replicated" wait: %s', said)


def _size(group: Group) -> int:
    return sum(map(len, group[2])) + 64


def _passes(reply: Exception) -> bool:
    return str(reply).split(" ", 1)[0] in _PASSES


def _identity(sock: Any) -> str:
    """Which history this Redis tells: another one after a restart, after a failover, and after a failover and back."""
    said = answer(sock, (b"INFO", b"server", b"replication"))
    lines = [line for line in bytes(said).splitlines() if line.startswith((b"run_id:", b"master_replid:"))]
    return b" ".join(lines).decode()
