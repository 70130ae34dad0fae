"""The picture of images and their views: every pixel in its place, and no file of others overwritten."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.errors import UserError
from resmom.report.sheet import FRAMES, GAP, LINE, Shown, require_place, sheet, write_sheet

TOP = GAP + 2 * LINE


def noise(side: int, seed: int, width: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, width or side, 3), dtype=np.uint8)


def colour(frame: str) -> list[int]:
    return list(bytes.fromhex(frame[1:]))


def two_draws(side: int, local: int = 0) -> Shown:
    """Two draws of two views, and of a smaller one."""
    smaller = [noise(local, 9)] if local else []
    draws = [[noise(side, 10 * d + v) for v in (0, 1)] + smaller for d in (0, 1)]
    return Shown(noise(40, 5, width=80), draws, [(10, 20, 20, 40), (0, 0, 40, 80), (0, 0, 1, 1)])


def test_views_are_enlarged_by_whole_pixels_and_stand_beside_their_image() -> None:
    shown = two_draws(16, local=8)
    page = np.asarray(sheet([shown, shown], ["views"]))
    left = 3 * GAP + 128
    for draw in shown.draws:
        for view in draw:
            for top in (TOP, TOP + 128 + GAP):
                cell = page[top : top + 8 * view.shape[0], left : left + 8 * view.shape[0]]
                assert np.array_equal(cell[4::8, 4::8], view)  # within the frame that the first ones have
            left += 8 * view.shape[0] + GAP
        left += GAP
    assert left - GAP == page.shape[1]
    second = 3 * GAP + 128 + 128 + GAP
    assert page[TOP, second].tolist() == colour(FRAMES[1]) and page[TOP, 3 * GAP + 128].tolist() == colour(FRAMES[0])


def test_the_boxes_of_the_first_two_views_lie_in_the_image() -> None:
    page = np.asarray(sheet([two_draws(16)], []))
    image = page[TOP : TOP + 128, GAP : GAP + 128]
    assert (image[64:] == 255).all()  # it is twice as wide as high
    for corner in ((16, 32), (16, 95), (47, 32), (47, 95)):  # 1.6 times as large
        assert image[corner].tolist() == colour(FRAMES[0])
    for corner in ((0, 0), (63, 127)):
        assert image[corner].tolist() == colour(FRAMES[1])


def test_large_views_are_reduced_and_words_are_wrapped() -> None:
    shown = Shown(noise(600, 0, width=300), [[noise(512, 1), noise(512, 2)]], [])
    plain, told = sheet([shown], []), sheet([shown], ["word " * 200, "another"])
    assert plain.width == told.width == 5 * GAP + 3 * 256
    lines = (told.height - plain.height) // LINE
    assert 4 < lines < 30 and told.height - plain.height == lines * LINE
    ink = np.asarray(told)[plain.height - GAP :].min((0, 2))
    assert ink.min() < 100 and (ink[-GAP:] == 255).all()  # words, and none of them over the edge


def test_only_ones_own_picture_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "deeper" / "views.png"
    write_sheet(out, [two_draws(16)], ["one"])
    first = out.read_bytes()
    write_sheet(out, [two_draws(16)], ["one", "two"])
    assert out.read_bytes() != first and [path.name for path in out.parent.iterdir()] == ["views.png"]
    with Image.open(out) as picture:
        assert picture.size == sheet([two_draws(16)], ["one", "two"]).size
    other = tmp_path / "other.png"
    Image.fromarray(noise(8, 0)).save(other)
    kept = other.read_bytes()
    for wrong, why in (
        (other, "is no picture of views"),
        (tmp_path, "is no .png file"),
        (out.with_suffix(""), "no .png"),
    ):
        with pytest.raises(UserError, match=why):
            write_sheet(wrong, [two_draws(16)], [])
    assert other.read_bytes() == kept
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png is no \.png file"):
        require_place(tmp_path / "folder.png")
