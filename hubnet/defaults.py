"""What every peer brings along: four connections, statistics, and the flags NULL and INVALID_CONNECTION."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from hubnet import peer as peers
from hubnet.connect import Connected, callable_connection
from hubnet.core.connections import Connection, path_tag, untagged
from hubnet.core.flags import INVALID_CONNECTION, NULL, NULL_RESPONSE
from hubnet.core.identity import came, text
from hubnet.errors import YES, InvalidConnection
from hubnet.tables import Tables

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_EVERYBODYS: list[Connection] = []


def _builtin(function: Callable[Parameters, Result]) -> Connected[Parameters, Result]:
    connection = Connection(
        path_tag("hubnet", function.__name__), function, idempotent=True, counted=False, builtin=True
    )
    _EVERYBODYS.append(connection)
    return callable_connection(function, connection)


@_builtin
def info(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Friendly id and labels of a peer: ``info(peer=…)``."""
    return {**peers.Peer().friendly_id, "labels": peers.Peer().labels}


@_builtin
def connections(*args: Any, **kwargs: Any) -> dict[str, dict[str, Any]]:
    """What a peer serves: ``{tag: {module, name, signature, doc}}``."""
    listed = peers.Peer().tables.connections
    return {connection.tag: _described(connection.function) for connection in listed if not connection.builtin}


def _described(function: Callable[..., Any]) -> dict[str, Any]:
    import inspect  # 10 ms: only who describes needs it

    try:
        signature = str(inspect.signature(function))
    except (TypeError, ValueError):  # some C functions have none
        signature = "(...)"
    name = getattr(function, "__qualname__", repr(function))
    return {
        "module": function.__module__,
        "name": name,
        "signature": signature,
        "doc": inspect.getdoc(function) or "",
    }


@_builtin
def pass_through(*args: Any, **kwargs: Any) -> Any:
    """Arguments come back as they were: one argument bare, otherwise ``(args, kwargs)``."""
    return args[0] if len(args) == 1 and not kwargs else (args, kwargs)


@_builtin
def null(*args: Any, **kwargs: Any) -> Any:
    """Answer with the flag NULL."""
    return peers.Peer().get_flag(NULL)


@_builtin
def stats(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Counters of a peer by name, and what is open and waiting now; docs/statistics.md has them all."""
    return peers.Peer().stats()


def null_response(connection: str, foreign_peer_id: dict[str, Any]) -> str:
    """The handler of the flag NULL: returns "NULL"."""
    _check_told(connection, foreign_peer_id)
    return NULL


def invalid_connection(connection: str, foreign_peer_id: dict[str, Any]) -> Any:
    """The handler of the flag INVALID_CONNECTION: raises, naming the peer, the tag, and those that it has.

    The peer itself tells those that it has, in ``foreign_peer_id``; a function that ran and returned this flag tells none.
    """
    connection = _check_told(connection, foreign_peer_id)
    tags = foreign_peer_id.get("connections")
    if tags is not None and not (isinstance(tags, (list, tuple)) and all(isinstance(tag, str) for tag in tags)):
        raise TypeError(f"foreign_peer_id: its connections are a list of tags (str), not {came(tags)}")
    where = f"{foreign_peer_id.get('host')}:{foreign_peer_id.get('port')}"
    who, missing = f"{untagged(connection)!r} at {where}", "Peer does not have the connection you are requesting"
    if tags is None:
        said = f"{who} ran and answered with flag {INVALID_CONNECTION!r}: {missing}"
        raise InvalidConnection(said, connection=connection, peer=where, ran=YES)
    has = ", ".join(map(untagged, tags)) or "none"
    raise InvalidConnection(f"{missing}: {who}; it has: {has}", connection=connection, peer=where)


def _check_told(connection: Any, foreign_peer_id: Any) -> str:
    """What the handler of a flag is told: a tag, which comes back as a plain str, and a friendly id."""
    if not isinstance(foreign_peer_id, dict):
        raise TypeError(f"foreign_peer_id is the friendly id of a peer (dict), not {came(foreign_peer_id)}")
    return text(connection, "connection is a tag, a str")


def furnish(tables: Tables) -> None:
    """Give a peer what every peer has."""
    for connection in _EVERYBODYS:
        tables.connections.add(connection)
    tables.flags.update({NULL: null_response, NULL_RESPONSE: null_response, INVALID_CONNECTION: invalid_connection})


furnish(peers.process_peer().tables)
