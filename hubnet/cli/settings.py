"""``hubnet config``: what this process would be told."""

from __future__ import annotations

import os
from typing import Any

import click

from hubnet import environment
from hubnet.cli.ending import say_error
from hubnet.cli.shown import as_json, masked
from hubnet.cli.table import print_table

_HIDDEN = "(set, hidden)"


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
        print_table(("variable", "value", "from"), (_row(name, said) for name, said in rows.items()))
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


def _row(name: str, said: dict[str, Any]) -> tuple[str, str, str]:
    source = "the environment" if said["source"] == name else said["source"]
    return name, _as_text(said["value"]), source


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
