"""The seam and the Mitsuba renderer, on frames so small that the whole file takes seconds."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from hubnet.demo import renderer
from hubnet.demo.renderer import FrameJob, Renderer, find

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

needs_mitsuba = pytest.mark.skipif(
    not all(map(find_spec, ("mitsuba", "numpy", "PIL"))), reason="mitsuba is not installed: hubnet[demo]"
)

TOTAL = 24


def small(number: int, samples: int = 4, total: int = TOTAL) -> FrameJob:
    return FrameJob(number, total, width=32, height=24, samples=samples)


@pytest.fixture(scope="module")
def mitsuba() -> Renderer:
    return find("mitsuba")


def pixels(png: bytes) -> NDArray[np.float64]:
    import numpy as np
    from PIL import Image

    with Image.open(BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def difference(one: bytes, other: bytes) -> float:
    return float(abs(pixels(one) - pixels(other)).mean())


def test_a_job_survives_pickling_and_compares_equal() -> None:
    assert pickle.loads(pickle.dumps(small(3))) == small(3)


def test_an_unknown_renderer_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"no renderer is named 'povray'; there are: mitsuba"):
        find("povray")


def test_what_is_not_installed_is_told_in_one_line_with_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "drjit", None)
    with pytest.raises(ImportError) as caught:
        find("mitsuba")
    assert "pip install 'hubnet[demo]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_importing_the_seam_and_the_film_loads_nothing_heavy() -> None:
    code = (
        "import sys, hubnet.demo.renderer, hubnet.demo.film, hubnet.demo.mitsuba_renderer;"
        "sys.exit(', '.join({'mitsuba', 'drjit', 'numpy', 'PIL'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_by_default_the_film_is_two_seconds_of_small_frames() -> None:
    assert FrameJob(1) == (1, renderer.FRAMES, renderer.WIDTH, renderer.HEIGHT, renderer.SAMPLES)


@needs_mitsuba
def test_a_renderer_knows_the_name_it_was_found_by(mitsuba: Renderer) -> None:
    assert mitsuba.name == "mitsuba"


@needs_mitsuba
def test_a_frame_is_a_png_of_the_size_asked_for(mitsuba: Renderer) -> None:
    png = mitsuba.render(FrameJob(1, TOTAL, width=40, height=18, samples=1))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert pixels(png).shape == (18, 40, 3)


@needs_mitsuba
def test_the_same_job_gives_the_same_bytes_again(mitsuba: Renderer) -> None:
    assert mitsuba.render(small(5, samples=6)) == mitsuba.render(small(5, samples=6))


@needs_mitsuba
def test_the_same_job_gives_the_same_bytes_in_another_process(mitsuba: Renderer) -> None:
    code = (
        "import sys; from hubnet.demo.renderer import FrameJob, find;"
        f"sys.stdout.buffer.write(find('mitsuba').render(FrameJob(*{tuple(small(5))!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == mitsuba.render(small(5))


@needs_mitsuba
def test_threads_that_render_at_once_do_not_disturb_each_other(mitsuba: Renderer) -> None:
    alone = {number: mitsuba.render(small(number)) for number in (1, 2)}
    together: dict[int, bytes] = {}

    def work(number: int) -> None:
        together[number] = mitsuba.render(small(number))

    threads = [threading.Thread(target=work, args=[number]) for number in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


@needs_mitsuba
def test_every_frame_differs_from_the_next_and_the_last_leads_into_the_first(mitsuba: Renderer) -> None:
    frames = [mitsuba.render(small(number, samples=16)) for number in range(1, TOTAL + 1)]
    steps = [difference(frames[index - 1], frame) for index, frame in enumerate(frames)]
    seam, inside = steps[0], steps[1:]
    noise = difference(mitsuba.render(small(1, samples=12)), frames[0])
    assert min(steps) > 2 * noise
    assert min(inside) * 0.8 <= seam <= max(inside) * 1.2


@needs_mitsuba
def test_more_frames_mean_smaller_steps_of_the_same_turn(mitsuba: Renderer) -> None:
    quarter = mitsuba.render(small(7, samples=64, total=24))
    same_moment = mitsuba.render(small(13, samples=64, total=48))
    later = mitsuba.render(small(14, samples=64, total=48))
    assert difference(quarter, same_moment) < difference(quarter, later) / 2


@needs_mitsuba
def test_the_picture_is_neither_dark_nor_burnt_out(mitsuba: Renderer) -> None:
    image = pixels(mitsuba.render(small(1)))
    assert 50 < image.mean() < 200
    assert image.std() > 20
    assert (image >= 255).mean() < 0.1


@needs_mitsuba
def test_progress_comes_after_every_pass_and_ends_at_one(mitsuba: Renderer) -> None:
    told: list[float] = []
    mitsuba.render(small(1, samples=10), told.append)
    assert told == [0.4, 0.8, 1.0]


@needs_mitsuba
def test_listening_to_progress_does_not_change_the_picture(mitsuba: Renderer) -> None:
    assert mitsuba.render(small(2), lambda part: None) == mitsuba.render(small(2))


@needs_mitsuba
def test_what_progress_raises_ends_the_render(mitsuba: Renderer) -> None:
    told: list[float] = []

    def cancel(part: float) -> None:
        told.append(part)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        mitsuba.render(small(1, samples=12), cancel)
    assert len(told) == 1


@needs_mitsuba
def test_a_job_without_samples_is_refused(mitsuba: Renderer) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        mitsuba.render(small(1, samples=0))


@needs_mitsuba
def test_it_renders_on_one_core(mitsuba: Renderer) -> None:
    import drjit

    assert drjit.thread_count() == 1
    wall, cpu = time.perf_counter(), time.process_time()
    mitsuba.render(FrameJob(1, TOTAL, width=96, height=72, samples=16))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert cpu < 1.2 * wall


@needs_mitsuba
def test_other_threads_run_while_it_renders(mitsuba: Renderer) -> None:
    beats: list[float] = []
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.002):
            beats.append(time.perf_counter())

    heart = threading.Thread(target=beat)
    heart.start()
    begin = time.perf_counter()
    mitsuba.render(FrameJob(1, TOTAL, width=160, height=120, samples=4))  # one pass: a single call into C++
    end = time.perf_counter()
    over.set()
    heart.join()
    # Some 90 on an idle machine; were they held up, only the few of the time in Python would come through.
    assert sum(begin < moment < end for moment in beats) > 10
