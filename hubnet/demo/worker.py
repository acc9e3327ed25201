"""The worker of the render farm: a function that renders a frame, and news of how far it has come.

`python -m hubnet.demo.worker` is one worker; start one for each core, on every machine that reaches the hub. Whoever
imports this module calls the same `render` with ``peer=`` and subscribes to the same news: it is the farm's contract.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

import hubnet
from hubnet.demo.processes import leave_with_parent
from hubnet.demo.renderer import FrameJob, find

GROUP = "render"
PROGRESS = "hubnet.demo.progress"
_loaded = cache(find)


@hubnet.connect("hubnet.demo.render", limit=1)
def render(job: FrameJob, renderer: str = "mitsuba") -> bytes:
    """Render one frame, one at a time, and give it back as a PNG."""
    worker = hubnet.Peer().id

    def tell(part: float) -> None:
        progress(worker, job.number, part)

    return _loaded(renderer).render(job, tell)


@hubnet.event(PROGRESS)
def progress(worker: bytes, frame: int, part: float) -> tuple[Any, Any]:
    """Tell everybody which part of a frame is done; costs the rendering thread no wait, whatever Redis does."""
    return (worker, frame, part), {}


def main(renderer: str = "mitsuba") -> None:
    """Serve frames until stopped. With HUBNET_AUTOSTART=0 this process joins once it can render, not before."""
    leave_with_parent()
    _loaded(renderer).render(FrameJob(1, 1, 8, 8, 1))  # what is slow the first time is not in the first frame
    hubnet.serve()
    os._exit(0)  # drained; where a frame was still running Mitsuba would crash an ordinary exit


if __name__ == "__main__":
    main(*sys.argv[1:])
