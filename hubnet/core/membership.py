"""The register's rules: what a record is, which hub a peer chooses, what a silence means.

All of it is decided on arguments; the hub and the register carry the decisions out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

Record = dict[str, Any]
"""What the register says of one peer; the keys of A6 and ``machine``, ``revision``, ``reason``."""

RENEWALS_PER_LEASE = 3

STARTING, OPEN, PAUSED, DRAINING, SUSPECT = "starting", "open", "paused", "draining", "suspect"


class HubEntry(NamedTuple):
    """One hub as the key of hubs names it."""

    peer_id: bytes
    host: str
    port: int
    incarnation: bytes
    renewed: float


def choose_hubs(own_id: bytes, hubs: Iterable[HubEntry], lease: float) -> list[HubEntry]:
    """Hubs in the order in which this peer should try them: rendezvous hash, those not renewed for long at the end.

    Every peer gets another order, so peers spread evenly, and when a hub goes only its own peers move.
    """
    hubs = list(hubs)
    newest = max((hub.renewed for hub in hubs), default=0.0)

    def weight(hub: HubEntry) -> tuple[bool, bytes]:
        fresh = hub.renewed >= newest - 2 * lease
        return fresh, hashlib.sha256(own_id + b"\0" + hub.peer_id).digest()

    return sorted(hubs, key=weight, reverse=True)


class Seen(Enum):
    """What a dial-back found."""

    ALIVE = "the peer proved itself"
    REFUSED = "nobody listens there"
    ANOTHER = "another peer listens there"
    UNANSWERED = "no answer at all"
    BROKEN_OFF = "something there accepts and hangs up"
    SILENT = "a kernel accepts, the process does not answer"
    IMPOSTOR = "what listens there does not know the secret"


class Verdict(Enum):
    """What becomes of a record."""

    KEEP = "keep"
    LOOK_AGAIN = "look again"
    GONE = "gone"


LOOKS = 4
_DOUBT_LEASES = 2
LOOK_APART = 0.35
"""Seconds for each look. A link with words under way is given up by the kernel after up to 3.4 s, and all looks must be over 5 s
after the machine vanished. Only kernels have to answer so soon: a process that is slow to shake hands is silent, not away."""
ON_THE_WAY = 0.85
"""Seconds that another hub's look takes beyond its own, at the most. It is asked for after our first look, to be there with our
last one; a hub that has vanished as well must not hold up the rest."""
_TELLS = (Seen.ALIVE, Seen.SILENT, Seen.BROKEN_OFF, Seen.IMPOSTOR, Seen.ANOTHER, Seen.REFUSED, Seen.UNANSWERED)


def seen_by_all(seen: Iterable[Seen]) -> Seen:
    """What several hubs saw of one peer, taken together: whom one of them reaches is there, whatever the others say."""
    return min(seen, key=_TELLS.index)


def judge_ended_link(seen: Seen, *, looks: int, reachable: bool, renewed_elsewhere: bool, cut_off: bool) -> Verdict:
    """A peer's link to its hub has ended: what the dial-backs since then say of it.

    Args:
        seen: the latest dial-back.
        looks: how many there were.
        reachable: whether the peer could ever be dialled; if not, only its lease tells.
        renewed_elsewhere: another hub looks after it now.
        cut_off: this hub lost half its links within a second: it is the hub that is cut off.
    """
    if renewed_elsewhere or not reachable or seen is Seen.ALIVE:
        return Verdict.KEEP
    if seen is Seen.SILENT:  # its links end before it stops to listen: it may be dying at this moment
        return Verdict.KEEP if looks >= LOOKS else Verdict.LOOK_AGAIN
    if seen in {Seen.REFUSED, Seen.ANOTHER}:
        return Verdict.GONE  # somebody answered for that machine: we are not cut off from it
    if looks < LOOKS:
        return Verdict.LOOK_AGAIN
    return Verdict.KEEP if cut_off and seen is Seen.UNANSWERED else Verdict.GONE


def others_may_know_better(seen: Seen, *, reachable: bool) -> bool:
    """Whether a look at a peer whose lease has ended would bury it, so that the other hubs should be asked first.

    Args:
        seen: what the look found; the same address may lead elsewhere from here.
        reachable: whether the peer could ever be dialled.
    """
    return seen is not Seen.ALIVE and not (seen is Seen.SILENT and reachable)


def judge_expired(
    seen: Seen, *, silent_for: float, suspect_limit: float, reachable: bool, settled: bool = True
) -> Verdict:
    """A lease has ended and nobody renewed it: what a dial-back says of the peer.

    Args:
        seen: the dial-back.
        silent_for: seconds since it was first seen to be silent.
        suspect_limit: HUBNET_SUSPECT.
        reachable: whether the peer could ever be dialled; if not, only its lease tells.
        settled: whether the hub that looks has watched the register for a lease: whom any hub hears has renewed by then.
    """
    if seen is Seen.ALIVE:
        return Verdict.KEEP
    if not reachable:
        return Verdict.GONE if settled else Verdict.LOOK_AGAIN
    return Verdict.LOOK_AGAIN if seen is Seen.SILENT and silent_for < suspect_limit else Verdict.GONE


def look_again_after(looks: int) -> float:
    """Seconds until a peer that could not be reached is dialled once more: cuts heal soon, a missing route stays.

    Args:
        looks: how often that was done since it registered.
    """
    return min(2.0 * 2.0 ** min(looks, 10), 60.0)


def was_stopped(between_ticks: float, tick: float) -> bool:
    """Whether a hub slept through its own ticks, so that silence proves nothing about others."""
    return between_ticks > tick + 2.0


def is_heard_from(silent_for: float, lease: float) -> bool:
    """Whether a member spoke so lately that it lives, whatever the register says: later, others may be right about it."""
    return silent_for <= lease / 2


def lost_half(ended_at: Sequence[float], members: int, ended: float) -> bool:
    """Whether half the links of a hub ended together, so that it is the hub that is cut off.

    Args:
        ended_at: when links ended, lately.
        members: how many there were, those included.
        ended: when the link in question did.
    """
    together = sum(1 for at in ended_at if abs(at - ended) <= 1.0)
    return members >= 4 and together * 2 >= members


def is_fresh(silent_for: float, lease: float) -> bool:
    """Whether a silence is so new that a hub may doubt itself instead; both in seconds."""
    return silent_for < _DOUBT_LEASES * lease


def too_many_silent(silences: Iterable[float], records: int, lease: float) -> bool:
    """Whether so many leases have ended lately that the hub that looks should doubt itself first.

    Args:
        silences: seconds since each lease ended.
        records: how many peers there are in all.
        lease: seconds.
    """
    fresh = sum(1 for silent_for in silences if is_fresh(silent_for, lease))
    return fresh >= 4 and fresh * 2 >= records
