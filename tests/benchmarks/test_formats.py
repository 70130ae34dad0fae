"""What decoding costs is measured for every format, of the same pixels, and told as ratios of the same round."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.formats import OWN, files_of, main, ratios, small_images, table
from resmom.data.decode import decode
from resmom.errors import UserError

Image.init()
AVIF = pytest.mark.skipif("AVIF" not in Image.SAVE, reason="this Pillow writes no AVIF; 11.3 and later do")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for number in range(3):
        values = np.linspace(0, 255 - 20 * number, 40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8)
        Image.fromarray(values).save(tmp_path / "photos" / "deep" / f"{number}.jpg", quality=95)
    return tmp_path / "photos"


@AVIF
def test_every_format_has_the_same_pixels(photos: Path, tmp_path: Path) -> None:
    images = small_images(sorted(photos.rglob("*.jpg")), 32)
    found = files_of(images)
    assert set(found) == {OWN, "JPEG again", "HEIC", "AVIF"} and found["JPEG again"] == found[OWN]
    for own in found.values():
        for content, image in zip(own, images, strict=True):
            (tmp_path / "one").write_bytes(content)
            seen = decode(tmp_path / "one").permute(1, 2, 0).numpy().astype(int)
            assert np.abs(seen - np.asarray(image)).mean() < 6


@AVIF
def test_all_rounds_are_kept_and_told(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "formats.json"
    assert main([str(photos), "--photos", "2", "--side", "16", "--large", "0", "--rounds", "3", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["small"]["images"] == 2 and set(map(len, found["small"]["seconds"].values())) == {3}
    assert all(value > 0 for value in ratios(found["small"], "AVIF"))
    assert table(found) in capsys.readouterr().out and "| 2 of 16 x 16 pixels | 3 |" in table(found)


def test_a_ratio_is_of_one_round() -> None:
    own = {"seconds": {OWN: [1.0, 2.0], "JPEG again": [1.0, 2.0], "HEIC": [10.0, 10.0], "AVIF": [4.0, 8.0]}}
    assert ratios(own, "HEIC") == [10.0, 5.0]
    row = table({"small": {**own, "images": 1, "pixels": [8, 9]}}).splitlines()[-1]
    assert row == "| 1 of 8 x 9 pixels | 2 | 5, **7.5**, 10 | 4, **4**, 4 | 1, **1**, 1 |"


def test_too_few_photos_are_told(photos: Path) -> None:
    with pytest.raises(UserError, match="has 3 JPEGs; --photos 24 needs as many"):
        main([str(photos)])
