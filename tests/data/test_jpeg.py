"""The fast way into a JPEG gives what Pillow gives, or leaves the file to Pillow."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("simplejpeg")

from resmom.data import decode as decoding
from resmom.data.decode import decode, header
from resmom.data.jpeg import decode_jpeg, exif_block
from resmom.data.rgb import UnreadableImage


def photo(mode: str = "RGB", size: tuple[int, int] = (53, 37)) -> Image.Image:
    draws = np.random.default_rng(0)
    small = draws.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode)


def by_pillow(file: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "decode_jpeg", lambda *_: None)
        return decode(file)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 5}])
@pytest.mark.parametrize("turn", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_pixels_equal_pillows_for_every_orientation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, options: dict[str, int], turn: int
) -> None:
    exif = Image.Exif()
    if turn:
        exif[0x0112] = turn
    file = tmp_path / "photo.jpg"
    photo(mode).save(file, exif=exif, **options)  # type: ignore[arg-type]
    assert decode_jpeg(file.read_bytes(), None) is not None  # the fast way was taken
    image = decode(file)
    assert torch.equal(image, by_pillow(file, monkeypatch))
    assert image.shape[1:] == header(file)


def test_four_channels_are_left_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "photo.jpg"
    photo("CMYK").save(file)
    assert decode_jpeg(file.read_bytes(), None) is None
    assert torch.equal(decode(file), by_pillow(file, monkeypatch))


@pytest.mark.parametrize("kept", [3, 100, 0.5, 0.98])
def test_a_file_cut_short_is_told_in_pillows_words(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "photo.jpg"
    photo().save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    assert decode_jpeg(file.read_bytes(), None) is None
    with pytest.raises(UnreadableImage):
        decode(file)


def test_the_limit_of_pixels_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "photo.jpg"
    photo().save(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="more than 1000 pixels"):
        decode(file)


def test_exif_block_reads_past_other_segments() -> None:
    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().save(file, "JPEG", exif=exif, comment=b"a comment")
    content = file.getvalue()
    block = exif_block(content)
    assert block is not None and block[:2] in (b"II", b"MM")
    assert exif_block(content[:2] + b"\xff\xff" + content[3:]) == block  # padding before a marker is allowed
    bare = BytesIO()
    photo().save(bare, "JPEG")
    assert exif_block(bare.getvalue()) is None
    assert exif_block(b"\xff\xd8") is None
