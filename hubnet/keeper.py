"""What a hub writes: records and leases, at once and in each round, and what it tells of them.

It holds no truth of its own, so a round gives all members whose links stand a fresh lease in one command, writes again whose
record is missing, and looks after the silent. Where the register was out of reach, or lost, or its clock was set, or this hub
was stopped itself, the round says so to itself first: silence meanwhile proves nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable

from hubnet import machine
from hubnet.bus.publisher import Publisher
from hubnet.core import membership
from hubnet.core.channels import Names
from hubnet.core.membership import Record, Seen
from hubnet.counters import Counters
from hubnet.errors import BrokerUnavailable, ConfigError, HubnetError, NoHub
from hubnet.links.complaints import Complaints
from hubnet.links.dial import Dialler
from hubnet.links.link import Link
from hubnet.links.threads import begin
from hubnet.registry import Clock, Registry, Snapshot
from hubnet.watch import Watch

_PRESENCE_EVERY = 0.1
_HEAR_FIRST = 1.0
_log = logging.getLogger("hubnet")


class Keeper:
    """One hub's hand in the register.

    Attributes:
        own_id: the hub's.
        watch: its members, and how it looks after them.
        trouble: why the register was out of reach when last tried; "": it was not.
    """

    def __init__(
        self, own_id: bytes, own_record: Callable[[], Record], registry: Registry, dialler: Dialler, publisher: Publisher,
        names: Names, counters: Counters, *, lease: float, suspect: float,
    ) -> None:  # fmt: skip
        self.own_id = own_id
        self._own_record = own_record
        self._registry = registry
        self._publisher = publisher
        self._names = names
        self._lease = lease
        self._tick = min(1.0, lease / 10)
        self._news: list[tuple[str, str]] = []
        self._wake = threading.Event()
        self._stopping = False
        self._announced = True
        self._unsigned = False
        self._warned = Complaints(every=float("inf"))
        self._warned_of_loopback = False
        self._thread: threading.Thread | None = None
        self._registered = threading.Event()
        self._clock: Clock | None = None  # the register's own
        self._watching_since = float("inf")  # no stop of ours, no register out of reach, no clock that was set
        self._met = ""  # which register the last round found
        self._last = self._renewed = self._swept = float("-inf")  # when the last round was, and renewed and swept
        self._healthy = True
        self.trouble = ""
        self.watch = Watch(own_id, registry, dialler, counters, self.tell, lease=lease, suspect=suspect)

    def start(self, registered: threading.Event) -> bool:
        """Begin with the rounds; whether there is a thread for them.

        Args:
            registered: set while the register has this hub's own record.
        """
        self._registered = registered
        self._thread = self._thread or begin(self._run, "hubnet-hub")
        return self._thread is not None

    def close(self) -> None:
        """Withdraw the hub's own record and stop; members find another hub."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join(2)
        try:
            self._registry.withdraw(self.own_id, self._own_record()["incarnation"])
            self.tell("left", self.own_id)
            self.publish_news()
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

    def ended(self, link: Link) -> None:
        """A link that a peer had registered over has ended."""
        if not self._stopping:
            self.watch.ended(link)

    # -- records ---------------------------------------------------------------------------------------------------

    def write(self, peer_id: bytes, record: Record) -> None:
        """Write a record; an id that a living other holds is refused, a dead one's is taken over."""
        written = self._registry.write(peer_id, record)
        if written.outcome != "held" or written.holder is None:
            return
        holder = written.holder
        seen, _ = self.watch.look(holder)
        if seen in {Seen.ALIVE, Seen.SILENT}:
            self._is_no_member(peer_id, record["incarnation"])
            text = (
                f"the id {record['host']}:{record['port']} in group {record['group']}, held by pid {holder['pid']} on host "
                f"{holder['hostname']}, is wanted by pid {record['pid']} on host {record['hostname']} as well"
            )
            first = self._warned.about(peer_id.decode(), record["incarnation"]) is not None
            if first:
                _log.warning("refused a peer: %s", text)
            if self.watch.colleagues and seen is Seen.ALIVE and first:
                self.watch.colleagues.warn(peer_id, f"{text}: set HUBNET_ADVERTISE or HUBNET_PORT on one of them")
            raise ConfigError(f"{text}: set HUBNET_ADVERTISE or HUBNET_PORT")
        if self._registry.write(peer_id, record, replaces=holder["incarnation"]).outcome == "held":
            self._is_no_member(peer_id, record["incarnation"])
            raise NoHub(f"several peers want the id {record['host']}:{record['port']} at once; trying again")

    def _is_no_member(self, peer_id: bytes, incarnation: str) -> None:
        """Another peer holds the id, and its lease is not ours to renew; who wants it learns why when it registers again."""
        with self.watch.lock:
            member = self.watch.members.get(peer_id)
            if member and member.record["incarnation"] == incarnation:
                del self.watch.members[peer_id]

    # -- rounds ----------------------------------------------------------------------------------------------------

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
            self._healthy, self.trouble = True, ""
            self._registered.set()
        except HubnetError as error:
            if self._healthy:
                _log.warning("the register waits: %s", error)
            self._healthy, self._announced = False, True
            self.trouble = str(error) if isinstance(error, BrokerUnavailable) else ""
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
        self.watch.look_again(now)
        if now - self._swept >= self._lease / membership.RENEWALS_PER_LEASE:
            self._swept = now + machine.jitter(0, self._tick)  # hubs should not sweep in step
            snapshot = self._registry.snapshot()
            if not self._follow_clock():  # else what it says of silences holds no more
                self._note_lonely_loopback(snapshot)
                self.watch.sweep(snapshot, now - self._watching_since)

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
                self.publish_news()
            if woken and (self._announced or self._unsigned):
                return

    def _write_all(self) -> None:
        """The records of all members once more, and our own."""
        self._unsigned, self._announced = False, True
        try:
            with self.watch.lock:
                members = [(peer_id, member.record) for peer_id, member in self.watch.members.items()]
            for peer_id, record in members:
                if self._registry.write(peer_id, record).outcome == "held":
                    self._is_no_member(peer_id, record["incarnation"])
        except HubnetError:
            self._unsigned = True
            raise

    def _write_own(self) -> None:
        record = self._own_record()
        record.update(home=self.own_id.decode(), reachable=True, reason="")
        self.write(self.own_id, record)
        self._registry.renew([self.own_id], (self.own_id, self._entry(record)))
        self.tell("joined", self.own_id)

    def _renew(self, since: float, *, own: bool, everyone: bool) -> None:
        with self.watch.lock:
            ids = [
                peer_id
                for peer_id, one in self.watch.members.items()
                if (everyone or one.renewed >= since) and one.link and not one.link.ended
            ]
        record = self._own_record()
        ids.append(self.own_id)  # each time: what a hub says of itself is to stand there at once
        missing = self._registry.renew(ids, (self.own_id, self._entry(record)) if own else None, ours=True)
        if self.own_id in missing:
            self._write_own()
        met, self._met = self._met, self._registry.epoch
        if met != self._met and not everyone:  # Redis may die and come back between two commands: no connection tells
            self._renew(since, own=True, everyone=True)  # it misses these as well
            return
        for peer_id in missing:
            with self.watch.lock:
                member = self.watch.members.get(peer_id)
            if member and membership.is_heard_from(time.monotonic() - member.heard, self._lease):
                self._write_again(peer_id, member.record)

    def _write_again(self, peer_id: bytes, record: Record) -> None:
        try:
            self.write(peer_id, record)
        except (ConfigError, NoHub) as error:
            _log.debug("no member any more: %s", error)  # which is nobody else's trouble
        else:
            self.tell("joined", peer_id)

    @staticmethod
    def _entry(record: Record) -> Record:
        return {name: record[name] for name in ("host", "port", "incarnation")}

    def _grant_everyone(self, now: float) -> None:
        """This hub was stopped itself: silence meanwhile proves nothing."""
        with self.watch.lock:
            for member in self.watch.members.values():
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

    def tell(self, what: str, peer_id: bytes) -> None:
        """Somebody joined, changed, or left: all who listen to presence are told so soon, with what else happens by then."""
        with self.watch.lock:
            self._news.append((what, peer_id.decode()))
        self._wake.set()

    def publish_news(self) -> None:
        """Tell what there is to be told."""
        with self.watch.lock:
            news, self._news = self._news, []
        if news:
            self._publisher.publish(self._names.presence.encode(), json.dumps(news).encode())
