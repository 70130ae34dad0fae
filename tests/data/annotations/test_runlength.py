"""Instance masks: what pycocotools makes of polygons and run lengths, and what it must never be given."""

import sys

import numpy as np
import pytest
from pycocotools import mask as reference

from resmom.data.annotations.runlength import decoded, encoded, filled, from_segmentation, mask_overlaps
from resmom.errors import UserError

SIZE = (9, 12)
SQUARE = [2.0, 3.0, 7.0, 3.0, 7.0, 8.0, 2.0, 8.0]


def random_masks(seed: int, n: int = 5) -> np.ndarray:
    """Blobs and speckles, and one empty and one full mask."""
    rng = np.random.default_rng(seed)
    masks = (rng.uniform(size=(n, *SIZE)) < rng.uniform(size=(n, 1, 1))).astype(np.uint8)
    masks[0], masks[1] = 0, 1
    return masks


def test_a_polygon_covers_the_pixels_inside() -> None:
    (mask,) = decoded([from_segmentation([SQUARE], SIZE)], SIZE)
    expected = np.zeros(SIZE, np.uint8)
    expected[3:8, 2:7] = 1
    np.testing.assert_array_equal(mask, expected)
    two = from_segmentation([SQUARE, [8, 0, 12, 0, 12, 2, 8, 2]], SIZE)
    expected[0:2, 8:12] = 1
    np.testing.assert_array_equal(decoded([two], SIZE)[0], expected)
    # Two parts are one mask, as pycocotools has them; a part of less than three points is left out.
    assert two == reference.merge(reference.frPyObjects([SQUARE, [8, 0, 12, 0, 12, 2, 8, 2]], *SIZE))["counts"]
    assert from_segmentation([SQUARE, [1, 1, 5, 5]], SIZE) == from_segmentation([SQUARE], SIZE)
    assert filled([two, from_segmentation([[1, 1, 5, 5]], SIZE)], SIZE).tolist() == [True, False]


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_come_back(seed: int) -> None:
    masks = random_masks(seed)
    runs = encoded(masks)
    np.testing.assert_array_equal(decoded(runs, SIZE), masks)
    assert filled(runs, SIZE).tolist() == masks.any((1, 2)).tolist()
    for mask, own in zip(masks, runs, strict=True):
        # The same from COCO's three forms: compressed as text and as bytes, and plain numbers.
        for counts in (own.decode(), own, plain(mask)):
            assert from_segmentation({"size": list(SIZE), "counts": counts}, SIZE) == own
    assert decoded([], SIZE).shape == (0, *SIZE) and filled([], SIZE).shape == (0,)


def plain(mask: np.ndarray) -> list[int]:
    """Run lengths as numbers, counted slowly down the columns."""
    runs, last = [0], 0
    for value in mask.ravel(order="F").tolist():
        if value != last:
            runs.append(0)
        runs[-1] += 1
        last = value
    return runs


def test_overlaps_by_hand_and_slowly() -> None:
    masks, others = random_masks(1), random_masks(2)
    crowd = np.array([False, True, False, True, False])
    got = mask_overlaps(encoded(masks), encoded(others), crowd, SIZE)
    for i, a in enumerate(masks):
        for j, b in enumerate(others):
            union = a.sum() if crowd[j] else (a | b).sum()
            assert got[i, j] == pytest.approx((a & b).sum() / union if union else 0.0, abs=1e-12)
    assert mask_overlaps([], encoded(others), crowd, SIZE).shape == (0, 5)
    assert mask_overlaps(encoded(masks), [], np.zeros(0, bool), SIZE).shape == (5, 0)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        (None, "has no segmentation"),
        ([], "has no segmentation"),
        ("polygon", "has no segmentation"),
        ([[1.0, 2.0, 3.0]], "no list of x1, y1"),
        ([{"x": 1}], "no list of x1, y1"),
        ([[*SQUARE, 1e6, 1e6]], "far outside of its image of 12 x 9"),
        ([[*SQUARE, float("nan"), 1.0]], "not finite"),
        ({"size": [12, 9], "counts": [108]}, "run lengths for 9 x 12 pixels, but its image has 12 x 9"),
        ({"size": [], "counts": [108]}, "run lengths for no pixels, but its image has 12 x 9"),
        ({"size": [9, 12], "counts": [50, 57]}, "do not add up to its image's 12 x 9"),
        ({"size": [9, 12], "counts": [-1, 109]}, "do not add up"),
        ({"size": [9, 12], "counts": []}, "do not add up"),
        ({"size": [9, 12], "counts": "zzzz"}, "characters that none can have"),
        ({"size": [9, 12], "counts": "T"}, "end in the middle"),
        ({"size": [9, 12], "counts": b""}, "end in the middle"),
        ({"size": [9, 12], "counts": "T3"}, "do not add up"),
    ],
)
def test_what_is_no_mask_is_said(segmentation: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        from_segmentation(segmentation, SIZE)


def test_without_pycocotools_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match=r"not here: pip install pycocotools"):
        encoded(random_masks(0))
