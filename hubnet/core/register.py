"""The register as plain data: what each of its operations does, told `now`.

This is the rule; the scripts that run in Redis do the same in one step there, and one suite is run on both. Records are texts
that nobody here can verify: only their incarnation and revision are looked at. Each part (the records of a group, leases, groups,
hubs, version) is forgotten when nothing has touched it for its expiry, as a Redis key is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

ANYTHING = "anything"
LEASES, GROUPS, HUBS, VERSION = "leases", "groups", "hubs", "version"


class Entry(NamedTuple):
    """A record that wants to stand in the register.

    Attributes:
        group: percent-encoded.
        peer_id: the field.
        text: signed JSON.
        incarnation: hex, as in the text.
        revision: as in the text; an older one never replaces a newer one.
        replaces: the incarnation (hex) that may be written over, ANYTHING, or "".
    """

    group: str
    peer_id: bytes
    text: bytes
    incarnation: str
    revision: int
    replaces: str = ""


class Renewal(NamedTuple):
    """A member to whom a fresh lease is given.

    Attributes:
        group: as in ``Entry``.
        peer_id: as in ``Entry``.
        mark: ``mark_of`` its record as it was written: one that somebody changed, or brought back, counts as gone. "" for any.
    """

    group: str
    peer_id: bytes
    mark: str = ""


class Renewed(NamedTuple):
    """What came of a renewal.

    Attributes:
        now: milliseconds of the register's own clock.
        missing: those whose record must be written again.
        epoch: which register it was: another one after it was lost and begun anew; "" where nobody has written yet.
    """

    now: float
    missing: list[bytes]
    epoch: str


def mark_of(text: bytes) -> str:
    """What tells a record from another; no more than that hangs on it, and Redis's scripts know it."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


class Late(NamedTuple):
    """What is silent.

    Attributes:
        now: milliseconds of the register's own clock.
        since: by id, when the lease ended, for those whose lease has.
        version: changes whenever a record does; "" at first.
    """

    now: float
    since: dict[bytes, float]
    version: str


class Store(Protocol):
    """Where the register is kept. Times are milliseconds; every one of these happens in one step."""

    @property
    def where(self) -> str:
        """For people."""

    def write(self, entry: Entry, lease: int, expiry: int, epoch: str) -> tuple[str, bytes]:
        """Put a record in with a fresh lease: "written" and b"", or "held" or "older" and what stands there."""

    def withdraw(self, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool) -> bool:
        """Take a record out, if it is still of this incarnation; whether it was."""

    def renew(self, members: Sequence[Renewal], hub: tuple[bytes, bytes] | None, lease: int, expiry: int) -> Renewed:
        """Give fresh leases to members, and a hub its entry."""

    def late(self) -> Late:
        """Whose lease has ended, and the version."""

    def records(self) -> dict[str, dict[bytes, bytes]]:
        """All texts, by group and id."""

    def hubs(self, deadline: float | None = None) -> dict[bytes, bytes]:
        """The entries of hubs, by the deadline (monotonic seconds)."""

    def now(self) -> float:
        """Milliseconds of the register's own clock."""

    def close(self) -> None:
        """Let go of it."""


class Register:
    """One namespace's register."""

    def __init__(self) -> None:
        self._records: dict[str, dict[bytes, bytes]] = {}
        self._leases: dict[bytes, float] = {}
        self._groups: set[str] = set()
        self._hubs: dict[bytes, bytes] = {}
        self._epoch, self._counter = "", 0
        self._until: dict[str, float] = {}

    def write(self, now: float, entry: Entry, lease: int, expiry: int, epoch: str) -> tuple[str, bytes]:
        """As ``Store.write``."""
        self._forget(now)
        old = self._records.get(entry.group, {}).get(entry.peer_id)
        seen = _read(old) if old is not None and entry.replaces != ANYTHING else None
        if seen is not None and old is not None:
            if seen.get("incarnation") not in {entry.incarnation, entry.replaces}:
                return "held", old
            if seen.get("incarnation") == entry.incarnation and _number(seen.get("revision")) > entry.revision:
                return "older", old
        self._records.setdefault(entry.group, {})[entry.peer_id] = entry.text
        self._leases[entry.peer_id] = now + lease
        self._groups.add(entry.group)
        self._change(now, epoch)
        self._touch(now + expiry, _records_of(entry.group), LEASES, GROUPS, VERSION, HUBS)
        return "written", b""

    def withdraw(
        self, now: float, group: str, peer_id: bytes, incarnation: str, epoch: str, *, only_if_expired: bool
    ) -> bool:
        """As ``Store.withdraw``."""
        self._forget(now)
        records = self._records.get(group, {})
        if peer_id in records:
            seen = _read(records[peer_id])
            if seen is None or seen.get("incarnation") != incarnation:
                return False
        elif peer_id not in self._leases:  # with a lease, the record was forgotten: so is the lease now
            return False
        if only_if_expired and self._leases.get(peer_id, now) > now:
            return False
        records.pop(peer_id, None)
        self._leases.pop(peer_id, None)
        self._hubs.pop(peer_id, None)
        if not records:
            self._records.pop(group, None)
            self._groups.discard(group)
        self._change(now, epoch)
        return True

    def renew(
        self, now: float, members: Sequence[Renewal], hub: tuple[bytes, bytes] | None, lease: int, expiry: int
    ) -> Renewed:
        """As ``Store.renew``."""
        self._forget(now)
        missing = []
        for group, peer_id, mark in members:
            text = self._records.get(group, {}).get(peer_id)
            if peer_id in self._leases and text is not None and mark in {"", mark_of(text)} and group in self._groups:
                self._leases[peer_id] = now + lease
            else:
                missing.append(peer_id)
        if hub is not None:
            self._hubs[hub[0]] = hub[1]
        self._touch(now + expiry, LEASES, HUBS, GROUPS, VERSION, *(_records_of(one.group) for one in members))
        return Renewed(now, missing, self._epoch)

    def late(self, now: float) -> Late:
        """As ``Store.late``."""
        self._forget(now)
        since = {peer_id: end for peer_id, end in self._leases.items() if end <= now}
        return Late(now, since, f"{self._epoch}:{self._counter}" if self._counter else "")

    def records(self, now: float) -> dict[str, dict[bytes, bytes]]:
        """As ``Store.records``."""
        self._forget(now)
        return {group: dict(self._records.get(group, {})) for group in self._groups}

    def hubs(self, now: float) -> dict[bytes, bytes]:
        """As ``Store.hubs``."""
        self._forget(now)
        return dict(self._hubs)

    def _change(self, now: float, epoch: str) -> None:
        self._epoch = self._epoch or f"{epoch}-{now}"
        self._counter += 1

    def _touch(self, until: float, *parts: str) -> None:
        self._until.update(dict.fromkeys(parts, until))

    def _forget(self, now: float) -> None:
        for part in [part for part, until in self._until.items() if until <= now]:
            del self._until[part]
            if part == LEASES:
                self._leases.clear()
            elif part == GROUPS:
                self._groups.clear()
            elif part == HUBS:
                self._hubs.clear()
            elif part == VERSION:
                self._epoch, self._counter = "", 0
            else:
                self._records.pop(part.partition(":")[2], None)


def _records_of(group: str) -> str:
    return f"records:{group}"


def _read(text: bytes | None) -> dict[str, Any] | None:
    """What a text says, or None where it is no object."""
    try:
        said = json.loads(text or b"")
    except ValueError:
        return None
    return said if isinstance(said, dict) else {} if isinstance(said, list) else None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0
