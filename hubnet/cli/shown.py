"""Showing what others said: no text of another peer may steer the terminal, and any value becomes JSON."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from hubnet.redis_url import hide_passwords

_DEPTH = 50


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
    """A value as Python would write it."""
    return shown_lines(_repr(value))


def shown_arguments(args: tuple[Any, ...] | list[Any], kwargs: dict[str, Any]) -> str:
    """Arguments as they would stand in a call."""
    pieces = [shown_value(value) for value in args]
    pieces += [f"{shown(name)}={shown_value(value)}" for name, value in kwargs.items()]
    return f"({', '.join(pieces)})"


def masked(url: str) -> str:
    """A URL without its password, wherever that stands."""
    return hide_passwords(re.sub(r"//([^:@/]*:)?.*@", lambda found: f"//{found[1] or ''}***@", url))


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Any value as strict JSON; what JSON has no word for by its repr."""
    return json.dumps(_plain(value, _DEPTH), indent=indent)


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value if value is None or type(value) in {bool, int} else int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if depth and isinstance(value, dict):
        return {_key(key): _plain(one, depth - 1) for key, one in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [_plain(one, depth - 1) for one in value]
    return _repr(value)


def _key(key: object) -> str:
    if isinstance(key, bytes):  # a peer id
        return key.decode("ascii", "backslashreplace")
    return key if isinstance(key, str) else _repr(key)


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
