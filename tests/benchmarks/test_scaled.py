"""What the benchmark of scaled decoding compares."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.scaled import boxes, by_part, differences, enlarged
from tests.data.test_scaled import save


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, size in enumerate([(900, 600), (640, 320), (330, 320), (170, 160), (100, 90)]):
        save(tmp_path / f"{number}.jpg", size=size, turn=6)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:2000])
    Image.new("RGB", (900, 900)).save(tmp_path / "5.png")
    return tmp_path


def test_photos_are_sorted_by_the_part_they_are_decoded_at(photos: Path) -> None:
    parts = {by: [file.stem for file in files] for by, files in by_part([photos], 100, 80).items()}
    assert parts == {2: ["3"], 4: ["0", "1", "2"]}  # 600 / 8 is below 80
    assert list(by_part([photos], 100, 75)) == [2, 4, 8]


def test_a_box_of_the_smaller_photo_is_the_same_region_of_the_whole() -> None:
    for box in boxes((75, 113), 3):
        top, left, height, width = enlarged(box, 8, (600, 900))
        assert (top, left) == (8 * box[0], 8 * box[1])
        assert top + height <= 600 and left + width <= 900
        assert 8 * box[2] - 8 < height <= 8 * box[2] and 8 * box[3] - 8 < width <= 8 * box[3]


def test_differences_are_zero_where_nothing_is_reduced_and_small_where_it_is(photos: Path) -> None:
    same = differences([photos / "0.jpg"], 1, 601)
    assert set(same["same region"].values()) == set(same["same numbers"].values()) == {0.0}
    off = differences([photos / "0.jpg"], 2, 300)
    assert 0 < off["same region"]["mean"] < off["same numbers"]["mean"] < 3
    for levels in off.values():
        assert levels["mean"] < levels["percentile_99"] <= levels["max"] < 255 and np.isfinite(levels["max"])
