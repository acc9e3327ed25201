"""One peer: what it is made of, and its life from the first decorator to the last goodbye.

A process has one peer. It exists from the first registration on, costs nothing until it is started, starts in the background,
and closes its parts in the reverse order of their opening. A forked child forgets all of it and joins anew on first use.
"""

from __future__ import annotations

import atexit
import getpass
import json
import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from hubnet import environment, machine, runtime
from hubnet.broker import Broker
from hubnet.bus.publisher import Publisher
from hubnet.bus.subscriber import Subscriber
from hubnet.bus.subscription import Subscription
from hubnet.core import calls, codec, handshake, membership
from hubnet.core.channels import Names
from hubnet.core.connections import Connection, Connections, path_tag
from hubnet.core.envelopes import Opener, Packer, Sender
from hubnet.core.flags import Flag, Flags, Handler
from hubnet.core.handshake import Responder, Self, digest_of
from hubnet.core.identity import decode_id, generate_id, group_name
from hubnet.core.keys import Keyring
from hubnet.core.membership import Record
from hubnet.core.selection import Query
from hubnet.core.targets import peer_id_of
from hubnet.counters import Counters
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable, ConfigError, EncodeError, HubnetError
from hubnet.home import Home
from hubnet.hub import Hub
from hubnet.links import listening
from hubnet.links.calling import Caller
from hubnet.links.dial import Dialler
from hubnet.links.link import Link
from hubnet.links.running import NO_CALL, here
from hubnet.links.serving import Serving
from hubnet.registry import Registry

VERSION = "0.1.0"
_LATE_TAG = 5.0
_OPEN_AFTER = 1.0
_DRAIN = 10.0
_MOST_EARLY = 100_000
_log = logging.getLogger("hubnet")

SubscriptionWish = Callable[["_Peer"], Subscription]


class Tables:
    """What a process has registered; it outlives the peer in a forked child."""

    def __init__(self) -> None:
        self.connections = Connections()
        self.flags = Flags()
        self.subscriptions: list[SubscriptionWish] = []
        self.modules: set[str] = set()
        self.last_registration = 0.0


class _Peer:
    """One peer of the net; made by ``Peer()``."""

    def __init__(self, tables: Tables | None = None, settings: Settings | None = None) -> None:
        self.tables = tables or Tables()
        self.counters = Counters()
        self.table = self.tables.connections.by_name
        self.invoke: Callable[..., Any] | None = None
        self._settings = settings
        self._incarnation = os.urandom(16)
        self._guard = threading.Lock()
        self._tag_came = threading.Condition()
        self.started = False
        self._stopped = False
        self.caller: Caller | None = None
        self._is_ready = threading.Event()
        self._failure: BaseException | None = None
        self._trouble: HubnetError | None = None
        self._open = threading.Event()
        self._draining = False
        self._revision = 0
        self._since = time.time()
        self._subscriptions: list[Subscription] = []
        self._caller: Caller | None = None
        self._channels: dict[str, bytes] = {}
        self._early: deque[tuple[str, bytes]] = deque(maxlen=_MOST_EARLY)

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin in the background; returns at once."""
        with self._guard:
            if self.started or self._stopped:
                return
            self.started = True
        threading.Thread(target=self._begin, name="hubnet-start", daemon=True).start()

    def ready(self, deadline: float | None = None) -> None:
        """Wait until this peer listens.

        Raises:
            ConfigError: a setting is wrong.
            BrokerUnavailable: where Redis is cannot be known yet.
        """
        if self._is_ready.is_set() and self._failure is None and not self._stopped:
            return
        if self._stopped:
            raise ConfigError("this peer has been stopped; a new process makes a new one")
        self.start()
        limit = deadline if deadline is not None else time.monotonic() + self.settings.timeout
        self._is_ready.wait(max(0.0, limit - time.monotonic()))
        if self._failure is not None:
            raise self._failure
        if not self._is_ready.is_set():
            raise self._trouble or BrokerUnavailable("this peer has not started in time")

    @property
    def settings(self) -> Settings:
        """What this peer was told."""
        if self._settings is None:
            self._settings = environment.settings()
        return self._settings

    def _begin(self) -> None:
        while not self._stopped:
            try:
                self._build()
                break
            except BrokerUnavailable as error:
                if self._trouble is None:
                    _log.warning("waiting to start: %s", error)
                self._trouble = error
                time.sleep(0.5)  # nothing to wait on: an address that appears
            except Exception as error:
                _log.exception("this peer could not start")
                self._failure = error
                break
        self._is_ready.set()
        if self._failure is None:
            self._open_when_imported()

    def _build(self) -> None:
        """Make all parts, lowest first."""
        settings = self.settings
        if settings.dev:
            _log.setLevel(logging.DEBUG)
        broker = Broker(settings)
        names = Names(settings.namespace)
        ring = self._keyring(settings, broker)
        sock, host, port = listening.listen(settings, broker)
        self._broker, self._ring = broker, ring
        self._host, self._port = host, port
        self._group = group_name(settings.group)
        self._id = generate_id(port, host, self._group)
        self._user, self._machine = _user(), machine.machine_id()
        self._self = Self(digest_of(self._id), self._incarnation)
        self._suites = handshake.suites_for(settings.wire)
        dialler = Dialler(self._self, ring, settings.wire, self._hello)
        sender = Sender(self._id, self._incarnation, settings.is_hub, self._machine)
        self.publisher = Publisher(broker, Packer(sender, ring), self.counters, outbox=settings.outbox)
        self.subscriber = Subscriber(broker, Opener(ring), names, self._incarnation, self.counters, self.announce)
        registry = Registry(broker, names, ring, lease=settings.lease, suspect=settings.suspect)
        self._registry = registry
        self._hub_duty = self._make_hub(settings, dialler, names) if settings.is_hub else None
        self.home = Home(
            self._id, self._incarnation, self.record, registry, dialler, self.subscriber, self.counters,
            hubs=settings.hubs, hub=self._hub_duty, lease=settings.lease, reach=settings.timeout,
        )  # fmt: skip
        caller = Caller(dialler, self.home.resolve, self.tables.flags, self.counters, reach=settings.timeout)
        self.home.caller = caller
        self.home.hear_presence_through(self._presence(names))
        self._builtins = Connections()
        self._builtins.add(Connection("hubnet:who", self._who, counted=False, builtin=True))
        for connection in self._hub_duty.connections() if self._hub_duty else ():
            self._builtins.add(connection)
        self.names = names
        self._serving = Serving(sock, self, cap=settings.thread_limit, patience=settings.timeout)
        self._serving.start()
        with self._guard:
            self._publish_early()
            self._caller = caller
        for wish in list(self.tables.subscriptions):
            self._subscribe(wish)
        if not _asks_only:
            self.home.start()

    def _make_hub(self, settings: Settings, dialler: Dialler, names: Names) -> Hub:
        return Hub(
            self._id, self.record, self._registry, dialler, self.publisher, names, self.counters,
            lease=settings.lease, suspect=settings.suspect,
        )  # fmt: skip

    def _keyring(self, settings: Settings, broker: Broker) -> Keyring:
        secrets = [part.strip() for part in settings.secret.split(",") if part.strip()]
        if settings.secret_file:
            secrets += runtime.secrets_in(settings.secret_file)
        if not secrets:
            if not broker.local or (settings.host and not machine.is_loopback(settings.host)):
                raise ConfigError(
                    "HUBNET_SECRET: beyond one machine a secret is required: `hubnet secret new` prints one; give it to "
                    "every peer as HUBNET_SECRET or in a file named by HUBNET_SECRET_FILE"
                )
            secrets = [runtime.machine_secret()]
        return Keyring.of(secrets, settings.namespace)

    def _presence(self, names: Names) -> Subscription:
        def deliver(body: memoryview, sender: Sender) -> None:
            self.home.on_presence([(what, peer_id) for what, peer_id in json.loads(bytes(body))])

        return Subscription(
            "hubnet.presence", deliver, Query(), channels=frozenset((names.presence,)), pattern=None,
            counters=Counters(), hears_itself=True,
        )  # fmt: skip

    def stop(self, grace: float = _DRAIN) -> bool:
        """Drain, withdraw and close everything, in the reverse order of opening; whether all calls ended in time."""
        with self._guard:
            if self._stopped:
                return True
            self._stopped, self.caller = True, None
            built = self._caller is not None
        if not built:
            return True
        self._draining = True
        self.announce()
        clean = self._serving.drain(time.monotonic() + grace)
        self.home.leave()
        self.publisher.close()
        self.subscriber.close()
        assert self._caller is not None
        self._caller.close()
        self._serving.close()
        self._registry.close()
        self._broker.close()
        return clean

    def abandon(self) -> None:
        """In a forked child: close our copies of the parent's sockets, say nothing."""
        if self._caller is not None:
            self._serving.abandon()

    # -- opening up ------------------------------------------------------------------------------------------------

    def open_now(self) -> None:
        """The application is ready: it serves, calls, lists or triggers."""
        self._open.set()

    def _open_when_imported(self) -> None:
        """Until the defining modules have finished importing, selectors leave this peer alone."""
        while not self._open.wait(0.02) and not self._stopped:
            pending = [name for name in list(self.tables.modules) if name != "__main__" and _importing(name)]
            main = "__main__" in self.tables.modules
            if not pending and (not main or time.monotonic() - self.tables.last_registration > _OPEN_AFTER):
                self._open.set()
        with self._tag_came:
            self._tag_came.notify_all()
        self.announce()

    @property
    def state(self) -> str:
        """What this peer says of itself."""
        if self._draining:
            return membership.DRAINING
        return membership.OPEN if self._open.is_set() else membership.STARTING

    def announce(self) -> None:
        """Something in the record has changed."""
        if self._caller is not None:
            self.home.announce()

    def record(self) -> Record:
        """What the register is told of this peer."""
        self._revision += 1
        live = sorted({one.event for one in self._subscriptions if self.subscriber.is_live(one)})
        return {
            **self.friendly_id, "id": self._id.decode(), "hostname": socket.gethostname(), "pid": os.getpid(),
            "incarnation": self._incarnation.hex(), "state": self.state, "reachable": True, "reason": "", "labels": {},
            "connections": self.tables.connections.tags(), "subscriptions": live, "version": VERSION,
            "since": self._since, "machine": self._machine, "revision": self._revision,
        }  # fmt: skip

    # -- registrations ---------------------------------------------------------------------------------------------

    def register_connection(self, function: Callable[..., Any], tag: str | None = None) -> Connection:
        """Serve a function under a tag, as ``connect`` does; returns its registration."""
        name = tag or path_tag(function.__module__, function.__qualname__)
        connection = Connection(name, function)
        self.add_connection(connection)
        return connection

    def add_connection(self, connection: Connection) -> None:
        """Serve a connection."""
        if self.tables.connections.add(connection):
            _log.warning("tag %r registered twice: the later function is served", connection.tag)
        self._noted(connection.function.__module__)
        with self._tag_came:
            self._tag_came.notify_all()

    def register_flag(self, name: str, handler: Handler) -> None:
        """Run `handler(connection, foreign_peer_id)` when an answer is this flag."""
        self.tables.flags[name] = handler

    def get_flag(self, name: str) -> Flag:
        """The flag to return from a connection, so that its caller runs the handler of that name."""
        return self.tables.flags.flag(name)

    def add_subscription(self, wish: SubscriptionWish, module: str) -> None:
        """Subscribe, now or as soon as this peer has started."""
        self.tables.subscriptions.append(wish)
        self._noted(module)
        if self._caller is not None:
            self._subscribe(wish)

    def _subscribe(self, wish: SubscriptionWish) -> None:
        subscription = wish(self)
        self._subscriptions.append(subscription)
        self.subscriber.add(subscription)

    def _noted(self, module: str) -> None:
        self.tables.modules.add(module)
        self.tables.last_registration = time.monotonic()
        self.announce()

    # -- what it says of itself ------------------------------------------------------------------------------------

    @property
    def id(self) -> bytes:
        """This peer's id."""
        self.ready()
        return self._id

    @property
    def host(self) -> str:
        """The host that others use."""
        self.ready()
        return self._host

    @property
    def port(self) -> int:
        """The port that others use."""
        self.ready()
        return self._port

    @property
    def group(self) -> str:
        """This peer's group; "None" is no group."""
        self.ready()
        return self._group

    @property
    def hub(self) -> bool:
        """Whether this peer is a hub."""
        return self.settings.is_hub

    @property
    def machine(self) -> str:
        """Equal for peers that share loopback with this one."""
        return machine.machine_id()

    @property
    def friendly_id(self) -> dict[str, Any]:
        """group, host, port, hub, executable, user."""
        if self._caller is None and not hasattr(self, "_id"):
            self.ready()
        return {
            "group": self._group, "host": self._host, "port": self._port, "hub": self.settings.is_hub,
            "executable": sys.executable, "user": self._user,
        }  # fmt: skip

    @property
    def CONNECTIONS(self) -> dict[str, Callable[..., Any]]:
        """Functions by tag."""
        return {connection.tag: connection.function for connection in self.tables.connections}

    @property
    def SUBSCRIPTIONS(self) -> list[str]:
        """Events that this peer hears."""
        return sorted({one.event for one in self._subscriptions})

    @property
    def FLAGS(self) -> dict[str, Handler]:
        """Handlers by flag name."""
        return dict(self.tables.flags)

    @staticmethod
    def generate_id(port: int, host: str, group: str | None = None) -> bytes:
        """The id of a peer at host and port in a group."""
        return generate_id(port, host, group)

    @staticmethod
    def decode_id(peer_id: bytes | str) -> dict[str, Any]:
        """host, port and group out of an id."""
        return decode_id(peer_id)._asdict()

    @staticmethod
    def encode(value: Any) -> bytes:
        """The value as it travels, in one piece."""
        return codec.in_one_piece(value)

    @staticmethod
    def decode(data: bytes) -> Any:
        """A value out of what ``encode`` made. Never give it bytes of strangers: they would run code here."""
        return codec.decode(data)

    def stats(self) -> dict[str, Any]:
        """Counters by name, and what is open and waiting now."""
        numbers: dict[str, Any] = dict(self.counters.snapshot())
        if self._caller is not None:
            numbers.update({
                "calls.ok": self._caller.answered,
                "links.incoming": self._serving.links, "links.idle": self._caller.links,
                "calls.running": self._serving.running, "calls.queued": self._serving.queued,
                "events.outbox": self.publisher.waiting, "events.queued": self.subscriber.queued(),
                "state": self.state, "registered": self.home.registered.is_set(),
            })  # fmt: skip
        return numbers

    # -- calling ---------------------------------------------------------------------------------------------------

    def call(
        self,
        connection: Connection,
        target: bytes | tuple[str, int],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        timeout: float | None,
    ) -> Any:
        """Run a connection on a peer, after waiting for this peer's own start if need be; see ``Caller.call``."""
        begin = time.monotonic()
        self.ready(None if timeout is None else begin + timeout)
        self.open_now()
        self.caller = self._caller
        if isinstance(target, tuple):
            limit = self.settings.timeout if timeout is None else min(timeout, self.settings.timeout)
            target = self.home.identify(target[0], target[1], begin + limit).peer_id
        if target == self._id:
            result = connection.function(*args, **kwargs)
            return self.answered_here(connection, result) if type(result) is Flag else result
        assert self._caller is not None
        if timeout is not None:
            timeout = max(0.001, timeout - (time.monotonic() - begin))
        return self._caller.call(connection, target, args, kwargs, timeout)

    def answered_here(self, connection: Connection, flag: Flag) -> Any:
        """A connection that ran here answered with a flag."""
        return self.tables.flags.run(flag.name, connection.tag, self.friendly_id)

    def publish_event(self, name: str, body: bytes) -> None:
        """Hand an event to the outbox; before this peer has started it waits here.

        Raises:
            EncodeError: it is over HUBNET_EVENT_LIMIT.
        """
        if len(body) > self.settings.event_limit:
            raise EncodeError(
                f"event {name!r}: {len(body)} bytes; at most {self.settings.event_limit} travel: send a reference, or call"
            )
        channel = self._channels.get(name)
        if channel is None:
            self.start()
            self.open_now()
            with self._guard:
                if self._caller is None:
                    self._early.append((name, body))
                    return
            channel = self._channels[name] = self.names.event(self._group, name).encode()
        self.publisher.publish(channel, body)

    def _publish_early(self) -> None:
        """Events that were triggered before this peer had started, in their order."""
        while self._early:
            name, body = self._early.popleft()
            self.publisher.publish(self.names.event(self._group, name).encode(), body)

    # -- what the serving room asks --------------------------------------------------------------------------------

    def responder(self) -> Responder:
        """A fresh handshake for a link that came in."""
        refusal = handshake.DRAINING if self._draining else handshake.ACCEPTED
        return Responder(self._self, self._ring, self._suites, os.urandom, refusal=refusal)

    def find(self, name: bytes) -> Connection | None:
        """The connection of this name."""
        return self.tables.connections.by_name.get(name) or self._builtins.by_name.get(name)

    def find_late(self, name: bytes) -> Connection | None:
        """While modules are still being imported, a connection may be about to come."""
        with self._tag_came:
            self._tag_came.wait_for(lambda: self.find(name) or self._open.is_set(), _LATE_TAG)
        return self.find(name)

    def missing(self, name: bytes) -> bytes:
        """What a caller is told whose connection is not here."""
        tag = name.decode(errors="replace")
        return calls.refusal(calls.NO_CONNECTION, f"no connection {tag!r}", connections=self.tables.connections.tags())

    def greeted(self, link: Link, hello: bytes) -> None:
        """Who is at the other end: its id must be the one whose digest it proved."""
        said = json.loads(hello)
        peer_id = str(said.pop("id")).encode()
        if digest_of(peer_id) == link.foreign.digest:
            link.foreign_id, link.friendly = peer_id, said

    def ended(self, link: Link) -> None:
        """A link has ended."""
        if link.home and self._hub_duty:
            self._hub_duty.ended(link)

    def count(self, what: str) -> None:
        """Count something that happened."""
        self.counters.add(what)

    def _hello(self) -> bytes:
        return json.dumps({**self.friendly_id, "id": self._id.decode()}).encode()

    def _who(self) -> dict[str, Any]:
        return {"id": self._id, "friendly": self.friendly_id}


# -- this process's one peer -------------------------------------------------------------------------------------------

_peer = _Peer()


def Peer(*args: Any, **kwargs: Any) -> _Peer:
    """This process's peer, started on first use; inside a connection, the peer that runs it."""
    running: _Peer | None = here.call.peer
    if running is not None:
        return running
    if not _peer.started:
        _peer.start()
    return _peer


def call(
    connection: Connection, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Any:
    """Run a connection on a peer, over this process's peer or the one that runs the current call."""
    depth, deadline, running, _ = here.call
    peer: _Peer = running or _peer
    caller = peer.caller
    if type(target) is not bytes:
        target = peer_id_of(target)
    if caller is not None and not kwargs and timeout is None and deadline is None:
        known = caller.pools.get(target)
        if known is not None:
            return caller.call_plain(connection, known, args, depth + 1)
    return peer.call(connection, peer_id_of(target), args, kwargs, timeout)


def process_peer() -> _Peer:
    """This process's peer as it is, started or not; for registrations."""
    return _peer


def autostart() -> None:
    """A function was registered: become a peer, unless the user or the surroundings say no."""
    if _may_autostart():
        _peer.start()


def _may_autostart() -> bool:
    try:
        if not environment.settings().autostart:
            return False
    except ConfigError:
        return True  # starting tells what is wrong, in the log and at first use
    multiprocessing = sys.modules.get("multiprocessing.process")
    is_child = multiprocessing is not None and multiprocessing.parent_process() is not None
    return not is_child and not _is_test_collector()


def _is_test_collector() -> bool:
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    runner = main.name.partition(".")[0] if main else os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119
    return runner in {"pytest", "py.test", "unittest", "nose2", "doctest", "xdist"} or "_pytest.main" in sys.modules


_asks_only = False


def only_ask() -> None:
    """This process asks and calls but is not listed; for commands. To be called before the peer starts."""
    global _asks_only
    _asks_only = True


def _importing(name: str) -> bool:
    module = sys.modules.get(name)
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return str(os.getuid())


def _after_fork() -> None:
    global _peer
    old = _peer
    _peer = _Peer(old.tables)
    here.call = NO_CALL
    old.abandon()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _peer.stop(grace=1.0))
