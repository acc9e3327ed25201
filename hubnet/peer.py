"""One peer: its life from the first decorator to the last goodbye, and what it says of itself.

A process has one peer. It exists from the first registration on and costs nothing until it is started; then its parts are
imported and made in the background, and closed in the reverse order at the end. A forked child forgets them and joins anew on
first use.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from hubnet import autostart as autostarting
from hubnet import environment
from hubnet.core import codec
from hubnet.core.connections import Connection, elsewhere, names_of
from hubnet.core.flags import INVALID_CONNECTION, NULL, NULL_RESPONSE, Flag, Handler
from hubnet.core.identity import came, decode_id, generate_id, text
from hubnet.core.targets import peer_id_of
from hubnet.counters import Counters
from hubnet.early import Early
from hubnet.environment import Settings
from hubnet.errors import BrokerUnavailable, ConfigError, EncodeError, HubnetError
from hubnet.links.context import NO_CALL, here
from hubnet.links.threads import begin, say_what_is_wanted
from hubnet.tables import Tables

if TYPE_CHECKING:
    from hubnet.bus.subscription import Subscription
    from hubnet.links.calling import Caller
    from hubnet.parts import Parts
    from hubnet.tables import SubscriptionWish
    from hubnet.world import World

VERSION = "0.1.0"
GRACE = 10.0
"""Seconds for which a peer that is asked to end waits for the calls that it runs."""
_START_AGAIN = 0.5
_LOST_FOR_GOOD = ("events.dropped_outbox", "events.refused_by_redis", "events.unreplicated", "events.unsent")
_log = logging.getLogger("hubnet")


class _Peer:
    """One peer of the net; made by ``Peer()``.

    Attributes:
        tables: what was registered.
        counters: what happened.
        caller: the calling side once this peer is open; the hot way of a call looks here.
        draining: refusing new calls on the way out.
    """

    def __init__(
        self, tables: Tables | None = None, settings: Settings | None = None, world: World | None = None
    ) -> None:
        self.tables = tables or Tables()
        self._world = world
        self.counters = Counters()
        self.caller: Caller | None = None
        self.draining = False
        self._told_of = 0
        self.started = False
        self._stopped = False  # asked to stop: nothing begins any more
        self._closed = False  # what was running has ended, and all parts are closed
        self._settings = settings
        self._incarnation = os.urandom(16)
        self._since = time.time()
        self._revision = 0
        self._guard = threading.RLock()  # a signal handler may publish, whatever it interrupts
        self._registered = threading.Condition()
        self._is_ready = threading.Event()
        self._open = threading.Event()
        self._look = threading.Event()  # the application does something: it may have been imported
        self._failure: BaseException | None = None
        self._trouble: HubnetError | None = None
        self._parts: Parts | None = None
        self._subscribed: dict[SubscriptionWish, Subscription] = {}
        self._ways: dict[str, tuple[Callable[..., None], bytes]] = {}
        self._early = Early(self.counters, lambda name: bool(self.tables.durable.get(name)))

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin in the background; returns at once."""
        with self._guard:
            if self.started or self._stopped:
                return
            self.started = True  # before it is: a signal's handler that comes here meanwhile begins no second one
            self.started = begin(self._begin, "hubnet-start", locked=True) is not None
        say_what_is_wanted()

    def ready(self, deadline: float | None = None) -> Parts:
        """Wait until this peer listens; its parts.

        Raises:
            ConfigError: a setting is wrong, or this peer has been stopped.
            BrokerUnavailable: where Redis is cannot be known yet.
        """
        if self._closed:
            raise ConfigError("this peer has been stopped; a new process makes a new one")
        if self._parts is None:
            self.start()
            limit = deadline if deadline is not None else time.monotonic() + self.settings.timeout
            while (
                not self._is_ready.wait(max(0.0, min(_START_AGAIN, limit - time.monotonic())))
                and time.monotonic() < limit
            ):
                self.start()  # where there was no thread to be had before
            if self._failure is not None:
                raise self._failure.with_traceback(None)  # it is raised again and again
        if self._parts is None:
            raise self._trouble or BrokerUnavailable("this peer has not started in time")
        return self._parts

    @property
    def settings(self) -> Settings:
        """What this peer was told."""
        if self._settings is None:
            self._settings = environment.settings()
        return self._settings

    @property
    def world(self) -> World:
        """What this peer stands on."""
        if self._world is None:
            from hubnet.world import RealWorld  # late: with it comes most of hubnet

            self._world = RealWorld()
        return self._world

    def _begin(self) -> None:
        while not self._stopped and self._parts is None and self._failure is None:
            try:
                self._build()
            except BrokerUnavailable as error:
                if self._trouble is None:
                    _log.warning("waiting to start: %s", error)
                self._trouble = error
                time.sleep(0.5)  # nothing to wait on: an address that appears
            except Exception as error:
                _log.error("this peer could not start: %s", error, exc_info=not isinstance(error, HubnetError))
                self._failure = error
        self._is_ready.set()
        if self._parts is not None:
            self._open_when_imported()

    def _build(self) -> None:
        if self.settings.dev:
            _log.setLevel(logging.DEBUG)
        with _making:
            from hubnet import parts as rooms  # most of hubnet: imported here, so that importing hubnet stays cheap

            rooms.import_the_rest()
            self.world.prepare(self.settings)
        self.world.look_up(self.settings)  # outside: it may take seconds, and a fork waits for whoever is inside
        with _making:
            parts = rooms.Parts(self, self.settings, self._incarnation, self.world, listed=not _asks_only)
        with self._guard:
            while self._early and not self._stopped:  # events that were triggered before, in their order
                name, body = self._early.take()
                publish, channel = self._way(name, False, parts)
                publish(channel, body, locked=True)
            self._parts = None if self._stopped else parts
            wishes = list(self.tables.subscriptions)
        say_what_is_wanted()
        if self._parts is None:
            parts.drain(0.0)
            parts.close()
            return
        for wish in wishes:
            if wish in self.tables.subscriptions:  # its module may have been reloaded meanwhile
                self._subscribe(wish, parts)
        while not self._stopped and not parts.start():  # the system may have no threads just now
            self._is_ready.set()  # whoever calls needs none of what is still to be begun
            time.sleep(_START_AGAIN)

    def stop(self, grace: float = GRACE) -> bool:
        """Drain, withdraw and close everything; whether all calls ended within `grace` seconds."""
        if self._early and self.started and not self._stopped:
            self._is_ready.wait(grace)  # a process may trigger an event and end at once
        with self._guard:
            if self._stopped:
                return True
            parts = self._parts
            self._stopped, self._closed = True, parts is None
        if parts is None:
            return True
        self.draining = True
        parts.home.announce()
        clean = parts.drain(grace)  # what runs may call, list and publish until it has ended
        if running := parts.serving.running:
            _log.warning(
                "calls that still ran %g s after this peer was asked to end: %d; their callers are told that they may have run",
                grace,
                running,
            )
        self._closed, self.caller = True, None
        parts.close()
        return clean

    def abandon(self) -> None:
        """In a forked child: close our copies of the parent's sockets, say nothing."""
        if self._parts is not None:
            self._parts.abandon()

    # -- opening up ------------------------------------------------------------------------------------------------

    def open_now(self, *, serves: bool = False) -> None:
        """The application calls, lists or triggers: ``__main__`` is ready. Or it serves: so is what is still being imported."""
        if not self._open.is_set():
            self.tables.imports.is_ready(all_of_it=serves)
            self._look.set()

    def _open_when_imported(self) -> None:
        """Until the defining modules have finished importing, selectors leave this peer alone."""
        while not self._stopped and not self.tables.imports.finished():
            self._look.wait(0.02)  # nobody tells when a module has been imported
            self._look.clear()
        self._open.set()
        with self._registered:
            self._registered.notify_all()
        self.announce()

    def wait_for_registration(self, there: Callable[[], bool], seconds: float) -> None:
        """While this peer is starting, wait for a registration to come."""
        with self._registered:
            self._registered.wait_for(lambda: there() or self._open.is_set(), seconds)

    @property
    def state(self) -> str:
        """What this peer says of itself: starting, open, or draining."""
        if self.draining:
            return "draining"
        return "open" if self._open.is_set() else "starting"

    def announce(self) -> None:
        """Something in the record has changed."""
        if self._parts is not None and not self._closed:
            self._parts.home.announce()

    # -- registrations ---------------------------------------------------------------------------------------------

    def register_connection(self, function: Callable[..., Any], tag: str | None = None) -> Connection:
        """Serve a function under a tag, as ``connect`` does; returns its registration."""
        if not callable(function):
            raise TypeError(f"register_connection takes a function, not {came(function)}")
        if tag is not None:
            tag = text(tag, "register_connection(…, tag) takes a str or nothing")
        if tag == "":
            raise ConfigError("register_connection(…, tag): an empty tag; leave it out, or give it a name")
        name, aliases = names_of(function, tag)
        connection = Connection(name, function, aliases=aliases)
        self.add_connection(connection)
        return connection

    def add_connection(self, connection: Connection) -> None:
        """Serve a connection."""
        if self.tables.add_connection(connection):
            _log.warning("tag %r registered twice: the later function is served", connection.tag)
        self._note(getattr(connection.function, "__module__", "__main__"))
        with self._registered:
            self._registered.notify_all()

    def register_flag(self, name: str, handler: Handler) -> None:
        """Run `handler(connection, foreign_peer_id)` when an answer is this flag."""
        name = text(name, "register_flag(name, …) takes a str")
        if not name:
            raise ConfigError("register_flag(name, …): an empty name")
        if not callable(handler):
            raise TypeError(f"register_flag({name!r:.100}, handler) takes a function, not {came(handler)}")
        for one in (NULL, NULL_RESPONSE) if name in {NULL, NULL_RESPONSE} else (name,):  # two names of one flag
            self.tables.add_flag(one, handler)

    def get_flag(self, name: str) -> Flag:
        """The flag to return from a connection, so that its caller runs the handler of that name."""
        return self.tables.flags.flag(text(name, "get_flag(name) takes a str"))

    def add_subscription(self, wish: SubscriptionWish) -> None:
        """Subscribe, now or as soon as this peer has started; what a reloaded module had subscribed is replaced."""
        with self._guard:
            replaced = self.tables.add_subscription(wish)
            parts = self._parts
        self._note(wish.module)
        if parts is not None:
            self._subscribe(wish, parts, replaced)

    def _subscribe(self, wish: SubscriptionWish, parts: Parts, replaced: Iterable[SubscriptionWish] = ()) -> None:
        subscription = self._subscribed[wish] = wish.make(self, parts)
        subscription.owner = self
        instead = [self._subscribed.pop(earlier) for earlier in replaced if earlier in self._subscribed]
        parts.subscriber.add(subscription, instead_of=instead)

    @property
    def subscriptions(self) -> list[Subscription]:
        """What is subscribed, which Redis may not have confirmed yet."""
        return list(self._subscribed.values())

    def _note(self, module: str) -> None:
        self.tables.imports.note(module)
        self.announce()

    # -- what it says of itself ------------------------------------------------------------------------------------

    @property
    def id(self) -> bytes:
        """This peer's id; others find it as soon as ``hubnet.stats()["registered"]`` is true."""
        return self.ready().id

    @property
    def host(self) -> str:
        """The host that others use."""
        return self.ready().host

    @property
    def port(self) -> int:
        """The port that others use."""
        return self.ready().port

    @property
    def group(self) -> str:
        """This peer's group; "None" is no group."""
        return self.ready().group

    @property
    def hub(self) -> bool:
        """Whether this peer is a hub."""
        return self.settings.is_hub

    @property
    def labels(self) -> dict[str, Any]:
        """What ``hubnet.describe`` has said of this peer."""
        return {name: list(label) if isinstance(label, list) else label for name, label in self.tables.labels.items()}

    def describe(self, labels: dict[str, Any]) -> None:
        """Change some labels, for the register and for whoever is called from now on."""
        if self.tables.describe(labels):
            self.announce()
            if self._parts is not None:
                self._parts.caller.greet_anew()

    @property
    def friendly_id(self) -> dict[str, Any]:
        """group, host, port, hub, executable, user."""
        parts = self._parts or self.ready()
        return {
            "group": parts.group, "host": parts.host, "port": parts.port, "hub": self.settings.is_hub,
            "executable": sys.executable, "user": _user(),
        }  # fmt: skip

    def record(self) -> dict[str, Any]:
        """What the register is told of this peer."""
        import socket

        parts = self._parts
        assert parts is not None
        self._revision += 1
        live = sorted({one.event for one in self.subscriptions if parts.subscriber.is_live(one)})
        return {
            **self.friendly_id, "id": parts.id.decode(), "hostname": socket.gethostname(), "pid": os.getpid(),
            "incarnation": self._incarnation.hex(), "state": self.state, "reachable": True, "reason": "", "labels": self.labels,
            "connections": self.tables.connections.tags(), "subscriptions": live, "version": VERSION,
            "since": self._since, "machine": parts.machine, "revision": self._revision,
        }  # fmt: skip

    @property
    def CONNECTIONS(self) -> dict[str, Callable[..., Any]]:
        """Functions by tag."""
        return {connection.tag: connection.function for connection in self.tables.connections}

    @property
    def SUBSCRIPTIONS(self) -> list[str]:
        """Events that this peer hears."""
        return sorted({wish.event for wish in self.tables.subscriptions})

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
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"decode(data) takes the bytes of encode(), not {came(data)}")
        return codec.decode(data)

    def stats(self) -> dict[str, Any]:
        """Counters by name, and what is open and waiting now."""
        now = self._parts.numbers() if self._parts is not None else {}
        return {**self.counters.snapshot(), **now, "state": self.state}

    # -- calling and publishing ------------------------------------------------------------------------------------

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
        parts = self.ready(None if timeout is None else begin + timeout)
        self.open_now()
        self.caller = parts.caller
        if target == (parts.host, parts.port):
            target = parts.id
        if isinstance(target, tuple):
            limit = self.settings.timeout if timeout is None else min(timeout, self.settings.timeout)
            target = parts.directory.who_is(*target, connection.tag, begin + limit)
        if target == parts.id:
            return self._run_here(connection, args, kwargs, None if timeout is None else begin + timeout)
        if timeout is not None:
            timeout = max(0.001, timeout - (time.monotonic() - begin))
        return parts.caller.call(connection, target, args, kwargs, timeout)

    def _run_here(
        self, connection: Connection, args: tuple[Any, ...], kwargs: dict[str, Any], deadline: float | None
    ) -> Any:
        """A call to our own id; its deadline is that of the calls it makes."""
        known = self.tables.connections
        connection = known.by_name.get(connection.name, connection)
        if connection.function is elsewhere:
            friendly = {**self.friendly_id, "connections": known.tags()}
            return self.tables.flags.run(INVALID_CONNECTION, connection.tag, friendly)
        outside = here.call
        if deadline is not None:
            here.call = outside._replace(deadline=min(deadline, outside.deadline or deadline))
        try:
            result = connection.function(*args, **kwargs)
            if type(result) is CoroutineType:
                from hubnet.links.running import awaited

                result = awaited(result)
            return self.answered_here(connection, result) if type(result) is Flag else result
        finally:
            here.call = outside

    def answered_here(self, connection: Connection, flag: Flag) -> Any:
        """A connection that ran here answered with a flag."""
        return self.tables.flags.run(flag.name, connection.tag, self.friendly_id)

    def declare_event(self, name: str, durable: bool | str) -> None:
        """Note whether an event of this peer is durable.

        Raises:
            ConfigError: it was declared otherwise before.
        """
        before = self.tables.declare_event(name, durable)
        if before != durable:
            raise ConfigError(
                f"event {name!r:.100}: durable={durable!r} here, durable={before!r} before in this process; declare it alike"
            )

    def publish_event(self, name: str, body: bytes, durable: bool | str = False) -> None:
        """Hand an event to the outbox; before this peer has started it waits here.

        Raises:
            EncodeError: it is over HUBNET_EVENT_LIMIT.
        """
        if len(body) > self.settings.event_limit:
            raise EncodeError(
                f"event {name!r}: {len(body)} bytes; at most {self.settings.event_limit} travel: send a reference, or call"
            )
        parts = self._parts
        if parts is None or self._closed:
            self._publish_early(name, body, durable)
            return
        way = self._ways.get(name)
        if way is None:
            self.open_now()
            way = self._way(name, durable, parts)
        publish, channel = way
        publish(channel, body)

    def flush(self, timeout: float) -> bool:
        """Wait until Redis has taken what was published; whether it did in time, and nothing was lost since the last time."""
        deadline = time.monotonic() + timeout
        if self._early and not self._is_ready.wait(timeout):
            return False
        parts = self._parts
        taken = parts is None or parts.flush(deadline)
        numbers = self.counters.snapshot()
        lost = sum(numbers.get(name, 0) for name in _LOST_FOR_GOOD)
        with self._guard:
            before, self._told_of = self._told_of, lost
        return taken and lost == before

    def _way(self, name: str, durable: bool | str, parts: Parts) -> tuple[Callable[..., None], bytes]:
        """Whom to hand an event's bodies, and its channel."""
        durable = self.tables.durable.setdefault(name, durable)
        channel = parts.names.event(parts.group, name).encode()
        if durable == "replicated":
            parts.durable.replicate(channel)
        way = self._ways[name] = (parts.durable.publish if durable else parts.publisher.publish), channel
        return way

    def _publish_early(self, name: str, body: bytes, durable: bool | str) -> None:
        self.tables.durable.setdefault(name, durable)
        self.start()
        self.open_now()
        if self._failure is not None:
            raise self._failure.with_traceback(None)  # it is raised again and again
        with self._guard:
            if self._parts is None and not self._stopped:
                self._early.keep(name, body, self.settings.outbox)
                return
        if self._closed:
            raise ConfigError(f"event {name!r} after this peer was stopped; a new process makes a new one")
        self.publish_event(name, body, durable)


# -- this process's one peer -------------------------------------------------------------------------------------------

_peer = _Peer()
_asks_only = False
_making = threading.Lock()


def Peer(*args: Any, **kwargs: Any) -> _Peer:
    """This process's peer, started on first use; inside a connection, the peer that runs it."""
    peer = process_peer()
    if not peer.started:
        peer.start()
    return peer


def call(
    connection: Connection, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None
) -> Any:
    """Run a connection on a peer."""
    depth, deadline, serving, _ = here.call
    peer: _Peer = _peer if serving is None else serving
    caller = peer.caller
    if type(target) is not bytes:
        target = peer_id_of(target)
    if caller is not None and not kwargs and timeout is None and deadline is None:
        known = caller.pools.get(target)
        if known is not None:
            return caller.call_plain(connection, known, args, depth + 1)
    return peer.call(connection, peer_id_of(target), args, kwargs, timeout)


def process_peer() -> _Peer:
    """Whose business this thread is about, started or not: the peer whose call it runs, else this process's one."""
    serving: _Peer | None = here.call.peer
    return _peer if serving is None else serving


@contextmanager
def stand_in(peer: _Peer) -> Iterator[None]:
    """Let another peer be this process's one for a while; for nets in memory."""
    global _peer
    before, _peer = _peer, peer
    try:
        yield
    finally:
        _peer = before


def autostart() -> None:
    """A function was registered: become a peer, unless the user or the surroundings say no."""
    peer = process_peer()
    if not peer.started and autostarting.wanted():
        with suppress(ConfigError):  # the start will tell
            environment.settings()  # from now on it is too late to configure
        peer.start()


def only_ask() -> None:
    """This process asks and calls but is not listed; for commands. To be called before the peer starts."""
    global _asks_only
    _asks_only = True


def _user() -> str:
    import getpass

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


# A fork in the middle of an import, or of tempfile's first look round, would leave a lock taken in the child for good: forks
# wait until the parts are made.
os.register_at_fork(before=_making.acquire, after_in_parent=_making.release, after_in_child=_making.release)
os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _peer.stop(grace=1.0))
