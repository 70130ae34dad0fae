"""Paths around masks: area, holes, parts that touch at a corner, and masks too large to be drawn pixel by pixel."""

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from resmom.report.outline import FINEST, outline


def loops(path: str) -> list[list[tuple[int, int]]]:
    """The absolute points of every closed part."""
    found = []
    for part in path.split("z")[:-1]:
        numbers = [int(value) for value in re.findall(r"-?\d+", part)]
        points = np.array(numbers).reshape(-1, 2).cumsum(0)
        found.append([(int(x), int(y)) for x, y in points])
    return found


def area(points: list[tuple[int, int]]) -> float:
    """Of a polygon, in pixels of a picture whose sides are 1000; below 0 if it is drawn the other way round."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, [*points[1:], points[0]], strict=True)) / 2


def test_a_square_has_its_corners_cut() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:6, 3:8] = True
    (points,) = loops(outline(mask))
    assert len(points) == 8 and {x for x, _ in points} == {300, 350, 750, 800}
    assert {y for _, y in points} == {200, 250, 550, 600}
    assert area(points) == 20 * 100 * 100 - 4 * 50 * 50 / 2


def test_a_hole_runs_the_other_way_and_no_mask_has_no_path() -> None:
    mask = np.ones((9, 9), dtype=bool)
    mask[3:6, 3:6] = False
    outer, inner = sorted(loops(outline(mask)), key=area, reverse=True)
    assert area(outer) > 0 > area(inner) and abs(area(inner)) < area(outer) / 5
    assert outline(np.zeros((4, 5), dtype=bool)) == ""


def test_parts_that_touch_at_a_corner_are_closed() -> None:
    mask = np.indices((6, 6)).sum(0) % 2 == 0
    path = outline(mask)
    assert path.count("M") == path.count("z") >= 1 and len(loops(path)) == path.count("M")


@pytest.mark.parametrize("size", [(90, 120), (700, 500)])
def test_what_is_drawn_is_the_mask(size: tuple[int, int]) -> None:
    """Filled again, a disc of any size is the same disc but for its edge; large ones get no longer path."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    mask = (rows / height - 0.5) ** 2 + (columns / width - 0.4) ** 2 < 0.09
    path = outline(mask)
    drawn = Image.new("1", (1000, 1000))
    for points in loops(path):
        ImageDraw.Draw(drawn).polygon(points, fill=1)
    there = np.asarray(Image.fromarray(mask).resize((1000, 1000), Image.Resampling.NEAREST))
    assert (np.asarray(drawn) != there).mean() < 0.01
    assert len(path) < 12 * FINEST


def test_a_mask_thinner_than_a_step_is_still_there() -> None:
    mask = np.zeros((800, 800), dtype=bool)
    mask[400, 100:300] = True
    assert outline(mask).startswith("M")
