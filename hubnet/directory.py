"""Asking who is there: any hub, over links of its own, and what their answers are worth for how long.

Endpoints are kept until a dial proves them wrong; listings until presence says that the register has changed, and for one lease
at most. Presence is a hint on which a hub is asked again, and only peers that list hear it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hubnet import machine
from hubnet.bus.subscriber import Subscriber
from hubnet.bus.subscription import Subscription
from hubnet.core import codec, frames, membership, pauses
from hubnet.core.connections import Connection
from hubnet.core.flags import Flags
from hubnet.core.handshake import ANY_ID, ANY_INCARNATION, Self, digest_of
from hubnet.core.identity import decode_id
from hubnet.core.membership import HubEntry, Record
from hubnet.core.selection import Query
from hubnet.core.turns import Turns
from hubnet.counters import Counters
from hubnet.errors import (
    NO,
    AuthenticationError,
    BrokerUnavailable,
    CallError,
    CallTimeout,
    HubnetError,
    NoHub,
    PeerUnreachable,
    ProtocolError,
)
from hubnet.hub import LIST, RESOLVE, Hub
from hubnet.links.calling import Caller, Endpoint, raise_remote
from hubnet.links.context import here
from hubnet.links.dial import ITSELF, Dialler, Unreachable
from hubnet.links.link import Link
from hubnet.links.threads import begin
from hubnet.registry import Registry
from hubnet.whereabouts import FRIENDLY, Whereabouts, endpoint_of

WHO = "hubnet:who"
_ANSWER_LIMIT = 5.0
_TIGHT = 0.25  # the last part of the time: whoever is asked in it may have no chance to answer


def _asked_there() -> None:
    """Stands for what a hub runs; never called here."""


class _Kept(NamedTuple):
    """A listing and when it was told."""

    records: dict[bytes, Record]
    at: float


class Directory:
    """What one peer knows of the others, and whom it asks."""

    def __init__(
        self,
        own_id: bytes,
        registry: Registry,
        dialler: Dialler,
        subscriber: Subscriber,
        *,
        hubs: Sequence[tuple[str, int]],
        hub: Hub | None,
        lease: float,
        hubs_run_redis: bool = False,
    ) -> None:
        self._own_id = own_id
        self._registry = registry
        self._dialler = dialler
        self._subscriber = subscriber
        self._addresses = hubs
        self._hub = hub
        self._lease = lease
        self._hubs_run_redis = hubs_run_redis
        self._asker = Caller(dialler, self._where_hub_is, Flags(), Counters(), reach=_ANSWER_LIMIT)
        self._entries: list[HubEntry] = []
        self._turns = Turns(lease)
        self._known = Whereabouts(lambda peer_id: self.caller is not None and peer_id in self.caller.pools)
        self._asking: dict[bytes, threading.RLock] = {}
        self._listings: dict[Query, _Kept] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._changes = 0
        self._presence: Subscription | None = None
        self._presence_wish: Subscription | None = None
        self.caller: Caller | None = None

    def abandon(self) -> None:
        """In a forked child: close our copies without a word."""
        self._asker.abandon()

    def renew(self) -> None:
        """Ask hubs over new links from now on."""
        self._asker.renew()

    def close(self) -> None:
        """Say goodbye to the hubs that were asked."""
        self._asker.close()

    @property
    def links(self) -> int:
        """Idle links to hubs that were asked."""
        return self._asker.links

    # -- finding hubs ----------------------------------------------------------------------------------------------

    def hubs_in_order(self, deadline: float, *, fresh: bool = True) -> list[HubEntry]:
        if self._addresses:
            found = self._entries = self._hubs_by_address(deadline, fresh=fresh)
        else:
            found = self._hubs_from_redis(deadline, fresh=fresh)
        return membership.choose_hubs(self._own_id, (hub for hub in found if hub.peer_id != self._own_id), self._lease)

    def _hubs_from_redis(self, deadline: float, *, fresh: bool) -> list[HubEntry]:
        """The hubs that signed themselves in; those that we knew already will do where Redis is away."""
        if fresh or not self._entries:
            try:
                self._entries = self._registry.hubs(deadline)
            except BrokerUnavailable:
                if not self._entries:
                    raise
        return self._entries

    def _hubs_by_address(self, deadline: float, *, fresh: bool) -> list[HubEntry]:
        """Who listens at the addresses of HUBNET_HUBS; whoever is known already is not asked again."""
        found: list[HubEntry] = []
        failure: HubnetError | None = None
        for number, (host, port) in enumerate(self._addresses):
            known = [] if fresh else [entry for entry in self._entries if (entry.host, entry.port) == (host, port)]
            if not known and not fresh and self._entries:
                continue  # those that we know are asked first; the second round looks for the others
            now = time.monotonic()
            share = now + (deadline - now) / (
                len(self._addresses) - number + 1
            )  # some is left for the next, and to ask
            try:
                found += known or [HubEntry(self.identify(host, port, share).peer_id, host, port, ANY_INCARNATION, 0.0)]
            except (CallError, AuthenticationError, ProtocolError) as error:
                failure = error
        if failure is not None and not found:
            raise failure
        return found

    def identify(self, host: str, port: int, deadline: float) -> Endpoint:
        """The peer that listens at host and port: ask whoever answers there for its id."""
        link = self._dialler.dial(host, port, Self(ANY_ID, ANY_INCARNATION), deadline, sure=True)
        try:
            said = ask_over(link, WHO, deadline=deadline)
        finally:
            link.say_bye()
            link.close()
        peer_id = said["id"]
        if digest_of(peer_id) != link.foreign.digest:
            raise AuthenticationError(f"{host}:{port} names an id that it did not prove")
        endpoint = Endpoint(peer_id, link.foreign.incarnation, host, port, said["friendly"])
        self._known.keep(endpoint)
        return endpoint

    def who_is(self, host: str, port: int, tag: str, deadline: float) -> bytes:
        """The id of the peer at host and port, for a call to it.

        Raises:
            PeerUnreachable: nobody answers there.
        """
        try:
            return self.identify(host, port, deadline).peer_id
        except Unreachable as error:
            if error.how == ITSELF:
                return self._own_id
            raise PeerUnreachable(str(error), connection=tag, peer=f"{host}:{port}") from error

    # -- asking ----------------------------------------------------------------------------------------------------

    def ask(self, tag: str, args: tuple[Any, ...], deadline: float) -> Any:
        """What the first hub that answers says.

        Raises:
            NoHub: none did before the deadline.
        """
        if self._hub:
            return self._ask_ourselves(self._hub.resolve if tag == RESOLVE else self._hub.list, args, deadline)
        failure: Exception | None = None
        question = Connection(tag, _asked_there, idempotent=True)
        rounds, known = 0, False
        tight = deadline - _TIGHT * (deadline - time.monotonic())
        while True:
            telling = failure is None or time.monotonic() < tight  # what the deadline cuts short is no news
            try:
                hubs = self._turns.in_order(self.hubs_in_order(deadline, fresh=rounds > 0), time.monotonic())
                known = True
                for hub in hubs:
                    begun = time.monotonic()
                    left = deadline - begun
                    if left <= 0:
                        break
                    limit = self._turns.time_for(hub, hubs, begun, left, rounds)
                    try:
                        return self._ask_hub(hub, question, args, limit)
                    except (CallError, AuthenticationError, ProtocolError) as error:
                        why = error.__cause__ if isinstance(error.__cause__, BrokerUnavailable) else error
                        failure = why if telling else failure
            except (BrokerUnavailable, CallError, AuthenticationError, ProtocolError) as error:
                if telling and (not known or time.monotonic() < deadline):
                    failure = error
            left = deadline - time.monotonic()
            if left <= 0:
                break
            rounds += 1
            self._turns.round_over(rounds)
            if rounds == 1:
                continue
            with self._changed:
                self._changed.wait(min(left, machine.jitter(*pauses.BEFORE_ASKING)))
        reason = f": {failure}" if failure else self.why_no_hub()
        if isinstance(failure, CallTimeout) and failure.ran != NO:
            reason += "; that hub, or its Redis, is slow or stands still"
        if isinstance(failure, BrokerUnavailable) and not self._hubs_run_redis:
            raise BrokerUnavailable(str(failure)) from failure
        raise NoHub(f"no hub answered in time{reason}") from failure

    def _ask_hub(self, hub: HubEntry, question: Connection, args: tuple[Any, ...], limit: float) -> Any:
        """What one hub says within its seconds."""
        begun = time.monotonic()
        try:
            said = self._asker.call(question, hub.peer_id, args, {}, limit)
        except CallError as error:
            if isinstance(error, PeerUnreachable) or isinstance(error.__cause__, Unreachable):
                self._turns.not_reached(hub, time.monotonic())
            raise
        self._turns.answered(time.monotonic() - begun)
        return said

    def why_no_hub(self) -> str:
        """The rest of a sentence on hubs, where none of our secret is known."""
        if self._registry.strangers:
            return f": {self._registry.strangers} in the register use another secret: HUBNET_SECRET differs from theirs"
        return "; start one with `hubnet hub`, or set HUBNET_HUBS"

    def _ask_ourselves(self, door: Callable[..., Any], args: tuple[Any, ...], deadline: float) -> Any:
        """On a hub: its own door; at the start the register may be a moment away."""
        while True:
            try:
                return self._in_time(door, args, deadline)
            except BrokerUnavailable:
                if time.monotonic() >= deadline:
                    raise
                with self._changed:
                    self._changed.wait(min(deadline - time.monotonic(), 0.1))

    def _in_time(self, door: Callable[..., Any], args: tuple[Any, ...], deadline: float) -> Any:
        """What a hub's own door says, or BrokerUnavailable at the deadline: the register has limits of its own, of seconds."""
        said: list[Any] = []
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                said.append(door(*args))
            except BaseException as error:
                failed.append(error)

        asking = begin(ask, "hubnet-ask")
        if asking is None:
            raise BrokerUnavailable("there is no thread to ask the register with: end some, or raise the limit")
        asking.join(max(0.0, deadline - time.monotonic()))
        if failed:
            raise failed[0]
        if not said:
            raise BrokerUnavailable(f"the register at {self._registry.where} did not answer in time")
        return said[0]

    def resolve(self, peer_id: bytes, deadline: float, fresh: bool) -> Endpoint:
        """Where a peer is: it has just told, it is known already, or a hub says so.

        Raises:
            PeerUnreachable: the register does not know it.
            NoHub: nobody could say.
        """
        before = self._known.get(peer_id)
        told = _who_calls(peer_id)
        if told is not None and before is not None and before.incarnation == told.incarnation:
            told = None  # where it was reached is worth more than the address in its id
        if not fresh and (known := told or before):
            return known
        asking = self._asking.setdefault(peer_id, threading.RLock())
        if not asking.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise NoHub("no hub answered in time")
        try:  # of many threads that want the same peer one asks: each would open a link to the hub
            now = self._known.get(peer_id)
            return self._resolved(peer_id, deadline) if now is None or now is before else now
        finally:
            self._asking.pop(peer_id, None)
            asking.release()

    def _resolved(self, peer_id: bytes, deadline: float) -> Endpoint:
        """Where a peer is, as a hub says now."""
        record = self.ask(RESOLVE, (peer_id,), deadline)
        if record is None:
            self._known.drop(peer_id)
            where = decode_id(peer_id)
            raise PeerUnreachable(
                f"{where.host}:{where.port} in group {where.group} is not in the register: it has left, or has not come yet",
                peer=peer_id,
            )
        endpoint = endpoint_of(peer_id, record)
        self._known.keep(endpoint)
        return endpoint

    def _where_hub_is(self, peer_id: bytes, deadline: float, fresh: bool) -> Endpoint:
        """For asking hubs themselves: the entry that is being tried, and no other."""
        hub = next((entry for entry in self._entries if entry.peer_id == peer_id), None)
        if fresh or hub is None:
            where = decode_id(peer_id)
            raise PeerUnreachable(f"no hub at {where.host}:{where.port} any more", peer=peer_id)
        return Endpoint(peer_id, hub.incarnation, hub.host, hub.port, {})

    # -- listings --------------------------------------------------------------------------------------------------

    def listing(self, query: Query, *, refresh: bool, deadline: float) -> dict[bytes, Record]:
        """The records that a filter means, this peer's own left out."""
        self._hear_presence()
        kept = self._listings.get(query)
        if kept and not refresh and time.monotonic() - kept.at < self._lease:
            return kept.records
        with self._lock:
            before = self._changes
        groups = None if query.groups is None else sorted(query.groups)
        at = time.monotonic()
        _, found = self.ask(LIST, (groups, query.hubs_only, query.machine), deadline)
        records = {peer_id: record for peer_id, record in found.items() if peer_id != self._own_id}
        with self._lock:
            live = self._presence is not None and self._subscriber.is_live(self._presence)
            if live and before == self._changes:
                self._listings[query] = _Kept(records, at)
        for peer_id, record in records.items():
            self._known.keep(endpoint_of(peer_id, record))
        return records

    def wait_for_change(self, since: int, deadline: float) -> int:
        """Wait for presence to tell of a change; how many there have been. A second without one counts as well."""
        with self._changed:
            left = min(1.0, max(0.0, deadline - time.monotonic()))
            self._changed.wait_for(lambda: self._changes != since, left)
            return self._changes

    def hear_presence_through(self, subscription: Subscription) -> None:
        """The subscription to listen to, once somebody lists."""
        self._presence_wish = subscription

    def _hear_presence(self) -> None:
        with self._lock:
            first = self._presence is None
            if first:
                self._presence = self._presence_wish
        if first and self._presence:
            self._subscriber.add(self._presence)

    def on_presence(self, news: list[tuple[str, str]]) -> None:
        """A hub tells that the register has changed: a hint, on which listings are asked for anew."""
        with self._changed:
            self._changes += 1
            self._listings.clear()
            self._changed.notify_all()
        for what, peer_id in news:
            if what == "left" and (known := self._known.drop(peer_id.encode())) and self.caller:
                self.caller.forget(known.peer_id, known.incarnation)


def _who_calls(peer_id: bytes) -> Endpoint | None:
    """Where this peer is, if it is the one whose call this thread runs: it proved its id, which names the address."""
    link = here.call.link
    if link is None or link.foreign_id != peer_id:
        return None
    friendly = {**dict.fromkeys(FRIENDLY, ""), **link.friendly, **decode_id(peer_id)._asdict()}
    return Endpoint(
        peer_id, link.foreign.incarnation, friendly["host"], friendly["port"], {one: friendly[one] for one in FRIENDLY}
    )


def ask_over(link: Link, tag: str, *args: Any, deadline: float = float("inf")) -> Any:
    """One exchange on a link that the caller holds; for what hubs and peers tell each other."""
    body, buffers = codec.encode_arguments(args, {})
    limit = min(deadline, time.monotonic() + _ANSWER_LIMIT)
    frame = link.exchange(tag.encode(), body, buffers, 0, 0, limit)
    if frame.kind == frames.RAISED:
        where = Endpoint(b"", b"", "the hub", 0, {})
        try:
            raise_remote(codec.decode(frame.body), tag, where)
        except CallError as error:
            if isinstance(error.__cause__, HubnetError):
                raise error.__cause__ from None
            raise
    if frame.kind != frames.RESULT:
        raise NoHub(f"the hub answered {tag} with {frames.KINDS[frame.kind]}")
    return codec.decode(frame.body, frame.buffers)
