"""Names in Redis: channels for events, keys for the register.

Groups and event names are percent-encoded with no safe characters but letters, digits and ``_.-~``, so that no
name leaks into another channel, key or pattern. The namespace is the hash tag of every key: one Cluster slot.
"""

from __future__ import annotations

from functools import lru_cache

from hubnet.core.identity import came, text
from hubnet.errors import ConfigError


@lru_cache(maxsize=1024)
def encoded(name: str) -> str:
    """A group or event name as it stands in channels and keys."""
    from urllib.parse import quote  # 6 ms: names are needed once a peer has started

    return quote(name, safe="")


def event_name(name: object) -> str:
    """A valid event name.

    Raises:
        TypeError, ConfigError: not a str, or none that travels; empty; with a star.
    """
    name = text(name, "an event's name is a str")
    if not name or "*" in name:
        raise ConfigError(f"an event's name may not be empty or contain '*', not {came(name)}")
    return name


class Names:
    """All channels and keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        self._events = f"hubnet:{namespace}:event:"
        self.presence = f"hubnet:{namespace}:presence"
        prefix = f"hubnet:{{{namespace}}}:"
        self._peers = f"{prefix}peers:"
        self.leases = f"{prefix}leases"
        self.hubs = f"{prefix}hubs"
        self.groups = f"{prefix}groups"
        self.version = f"{prefix}version"
        self._streams = f"{prefix}stream:"
        self.streams = f"{self._streams}index"

    def event(self, group: str, name: str) -> str:
        """The channel of one group's event."""
        return f"{self._events}{encoded(group)}:{encoded(name)}"

    def event_everywhere(self, name: str) -> str:
        """The pattern that matches the event in every group."""
        return f"{self._events}*:{encoded(name)}"

    def parse_event(self, channel: str) -> tuple[str, str]:
        """Group and event of a channel.

        Raises:
            ValueError: this is no event's channel of this namespace.
        """
        group, colon, name = channel.removeprefix(self._events).partition(":")
        if not channel.startswith(self._events) or not colon or ":" in name:
            raise ValueError(f"not an event's channel: {channel!r}")
        from urllib.parse import unquote

        return unquote(group), unquote(name)

    def stream(self, channel: str) -> str:
        """The stream that keeps what went by on an event's channel; `streams` is the one that lists such channels."""
        return self._streams + channel.removeprefix(self._events)

    def peers(self, group: str) -> str:
        """The hash of a group's records."""
        return self._peers + encoded(group)
