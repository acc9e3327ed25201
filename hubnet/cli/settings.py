"""``hubnet config`` and ``hubnet secret``: what this process would be told, and a secret to tell it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from hubnet import environment
from hubnet.cli.ending import say_error
from hubnet.cli.shown import as_json, masked, shown
from hubnet.core.keys import new_token

_HIDDEN = "(set, hidden)"
_PIPED_WIDTH = 10_000


@click.command()
@click.option("--json", "in_json", is_flag=True, help='{"HUBNET_GROUP": {"value": ..., "source": ...}, ...}')
def config(in_json: bool) -> None:
    """Show every setting, its value and where that comes from; secrets stay hidden."""
    settings, sources = environment.settings(), environment.sources()
    rows = {
        environment.variable(field): {"value": _value(field, value), "source": sources[field]}
        for field, value in settings._asdict().items()
    }
    if in_json:
        click.echo(as_json(rows, indent=2))
    else:
        _print_table(rows)
    unknown = sorted(name for name in os.environ if name.startswith("HUBNET_") and name not in rows)
    if unknown:
        say_error(f"in the environment, but no setting: {', '.join(unknown)}")


def _value(field: str, value: Any) -> Any:
    if field in environment.SECRET_FIELDS:
        return _HIDDEN if value else ""
    if field == "redis_url":
        return masked(value)
    if field == "hubs":
        return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in value]
    return value


def _print_table(rows: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("variable", "value", "from"):
        table.add_column(column, overflow="fold")
    for name, row in rows.items():
        source = "the environment" if row["source"] == name else row["source"]
        table.add_row(name, Text(shown(_as_text(row["value"]))), Text(source))
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.group()
def secret() -> None:
    """Make secrets."""


@secret.command()
def new() -> None:
    """Print a fresh secret, for HUBNET_SECRET or a file named by HUBNET_SECRET_FILE.

    Every peer of a net has the same one. Who holds it can run code on all of them.
    """
    click.echo(new_token(os.urandom(32)))
