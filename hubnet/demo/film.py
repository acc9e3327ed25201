"""Frames on disk, and what is made of them: a film that loops, and one sheet that shows every frame.

A frame is there whole or not at all, so whoever looks into the directory may trust what it finds: a farm
that was stopped goes on with what is `missing`. Frames may come in any order and twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

FPS = 12  # frames per second; a GIF counts in hundredths, so this plays as 12.5
THUMB_WIDTH = 160  # pixels; six in a row fit a README, and 24 of them stay below a megabyte
MARGIN = 6  # pixels around every frame of the sheet
CAPTION_HEIGHT = 16  # pixels; a line of Pillow's built-in font with air
PAPER, INK = (
    (16, 20, 28),
    (190, 198, 210),
)  # sRGB; dark enough to frame the pictures on a white page and a black one


def frame_path(directory: Path, number: int) -> Path:
    """Where the frame of this number is, or will be."""
    return directory / f"frame-{number:04d}.png"


def write_frame(directory: Path, number: int, png: bytes) -> Path:
    """Store one frame, over an older one if there is one; the directory is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    return _publish(frame_path(directory, number), png)


def missing(directory: Path, total: int) -> list[int]:
    """The numbers of the frames that are still to be rendered."""
    return [number for number in range(1, total + 1) if not frame_path(directory, number).is_file()]


def write_gif(frames: Sequence[Path], path: Path, fps: float = FPS) -> Path:
    """Make a GIF of the frames in the order given; it loops for ever."""
    first, *rest = _in_one_palette(_load(frames))
    file = BytesIO()
    hundredths = max(2, round(100 / fps))  # browsers slow down what claims to be faster than 50 a second
    first.save(file, "GIF", save_all=True, append_images=rest, duration=10 * hundredths, loop=0)
    return _publish(path, file.getvalue())


def write_contact_sheet(
    frames: Sequence[Path],
    path: Path,
    columns: int = 6,
    captions: Sequence[str] | None = None,
    width: int = THUMB_WIDTH,
) -> Path:
    """Make one PNG of all frames, row by row.

    Args:
        frames: the files, in reading order.
        path: where the sheet goes.
        columns: frames in a row.
        captions: one for each frame, such as the worker that rendered it; cut to the width of its frame.
        width: pixels of each frame on the sheet; its height follows, and no frame is enlarged.
    """
    from PIL import Image

    if captions is not None and len(captions) != len(frames):
        raise ValueError(f"{len(captions)} captions for {len(frames)} frames")
    images = _thumbnails(_load(frames), width)
    columns = min(columns, len(images))
    across = images[0].width + MARGIN
    down = images[0].height + MARGIN + (CAPTION_HEIGHT if captions is not None else 0)
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * across + MARGIN, rows * down + MARGIN), PAPER)
    for index, image in enumerate(images):
        corner = MARGIN + index % columns * across, MARGIN + index // columns * down
        sheet.paste(image, corner)
        if captions is not None:
            _write_under(sheet, image, corner, captions[index])
    file = BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return _publish(path, file.getvalue())


def _publish(path: Path, data: bytes) -> Path:
    """Write beside and rename, so that no reader ever sees half a file."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _load(frames: Sequence[Path]) -> list[Image.Image]:
    from PIL import Image

    if not frames:
        raise ValueError("a film needs at least one frame")
    images = []
    for frame in frames:
        with Image.open(frame) as image:
            images.append(image.convert("RGB"))
    return images


def _in_one_palette(images: list[Image.Image]) -> list[Image.Image]:
    """Reduce all frames to the same 256 colours: with a palette for each, the colours would flicker.

    Maximum coverage, because median cut spends its colours on the large floor and leaves few for the bright
    balls; k-means halves the grain that is left. Over all pixels that takes 20 s, over every sixteenth 0.5 s.
    """
    from PIL import Image

    width, height = (max(1, side // 4) for side in images[0].size)
    strip = Image.new("RGB", (width, height * len(images)))
    for index, image in enumerate(images):
        strip.paste(image.resize((width, height), Image.Resampling.NEAREST), (0, height * index))
    palette = strip.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    return [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]


def _thumbnails(images: list[Image.Image], width: int) -> list[Image.Image]:
    from PIL import Image

    width = min(width, images[0].width)
    size = width, max(1, round(images[0].height * width / images[0].width))
    return [image.resize(size, Image.Resampling.LANCZOS) for image in images]


def _write_under(sheet: Image.Image, image: Image.Image, corner: tuple[int, int], text: str) -> None:
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default()
    x, y = corner
    ImageDraw.Draw(sheet).text((x + 1, y + image.height + 2), _cut(text, image.width, font), INK, font)


def _cut(text: str, width: int, font: ImageFont | FreeTypeFont) -> str:
    """As much of the text as fits, with dots where it was cut."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
