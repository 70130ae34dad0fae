"""JPEGs decoded at a part of their size: the same pixels by either library, and the same size told by everybody."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resmom.data import decode as decoding
from resmom.data.check import check
from resmom.data.decode import decode, header
from resmom.data.errors import DataError
from resmom.data.jpeg import decode_jpeg, divisible, divisor
from resmom.data.open import absolute, open_data
from resmom.data.packing import pack
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Source
from tests.data.test_decode import apart
from tests.data.test_folder import every

PLAIN = [{}, {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 5}]


def photo(size: tuple[int, int] = (333, 217), mode: str = "RGB") -> Image.Image:
    """Width and height as Pillow has them; neither is a multiple of 8."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)


def save(file: Path | BytesIO, turn: int = 1, size: tuple[int, int] = (333, 217), mode: str = "RGB", **o: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    photo(size, mode).save(file, "JPEG", exif=exif, **o)


def by_pillow(file: Path, shorter_side: int, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_jpeg", lambda *_: None)
        return decode(file, shorter_side)


def same(file: Path, shorter_side: int, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """The image, which both libraries and the header must agree on."""
    image = decode(file, shorter_side)
    assert torch.equal(image, by_pillow(file, shorter_side, monkeypatch))
    assert header(file, shorter_side) == tuple(image.shape[1:])
    return image


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(16, 1000))
def test_the_largest_divisor_that_keeps_the_shorter_side(height: int, width: int, side: int) -> None:
    by, short = divisor(height, width, side), min(height, width)
    assert by in (1, 2, 4, 8) and (by == 1 or -(-short // by) >= side)
    assert by == 8 or -(-short // (2 * by)) < side
    assert divisor(height, width, 0) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", PLAIN)
@pytest.mark.parametrize("turn", range(1, 9))
def test_pixels_are_equal_by_either_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, options: dict[str, int], turn: int
) -> None:
    pytest.importorskip("simplejpeg")
    file = tmp_path / "photo.jpg"
    save(file, turn, mode=mode, **options)
    fast = decode_jpeg(file.read_bytes(), None, 50)
    assert (fast is None) == (mode == "CMYK")  # which is left to Pillow, and reduced there
    for side, height, width in ((110, 217, 333), (109, 109, 167), (55, 55, 84), (28, 28, 42), (16, 28, 42)):
        image = same(file, side, monkeypatch)
        assert image.shape == ((3, width, height) if turn >= 5 else (3, height, width))


@pytest.mark.parametrize("width", range(136, 153))
def test_odd_sizes_are_rounded_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    for by, side in ((8, 16), (4, 32), (2, 64)):
        save(tmp_path / "photo.jpg", size=(width, 8 * 16 - 3))
        assert same(tmp_path / "photo.jpg", side - 1, monkeypatch).shape == (3, -(-125 // by), -(-width // by))


def test_the_reduced_image_is_the_mean_of_the_whole(tmp_path: Path) -> None:
    save(tmp_path / "photo.jpg", turn=6, size=(336, 216), quality=98, subsampling=0)
    whole = decode(tmp_path / "photo.jpg").float()
    for by in (2, 4, 8):
        mean = torch.nn.functional.avg_pool2d(whole, by)
        assert apart(decode(tmp_path / "photo.jpg", 216 // by), mean) < 4


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "bmp", "gif", "ppm"])
def test_other_formats_are_left_alone(tmp_path: Path, suffix: str) -> None:
    photo().save(tmp_path / f"photo.{suffix}")
    assert torch.equal(decode(tmp_path / f"photo.{suffix}", 20), decode(tmp_path / f"photo.{suffix}"))
    assert header(tmp_path / f"photo.{suffix}", 20) == (217, 333)


def test_the_first_of_several_photos_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MPO, as cameras with two lenses write it, under the name of a JPEG."""
    photo().save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (333, 217))])
    assert same(tmp_path / "two.jpg", 100, monkeypatch).shape == (3, 109, 167)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.98])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_damage_is_told_as_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: float, mode: str
) -> None:
    file = tmp_path / "photo.jpg"
    save(file, mode=mode)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    reasons = set()
    for side in (0, 50):
        with pytest.raises(UnreadableImage) as caught:
            decode(file, side)
        reasons.add(caught.value.reason)
        with pytest.raises(UnreadableImage) as caught:
            by_pillow(file, side, monkeypatch)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_changed_bytes_make_no_difference_between_the_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws, file = np.random.default_rng(0), tmp_path / "photo.jpg"
    save(file, turn=6)
    content, read = np.frombuffer(file.read_bytes(), dtype=np.uint8), 0
    for _ in range(150):
        damaged = content.copy()
        damaged[draws.integers(2, len(content), 2)] = draws.integers(0, 256, 2)
        file.write_bytes(damaged.tobytes())
        try:
            image = decode(file, 50)
        except UnreadableImage as error:
            with pytest.raises(UnreadableImage) as caught:
                by_pillow(file, 50, monkeypatch)
            assert caught.value.reason == error.reason
        else:
            read += 1
            assert torch.equal(image, by_pillow(file, 50, monkeypatch))
    assert 0 < read < 150


def lossless(height: int, width: int) -> bytes:
    """A grey JPEG by prediction and not by frequencies: every pixel is as predicted, which takes one bit each."""

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    table = segment(0xC4, bytes([0, 1, *[0] * 15, 0]))
    frame = segment(0xC3, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0))
    scan = segment(0xDA, bytes([1, 1, 0, 1, 0, 0])) + bytes(height * width // 8)
    return b"\xff\xd8" + table + frame + scan + b"\xff\xd9"


def test_a_lossless_jpeg_is_left_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libjpeg-turbo would write all of it into the memory for a part."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(lossless(240, 320))
    assert not divisible(BytesIO(lossless(240, 320)))
    try:
        whole = decode(file)
    except UnreadableImage:
        pytest.skip("this libjpeg knows no lossless JPEG")
    assert torch.equal(whole, torch.full((3, 240, 320), 128, dtype=torch.uint8))
    assert torch.equal(same(file, 16, monkeypatch), whole)


def test_a_header_out_of_the_ordinary_is_left_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "photo.jpg"
    save(file)
    content = file.read_bytes()
    behind = 4 + int.from_bytes(content[4:6], "big")  # the first segment
    for put, by in ((b"\xff", 8), (b"\0", 1)):  # padding before a marker; a stray byte
        file.write_bytes(content[:behind] + put + content[behind:])
        assert same(file, 16, monkeypatch).shape == (3, -(-217 // by), -(-333 // by))
    assert divisible(BytesIO(content[:2] + b"\xff\x01" + content[2:]))  # a marker without length
    assert not divisible(BytesIO(b"")) and not divisible(BytesIO(content[:20])) and not divisible(BytesIO(b"\xff\xd8"))


def test_the_limit_of_pixels_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "photo.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    for read in (decode, header):
        with pytest.raises(UnreadableImage, match="more than 50000 pixels"):
            read(tmp_path / "photo.jpg", 16)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, train and test: large and small JPEGs, a PNG, one that fails when decoded."""
    root = tmp_path / "photos"
    for split in ("train", "val"):
        for number, size in enumerate([(333, 217), (217, 333), (90, 70), (400, 400), (130, 129), (200, 300)]):
            file = root / split / "ab"[number % 2] / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            save(file, turn=1 + number, size=size)
        photo().save(root / split / "a/6.png")
    whole = (root / "train/a/4.jpg").read_bytes()
    (root / "train/a/4.jpg").write_bytes(whole[:-100])
    return root


def sizes(source: Source) -> list[list[int]]:
    return [list(image.shape[1:]) for image in every(source)]


@pytest.mark.parametrize("ram_limit", [0, 2**30])
def test_sizes_pixels_and_splits_of_a_folder(photos: Path, ram_limit: int) -> None:
    data, whole = open_data(f"{photos}@shorter-side=64", ram_limit), open_data(photos, ram_limit)
    assert data.test is not None and data.test.sizes.tolist() == sizes(data.test)
    assert sizes(data.test) == [[109, 167], [70, 90], [65, 65], [217, 333], [167, 109], [100, 100], [100, 150]]
    assert data.train.name == "photos/train@shorter-side=64" and data.origin == whole.origin
    assert data.train.labels is not None and whole.train.labels is not None
    assert (data.train.labels == whole.train.labels).all() and data.train.names() == whole.train.names()
    every(data.train)
    assert [name for name, _ in data.train.unreadable] == ["a/4.jpg"]
    assert data.spec == f"{photos}@shorter-side=64" and open_data(data.spec).train.fingerprint()


def test_the_fingerprint_is_that_of_what_is_seen(photos: Path) -> None:
    def of(spec: str) -> str:
        return open_data(f"{photos}{spec}", 0).train.fingerprint()

    assert of("") != of("@shorter-side=64") == of("@shorter-side=65") != of("@shorter-side=28")
    assert of("@shorter-side=1000") == of("")  # nothing is large enough: the same pixels


def test_the_limit_of_ram_counts_reduced_pixels(photos: Path) -> None:
    def held(spec: str, limit: int) -> bool:
        # What is held is a view of one block; what is decoded each time is not the same memory twice.
        source = open_data(spec, limit).train
        first, again = source.read(np.array([0]))[0], source.read(np.array([0]))[0]
        return first.data_ptr() == again.data_ptr()

    total = 3 * int(open_data(f"{photos}@shorter-side=64", 0).train.sizes.prod(axis=1).sum())
    assert held(f"{photos}@shorter-side=64", total) and not held(f"{photos}@shorter-side=64", total - 1)
    assert not held(str(photos), total)


def test_modifiers_in_any_order(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (open_data(f"{photos}{m}") for m in ("@shorter-side=64@held-out=0.3", "@held-out=0.3@shorter-side=64"))
    assert one.test is not None and other.test is not None and one.test.name.endswith("photos/train@shorter-side=64")
    assert one.train.fingerprint() == other.train.fingerprint() and one.test.fingerprint() == other.test.fingerprint()
    assert other.spec == f"{photos}@held-out=0.3@shorter-side=64"
    monkeypatch.chdir(photos.parent)
    assert absolute("photos@shorter-side=64@held-out=0.3") == f"{photos}@shorter-side=64@held-out=0.3"
    assert open_data(Path("photos@shorter-side=64")).spec == f"{photos}@shorter-side=64"
    photos.rename("photos@side=3")  # a folder may well be called so
    assert open_data("photos@side=3@shorter-side=64").train.name == "photos@side=3/train@shorter-side=64"


@pytest.mark.parametrize("number", ["", "x", "15", "0", "-448", "448.5", "4e2", "²", "448px"])
def test_a_bad_number_is_refused(photos: Path, number: str) -> None:
    with pytest.raises(DataError, match=f"'{number}' is no number of pixels; write a whole number from 16 up"):
        open_data(f"{photos}@shorter-side={number}")


@pytest.mark.parametrize("modifier", ["@shortest-side=448", "@side=448@held-out=0.1", "@shorter-side", "@x=1"])
def test_an_unknown_modifier_is_refused(photos: Path, modifier: str) -> None:
    for place in (str(photos), "cifar100:/data", "cifar10"):
        if "=" in modifier or place == str(photos):
            with pytest.raises(DataError, match=r"is nothing that may stand behind .*@held-out=0.1.*@shorter-side=448"):
                open_data(place + modifier)


def test_where_nothing_could_be_decoded_smaller_it_is_refused(photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 4, 5, 3), dtype=np.uint8))
    pack(photos, tmp_path / "pack")
    for spec in (str(tmp_path / "a.npz"), "cifar100", f"stl10:{tmp_path}"):
        with pytest.raises(DataError, match="arrays, with nothing to decode; leave it out"):
            open_data(f"{spec}@shorter-side=64")
    with pytest.raises(DataError, match=r"a pack, whose sizes are fixed; leave it out, or pack .* with --side 64"):
        open_data(f"{tmp_path}/pack@shorter-side=64")
    with pytest.raises(DataError, match="2 times; give it once"):
        open_data(f"{photos}@shorter-side=64@shorter-side=32")
    with pytest.raises(DataError, match="leave @shorter-side out and say --side 64"):
        pack(f"{photos}@shorter-side=64", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_a_check_sees(photos: Path) -> None:
    train, test = check(f"{photos}@shorter-side=64")
    assert train.sides == (65, 100, 217) and [name for name, _ in train.damaged] == ["a/4.jpg"] and not test.damaged
