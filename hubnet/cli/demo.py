"""`hubnet demo`: its options, and what it refuses. What it does is in `hubnet/demo/run.py`."""

from __future__ import annotations

import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import click

from hubnet.demo import film, renderer
from hubnet.errors import ConfigError

_LARGEST = 4096  # pixels
_SLOWEST, _FASTEST = 1, 50  # frames per second; faster GIFs are slowed down by browsers


def _size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    if not match or not all(1 <= int(side) <= _LARGEST for side in match.groups()):
        raise click.BadParameter(f"{value!r} is no size such as 240x180, each side from 1 to {_LARGEST}")
    return int(match[1]), int(match[2])


def _fps(_: click.Context, __: click.Parameter, value: float) -> float:
    if not _SLOWEST <= value <= _FASTEST:  # a FloatRange lets nan through
        raise click.BadParameter(f"{value:g} is not from {_SLOWEST} to {_FASTEST}")
    return value


@click.command()
@click.option(
    "--workers", type=click.IntRange(1, 256), default=lambda: max(2, len(os.sched_getaffinity(0))),
    show_default="cores, at least 2", help="Worker processes, each a peer.",
)  # fmt: skip
@click.option("--frames", type=click.IntRange(1, 9999), default=renderer.FRAMES, show_default=True)
@click.option(
    "--size", metavar="WxH", callback=_size, default=f"{renderer.WIDTH}x{renderer.HEIGHT}", show_default=True,
    help="Width and height in pixels.",
)  # fmt: skip
@click.option(
    "--samples", type=click.IntRange(1, 10_000), default=renderer.SAMPLES, show_default=True,
    help="Paths per pixel: less noise, more time.",
)  # fmt: skip
@click.option(
    "--fps", type=float, callback=_fps, default=float(film.FPS), show_default=True, help="Frames per second of the film.",
)  # fmt: skip
@click.option(
    "--out", metavar="DIR", type=click.Path(file_okay=False, writable=True, path_type=Path), default="hubnet-film",
    show_default=True, help="Where frames, film.gif and contact-sheet.png go; those of an earlier run are replaced.",
)  # fmt: skip
@click.option("--kill-one", is_flag=True, help="Kill a worker in the middle; the film is complete all the same.")
@click.option("--renderer", type=click.Choice(renderer.NAMES), default="mitsuba", show_default=True)
def demo(**options: Any) -> None:
    """Render an animation on a farm of this machine alone: a broker, a hub, and workers that call and are called.

    Nothing needs to run or be set up; a net that runs already is left alone.
    """
    if options["kill_one"] and options["workers"] < 2:
        raise click.UsageError("--kill-one needs --workers 2 or more: the others complete the film")
    if trouble := _missing():
        _fail(trouble)
    from rich.console import Console

    from hubnet.demo.handout import FilmFailed
    from hubnet.demo.processes import ProcessDied
    from hubnet.demo.run import Wish, make_room, run

    wish = Wish(**options)
    try:
        make_room(wish.out)
    except OSError as error:
        raise click.BadParameter(f"cannot write there: {error}", param_hint="--out") from error
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C does: ends the children on the way out
        signal.signal(number, _stop)
    try:
        complete = run(wish, Console(highlight=False))
    except (FilmFailed, ProcessDied) as error:
        _fail(f"{error}\nWhat the processes said is in {wish.log}; the frames that are done are in {wish.out}/")
    sys.exit(0 if complete else 1)


def _missing() -> str:
    """What to say when something the demo needs is not installed."""
    from hubnet.embedded import find_server

    wish = os.environ.get("HUBNET_REDIS_SERVER", "")
    try:
        find_server(wish)
    except ConfigError as error:
        if wish:
            return str(error)
    else:
        if all(map(find_spec, ("mitsuba", "numpy", "PIL", "rich"))):
            return ""
    return "the demo needs more packages: pip install 'hubnet[demo]'"


def _stop(number: int, _: object) -> None:
    sys.exit(128 + number)


def _fail(text: str) -> NoReturn:
    click.echo(f"hubnet: {text}", err=True)
    sys.exit(1)
