"""What a command is on the net: a peer that serves, or one that only asks and is not listed."""

from __future__ import annotations

import logging
import os
import sys

from hubnet import environment, peer
from hubnet.cli.shown import shown, shown_lines
from hubnet.errors import HubnetError

_log = logging.getLogger("hubnet")
_MOST_TIMEOUT = 86400.0  # what HUBNET_TIMEOUT allows
_LEAST_TIMEOUT = 0.05


def ask_only(*, timeout: float | None = None, group: str | None = None, warns: bool = False) -> None:
    """Make this process one that only asks: unlisted, no hub, on a port of the system's choice, for this machine alone.

    A worker's HUBNET_PORT, HUBNET_ADVERTISE and HUBNET_IS_HUB stand in the environment of commands as well (in its
    container). Taken at their word a command would take its port, and its id.

    Args:
        timeout: seconds for reaching anybody, instead of HUBNET_TIMEOUT.
        group: instead of HUBNET_GROUP.
        warns: show warnings even when nobody watches.
    """
    _log_for_commands(logging.WARNING if warns or sys.stderr.isatty() else logging.CRITICAL)
    wishes: dict[str, object] = {"is_hub": False, "port": 0, "host": "127.0.0.1", "advertise": ""}
    if timeout is not None:
        wishes["timeout"] = min(max(timeout, _LEAST_TIMEOUT), _MOST_TIMEOUT)
    if group is not None:
        wishes["group"] = group
    environment.configure(**wishes)
    peer.only_ask()


def serve_only(*, group: str | None = None) -> None:
    """Make this process one that serves: it logs to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Log("%(asctime)s %(levelname)s %(message)s"))
    if not development():
        handler.addFilter(_is_news)
    _log.addHandler(handler)
    _log.setLevel(logging.DEBUG if development() else logging.INFO)
    _log.propagate = False
    if group is not None:
        environment.configure(group=group)


def development() -> bool:
    """HUBNET_DEV, without freezing the settings."""
    settings, _ = environment.load({"HUBNET_DEV": os.environ.get("HUBNET_DEV", "")}, {})
    return settings.dev


def _log_for_commands(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Log("%(asctime)s %(levelname)s %(message)s") if development() else _OneLine())
    handler.addFilter(_is_news)
    _log.addHandler(handler)
    _log.setLevel(logging.DEBUG if development() else level)
    _log.propagate = False


def _is_news(record: logging.LogRecord) -> bool:
    """Why a peer could not start is raised as well, and told at the end."""
    error = record.exc_info[1] if record.exc_info else None
    unexpected = error is not None and not isinstance(error, HubnetError)
    return unexpected or record.levelno < logging.ERROR or record.funcName != "_begin"


class _Log(logging.Formatter):
    """A message in one line, and a traceback in its own; neither steers the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return shown_lines(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = shown(record.message)
        return super().formatMessage(record)


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            text = f"{text}: {record.exc_info[1]}"
        return f"hubnet: {shown(text)}"
