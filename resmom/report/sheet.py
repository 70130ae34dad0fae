"""A sheet of images and their views as one PNG file: what a run would be trained on, to look at before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

from resmom.errors import UserError
from resmom.ondisk import replacing
from resmom.report.font import Font, font

Pixels = NDArray[np.uint8]
"""H x W x 3."""
Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels of the image."""

LEAST, MOST = 128, 256
"""Pixels of a cell: smaller views are enlarged by a whole number, larger ones reduced."""
GAP = 6
LINE = 18
"""Height of a line of words."""
INK, PAPER = "#101418", "#ffffff"
FRAMES = ("#0072b2", "#d55e00")
"""Of the first draw's first two views, and of their boxes in the image: told apart without colour vision too."""
MARKER = ("Software", "resmom views")
"""Says in the file whose it is."""


@dataclass(frozen=True)
class Shown:
    """An image, `draws[d][v]`: view v of draw d, and the boxes that the views of the first draw were cut from."""

    image: Pixels
    draws: Sequence[Sequence[Pixels]]
    boxes: Sequence[Box]


def require_place(out: Path) -> None:
    """Raise UserError unless the file is a new .png, or an earlier sheet of ours."""
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UserError(f"{out} is no .png file, and views are drawn into one: name it as in views.png")
    if out.exists():
        with out.open("rb") as file:
            ours = "\0".join(MARKER).encode() in file.read(200)
        if not ours:
            raise UserError(f"{out} exists and is no picture of views; name another file, or move it away")


def write_sheet(out: Path, shown: Sequence[Shown], words: Sequence[str]) -> None:
    """Write the picture whole or not at all, an image a row, with lines of words below. Raises as `require_place`."""
    require_place(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    info = PngImagePlugin.PngInfo()
    info.add_text(*MARKER)
    with replacing(out) as file:
        sheet(shown, words).save(file, "PNG", pnginfo=info, optimize=True)


def sheet(shown: Sequence[Shown], words: Sequence[str]) -> Image.Image:
    """The picture. The first view of the first draw sets the scale of all views; images are fitted into their cells."""
    side = shown[0].draws[0][0].shape[0]
    scale = max(1, LEAST // side) if side <= MOST else MOST / side
    cell = round(side * scale)
    lefts, width = _lefts(shown[0].draws, scale, cell)
    letters = font(13)
    lines = [line for text in words for line in _wrapped(text, letters, width - 2 * GAP)]
    top = GAP + 2 * LINE
    below = top + len(shown) * (cell + GAP)
    page = Image.new("RGB", (width, below + LINE * len(lines) + GAP), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((GAP, GAP + LINE), "image", fill=INK, font=letters)
    for d, draw in enumerate(lefts):
        pen.text((draw[0], GAP), f"epoch {d}", fill=INK, font=letters)
        for v, left in enumerate(draw):
            pen.text((left, GAP + LINE), f"view {v + 1}", fill=INK, font=letters)
    for number, each in enumerate(shown):
        _row(page, pen, top + number * (cell + GAP), each, lefts, scale, cell)
    for number, line in enumerate(lines):
        pen.text((GAP, below + LINE * number), line, fill=INK, font=letters)
    return page


def _row(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    top: int,
    shown: Shown,
    lefts: Sequence[Sequence[int]],
    scale: float,
    cell: int,
) -> None:
    """An image and its views, from the line `top` of the page on."""
    height, width = shown.image.shape[:2]
    by = cell / max(height, width)
    page.paste(_scaled(shown.image, by), (GAP, top))
    for box, colour in zip(shown.boxes, FRAMES, strict=False):
        _frame(pen, GAP, top, [by * number for number in box], colour)
    for d, draw in enumerate(shown.draws):
        for v, view in enumerate(draw):
            picture = _scaled(view, scale)
            page.paste(picture, (lefts[d][v], top))
            if d == 0 and v < len(FRAMES):
                _frame(pen, lefts[d][v], top, (0, 0, picture.height, picture.width), FRAMES[v])


def _lefts(draws: Sequence[Sequence[Pixels]], scale: float, cell: int) -> tuple[list[list[int]], int]:
    """Where the views of each draw begin, with a wider gap before a draw, and the width of the page."""
    found: list[list[int]] = []
    left = 2 * GAP + cell
    for draw in draws:
        left += GAP
        found.append([])
        for view in draw:
            found[-1].append(left)
            left += round(view.shape[1] * scale) + GAP
    return found, left


def _wrapped(text: str, letters: Font, width: int) -> list[str]:
    """A text in lines of at most so many pixels, a longer word apart."""
    lines: list[str] = []
    for word in text.split():
        if lines and letters.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _scaled(image: Pixels, by: float) -> Image.Image:
    """An image as many times as large; enlarged, its pixels stay to be seen."""
    height, width = image.shape[:2]
    resample = Image.Resampling.NEAREST if by >= 1 else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((max(1, round(width * by)), max(1, round(height * by))), resample)


def _frame(pen: ImageDraw.ImageDraw, left: int, top: int, box: Sequence[float], colour: str) -> None:
    """A frame of two pixels within a box: top, left, height, width."""
    y, x, height, width = map(round, box)
    edge = (left + x, top + y, left + x + max(width, 4) - 1, top + y + max(height, 4) - 1)
    pen.rectangle(edge, outline=colour, width=2)
