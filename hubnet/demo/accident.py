"""The accident of `hubnet demo --kill-one`: a worker is killed in the middle of a frame, and the film is complete."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hubnet.demo.farm import Worker
    from hubnet.demo.handout import Handout
    from hubnet.demo.view import View


_MIDDLE = 0.3  # of a frame: not so late that the frame comes before the news of it


class Accident:
    """Kills, by SIGKILL, the first worker seen in the middle of a frame once a third of the film is there."""

    def __init__(self, total: int, view: View) -> None:
        self._from = total // 3
        self._view = view
        self.happened = False

    def may_happen(self, worker: Worker, handout: Handout) -> None:
        """Called with each worker that has come further in its frame."""
        if self.happened or handout.done < self._from or not _MIDDLE <= worker.part < 1:
            return
        self.happened = True
        self._view.say(f"killing {worker.name} (pid {worker.peer.pid}) at {worker.part:.0%} of frame {worker.frame}")
        os.kill(worker.peer.pid, signal.SIGKILL)
