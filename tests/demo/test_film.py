"""Frames on disk and what is made of them, with painted frames: no renderer is needed here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pytest

from hubnet.demo import film

needs_pillow = pytest.mark.skipif(find_spec("PIL") is None, reason="Pillow is not installed: hubnet[demo]")

SIZE = (32, 24)


def painted(number: int, total: int = 6) -> bytes:
    """A frame that differs from all others: a bar that wanders over a ramp."""
    from PIL import Image

    image = Image.new("RGB", SIZE)
    bar = number * SIZE[0] // (total + 1)
    for x in range(SIZE[0]):
        for y in range(SIZE[1]):
            image.putpixel((x, y), (230, 40, 30) if abs(x - bar) < 3 else (20, 8 * x, 10 * y))
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    return [film.write_frame(tmp_path / "frames", number, painted(number)) for number in range(1, 7)]


def size_of(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:
        return image.size


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_frame_is_stored_under_its_number_and_the_directory_is_made(tmp_path: Path) -> None:
    path = film.write_frame(tmp_path / "new" / "frames", 7, b"picture")
    assert path == tmp_path / "new" / "frames" / "frame-0007.png" == film.frame_path(path.parent, 7)
    assert path.read_bytes() == b"picture"


def test_a_frame_rendered_again_replaces_the_older_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    film.write_frame(tmp_path, 1, b"older and longer")
    film.write_frame(tmp_path, 1, b"newer")
    assert (tmp_path / "frame-0001.png").read_bytes() == b"newer"
    assert names_in(tmp_path) == ["frame-0001.png"]


def test_a_write_that_fails_keeps_the_older_frame_and_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film.write_frame(tmp_path, 1, b"whole")

    def disk_full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError, match="No space"):
        film.write_frame(tmp_path, 1, b"broken")
    assert (tmp_path / "frame-0001.png").read_bytes() == b"whole"
    assert names_in(tmp_path) == ["frame-0001.png"]


def test_missing_lists_the_holes(tmp_path: Path) -> None:
    for number in (1, 3, 4):
        film.write_frame(tmp_path, number, b"picture")
    assert film.missing(tmp_path, 6) == [2, 5, 6]


def test_all_frames_are_missing_from_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert film.missing(tmp_path / "nowhere", 3) == [1, 2, 3]


def test_a_draft_does_not_count_as_a_frame(tmp_path: Path) -> None:
    (tmp_path / ".frame-0001.png.0123.part").write_bytes(b"half")
    assert film.missing(tmp_path, 1) == [1]


@needs_pillow
def test_the_gif_has_every_frame_in_the_order_given_and_loops_for_ever(frames: list[Path], tmp_path: Path) -> None:
    from PIL import Image, ImageChops, ImageSequence, ImageStat

    path = film.write_gif(frames, tmp_path / "film.gif", fps=10)
    with Image.open(path) as gif:
        assert len(list(ImageSequence.Iterator(gif))) == 6
        assert (gif.size, gif.info["loop"]) == (SIZE, 0)
        for index, frame in enumerate(frames):
            gif.seek(index)
            assert gif.info["duration"] == 100
            with Image.open(frame) as original:
                apart = ImageChops.difference(gif.convert("RGB"), original.convert("RGB"))
            assert max(ImageStat.Stat(apart).mean) < 12


@needs_pillow
@pytest.mark.parametrize(("fps", "milliseconds"), [(12, 80), (25, 40), (30, 30), (1000, 20)])
def test_the_gif_is_timed_in_hundredths_of_a_second_and_never_faster_than_browsers_play(
    frames: list[Path], tmp_path: Path, fps: float, milliseconds: int
) -> None:
    from PIL import Image

    with Image.open(film.write_gif(frames, tmp_path / "film.gif", fps)) as gif:
        assert gif.info["duration"] == milliseconds


@needs_pillow
@pytest.mark.parametrize(("columns", "across", "down"), [(6, 6, 1), (4, 4, 2), (1, 1, 6), (9, 6, 1)])
def test_the_sheet_has_room_for_every_frame_and_its_margins(
    frames: list[Path], tmp_path: Path, columns: int, across: int, down: int
) -> None:
    path = film.write_contact_sheet(frames, tmp_path / "sheet.png", columns)
    width, height = SIZE[0] + film.MARGIN, SIZE[1] + film.MARGIN
    assert size_of(path) == (across * width + film.MARGIN, down * height + film.MARGIN)


@needs_pillow
def test_the_sheet_shows_each_frame_at_its_place(frames: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    path = film.write_contact_sheet(frames, tmp_path / "sheet.png", columns=4)
    left, top = film.MARGIN + SIZE[0] + film.MARGIN, film.MARGIN + SIZE[1] + film.MARGIN
    with Image.open(path) as sheet, Image.open(frames[5]) as sixth:
        shown = sheet.crop((left, top, left + SIZE[0], top + SIZE[1]))
        assert shown.tobytes() == sixth.convert("RGB").tobytes()


@needs_pillow
def test_large_frames_are_shrunk_for_the_sheet_and_keep_their_shape(tmp_path: Path) -> None:
    from PIL import Image

    frame = tmp_path / "frame-0001.png"
    Image.new("RGB", (400, 300), (90, 120, 60)).save(frame)
    path = film.write_contact_sheet([frame], tmp_path / "sheet.png", width=80)
    assert size_of(path) == (80 + 2 * film.MARGIN, 60 + 2 * film.MARGIN)


def below_frames(path: Path, rows: int) -> list[bytes]:
    """The strips of the sheet in which captions stand, one for each row."""
    from PIL import Image

    down = SIZE[1] + film.MARGIN + film.CAPTION_HEIGHT
    with Image.open(path) as sheet:
        tops = [film.MARGIN + row * down + SIZE[1] for row in range(rows)]
        return [sheet.crop((0, top, sheet.width, top + film.CAPTION_HEIGHT)).tobytes() for top in tops]


@needs_pillow
def test_a_caption_is_written_below_its_frame(frames: list[Path], tmp_path: Path) -> None:
    path = film.write_contact_sheet(frames, tmp_path / "sheet.png", 3, ["ann"] * 3 + [""] * 3)
    first, second = below_frames(path, rows=2)
    assert len(set(zip(first[::3], first[1::3], first[2::3], strict=True))) > 1
    assert set(zip(second[::3], second[1::3], second[2::3], strict=True)) == {film.PAPER}


@needs_pillow
def test_a_long_caption_stays_within_its_frame(frames: list[Path], tmp_path: Path) -> None:
    from PIL import Image

    path = film.write_contact_sheet(frames[:2], tmp_path / "sheet.png", 2, ["a-worker-with-a-long-name", ""])
    top, left = film.MARGIN + SIZE[1], film.MARGIN + SIZE[0] + film.MARGIN
    with Image.open(path) as sheet:
        beside = sheet.crop((left, top, left + SIZE[0], top + film.CAPTION_HEIGHT))
    assert beside.getcolors() == [(SIZE[0] * film.CAPTION_HEIGHT, film.PAPER)]


@needs_pillow
def test_captions_must_be_as_many_as_frames(frames: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 captions for 6 frames"):
        film.write_contact_sheet(frames, tmp_path / "sheet.png", captions=["ann", "bob"])


@needs_pillow
@pytest.mark.parametrize("write", [film.write_gif, film.write_contact_sheet])
def test_a_film_of_no_frames_is_refused(write: object, tmp_path: Path) -> None:
    nothing: Sequence[Path] = []
    with pytest.raises(ValueError, match="at least one frame"):
        write(nothing, tmp_path / "film")  # type: ignore[operator]
    assert names_in(tmp_path) == []
