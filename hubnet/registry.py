"""The register: the records of peers, their leases, and the list of hubs.

Only hubs come here, but for one part: anybody of the net may read which hubs there are. Records are signed JSON: whoever can
write to the store can delete or bring back a record, not make one up. What happens in one step is the store's business.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from hubnet.core import signing
from hubnet.core.channels import Names, encoded
from hubnet.core.identity import decode_id
from hubnet.core.keys import Keyring
from hubnet.core.membership import HubEntry, Record
from hubnet.core.register import ANYTHING, Entry, Renewal, Store, mark_of
from hubnet.counters import Counters
from hubnet.errors import AuthenticationError, BrokerUnavailable
from hubnet.links.complaints import Complaints

_A_DAY = 86_400.0
"""Seconds that a register without hubs stands beyond what it has to: Redis's clock may be set ahead by some hours."""
_log = logging.getLogger("hubnet")


class Written(NamedTuple):
    """What became of a record.

    Attributes:
        outcome: "written"; "held": another incarnation holds the id; "older": a newer revision stands already.
        holder: the record that stands in the way, if any.
    """

    outcome: str
    holder: Record | None


class Clock(NamedTuple):
    """The store's clock beside ours.

    Attributes:
        ahead: seconds that it is ahead of our monotonic one.
        doubt: seconds by which that may be wrong either way: its answer was under way for twice as long.
    """

    ahead: float
    doubt: float

    def was_set(self, before: Clock, most: float) -> bool:
        """Whether it was set by more than these seconds since then."""
        return abs(self.ahead - before.ahead) > most + self.doubt + before.doubt


class Snapshot(NamedTuple):
    """The whole register at one version.

    Attributes:
        version: changes whenever a record does.
        records: by id.
        silent_for: seconds since the lease ended, for those whose lease has.
    """

    version: str
    records: dict[bytes, Record]
    silent_for: dict[bytes, float]


class Registry:
    """The register of one namespace."""

    def __init__(
        self,
        store: Store,
        names: Names,
        ring: Keyring,
        *,
        lease: float,
        suspect: float,
        counters: Counters | None = None,
    ) -> None:
        self._store = store
        self._counters = counters or Counters()
        self._names = names
        self._ring = ring
        self._lease_ms = int(lease * 1000)
        self._expiry_ms = int((suspect + 2 * lease + _A_DAY) * 1000)
        self._epoch = os.urandom(8).hex()
        self._cached: tuple[str, dict[bytes, Record]] = ("", {})
        self._now = 0.0
        self._clock: Clock | None = None
        self._complaints = Complaints()
        self._marks: dict[bytes, str] = {}  # of the records that we wrote last
        self.epoch = ""
        """Which register the last renewal met: another one after Redis has lost what it knew."""
        self.strangers = 0
        """Hubs in the register that signed with a secret which is not ours, when last read."""

    # -- what hubs do ----------------------------------------------------------------------------------------------

    def write(self, peer_id: bytes, record: Record, *, replaces: str = "") -> Written:
        """Put a record in, with a fresh lease, unless another incarnation holds the id.

        Args:
            peer_id: the field.
            record: with ``incarnation`` and ``revision``.
            replaces: incarnation (hex) that is known to be gone and may be written over.
        """
        group = decode_id(peer_id).group
        place = self._place(self._names.peers(group), peer_id)
        text = signing.sign(record, place, self._ring).encode()
        entry = Entry(encoded(group), peer_id, text, record["incarnation"], record["revision"], replaces)
        outcome, holder = self._store.write(entry, self._lease_ms, self._expiry_ms, self._epoch)
        standing = self._verified(holder, place) if holder else None
        if (
            holder and standing is None and replaces != ANYTHING
        ):  # nobody of this net signed it: it has no right to the id
            return self.write(peer_id, record, replaces=ANYTHING)
        if outcome == "written":
            self._marks[peer_id] = mark_of(text)
        else:
            self._marks.pop(peer_id, None)  # another's stands there, by right
        return Written(outcome, standing)

    def withdraw(self, peer_id: bytes, incarnation: str, *, only_if_expired: bool = False) -> bool:
        """Take a record out, if it is still of this incarnation (hex); whether it was."""
        try:
            group = encoded(decode_id(peer_id).group)
        except ValueError:  # somebody gave a lease to what is no peer id, and would be met in each sweep
            group = ""
        gone = self._store.withdraw(group, peer_id, incarnation, self._epoch, only_if_expired=only_if_expired)
        if gone:
            self._marks.pop(peer_id, None)
        return gone

    def renew(
        self, ids: Iterable[bytes], hub: tuple[bytes, Record] | None = None, *, ours: bool = False
    ) -> list[bytes]:
        """Give these ids a fresh lease in one command; those whose record had gone come back.

        Args:
            ids: of peers.
            hub: the id and entry of the hub that asks.
            ours: they are members of this hub: whoever has another record there than we wrote counts as gone.
        """
        entry = None
        if hub:
            self._now = self._now or self._store.now() / 1000
            said = {**hub[1], "renewed": self._now}
            entry = hub[0], signing.sign(said, self._place(self._names.hubs, hub[0]), self._ring).encode()
        marks = self._marks if ours else {}
        members = [Renewal(encoded(decode_id(peer_id).group), peer_id, marks.get(peer_id, "")) for peer_id in ids]
        asked = time.monotonic()
        renewed = self._store.renew(members, entry, self._lease_ms, self._expiry_ms)
        self._told(renewed.now, asked)
        self.epoch = renewed.epoch
        return renewed.missing

    @property
    def clock(self) -> Clock | None:
        """The store's own, when it last told the time; None: it has not yet."""
        return self._clock

    def _told(self, now_ms: float, asked: float) -> None:
        """The store's time, told at some moment since we asked."""
        heard = time.monotonic()
        self._now = now_ms / 1000
        self._clock = Clock(self._now - (asked + heard) / 2, (heard - asked) / 2)

    def snapshot(self) -> Snapshot:
        """All records; read again only when the version says so."""
        asked = time.monotonic()
        late = self._store.late()
        self._told(late.now, asked)
        silent = {peer_id: (late.now - since) / 1000 for peer_id, since in late.since.items()}
        if late.version != self._cached[0] or not late.version:
            self._cached = (late.version, self._read_all())
        return Snapshot(late.version, self._cached[1], silent)

    def known(self, peer_id: bytes) -> Record | None:
        """A record as it stood when it was last read; only for whom that leaves out the store is asked, which may not answer."""
        if record := self._cached[1].get(peer_id):
            return record
        try:
            return self.snapshot().records.get(peer_id)
        except BrokerUnavailable:
            return None

    def _read_all(self) -> dict[bytes, Record]:
        found: dict[bytes, Record] = {}
        said = self._store.records()
        for gone in self._marks.keys() - {peer_id for texts in said.values() for peer_id in texts}:
            self._marks.pop(gone, None)
        for group, texts in said.items():
            key = self._names.peers("") + group
            for peer_id, text in texts.items():
                if record := self._verified(text, self._place(key, peer_id)):
                    found[peer_id] = record
        return found

    # -- what anybody may read -------------------------------------------------------------------------------------

    def hubs(self, deadline: float | None = None) -> list[HubEntry]:
        """The hubs that signed themselves in, as the store says by the deadline (monotonic seconds)."""
        said = self._store.hubs(deadline)
        found = []
        for peer_id, text in said.items():
            if entry := self._verified(text, self._place(self._names.hubs, peer_id)):
                incarnation = bytes.fromhex(entry["incarnation"])
                found.append(HubEntry(peer_id, entry["host"], entry["port"], incarnation, entry["renewed"]))
        self.strangers = len(said) - len(found)
        return found

    @property
    def where(self) -> str:
        """Where it is kept, for people."""
        return self._store.where

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    # -- inside ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _place(key: str, peer_id: bytes) -> str:
        return f"{key}|{peer_id.decode(errors='replace')}"

    def _verified(self, text: bytes, place: str) -> Record | None:
        try:
            return signing.verify(text, place, self._ring)
        except AuthenticationError:
            self._counters.add("records.rejected")
            # Once for all of them, whatever they are called: whoever may write there chooses the names.
            if said := self._complaints.about(self.where, "records without a valid signature"):
                _log.warning("ignored in Redis at %s, such as %.200r", said, place)
            return None
