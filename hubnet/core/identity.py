"""Names of peers: the peer id and what it says.

A peer id is the base64 of ``host:port -> group``, as the reference API has it. It is opaque to users and stable
over restarts; the incarnation, random per process start, tells a restarted peer from the old one on the same id.
"""

from __future__ import annotations

import binascii
from typing import NamedTuple

from hubnet.errors import ConfigError

NO_GROUP = "None"
RESERVED_GROUP = "peers"
_ARROW = " -> "


class Address(NamedTuple):
    """What a peer id says."""

    host: str
    port: int
    group: str


def group_name(group: str | None) -> str:
    """The group's one spelling: no group, an empty one and "None" are the same."""
    if group is None or group == "":
        return NO_GROUP
    if not isinstance(group, str):
        raise TypeError(f"a group is a str, not {type(group).__name__}: {group!r}")
    try:
        group.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"a group's name is text that UTF-8 can hold, not {group!r}") from None
    if group == RESERVED_GROUP:
        raise ConfigError("a group may not be called 'peers': listings use that key; choose another name")
    return group


def generate_id(port: int, host: str, group: str | None = None) -> bytes:
    """The id of the peer that others reach at host and port in this group."""
    shown = f"[{host}]" if ":" in host else host
    return binascii.b2a_base64(f"{shown}:{port}{_ARROW}{group_name(group)}".encode(), newline=False)


def decode_id(peer_id: bytes | str) -> Address:
    """Host, port and group out of a peer id.

    Raises:
        ValueError: this is no peer id.
    """
    try:
        written = peer_id.encode("ascii") if isinstance(peer_id, str) else bytes(peer_id)
        where, arrow, group = binascii.a2b_base64(written).decode().partition(_ARROW)
        host, colon, port = where.rpartition(":")
        address = Address(host[1:-1] if host.startswith("[") else host, int(port), group)
        one_spelling = bool(arrow and colon and host) and generate_id(address.port, address.host, group) == written
        if not one_spelling or not 0 <= address.port < 65536:
            raise ValueError(where)
        return address
    except (ValueError, TypeError) as error:  # binascii.Error and UnicodeError are ValueErrors
        raise ValueError(f"not a peer id (base64 of 'host:port -> group'): {peer_id!r:.200}") from error
