"""The registrar's doors on top of a peer: register, renew, leave, resolve, list, and look for another hub.

Any hub answers any question, out of the register. What it has of its own are the links of its members; what it writes of
them, at once and round by round, is its keeper's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from hubnet import files
from hubnet.colleagues import LOOK
from hubnet.core import membership
from hubnet.core.connections import Connection
from hubnet.core.identity import decode_id
from hubnet.core.membership import Record, Seen
from hubnet.errors import (
    AuthenticationError,
    BrokerUnavailable,
    ConfigError,
    NotAllowed,
    PeerBusy,
)
from hubnet.keeper import Keeper
from hubnet.links.context import here
from hubnet.registry import Registry, Snapshot
from hubnet.watch import DIAL_BACK, Member

REGISTER, RENEW, LEAVE, RESOLVE, LIST = (
    "hubnet:register",
    "hubnet:renew",
    "hubnet:leave",
    "hubnet:resolve",
    "hubnet:list",
)
_MINUTE = 60.0
_OUT_OF_REACH_AFTER = 6.0
"""Seconds: as long as a Redis that stands still is waited for, and a little."""
_MOST_LOOKS = 600
"""A minute, for one other hub: as many peers as it may lose at once, each looked at a few times."""


class Hub:
    """What one hub answers; ``keeper`` is what it does by itself."""

    def __init__(
        self,
        own_record: Callable[[], Record],
        registry: Registry,
        keeper: Keeper,
        *,
        lease: float,
        dial_backs: int,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self.keeper = keeper
        self._watch = keeper.watch
        self._own_record = own_record
        self._registry = registry
        self._lease = lease
        self._dial_backs = dial_backs
        self._has_room = has_room
        self._dialled_back: dict[bytes, deque[float]] = {}

    def connections(self) -> list[Connection]:
        """What peers call on a hub."""
        doors: dict[str, Callable[..., Any]] = {
            REGISTER: self.register, RENEW: self.renew, LEAVE: self.leave,
            RESOLVE: self.resolve, LIST: self.list, LOOK: self.look,
        }  # fmt: skip
        return [Connection(tag, function, counted=False, builtin=True) for tag, function in doors.items()]

    def register(self, record: Record) -> dict[str, Any]:
        """Take a peer in, or its new record; dials back to prove its address.

        Raises:
            ConfigError: another living peer holds the id.
            BrokerUnavailable: the register cannot be written now.
            PeerBusy: this hub has no open files for one more, or was asked too often.
        """
        link = here.call.link
        peer_id = str(record["id"]).encode()
        if link is None or link.foreign_id != peer_id or link.foreign.incarnation.hex() != record["incarnation"]:
            raise AuthenticationError("a peer registers itself, over its own link")
        _id_of(record)
        ours = self._own_record()
        if wrong := [name for name in ours if type(record.get(name)) is not type(ours[name])]:
            raise ConfigError(
                f"a record whose {', '.join(wrong)} is missing, or of another kind: another version of hubnet?"
            )
        with self._watch.lock:
            member = self._watch.members.get(peer_id)
            known = member is not None and member.record["incarnation"] == record["incarnation"] and member.link is link
            looked = known and member is not None and member.record["reachable"]
        if not known and not self._has_room():
            raise PeerBusy(
                f"the hub on {ours['host']}:{ours['port']} takes no further peer: it may open no more files ("
                f"{files.limit()} there): raise that limit, or start another hub"
            )
        if looked and member is not None:
            record.update(reachable=member.record["reachable"], reason=member.record["reason"])
        else:
            self._count_dial_back(peer_id, self._dial_backs, "HUBNET_DIAL_BACK_LIMIT of this hub")
            seen, reason = self._watch.look(record)
            record.update(reachable=seen is Seen.ALIVE, reason="" if seen is Seen.ALIVE else reason)
        record["home"] = self.keeper.own_id.decode()
        self.keeper.write(peer_id, record)
        with self._watch.lock:
            self._watch.members[peer_id] = Member(record, link, time.monotonic())
            link.home = True
        if link.ended:  # it died while it registered: nobody else will notice
            self.keeper.ended(link)
        else:
            link.guard_small_messages()
        self.keeper.tell("changed" if known else "joined", peer_id)
        return {"lease": self._lease, "reachable": record["reachable"], "reason": record["reason"]}

    def _count_dial_back(self, whose: bytes, most: int, why: str) -> None:
        """Whoever registers, or asks for a look, has us dial an address of its choice: often enough, and no more."""
        now = time.monotonic()
        with self._watch.lock:
            for other in [one for one, moments in self._dialled_back.items() if now - moments[-1] > _MINUTE]:
                del self._dialled_back[other]
            moments = self._dialled_back.setdefault(whose, deque(maxlen=most))
            if len(moments) == most and now - moments[0] < _MINUTE:
                raise PeerBusy(f"{most} times within a minute: {why}")
            moments.append(now)

    def renew(self, peer_id: bytes, incarnation: str) -> bool:
        """A peer is alive; False: unknown here, register again."""
        with self._watch.lock:
            member = self._watch.members.get(peer_id)
            if member is None or member.record["incarnation"] != incarnation or member.link is not here.call.link:
                return False
            member.heard = member.renewed = time.monotonic()
            return True

    def leave(self, peer_id: bytes, incarnation: str) -> None:
        """A peer withdraws.

        Raises:
            AuthenticationError: another one would have it gone.
        """
        link = here.call.link
        if link is None or link.foreign_id != peer_id or link.foreign.incarnation.hex() != incarnation:
            raise AuthenticationError("a peer withdraws itself, over its own link")
        with self._watch.lock:
            member = self._watch.members.get(peer_id)
            if member and member.record["incarnation"] == incarnation:
                del self._watch.members[peer_id]
        if self._registry.withdraw(peer_id, incarnation):
            self.keeper.tell("left", peer_id)

    def resolve(self, peer_id: bytes) -> Record | None:
        """The record of a peer, or None."""
        return self._shown(self._snapshot(), peer_id)

    def list(self, groups: list[str] | None, hubs_only: bool, machine: str | None) -> tuple[str, dict[bytes, Record]]:
        """The register's version and the records that a filter means."""
        snapshot = self._snapshot()
        wanted = None if groups is None else set(groups)
        found = {}
        for peer_id, record in snapshot.records.items():
            if (
                (wanted is None or record["group"] in wanted)
                and (not hubs_only or record["hub"])
                and (machine is None or record["machine"] == machine)
            ):
                found[peer_id] = self._shown(snapshot, peer_id) or record
        return snapshot.version, found

    def _snapshot(self) -> Snapshot:
        """The register; who has no time to wait for one that was out of reach is told so at once."""
        deadline = here.call.deadline
        if self.keeper.trouble and deadline is not None and deadline - time.monotonic() < _OUT_OF_REACH_AFTER:
            raise BrokerUnavailable(self.keeper.trouble)
        return self._registry.snapshot()

    def look(self, record: Record, limit: float = DIAL_BACK) -> str:
        """Hear a peer, or dial it, on behalf of another hub, for so many seconds at the most; the name of what was seen.

        Raises:
            NotAllowed: no hub asks.
            AuthenticationError: the record is not what its id says.
            PeerBusy: it asks too often.
        """
        asker = here.call.link.foreign_id if here.call.link else b""
        known = self._registry.known(asker)
        if not known or not known["hub"]:
            raise NotAllowed("hubs alone have hubs look after others")
        peer_id = _id_of(record)
        self._count_dial_back(b"asked by " + asker, _MOST_LOOKS, "no hub asks another one for more looks")
        if self._watch.hears(record):
            return Seen.ALIVE.name
        self._count_dial_back(b"looked at " + peer_id, self._dial_backs, "HUBNET_DIAL_BACK_LIMIT of this hub")
        within = limit if isinstance(limit, (int, float)) and 0 < limit <= DIAL_BACK else DIAL_BACK
        seen, reason = self._watch.look(record, within)
        if seen is Seen.SILENT and not self._has_room():
            raise PeerBusy(f"this hub cannot look: {reason}")  # no word of ours is to keep anybody alive
        return seen.name

    @staticmethod
    def _shown(snapshot: Snapshot, peer_id: bytes) -> Record | None:
        record = snapshot.records.get(peer_id)
        if record is None:
            return None
        public = {name: value for name, value in record.items() if name not in {"home", "id"}}
        return {**public, "state": membership.SUSPECT} if peer_id in snapshot.silent_for else public


def _id_of(record: Record) -> bytes:
    """Whose record it is.

    Raises:
        AuthenticationError: it says something else than its own id.
    """
    peer_id = str(record["id"]).encode()
    where = decode_id(peer_id)
    if (where.host, where.port, where.group) != (record["host"], record["port"], record["group"]):
        raise AuthenticationError("a record that contradicts its own id")
    return peer_id
