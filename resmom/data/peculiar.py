"""What of an image is not read, or is little to read, without anything being wrong with it: further pages, further
channels, see-through parts, few grey levels."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image, TiffImagePlugin
from torch import Tensor

from resmom.data.decode import DAMAGE
from resmom.data.rgb import is_map
from resmom.data.tiff import has_further_pages

Kind = Literal["pages", "channels", "transparent", "few_levels_wide", "few_levels"]
"""`pages`: the first alone is read. `channels`: some are left out. `transparent`: an alpha channel with parts that are
laid over white. `few_levels`: nearly all pixels lie within `FEW` of 256 levels; `few_levels_wide` the same of what has
more than 8 bits a value in its file, so that levels were lost."""
KINDS: tuple[Kind, ...] = get_args(Kind)

FEW = 32
"""Grey levels, of the 256 that there are, that are few: what 12 bits stored in 16 use is half of them."""
_TAIL = 0.001
"""Share of the values that may lie outside, at either end: single hot pixels are no content."""
_GLANCE, _LOOKED_AT = 8, 128
"""Rows, and columns, of an image whose values are looked at: first, and where these are alike."""
_ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")


def left_out(image: Image.Image) -> set[Kind]:
    """What is not read of an image that Pillow has loaded from a file."""
    found: set[Kind] = set()
    if is_map(image) or _samples(image) > len(image.getbands()):
        found.add("channels")
    elif image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
        least = image.getchannel(len(image.getbands()) - 1).getextrema()[0]
        if least != 255:
            found.add("transparent")
    if _further_pages(image):  # last: looking there lets go of the pixels
        found.add("pages")
    return found


def is_wide(image: Image.Image) -> bool:
    """Whether its file has more than 8 bits a value, as far as a loaded image tells: not of 16-bit colours in a PNG."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(max(image.tag_v2.get(258, (1,))) > 8)
    return image.mode.startswith("I")


def has_few_levels(pixels: UInt8[Tensor, "3 h w"]) -> bool:
    """Whether nearly all values, of all channels together, lie within `FEW` levels.

    Most images are seen to have more by a few of their pixels, in microseconds; only of others more are counted.
    """
    values = pixels.numpy()
    # Not by numpy: it lets other threads have the interpreter, and to get that back takes longer than all of this.
    few = sorted(_sample(values, _GLANCE).tobytes())
    if few[len(few) * 49 // 50] - few[len(few) // 50] >= FEW:
        return False
    counts = np.bincount(_sample(values, _LOOKED_AT).reshape(-1), minlength=256)
    reached = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(reached, (_TAIL, 1 - _TAIL), side="right")
    return bool(high - low < FEW)


def _sample(values: UInt8[np.ndarray, "3 h w"], side: int) -> UInt8[np.ndarray, "3 _ _"]:
    """Rows and columns at even distances, about `side` of each, or up to twice as many."""
    height, width = values.shape[1:]
    return values[:, :: max(1, height // side), :: max(1, width // side)]


def _further_pages(image: Image.Image) -> bool:
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            return has_further_pages(image)
        return image.format in _ANIMATED and bool(getattr(image, "is_animated", False))
    except DAMAGE:  # of what lies behind the first page, which is good
        return True


def _samples(image: Image.Image) -> int:
    """Channels in a TIFF, as its tags say; 0 of other formats, which have none that Pillow leaves out."""
    return int(image.tag_v2.get(277, 1)) if isinstance(image, TiffImagePlugin.TiffImageFile) else 0
