"""The flag decorator: a handler that an answer out of band makes the caller run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hubnet import peer as peers
from hubnet.core.identity import came, text

Function = TypeVar("Function", bound=Callable[[str, dict[str, Any]], Any])


def flag(name: str) -> Callable[[Function], Function]:
    """Register ``handler(connection, foreign_peer_id)`` for a flag.

    A connection that returns ``hubnet.Peer().get_flag(name)`` makes its caller run the caller's own handler, and the call
    returns what that returns.

    Args:
        name: of the flag.

    Raises:
        TypeError, ConfigError: there can be no flag of that name, or what is decorated is no function.
    """
    name = text(name, "a flag's name is a str")
    if not name:
        raise TypeError("a flag's name is a str of at least one character, not ''")

    def decorate(handler: Function) -> Function:
        if not callable(handler):
            raise TypeError(f"flag({name!r:.100}) takes a function, not {came(handler)}")
        peers.process_peer().register_flag(name, handler)
        return handler

    return decorate
