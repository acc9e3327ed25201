"""The farm: finds the workers on the net, hands each one frame after the other, and gathers the film.

One thread for each worker: it takes a frame, calls `render` on that worker directly, and stores the answer. The answer
comes over the link to that worker; the news of its progress comes over Redis, to whoever subscribes, and may be late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import hubnet
from hubnet.demo.film import write_frame
from hubnet.demo.handout import Handout
from hubnet.demo.renderer import FrameJob
from hubnet.demo.view import View
from hubnet.demo.worker import GROUP, PROGRESS, render


@dataclass(eq=False)
class Worker:
    """A worker as the farm sees it: where it is, and what it does and did."""

    name: str
    peer: hubnet.RemotePeer
    frame: int | None = None
    part: float = 0.0
    frames: int = 0
    seconds: float = 0.0
    lost_with: int | None = None


def find_workers(count: int, timeout: float) -> list[Worker]:
    """Wait until that many workers are on the net; they are numbered by host and process id.

    Raises:
        NoPeer, NoHub, BrokerUnavailable: not in time.
    """
    listing = hubnet.wait_for(count, groups=GROUP, timeout=timeout)
    peers = sorted((listing[index] for index in range(len(listing["peers"]))), key=lambda peer: (peer.host, peer.pid))
    return [Worker(f"worker-{number}", peer) for number, peer in enumerate(peers, 1)]


class Farm:
    """One animation in the making.

    Args:
        workers: who renders.
        jobs: the frames.
        folder: where they go.
        view: what is shown of it.
        renderer: by its name.
        on_progress: called with each worker that has come further in its frame.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        jobs: Sequence[FrameJob],
        folder: Path,
        view: View,
        *,
        renderer: str = "mitsuba",
        on_progress: Callable[[Worker, Handout], None] | None = None,
    ) -> None:
        self._workers = {worker.peer.id: worker for worker in workers}
        self._jobs = {job.number: job for job in jobs}
        self._folder = folder
        self._view = view
        self._renderer = renderer
        self._on_progress = on_progress
        self._handout = Handout(self._jobs, [worker.name for worker in workers])
        self.rendered_by: dict[int, Worker] = {}

    def render(self) -> None:
        """Render all frames.

        Raises:
            FilmFailed: all workers are lost, or a frame failed on two of them.
        """
        hubnet.subscribe(PROGRESS, groups=GROUP)(self._heard)
        for worker in self._workers.values():
            threading.Thread(target=self._keep_busy, args=[worker], name=worker.name, daemon=True).start()
        self._handout.wait()

    def _keep_busy(self, worker: Worker) -> None:
        try:
            while (number := self._handout.take(worker.name)) is not None:
                self._render_on(worker, number)
        except (hubnet.PeerLost, hubnet.PeerUnreachable, hubnet.PeerBusy) as error:
            self._lose(worker, error)
        except BaseException as error:
            self._handout.stop(error)
            raise

    def _render_on(self, worker: Worker, number: int) -> None:
        """One frame on one worker: stored, or handed back."""
        worker.frame, worker.part = number, 0.0
        self._view.moved(worker)
        begin = time.monotonic()
        try:
            png = render(self._jobs[number], self._renderer, peer=worker.peer)  # connect adds it
        except hubnet.RemoteError as error:
            self._view.say(f"frame {number} failed on {worker.name}: {str(error).splitlines()[0]}")
            self._handout.failed(worker.name, str(error))
            return
        finally:
            took = time.monotonic() - begin
            worker.seconds += took
        write_frame(self._folder, number, png)
        worker.frame, worker.frames = None, worker.frames + 1
        self.rendered_by[number] = worker
        self._view.finished(worker, number, took)
        self._handout.finished(worker.name)

    def _lose(self, worker: Worker, error: hubnet.CallError) -> None:
        worker.frame, worker.lost_with = None, worker.frame
        self._view.lost(worker, error)
        self._handout.lost(worker.name)

    def _heard(self, peer_id: bytes, frame: int, part: float) -> None:
        """News of a worker; it is old news when the frame itself has come before it."""
        worker = self._workers.get(peer_id)
        if worker is None or worker.frame != frame:
            return
        worker.part = part
        self._view.moved(worker)
        if self._on_progress:
            self._on_progress(worker, self._handout)
