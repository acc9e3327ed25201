"""The hand-out: which frames wait, who has which, and when it is over.

A worker with nothing to do waits until every frame is there: one may come back from a worker that was lost. A frame
that was lost goes first, because the film waits for it. A frame that failed goes to another worker once; when it fails
again it is the frame that is at fault, and no more are handed out.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable


class FilmFailed(Exception):
    """The film cannot be completed; the text says why."""


class Handout:
    """Frames for workers, both known by name or number; every method may be called from any thread."""

    def __init__(self, frames: Iterable[int], workers: Iterable[str]) -> None:
        self._waiting = deque(frames)
        self._total = len(self._waiting)
        self._workers = set(workers)
        self._out: dict[str, int] = {}
        self._failed_by: dict[int, str] = {}
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self.done = 0

    def take(self, worker: str) -> int | None:
        """The next frame for this worker, as soon as there is one; None when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._next(worker) is not None)
            frame = None if self._over else self._next(worker)
            if frame is not None:
                self._waiting.remove(frame)
                self._out[worker] = frame
            return frame

    def finished(self, worker: str) -> None:
        """Its frame is there."""
        with self._changed:
            del self._out[worker]
            self.done += 1
            self._changed.notify_all()

    def lost(self, worker: str) -> None:
        """The worker is gone; its frame goes to another."""
        with self._changed:
            self._workers.discard(worker)
            if worker in self._out:
                self._waiting.appendleft(self._out.pop(worker))
            if not self._workers and not self._over:
                self._failure = FilmFailed(f"all workers are lost; {self.done} of {self._total} frames are there")
            self._changed.notify_all()

    def failed(self, worker: str, why: str) -> None:
        """Its frame could not be rendered: another worker tries once more."""
        with self._changed:
            frame = self._out.pop(worker)
            if frame in self._failed_by:
                self._failure = FilmFailed(
                    f"frame {frame} failed on {self._failed_by[frame]}, and again on {worker}: {why}"
                )
            self._failed_by[frame] = worker
            self._waiting.append(frame)
            self._changed.notify_all()

    def stop(self, failure: BaseException) -> None:
        """Hand out no more; `wait` raises this."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until every frame is there.

        Raises:
            FilmFailed: all workers are lost, or a frame failed twice.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._over)
            if self._failure is not None:
                raise self._failure

    @property
    def _over(self) -> bool:
        return self._failure is not None or self.done == self._total

    def _next(self, worker: str) -> int | None:
        """The first frame that has not failed on this very worker, unless nobody else is left to try it."""
        alone = len(self._workers) == 1
        return next((frame for frame in self._waiting if alone or self._failed_by.get(frame) != worker), None)
