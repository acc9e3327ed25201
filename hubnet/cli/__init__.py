"""The command line: a group of commands, each family in a file of its own, imported when one of its commands is called.

Only click is imported up front, so that ``hubnet --help`` answers at once and a command whose extras are missing
(``demo``) breaks no other. How a command ends, its exit code and its one line on standard error, is the business of
``ending``.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, NamedTuple

import click

from hubnet.cli.ending import INTERRUPTED, PIPE, USAGE, ends_quietly, say_error


class _Place(NamedTuple):
    """Where a command is, and its line in the help."""

    module: str
    name: str
    help: str


_COMMANDS = {
    "hub": _Place("serving", "hub", "Be a hub: a peer that also keeps the register."),
    "worker": _Place("serving", "worker", "Import modules and serve what they connect."),
    "peers": _Place("listing", "peers", "List who is on the net."),
    "call": _Place("calling", "call", "Call a connection of a peer and print its result."),
    "listen": _Place("events", "listen", "Print events as they come."),
    "emit": _Place("events", "emit", "Trigger an event once."),
    "config": _Place("settings", "config", "Show every setting and where it comes from."),
    "health": _Place("health", "health", "Tell whether the peer of this machine or container is well."),
    "secret": _Place("secrets", "secret", "Make secrets, and exchange them while everything runs."),
    "tls": _Place("tls", "tls", "Make certificates for TLS between peers."),
    "redis": _Place("redis", "redis", "Print what a Redis with users needs."),
    "demo": _Place("demo", "demo", "A render farm on this machine, to look at."),
}

_EPILOG = """\b
Exit codes:
  0    done
  1    the call raised, or failed in another way
  2    wrong usage or a wrong setting
  3    nobody there: no hub, no Redis, no such peer, or it cannot be reached
  4    the time was up
  130  Ctrl-C; 141 the reader of the output went away

\b
Settings are HUBNET_ variables of the environment: `hubnet config` shows them.
HUBNET_DEV=1 logs all there is to know."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and lists all of them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        try:
            module = importlib.import_module(f"hubnet.cli.{place.module}")
        except ImportError as error:
            say_error(f"`hubnet {cmd_name}` cannot run here: {error}; pip install 'hubnet[{_extra(cmd_name)}]'")
            raise SystemExit(USAGE) from None
        found = getattr(module, place.name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, out of the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever comes of it becomes an exit code."""
        with ends_quietly():
            return super().invoke(ctx)


def _extra(name: str) -> str:
    return "demo" if name == "demo" else "cli"


@click.group(
    cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="hubnet", message="hubnet %(version)s")
def commands() -> None:
    """Python functions as calls and events between processes on many machines."""


def command() -> None:
    """Run the command line of this process; the console script's entry."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end a command
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")
    commands(prog_name="hubnet")


__all__ = ["INTERRUPTED", "PIPE", "LazyGroup", "command", "commands"]
