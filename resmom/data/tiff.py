"""What the tags of a TIFF tell beyond its pixels: why it is not read, and whether more than one image lies in it."""

import struct
from collections.abc import Iterator
from io import BufferedIOBase, BytesIO
from pathlib import Path

from PIL import Image, TiffImagePlugin

from resmom.data.rgb import FLOATS, SIGNED, WIDE, UnreadableImage, range_unknown

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF, and with + of a BigTIFF."""
_SUBTYPE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 254, 256, 257, 258, 259, 262, 277
_PLANES, _KIND = 284, 339
_STRIPS, _TILES = 273, 324
_SMALLER, _MASK = 1, 4
"""Bits of a subtype."""
_LETTERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Of whole numbers, by how a tag has them."""
_HEAD = 4
"""Bytes of an entry before its count and its value or place: the tag, and what kind of value it has."""
_MOST_TAGS, _MOST_VALUES, _MOST_PAGES = 4096, 64, 64
"""Of a directory, of a tag, and of the pages that are looked at."""

_KINDS = {5: "complex integers", 6: "complex numbers"}
_COMPRESSIONS = {
    **{5: "LZW", 6: "JPEG", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"},
    **{34925: "LZMA", 50000: "Zstandard", 50001: "WebP"},
    # Those that Pillow does not know.
    **{22610: "JPEG XR", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "JPEG"},
    **{34933: "PNG", 34934: "JPEG XR", 50002: "JPEG XL", 52546: "JPEG XL"},
}
_EVERYWHERE = (1, 5, 7, 8, 32773, 32946)
"""Those that every libtiff unpacks, and files of all other formats."""
_REPACK = "save it uncompressed, or with LZW or deflate"

Tags = dict[int, tuple[int, ...]]
"""Whole numbers by the numbers of the tags that they are in."""


def require_known_planes(image: Image.Image) -> None:
    """Refuse a TIFF of several channels of more than 8 bits whose planes lie one after the other uncompressed: Pillow
    (seen with 11.1 to 13) gives the bytes of such planes as if they were pixels, without an error."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    if tags.get(_PLANES) == 2 and tags.get(_COMPRESSION, 1) == 1 and tags.get(_SAMPLES, 1) > 1:
        if max(tags.get(_BITS, (1,))) <= 8:
            return
        raise UnreadableImage(
            "a TIFF with uncompressed planes of more than 8 bits, one after the other, is not read; save it compressed "
            "(deflate), or with interleaved channels"
        )


def why_not_read(file: Path | BytesIO) -> str:
    """Why a TIFF is not read that Pillow does not know, and what to do, by the tags of its first page; empty where the
    file is no TIFF."""
    tags = _first_tags(file)
    if tags is None:
        return ""
    whole = all(tags.get(tag, (0,))[0] for tag in (_WIDTH, _HEIGHT)) and (_STRIPS in tags or _TILES in tags)
    if not whole:
        return "it is a TIFF that is damaged or cut short: it does not say where its pixels are, and how many"
    if unknown := _without_range(tags):
        return range_unknown(unknown)
    return f"it is a TIFF of a kind that is not read ({_described(tags)}); {_remedy(tags)}"


def _without_range(tags: Tags) -> str:
    """What its pixels are where nobody knows their range, in the words and the order of `rgb_of`; empty for others."""
    kind, bits = max(tags.get(_KIND, (1,))), max(tags.get(_BITS, (1,)))
    if kind == 3:
        return FLOATS
    if kind in (1, 2) and bits > 16:
        return WIDE
    return SIGNED if kind == 2 else ""


def why_not_unpacked(file: Path | BytesIO) -> str:
    """Why the pixels of a TIFF that Pillow knows could not be unpacked."""
    compression = (_first_tags(file) or {}).get(_COMPRESSION, (1,))[0]
    if compression in _EVERYWHERE:
        return "the file is damaged: its pixels cannot be unpacked"
    return (
        f"its pixels cannot be unpacked: the file is damaged, or this Pillow does not have its {_packed(compression)}; "
        f"{_REPACK}"
    )


def _first_tags(file: Path | BytesIO) -> Tags | None:
    """Those of the first page, as far as they can be read; None where the file is no TIFF."""
    with file.open("rb") if isinstance(file, Path) else BytesIO(file.getvalue()) as stream:
        return _first_page(stream) if stream.read(4) in _STARTS else None


def has_further_pages(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether there is a page besides the first that is neither a smaller copy of another nor a mask.

    Raises what Pillow does for one that is damaged or of a kind that it does not know.
    """
    if not image.is_animated:
        return False
    try:
        for page in range(1, _MOST_PAGES):
            image.seek(page)
            if not image.tag_v2.get(_SUBTYPE, 0) & (_SMALLER | _MASK):
                return True
    except EOFError:  # there is no such page
        return False
    finally:
        image.seek(0)
    return False


def _first_page(stream: BufferedIOBase) -> Tags:
    """What the tags of a file's first page say in whole numbers, few of a tag; none where they cannot be read."""
    stream.seek(0)
    start = stream.read(16)
    order, big = "<" if start.startswith(b"II") else ">", b"+" in start[2:4]
    place, count = ("Q", "Q") if big else ("I", "H")
    try:
        (at,) = struct.unpack_from(f"{order}{place}", start, 8 if big else 4)
        stream.seek(at)
        (entries,) = struct.unpack(f"{order}{count}", stream.read(struct.calcsize(f"{order}{count}")))
        entry = _HEAD + 2 * struct.calcsize(place)
        return dict(_numbers(stream, stream.read(min(entries, _MOST_TAGS) * entry), order, place))
    except (struct.error, OverflowError, ValueError, OSError):
        return {}


def _numbers(stream: BufferedIOBase, block: bytes, order: str, place: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The tags of a directory, whose entries lie in `block`; `place` is the form of counts and places in the file."""
    room = struct.calcsize(place)
    for start in range(0, len(block), _HEAD + 2 * room):
        tag, kind, count = struct.unpack_from(f"{order}HH{place}", block, start)
        if kind not in _LETTERS:
            continue
        form = f"{order}{min(count, _MOST_VALUES)}{_LETTERS[kind]}"
        value = block[start + _HEAD + room :][:room]
        if count * struct.calcsize(_LETTERS[kind]) > room:
            stream.seek(struct.unpack(f"{order}{place}", value)[0])
            value = stream.read(struct.calcsize(form))
        if count:
            yield tag, struct.unpack_from(form, value)


def _described(tags: Tags) -> str:
    (samples, *_), bits, kinds = tags.get(_SAMPLES, (1,)), max(tags.get(_BITS, (1,))), tags.get(_KIND, (1,))
    channels = "1 channel" if samples == 1 else f"{samples} channels"
    meant, compression = tags.get(_PHOTOMETRIC, (1,))[0], tags.get(_COMPRESSION, (1,))[0]
    colours = ""
    if samples == 3 and meant < 2:
        colours = " that are not said to be colours"
    elif meant == 3:
        colours = " of a palette"
    return f"{channels} of {bits}-bit {_KINDS.get(max(kinds), 'integers')}{colours}, {_packed(compression)}"


def _packed(compression: int) -> str:
    name = _COMPRESSIONS.get(compression)
    return "uncompressed" if compression == 1 else f"compression {compression}{f', {name}' if name else ''}"


def _remedy(tags: Tags) -> str:
    (samples, *_), bits = tags.get(_SAMPLES, (1,)), max(tags.get(_BITS, (1,)))
    if tags.get(_COMPRESSION, (1,))[0] not in TiffImagePlugin.COMPRESSION_INFO:
        return _REPACK
    if bits > 16:  # complex numbers
        return "scale it to unsigned integers of 8 bits, or one channel to 16 (docs/data.md)"
    if samples > 3 or samples == 2:
        return (
            "save up to three of its channels as RGB of 8 bits, or give all of them in Python as a uint8 array N x H x "
            "W x C"
        )
    return "save it as RGB, or as grey, of 8 bits"
