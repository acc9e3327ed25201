"""Commands that are a peer until stopped: a hub, and a worker that serves modules."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

import hubnet
from hubnet import embedded, environment, runtime
from hubnet.cli.ending import USAGE, say_error
from hubnet.cli.roles import development, serve_only
from hubnet.cli.shown import masked, shown, shown_lines
from hubnet.errors import BrokerUnavailable, ConfigError
from hubnet.peer import process_peer

_GROUP = click.option("--group", metavar="NAME", help="This peer's group, instead of HUBNET_GROUP.")
_SERVER_LIMIT = 15.0


@click.command()
@_GROUP
def hub(group: str | None) -> None:
    """Be a hub: a peer that also keeps the register.

    Without HUBNET_REDIS_URL the first hub of this machine and user runs an embedded Redis server. Ends on SIGTERM or
    Ctrl-C.
    """
    _end_on(signal.SIGTERM)
    serve_only(group=group)
    if "HUBNET_IS_HUB" not in os.environ:
        hubnet.configure(is_hub=True)
    settings = environment.settings()
    if not settings.is_hub:
        raise ConfigError(f"HUBNET_IS_HUB={os.environ['HUBNET_IS_HUB']} forbids what `hubnet hub` is for; unset it")
    if not settings.redis_url and not _embedded_url():
        embedded.find_server(settings.redis_server)  # none to run: better said now than by the hub, again and again
    _wait_until_listening()
    where = _embedded_url(wait=True) if not settings.redis_url else settings.redis_url
    kind = "" if settings.redis_url else " (embedded)"
    _announce("hub", f"Redis: {masked(where) if where else 'none yet'}{kind}")
    hubnet.serve()


@click.command()
@click.argument("modules", nargs=-1, required=True, metavar="MODULE...")
@_GROUP
@click.option("--main-thread", is_flag=True, help="Run calls on the main thread, for hosts that allow nothing else.")
def worker(modules: tuple[str, ...], group: str | None, main_thread: bool) -> None:
    """Import modules and serve what they connect and subscribe.

    MODULE is a dotted name or a path to a .py file. The current directory, and that of such a file, is where imports
    are looked for first. Ends on SIGTERM or Ctrl-C.
    """
    _end_on(signal.SIGTERM)
    serve_only(group=group)
    sys.path.insert(0, str(Path.cwd()))
    for module in modules:
        _import(module)
    if process_peer()._stopped:  # a module that serves by itself has served
        return
    _wait_until_listening()
    _announce("worker", f"serving {', '.join(shown(module) for module in modules)}")
    hubnet.serve(main_thread=main_thread)


def _end_on(number: signal.Signals) -> None:
    """Until ``serve`` looks after it: an orderly end, which withdraws what stands already."""

    def end(*_: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(number, end)


def _wait_until_listening() -> None:
    """However long the network takes to come up; the log tells what it waits for."""
    while True:
        with suppress(BrokerUnavailable):
            hubnet.Peer().ready()
            return
        time.sleep(0.1)  # ready() has waited already: HUBNET_TIMEOUT


def _announce(role: str, rest: str) -> None:
    peer = hubnet.Peer()
    _end_on(signal.SIGINT)  # whoever reads this line may press Ctrl-C before serve() is there
    text = f"hubnet {role}: listening on {peer.host}:{peer.port}, group {shown(peer.group)}; {rest}"
    print(text, flush=True)  # noqa: T201 - the one line that a user waits for


def _embedded_url(*, wait: bool = False) -> str:
    """Where this machine's embedded server is, once it answers; "" if it does not."""
    deadline = time.monotonic() + (_SERVER_LIMIT if wait else 0.0)
    while True:
        said = runtime.read("broker.json")
        if said and embedded.answers_here(str(said["url"])):
            return str(said["url"])
        if time.monotonic() >= deadline:
            return ""
        time.sleep(0.01)  # another process starts it: nothing to wait on


# -- importing ---------------------------------------------------------------------------------------------------------


def _import(wish: str) -> None:
    """Import a module as its importers would, or say in one line what is wrong."""
    path = Path(wish).resolve() if wish.endswith(".py") or os.sep in wish else None
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"cannot import {wish}: there is no such file")
        sys.path.insert(0, str(path.parent))
    name = path.stem if path else wish
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever it is, it is the module's
        if isinstance(error, SystemExit) and process_peer()._stopped:
            return
        if development():
            print(shown_lines(traceback.format_exc()), file=sys.stderr)  # noqa: T201
        say_error(f"cannot import {wish}: {_reason(error, name)}")
        raise SystemExit(USAGE) from None
    found = getattr(module, "__file__", None)
    if path is not None and (found is None or Path(found).resolve() != path):
        raise ConfigError(f"cannot import {wish}: another module is called {name} already ({found}); rename the file")


def _reason(error: BaseException, name: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return f"no module named {error.name!r} in {Path.cwd()} or elsewhere on Python's path"
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({error.filename}, line {error.lineno})"
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said
