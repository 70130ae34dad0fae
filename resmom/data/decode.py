"""One image file to pixels: whatever is stored inside, uint8 RGB comes out, or `UnreadableImage` in plain words."""

import contextlib
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from torch import Tensor

from resmom.data import heif
from resmom.data.jpeg import decode_jpeg, divisible, divisor, exif_block
from resmom.data.rgb import UnreadableImage, load, odd_png, rgb_of
from resmom.data.tiff import require_known_planes, why_not_read, why_not_unpacked

# Pillow registers its rarer formats on first need, and not atomically: two threads that meet there can see a good WebP
# refused as "not an image". Importing the plugins by hand registers them before any thread starts.
_PLUGINS = (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# Nothing else is tried, apart from what `heif` opens: Pillow would, for one, hand PostScript in a file called .jpg to
# an interpreter.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

# What Pillow lets out of its parsers on damaged files: the first four and the last were seen when feeding it (10.3 and
# 13) 90 000 files with bytes changed or cut off, the division by zero with an AVIF. No Warning here: it once hid that
# one of torch's came from us.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    ZeroDivisionError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# The same on H x W x C arrays.
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: x.transpose(1, 0, 2)[:, ::-1],
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: x.transpose(1, 0, 2)[::-1],
}

Look = Callable[[Image.Image], None]

_ONE_AT_A_TIME = Lock()
_QUIET: tuple[object, ...] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decode(file: Path | BytesIO, shorter_side: int = 0, look: Look | None = None) -> UInt8[Tensor, "3 h w"]:
    """The pixels of an image file as uint8 RGB, 3 x H x W (channels last in memory), turned upright by its EXIF data.

    Grey is repeated over the three channels; transparent parts are laid over white, as a page would show them; 16-bit
    grey is divided by 257 and rounded; of an animation the first frame counts; colour profiles are not applied.

    Raises `UnreadableImage` where the file is missing, empty, cut short, damaged, of another format, of floating-point,
    signed or 32-bit pixels (whose range nobody knows), or of more than `PIL.Image.MAX_IMAGE_PIXELS` pixels (89 million
    unless the user sets another limit: a small file may else unpack into all the memory there is).

    With a `shorter_side`, in pixels and at least `LEAST_SIDE`, a JPEG is decoded at 1/8, 1/4 or 1/2 of its size: the
    smallest of them whose shorter side is no shorter. Sides are rounded up; other formats are not reduced.

    `look` is called with the image as Pillow has it when its pixels are there. It is not for plain JPEGs, which Pillow
    need not read, and of which nothing is left out.
    """
    plain = _plain_jpeg(file, shorter_side)
    if plain is not None:
        return torch.from_numpy(plain).permute(2, 0, 1)
    with _opened(file) as image:
        _reduce(image, shorter_side)
        pixels = _pixels(image)
        if look is not None:
            look(image)
        return pixels


def converted(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    """What `decode` makes of a file, of an image that is open in Pillow, loaded or not; it is left as it is.

    Raises `UnreadableImage` as `decode` does, the limit of pixels apart. What only the file tells (how wide the numbers
    of mode I are, and which values a transparent colour of few or many bits stands for) must be there to be asked:
    without it, mode I is refused.
    """
    _silence_pillow()
    with _damage_told():
        with _ONE_AT_A_TIME:  # an image has one file, whatever the number of threads that ask for it
            odd = odd_png(image)
        if odd:
            with Image.open(BytesIO(odd), formats=("PNG",)) as again:
                return _pixels(again)
        return _pixels(image)


def _pixels(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    turn = _orientation(image)
    rgb = rgb_of(image)
    if turn in _TURNS:
        rgb = rgb.transpose(_TURNS[turn])
    # `copy`: it would stay Pillow's own memory, which torch warns of.
    return torch.from_numpy(np.asarray(rgb).copy()).permute(2, 0, 1)


def _plain_jpeg(file: Path | BytesIO, shorter_side: int) -> NDArray[np.uint8] | None:
    """An H x W x 3 array of a plain JPEG, turned upright; None for what Pillow must open (or complain of)."""
    try:
        content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
    except OSError:
        return None
    pixels = decode_jpeg(content, Image.MAX_IMAGE_PIXELS, shorter_side)
    if pixels is None:
        return None
    turn = _turn(exif_block(content) or b"")
    return pixels if turn == 1 else np.ascontiguousarray(_UPRIGHT[turn](pixels))


def header(file: Path | BytesIO, shorter_side: int = 0) -> tuple[int, int]:
    """Height and width of what `decode` returns for `shorter_side`, in pixels, from the file's header alone.

    Raises `UnreadableImage` as `decode` does, as far as the header tells: a file cut short passes.
    """
    with _opened(file) as image:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow turns TIFF itself while it loads it, and not before version 11 does `size` say so beforehand.
            width, height, turn = image.tag_v2[256], image.tag_v2[257], image.tag_v2.get(274, 1)
        else:
            _reduce(image, shorter_side)
            width, height, turn = *image.size, _orientation(image)
        return (width, height) if turn in (5, 6, 7, 8) else (height, width)


def _reduce(image: Image.Image, shorter_side: int) -> None:
    """Have a JPEG that is not loaded yet decoded smaller, see `divisor`; its size is then the smaller one."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        by = divisor(image.height, image.width, shorter_side)
        if by > 1 and image.fp is not None and divisible(image.fp):
            image.draft(None, (image.width // by, image.height // by))


def stored(file: Path) -> NDArray[np.int64]:
    """The values of an image file as they are stored: H x W numbers of a palette or of grey, or H x W x 3 of RGB.

    For masks, whose pixels are names and no light: nothing is turned (but a HEIC, which has no other pixels), scaled or
    laid over white. Raises `UnreadableImage` as `decode` does, and for other kinds of pixels (transparency other than
    RGBA's, CMYK, floats).
    """
    with _opened(file) as image:
        load(image)
        if image.mode == "RGBA":
            image = image.convert("RGB")
        if image.mode not in ("1", "L", "P", "RGB") and not image.mode.startswith("I"):
            raise UnreadableImage(f"its pixels are of the kind {image.mode}; a mask has numbers (grey, palette) or RGB")
        return np.asarray(image).astype(np.int64)


@contextlib.contextmanager
def _opened(file: Path | BytesIO) -> Iterator[Image.Image]:
    """The file opened by Pillow; whatever goes wrong with it inside the block is raised as `UnreadableImage`."""
    _silence_pillow()
    with _damage_told(file), _any(file) as image:
        width, height = image.size
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            raise UnreadableImage(_too_large())
        if width * height == 0:
            raise UnreadableImage("it has no pixels")
        require_known_planes(image)
        yield image


def _any(file: Path | BytesIO) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        image = heif.opened(file)
        if image is None:
            raise
        return image


@contextlib.contextmanager
def _damage_told(file: Path | BytesIO | None = None) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise UnreadableImage(_reason(error, file)) from error


def _silence_pillow() -> None:
    """Ignore what Pillow's own modules warn of or log (corrupt EXIF and the like: the pixels are good or an error
    follows).

    `warnings.catch_warnings` swaps the filters of the whole process and so must not be entered by several threads at a
    time. One filter that matches Pillow's modules alone is added instead and stays; it is looked up first because
    adding it again would make Python forget which other warnings it has shown already.
    """
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=r"PIL\.")
    logger = logging.getLogger("PIL")
    if not logger.handlers:  # else Python prints errors that nobody asked for; whoever set up logging still gets them
        logger.addHandler(logging.NullHandler())


def _reason(error: Exception, file: Path | BytesIO | None) -> str:
    if isinstance(error, UnidentifiedImageError) and file is not None:
        size = file.stat().st_size if isinstance(file, Path) else file.getbuffer().nbytes
        if size == 0:
            return "the file is empty"
        return why_not_read(file) or f"not an image of the formats {', '.join((*_FORMATS, *heif.NAMES))}"
    if isinstance(error, Image.DecompressionBombError):
        return _too_large()
    if isinstance(error, OSError) and error.errno is not None and error.strerror is not None:
        return f"it cannot be opened: {error.strerror}"
    words = str(error).strip().lower()
    if isinstance(error, EOFError) or "truncated" in words or "end of file" in words:
        return "the file is cut short"
    # A number is all that Pillow has: libtiff tells standard error alone.
    if re.fullmatch(r"(decoder error )?-\d+", words) and file is not None:
        return why_not_unpacked(file)
    return f"the file is damaged ({str(error).strip() or type(error).__name__})"


def _too_large() -> str:
    return f"it has more than {Image.MAX_IMAGE_PIXELS} pixels, the limit that PIL.Image.MAX_IMAGE_PIXELS sets"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, as the bytes before the pixels give it; 1 where there is none or it is damaged.

    Read by hand: Pillow's `getexif` decodes a whole PNG to look for a late one, which `header` must not and `decode`
    must then not do either, lest the two disagree. TIFF and HEIC are 1 because those are turned while they are loaded.
    """
    exif = image.info.get("exif")
    if image.format in ("TIFF", "HEIF") or not isinstance(exif, bytes):
        return 1
    return _turn(exif.removeprefix(b"Exif\0\0"))


def _turn(block: bytes) -> int:
    """The orientation that an EXIF block (from its byte order on) gives in its first directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    with contextlib.suppress(struct.error):
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * entry)
            if (tag, kind) == (0x0112, 3):
                return int(value) if 1 <= value <= 8 else 1
    return 1
