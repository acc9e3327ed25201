"""What a running peer is made of: every socket, thread and connection it has, in the order of their opening."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hubnet import rotation
from hubnet.bus.durable import DurablePublisher
from hubnet.bus.publisher import Publisher
from hubnet.bus.subscriber import Subscriber
from hubnet.bus.subscription import Subscription
from hubnet.colleagues import WARN, Colleagues, warned
from hubnet.core import calls, handshake, sealing
from hubnet.core.channels import Names
from hubnet.core.connections import Connection, Connections, Filter
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.handshake import Responder, Self, digest_of
from hubnet.core.identity import decode_id, generate_id, group_name
from hubnet.core.selection import Query
from hubnet.counters import Counters
from hubnet.directory import WHO, Directory
from hubnet.environment import Settings
from hubnet.errors import RemoteProtocolError
from hubnet.home import Home
from hubnet.hub import Hub
from hubnet.keeper import Keeper
from hubnet.links.calling import Caller
from hubnet.links.dial import Dialler
from hubnet.links.limits import Limits
from hubnet.links.link import Link
from hubnet.links.serving import Serving
from hubnet.registry import Registry
from hubnet.rotation import Rotation
from hubnet.world import World

if TYPE_CHECKING:
    from hubnet.peer import _Peer

_LATE_TAG = 5.0
_KEPT_BACK = 8
"""Open files of a hub for those who ask, once there are no others: as many may ask at a time, and it takes no further peer in."""
_log = logging.getLogger("hubnet")


class Parts:
    """The parts of one peer, made lowest first and closed in the reverse order.

    Towards the serving room it speaks for the peer: who we are, which connections there are, what to tell whom.

    Attributes:
        peer: whose they are.
        invoke: how functions are run, where not on the thread that read the request.
    """

    def __init__(self, peer: _Peer, settings: Settings, incarnation: bytes, world: World, *, listed: bool) -> None:
        self.peer = peer
        self.tables = peer.tables
        self.table = peer.tables.connections.by_name
        self.counters = peer.counters
        self.invoke: Callable[..., Any] | None = None
        self.broker = world.broker(settings)
        self.names = Names(settings.namespace)
        self.ring = rotation.keyring(settings, self.broker)
        sock, self.host, self.port = world.listen(settings, self.broker)
        self.group = group_name(settings.group)
        self.id = generate_id(self.port, self.host, self.group)
        self.machine = world.machine_id()
        self._self = Self(digest_of(self.id), incarnation)
        limits = Limits(settings.link_limit, settings.stranger_limit, settings.call_limit)
        secured = world.secured(settings)
        self._suites = handshake.suites_for(settings.wire, settings.integrity, in_tls=secured is not None)
        self._binding = secured.binding if secured else b""
        self._dialler = dialler = Dialler(
            self._self, self.ring, self._suites, self._hello, world.open, secured, most=limits.call
        )
        sender = Sender(self.id, incarnation, settings.is_hub, self.machine)
        packer, opener = Packer(sender, self.ring), Opener(self.ring)
        news = self.names.presence.encode()
        self.publisher = Publisher(self.broker, packer, self.counters, outbox=settings.outbox, news=news)
        self.durable = DurablePublisher(
            self.broker, packer, self.names, self.counters, outbox=settings.outbox, length=settings.stream_length
        )
        self.subscriber = Subscriber(self.broker, opener, self.names, incarnation, self.counters, peer.announce)
        lease, suspect, reach = settings.lease, settings.suspect, settings.timeout
        store = world.store(self.broker, self.names)
        self.registry = Registry(store, self.names, self.ring, lease=lease, suspect=suspect, counters=self.counters)
        self.hub = self._made_hub(settings) if settings.is_hub else None
        self.directory = Directory(
            self.id,
            self.registry,
            dialler,
            self.subscriber,
            hubs=settings.hubs,
            hub=self.hub,
            lease=lease,
            hubs_run_redis=self.broker.embedded,
        )
        self.home = Home(
            self.id,
            incarnation,
            peer.record,
            self.directory,
            dialler,
            self.counters,
            keeper=self.hub.keeper if self.hub else None,
            lease=lease,
        )
        self.caller = Caller(
            dialler,
            self.directory.resolve,
            self.tables.flags,
            self.counters,
            reach=reach,
            most=limits.call,
            silence=lease + suspect,
        )
        self.directory.caller = self.caller
        self.directory.hear_presence_through(self._presence())
        if self.hub:
            self.hub.keeper.watch.colleagues = Colleagues(self.id, self.caller, self.registry)
        self._builtins = Connections()
        self._builtins.add(Connection(WHO, self._who, counted=False, builtin=True))
        self._builtins.add(Connection(WARN, warned, counted=False, builtin=True))
        self._builtins.add(Connection(rotation.STATE, self._secrets, counted=False, builtin=True))
        for connection in self.hub.connections() if self.hub else ():
            self._builtins.add(connection)
        self.serving = Serving(
            sock, self, cap=settings.thread_limit, patience=reach, secured=secured, limits=limits,
            kept_back=_KEPT_BACK if self.hub else 0,
        )  # fmt: skip
        dialler.spare_files = self.broker.spare_files = self.serving.spare_files
        self._rotation = Rotation(
            self.ring, settings, self.broker,
            changed=self._secrets_changed, renew=self._renew_links, cut=self._cut_links,
        )  # fmt: skip
        self._listed = listed

    def _made_hub(self, settings: Settings) -> Hub:
        """A hub's doors, and its hand in the register."""
        lease, suspect = settings.lease, settings.suspect
        keeper = Keeper(
            self.id, self.peer.record, self.registry, self._dialler, self.publisher, self.names, self.counters,
            lease=lease, suspect=suspect,
        )  # fmt: skip
        most = settings.dial_back_limit
        return Hub(self.peer.record, self.registry, keeper, lease=lease, dial_backs=most, has_room=self._has_room)

    def start(self) -> bool:
        """Serve, and register; False: there is no thread for something of it now, and it is to be asked again."""
        served = self.serving.start() and self.subscriber.start()
        return served and (not self._listed or self.home.start()) and self._rotation.start()

    def drain(self, grace: float) -> bool:
        """Take no new calls, and wait for those that run; whether all ended in time."""
        self.broker.retire()
        return self.serving.drain(time.monotonic() + grace)

    def close(self) -> None:
        """Withdraw, and close everything."""
        for close in (
            self._rotation.close, self.home.leave, self.directory.close, self.publisher.close, self.durable.close,
            self.subscriber.close, self.caller.close, self.serving.close, self.registry.close, self.broker.close,
        ):  # fmt: skip
            try:
                close()
            except Exception:  # a defect of one part must not leave the others open
                _log.exception("closing failed; the rest is closed all the same")

    def flush(self, deadline: float) -> bool:
        """Wait until Redis has taken what was published; whether it did by then (monotonic)."""
        return all(one.flush(max(0.0, deadline - time.monotonic())) for one in (self.publisher, self.durable))

    def abandon(self) -> None:
        """In a forked child: close our copies of the parent's sockets, say nothing."""
        for part in (
            self._dialler,
            self.serving,
            self.caller,
            self.directory,
            self.home,
            self.publisher,
            self.durable,
            self.subscriber,
        ):
            part.abandon()
        for connection in self.tables.connections:
            connection.running = 0  # what the parent runs is not run here

    def numbers(self) -> dict[str, Any]:
        """What is open and waiting now."""
        return {
            "calls.ok": self.caller.answered, "calls.running": self.serving.running, "calls.queued": self.serving.queued,
            "links.incoming": self.serving.links, "links.idle": self.caller.links + self.directory.links,
            "events.outbox": self.publisher.waiting + self.durable.waiting, "events.queued": self.subscriber.queued(),
            "registered": self.home.registered.is_set(),
        }  # fmt: skip

    def _presence(self) -> Subscription:
        def deliver(body: memoryview, sender: Sender) -> None:
            self.directory.on_presence([(what, peer_id) for what, peer_id in json.loads(bytes(body))])

        return Subscription(
            "hubnet.presence", deliver, Query(), channels=frozenset((self.names.presence,)), pattern=None,
            counters=Counters(), hears_itself=True, on_missed=lambda: self.directory.on_presence([]),
        )  # fmt: skip

    # -- what the serving room asks --------------------------------------------------------------------------------

    def responder(self) -> Responder:
        """A fresh handshake for a link that came in."""
        return Responder(self._self, self.ring, self._suites, os.urandom, self._binding, judge=self._judge)

    def _judge(self, digest: bytes) -> int:
        if self.peer.draining:
            return handshake.DRAINING
        return handshake.ACCEPTED if self.serving.has_room_for(digest) else handshake.FULL

    def find(self, name: bytes) -> Connection | None:
        """The connection of this name."""
        return self.table.get(name) or self._builtins.by_name.get(name)

    def find_late(self, name: bytes) -> Connection | None:
        """While modules are still being imported, a connection may be about to come."""
        self.peer.wait_for_registration(lambda: self.find(name) is not None, _LATE_TAG)
        return self.find(name)

    def missing(self, name: bytes) -> bytes:
        """What a caller is told whose connection is not here."""
        tag = name.decode(errors="replace")
        return calls.refusal(calls.NO_CONNECTION, f"no connection {tag!r}", connections=self.tables.connections.tags())

    def greeted(self, link: Link, hello: bytes) -> None:
        """Who is at the other end: its id must be the one whose digest it proved."""
        try:
            said = json.loads(hello)
            peer_id = str(said.pop("id")).encode()
        except (ValueError, KeyError, AttributeError) as error:
            raise RemoteProtocolError(f"a hello that says nothing: {error}") from error
        if digest_of(peer_id) == link.foreign.digest:
            link.foreign_id, link.friendly = peer_id, said

    @staticmethod
    def forbids(callers: Filter, link: Link) -> str:
        """Why a connection is not for whoever is at the other end; "" if it is."""
        if not link.foreign_id:
            return "is not for a peer that did not say who it is"
        caller, hub = decode_id(link.foreign_id), bool(link.friendly.get("hub"))
        machine_id = str(link.friendly.get("machine", ""))
        if callers.matches(
            peer_id=link.foreign_id, group=caller.group, hub=hub, machine=machine_id, labels=link.friendly.get("labels")
        ):  # fmt: skip
            return ""
        who = f"{'the hub' if hub else 'the peer'} {caller.host}:{caller.port} of group {caller.group}"
        return f"is not for {who}: see its allow="

    def _has_room(self) -> bool:
        return self.serving.has_files()

    def ended(self, link: Link) -> None:
        """A link has ended."""
        if link.home and self.hub:
            self.hub.keeper.ended(link)

    def count(self, what: str) -> None:
        """Count something that happened."""
        self.counters.add(what)

    def _hello(self) -> bytes:
        said = {**self.peer.friendly_id, "machine": self.machine, "id": self.id.decode(), "labels": self.tables.labels}
        return json.dumps(said).encode()

    def _who(self) -> dict[str, Any]:
        return {"id": self.id, "friendly": self.peer.friendly_id}

    # -- other secrets ---------------------------------------------------------------------------------------------

    def _secrets_changed(self) -> None:
        self.serving.let_go(self.ring.keys)
        if self.hub:
            self.hub.keeper.sign_anew()

    def _renew_links(self) -> None:
        """What we dialled under another secret than the first is dialled anew."""
        self.caller.renew()
        self.directory.renew()
        self.home.renew()

    def _cut_links(self) -> None:
        """What stands under a secret that is accepted no more ends, whichever end dialled."""
        self.serving.cut(self.ring.keys)
        self._dialler.cut(self.ring.keys)

    def _secrets(self) -> dict[str, Any]:
        """By key id: the secrets accepted here, the one in use first, and how many links came in under each."""
        accepted = [kid.hex() for kid in self.ring.keys]
        return {"accepted": accepted, "links": {kid.hex(): count for kid, count in self.serving.links_by_key().items()}}


def import_the_rest() -> None:
    """Import now what threads of ours would import later, when a fork might fall into it."""
    import getpass
    import urllib.parse

    _ = getpass, urllib.parse, sealing.available()
