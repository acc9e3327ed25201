"""What a process has registered; it outlives the peer in a forked child."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from hubnet.autostart import Imports
from hubnet.core.connections import Connection, Connections
from hubnet.core.flags import Flags, Handler
from hubnet.core.labels import Label, changed

if TYPE_CHECKING:
    from hubnet.bus.subscription import Subscription


class Origin(NamedTuple):
    """The text that registers something: the innermost one of a module that is being run, whoever's functions it uses for that.

    Attributes:
        names: what that module defines; {}: none is being run.
        load: differs when a module is loaded anew; ``__main__`` may be many texts, such as the cells of a notebook.
        importing: whether it is being imported, or reloaded.
    """

    names: dict[str, Any]
    load: object = None
    importing: bool = False

    @classmethod
    def now(cls) -> Origin:
        """Of whoever calls."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_name != "<module>":
            frame = frame.f_back
        if frame is None:
            return cls({})
        names = frame.f_globals
        if names.get("__name__") == "__main__":
            return cls(names, frame.f_code)
        module = sys.modules.get(str(names.get("__name__")))
        spec = names.get("__spec__")
        return cls(names, spec, spec is not None and getattr(module, "__dict__", None) is names)

    @property
    def is_main(self) -> bool:
        """Whether it is the program's own, or what is typed into it."""
        return self.names.get("__name__") == "__main__"


class SubscriptionWish:
    """A subscription that was asked for, perhaps before the peer has started.

    Attributes:
        event: its name.
        make: makes the subscription for a peer and its parts.
        module: that defines its handler.
    """

    def __init__(self, event: str, make: Callable[[Any, Any], Subscription], handler: Callable[..., Any]) -> None:
        self.event = event
        self.make = make
        self.module: str = getattr(handler, "__module__", None) or "__main__"
        self._handler = handler
        self._name = _name_in_its_module(handler)
        self._load = getattr(sys.modules.get(self.module), "__spec__", None)
        self._origin = Origin.now()

    def replaces(self, earlier: SubscriptionWish) -> bool:
        """Whether this comes of the same text, run once more, or of a newer one in its place.

        A module that is loaded anew is there for all that it subscribed before. Otherwise it is a matter of the handler, by name
        and event: of a module that was loaded anew, or of ``__main__`` where another text of it is run in the same place.
        """
        mine, its = self._origin, earlier._origin
        if mine.names and mine.names is its.names and not mine.is_main and mine.load is not its.load:
            return True
        if not self._name or (self.event, self.module, self._name) != (earlier.event, earlier.module, earlier._name):
            return False
        if self._handler is earlier._handler:
            return False  # it is wanted twice, perhaps for different peers
        if self.module == "__main__":
            return mine.is_main and mine.names is its.names and mine.load is not its.load
        return self._load is not earlier._load


def _name_in_its_module(function: Callable[..., Any]) -> str:
    """The name that a ``def`` gave it there; "": none did."""
    name = function.__qualname__ if isinstance(function, FunctionType) else ""
    return "" if "<" in name else name  # <lambda>, <locals>


_describing = threading.Lock()


class Tables:
    """Connections, flags, subscriptions, which events are durable, labels, and the modules that all of these came from.

    Args:
        beyond: other tables, from which these begin as a copy. What modules register here while they are imported is theirs
            as well: nobody imports them a second time.
    """

    def __init__(self, beyond: Tables | None = None) -> None:
        self.connections = Connections()
        self.flags: Flags = Flags(beyond.flags if beyond else {})
        self.subscriptions: list[SubscriptionWish] = list(beyond.subscriptions if beyond else ())
        self.durable: dict[str, bool | str] = dict(beyond.durable if beyond else {})
        self.labels: dict[str, Label] = dict(beyond.labels if beyond else {})
        self.imports = Imports()
        self._beyond = beyond
        for connection in beyond.connections if beyond else ():
            self.connections.add(connection.copied())

    def add_connection(self, connection: Connection) -> bool:
        """Whether it replaced another one under the same tag."""
        if beyond := self._tables_of_imports():
            beyond.add_connection(connection.copied())
        return self.connections.add(connection)

    def add_subscription(self, wish: SubscriptionWish) -> list[SubscriptionWish]:
        """The earlier ones in whose place it is."""
        if beyond := self._tables_of_imports():
            beyond.add_subscription(wish)
        replaced = [earlier for earlier in self.subscriptions if wish.replaces(earlier)]
        for earlier in replaced:
            self.subscriptions.remove(earlier)
        self.subscriptions.append(wish)
        return replaced

    def add_flag(self, name: str, handler: Handler) -> None:
        """The later handler of a name is the one that runs."""
        if beyond := self._tables_of_imports():
            beyond.add_flag(name, handler)
        self.flags[name] = handler

    def declare_event(self, name: str, durable: bool | str) -> bool | str:
        """How it was declared at first."""
        if beyond := self._tables_of_imports():
            beyond.declare_event(name, durable)
        return self.durable.setdefault(name, durable)

    def describe(self, labels: dict[str, Any]) -> bool:
        """Change some labels; whether that made a difference."""
        if beyond := self._tables_of_imports():
            beyond.describe(labels)
        with _describing:
            before, self.labels = self.labels, changed(self.labels, labels)
            return repr(self.labels) != repr(before)  # True is not 1

    def _tables_of_imports(self) -> Tables | None:
        return self._beyond if self._beyond and Origin.now().importing else None
