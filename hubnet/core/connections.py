"""Connections: the functions registered by ``connect``, by tag."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from hubnet.core import main_file
from hubnet.errors import ConfigError


class Filter(Protocol):
    """Decides on what a peer says of itself."""

    def matches(self, *, peer_id: bytes, group: str, hub: bool, machine: str, labels: Any = None) -> bool: ...


class Connection:
    """One function that peers may call.

    Attributes:
        tag: the name both ends match by.
        name: the tag as it travels.
        function: what runs here.
        idempotent: whether running it twice does no harm, so a lost call may be repeated.
        limit: most runs at once on this peer, or None.
        allow: whose calls are served, or None for everybody's.
        counted: whether runs count against the cap.
        builtin: whether every peer has it; built-ins are not listed.
        plain: counted, without a limit, for everybody.
        aliases: further tags it is served under.
        running: runs in progress, kept by the admission when there is a limit.
    """

    __slots__ = (
        "aliases", "allow", "builtin", "counted", "function", "idempotent", "limit", "name", "plain", "running", "tag",
    )  # fmt: skip

    def __init__(
        self,
        tag: str,
        function: Callable[..., Any],
        *,
        idempotent: bool = False,
        limit: int | None = None,
        allow: Filter | None = None,
        counted: bool = True,
        builtin: bool = False,
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.tag = tag
        self.name = tag.encode()
        self.function = function
        self.idempotent = idempotent
        self.limit = limit
        self.allow = allow
        self.counted = counted
        self.builtin = builtin
        self.aliases = aliases
        self.plain = counted and limit is None and allow is None
        self.running = 0

    def copied(self) -> Connection:
        """The same for another peer: runs are counted for each."""
        return Connection(
            self.tag, self.function, idempotent=self.idempotent, limit=self.limit, allow=self.allow,
            counted=self.counted, builtin=self.builtin, aliases=self.aliases,
        )  # fmt: skip


def elsewhere(*args: Any, **kwargs: Any) -> Any:
    """The function of a connection that was named by its tag alone: it is another peer's."""
    raise ConfigError("this connection was named by its tag; it exists on the other peer only")


def path_tag(module: str, name: str) -> str:
    """The tag of an untagged function: the base64 of its path."""
    return binascii.b2a_base64(f"{module}.{name}".encode(), newline=False).decode()


def names_of(function: Callable[..., Any], tag: str | None) -> tuple[str, tuple[str, ...]]:
    """The tag of a function, and its aliases: one of ``__main__`` is also known by that path."""
    if tag is not None:
        return tag, ()
    name = getattr(function, "__name__", type(function).__name__)
    module = getattr(function, "__module__", None) or "__main__"
    if module in main_file.NAMES and (file_module := main_file.module_name(module)):
        return path_tag(file_module, name), (path_tag("__main__", name),)
    return path_tag(module, name), ()


def untagged(tag: str) -> str:
    """A tag as people read it: the path behind a base64 tag, any other tag as it is."""
    try:
        text = binascii.a2b_base64(tag.encode("ascii")).decode("ascii")
    except ValueError:
        return tag
    return text if text.isprintable() and "." in text and path_tag(*text.rsplit(".", 1)) == tag else tag


class Connections:
    """All connections of one process, in the order in which they were registered."""

    def __init__(self) -> None:
        self._by_tag: dict[str, Connection] = {}
        self.by_name: dict[bytes, Connection] = {}

    def add(self, connection: Connection) -> bool:
        """Register; returns whether it replaced another function under the same tag."""
        replaced = connection.tag in self._by_tag
        self._by_tag[connection.tag] = connection
        for tag in (connection.tag, *connection.aliases):
            self.by_name[tag.encode()] = connection
        return replaced

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_tag.values()))

    def __contains__(self, tag: str) -> bool:
        return tag in self._by_tag

    def tags(self) -> list[str]:
        """The tags of what users registered, without built-ins."""
        return [connection.tag for connection in self if not connection.builtin]
