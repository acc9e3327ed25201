"""Looking after the silent: what a hub does about peers whose link has ended, or whose lease has.

Nothing is said of a peer before it was dialled. This room dials, asks the other hubs for their look, and writes; what it all
means is decided in ``core.membership``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from hubnet.colleagues import Asked, Colleagues
from hubnet.core import membership
from hubnet.core.handshake import Self, digest_of
from hubnet.core.membership import Record, Seen, Verdict
from hubnet.counters import Counters
from hubnet.errors import AuthenticationError, BrokerUnavailable, HubnetError, PeerBusy, ProtocolError
from hubnet.links import dial
from hubnet.links.dial import Dialler, Unreachable
from hubnet.links.link import Link
from hubnet.registry import Registry, Snapshot

DIAL_BACK = 2.0
_MOST_AT_ONCE = 256
"""Silent peers that are looked at by the same time, and stray leases that go in one sweep: the others' turn comes at the next."""
_SEEN = {
    dial.REFUSED: Seen.REFUSED, dial.ANOTHER: Seen.ANOTHER, dial.ITSELF: Seen.ANOTHER, dial.SILENT: Seen.SILENT,
    dial.BROKEN_OFF: Seen.BROKEN_OFF,
    dial.NO_FILES: Seen.SILENT,  # it is we who cannot ask: nobody is buried for that
}  # fmt: skip
_log = logging.getLogger("hubnet")


class Member:
    """A peer whose home is this hub.

    Attributes:
        heard: when it spoke last.
        renewed: when it did, or when it was granted that it had.
    """

    __slots__ = ("heard", "link", "look_at", "looks", "record", "renewed")

    def __init__(self, record: Record, link: Link | None, renewed: float) -> None:
        self.record = record
        self.link = link
        self.heard = self.renewed = renewed
        self.looks = 0
        self.look_at = renewed + membership.look_again_after(0)  # if it could not be reached


class Watch:
    """One hub's eye on its members, and on whoever is silent in the register.

    Attributes:
        members: by id; the hub's own table, under `lock`.
        colleagues: other hubs, once there is a calling side.
    """

    def __init__(
        self,
        own_id: bytes,
        registry: Registry,
        dialler: Dialler,
        counters: Counters,
        tell: Callable[[str, bytes], None],
        *,
        lease: float,
        suspect: float,
    ) -> None:
        self._own_id = own_id
        self._registry = registry
        self._dialler = dialler
        self._counters = counters
        self._tell = tell
        self._lease = lease
        self._suspect = suspect
        self._doubts = False
        self._ended: deque[float] = deque(maxlen=10_000)
        self._suspects: set[bytes] = set()
        self._looking: set[bytes] = set()
        self._looked_at: dict[bytes, float] = {}
        self._silent_since: dict[bytes, float] = {}
        self.lock = threading.Lock()
        self.members: dict[bytes, Member] = {}
        self.colleagues: Colleagues | None = None

    def look(self, record: Record, limit: float = DIAL_BACK) -> tuple[Seen, str]:
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
            seen = _SEEN.get(error.how, Seen.UNANSWERED)
            if seen is Seen.UNANSWERED and self._holds(peer_id, record["incarnation"]):
                seen = Seen.SILENT  # stopped for long, it takes no more who dials: each look waits there to be accepted
            return seen, str(error)
        except PeerBusy as error:
            return Seen.ALIVE, str(error)
        except (AuthenticationError, ProtocolError) as error:
            return Seen.IMPOSTOR, str(error)

    def hears(self, record: Record) -> bool:
        """Whether a peer says over its own link to this hub that it lives, whether it can be dialled or not."""
        member = self._holds(str(record["id"]).encode(), record["incarnation"])
        return member is not None and membership.is_heard_from(time.monotonic() - member.heard, self._lease)

    def _holds(self, peer_id: bytes, incarnation: str) -> Member | None:
        """The member, if its link stands, which its machine then answers for."""
        with self.lock:
            member = self.members.get(peer_id)
            same = member is not None and member.record["incarnation"] == incarnation
            return member if same and member and member.link and not member.link.ended else None

    def ended(self, link: Link) -> None:
        """A peer's home link has ended: look after it."""
        with self.lock:
            member = next((one for one in self.members.values() if one.link is link), None)
            if member is None:
                return
            ended, members = time.monotonic(), len(self.members)
            self._ended.append(ended)
        self.begin(self._after_end(member, link, ended, members))

    @staticmethod
    def begin(steps: Iterator[float]) -> None:
        """Take steps, each after the seconds that the one before it wants to have passed, in a thread of their own."""

        def take() -> None:
            for pause in steps:
                time.sleep(pause)

        threading.Thread(target=take, name="hubnet-look", daemon=True).start()

    def _after_end(self, member: Member, link: Link, ended: float, members: int) -> Iterator[float]:
        peer_id = str(member.record["id"]).encode()
        asked: Asked | None = None
        for looks in range(1, membership.LOOKS + 1):
            begun = time.monotonic()
            seen, _ = self.look(member.record, membership.LOOK_APART)
            if seen is Seen.UNANSWERED and not asked and self.colleagues:
                asked = self.colleagues.ask(member.record, membership.LOOK_APART)
            if seen is Seen.UNANSWERED and looks == membership.LOOKS and asked:
                yield from asked.wait()
                seen = asked.together_with(seen)
            with self.lock:
                if self.members.get(peer_id) is not member or member.link is not link:
                    return  # it came back, or left
                cut_off = membership.lost_half(self._ended, members, ended)
            try:
                moved = self._moved(peer_id, member)
                verdict = membership.judge_ended_link(
                    seen, looks=looks, reachable=member.record["reachable"], renewed_elsewhere=moved, cut_off=cut_off
                )
                if verdict is Verdict.GONE:
                    with self.lock:
                        if self.members.get(peer_id) is not member:
                            return  # it has just come back
                    self._bury(peer_id, member.record["incarnation"])
            except BrokerUnavailable as error:
                _log.warning("could not withdraw a peer: %s", error)
                verdict = Verdict.KEEP
            if verdict is not Verdict.LOOK_AGAIN:
                self._forget(peer_id, member)
                return
            yield max(0.0, membership.LOOK_APART - (time.monotonic() - begun))  # "no route" at once is no look

    def _moved(self, peer_id: bytes, member: Member) -> bool:
        record = self._registry.snapshot().records.get(peer_id)
        return (
            record is None
            or record["incarnation"] != member.record["incarnation"]
            or record["home"] != self._own_id.decode()
        )

    def _forget(self, peer_id: bytes, member: Member) -> None:
        """Its link has ended: if it lives it comes back over another one, here or elsewhere; if not, its lease tells."""
        with self.lock:
            if self.members.get(peer_id) is member:
                del self.members[peer_id]

    def _bury(self, peer_id: bytes, incarnation: str, *, only_if_expired: bool = False) -> None:
        with self.lock:
            member = self.members.get(peer_id)
            if member and member.record["incarnation"] == incarnation:
                del self.members[peer_id]
            self._suspects.discard(peer_id)
        if self._registry.withdraw(peer_id, incarnation, only_if_expired=only_if_expired):
            self._counters.add("hub.gone")
            self._tell("left", peer_id)

    def look_again(self, now: float) -> None:
        """Dial members that could not be reached when they registered: cuts heal, and nobody else would notice."""
        with self.lock:
            due = [
                one for one in self.members.values() if one.link and not one.record["reachable"] and one.look_at <= now
            ]
            for member in due:
                member.looks += 1
                member.look_at = now + membership.look_again_after(member.looks)
        for member in due:
            self.begin(self._look_again(member))

    def _look_again(self, member: Member) -> Iterator[float]:
        yield 0.0
        seen, _ = self.look(member.record)
        if seen is not Seen.ALIVE:
            return
        peer_id = str(member.record["id"]).encode()
        record = {**member.record, "reachable": True, "reason": ""}
        with self.lock:
            if self.members.get(peer_id) is not member:
                return  # it has registered anew, or left
        try:
            self._registry.write(peer_id, record)
        except HubnetError as error:
            _log.warning("could not write that a peer is reachable again: %s", error)
            return
        with self.lock:
            member.record = record
        self._tell("changed", peer_id)

    def sweep(self, snapshot: Snapshot, watched_for: float = float("inf")) -> None:
        """Look at each peer whose lease has ended before anything is said of it.

        Args:
            snapshot: the register as it is.
            watched_for: seconds for which this hub has seen who renews; a silence of before proves nothing to it.
        """
        silent = {peer_id: since for peer_id, since in snapshot.silent_for.items() if peer_id in snapshot.records}
        self._suspects &= set(silent)
        for peer_id in islice(set(snapshot.silent_for) - set(silent), _MOST_AT_ONCE):  # its record was forgotten first
            self._registry.withdraw(peer_id, "", only_if_expired=True)
        doubtful = membership.too_many_silent(silent.values(), len(snapshot.records), self._lease)
        if doubtful and not self._doubts:
            _log.warning(
                "half of the register fell silent: this hub may be cut off itself, so it waits before it declares anybody gone"
            )
        self._doubts = doubtful
        self._looked_at = {peer_id: at for peer_id, at in self._looked_at.items() if peer_id in silent}
        with self.lock:
            self._silent_since = {peer_id: at for peer_id, at in self._silent_since.items() if peer_id in silent}
        for peer_id in sorted(silent, key=lambda one: self._looked_at.get(one, 0.0)):
            silent_for = silent[peer_id]
            if doubtful and membership.is_fresh(silent_for, self._lease):
                continue
            if len(self._looking) >= _MOST_AT_ONCE:
                break
            if peer_id != self._own_id and peer_id not in self._looking:
                self._look_at(peer_id, snapshot.records[peer_id], watched_for)

    def _look_at(self, peer_id: bytes, record: Record, watched_for: float) -> None:
        self._looking.add(peer_id)
        self._looked_at[peer_id] = time.monotonic()
        try:
            self.begin(self._look_at_silent(peer_id, record, watched_for))
        except RuntimeError as error:  # no more threads are to be had
            self._looking.discard(peer_id)
            _log.warning("could not look after a silent peer: %s", error)

    def _look_at_silent(self, peer_id: bytes, record: Record, watched_for: float) -> Iterator[float]:
        yield 0.0
        try:
            seen = Seen.ALIVE if self.hears(record) else self.look(record)[0]
            if self.colleagues and membership.others_may_know_better(seen, reachable=record["reachable"]):
                asked = self.colleagues.ask(record, DIAL_BACK)
                yield from asked.wait()
                seen = asked.together_with(seen)
            verdict = membership.judge_expired(
                seen, silent_for=min(self._silent_for(peer_id, seen), watched_for), suspect_limit=self._suspect,
                reachable=record["reachable"], settled=watched_for >= self._lease,
            )  # fmt: skip
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

    def _silent_for(self, peer_id: bytes, seen: Seen) -> float:
        """Seconds since it was first seen to be silent: that its lease ended may be the doing of its hub, or of Redis."""
        now = time.monotonic()
        with self.lock:
            if seen is not Seen.SILENT:
                self._silent_since.pop(peer_id, None)
            return now - self._silent_since.setdefault(peer_id, now) if seen is Seen.SILENT else 0.0
