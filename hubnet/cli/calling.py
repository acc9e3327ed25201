"""``hubnet call``: one call of a peer's connection."""

from __future__ import annotations

import re
import time
from collections.abc import Collection

import click

import hubnet
from hubnet import peer
from hubnet.cli.arguments import TAKES_ANYTHING, seconds, typed
from hubnet.cli.roles import ask_only
from hubnet.cli.shown import as_json, shown_value
from hubnet.core.connections import Connection, elsewhere, path_tag, untagged
from hubnet.core.identity import decode_id
from hubnet.core.membership import OPEN
from hubnet.core.targets import peer_id_of
from hubnet.errors import CallTimeout, NoPeer

Target = bytes | tuple[str, int]


@click.command(context_settings=TAKES_ANYTHING)
@click.argument("target")
@click.argument("tag")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARG|NAME=VALUE]...")
@click.option("--timeout", type=seconds, help="For everything; without it a call may run as long as its peer lives.")
@click.option("--json", "in_json", is_flag=True, help="Print the result as JSON.")
def call(target: str, tag: str, args: tuple[str, ...], timeout: float | None, in_json: bool) -> None:
    """Call a connection of a peer and print its result.

    TARGET is host:port, a peer id, or a group: then its first open peer that has the connection.
    TAG is the connection's tag, or module.function where it has none of its own.

    An ARG that is JSON is taken as such: 12, 1.5, true, null, '[1, 2]', '"12"'. Anything else is text.
    """
    begin = time.monotonic()
    positional, named = typed(args)
    ask_only(timeout=timeout)
    place = _place(target)
    if isinstance(place, str):
        place, name = _in_group(place, tag)
    else:
        known = hubnet.connections(peer=place, timeout=timeout) if timeout else hubnet.connections(peer=place)
        name = _tag_among(known, tag) or _guess(tag)
    left = None
    if timeout is not None:
        left = timeout - (time.monotonic() - begin)
        if left <= 0:
            raise CallTimeout(f"{tag!r} was not called: {timeout:g} s were up before its peer was found", ran="NO")
    result = peer.call(Connection(name, elsewhere), place, positional, named, left)
    click.echo(as_json(result, indent=2) if in_json else shown_value(result))


def _place(target: str) -> Target | str:
    """A peer id, host and port, or a group's name."""
    try:
        decode_id(target)
        found = peer_id_of(target)
    except ValueError:
        if match := re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]+):(\d{1,5})", target):
            return match[1].strip("[]"), int(match[2])
        return target
    return found


def _in_group(group: str, tag: str) -> tuple[bytes, str]:
    """The first open peer of the group that has the connection, and its name there."""
    listing = hubnet.peers()
    members = [(peer_id, listing["peers"][peer_id]) for peer_id in listing.get(group, ()) if group != "peers"]
    if not members:
        others = ", ".join(sorted(name for name in listing if name != "peers")) or "none"
        raise NoPeer(f"{group!r} is no host:port, no peer id, and no group that has peers; groups that have: {others}")
    ready = [(peer_id, record) for peer_id, record in members if record["state"] == OPEN and record["reachable"]]
    if not ready:
        states = ", ".join(sorted({str(record["state"]) for _, record in members}))
        raise NoPeer(f"none of the {len(members)} peers of group {group!r} is open and reachable: {states}")
    for peer_id, record in ready:
        if name := _tag_among(record["connections"], tag) or _builtin(tag):
            return peer_id, name
    has = ", ".join(sorted({untagged(one) for _, record in ready for one in record["connections"]})) or "none"
    raise NoPeer(f"no open peer of group {group!r} has the connection {tag!r}; they have: {has}")


def _tag_among(tags: Collection[str], tag: str) -> str | None:
    """The tag that is meant, out of those that a peer has."""
    if tag in tags:
        return tag
    path = _as_path(tag)
    return path if path in tags else None


def _builtin(tag: str) -> str | None:
    """Every peer has hubnet.info and the like, and lists none of them."""
    return _as_path(tag) if tag.startswith("hubnet.") else None


def _guess(tag: str) -> str:
    """For a connection that is not listed: a built-in, an alias, one that comes late, or none."""
    return _as_path(tag) or tag


def _as_path(tag: str) -> str | None:
    module, dot, name = tag.rpartition(".")
    return path_tag(module, name) if dot and module and name else None
