"""Names of peers: the peer id and what it says.

A peer id is the base64 of ``host:port -> group``, as the reference API has it. It is opaque to users and stable
over restarts; the incarnation, random per process start, tells a restarted peer from the old one on the same id.

What a user gives is checked here and in ``targets``, before anything is started or sent. An error names the parameter, what
is allowed and what came, which may be an object whose own methods raise.
"""

from __future__ import annotations

import binascii
import re
import reprlib
from typing import NamedTuple

from hubnet.core.recent import Recent, one_copy
from hubnet.errors import ConfigError

NO_GROUP = "None"
RESERVED_GROUP = "peers"
LONGEST_NAME = 4096
"""Bytes of UTF-8 in a tag, group, event or flag: names stand in records and frames, and a frame has room for 65 535."""
_ARROW = " -> "
_HOST = re.compile(r"[^][:\s\0]{1,253}|(?=.*:.*:)[0-9A-Fa-f:.]{2,45}(%[^][:\s\0]{1,64})?")  # a name or IPv4, or IPv6
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80


class Address(NamedTuple):
    """What a peer id says."""

    host: str
    port: int
    group: str


def came(value: object) -> str:
    """What came, as errors tell it: ``int: 5``. Short, and never an error itself."""
    kind = type(value).__name__[:80]
    try:
        return f"{kind}: {_SHORT.repr(value):.100}"
    except Exception:  # its __repr__ raises, or it has too many digits
        return f"{kind} that cannot be shown"


def text(value: object, rule: str) -> str:
    """A name as a plain str.

    Args:
        value: what came.
        rule: how the error begins, such as "a flag's name is a str".

    Raises:
        TypeError, ConfigError: it is no str, none that UTF-8 can hold, or too long.
    """
    if not isinstance(value, str):
        raise TypeError(f"{rule}, not {came(value)}")
    plain = str.__str__(value)
    try:
        size = len(plain.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"{rule} that UTF-8 can hold, not {came(plain)}") from None
    if size > LONGEST_NAME:
        raise ConfigError(f"{rule} of at most {LONGEST_NAME} bytes in UTF-8, not of {size}: {came(plain)}")
    return plain


def whole(value: object, rule: str, low: int, high: int) -> int:
    """A whole number as a plain int.

    Raises:
        TypeError, ConfigError: it is none, or out of these bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{rule} from {low} to {high}, not {came(value)}")
    number = int.__int__(value)
    if not low <= number <= high:
        raise ConfigError(f"{rule} from {low} to {high}, not {came(number)}")
    return number


def group_name(group: object, parameter: str = "group") -> str:
    """The group's one spelling: no group, an empty one and "None" are the same.

    Raises:
        TypeError, ConfigError: naming the parameter.
    """
    if group is None:
        return NO_GROUP
    name = text(group, f"{parameter}: a group is a str")
    if name == RESERVED_GROUP:
        raise ConfigError(f"{parameter}: a group may not be called 'peers': listings use that key; choose another name")
    return name or NO_GROUP


def host_name(host: object, parameter: str = "host") -> str:
    """A host as others may dial it: a name or an address, without brackets.

    Raises:
        TypeError, ConfigError: naming the parameter.
    """
    name = text(host, f"{parameter} is a str")
    if not _HOST.fullmatch(name):
        raise ConfigError(f"{parameter} is a name or an IP address, without port, brackets or spaces, not {came(name)}")
    return name


def generate_id(port: int, host: str, group: str | None = None) -> bytes:
    """The id of the peer that others reach at host and port in this group.

    Raises:
        TypeError, ConfigError: naming the parameter.
    """
    if type(host) is type(group) is str and type(port) is int:
        return _generated_of_late((port, host, group))
    return _generated(port, host, group)


def _generated(port: int, host: str, group: str | None) -> bytes:
    return _spelled(host_name(host), whole(port, "port is a whole number", 0, 65535), group_name(group))


_generated_of_late = Recent[tuple[int, str, str | None], bytes](lambda where: _generated(*where))
"""The same records come with every call, and the same ids."""


def _spelled(host: str, port: int, group: str) -> bytes:
    shown = f"[{host}]" if ":" in host else host
    return binascii.b2a_base64(f"{shown}:{port}{_ARROW}{group}".encode(), newline=False)


def decode_id(peer_id: bytes | str) -> Address:
    """Host, port and group out of a peer id.

    Raises:
        TypeError: neither bytes nor str.
        ValueError: this is no peer id.
    """
    try:
        return _decoded_of_late(peer_id if type(peer_id) is bytes else _written(peer_id))
    except ValueError as error:  # binascii.Error and UnicodeError are ValueErrors
        raise ValueError(f"not a peer id (base64 of 'host:port -> group'), but {came(peer_id)}") from error


def _written(peer_id: object) -> bytes:
    if isinstance(peer_id, str):
        return str.encode(peer_id, "ascii")
    if isinstance(peer_id, bytes):
        return bytes(peer_id)
    raise TypeError(f"a peer id is bytes or str, not {came(peer_id)}")


def _decoded(written: bytes) -> Address:
    where, arrow, group = binascii.a2b_base64(written).decode().partition(_ARROW)
    host, colon, port = where.rpartition(":")
    host = one_copy(host_name(host[1:-1] if host.startswith("[") else host))
    address = Address(host, int(port), one_copy(group))
    one_spelling = arrow and colon and _spelled(address.host, address.port, group_name(group)) == written
    if not one_spelling or not 0 <= address.port < 65536:
        raise ValueError(where)
    return address


_decoded_of_late = Recent(_decoded)
