"""``hubnet peers``: who is on the net, as a table or as JSON."""

from __future__ import annotations

import time
from typing import Any

import click

import hubnet
from hubnet.cli.arguments import seconds
from hubnet.cli.roles import ask_only
from hubnet.cli.shown import as_json
from hubnet.cli.table import print_table
from hubnet.core.connections import untagged

_WAIT_LIMIT = 30.0
_COLUMNS = ("peer", "group", "hub", "state", "hostname", "pid", "user", "up", "connections", "subscriptions")


@click.command()
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.option("--hubs-only", is_flag=True, help="Hubs alone.")
@click.option("--on-host", is_flag=True, help="Peers of this machine alone.")
@click.option("--wait", type=click.IntRange(min=0), metavar="N", help="Wait until N peers are open; list these.")
@click.option("--timeout", type=seconds, help="For the hub's answer (HUBNET_TIMEOUT by default), and for --wait (30).")
@click.option("--json", "in_json", is_flag=True, help='{"<peer id>": record, ...}')
def peers(
    groups: tuple[str, ...], hubs_only: bool, on_host: bool, wait: int | None, timeout: float | None, in_json: bool
) -> None:
    """List who is on the net: all groups, or those named."""
    if wait is not None and on_host:
        raise click.UsageError("--wait counts peers of all machines: it does not go with --on-host")
    ask_only(timeout=timeout)
    wanted = list(groups) or None
    if wait is None:
        listing = hubnet.peers(groups=wanted, hubs_only=hubs_only, on_host=on_host)
    else:
        listing = hubnet.wait_for(wait, groups=wanted, hubs_only=hubs_only, timeout=timeout or _WAIT_LIMIT)
    found = sorted(listing["peers"].items(), key=_place)
    if in_json:
        click.echo(as_json(dict(found), indent=2))
    elif found:
        print_table(_COLUMNS, (_row(record) for _, record in found))
    else:
        click.echo("nobody is there", err=True)


def _place(item: tuple[bytes, dict[str, Any]]) -> tuple[Any, ...]:
    record = item[1]
    return record["group"], not record["hub"], record["host"], record["port"]


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    host = f"[{record['host']}]" if ":" in str(record["host"]) else record["host"]
    state = record["state"] if record["reachable"] else f"{record['state']}, unreachable"
    return (
        f"{host}:{record['port']}", record["group"], "hub" if record["hub"] else "", state, record["hostname"],
        record["pid"], record["user"], _age(time.time() - record["since"]),
        ", ".join(untagged(tag) for tag in record["connections"]), ", ".join(record["subscriptions"]),
    )  # fmt: skip


def _age(seconds: float) -> str:
    """Two digits or so: 12s, 3m, 5h, 2d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
