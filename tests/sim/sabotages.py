"""Sabotaged rules: each a named replacement of one rule, which the simulation must catch."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any
from unittest import mock

from hubnet import directory as directory_room
from hubnet.bus import refill as refill_room
from hubnet.bus.refill import Refill, _Filling
from hubnet.colleagues import Asked, Colleagues
from hubnet.core import calls, membership, pauses
from hubnet.core.marks import Marks
from hubnet.core.membership import Record, Seen, Verdict
from hubnet.core.refill import Reading
from hubnet.core.register import Register, Renewed
from hubnet.core.sequence import Arrival, Sequence
from hubnet.directory import Directory
from hubnet.errors import MAYBE, NO, PeerUnreachable
from hubnet.keeper import Keeper
from hubnet.links.calling import Caller
from hubnet.registry import Registry
from hubnet.watch import Watch
from tests.sim.world import Store

Change = Callable[[Any], Any]


def _arrival(change: Callable[[Arrival, int], Arrival]) -> Change:
    return lambda real: lambda self, who, where, first, count: change(real(self, who, where, first, count), count)


def _set_back(real: Any) -> Any:
    def arrive(self: Sequence, who: bytes, where: bytes, first: int, count: int) -> Arrival:
        said: Arrival = real(self, who, where, first, count)
        self._next[where][who] = first + count
        return said

    return arrive


def _write(**changed: Any) -> Change:
    return lambda real: lambda self, now, entry, *rest: real(self, now, entry._replace(**changed), *rest)


def _verdict(seen: Seen, verdict: Verdict) -> Change:
    return lambda real: lambda saw, **more: verdict if saw is seen else real(saw, **more)


def _whoever(real: Any) -> Any:
    def withdraw(self: Register, now: float, group: str, peer_id: bytes, *rest: Any, **more: Any) -> bool:
        self._records.get(group, {}).pop(peer_id, None)
        return bool(real(self, now, group, peer_id, *rest, **more))

    return withdraw


def _one_alone(real: Any) -> Any:
    def ask(self: Colleagues, record: Record, limit: float) -> Asked:
        hubs = self._registry.hubs
        with mock.patch.object(
            self._registry, "hubs", lambda: [one for one in hubs() if one.peer_id != self._own_id][:1]
        ):
            return real(self, record, limit)  # type: ignore[no-any-return]

    return ask


SABOTAGES: dict[str, tuple[Any, str, Change]] = {
    "a clock that was set back is not followed": (Keeper, "_follow_clock", lambda real: lambda self: None),
    "repeats are delivered": (Sequence, "arrive", _arrival(lambda said, _: Arrival(said.lost, 0))),
    "all is taken for a repeat": (Sequence, "arrive", _arrival(lambda said, count: Arrival(said.lost, count))),
    "holes are not counted": (Sequence, "arrive", _arrival(lambda said, _: Arrival(0, said.repeated))),
    "holes are counted twice": (Sequence, "arrive", _arrival(lambda said, _: Arrival(2 * said.lost, said.repeated))),
    "what comes late sets the numbers back": (Sequence, "arrive", _set_back),
    "no marks": (Marks, "due", lambda real: lambda self, now: real(self, now)[:0]),
    "no mark after an event": (Marks, "told", lambda real: lambda self, channel, now: None),
    "all may be repeated": (calls, "may_repeat", lambda real: lambda ran, *, idempotent, attempts: attempts < 3),
    "MAYBE is NO": (calls, "may_repeat", lambda real: lambda ran, **m: real(NO if ran == MAYBE else ran, **m)),
    "nothing is repeated": (calls, "may_repeat", lambda real: lambda ran, **more: False),
    "NO for ever": (calls, "may_repeat", lambda real: lambda ran, **m: ran == NO or real(ran, **m)),
    "idempotence is not asked": (calls, "may_repeat", lambda real: lambda ran, *, idempotent, attempts: real(
        ran, idempotent=True, attempts=attempts)),
    "what may have run is told not to have": (Caller, "_told", lambda real: staticmethod(lambda error, tag, endpoint: (
        PeerUnreachable(str(error), connection=tag, peer=endpoint.peer_id)))),
    "a dial that failed hides a try that may have run": (Caller, "_reach_again", lambda real: lambda self, request, failed: (
        real(self, request, None))),
    "any incarnation is written over": (Register, "write", _write(replaces="anything")),
    "a stale revision is written": (Register, "write", _write(revision=10**6)),
    "a late withdrawal removes anybody": (Register, "withdraw", _whoever),
    "renewing gives no lease": (Register, "renew", lambda real: lambda self, now, *args: Renewed(now, [], "")),
    "the living are gone": (membership, "judge_expired", _verdict(Seen.ALIVE, Verdict.GONE)),
    "the silent are gone at once": (membership, "judge_expired", _verdict(Seen.SILENT, Verdict.GONE)),
    "the silent stay for ever": (membership, "judge_expired", _verdict(Seen.SILENT, Verdict.LOOK_AGAIN)),
    "the refused are kept": (membership, "judge_expired", _verdict(Seen.REFUSED, Verdict.KEEP)),
    "any hub will do": (membership, "choose_hubs", lambda real: lambda own, hubs, lease: list(hubs)),
    "a dead hub first": (membership, "choose_hubs", lambda real: lambda own, hubs, lease: real(own, hubs, lease)[::-1]),
    "all come back to a hub at one moment": (pauses, "before_hub", lambda real: lambda failures: (0.3, 0.3)),
    "who finds no hub waits for ever longer": (pauses, "before_hub", lambda real: lambda failures: (0.0, 0.3 * 2.0**failures)),
    "hubs never doubt themselves": (membership, "lost_half", lambda real: lambda *args: False),
    "buried where another hub renews": (membership, "judge_ended_link", lambda real: lambda seen, **more: real(
        seen, **{**more, "renewed_elsewhere": False})),
    "the unreachable are buried": (membership, "judge_ended_link", lambda real: lambda seen, **more: real(
        seen, **{**more, "reachable": True})),
    "a cut-off hub buries": (membership, "judge_ended_link", lambda real: lambda seen, **more: real(
        seen, **{**more, "cut_off": False})),
    "a hub looks for ever": (membership, "LOOKS", lambda real: 1000),
    "a hub writes again whom it has not heard": (membership, "is_heard_from", lambda real: lambda *args: True),
    "no other hub is asked for a look": (Colleagues, "ask", lambda real: lambda *args: Asked(0, 0.0)),
    "one hub alone is asked for a look": (Colleagues, "ask", _one_alone),
    "a hub that does not answer is waited for": (membership, "ON_THE_WAY", lambda real: 1.5),
    "a hub does not say whom it hears": (Watch, "hears", lambda real: lambda *args: False),
    "the register's silence is taken for the peer's": (Watch, "_silent_for", lambda real: lambda self, peer_id, seen: (
        self._registry.snapshot().silent_for.get(peer_id, 0.0))),
    "a hub that has just come back judges at once": (membership, "judge_expired", lambda real: lambda seen, **more: real(
        seen, **{**more, "settled": True})),
    "nobody waits for what other hubs say": (Asked, "wait", lambda real: lambda self: iter(())),
    "what most hubs see is believed": (membership, "seen_by_all", lambda real: statistics.mode),
    "whose link has ended stays a member": (Watch, "_forget", lambda real: lambda *args: None),
    "nobody looks where a link has ended": (Watch, "ended", lambda real: lambda *args: None),
    "nobody looks at the silent": (Watch, "sweep", lambda real: lambda *args: None),
    "the unreachable stay so": (Watch, "look_again", lambda real: lambda *args: None),
    "a lost register is not noticed": (Registry, "epoch", lambda real: property(lambda self: "", lambda self, value: None)),
    "members are not renewed": (Store, "renew", lambda real: lambda self, members, *rest: real(self, [], *rest)),
    "the old one's record is not replaced": (Keeper, "write", lambda real: lambda self, peer_id, record: self._registry.write(
        peer_id, record)),
    "holes of durable events are not filled": (Refill, "_missing", lambda real: lambda *args: False),
    "after a cut nothing is read": (Refill, "back", lambda real: lambda *args: None),
    "a reading under way is enough after a cut": (_Filling, "read_again", lambda real: lambda *args: None),
    "what is held goes on behind what was found": (refill_room, "in_order", lambda real: list),
    "a stream is read to the first that was heard": (Reading, "enough", lambda real: lambda self, at: not self._missing),
    "presence empties no listing": (Directory, "on_presence", lambda real: lambda self, news: None),
    "a listing is kept for ever": (directory_room, "_Kept", lambda real: lambda records, at: real(records, float("inf"))),
    "unknown publishers are not wanted": (Reading, "wants", lambda real: lambda self, at, envelope: (
        envelope.sender.incarnation in self._expected and real(self, at, envelope))),
}  # fmt: skip
