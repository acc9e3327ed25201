"""Showing what others said: no text of another peer may steer the terminal, and any value becomes JSON.

A value that is small here may be huge written out, where its parts are shared: what is larger than anybody reads is refused
before it is written.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from dataclasses import fields, is_dataclass
from itertools import chain
from types import SimpleNamespace
from typing import Any

from hubnet.errors import HubnetError
from hubnet.redis_url import hide_passwords

_DEPTH = 50
_MOST_ITEMS = 4_000_000  # some seconds
_MOST_CHARACTERS = 1 << 28
_MANY_BITS = 2000  # fewer are less than 640 digits, which no limit of Python's forbids


def shown(text: object) -> str:
    """The text with control characters (ANSI sequences, line ends, direction marks) spelled out."""
    said = str(text)
    if said.isprintable():
        return said
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in said)


def shown_lines(text: str) -> str:
    """The same, line ends kept."""
    return "\n".join(shown(line) for line in text.splitlines())


def shown_value(value: object) -> str:
    """A value as Python would write it.

    Raises:
        HubnetError: that would be too much.
    """
    _weigh(value)
    return shown_lines(_repr(value))


def shown_arguments(args: tuple[Any, ...] | list[Any], kwargs: dict[str, Any]) -> str:
    """Arguments as they would stand in a call.

    Raises:
        HubnetError: that would be too much.
    """
    _weigh((args, kwargs))
    pieces = [shown_lines(_repr(value)) for value in args]
    pieces += [f"{shown(name)}={shown_lines(_repr(value))}" for name, value in kwargs.items()]
    return f"({', '.join(pieces)})"


def masked(url: str) -> str:
    """A URL without its password, wherever that stands."""
    return hide_passwords(re.sub(r"//([^:@/]*:)?.*@", lambda found: f"//{found[1] or ''}***@", url))


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Any value as strict JSON; what JSON has no word for by its repr, a list or dict within itself as Python marks it.

    Raises:
        HubnetError: that would be too much.
    """
    _weigh(value)
    return json.dumps(_plain(value, _DEPTH, set()), indent=indent)


def _plain(value: Any, depth: int, way: set[int]) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value if value is None or type(value) in {bool, int} else int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if not depth or not isinstance(value, (dict, list, tuple)):
        return _repr(value)
    if id(value) in way:
        return "{...}" if isinstance(value, dict) else "[...]"
    way.add(id(value))
    if isinstance(value, dict):
        made: Any = {_key(key): _plain(one, depth - 1, way) for key, one in value.items()}
    else:
        made = [_plain(one, depth - 1, way) for one in value]
    way.discard(id(value))
    return made


def _key(key: object) -> str:
    if isinstance(key, bytes):  # a peer id
        return key.decode("ascii", "backslashreplace")
    return key if isinstance(key, str) else _repr(key)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


# -- how much it would be ----------------------------------------------------------------------------------------------


def _weigh(value: object) -> None:
    """Refuse a value that would be too much written out."""
    characters = 0
    for items, one in enumerate(_all_in(value), 1):
        if isinstance(one, (str, bytes, bytearray)):
            characters += len(one)
        elif isinstance(one, int) and one.bit_length() > _MANY_BITS:
            characters += _digits(one)
        if items > _MOST_ITEMS or characters > _MOST_CHARACTERS:
            raise HubnetError(
                f"written out this is more than {_MOST_ITEMS} items or {_MOST_CHARACTERS} characters (parts that are shared "
                "count each time): ask for less, or from Python"
            )


def _all_in(value: object) -> Iterator[object]:
    """All that would be written: what is shared each time, what is a part of itself once."""
    way: list[tuple[int, Iterator[object]]] = [(0, iter((value,)))]
    on_it: set[int] = set()
    while way:
        for one in way[-1][1]:
            yield one
            if id(one) not in on_it and (parts := _parts(one)) is not None:
                way.append((id(one), iter(parts)))
                on_it.add(id(one))
                break
        else:
            on_it.discard(way.pop()[0])


def _parts(value: Any) -> Iterable[object] | None:
    """What its repr shows as well; None: nothing else."""
    if isinstance(value, dict):
        return chain(value, value.values())
    if isinstance(value, (list, tuple, set, frozenset, deque, KeysView, ValuesView, ItemsView)):
        return value
    if isinstance(value, BaseException):
        return value.args
    if isinstance(value, SimpleNamespace):
        return vars(value).values()
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, one.name, None) for one in fields(value) if one.repr]
    return None


def _digits(number: int) -> int:
    try:
        return len(int.__repr__(number))
    except ValueError:
        raise HubnetError(
            f"an integer of {number.bit_length()} bits has more digits than Python writes: have it returned as text, or set "
            "PYTHONINTMAXSTRDIGITS=0"
        ) from None
