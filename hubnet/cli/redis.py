"""``hubnet redis``: what somebody loads into Redis once, so that a hub's user there need not be allowed any script."""

from __future__ import annotations

import click

from hubnet import lua


@click.group()
def redis() -> None:
    """Print what a Redis with users needs."""


@redis.command()
def functions() -> None:
    """Print the Lua that hubs run, as a library of Redis functions.

    A Redis without users needs none of this. Where a hub's user may call functions and load no script, somebody who may
    loads the library, once for each version of hubnet and on each master of a Cluster; it stays with Redis's data:

    hubnet redis functions | redis-cli -e -x FUNCTION LOAD REPLACE
    """
    click.echo(lua.library(), nl=False)
