"""``hubnet listen`` and ``hubnet emit``: events as they come, and one event out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import click

import hubnet
from hubnet.cli.arguments import TAKES_ANYTHING, seconds, typed
from hubnet.cli.ending import LATE, say_error
from hubnet.cli.roles import ask_only
from hubnet.cli.shown import as_json, shown, shown_arguments
from hubnet.errors import BrokerUnavailable, HubnetError

_EMIT_LIMIT = 30.0
_GLANCE = 0.005


class _Heard(NamedTuple):
    """One event and when it came."""

    at: datetime
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@click.command()
@click.argument("event")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Hear this group alone; may be given again.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--timeout", type=seconds, help="End after so long; with --count, having heard fewer is exit code 4.")
@click.option("--json", "in_json", is_flag=True, help="One JSON object a line: time, event, args, kwargs.")
def listen(event: str, groups: tuple[str, ...], count: int | None, timeout: float | None, in_json: bool) -> None:
    """Print each EVENT as it comes, of all groups unless some are named.

    Says on standard error when the subscription is live: what is triggered after that is heard.
    """
    end = None if timeout is None else time.monotonic() + timeout
    ask_only(timeout=timeout, warns=True)
    heard: SimpleQueue[_Heard] = SimpleQueue()

    @hubnet.subscribe(event, groups=list(groups) or None)
    def _(*args: Any, **kwargs: Any) -> None:
        heard.put(_Heard(datetime.now().astimezone(), args, kwargs))

    _wait_until_live(event, groups)
    number = 0
    for number, one in enumerate(_until(heard, end), 1):
        _tell(event, one, in_json=in_json)
        if number == count:
            return
    if count is not None:
        say_error(f"heard {number} of {count} events {event!r} within {timeout:g} s")
        raise SystemExit(LATE)


def _wait_until_live(event: str, groups: tuple[str, ...]) -> None:
    peer = hubnet.Peer()
    parts = peer.ready()
    limit = peer.settings.timeout
    if not parts.subscriber.wait_live(peer.subscriptions, time.monotonic() + limit):
        raise BrokerUnavailable(f"Redis did not take the subscription within {limit:g} s; {parts.broker.advice}")
    where = f"of {', '.join(groups)}" if groups else "of all groups"
    say_error(f"listening for {event!r} {where}")


def _until(heard: SimpleQueue[_Heard], end: float | None) -> Iterator[_Heard]:
    while True:
        left = None if end is None else end - time.monotonic()
        try:
            yield heard.get(timeout=left) if left is None or left > 0 else heard.get_nowait()
        except Empty:
            return


def _tell(event: str, heard: _Heard, *, in_json: bool) -> None:
    """One event, or that it cannot be shown: the next ones can."""
    try:
        line = _line(event, heard, in_json=in_json)
    except HubnetError as error:
        say_error(f"an event {event!r} cannot be shown: {error}")
    else:
        click.echo(line)


def _line(event: str, heard: _Heard, *, in_json: bool) -> str:
    if in_json:
        said = {"time": heard.at.isoformat(), "event": event, "args": heard.args, "kwargs": heard.kwargs}
        return as_json(said)
    return f"{heard.at:%H:%M:%S}.{heard.at.microsecond // 1000:03d} {shown(shown_arguments(heard.args, heard.kwargs))}"


@click.command(context_settings=TAKES_ANYTHING)
@click.argument("event")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARG|NAME=VALUE]...")
@click.option("--group", metavar="NAME", help="Trigger it as a peer of this group, instead of HUBNET_GROUP.")
@click.option("--timeout", type=seconds, help="For Redis to take it: 30 by default.")
def emit(event: str, args: tuple[str, ...], group: str | None, timeout: float | None) -> None:
    """Trigger EVENT once, and wait until Redis has taken it.

    An ARG that is JSON is taken as such: 12, 1.5, true, null, '[1, 2]', '"12"'. Anything else is text.
    """
    pair = typed(args)
    limit = timeout or _EMIT_LIMIT
    deadline = time.monotonic() + limit
    ask_only(timeout=limit, group=group)

    @hubnet.event(event)
    def trigger() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return pair

    peer = hubnet.Peer()
    parts = peer.ready()
    publisher = parts.publisher
    trigger()
    while not (counted := peer.counters.snapshot()).get("events.published"):
        if counted.get("events.refused_by_redis"):
            raise HubnetError(f"Redis refused the event {event!r}: this user may not publish it, or it is too large")
        if time.monotonic() >= deadline:
            raise BrokerUnavailable(f"Redis did not take the event {event!r} within {limit:g} s; {parts.broker.advice}")
        publisher.flush(max(_GLANCE, deadline - time.monotonic()))
        time.sleep(_GLANCE)  # flush looks at the outbox; what counts is Redis's answer
