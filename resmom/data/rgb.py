"""What is stored in an image that is open in Pillow, as 8-bit RGB: grey, wide grey, palettes, transparency."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

FLOATS, WIDE, SIGNED = "floating-point numbers", "integers beyond 16 bits", "signed integers"
"""Pixels of which nobody knows which one is white."""


class UnreadableImage(Exception):
    """A file is not an image that can be read. `reason` says why, in plain words and without the file's name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def range_unknown(pixels: str) -> str:
    """Why such pixels are not read."""
    return f"its pixels are {pixels}, whose range is not known; scale them to 8 or 16 bits (docs/data.md)"


def rgb_of(image: Image.Image) -> Image.Image:
    """8-bit RGB, transparent parts laid over white. Raises UnreadableImage for pixels whose range nobody knows."""
    # Both are asked of the file, which is closed by loading.
    depth = _png_depth(image)
    lower = _lower_bytes(image) if depth == 16 and image.mode == "RGB" and "transparency" in image.info else None
    load(image)
    _require_known_range(image)
    if image.mode.startswith("I"):
        return _from_wide_grey(image)
    if depth is not None and image.mode in ("1", "L", "RGB") and "transparency" in image.info:
        return _over_white(image.convert("RGB"), _clear(image, depth, lower))
    if is_map(image):  # what its file calls alpha is most often a further band: GDAL calls a fourth one so by default
        return image.convert("RGB")
    if image.has_transparency_data:
        # By way of RGBA: converting to RGB would only drop the alpha and show colours that were meant to be hidden.
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def load(image: Image.Image) -> None:
    """Decode the pixels, for damage of most kinds with Pillow's errors.

    Raises UnreadableImage where pillow-heif has but RuntimeError for it, or finds another size than the header said: a
    HEIC states it twice. (A TIFF's changes where Pillow turns it.)
    """
    width, height = image.size
    try:
        image.load()
    except RuntimeError as error:
        raise UnreadableImage(f"the file is damaged ({str(error).strip()})") from error
    if image.format == "HEIF" and image.size != (width, height):
        came = f"{image.height} x {image.width}"
        raise UnreadableImage(f"it has {came} pixels (height x width) where its header said {height} x {width}")


def odd_png(image: Image.Image) -> bytes:
    """The bytes of a PNG that is not loaded and whose transparent colour Pillow would tell less of afterwards: it would
    become another image when it is asked for again. None of any other.
    """
    file = unread(image)
    if file is None or image.tell() or image.mode not in ("1", "L", "RGB") or "transparency" not in image.info:
        return b""
    if _png_depth(image) in (8, None):
        return b""
    before = file.tell()
    file.seek(0)
    content = bytes(file.read())
    file.seek(before)
    return content


def _from_wide_grey(image: Image.Image) -> Image.Image:
    """65535 becomes 255, as it must: Pillow's own conversion clips at 255 and turns most of such an image white."""
    values, white = np.asarray(image).astype(np.uint32), 2 ** _wide_bits(image) - 1
    light = values if not _white_is_zero(image) else white - values
    grey = Image.fromarray(((light * 255 + white // 2) // white).astype(np.uint8)).convert("RGB")
    clear = image.info.get("transparency")
    return _over_white(grey, values == clear) if isinstance(clear, int) else grey


def _wide_bits(image: Image.Image) -> int:
    """Bits of grey that is wider than a byte. Pillow's mode does not tell: I is what it has for 32 bits, for signed
    numbers, and in some versions for 16-bit PNGs."""
    bits = 16 if image.mode.startswith("I;16") or image.format in ("PNG", "PPM") else 32
    return int(image.tag_v2[258][0]) if isinstance(image, TiffImagePlugin.TiffImageFile) else bits


def _require_known_range(image: Image.Image) -> None:
    """Raise UnreadableImage for numbers of which nobody knows which one is white."""
    if image.mode == "F":
        raise UnreadableImage(range_unknown(FLOATS))
    if image.mode.startswith("I") and _wide_bits(image) > 16:
        raise UnreadableImage(range_unknown(WIDE))
    # Also of 8 bits, which Pillow takes for unsigned ones.
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(339, (1,))[0] == 2:
        raise UnreadableImage(range_unknown(SIGNED))


def is_map(image: Image.Image) -> bool:
    """Whether it is a GeoTIFF of three bands and more: one whose pixels have a place on the ground."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.mode != "RGBA":
        return False
    return any(tag in image.tag_v2 for tag in (33550, 33922, 34735))  # scale, tie points, keys of the projection


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF counts from white to black. Pillow turns it round for up to 8 bits, but not for more."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(262) == 0


def _png_depth(image: Image.Image) -> int | None:
    """Bits of a sample as the header of a PNG has them; None for other formats, or once it is loaded."""
    file = unread(image)
    if file is None or not isinstance(image, PngImagePlugin.PngImageFile):
        return None
    before = file.tell()
    file.seek(24)
    depth = file.read(1)
    file.seek(before)
    return int(depth[0]) if depth else None


def unread(image: Image.Image) -> Any:
    """The open file of an image that is not loaded yet, in whatever form Pillow was given it; None once it is."""
    file = image.fp if isinstance(image, ImageFile.ImageFile) and image.tile else None
    return None if file is None or file.closed else file


def _lower_bytes(image: Image.Image) -> NDArray[np.uint8]:
    """Of 16-bit colours Pillow keeps the upper bytes alone; these are the lower ones, by its way for the other order of
    bytes."""
    file = unread(image)
    assert file is not None  # its depth was found there
    with Image.open(file, formats=("PNG",)) as again:
        codec, extents, offset, _ = again.tile[0]
        again.tile = [(codec, extents, offset, "RGB;16L")]  # type: ignore[list-item]
        return np.asarray(again)


def _clear(image: Image.Image, depth: int, lower: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
    """Where a PNG has the colour that it calls transparent: a value as stored, where Pillow's pixels are bytes."""
    colour, pixels = np.asarray(image.info["transparency"], dtype=np.int64), np.asarray(image)
    if image.mode == "1":
        colour, pixels = np.asarray(colour != 0), pixels[..., None]
    elif image.mode == "L":
        colour, pixels = colour * (255 // (2**depth - 1)), pixels[..., None]
    values = pixels if lower is None else pixels.astype(np.int64) * 256 + lower
    same: NDArray[np.bool_] = (values == colour).all(axis=2)
    return same


def _over_white(rgb: Image.Image, clear: NDArray[np.bool_]) -> Image.Image:
    pixels = np.array(rgb)
    pixels[clear] = 255
    return Image.fromarray(pixels)
