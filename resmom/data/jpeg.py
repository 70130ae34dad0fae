"""The fast way into a JPEG: libjpeg-turbo by way of simplejpeg (extra `fast`), for files without any peculiarity.

Whatever is not plain (four channels, damage of any kind) is left to Pillow, which knows what to do or to say. Where
both decode a file, their pixels are equal: it is the same library, told to do the same.

A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size: each block of 8 x 8 pixels becomes one of 4, 2 or 1 to a side,
computed from its lowest frequencies alone.
"""

from io import BufferedIOBase, BytesIO
from typing import IO

import numpy as np
from numpy.typing import NDArray

from resmom.extras import importable

LEAST_SIDE = 16
"""Pixels of the smallest shorter side that images may be reduced to."""

_START, _SCAN = b"\xff\xd8", 0xDA
_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame, which say how its pixels are coded; those of `_DCT`: as blocks of frequencies."""
_LONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers that stand alone, without a length behind them."""


def available() -> bool:
    """Whether simplejpeg can be imported."""
    return importable("simplejpeg")


def divisor(height: int, width: int, shorter_side: int) -> int:
    """8, 4 or 2: the largest by which a JPEG's sides can be divided, its shorter one not below `shorter_side` pixels.

    1 if there is none, or if `shorter_side` is 0. A side that is no multiple is rounded up.
    """
    short = min(height, width)
    return next((by for by in (8, 4, 2) if 0 < shorter_side <= -(-short // by)), 1)


def divisible(file: IO[bytes] | BufferedIOBase) -> bool:
    """Whether a JPEG's pixels are blocks of frequencies, by its first frame; where the file is read on is left open.

    The trap: asked for a part of a lossless one, libjpeg-turbo gives the whole nevertheless, beyond the end of the
    memory it was given. A header with anything unusual before the frame does not count as divisible, lest the library
    read it otherwise than we do.
    """
    file.seek(0)
    marker = file.read(2)
    if marker != _START:
        return False
    while len(marker := file.read(2)) == 2 and marker[0] == 0xFF:
        if marker[1] in _FRAMES or marker[1] == _SCAN:
            return marker[1] in _DCT
        if marker[1] == 0xFF:  # padding
            file.seek(-1, 1)
        elif marker[1] not in _LONE:
            file.seek(int.from_bytes(file.read(2), "big") - 2, 1)
    return False


def decode_jpeg(content: bytes, most_pixels: int | None, shorter_side: int = 0) -> NDArray[np.uint8] | None:
    """The pixels H x W x 3 of a plain JPEG as stored, not yet turned upright; None for anything that Pillow must see.

    `most_pixels`: images with more of them in the file are left to Pillow, too, which refuses them in words.
    `shorter_side`: at least `LEAST_SIDE`, decoded at the size that `divisor` gives; 0 for the whole. Releases the
    interpreter's lock.
    """
    if not content.startswith(_START) or not available():
        return None
    import simplejpeg

    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
        if space not in ("YCbCr", "RGB", "Gray") or (most_pixels is not None and height * width > most_pixels):
            return None
        by = divisor(height, width, shorter_side)
        if by > 1 and not divisible(BytesIO(content)):
            by = 1
        # It takes the smallest size that is no smaller than asked for, from other fractions, too (3/8 and the like).
        least = (0, 0) if by == 1 else (-(-height // by), -(-width // by))
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content, "RGB", fastdct=False, fastupsample=False, min_height=least[0], min_width=least[1]
        )
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
