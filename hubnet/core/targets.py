"""Targets: everything that may stand behind ``peer=``, and the other arguments of calls."""

from __future__ import annotations

from typing import Any

from hubnet.core.identity import came, decode_id, generate_id, host_name, whole

ALLOWED = "a peer id (bytes or str), (host, port), a record out of hubnet.peers(), or a hubnet.RemotePeer"
LONGEST = 1e9
"""Seconds, 30 years: what waits and frames count in holds no more than ten times as many."""


def peer_id_of(target: Any, rule: str = f"peer= takes {ALLOWED};") -> bytes | tuple[str, int]:
    """The id that a target names, or host and port where only those are given.

    Args:
        target: what came.
        rule: how an error begins: the parameter, and what it takes.

    Raises:
        TypeError: it is none of what is allowed.
        ValueError: it is of a kind that is allowed, but names no peer.
    """
    try:
        if isinstance(target, (bytes, str)):
            decode_id(target)
            return str.encode(target, "ascii") if isinstance(target, str) else bytes(target)
        if isinstance(target, tuple) and len(target) == 2 and isinstance(target[0], str) and type(target[1]) is int:
            return host_name(target[0]), whole(target[1], "port is a whole number", 1, 65535)
        if isinstance(target, dict) and {"host", "port", "group"} <= target.keys():
            return generate_id(target["port"], target["host"], target["group"])
    except (TypeError, ValueError) as error:
        raise type(error)(f"{rule} {error}") from None
    try:
        peer_id = getattr(target, "id", None)
    except Exception:  # of a __getattr__ that is none of ours
        peer_id = None
    if type(peer_id) is bytes:
        return peer_id
    raise TypeError(f"{rule} not {came(target)}")


def boolean(value: object, parameter: str) -> bool:
    """A switch: True or False and nothing else.

    Raises:
        TypeError: naming the parameter.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{parameter} is a bool, not {came(value)}")
    return value


def word(value: object, rule: str, *allowed: str) -> str:
    """One of these words, as a plain str.

    Args:
        value: what came.
        rule: how an error begins: the parameter, and what it takes.
        allowed: the words.

    Raises:
        TypeError, ValueError: it is no str, or another one.
    """
    if not isinstance(value, str):
        raise TypeError(f"{rule}, not {came(value)}")
    plain = str.__str__(value)
    if plain not in allowed:
        raise ValueError(f"{rule}, not {came(plain)}")
    return plain


def seconds(value: Any, parameter: str = "timeout", *, optional: bool = True) -> float | None:
    """A timeout in seconds, or None where that is allowed.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{parameter} is a number of seconds{' or None' if optional else ''}, not {came(value)}")
    if not 0 < value <= LONGEST:
        raise ValueError(f"{parameter} is more than 0 seconds and at most {LONGEST:.0f}, not {came(value)}")
    return float(value)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def span(value: Any, parameter: str) -> float | None:
    """A span of time: a number of seconds, or a number and a unit as in "90s", "5m", "2h", "1d"; None: none.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if isinstance(value, str):
        number, unit = value[:-1], value[-1:]
        if unit not in _UNITS or not number.isascii() or not number.isdigit() or len(number) > 9:
            raise ValueError(
                f'{parameter} is a number of seconds, or a text such as "90s", "5m", "2h" or "1d", not {came(value)}'
            )
        value = int(number) * _UNITS[unit]
    return seconds(value, parameter)
