"""The registrar's duty on top of a peer: register, renew, resolve, list, look after the silent.

A hub holds no truth of its own: records and leases are in Redis, and any hub answers any question. What it keeps are the
links of its own peers, whose leases it renews in one command per tick, and whose records it writes again when a renewal
finds them missing. What a silence means is decided in ``core.membership``; this room dials, asks and writes.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from hubnet import machine
from hubnet.bus.publisher import Publisher
from hubnet.colleagues import LOOK, Colleagues
from hubnet.core import membership
from hubnet.core.channels import Names
from hubnet.core.connections import Connection
from hubnet.core.handshake import Self, digest_of
from hubnet.core.membership import Record, Seen, Verdict
from hubnet.counters import Counters
from hubnet.errors import (
    AuthenticationError,
    BrokerUnavailable,
    ConfigError,
    HubnetError,
    PeerBusy,
    ProtocolError,
)
from hubnet.links import dial
from hubnet.links.context import here
from hubnet.links.dial import Dialler, Unreachable
from hubnet.links.link import Link
from hubnet.registry import Registry, Snapshot

REGISTER, RENEW, LEAVE, RESOLVE, LIST = (
    "hubnet:register",
    "hubnet:renew",
    "hubnet:leave",
    "hubnet:resolve",
    "hubnet:list",
)
_DIAL_BACK = 2.0
_PRESENCE_EVERY = 0.1
_log = logging.getLogger("hubnet")


class _Member:
    """A peer whose home is this hub."""

    __slots__ = ("link", "record", "renewed")

    def __init__(self, record: Record, link: Link | None, renewed: float) -> None:
        self.record = record
        self.link = link
        self.renewed = renewed


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
    ) -> None:
        self._own_id = own_id
        self._own_record = own_record
        self._registry = registry
        self._dialler = dialler
        self._publisher = publisher
        self._names = names
        self._counters = counters
        self._lease = lease
        self._suspect = suspect
        self._tick = min(1.0, lease / 10)
        self._lock = threading.Lock()
        self._members: dict[bytes, _Member] = {}
        self._ended: deque[float] = deque(maxlen=10_000)
        self._news: list[tuple[str, str]] = []
        self._suspects: set[bytes] = set()
        self._looking: set[bytes] = set()
        self._wake = threading.Event()
        self._stopping = False
        self._announced = True
        self._warned_of_loopback = False
        self._thread: threading.Thread | None = None
        self._registered = threading.Event()
        self.colleagues: Colleagues | None = None

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
        except BrokerUnavailable as error:
            _log.debug("left without a word: %s", error)

    def announce(self) -> None:
        """The hub's own record has changed."""
        self._announced = True
        self._wake.set()

    # -- doors: called by peers, over their links ------------------------------------------------------------------

    def register(self, record: Record) -> dict[str, Any]:
        """Take a peer in, or its new record; dials back to prove its address.

        Raises:
            ConfigError: another living peer holds the id.
            BrokerUnavailable: the register cannot be written now.
        """
        link = here.call.link
        peer_id = str(record["id"]).encode()
        if link is None or link.foreign_id != peer_id or link.foreign.incarnation.hex() != record["incarnation"]:
            raise AuthenticationError("a peer registers itself, over its own link")
        with self._lock:
            member = self._members.get(peer_id)
            known = member is not None and member.record["incarnation"] == record["incarnation"] and member.link is link
        if known and member is not None:
            record.update(reachable=member.record["reachable"], reason=member.record["reason"])
        else:
            seen, reason = self._look(record)
            record.update(reachable=seen is Seen.ALIVE, reason="" if seen is Seen.ALIVE else reason)
        record["home"] = self._own_id.decode()
        self._write(peer_id, record)
        with self._lock:
            self._members[peer_id] = _Member(record, link, time.monotonic())
            link.home = True
        link.guard_small_messages()
        self._tell("changed" if known else "joined", peer_id)
        return {"lease": self._lease, "reachable": record["reachable"], "reason": record["reason"]}

    def renew(self, peer_id: bytes, incarnation: str) -> bool:
        """A peer is alive; False: unknown here, register again."""
        with self._lock:
            member = self._members.get(peer_id)
            if member is None or member.record["incarnation"] != incarnation or member.link is not here.call.link:
                return False
            member.renewed = time.monotonic()
            return True

    def leave(self, peer_id: bytes, incarnation: str) -> None:
        """A peer withdraws."""
        with self._lock:
            member = self._members.get(peer_id)
            if member and member.record["incarnation"] == incarnation:
                del self._members[peer_id]
        if self._registry.withdraw(peer_id, incarnation):
            self._tell("left", peer_id)

    def resolve(self, peer_id: bytes) -> Record | None:
        """The record of a peer, or None."""
        return self._shown(self._registry.snapshot(), peer_id)

    def list(self, groups: list[str] | None, hubs_only: bool, machine: str | None) -> tuple[str, dict[bytes, Record]]:
        """The register's version and the records that a filter means."""
        snapshot = self._registry.snapshot()
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

    def look(self, record: Record) -> str:
        """Dial a peer on behalf of another hub; the name of what was seen."""
        return self._look(record)[0].name

    @staticmethod
    def _shown(snapshot: Snapshot, peer_id: bytes) -> Record | None:
        record = snapshot.records.get(peer_id)
        if record is None:
            return None
        public = {name: value for name, value in record.items() if name not in {"home", "id"}}
        return {**public, "state": membership.SUSPECT} if peer_id in snapshot.silent_for else public

    # -- writing and looking ---------------------------------------------------------------------------------------

    def _write(self, peer_id: bytes, record: Record) -> None:
        """Write a record; an id that a living other holds is refused, a dead one's is taken over."""
        written = self._registry.write(peer_id, record)
        if written.outcome != "held" or written.holder is None:
            return
        holder = written.holder
        seen, _ = self._look(holder)
        if seen in {Seen.ALIVE, Seen.SILENT}:
            text = (
                f"the id {record['host']}:{record['port']} in group {record['group']}, held by pid {holder['pid']} on host "
                f"{holder['hostname']}, is wanted by pid {record['pid']} on host {record['hostname']} as well"
            )
            _log.warning("refused a peer: %s", text)
            if self.colleagues and seen is Seen.ALIVE:
                self.colleagues.warn(peer_id, f"{text}: set HUBNET_ADVERTISE or HUBNET_PORT on one of them")
            raise ConfigError(f"{text}: set HUBNET_ADVERTISE or HUBNET_PORT")
        self._registry.write(peer_id, record, replaces=holder["incarnation"])

    def _look(self, record: Record, limit: float = _DIAL_BACK) -> tuple[Seen, str]:
        """Dial a peer at its advertised address: a whole handshake, for its id and incarnation."""
        peer_id = str(record["id"]).encode()
        wanted = Self(digest_of(peer_id), bytes.fromhex(record["incarnation"]))
        self._counters.add("hub.dial_backs")
        try:
            link = self._dialler.dial(record["host"], record["port"], wanted, time.monotonic() + limit)
            link.say_bye()
            link.close()
            return Seen.ALIVE, ""
        except Unreachable as error:
            seen = {dial.REFUSED: Seen.REFUSED, dial.ANOTHER: Seen.ANOTHER, dial.SILENT: Seen.SILENT}
            return seen.get(error.how, Seen.UNANSWERED), str(error)
        except PeerBusy as error:
            return Seen.ALIVE, str(error)
        except (AuthenticationError, ProtocolError) as error:
            return Seen.IMPOSTOR, str(error)

    def ended(self, link: Link) -> None:
        """A peer's home link has ended: look after it."""
        if self._stopping:
            return
        with self._lock:
            member = next((one for one in self._members.values() if one.link is link), None)
            if member is None:
                return
            ended, members = time.monotonic(), len(self._members)
            self._ended.append(ended)
        arguments = (member, link, ended, members)
        threading.Thread(target=self._after_end, args=arguments, name="hubnet-look", daemon=True).start()

    def _after_end(self, member: _Member, link: Link, ended: float, members: int) -> None:
        peer_id = str(member.record["id"]).encode()
        for looks in range(1, membership.LOOKS + 1):
            begun = time.monotonic()
            seen, _ = self._look(member.record, membership.LOOK_APART)
            if seen is Seen.UNANSWERED and looks == membership.LOOKS and self.colleagues:
                seen = self.colleagues.look(member.record) or seen
            with self._lock:
                if self._members.get(peer_id) is not member or member.link is not link:
                    return  # it came back, or left
                cut_off = membership.lost_half(self._ended, members, ended)
            try:
                verdict = membership.judge_ended_link(
                    seen, looks=looks, reachable=member.record["reachable"],
                    renewed_elsewhere=self._moved(peer_id, member), cut_off=cut_off,
                )  # fmt: skip
                if verdict is Verdict.GONE:
                    self._bury(peer_id, member.record["incarnation"])
            except BrokerUnavailable as error:
                _log.warning("could not withdraw a peer: %s", error)
                return
            if verdict is not Verdict.LOOK_AGAIN:
                return
            time.sleep(max(0.0, membership.LOOK_APART - (time.monotonic() - begun)))  # "no route" at once is no look

    def _moved(self, peer_id: bytes, member: _Member) -> bool:
        record = self._registry.snapshot().records.get(peer_id)
        return (
            record is None
            or record["incarnation"] != member.record["incarnation"]
            or record["home"] != self._own_id.decode()
        )

    def _bury(self, peer_id: bytes, incarnation: str, *, only_if_expired: bool = False) -> None:
        with self._lock:
            member = self._members.get(peer_id)
            if member and member.record["incarnation"] == incarnation:
                del self._members[peer_id]
            self._suspects.discard(peer_id)
        if self._registry.withdraw(peer_id, incarnation, only_if_expired=only_if_expired):
            self._counters.add("hub.gone")
            self._tell("left", peer_id)

    # -- the tick --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        last = renewed = swept = float("-inf")
        healthy = True
        while not self._stopping:
            now = time.monotonic()
            if last > 0 and membership.was_stopped(now - last, self._tick):
                self._grant_everyone(now)
            try:
                if self._announced:
                    self._announced = False
                    self._write_own()
                everyone = not healthy
                own = now - renewed >= self._lease / membership.RENEWALS_PER_LEASE
                self._renew(last, own=own or everyone, everyone=everyone)
                renewed = now if own else renewed
                if now - swept >= self._lease / membership.RENEWALS_PER_LEASE:
                    swept = now + random.uniform(0, self._tick)  # noqa: S311 - hubs should not sweep in step
                    self._sweep()
                healthy = True
                self._registered.set()
            except HubnetError as error:
                if healthy:
                    _log.warning("the register waits: %s", error)
                healthy, self._announced = False, True
                self._registered.clear()
            except Exception:
                _log.exception("the hub could not do its round; it tries again")
            last = now
            self._wait()

    def _wait(self) -> None:
        """Until the next tick; news go out at most every 100 ms."""
        end = time.monotonic() + self._tick
        while not self._stopping and (left := end - time.monotonic()) > 0:
            woken = self._wake.wait(left)
            self._wake.clear()
            if self._news:
                time.sleep(_PRESENCE_EVERY)  # the batch: what else happens meanwhile goes along
                self._publish_news()
            if woken and self._announced:
                return

    def _write_own(self) -> None:
        record = self._own_record()
        record.update(home=self._own_id.decode(), reachable=True, reason="")
        self._write(self._own_id, record)
        self._registry.renew([self._own_id], (self._own_id, self._entry(record)))
        self._tell("joined", self._own_id)

    def _renew(self, since: float, *, own: bool, everyone: bool) -> None:
        with self._lock:
            ids = [peer_id for peer_id, one in self._members.items() if one.renewed >= since or (everyone and one.link)]
        if not ids and not own:
            return
        record = self._own_record()
        if own:
            ids.append(self._own_id)
        missing = self._registry.renew(ids, (self._own_id, self._entry(record)) if own else None)
        for peer_id in missing:
            if peer_id == self._own_id:
                self._announced = True
                continue
            with self._lock:
                member = self._members.get(peer_id)
            if member:
                self._write(peer_id, member.record)
                self._tell("joined", peer_id)

    @staticmethod
    def _entry(record: Record) -> Record:
        return {name: record[name] for name in ("host", "port", "incarnation")}

    def _grant_everyone(self, now: float) -> None:
        """This hub was stopped itself: silence meanwhile proves nothing."""
        with self._lock:
            for member in self._members.values():
                member.renewed = now

    def _sweep(self) -> None:
        """Look at each peer whose lease has ended before anything is said of it."""
        snapshot = self._registry.snapshot()
        self._note_lonely_loopback(snapshot)
        self._suspects &= set(snapshot.silent_for)
        for peer_id, silent_for in snapshot.silent_for.items():
            record = snapshot.records.get(peer_id)
            if record is not None and peer_id != self._own_id and peer_id not in self._looking:
                self._looking.add(peer_id)
                arguments = (peer_id, record, silent_for)
                threading.Thread(target=self._look_at_silent, args=arguments, name="hubnet-look", daemon=True).start()

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

    def _look_at_silent(self, peer_id: bytes, record: Record, silent_for: float) -> None:
        try:
            seen, _ = self._look(record)
            verdict = membership.judge_expired(
                seen, silent_for=silent_for, suspect_limit=self._suspect, reachable=record["reachable"]
            )
            if verdict is Verdict.KEEP:
                self._registry.renew([peer_id])
            elif verdict is Verdict.GONE:
                self._bury(peer_id, record["incarnation"], only_if_expired=True)
            elif peer_id not in self._suspects:
                self._suspects.add(peer_id)
                self._tell("suspect", peer_id)
        except HubnetError as error:
            _log.warning("could not look after a silent peer: %s", error)
        finally:
            self._looking.discard(peer_id)

    # -- presence --------------------------------------------------------------------------------------------------

    def _tell(self, what: str, peer_id: bytes) -> None:
        with self._lock:
            self._news.append((what, peer_id.decode()))
        self._wake.set()

    def _publish_news(self) -> None:
        with self._lock:
            news, self._news = self._news, []
        if news:
            self._publisher.publish(self._names.presence.encode(), json.dumps(news).encode())
