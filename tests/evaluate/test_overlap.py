"""Intersection over union: answers known by hand, and equality with scikit-learn's Jaccard index on random maps."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, jaccard_score

from resmom.data.annotations.masks import IGNORE
from resmom.evaluate.overlap import Overlap, confusion


def test_known_answers() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 1, IGNORE, IGNORE]], dtype=np.uint8)
    said = np.array([[0, 1, 1, 1], [0, 0, 1, 2]])
    found = Overlap(confusion(truth, said, 4))
    np.testing.assert_array_equal(found.matrix[:2, :2], [[2, 1], [1, 2]])
    # 2 right, 1 missed, 1 wrongly said, of both; classes 2 and 3 are neither there nor said where it counts.
    np.testing.assert_allclose(found.iou, [50, 50, np.nan, np.nan])
    assert found.miou == 50 and found.accuracy == pytest.approx(400 / 6)
    plain = found.plain(("a", "b", "c", "d"))
    assert plain["per_class"] == {"a": 50, "b": 50} and plain["left_out"] == ["c", "d"]


def test_a_class_that_is_only_said_counts_as_nothing_found() -> None:
    found = Overlap(confusion(np.zeros(4, dtype=np.uint8), np.array([0, 0, 0, 2]), 3))
    np.testing.assert_allclose(found.iou, [75, np.nan, 0])
    assert found.miou == 37.5
    perfect = Overlap(confusion(np.arange(3, dtype=np.uint8), np.arange(3), 3))
    assert (perfect.miou, perfect.accuracy) == (100, 100)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_scikit_learn(seed: int) -> None:
    """One matrix over images of different sizes, void left out, against the score of all pixels at once."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 9))
    total = np.zeros((classes, classes), dtype=np.int64)
    truths, saids = [], []
    for _ in range(4):
        shape = tuple(rng.integers(5, 20, 2))
        truth = rng.integers(0, classes, shape).astype(np.uint8)
        said = np.where(rng.random(shape) < 0.5, truth, rng.integers(0, classes, shape))
        truth[rng.random(shape) < 0.2] = IGNORE
        total += confusion(truth, said, classes)
        truths.append(truth[truth != IGNORE])
        saids.append(said[truth != IGNORE])
    true, named = np.concatenate(truths), np.concatenate(saids)
    found = Overlap(total)
    expected = 100 * jaccard_score(true, named, labels=range(classes), average=None)
    np.testing.assert_allclose(found.iou, expected, rtol=1e-12)
    assert found.miou == pytest.approx(expected.mean(), rel=1e-12)
    assert found.accuracy == pytest.approx(100 * accuracy_score(true, named), rel=1e-12)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"a truth is outside 0 … 1"):
        confusion(np.array([2], dtype=np.uint8), np.array([0]), 2)
    with pytest.raises(ValueError, match=r"a prediction is outside 0 … 1"):
        confusion(np.array([0], dtype=np.uint8), np.array([-1]), 2)
    with pytest.raises(ValueError, match="all are void"):
        Overlap(confusion(np.array([IGNORE], dtype=np.uint8), np.array([0]), 2)).plain(("a", "b"))
