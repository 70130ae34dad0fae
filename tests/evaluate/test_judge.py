"""What is right and what was missed on one photo, and the score from which on detections are shown."""

import numpy as np
import pytest

from resmom.evaluate.average_precision import THRESHOLDS, Found, Truth, _coco_image, overlaps
from resmom.evaluate.judge import best_score, from_score, judge
from tests.evaluate.test_average_precision import BOX, FAR, found, scene, truth


def test_by_hand() -> None:
    objects = truth([BOX, FAR, [20, 20, 30, 30]], ignore=[False, False, True])
    said = found([BOX, BOX, [20, 20, 30, 30], [80, 0, 90, 10]], [0.9, 0.8, 0.7, 0.6])
    got = judge(said, objects)
    assert got.right.tolist() == [True, False, False, False]  # the second one of an object is wrong
    assert got.void.tolist() == [False, False, True, False]
    assert got.found.tolist() == [True, False, True]
    other = judge(found([BOX], [0.9], [1]), truth([BOX]))
    assert not other.right.any() and not other.found.any()  # another class
    crowd = Truth(np.array([[0.0, 0, 100, 100]]), np.zeros(1, int), np.zeros(1, bool), np.ones(1, bool))
    assert judge(found([BOX, FAR], [0.9, 0.8]), crowd).void.all()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_the_score_counts(seed: int) -> None:
    for said, there in zip(*scene(seed), strict=True):
        got = judge(said, there)
        for label in range(3):
            mine, its = said.labels == label, there.labels == label
            order = np.argsort(-said.scores[mine], kind="stable")
            crowd = there.crowd[its]
            over = overlaps(said.boxes[mine][order], there.boxes[its], crowd)
            right, counts = _coco_image(over, (there.ignore | there.crowd)[its], crowd)
            assert THRESHOLDS[0] == 0.5
            np.testing.assert_array_equal(got.right[mine][order], right[0])
            np.testing.assert_array_equal(got.void[mine][order], ~counts[0])


def test_the_score_that_serves_best() -> None:
    objects = [truth([BOX, FAR])]
    said = [found([BOX, [20, 0, 30, 10], FAR, [70, 0, 80, 9], [70, 9, 80, 19]], [0.9, 0.8, 0.7, 0.6, 0.5])]
    # F1 of the best 1, 2, 3, 4: 2/3, 2/4, 4/5, 4/6.
    assert best_score(said, objects) == 0.7
    assert from_score(said[0], 0.7).scores.tolist() == [0.9, 0.8, 0.7] and from_score(said[0], 0.7).masks is None
    # Of equal scores all are shown or none: F1 is .67 at .9, and .33 with the nine of .5.
    alike = [found([BOX, FAR, *[[20, 10 * i, 30, 10 * i + 9] for i in range(8)]], [0.9, *[0.5] * 9])]
    assert best_score(alike, objects) == 0.9
    assert best_score([found([BOX, FAR, [20, 0, 30, 10]], [0.5, 0.5, 0.5])], objects) == 0.5
    masked = Found(np.array([BOX, FAR]), np.array([0.2, 0.9]), np.zeros(2, int), (b"weak", b"strong"))
    assert from_score(masked, 0.7).masks == (b"strong",)
    assert best_score([found([[20, 0, 30, 10]], [0.9])], objects) == 1.0
    assert best_score([Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))], objects) == 1.0
