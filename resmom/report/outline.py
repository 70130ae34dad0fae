"""The edge of an instance mask as a path to draw."""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool

FINEST = 160
"""A mask is brought to so many places along its longer side at most: finer than its edge can be told on a photo."""
UNITS = 1000
"""Of a path along each side of the photo."""

Point = tuple[int, int]


def outline(mask: Bool[np.ndarray, "h w"]) -> str:
    """SVG's path around the mask, holes included, in thousandths of its width and height; "" for an empty mask.

    It goes through the middles of the edges of the pixels at the border, so that a slope is no staircase.
    """
    small = _reduced(mask)
    height, width = small.shape
    paths = []
    for loop in _loops(small):
        middles = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(loop, [*loop[1:], loop[0]], strict=True)]
        points = [(round(x * UNITS / (2 * width)), round(y * UNITS / (2 * height))) for x, y in _bends(middles)]
        steps = [(x - a, y - b) for (a, b), (x, y) in pairwise(points)]
        paths.append(f"M{points[0][0]} {points[0][1]}l" + " ".join(f"{x} {y}" for x, y in steps) + "z")
    return "".join(paths)


def _reduced(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "_ _"]:
    """Every so many-th row and column; a mask that would vanish stays as it is."""
    step = -(-max(mask.shape) // FINEST)
    small: Bool[np.ndarray, "_ _"] = mask[step // 2 :: step, step // 2 :: step]
    return small if small.any() else mask


def _loops(mask: Bool[np.ndarray, "h w"]) -> list[list[Point]]:
    """The corners along each border, the mask on the right hand: a step of one from each to the next."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    onward: dict[Point, list[Point]] = {}
    # Above, right of, below and left of a pixel: where its neighbour there is outside, and the edge's two ends.
    for neighbour, start, end in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    ):
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            onward.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    loops = []
    while onward:
        first = at = next(iter(onward))
        loop: list[Point] = []
        while not loop or at != first:
            loop.append(at)
            following = onward[at].pop()
            if not onward[at]:
                del onward[at]
            at = following
        loops.append(loop)
    return loops


def _bends(points: list[Point]) -> list[Point]:
    """Without the points on a straight line between their neighbours."""
    before, after = [points[-1], *points[:-1]], [*points[1:], points[0]]
    return [
        b
        for a, b, c in zip(before, points, after, strict=True)
        if (b[0] - a[0]) * (c[1] - b[1]) != (b[1] - a[1]) * (c[0] - b[0])
    ]
