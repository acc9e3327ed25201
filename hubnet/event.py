"""The event decorator: a function whose result is news for every subscriber."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from hubnet import peer as peers
from hubnet.core import codec
from hubnet.core.channels import event_name
from hubnet.core.identity import came
from hubnet.core.targets import word
from hubnet.errors import EncodeError, HubnetError

_log = logging.getLogger("hubnet")
Function = TypeVar("Function", bound=Callable[..., tuple[Any, Any]])


def event(name: str, *, durable: bool | str = False) -> Callable[[Function], Function]:
    """Register a function as an event trigger.

    The function runs here and must return ``(args, kwargs)``; that pair, pickled at once, is what subscribers get. Calling
    it never waits for Redis, subscribers or handlers, and never raises for them: such failures are logged and counted.

    Args:
        name: of the event; no ``*``.
        durable: True: Redis also keeps it in a stream, out of which subscribers read what they missed. "replicated": and
            it is done, for ``flush``, only once a replica of Redis has it. At least once while the publisher lives, its outbox
            holds and HUBNET_STREAM_LENGTH is not passed; duplicates are dropped by number; beyond that, losses are counted.

    Returns:
        The function; it returns the pair as before.

    Raises:
        TypeError, ValueError: no name for an event, no function, the function returned no pair, another `durable` than
            this process declared for the event before.
        EncodeError: the pair cannot travel, or is over HUBNET_EVENT_LIMIT.
    """
    name = event_name(name)
    if not isinstance(durable, bool):
        durable = word(durable, f'event({name!r:.100}): durable is True, False or "replicated"', "replicated")

    def decorate(function: Function) -> Function:
        if not callable(function):
            raise TypeError(f"event({name!r:.100}) takes a function, not {came(function)}")

        peers.process_peer().declare_event(name, durable)
        told: set[str] = set()

        @functools.wraps(function)
        def trigger(*args: Any, **kwargs: Any) -> Any:
            pair = function(*args, **kwargs)
            body = _encoded(name, function, pair)
            try:
                peers.Peer().publish_event(name, body, durable)
            except EncodeError:
                raise
            except HubnetError as error:
                peers.process_peer().counters.add("events.unsent")
                if str(error) not in told:  # a busy trigger would fill the log with it
                    told.add(str(error))
                    _log.error("event %r was not sent: %s; more are only counted", name, error)
            return pair

        return trigger  # type: ignore[return-value]

    return decorate


def _encoded(name: str, function: Callable[..., Any], pair: Any) -> bytes:
    if not (
        isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], (tuple, list)) and isinstance(pair[1], dict)
    ):
        raise TypeError(f"{_must_return(name, function)}, a tuple and a dict, not {came(pair)}")
    if pair[1] and not all(isinstance(key, str) for key in pair[1]):
        raise TypeError(f"{_must_return(name, function)}, and the names of kwargs are str; not {came(pair[1])}")
    return codec.in_one_piece(pair)


def _must_return(name: str, function: Callable[..., Any]) -> str:
    return f"event {name!r:.100}: {getattr(function, '__qualname__', type(function).__name__)}() must return (args, kwargs)"
