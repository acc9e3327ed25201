"""``hubnet health``: whether the peer of this machine or container answers and is registered.

For health checks of containers, each few seconds: it dials the peer's own port over loopback and asks for its
statistics. Neither Redis nor a hub is asked (the peer knows whether it is registered), so it costs a Python's start and
two links.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

import hubnet
from hubnet import environment
from hubnet.cli.arguments import seconds
from hubnet.cli.ending import FAILED, say_error
from hubnet.cli.roles import ask_only
from hubnet.errors import CallTimeout, ConfigError

_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound
_LATEST = 0.25


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Where the peer listens, instead of HUBNET_PORT.")
@click.option("--timeout", type=seconds, default=3.0, show_default=True, help="Seconds for everything.")
def health(port: int | None, timeout: float) -> None:
    """Tell whether the peer of this machine or container is registered and answers: exit code 0.

    It is looked for at HUBNET_PORT, on HUBNET_HOST or loopback. Exit code 1: it answers, but is not registered; 3: nobody
    answers; 4: somebody does, too late.
    """
    settings, _ = environment.load(os.environ, {})
    port = port or settings.port
    if not port:
        raise ConfigError("HUBNET_PORT=0: the system chose the peer's port, unknown here; use --port, or set one")
    host = _EVERYWHERE.get(settings.host, settings.host)
    ask_only(timeout=timeout)
    with _ends_at_last(timeout + _LATEST, f"{host}:{port}"):
        seen = hubnet.stats(peer=(host, port), timeout=timeout)
    if not seen.get("registered"):
        say_error(f"{host}:{port} answers, but is not registered: no hub or no Redis yet; its log says more")
        raise SystemExit(FAILED)
    click.echo(f"{host}:{port} is registered")


@contextmanager
def _ends_at_last(limit: float, where: str) -> Iterator[None]:
    """Whatever it hangs in. Disarmed afterwards: an alarm while Python shuts down would kill it, exit code and all."""

    def end(*_: object) -> NoReturn:
        raise CallTimeout(f"{where} did not answer in time")

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
