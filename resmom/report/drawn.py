"""Pictures of what was found in a photo: boxes with words and masks, or the class of every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image, ImageDraw

from resmom.report.font import Font, font, in_letters
from resmom.report.maskcolours import class_colour

SHARE = 0.45
"""Of a pixel's colour, that of its class, where a class is laid over a photo."""


@dataclass(frozen=True)
class Drawn:
    """One object: x1, y1, x2, y2 in pixels, the number of its class, words, and a mask H x W if it has one."""

    box: tuple[float, float, float, float]
    label: int
    words: str
    mask: Bool[np.ndarray, "h w"] | None = None


def with_boxes(photo: UInt8[np.ndarray, "h w 3"], objects: Sequence[Drawn]) -> Image.Image:
    """The photo with its objects, the first of them above the others; a class has one colour in all photos."""
    pixels = photo.copy()
    for thing in reversed(objects):
        if thing.mask is not None:
            pixels[thing.mask] = _mixed(pixels[thing.mask], rgb(thing.label))
    image = Image.fromarray(pixels)
    pen = ImageDraw.Draw(image)
    line = max(1, round(min(image.size) / 250))
    letters = font(max(10, round(min(image.size) / 35)))
    for thing in reversed(objects):
        x1, y1, x2, y2 = thing.box
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=rgb(thing.label), width=line)
        _tag(pen, thing, letters, image.size)
    return image


def _tag(pen: ImageDraw.ImageDraw, thing: Drawn, letters: Font, size: tuple[int, int]) -> None:
    """The words on the colour of the class: above the box, or within where there is no room above."""
    words = in_letters(thing.words, letters)
    left, top, right, bottom = pen.textbbox((0, 0), words, font=letters)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0.0, thing.box[0]), max(0.0, size[0] - width))
    y = thing.box[1] - height if thing.box[1] >= height else max(0.0, thing.box[1])
    colour = rgb(thing.label)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    pen.text((x + 2 - left, y + 2 - top), words, fill=(0, 0, 0) if light else (255, 255, 255), font=letters)


def with_classes(photo: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "h w"]) -> Image.Image:
    """The photo under the colours of its classes."""
    colours = np.array(palette(int(labels.max()) + 1))
    return Image.fromarray(_mixed(photo, colours[labels]))


def palette(classes: int) -> list[tuple[int, int, int]]:
    """The colours of so many classes, in their order, as red, green and blue of 0 to 255."""
    return [rgb(label) for label in range(classes)]


def rgb(label: int) -> tuple[int, int, int]:
    """The colour of a class."""
    red, green, blue = bytes.fromhex(class_colour(label)[1:])
    return red, green, blue


def _mixed(pixels: UInt8[np.ndarray, "*_ 3"], colour: object) -> UInt8[np.ndarray, "*_ 3"]:
    made: UInt8[np.ndarray, "*_ 3"] = ((1 - SHARE) * pixels + SHARE * np.asarray(colour)).round().astype(np.uint8)
    return made
