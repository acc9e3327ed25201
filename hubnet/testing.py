"""Testing code that runs on hubnet: a whole net in this process, without Redis and without sockets.

    from hubnet.testing import LocalNet
    from worker import render                       # the module under test, with its @hubnet.connect functions

    def test_a_frame_is_rendered():
        with LocalNet() as net:
            worker = net.peer(render, group="render")
            assert render("shot", 12, peer=worker.id) == "shot.0012.exr"

Everything but the bottom is the real thing: handshakes, frames, envelopes, leases, hubs. Inside the ``with`` block this
process's peer is a member of the net, so what was registered at import is served, and every function of hubnet works as it does
on machines. A test sets faults on the net: it may cut cables, stop or kill peers, slow things down, restart the broker.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import hubnet
from hubnet import defaults, environment
from hubnet import peer as _peers
from hubnet.core.connections import Connection
from hubnet.core.identity import came, host_name, whole
from hubnet.core.keys import new_token
from hubnet.core.targets import LONGEST, boolean
from hubnet.errors import NoHub
from hubnet.links.context import NO_CALL, here
from hubnet.memory.broker import HOST as _BROKER
from hubnet.memory.broker import Server
from hubnet.memory.network import Network
from hubnet.memory.world import MemoryWorld
from hubnet.tables import Tables

_START_LIMIT = 10.0
_MOST_HUBS, _MOST_MESSAGES = 1000, 1_000_000_000


class LocalPeer:
    """One peer of a net in memory, with the decorators of hubnet as methods.

    ``with peer:`` what this thread does is this peer's doing: it calls, lists and publishes as that one, and decorators
    register with it.

    Attributes:
        name: for faults and for people.
        id: its peer id.
        host: that it is on; in memory, a name.
        group: its group.
    """

    def __init__(self, name: str, peer: _peers._Peer) -> None:
        self.name = name
        self.id, self.host, self.group = b"", "", ""
        self._peer = peer
        self._outside = threading.local()  # several threads may act as one peer

    def __repr__(self) -> str:
        return f"<{self.name} of a net in memory>"

    @property
    def registered(self) -> bool:
        """Whether the register has its record, as far as it knows."""
        return bool(self._peer.stats().get("registered"))

    def stats(self) -> dict[str, Any]:
        """Its counters, as ``hubnet.stats``."""
        return self._peer.stats()

    def serve(self, *functions: Callable[..., Any]) -> None:
        """Serve these functions: decorated with ``hubnet.connect`` (then under their tags, wherever that was) or plain.

        Raises:
            TypeError, ValueError: one of them cannot be served.
        """
        _check_functions(functions)
        for function in functions:
            connection = getattr(function, "connection", None)
            if isinstance(connection, Connection):
                self._peer.add_connection(connection.copied())
            else:
                with self:
                    hubnet.connect(function)

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """As ``hubnet.connect``, on this peer."""
        with self:
            return self._registering(hubnet.connect(*args, **kwargs))

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """As ``hubnet.event``, published by this peer: what it returns may be called anywhere."""
        decorate = self._registering(hubnet.event(*args, **kwargs))
        return lambda function: self._as_this(decorate(function))

    def subscribe(self, *args: Any, **kwargs: Any) -> Any:
        """As ``hubnet.subscribe``, on this peer."""
        return self._registering(hubnet.subscribe(*args, **kwargs))

    def flag(self, name: str) -> Any:
        """As ``hubnet.flag``, on this peer."""
        return self._registering(hubnet.flag(name))

    def _registering(self, decorator: Any) -> Any:
        """A decorator that registers here; what is no decorator any more comes back as it is."""
        if hasattr(decorator, "connection"):
            return decorator

        def decorate(function: Callable[..., Any]) -> Any:
            with self:
                return decorator(function)

        return decorate

    def _as_this(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return act

    def __enter__(self) -> LocalPeer:
        self._outside.__dict__.setdefault("calls", []).append(here.call)
        here.call = NO_CALL._replace(peer=self._peer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        here.call = self._outside.calls.pop()


class LocalNet:
    """A net in memory.

    Args:
        hubs: how many it begins with; with none, nobody is registered until there is one.
        settings: of all its peers, as for ``hubnet.configure``: ``lease=1.0``, ``timeout=5.0``, ``thread_limit=4``.

    Raises:
        TypeError, ValueError: naming the parameter; so does every method.

    Attributes:
        me: this process's peer while the net is open.
        hubs: those that were started, in order.
    """

    def __init__(self, *, hubs: int = 1, **settings: Any) -> None:
        whole(hubs, "LocalNet(hubs=…) is a whole number", 0, _MOST_HUBS)
        usual = {"secret": new_token(os.urandom(32)), "namespace": "memory", "lease": 1.0, "timeout": 5.0}
        self._settings = {**usual, **settings}
        environment.made("LocalNet", **self._settings)
        self._network = Network()
        self._server = Server(self._network)
        self._peers: list[LocalPeer] = []
        self._ended: list[LocalPeer] = []
        self._numbers = itertools.count(1)
        self._first_hubs = hubs
        self._imported = _peers.process_peer().tables  # what modules registered
        self._stand_in: Any = None
        self._state = "new"
        self.hubs: list[LocalPeer] = []
        self.me: LocalPeer

    def __enter__(self) -> LocalNet:
        if self._state != "new":
            raise RuntimeError("a LocalNet is used once: make a new one")
        self._state = "open"
        self._server.start()
        try:
            for _ in range(self._first_hubs):
                self.hub()
            self.me = self._make("me", Tables(self._imported))
            self._stand_in = _peers.stand_in(self.me._peer)
            self._stand_in.__enter__()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop every peer, hubs last, and the broker."""
        self._state = "closed"
        if self._stand_in is not None:
            self._stand_in.__exit__(None, None, None)
            self._stand_in = None
        self.mend()
        for one in reversed(self._peers):
            one._peer.stop(grace=1.0)
        self._peers.clear()
        self._server.stop()
        self._network.close()

    # -- who is there ----------------------------------------------------------------------------------------------

    def peer(
        self, *functions: Callable[..., Any], group: str = "", host: str | None = None, **settings: Any
    ) -> LocalPeer:
        """A further peer that serves these functions; registered, unless the net has no hub so far.

        Args:
            functions: decorated with ``hubnet.connect`` (then under their tags) or plain.
            group: its group.
            host: the host that it is on; one of its own by default.
            settings: its own, beside or instead of the net's.

        Raises:
            NoHub: no hub has registered it in time.
        """
        return self._make("peer", None, *functions, host=host, group=group, **settings)

    def hub(self, *, group: str = "", host: str | None = None, **settings: Any) -> LocalPeer:
        """A further hub; its group, host and settings as of a peer."""
        made = self._make("hub", None, host=host, group=group, is_hub=True, **settings)
        self.hubs.append(made)
        return made

    def _make(self, kind: str, tables: Tables | None, *functions: Callable[..., Any], **settings: Any) -> LocalPeer:
        if self._state != "open":
            raise RuntimeError("this LocalNet is not open: its peers are made inside `with LocalNet() as net:`")
        _check_functions(functions)
        made = self._made(kind, tables, **settings)
        made.serve(*functions)
        self._peers.append(made)
        made._peer.start()
        parts = made._peer.ready(time.monotonic() + _START_LIMIT)
        made._peer.open_now(serves=True)
        made._peer.wait_for_registration(lambda: False, _START_LIMIT)  # open before anybody hears of it
        made.id, made.host, made.group = parts.id, parts.host, parts.group
        somebody_registers = self.hubs or made._peer.hub
        if somebody_registers and not parts.home.registered.wait(_START_LIMIT):
            raise NoHub(f"{made.name} was not registered in time: {parts.home.trouble or 'is there a hub?'}")
        return made

    def _made(self, kind: str, tables: Tables | None, *, host: str | None = None, **settings: Any) -> LocalPeer:
        """A peer that nobody has started."""
        if host is not None:
            host = host_name(host)
        name = kind if kind == "me" else f"{kind}-{next(self._numbers)}"
        told = environment.made("LocalNet", **{**self._settings, **settings})
        world = MemoryWorld(self._server, name, host or name)
        return LocalPeer(name, _peers._Peer(tables or self._furnished(), told, world))

    def _furnished(self) -> Tables:
        """Tables with what every peer has, and the flags of the modules that were imported: all of them know these."""
        tables = Tables()
        defaults.furnish(tables)
        for name, handler in self._imported.flags.items():
            tables.flags.setdefault(name, handler)
        return tables

    # -- faults ----------------------------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The broker, for its faults."""
        return Broker(self._server)

    def cut(self, one: LocalPeer | Broker, other: LocalPeer | Broker | None = None) -> None:
        """Pull the cable between two, or between one and everybody: what is sent waits, nobody is told."""
        for a, b in self._cables("cut", one, other):
            self._network.cut(a, b)

    def mend(self, one: LocalPeer | Broker | None = None, other: LocalPeer | Broker | None = None) -> None:
        """Plug cables in again, resume who was paused: between two, of one, or all of them."""
        if one is None and other is not None:
            one, other = other, None
        ones = [self._node("mend", one)] if one is not None else self._nodes()
        cables = [list(self._cables("mend", each, other)) for each in ones]
        for each, its in zip(ones, cables, strict=True):
            self._network.resume(each.name)
            for a, b in its:
                self._network.mend(a, b)
                self._network.delay(a, b, 0.0)

    def delay(self, seconds: float, one: LocalPeer | Broker, other: LocalPeer | Broker | None = None) -> None:
        """Let everything between two, or between one and everybody, take so long; 0: no longer."""
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError(f"delay(seconds, …) takes a number of seconds, not {came(seconds)}")
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"delay(seconds, …) takes 0 seconds or more, at most {LONGEST:.0f}, not {came(seconds)}")
        for a, b in self._cables("delay", one, other):
            self._network.delay(a, b, seconds)

    def drop(self, one: LocalPeer | Broker, other: LocalPeer | Broker | None = None) -> None:
        """Reset the links between two, or of one: they may dial again at once."""
        for a, b in self._cables("drop", one, other):
            self._network.break_links(a, b)

    def pause(self, peer: LocalPeer) -> None:
        """As SIGSTOP: its kernel accepts and buffers, it reads and sends nothing. ``mend`` lets it go on."""
        self._network.stop(self._member("pause", peer).name)

    def stop(self, peer: LocalPeer) -> None:
        """As SIGTERM: it finishes what it runs, says goodbye and is gone."""
        self._end("stop", peer)
        peer._peer.stop()

    def kill(self, peer: LocalPeer) -> None:
        """As SIGKILL: no goodbye, its links are reset, its address refuses."""
        self._network.kill(self._member("kill", peer).name)
        self._end("kill", peer)
        peer._peer.stop(grace=0.0)

    def _end(self, method: str, peer: LocalPeer) -> None:
        self._peers.remove(self._member(method, peer))
        self._ended.append(peer)

    def _member(self, method: str, peer: object) -> LocalPeer:
        """A peer that lives in this net.

        Raises:
            TypeError, ValueError: it is none.
        """
        if not isinstance(peer, LocalPeer):
            raise TypeError(
                f"{method}() takes a peer of this net, as net.peer() and net.hub() return it, not {came(peer)}"
            )
        if peer in self._ended:
            raise ValueError(f"{method}(): {peer.name} has ended; net.peer() makes another one")
        if peer not in self._peers:
            raise ValueError(f"{method}(): {peer.name} is a peer of another net")
        return peer

    def _node(self, method: str, one: object) -> LocalPeer | Broker:
        """Whom a cable leads to: a peer of this net, or its broker."""
        if isinstance(one, Broker):
            if one._server is not self._server:
                raise ValueError(f"{method}(): that is the broker of another net")
            return one
        if not isinstance(one, LocalPeer):
            raise TypeError(f"{method}() takes peers of this net or net.broker, not {came(one)}")
        return self._member(method, one)

    def _nodes(self) -> list[LocalPeer | Broker]:
        return [*self._peers, self.broker]

    def _cables(self, method: str, one: object, other: object) -> Iterator[tuple[str, str]]:
        one = self._node(method, one)
        others = [self._node(method, other)] if other is not None else self._nodes()
        return ((one.name, each.name) for each in others if each.name != one.name)


def _check_functions(functions: tuple[object, ...]) -> None:
    for function in functions:
        if not callable(function):
            raise TypeError(f"a peer serves functions, not {came(function)}")


class Broker:
    """The broker of a net in memory."""

    name = _BROKER

    def __init__(self, server: Server) -> None:
        self._server = server

    def stop(self) -> None:
        """Be gone: connections break, nobody can dial."""
        self._server.stop()

    def start(self, *, forget: bool = False) -> None:
        """Be there again, with the register that there was, or with none."""
        if boolean(forget, "forget"):
            self._server.forget()
        self._server.start()

    def restart(self, *, forget: bool = False) -> None:
        """Go and come back."""
        boolean(forget, "forget")
        self.stop()
        self.start(forget=forget)

    def lose(self, messages: int) -> None:
        """Hand the next messages to nobody."""
        self._server.lose(whole(messages, "lose(messages) takes a whole number", 0, _MOST_MESSAGES))
