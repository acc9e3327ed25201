"""The flag decorator: a handler that an answer out of band makes the caller run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hubnet import peer as peers

Function = TypeVar("Function", bound=Callable[[str, dict[str, Any]], Any])


def flag(name: str) -> Callable[[Function], Function]:
    """Register ``handler(connection, foreign_peer_id)`` for a flag.

    A connection that returns ``hubnet.Peer().get_flag(name)`` makes its caller run the caller's own handler, and the call
    returns what that returns.

    Args:
        name: of the flag.

    Raises:
        TypeError: the name is no str, or what is decorated is no function.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"a flag's name is a str, not {type(name).__name__}: {name!r:.100}")

    def decorate(handler: Function) -> Function:
        if not callable(handler):
            raise TypeError(f"flag({name!r}) takes a function, not {type(handler).__name__}: {handler!r:.100}")
        peers.process_peer().register_flag(name, handler)
        return handler

    return decorate
