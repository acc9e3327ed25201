"""The seam between the farm and whatever makes pictures: one job in, the PNG of one frame out.

Importing this costs nothing: a renderer is loaded by `find`, in the worker that is going to use it. Another
joins by a line in `_MODULES`. Blender could, with one trap to know of: `bpy` lets other threads run while
it renders, but hangs at interpreter exit when daemon threads (heartbeats) live beside it: drain first, then
`os._exit`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, Protocol, cast

FRAMES = 24  # two seconds of film at film.FPS; one turn of the camera, so 15 degrees from frame to frame
WIDTH, HEIGHT = 240, 180  # pixels; with SAMPLES about 2.3 s a frame on a 2.5 GHz core: half a minute on two
SAMPLES = 20  # paths per pixel; twice as many cost twice the time and take a third off the noise

_MODULES = {"mitsuba": "hubnet.demo.mitsuba_renderer"}
NAMES = tuple(sorted(_MODULES))


class FrameJob(NamedTuple):
    """One frame of an animation that loops. Frames are numbered from 1 to `total`, as their files are."""

    number: int
    total: int = FRAMES
    width: int = WIDTH
    height: int = HEIGHT
    samples: int = SAMPLES


class Renderer(Protocol):
    """What the farm asks of a renderer: the same job gives the same bytes, in any process and on any try."""

    @property
    def name(self) -> str:
        """The name it is found by."""

    def render(self, job: FrameJob, progress: Callable[[float], None] | None = None) -> bytes:
        """Render one frame on one core, other threads running meanwhile, and give it back as a PNG.

        Args:
            job: which frame, of how many, at what size and quality.
            progress: called from the rendering thread several times a frame with the part done, rising to
                exactly 1.0. What it raises ends the render: that is how a cancelled job stops early.
        """


def find(name: str) -> Renderer:
    """Load the renderer of this name, ready to render: the seconds of import are paid here, not in a frame.

    Raises:
        LookupError: there is none of that name; the text lists those there are.
        ImportError: what it needs is not installed; the text is one line and says what to install.
    """
    if name not in _MODULES:
        raise LookupError(f"no renderer is named {name!r}; there are: {', '.join(sorted(_MODULES))}")
    try:
        return cast(Renderer, import_module(_MODULES[name]).load())
    except ImportError as error:
        raise ImportError(f"the {name} renderer cannot be loaded ({error}); try: pip install 'hubnet[demo]'") from error
