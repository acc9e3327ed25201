"""What a process has registered; it outlives the peer in a forked child."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hubnet.autostart import Imports
from hubnet.core.connections import Connections
from hubnet.core.flags import Flags

if TYPE_CHECKING:
    from hubnet.bus.subscription import Subscription


class SubscriptionWish(NamedTuple):
    """A subscription that was asked for, perhaps before the peer has started.

    Attributes:
        event: its name.
        make: makes the subscription for a peer and its parts.
    """

    event: str
    make: Callable[[Any, Any], Subscription]


class Tables:
    """Connections, flags, subscriptions, and the modules that they came from."""

    def __init__(self) -> None:
        self.connections = Connections()
        self.flags = Flags()
        self.subscriptions: list[SubscriptionWish] = []
        self.imports = Imports()
