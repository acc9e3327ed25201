"""The registrar's duty on top of a peer: register, renew, resolve, list, look after the silent.

A hub holds no truth of its own: records and leases are in Redis, and any hub answers any question. What it keeps are the
links of its own peers, whose leases it renews in one command per tick, and whose records it writes again when a renewal
finds them missing. What a silence means is decided in ``core.membership``; this room dials, asks and writes.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from hubnet import files, machine
from hubnet.bus.publisher import Publisher
from hubnet.colleagues import LOOK, Colleagues
from hubnet.core import membership
from hubnet.core.channels import Names
from hubnet.core.connections import Connection
from hubnet.core.identity import decode_id
from hubnet.core.membership import Record, Seen
from hubnet.counters import Counters
from hubnet.errors import (
    AuthenticationError,
    BrokerUnavailable,
    ConfigError,
    HubnetError,
    NoHub,
    NotAllowed,
    PeerBusy,
)
from hubnet.links.context import here
from hubnet.links.dial import Dialler
from hubnet.links.link import Link
from hubnet.registry import Clock, Registry, Snapshot
from hubnet.watch import DIAL_BACK, Member, Watch

REGISTER, RENEW, LEAVE, RESOLVE, LIST = (
    "hubnet:register",
    "hubnet:renew",
    "hubnet:leave",
    "hubnet:resolve",
    "hubnet:list",
)
_PRESENCE_EVERY = 0.1
_MINUTE = 60.0
_HEAR_FIRST = 1.0
_OUT_OF_REACH_AFTER = 6.0
"""Seconds: as long as a Redis that stands still is waited for, and a little."""
_MOST_LOOKS = 600
"""A minute, for one other hub: as many peers as it may lose at once, each looked at a few times."""
_log = logging.getLogger("hubnet")


class Hub:
    """One hub's members and duties."""

    def __init__(
        self,
        own_id: bytes,
        own_record: Callable[[], Record],
        registry: Registry,
        dialler: Dialler,
        publisher: Publisher,
        names: Names,
        counters: Counters,
        *,
        lease: float,
        suspect: float,
        dial_backs: int,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        self._own_id = own_id
        self._has_room = has_room
        self._dial_backs = dial_backs
        self._dialled_back: dict[bytes, deque[float]] = {}
        self._own_record = own_record
        self._registry = registry
        self._publisher = publisher
        self._names = names
        self._counters = counters
        self._lease = lease
        self._tick = min(1.0, lease / 10)
        self._news: list[tuple[str, str]] = []
        self._wake = threading.Event()
        self._stopping = False
        self._announced = True
        self._unsigned = False
        self._warned: set[tuple[bytes, str]] = set()
        self._warned_of_loopback = False
        self._thread: threading.Thread | None = None
        self._registered = threading.Event()
        self._clock: Clock | None = None  # the register's own
        self._watching_since = float("inf")  # no stop of ours, no register out of reach, no clock that was set
        self._met = ""  # which register the last round found
        self._last = self._renewed = self._swept = float("-inf")  # when the last round was, and renewed and swept
        self._healthy = True
        self._trouble = ""  # why the register was out of reach when last tried
        self._watch = Watch(own_id, registry, dialler, counters, self._tell, lease=lease, suspect=suspect)

    def connections(self) -> list[Connection]:
        """What peers call on a hub."""
        doors: dict[str, Callable[..., Any]] = {
            REGISTER: self.register, RENEW: self.renew, LEAVE: self.leave,
            RESOLVE: self.resolve, LIST: self.list, LOOK: self.look,
        }  # fmt: skip
        return [Connection(tag, function, counted=False, builtin=True) for tag, function in doors.items()]

    def start(self, registered: threading.Event) -> None:
        """Begin to tick; the event is set while the register has this hub's own record."""
        self._registered = registered
        self._thread = threading.Thread(target=self._run, name="hubnet-hub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Withdraw the hub's own record and stop; members find another hub."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join(2)
        try:
            self._registry.withdraw(self._own_id, self._own_record()["incarnation"])
            self._tell("left", self._own_id)
            self._publish_news()
        except HubnetError as error:
            _log.debug("left without a word: %s", error)

    def announce(self) -> None:
        """The hub's own record has changed."""
        self._announced = True
        self._wake.set()

    def sign_anew(self) -> None:
        """The secrets have changed: records signed with another one are written again, signed with the first."""
        self._unsigned = True
        self._wake.set()

    def consult(self, colleagues: Colleagues) -> None:
        """Ask these for a second look from now on."""
        self._watch.colleagues = colleagues

    def ended(self, link: Link) -> None:
        """A link that a peer had registered over has ended."""
        if not self._stopping:
            self._watch.ended(link)

    # -- doors: called by peers, over their links ------------------------------------------------------------------

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
        record["home"] = self._own_id.decode()
        self._write(peer_id, record)
        with self._watch.lock:
            self._watch.members[peer_id] = Member(record, link, time.monotonic())
            link.home = True
        if link.ended:  # it died while it registered: nobody else will notice
            self.ended(link)
        else:
            link.guard_small_messages()
        self._tell("changed" if known else "joined", peer_id)
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
            self._tell("left", peer_id)

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
        if self._trouble and deadline is not None and deadline - time.monotonic() < _OUT_OF_REACH_AFTER:
            raise BrokerUnavailable(self._trouble)
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

    # -- writing ---------------------------------------------------------------------------------------

    def _write(self, peer_id: bytes, record: Record) -> None:
        """Write a record; an id that a living other holds is refused, a dead one's is taken over."""
        written = self._registry.write(peer_id, record)
        if written.outcome != "held" or written.holder is None:
            return
        holder = written.holder
        seen, _ = self._watch.look(holder)
        if seen in {Seen.ALIVE, Seen.SILENT}:
            self._is_no_member(peer_id, record["incarnation"])
            text = (
                f"the id {record['host']}:{record['port']} in group {record['group']}, held by pid {holder['pid']} on host "
                f"{holder['hostname']}, is wanted by pid {record['pid']} on host {record['hostname']} as well"
            )
            first = (peer_id, record["incarnation"]) not in self._warned
            if first:
                self._warned.add((peer_id, record["incarnation"]))
                _log.warning("refused a peer: %s", text)
            if self._watch.colleagues and seen is Seen.ALIVE and first:
                self._watch.colleagues.warn(peer_id, f"{text}: set HUBNET_ADVERTISE or HUBNET_PORT on one of them")
            raise ConfigError(f"{text}: set HUBNET_ADVERTISE or HUBNET_PORT")
        if self._registry.write(peer_id, record, replaces=holder["incarnation"]).outcome == "held":
            self._is_no_member(peer_id, record["incarnation"])
            raise NoHub(f"several peers want the id {record['host']}:{record['port']} at once; trying again")

    def _is_no_member(self, peer_id: bytes, incarnation: str) -> None:
        """Another peer holds the id, and its lease is not ours to renew; who wants it learns why when it registers again."""
        with self._watch.lock:
            member = self._watch.members.get(peer_id)
            if member and member.record["incarnation"] == incarnation:
                del self._watch.members[peer_id]

    # -- the tick --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            self._wait(self.round())

    def round(self) -> float:
        """Renew, look, and heal what can be healed; seconds until the next one."""
        now, last, self._last = time.monotonic(), self._last, time.monotonic()
        if last > 0 and membership.was_stopped(now - last, self._tick):
            self._grant_everyone(now)
            self._watching_since = float("inf")
            return _HEAR_FIRST  # who left meanwhile said so: it is heard before anybody's record is missed
        try:
            self._renew_and_look(now, last)
            self._healthy, self._trouble = True, ""
            self._registered.set()
        except HubnetError as error:
            if self._healthy:
                _log.warning("the register waits: %s", error)
            self._healthy, self._announced = False, True
            self._trouble = str(error) if isinstance(error, BrokerUnavailable) else ""
            self._watching_since = float("inf")
            self._registered.clear()
        except Exception:
            _log.exception("the hub could not do its round; it tries again")
        return self._tick

    def _renew_and_look(self, now: float, last: float) -> None:
        if self._unsigned:
            self._write_all()
        if self._announced:
            self._announced = False
            self._write_own()
        own = now - self._renewed >= self._lease / membership.RENEWALS_PER_LEASE
        self._renew(last, own=own or not self._healthy, everyone=not self._healthy)
        self._renewed = now if own else self._renewed
        self._follow_clock()
        self._watching_since = min(self._watching_since, now)
        self._watch.look_again(now)
        if now - self._swept >= self._lease / membership.RENEWALS_PER_LEASE:
            self._swept = now + machine.jitter(0, self._tick)  # hubs should not sweep in step
            snapshot = self._registry.snapshot()
            if not self._follow_clock():  # else what it says of silences holds no more
                self._note_lonely_loopback(snapshot)
                self._watch.sweep(snapshot, now - self._watching_since)

    def _follow_clock(self) -> bool:
        """Whether the register's clock was set: everybody has a fresh lease then, by the new one.

        Set back, it would keep the dead for as long; ahead, whoever is silent would be so for longer than it was.
        """
        before, self._clock = self._clock, self._registry.clock
        if before is None or self._clock is None or not self._clock.was_set(before, self._lease):
            return False
        _log.warning("the clock of Redis was set by %+.0f s: all leases are renewed", self._clock.ahead - before.ahead)
        self._registry.renew(self._registry.snapshot().records)
        self._watching_since = float("inf")
        return True

    def _wait(self, seconds: float) -> None:
        """Until the next tick; news go out at most every 100 ms."""
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            woken = self._wake.wait(left)
            self._wake.clear()
            if self._news:
                time.sleep(_PRESENCE_EVERY)  # the batch: what else happens meanwhile goes along
                self._publish_news()
            if woken and (self._announced or self._unsigned):
                return

    def _write_all(self) -> None:
        """The records of all members once more, and our own."""
        self._unsigned, self._announced = False, True
        try:
            with self._watch.lock:
                members = [(peer_id, member.record) for peer_id, member in self._watch.members.items()]
            for peer_id, record in members:
                if self._registry.write(peer_id, record).outcome == "held":
                    self._is_no_member(peer_id, record["incarnation"])
        except HubnetError:
            self._unsigned = True
            raise

    def _write_own(self) -> None:
        record = self._own_record()
        record.update(home=self._own_id.decode(), reachable=True, reason="")
        self._write(self._own_id, record)
        self._registry.renew([self._own_id], (self._own_id, self._entry(record)))
        self._tell("joined", self._own_id)

    def _renew(self, since: float, *, own: bool, everyone: bool) -> None:
        with self._watch.lock:
            ids = [
                peer_id
                for peer_id, one in self._watch.members.items()
                if (everyone or one.renewed >= since) and one.link and not one.link.ended
            ]
        record = self._own_record()
        ids.append(self._own_id)  # each time: what a hub says of itself is to stand there at once
        missing = self._registry.renew(ids, (self._own_id, self._entry(record)) if own else None, ours=True)
        if self._own_id in missing:
            self._write_own()
        met, self._met = self._met, self._registry.epoch
        if met != self._met and not everyone:  # Redis may die and come back between two commands: no connection tells
            self._renew(since, own=True, everyone=True)  # it misses these as well
            return
        for peer_id in missing:
            with self._watch.lock:
                member = self._watch.members.get(peer_id)
            if member and membership.is_heard_from(time.monotonic() - member.heard, self._lease):
                self._write_again(peer_id, member.record)

    def _write_again(self, peer_id: bytes, record: Record) -> None:
        try:
            self._write(peer_id, record)
        except (ConfigError, NoHub) as error:
            _log.debug("no member any more: %s", error)  # which is nobody else's trouble
        else:
            self._tell("joined", peer_id)

    @staticmethod
    def _entry(record: Record) -> Record:
        return {name: record[name] for name in ("host", "port", "incarnation")}

    def _grant_everyone(self, now: float) -> None:
        """This hub was stopped itself: silence meanwhile proves nothing."""
        with self._watch.lock:
            for member in self._watch.members.values():
                member.renewed = now

    def _note_lonely_loopback(self, snapshot: Snapshot) -> None:
        """A hub on loopback beside hubs of other machines is a mistake that nobody sees."""
        own = self._own_record()
        if self._warned_of_loopback or not machine.is_loopback(own["host"]):
            return
        for record in snapshot.records.values():
            if record["hub"] and record["machine"] != own["machine"]:
                self._warned_of_loopback = True
                _log.warning(
                    "this hub listens on loopback, but there is a hub on host %s: nobody there reaches us; set HUBNET_HOST",
                    record["hostname"],
                )
                return

    # -- presence --------------------------------------------------------------------------------------------------

    def _tell(self, what: str, peer_id: bytes) -> None:
        with self._watch.lock:
            self._news.append((what, peer_id.decode()))
        self._wake.set()

    def _publish_news(self) -> None:
        with self._watch.lock:
            news, self._news = self._news, []
        if news:
            self._publisher.publish(self._names.presence.encode(), json.dumps(news).encode())


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
