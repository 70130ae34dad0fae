"""Pixels to small pictures within the page."""

import base64
import io
from collections.abc import Mapping

import numpy as np
from jaxtyping import Integer
from numpy.typing import NDArray
from PIL import Image

from resmom.report.maskcolours import VOID, class_colour

SIDE = 80
"""Longest side of a picture in pixels: about twice what it takes on the page, and some 2 kB."""


def data_uri(pixels: NDArray[np.uint8], side: int = SIDE) -> str:
    """A picture of H x W x C pixels (C = 1 or 3) as JPEG in a data URI, its longest side at most `side`."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # Without the usual halving of colour: of so few pixels each one counts.
    image.save(file, "JPEG", quality=85, subsampling=0, optimize=True)
    return _embedded("jpeg", file)


_EDGE, _STRIPES, _FIRST = 0, 1, 3
_STRIPE = 4
"""Width of a stripe of void, in pixels."""


def mask_uri(labels: Integer[np.ndarray, "h w"], colours: Mapping[int, int], side: int = SIDE) -> str:
    """A picture of the class of each pixel as PNG in a data URI, its longest side at most `side`.

    `colours` are the number of the colour (`class_colour`) of every class; pixels of other labels, void, are striped.
    A dark line parts the areas, which so can be seen without colours.
    """
    height, width = labels.shape
    by = min(1.0, side / max(height, width))
    rows, columns = (((np.arange(max(1, round(n * by))) + 0.5) / by).astype(int).clip(0, n - 1) for n in labels.shape)
    small = labels[rows][:, columns]
    classes = list(colours)
    stripes = (np.add.outer(np.arange(len(rows)), np.arange(len(columns))) // _STRIPE) % 2
    picture = (_STRIPES + stripes).astype(np.uint8)
    for place, label in enumerate(classes):
        picture[small == label] = _FIRST + place
    edge = np.zeros(small.shape, dtype=bool)
    edge[1:] |= small[1:] != small[:-1]
    edge[:, 1:] |= small[:, 1:] != small[:, :-1]
    picture[edge] = _EDGE
    image = Image.fromarray(picture)
    palette = ["#101418", *VOID, *(class_colour(colours[label]) for label in classes)]
    image.putpalette(b"".join(bytes.fromhex(colour[1:]) for colour in palette))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return _embedded("png", file)


def _embedded(kind: str, file: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
