"""Which images lend their labels: the right number of every class, the same of the same seed, refusals by name."""

import numpy as np
import pytest

from resmom.evaluate.draw import listed, share, shots

LABELS = np.array([0] * 50 + [1] * 30 + [2] * 7 + [-1] * 13)[np.random.default_rng(0).permutation(100)]


def counts(rows: np.ndarray) -> list[int]:
    return [int((LABELS[rows] == c).sum()) for c in (-1, 0, 1, 2)]


def test_so_many_of_every_class_and_none_without_label() -> None:
    rows = shots(LABELS, 5, seed=0)
    assert counts(rows) == [0, 5, 5, 5] and (np.diff(rows) > 0).all()


def test_a_function_of_seed_and_draw() -> None:
    assert (shots(LABELS, 5, 0, 1) == shots(LABELS, 5, 0, 1)).all()
    drawn = {shots(LABELS, 5, seed, draw).tobytes() for seed in range(3) for draw in range(3)}
    assert len(drawn) == 9


def test_fewer_images_are_a_part_of_more() -> None:
    for draw in range(4):
        assert set(shots(LABELS, 2, 3, draw)) < set(shots(LABELS, 7, 3, draw))


def test_every_image_of_a_class_is_drawn_equally_often() -> None:
    times = np.zeros(100)
    for draw in range(1000):
        times[shots(LABELS, 1, 0, draw)] += 1
    of_two = times[LABELS == 2]
    assert of_two.sum() == 1000
    assert of_two.min() > 100 and of_two.max() < 190  # 143 each; four standard deviations are 44


def test_one_class_does_not_depend_on_another() -> None:
    other = np.where(LABELS == 0, -1, LABELS)
    own = shots(LABELS, 3, 0)
    assert (shots(other, 3, 0) == own[LABELS[own] != 0]).all()


def test_a_share_of_every_class_but_one_at_least() -> None:
    assert counts(share(LABELS, 0.1, 0)) == [0, 5, 3, 1]
    assert counts(share(LABELS, 0.001, 0)) == [0, 1, 1, 1]
    assert counts(share(LABELS, 1, 0)) == [0, 50, 30, 7]
    assert (share(LABELS, 0.1, 0) == share(LABELS, 0.1, 0)).all()
    assert not np.array_equal(share(LABELS, 0.1, 0), share(LABELS, 0.1, 1))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"1 of 3 classes .* fewer than 8 .*: bee \(7\); ask for at most 7"):
        shots(LABELS, 8, 0, classes=("ant", "cat", "bee"))
    with pytest.raises(ValueError, match=r": 2 \(7\)"):
        shots(LABELS, 8, 0)
    with pytest.raises(ValueError, match="at least one labelled image per class"):
        shots(LABELS, 0, 0)
    with pytest.raises(ValueError, match="none of these 4 images has a label"):
        shots(np.full(4, -1), 1, 0)
    with pytest.raises(ValueError, match="seed must be 0 or more; got -1"):
        share(LABELS, 0.5, -1)
    for wrong in (0.0, 1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"above 0 and at most 1.*0\.01 is one per cent"):
            share(LABELS, wrong, 0)


NAMES = ("n01/n01_1.JPEG", "n01/n01_2.JPEG", "n02/n02_1.JPEG", "n02/0.png", "n01/0.png")


def test_a_list_names_images_by_path_or_by_its_last_part() -> None:
    assert listed(NAMES, ["n02_1.JPEG", "n01/n01_1.JPEG", "n02_1.JPEG", "n01/0.png"]).tolist() == [0, 2, 4]


def test_a_list_of_what_is_not_there() -> None:
    with pytest.raises(
        ValueError, match=r"2 of its 3 names are no labelled .*: n09_1\.JPEG, n02/n01_1\.JPEG; .*'n01/n"
    ):
        listed(NAMES, ["n09_1.JPEG", "n01_1.JPEG", "n02/n01_1.JPEG"])
    with pytest.raises(ValueError, match=r"1 of its 1 names are those of several images: 0\.png; write them with"):
        listed(NAMES, ["0.png"])
    with pytest.raises(ValueError, match="it names no image"):
        listed(NAMES, [])
