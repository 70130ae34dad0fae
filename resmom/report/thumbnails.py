"""Pixels to small pictures within the page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
