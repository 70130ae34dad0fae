"""TIFFs that are not read, and why; what their tags tell of further pages."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from resmom.data.decode import decode, header
from resmom.data.rgb import UnreadableImage
from resmom.data.tiff import has_further_pages

H, W = 6, 5


def tiff(kind: str = "u1", channels: int = 1, order: str = "<", big: bool = False, **tags: tuple[int, ...]) -> bytes:
    """A TIFF of zeros with interleaved channels, in either order of bytes; `tags`: t258=(…) and so on, () for none."""
    dtype = np.dtype(kind).newbyteorder(order)
    pixels = np.zeros((H, W, channels), dtype=dtype).tobytes()
    number = {"u": 1, "i": 2, "f": 3, "c": 6}[dtype.kind]
    start, word, count, room = (16, "Q", "Q", 8) if big else (8, "I", "H", 4)
    values = {256: (W,), 257: (H,), 258: (dtype.itemsize * 8,) * channels, 259: (1,), 262: (1 if channels < 3 else 2,)}
    values |= {273: (start,), 277: (channels,), 278: (H,), 279: (len(pixels),), 339: (number,) * channels}
    values |= {int(name[1:]): value for name, value in tags.items()}
    values = {tag: value for tag, value in values.items() if value}
    behind = start + len(pixels) + struct.calcsize(count) + len(values) * (20 if big else 12) + room
    entries, tail = b"", b""
    for tag in sorted(values):
        packed = struct.pack(f"{order}{len(values[tag])}H", *values[tag])
        if len(packed) > room:
            where, tail = struct.pack(f"{order}{word}", behind + len(tail)), tail + packed
        else:
            where = packed.ljust(room, b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, 3, len(values[tag])) + where
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, start + len(pixels)) if big else struct.pack(f"{order}I", 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}{count}", len(values)) + entries + bytes(room) + tail


def why(content: bytes, tmp_path: Path) -> str:
    """The reason, which is the same for the file, for its bytes, and for its header."""
    (tmp_path / "x.tif").write_bytes(content)
    reasons = set()
    for file in (tmp_path / "x.tif", io.BytesIO(content)):
        for read in (decode, header):
            with pytest.raises(UnreadableImage) as caught:
                read(file)
            reasons.add(caught.value.reason)
    (reason,) = reasons
    return reason


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("kind", "channels", "words", "remedy"),
    [
        ("c8", 1, "1 channel of 64-bit complex numbers", "scale it"),
        ("u2", 2, "2 channels of 16-bit integers", "save up to three of its channels as RGB of 8 bits"),
        ("u2", 5, "5 channels of 16-bit integers", "give all of them in Python as a uint8 array N x H x W x C"),
    ],
)
def test_what_pillow_does_not_know_is_told_by_its_tags(
    tmp_path: Path, kind: str, channels: int, words: str, remedy: str, order: str, big: bool
) -> None:
    reason = why(tiff(kind, channels, order, big), tmp_path)
    assert reason.startswith(f"it is a TIFF of a kind that is not read ({words}") and remedy in reason


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("kinds", "words"),
    [(("f2", "f4", "f8"), "floating-point numbers"), (("i1", "i2"), "signed integers"),
     (("u4", "i4", "u8", "i8"), "integers beyond 16 bits")],
)  # fmt: skip
def test_pixels_without_a_range_are_told_in_one_sentence(
    tmp_path: Path, kinds: tuple[str, ...], words: str, channels: int
) -> None:
    """Whether Pillow knows their kind, as it does one channel of 32-bit numbers, or not."""
    for kind in kinds:
        (tmp_path / "x.tif").write_bytes(tiff(kind, channels))
        with pytest.raises(UnreadableImage) as caught:
            decode(tmp_path / "x.tif")
        assert caught.value.reason == (
            f"its pixels are {words}, whose range is not known; scale them to 8 or 16 bits (docs/data.md)"
        )


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"t259": (50002,)}, "compression 50002, JPEG XL); save it uncompressed, or with LZW or deflate"),
        ({"t259": (34712,)}, "compression 34712, JPEG 2000); save it uncompressed"),
        ({"t259": (12345,)}, "compression 12345); save it uncompressed"),
        ({"t258": (10,)}, "1 channel of 10-bit integers, uncompressed); save it as RGB, or as grey, of 8 bits"),
        ({"t258": (16,), "t262": (3,)}, "1 channel of 16-bit integers of a palette, uncompressed); save it as RGB"),
        ({"t256": ()}, "damaged or cut short: it does not say where its pixels are"),
        ({"t273": ()}, "damaged or cut short: it does not say where its pixels are"),
    ],
)
def test_other_tags_that_are_not_known(tmp_path: Path, tags: dict[str, tuple[int, ...]], words: str) -> None:
    assert words in why(tiff(**tags), tmp_path)


def test_channels_that_are_no_colours_are_told_as_such(tmp_path: Path) -> None:
    """As a stack of three channels is saved by default."""
    words = "3 channels of 16-bit integers that are not said to be colours, uncompressed); save it as RGB"
    assert words in why(tiff("u2", 3, t262=(1,), t338=(0, 0)), tmp_path)


def test_more_channels_than_pillow_counts_are_not_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "7 channels of 8-bit integers" in why(tiff("u1", 7, t338=(0, 0, 0, 0)), tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("big", [False, True])
def test_whatever_is_cut_off_a_tiff_it_is_unreadable_in_words(big: bool) -> None:
    whole = tiff("f8", big=big)
    for length in range(4, len(whole)):
        with pytest.raises(UnreadableImage, match=r"it is a TIFF|range is not known"):
            decode(io.BytesIO(whole[:length]))


def test_damaged_tags_are_no_other_error() -> None:
    whole, rng = np.frombuffer(tiff("f8"), dtype=np.uint8), np.random.default_rng(0)
    for _ in range(300):
        data = whole.copy()
        data[rng.integers(4, len(data), 4)] = rng.integers(0, 256, 4)
        try:
            decode(io.BytesIO(data.tobytes()))
        except UnreadableImage as error:
            assert error.reason


@pytest.mark.parametrize("kind", ["i1", "<i2"])
def test_signed_numbers_are_refused_in_any_width(kind: str) -> None:
    """Pillow takes those of 8 bits for unsigned ones: -1 would be white."""
    with pytest.raises(UnreadableImage, match=r"signed integers, whose range is not known; scale them to 8 or 16 bits"):
        decode(io.BytesIO(tiff(kind)))


def deflated(content: bytes) -> bytes:
    """A TIFF of one strip whose pixels are `content`, said to be packed by deflate."""
    plain = tiff(t259=(8,), t279=(len(content),))
    return plain[:8] + content.ljust(H * W, b"\0") + plain[8 + H * W :]


def test_pixels_that_cannot_be_unpacked(tmp_path: Path) -> None:
    good = zlib.compress(bytes(H * W))
    assert decode(io.BytesIO(deflated(good))).shape == (3, H, W)
    with pytest.raises(UnreadableImage, match="the file is damaged: its pixels cannot be unpacked"):
        decode(io.BytesIO(deflated(b"\x78\x9c no such thing")))


def test_what_this_pillow_may_not_unpack_is_not_called_damaged_alone() -> None:
    """Pillow's own builds come without WebP for TIFFs."""
    packed = tiff(t259=(50001,))
    words = (
        r"cannot be unpacked: the file is damaged, or this Pillow does not have its compression 50001, WebP; save it"
    )
    with pytest.raises(UnreadableImage, match=words):
        decode(io.BytesIO(packed))


_TELLTALE = """
import io, sys
from PIL import Image
from resmom.runs.machine import silence_libtiff

def unpack():
    try:
        Image.open(io.BytesIO(bytes.fromhex(sys.argv[1]))).load()
    except OSError:
        pass

unpack()
print("said before", file=sys.stderr, flush=True)
print(silence_libtiff())
unpack()
"""


@pytest.mark.slow
def test_libtiff_can_be_silenced() -> None:
    """In a process of its own: what a C library prints goes past Python, and the silence lasts."""
    damaged = deflated(b"\x78\x9c no such thing").hex()
    done = subprocess.run([sys.executable, "-c", _TELLTALE, damaged], capture_output=True, text=True, check=True)
    before, after = done.stderr.split("said before\n")
    assert "ZIPDecode" in before
    assert after == "" if done.stdout.strip() == "True" else "ZIPDecode" in after
    if sys.platform.startswith("linux"):
        assert done.stdout.strip() == "True"


@pytest.mark.parametrize(("subtype", "further"), [(0, True), (2, True), (1, False), (4, False)])
def test_smaller_copies_and_masks_are_no_further_pages(subtype: int, further: bool) -> None:
    """The overviews of a map, a thumbnail."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = subtype  # of the first page, too, which is the one that is read whatever it says
    file = io.BytesIO()
    pages = [Image.new("L", (W, H)) for _ in range(2)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], tiffinfo=info)
    with Image.open(file) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile) and image.n_frames == 2
        image.load()
        assert has_further_pages(image) == further and image.tell() == 0
