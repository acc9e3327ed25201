"""Flags: named answers out of band, which make the caller run a handler instead of getting a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubnet.core.connections import untagged
from hubnet.errors import UnknownFlag

NULL, NULL_RESPONSE, INVALID_CONNECTION = "NULL", "NULL_RESPONSE", "INVALID_CONNECTION"
Handler = Callable[[str, dict[str, Any]], Any]


class Flag:
    """What a connection returns to make its caller run the handler of this name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<flag {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flag) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Flag, self.name))


class Flags(dict[str, Handler]):
    """Handlers by flag name."""

    def flag(self, name: str) -> Flag:
        """The flag of that name.

        Raises:
            UnknownFlag: no handler is registered for it here.
        """
        name = NULL if name == NULL_RESPONSE else name
        if name not in self:
            raise UnknownFlag(
                f"no flag {name!r:.100} here; there are: {', '.join(sorted(self)):.1000}. Register it with @hubnet.flag"
            )
        return Flag(name)

    def run(self, name: str, connection: str, foreign: dict[str, Any]) -> Any:
        """Run the handler: the tag that was called, and the other peer's friendly id."""
        handler = self.get(name)
        if handler is None:
            raise UnknownFlag(
                f"{untagged(connection)!r} ran and answered with flag {name!r}, which has no handler here: register one with "
                f"@hubnet.flag({name!r})"
            )
        return handler(connection, foreign)
