"""Targets: everything that may stand behind ``peer=``."""

from __future__ import annotations

from typing import Any

from hubnet.core.identity import decode_id, generate_id

ALLOWED = "a peer id (bytes or str), (host, port), a record out of hubnet.peers(), or a hubnet.RemotePeer"


def peer_id_of(target: Any) -> bytes | tuple[str, int]:
    """The id that a target names, or host and port where only those are given.

    Raises:
        TypeError: it is none of what is allowed.
        ValueError: it is a str or bytes, but no peer id.
    """
    if isinstance(target, bytes):
        decode_id(target)
        return target
    if isinstance(target, str):
        decode_id(target)
        return target.encode("ascii")
    if isinstance(target, tuple) and len(target) == 2 and isinstance(target[0], str) and type(target[1]) is int:
        if not 0 < target[1] < 65536:
            raise ValueError(f"peer=(host, port): a port is from 1 to 65535, not {target[1]}")
        return target[0], target[1]
    if isinstance(target, dict) and {"host", "port", "group"} <= target.keys():
        return generate_id(target["port"], target["host"], target["group"])
    peer_id = getattr(target, "id", None)
    if isinstance(peer_id, bytes):
        return peer_id
    raise TypeError(f"peer= takes {ALLOWED}; not {type(target).__name__}: {target!r:.100}")


def seconds(value: Any, parameter: str = "timeout") -> float | None:
    """A timeout in seconds, or None.

    Raises:
        TypeError, ValueError: naming the parameter.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{parameter} is a number of seconds or None, not {type(value).__name__}: {value!r:.100}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{parameter} is more than 0 seconds, not {value!r}")
    return float(value)
