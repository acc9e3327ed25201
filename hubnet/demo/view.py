"""What the farm shows: a live bar for the film and one for each worker, or plain lines where nobody watches.

The farm tells a view what happens, from several threads; a view decides what of it is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from hubnet.demo.farm import Worker


class View(Protocol):
    """What the farm tells."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def moved(self, worker: Worker) -> None:
        """It has begun a frame, or has come further in it."""

    def finished(self, worker: Worker, frame: int, seconds: float) -> None:
        """A frame of it is there."""

    def lost(self, worker: Worker, error: Exception) -> None:
        """It is gone, and with it the frame it had."""


class LineView:
    """One line for each frame."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def moved(self, worker: Worker) -> None:
        """Seen in live bars only."""

    def finished(self, worker: Worker, frame: int, seconds: float) -> None:
        """A frame of it is there."""
        self._done += 1
        self.say(f"{self._done:4d}/{self._total}  frame {frame:4d}  {seconds:6.2f} s  {worker.name}")

    def lost(self, worker: Worker, error: Exception) -> None:
        """It is gone, and with it the frame it had."""
        self.say(f"lost {worker.name} with frame {worker.lost_with}, which may so be rendered twice: {error}")

    def __enter__(self) -> LineView:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        pass


class LiveView(LineView):
    """A bar for the film and a line with a bar for each worker; lines that stay scroll by above them."""

    def __init__(self, console: Console, total: int, workers: Sequence[Worker]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        super().__init__(console, total)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("{task.fields[note]}", markup=False), console=console,
        )  # fmt: skip
        self._film: TaskID = self._bars.add_task("film", total=total, note=f"0/{total} frames")
        self._lines = {worker.name: self._bars.add_task(worker.name, total=1.0, note="ready") for worker in workers}

    def moved(self, worker: Worker) -> None:
        """Its bar is that of its frame."""
        self._bars.update(self._lines[worker.name], completed=worker.part, note=_note(worker))

    def finished(self, worker: Worker, frame: int, seconds: float) -> None:
        """A frame of it is there."""
        self._done += 1
        self._bars.update(self._lines[worker.name], completed=1.0, note=_note(worker))
        self._bars.update(self._film, advance=1, note=f"{self._done}/{self._total} frames")

    def lost(self, worker: Worker, error: Exception) -> None:
        """Its line stays, and says so."""
        super().lost(worker, error)
        self._bars.update(self._lines[worker.name], note=_note(worker))

    def __enter__(self) -> LiveView:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._bars.stop()


def _note(worker: Worker) -> str:
    now = "" if worker.frame is None else f"frame {worker.frame}, "
    return "lost" if worker.lost_with is not None else f"{now}{worker.frames} done"


def show_workers(console: Console, workers: Sequence[Worker]) -> None:
    """A table of what each worker did."""
    from rich.table import Table

    table = Table("worker", "pid", "frames", "busy", "", box=None, padding=(0, 2, 0, 0), highlight=False)
    for worker in workers:
        end = "" if worker.lost_with is None else f"lost with frame {worker.lost_with}"
        table.add_row(worker.name, str(worker.peer.pid), str(worker.frames), f"{worker.seconds:.1f} s", end)
    console.print(table)
