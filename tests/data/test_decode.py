"""Every kind of image file that Pillow can write for us, good and broken."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from resmom.data.decode import decode, header
from resmom.data.rgb import UnreadableImage

H, W = 24, 40


def photo(height: int = H, width: int = W) -> Image.Image:
    """Smooth and without symmetry, so that lossy formats keep it and every orientation looks different."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    pixels = np.stack([255 * y / (height - 1), 255 * x / (width - 1), 128 + 60 * np.sin(x / 7 + y / 11)], axis=-1)
    return Image.fromarray(pixels.round().astype(np.uint8))


def chw(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return (one.float() - other.float()).abs().max().item()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"photo.{suffix}"
    photo().save(file, **({"lossless": True} if suffix == "webp" else {}))
    image = decode(file)
    assert image.dtype == torch.uint8 and image.permute(1, 2, 0).is_contiguous() and header(file) == (H, W)
    assert torch.equal(image, chw(photo()))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (7, 1)])
def test_the_smallest_images(height: int, width: int) -> None:
    file = io.BytesIO()
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    Image.fromarray(pixels).save(file, "PNG")
    image = decode(file)
    image += 1  # the memory is the caller's to write in
    assert torch.equal(image, torch.from_numpy(pixels + 1).permute(2, 0, 1))


def test_bytes_in_memory_are_decoded_as_files_are() -> None:
    file = io.BytesIO()
    photo().save(file, "PNG")
    assert torch.equal(decode(file), chw(photo())) and header(file) == (H, W)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    file = tmp_path / f"photo.{suffix}"
    photo().save(file, exif=exif, **options)
    with Image.open(file) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    image = decode(file)
    assert torch.equal(image, chw(upright))
    assert header(file) == tuple(image.shape[1:]) == ((W, H) if orientation >= 5 else (H, W))


@pytest.mark.parametrize("order", "<>")
def test_orientation_in_either_byte_order_and_damaged(order: str) -> None:
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)

    def stored(exif: bytes) -> tuple[int, int]:
        file = io.BytesIO()
        photo().save(file, "JPEG", exif=b"Exif\0\0" + exif)
        image = decode(file)
        assert header(file) == tuple(image.shape[1:])
        return header(file)

    assert stored(block) == (W, H)
    assert stored(block[:12]) == stored(b"nonsense") == (H, W)
    assert stored(block.replace(struct.pack(f"{order}H", 6), struct.pack(f"{order}H", 9))) == (H, W)


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = photo().convert("L")
    for suffix in ("png", "pgm"):
        grey.save(tmp_path / f"grey.{suffix}")
        image = decode(tmp_path / f"grey.{suffix}")
        assert torch.equal(image, torch.from_numpy(np.array(grey)).expand(3, H, W))


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    photo().convert("1").save(tmp_path / "bits.png")
    assert set(decode(tmp_path / "bits.png").unique().tolist()) == {0, 255}


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_divided_by_257_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    if suffix == "pgm":
        (tmp_path / "deep.pgm").write_bytes(f"P5 {W} {H} 65535\n".encode() + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    image = decode(tmp_path / f"deep.{suffix}")
    assert torch.equal(image, torch.from_numpy((values / 257).round().astype(np.uint8)).expand(3, H, W))


def test_numbers_of_unknown_range_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((H, W), dtype=np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(np.full((H, W), 70000, dtype=np.int32)).save(tmp_path / "int.tif")
    for name, word in (("float", "floating-point"), ("int", "beyond 16 bits")):
        with pytest.raises(UnreadableImage, match=word):
            decode(tmp_path / f"{name}.tif")


def tiff(values: np.ndarray, changes: dict[int, int]) -> io.BytesIO:
    """A grey TIFF with some tags changed: 258 bits, 262 which end is white, 339 kind of number."""
    dtype = values.dtype.newbyteorder("<")
    height, width = values.shape
    tags = {256: width, 257: height, 258: dtype.itemsize * 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
    tags |= {279: values.nbytes, 339: 2 if dtype.kind == "i" else 1} | changes
    data = values.astype(dtype).tobytes()
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


@pytest.mark.parametrize(
    ("kind", "word"), [("<u4", "beyond 16 bits"), ("<i4", "beyond 16 bits"), ("<i2", "signed integers")]
)
def test_wide_numbers_are_told_by_the_file_and_not_by_their_values(kind: str, word: str) -> None:
    """All of these would fit into 16 bits."""
    with pytest.raises(UnreadableImage, match=f"{word}, whose range is not known"):
        decode(tiff(np.full((H, W), 300, dtype=kind), {}))


@pytest.mark.parametrize(("kind", "most"), [("u1", 255), ("<u2", 65535)])
def test_a_tiff_may_count_from_white_to_black(kind: str, most: int) -> None:
    values = np.array([[0, most // 5, most]], dtype=kind)
    assert decode(tiff(values, {}))[0, 0].tolist() == [0, 51, 255]
    assert decode(tiff(values, {262: 0}))[0, 0].tolist() == [255, 204, 0]


def png(values: np.ndarray, depth: int, clear: bytes) -> bytes:
    """A PNG of H x W grey values or H x W x 3 colours of so many bits, with a transparent colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = [
        np.packbits((row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1) & 1).astype(np.uint8)).tobytes()
        for row in values
    ]
    size = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, 2 if values.ndim == 3 else 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", size), chunk(b"tRNS", clear), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_transparent_grey_of_any_depth_is_laid_over_white(depth: int, at: int) -> None:
    most = 2**depth - 1
    values = np.array([[0, most, most // 2, min(1, most)]])
    image = decode(io.BytesIO(png(values, depth, struct.pack(">H", values[0, at]))))
    wanted = [255 if value == values[0, at] else round(int(value) * 255 / most) for value in values[0]]
    assert image[:, 0].tolist() == [wanted] * 3


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_is_that_one_alone(depth: int) -> None:
    """One that differs in the last of its bits is seen."""
    scale = 257 if depth == 16 else 1
    values = np.array([[[10, 20, 30], [40, 50, 60]]]) * scale
    values = np.concatenate([values, values + np.array([[[0, 0, 0], [0, 0, 1]]])], axis=1)
    image = decode(io.BytesIO(png(values, depth, struct.pack(">HHH", *values[0, 1].tolist()))))
    last = [40, 50, 60] if depth == 16 else [40, 50, 61]
    assert image[:, 0].T.tolist() == [[10, 20, 30], [255] * 3, [10, 20, 30], last]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1)))
    opacity = torch.from_numpy(np.array(alpha)).float() / 255
    for name, image in (("rgba", photo().convert("RGBA")), ("la", photo().convert("LA"))):
        opaque = chw(image.convert("RGB")).float()
        image.putalpha(alpha)
        image.save(tmp_path / f"{name}.png")
        wanted = opacity * opaque + (1 - opacity) * 255
        assert apart(decode(tmp_path / f"{name}.png"), wanted) <= 1


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255, 255])])
def test_palettes_with_and_without_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    image = Image.fromarray(np.arange(H * W, dtype=np.uint8).reshape(H, W) % 4)
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(tmp_path / "plain.png")
    assert decode(tmp_path / "plain.png")[:, 0, 0].tolist() == [10, 20, 30]
    image.save(tmp_path / "clear.png", transparency=transparency)
    shown = decode(tmp_path / "clear.png")
    assert shown[:, 0, 0].tolist() == [255, 255, 255] and shown[:, 0, 3].tolist() == [0, 0, 200]
    half = [200, 0, 0] if transparency == 0 else [227, 127, 127]
    assert apart(shown[:, 0, 1], torch.tensor(half)) <= 1


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    photo().convert("CMYK").save(tmp_path / "print.jpg", quality=100, subsampling=0)
    assert apart(decode(tmp_path / "print.jpg"), chw(photo())) <= 8


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (W, H), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(tmp_path / f"moving.{suffix}")[:, 5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "tif", "bmp", "ppm"])
def test_a_file_cut_short_is_unreadable(tmp_path: Path, suffix: str) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    photo(200, 300).save(whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert decode(whole).shape == (3, 200, 300)
    with pytest.raises(UnreadableImage, match=r"cut short|damaged|not an image"):
        decode(cut)


def test_reasons_are_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("This is no image.\n" * 20)
    photo().save(tmp_path / "page.eps")
    (tmp_path / "page.eps").rename(tmp_path / "page.jpg")
    reasons = {
        "empty.jpg": "file is empty",
        "text.jpg": "not an image",
        "page.jpg": "not an image",
        "none.jpg": "opened",
    }
    for name, reason in reasons.items():
        for read in (decode, header):
            with pytest.raises(UnreadableImage, match=reason) as caught:
                read(tmp_path / name)
            assert caught.value.reason == str(caught.value) and str(tmp_path) not in caught.value.reason
    with pytest.raises(UnreadableImage, match="file is empty"):
        decode(io.BytesIO())


@pytest.mark.parametrize("limit", [H * W - 1, H * W // 2 - 1])  # where Pillow only warns, and where it refuses
def test_more_pixels_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    photo().save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for read in (decode, header):
        with pytest.raises(UnreadableImage, match=f"more than {limit} pixels"):
            read(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert header(tmp_path / "bomb.png") == (H, W)


def test_only_pillow_is_silenced_and_only_once() -> None:
    # An EXIF entry that points outside of the block, in a JPEG without density: Pillow looks there and warns.
    exif = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x011A, 5, 1, 5000, 0)
    file = io.BytesIO()
    photo().save(file, "JPEG", exif=b"Exif\0\0" + exif)
    data = file.getvalue()
    start = data.index(b"JFIF") - 4
    bare = data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning), Image.open(io.BytesIO(bare)):
            pass
        for _ in range(3):
            assert decode(io.BytesIO(bare)).shape == (3, H, W)
        with pytest.raises(UserWarning):
            warnings.warn("somebody else's", stacklevel=1)
        before = list(warnings.filters)
        threads = [threading.Thread(target=decode, args=(io.BytesIO(bare),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert warnings.filters == before


def test_whatever_is_done_to_its_bytes_a_file_is_decoded_or_unreadable() -> None:
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM"):
        file = io.BytesIO()
        photo().save(file, kind)
        whole = np.frombuffer(file.getvalue(), dtype=np.uint8)
        for _ in range(40):
            data = whole[: rng.integers(1, len(whole) + 1)].copy()
            data[rng.integers(0, len(data), 3)] = rng.integers(0, 256, 3)
            try:
                assert tuple(decode(io.BytesIO(data.tobytes())).shape[1:]) == header(io.BytesIO(data.tobytes()))
            except UnreadableImage as error:
                assert error.reason


def bare_tiff(values: NDArray[np.uint16]) -> bytes:
    """A TIFF of uncompressed planes one after the other, by hand, for Pillow writes none. H x W x C, 16 bits."""
    h, w, bands = values.shape
    planes = [np.ascontiguousarray(values[:, :, band]).astype("<u2").tobytes() for band in range(bands)]
    entries = [
        *((256, 4, (w,)), (257, 4, (h,)), (258, 3, (16,) * bands), (259, 3, (1,)), (262, 3, (2,))),
        *(
            (273, 4, (0,) * bands),
            (277, 3, (bands,)),
            (278, 4, (h,)),
            (279, 4, tuple(map(len, planes))),
            (284, 3, (2,)),
        ),
    ]
    start = 8
    places = [start + sum(map(len, planes[:band])) for band in range(bands)]
    directory = start + sum(map(len, planes))
    extra = directory + 2 + 12 * len(entries) + 4
    head, tail = struct.pack("<H", len(entries)), b""
    for tag, kind, numbers in entries:
        packed = struct.pack(f"<{len(numbers)}{'HI'[kind == 4]}", *(places if tag == 273 else numbers))
        if len(packed) > 4:
            where = struct.pack("<I", extra + len(tail))
            tail += packed
        else:
            where = packed.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, len(numbers)) + where
    return b"II*\0" + struct.pack("<I", directory) + b"".join(planes) + head + b"\0" * 4 + tail


def test_planes_that_pillow_misreads_are_refused(tmp_path: Path) -> None:
    """Uncompressed, 16 bits, a plane after the other: it gives their bytes as if these were pixels."""
    values = np.arange(12 * 10 * 3, dtype=np.uint16).reshape(12, 10, 3) * 180
    path = tmp_path / "planes.tif"
    path.write_bytes(bare_tiff(values))
    with Image.open(path) as image:  # it is a file that Pillow takes
        assert (image.size, image.mode) == ((10, 12), "RGB")
    for reads in (decode, header):
        with pytest.raises(UnreadableImage, match="uncompressed planes of more than 8 bits"):
            reads(path)


@pytest.mark.parametrize("tag", [33550, 33922, 34735])
def test_a_fourth_band_of_a_map_is_no_transparency(tag: int, tmp_path: Path) -> None:
    """GDAL calls it alpha unless it is told otherwise; a TIFF without a place on the ground has the alpha it says."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 7, 4), dtype=np.uint8)
    path, plain = tmp_path / "map.tif", tmp_path / "plain.tif"
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[tag] = (1.0, 1.0, 0.0)
    info.tagtype[tag] = 12
    if tag == 34735:
        info[tag], info.tagtype[tag] = (1, 1, 0, 0), 3
    Image.fromarray(pixels).save(path, tiffinfo=info)
    Image.fromarray(pixels).save(plain)
    colours = pixels[:, :, :3].transpose(2, 0, 1)
    np.testing.assert_array_equal(decode(path), colours)
    assert not np.array_equal(decode(plain), colours)
