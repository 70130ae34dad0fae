"""The fast way into a JPEG: libjpeg-turbo by way of simplejpeg (extra `fast`), for files without any peculiarity.

Whatever is not plain (four channels, damage of any kind) is left to Pillow, which knows what to do or to say. Where
both decode a file, their pixels are equal: it is the same library, told to do the same.
"""

import importlib.util
from functools import cache

import numpy as np
from numpy.typing import NDArray

_START, _SCAN = b"\xff\xd8", 0xDA
_LONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers that stand alone, without a length behind them."""


@cache
def available() -> bool:
    """Whether simplejpeg is installed."""
    return importlib.util.find_spec("simplejpeg") is not None


def decode_jpeg(content: bytes, most_pixels: int | None) -> NDArray[np.uint8] | None:
    """The pixels H x W x 3 of a plain JPEG as stored, not yet turned upright; None for anything that Pillow must see.

    `most_pixels`: images larger than this are left to Pillow, too, which refuses them in words. Releases the
    interpreter's lock.
    """
    if not content.startswith(_START) or not available():
        return None
    import simplejpeg

    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        if space not in ("YCbCr", "RGB", "Gray") or (most_pixels is not None and height * width > most_pixels):
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False)
    except ValueError:  # damage of whatever kind
        return None
    return pixels


def exif_block(content: bytes) -> bytes | None:
    """The EXIF block of a JPEG file, beginning with its byte order; None if it has none."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF or marker in _LONE:  # padding, or a marker without length
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _SCAN:
            return None
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0":
            return content[at + 10 : at + 2 + length]
        at += 2 + length
    return None
