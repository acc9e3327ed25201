"""A peer's side of the register: find a hub, stay registered with it, ask any hub who is there.

One thread keeps one link to one hub, renews over it, and moves to the next hub of its rendezvous order when that link ends.
Answers of hubs are kept: endpoints until a dial proves them wrong, listings until presence says that the register changed,
and for one lease at most.
"""

from __future__ import annotations

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from hubnet.bus.subscriber import Subscriber
from hubnet.bus.subscription import Subscription
from hubnet.core import codec, frames, membership
from hubnet.core.connections import Connection
from hubnet.core.flags import Flags
from hubnet.core.handshake import Self, digest_of
from hubnet.core.identity import decode_id
from hubnet.core.membership import HubEntry, Record
from hubnet.core.selection import Query
from hubnet.counters import Counters
from hubnet.errors import (
    AuthenticationError,
    BrokerUnavailable,
    CallError,
    HubnetError,
    NoHub,
    PeerUnreachable,
    ProtocolError,
)
from hubnet.hub import LEAVE, LIST, REGISTER, RENEW, RESOLVE, Hub
from hubnet.links.calling import Caller, Endpoint, raise_remote
from hubnet.links.dial import Dialler
from hubnet.links.link import Link
from hubnet.registry import Registry

_BACKOFF = 1.0
_ANSWER_LIMIT = 5.0
_LET = 0.05
_log = logging.getLogger("hubnet")
Answer = TypeVar("Answer")


def _asked_there() -> None:
    """Stands for what a hub runs; never called here."""


class _Kept(NamedTuple):
    """A listing and when it was told."""

    records: dict[bytes, Record]
    at: float


class Home:
    """One peer's place in the register."""

    def __init__(
        self,
        own_id: bytes,
        incarnation: bytes,
        record: Callable[[], Record],
        registry: Registry,
        dialler: Dialler,
        subscriber: Subscriber,
        counters: Counters,
        *,
        hubs: Sequence[tuple[str, int]],
        hub: Hub | None,
        lease: float,
        reach: float,
    ) -> None:
        self._own_id = own_id
        self._incarnation = incarnation
        self._record = record
        self._registry = registry
        self._dialler = dialler
        self._subscriber = subscriber
        self._counters = counters
        self._addresses = hubs
        self._hub = hub
        self._lease = lease
        self._reach = reach
        self.caller: Caller | None = None
        self._asker = Caller(dialler, self._where_hub_is, Flags(), Counters(), reach=_ANSWER_LIMIT)
        self._hub_endpoints: dict[bytes, Endpoint] = {}
        self._endpoints: dict[bytes, Endpoint] = {}
        self._listings: dict[Query, _Kept] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._changes = 0
        self._presence: Subscription | None = None
        self._presence_wish: Subscription | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._link: Link | None = None
        self._entries: list[HubEntry] = []
        self.registered = threading.Event()
        self.trouble = ""

    # -- staying registered ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Register, and stay so; a hub does it itself."""
        if self._hub:
            self._hub.start(self.registered)
            return
        self._thread = threading.Thread(target=self._run, name="hubnet-home", daemon=True)
        self._thread.start()

    def announce(self) -> None:
        """The record has changed: tell the hub."""
        if self._hub:
            self._hub.announce()
        elif self._thread:
            os.eventfd_write(self._wake, 1)

    def abandon(self) -> None:
        """In a forked child: close our copies without a word."""
        os.close(self._wake)
        self._asker.abandon()
        if self._link is not None:
            self._link.close()

    def leave(self) -> None:
        """Withdraw and stop."""
        self._stopping = True
        if self._hub:
            self._hub.close()
            return
        os.eventfd_write(self._wake, 1)
        if self._thread:
            self._thread.join(2)
        self._asker.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._link = link = self._settle()
                try:
                    self._stay(link)
                finally:
                    self.registered.clear()
                    link.say_bye()
                    link.close()
            except HubnetError as error:
                self._complain(str(error))
            except Exception:
                _log.exception("staying registered failed")
            if not self._stopping:
                self._counters.add("home.retries")
                self._pause(_BACKOFF * random.uniform(0.1, 1.0))  # noqa: S311 - jitter, no secret

    def _pause(self, seconds: float) -> None:
        """Wait before the next try; only leaving cuts it short."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        while not self._stopping and (left := end - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                os.eventfd_read(self._wake)  # an announcement: the registration to come tells all

    def _complain(self, text: str) -> None:
        if text != self.trouble and not self._stopping:
            _log.warning("not registered: %s", text)
        self.trouble = text

    def _settle(self) -> Link:
        """A link to the first hub of our order that takes us."""
        failure: HubnetError = NoHub("no hub is known: start one with `hubnet hub`, or set HUBNET_HUBS")
        for hub in self._hubs_in_order(time.monotonic() + _ANSWER_LIMIT):
            try:
                wanted = Self(digest_of(hub.peer_id), hub.incarnation)
                link = self._dialler.dial(hub.host, hub.port, wanted, time.monotonic() + _ANSWER_LIMIT)
            except (CallError, AuthenticationError, ProtocolError) as error:
                failure = error
                continue
            try:
                link.guard_small_messages()
                self._register(link)
                return link
            except HubnetError as error:
                link.close()
                failure = error
        raise failure

    def _register(self, link: Link) -> None:
        record = self._record()
        told = self._ask_over(link, REGISTER, record)
        if not told["reachable"] and self.trouble != told["reason"]:
            _log.warning("listed, but others cannot reach this peer: %s", told["reason"])
        self.trouble = "" if told["reachable"] else told["reason"]
        self.registered.set()

    def _stay(self, link: Link) -> None:
        """Renew until the link ends, the hub does not know us any more, or we leave."""
        poll = select.poll()
        poll.register(link.fileno, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        every = self._lease / membership.RENEWALS_PER_LEASE
        due = time.monotonic() + every
        while not self._stopping:
            ready = [fd for fd, _ in poll.poll(max(0.0, due - time.monotonic()) * 1000)]
            if link.fileno in ready:
                raise NoHub("the hub ended our link; looking for the next one")
            if self._wake in ready:
                threading.Event().wait(_LET)  # what else changes meanwhile goes along
                os.eventfd_read(self._wake)
                if not self._stopping:
                    self._register(link)
            elif not self._ask_over(link, RENEW, self._own_id, self._incarnation.hex()):
                self._register(link)
            due = time.monotonic() + every
        self._ask_over(link, LEAVE, self._own_id, self._incarnation.hex())

    def _ask_over(self, link: Link, tag: str, *args: Any, deadline: float = float("inf")) -> Any:
        """One exchange on a link of our own."""
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

    # -- finding hubs ----------------------------------------------------------------------------------------------

    def _hubs_in_order(self, deadline: float, *, fresh: bool = True) -> list[HubEntry]:
        if self._addresses:
            found = [entry for host, port in self._addresses if (entry := self._identified(host, port, deadline))]
        else:
            found = self._hubs_from_redis(fresh=fresh)
        return membership.choose_hubs(self._own_id, (hub for hub in found if hub.peer_id != self._own_id), self._lease)

    def _hubs_from_redis(self, *, fresh: bool) -> list[HubEntry]:
        """The hubs that signed themselves in; those that we knew already will do where Redis is away."""
        if fresh or not self._entries:
            try:
                self._entries = self._registry.hubs()
            except BrokerUnavailable:
                if not self._entries:
                    raise
        return self._entries

    def _identified(self, host: str, port: int, deadline: float) -> HubEntry | None:
        """Who listens at an address from HUBNET_HUBS."""
        for entry in self._entries:
            if (entry.host, entry.port) == (host, port):
                return entry
        try:
            endpoint = self.identify(host, port, deadline)
        except (CallError, AuthenticationError, ProtocolError) as error:
            self._complain(f"hub {host}:{port}: {error}")
            return None
        return HubEntry(endpoint.peer_id, host, port, bytes(16), 0.0)

    def identify(self, host: str, port: int, deadline: float) -> Endpoint:
        """The peer that listens at host and port: ask whoever answers there for its id."""
        assert self.caller is not None
        link, incarnation = self.caller.visit(host, port, deadline)
        try:
            said = self._ask_over(link, "hubnet:who", deadline=deadline)
        finally:
            link.say_bye()
            link.close()
        peer_id = said["id"]
        if digest_of(peer_id) != link.foreign.digest:
            raise AuthenticationError(f"{host}:{port} names an id that it did not prove")
        return self._keep(Endpoint(peer_id, incarnation, host, port, said["friendly"]))

    # -- asking ----------------------------------------------------------------------------------------------------

    def ask(self, tag: str, args: tuple[Any, ...], deadline: float) -> Any:
        """What the first hub that answers says.

        Raises:
            NoHub: none did before the deadline.
        """
        if self._hub:
            return (self._hub.resolve if tag == RESOLVE else self._hub.list)(*args)
        failure: Exception | None = None
        question = Connection(tag, _asked_there, idempotent=True)
        fresh = False
        while True:
            try:
                for hub in self._hubs_in_order(deadline, fresh=fresh):
                    left = deadline - time.monotonic()
                    if left <= 0:
                        break
                    endpoint = Endpoint(hub.peer_id, hub.incarnation, hub.host, hub.port, {})
                    self._hub_endpoints[hub.peer_id] = endpoint
                    try:
                        return self._asker.call(question, hub.peer_id, args, {}, min(left, _ANSWER_LIMIT))
                    except (CallError, AuthenticationError, ProtocolError) as error:
                        if isinstance(error.__cause__, BrokerUnavailable):
                            raise error.__cause__ from None
                        failure = error
            except BrokerUnavailable as error:
                failure = error
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if not fresh:
                fresh = True
                continue
            with self._changed:
                self._changed.wait(min(left, _BACKOFF * random.uniform(0.05, 0.5)))  # noqa: S311 - jitter
        reason = f": {failure}" if failure else "; start one with `hubnet hub`, or set HUBNET_HUBS"
        if isinstance(failure, BrokerUnavailable):
            raise BrokerUnavailable(str(failure)) from failure
        raise NoHub(f"no hub answered in time{reason}") from failure

    def resolve(self, peer_id: bytes, deadline: float, fresh: bool) -> Endpoint:
        """Where a peer is: known already, or as a hub says.

        Raises:
            PeerUnreachable: the register does not know it.
            NoHub: nobody could say.
        """
        known = self._endpoints.get(peer_id)
        if known and not fresh:
            return known
        record = self.ask(RESOLVE, (peer_id,), deadline)
        if record is None:
            self._endpoints.pop(peer_id, None)
            where = decode_id(peer_id)
            raise PeerUnreachable(
                f"{where.host}:{where.port} in group {where.group} is not in the register: it has left, or never came",
                peer=peer_id,
            )
        return self._keep(endpoint_of(peer_id, record))

    def _where_hub_is(self, peer_id: bytes, deadline: float, fresh: bool) -> Endpoint:
        """For asking hubs themselves: the entry that is being tried, and no other."""
        endpoint = self._hub_endpoints[peer_id]
        if fresh:
            raise PeerUnreachable(f"no hub at {endpoint.host}:{endpoint.port} any more", peer=peer_id)
        return endpoint

    def _keep(self, endpoint: Endpoint) -> Endpoint:
        self._endpoints[endpoint.peer_id] = endpoint
        return endpoint

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
            self._keep(endpoint_of(peer_id, record))
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
            if what == "left" and (known := self._endpoints.pop(peer_id.encode(), None)) and self.caller:
                self.caller.forget(known.peer_id, known.incarnation)


def endpoint_of(peer_id: bytes, record: Record) -> Endpoint:
    """Where a record says that its peer is."""
    friendly = {name: record[name] for name in ("group", "host", "port", "hub", "executable", "user")}
    return Endpoint(peer_id, bytes.fromhex(record["incarnation"]), record["host"], record["port"], friendly)
