"""Mitsuba 3 as a renderer that fits a farm: one core, no LLVM, news within the frame, the same bytes always.

A frame is rendered in passes of a few samples, each with a seed of its own, and averaged in linear light;
every pass ends in a call of `progress`. Other threads run meanwhile: one that beat every 2 ms waited 60 ms
at the longest (30 ms with no render beside it), and one to two seconds when the load was 13 on two cores.
The trap is the end: an interpreter that exits while a daemon thread renders dies of a segmentation fault,
so drain first, or leave by `os._exit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from hubnet.demo.mitsuba_scene import describe
from hubnet.demo.renderer import FrameJob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PASS_SAMPLES = 4  # five passes a frame by default; larger ones are a little less noisy, and tell less often
BRIGHTEST = 4.0  # linear; a stray path through the glass may be worth thousands and would leave a white dot
SEEDS = 100_000  # seeds set aside for each frame, so that no two frames share their noise


def load() -> MitsubaRenderer:
    """Import Mitsuba and set this process up: from here on it renders on the calling thread alone."""
    import drjit
    import mitsuba
    import numpy as np  # noqa: F401 - so that what is missing is missed now and not in the first frame
    from PIL import Image  # noqa: F401 - the same

    mitsuba.set_variant("scalar_rgb")  # plain C++; the llvm_* variants want a libLLVM, not in any wheel
    mitsuba.set_log_level(mitsuba.LogLevel.Error)  # else its progress bar writes over the farm's
    drjit.set_thread_count(1)  # Mitsuba's pool is Dr.Jit's; measured: one thread has all the CPU time
    return MitsubaRenderer()


class MitsubaRenderer:
    """Renders the demo's scene; made by `load`, which sets the process up.

    Two threads may render at once, but take turns in Mitsuba: for a second core start a second process.
    """

    name = "mitsuba"

    def render(self, job: FrameJob, progress: Callable[[float], None] | None = None) -> bytes:
        """Render one frame; see `Renderer.render`."""
        import mitsuba

        scene = mitsuba.load_dict(describe(job))
        light: Any = 0.0
        done = 0
        for seed, samples in _passes(job):
            light = light + samples * _one_pass(scene, seed, samples)
            done += samples
            if progress is not None:
                progress(done / job.samples)
        return _png(_srgb(light / done))


def _passes(job: FrameJob) -> Iterator[tuple[int, int]]:
    """The seed and the samples of each pass; the last one takes what is left over."""
    if job.samples < 1:
        raise ValueError(f"a frame needs at least one sample per pixel, not {job.samples}")
    for index, start in enumerate(range(0, job.samples, PASS_SAMPLES)):
        yield job.number * SEEDS + index, min(PASS_SAMPLES, job.samples - start)


def _one_pass(scene: Any, seed: int, samples: int) -> NDArray[np.float32]:
    import mitsuba
    import numpy as np

    render: Any = mitsuba.render  # typed for the llvm variants, where a seed is an array
    image = np.array(render(scene, spp=samples, seed=seed), dtype=np.float32)
    return np.minimum(image, np.float32(BRIGHTEST))


def _srgb(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light to the bytes of a screen: the curve of IEC 61966-2-1, and white for what is brighter."""
    import numpy as np

    light = np.clip(light, 0.0, 1.0)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    pixels: NDArray[np.uint8] = np.rint(255 * curve).astype(np.uint8)
    return pixels


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
