"""What a process has registered; it outlives the peer in a forked child."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hubnet.autostart import Imports
from hubnet.core.connections import Connections
from hubnet.core.flags import Flags

if TYPE_CHECKING:
    from hubnet.bus.subscription import Subscription


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
        self._is_of_the_module = "<locals>" not in getattr(handler, "__qualname__", "<locals>")
        self._load = getattr(sys.modules.get(self.module), "__spec__", None)

    def replaces(self, earlier: SubscriptionWish) -> bool:
        """Whether the module has been loaded anew since, so that this is the handler of the same text, or of a newer one."""
        both = earlier._is_of_the_module and self._is_of_the_module and earlier.module == self.module
        return both and earlier._load is not self._load


class Tables:
    """Connections, flags, subscriptions, which events are durable, and the modules that all of these came from."""

    def __init__(self) -> None:
        self.connections = Connections()
        self.flags = Flags()
        self.subscriptions: list[SubscriptionWish] = []
        self.durable: dict[str, bool | str] = {}
        self.imports = Imports()
