"""One run of the demo: starts a hub and workers on this machine, lets the farm render, and puts the film together."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hubnet.demo import film
from hubnet.demo.accident import Accident
from hubnet.demo.processes import ProcessDied, Processes, private_net
from hubnet.demo.renderer import FrameJob
from hubnet.demo.view import LineView, LiveView, show_workers
from hubnet.errors import BrokerUnavailable, NoHub, NoPeer

if TYPE_CHECKING:
    from rich.console import Console

    from hubnet.demo.farm import Worker

_START = 120.0  # seconds for all workers to come; importing Mitsuba takes 1 to 2 on an idle core


class Wish(NamedTuple):
    """What was asked for."""

    workers: int
    frames: int
    size: tuple[int, int]
    samples: int
    fps: float
    out: Path
    kill_one: bool
    renderer: str

    @property
    def jobs(self) -> list[FrameJob]:
        """The frames, in the order of the film."""
        return [FrameJob(number, self.frames, *self.size, self.samples) for number in range(1, self.frames + 1)]

    @property
    def log(self) -> Path:
        """Where everything goes that the processes print."""
        return self.out / "workers.log"


def run(wish: Wish, console: Console) -> bool:
    """Make the film; whether all that was asked for has happened.

    Raises:
        FilmFailed: the film cannot be completed.
        ProcessDied: the hub or a worker did not start.
    """
    _log_to(wish.log)
    with private_net(), Processes(wish.log) as processes:
        try:
            return _make_film(wish, console, processes)
        finally:
            _leave()


def make_room(out: Path) -> None:
    """Make the folder, and remove what an earlier run left in it: a longer film's frames are no part of this one."""
    out.mkdir(parents=True, exist_ok=True)
    old = [path for path in out.iterdir() if re.fullmatch(r"frame-\d{4}\.png", path.name)]
    for path in (*old, out / "film.gif", out / "contact-sheet.png"):
        path.unlink(missing_ok=True)
    (out / "workers.log").write_bytes(b"")


def _log_to(log: Path) -> None:
    """What hubnet warns of in this process goes where that of the others goes; the terminal is for the bars."""
    logger = logging.getLogger("hubnet")
    logger.addHandler(logging.FileHandler(log))
    logger.propagate = False


def _make_film(wish: Wish, console: Console, processes: Processes) -> bool:
    from hubnet.demo.farm import Farm  # not before the net is private: its decorators register

    width, height = wish.size
    _say(console, f"starting a hub with its own broker, and {wish.workers} workers with {wish.renderer}")
    workers, took = _start(wish, processes)
    _say(console, f"all there after {took:.1f} s; rendering {wish.frames} frames of {width}x{height}")
    begin = time.monotonic()
    with LiveView(console, wish.frames, workers) if console.is_terminal else LineView(console, wish.frames) as view:
        accident = Accident(wish.frames, view)
        hook = accident.may_happen if wish.kill_one else None
        farm = Farm(workers, wish.jobs, wish.out, view, renderer=wish.renderer, on_progress=hook)
        farm.render()
    took = time.monotonic() - begin
    _put_together(wish, [farm.rendered_by[job.number] for job in wish.jobs])
    _tell(wish, console, took)
    show_workers(console, workers)
    if wish.kill_one and not accident.happened:
        _say(console, "\n--kill-one: no frame took long enough for a worker to be killed in it; give more --samples")
    return accident.happened or not wish.kill_one


def _start(wish: Wish, processes: Processes) -> tuple[list[Worker], float]:
    """The workers, once all are on the net, and how long that took."""
    from hubnet.demo.worker import GROUP

    begin = time.monotonic()
    processes.start("the hub", "hubnet.demo.hub")  # a process of its own, as in a real net: farms come and go
    for number in range(1, wish.workers + 1):
        processes.start(f"worker {number}", "hubnet.demo.worker", wish.renderer, HUBNET_GROUP=GROUP)
    while not (workers := _found(wish.workers)):
        processes.check()
        if time.monotonic() - begin > _START:
            raise ProcessDied(f"the hub and {wish.workers} workers did not start within {_START:.0f} s")
    return workers, time.monotonic() - begin


def _found(count: int) -> list[Worker]:
    """The workers, or none if they are not there within a second."""
    from hubnet.demo.farm import find_workers

    try:
        return find_workers(count, timeout=1)
    except (NoPeer, NoHub, BrokerUnavailable):
        return []


def _put_together(wish: Wish, rendered_by: Sequence[Worker]) -> None:
    frames = [film.frame_path(wish.out, job.number) for job in wish.jobs]
    captions = [f"{number}  {worker.name}" for number, worker in enumerate(rendered_by, 1)]
    film.write_gif(frames, wish.out / "film.gif", wish.fps)
    film.write_contact_sheet(frames, wish.out / "contact-sheet.png", captions=captions)


def _tell(wish: Wish, console: Console, took: float) -> None:
    _say(console, f"\n{wish.frames} frames in {took:.1f} s: {wish.frames / took:.2f} frames per second")
    _say(console, f"film:          {wish.out / 'film.gif'}")
    _say(console, f"contact sheet: {wish.out / 'contact-sheet.png'}")
    _say(console, f"frames:        {wish.out}/frame-0001.png to frame-{wish.frames:04d}.png\n")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _leave() -> None:
    """Withdraw from the net while there still is one."""
    import hubnet

    hubnet.Peer().stop(grace=1.0)
