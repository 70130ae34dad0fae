"""Held-out images: every class, no overlap, the same every time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmom.data.errors import DataError
from resmom.data.open import absolute, open_data
from resmom.data.split import divisible, holdout


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 5))
def test_every_labelled_image_is_on_one_side_and_every_class_on_both(
    given_labels: list[int], fraction: float, seed: int
) -> None:
    labels = np.array(given_labels)
    counts = {label: int((labels == label).sum()) for label in range(5)}
    if max(counts.values()) < 2:
        with pytest.raises(ValueError, match="no class has two"):
            holdout(labels, fraction, seed)
        return
    learn, held = holdout(labels, fraction, seed)
    assert sorted([*learn, *held]) == [i for i, label in enumerate(given_labels) if label >= 0]
    assert list(learn) == sorted(learn) and list(held) == sorted(held)
    for label, count in counts.items():
        inside = int((labels[held] == label).sum())
        assert inside == (0 if count < 2 else min(max(round(fraction * count), 1), count - 1))


def test_it_is_a_function_of_its_arguments() -> None:
    labels = np.arange(100) % 4
    state = np.random.get_state()[1].copy()  # noqa: NPY002  the global generator must not be touched
    first, again, other = holdout(labels), holdout(labels), holdout(labels, seed=1)
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        holdout(np.array([0, 0, 1, 1]), fraction)


def test_nothing_labelled_is_refused() -> None:
    for labels in (np.array([-1, -1, -1]), np.array([], dtype=np.int64), np.array([0, 1, 2])):
        with pytest.raises(ValueError, match="nothing can be held out"):
            holdout(labels)


def test_a_tenth_held_out_is_not_trained_on_and_the_test_split_is_left_alone(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    images, labels = draws.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 2
    labels[:3] = -1
    np.savez(
        tmp_path / "a.npz", train_images=images, train_labels=labels, test_images=images[:2], test_labels=labels[4:6]
    )
    whole, part = open_data(tmp_path / "a.npz"), open_data(f"{tmp_path}/a.npz@held-out=0.1")
    assert part.test is not None and part.test.labels is not None and part.train.labels is not None
    assert len(part.test) == 4 and sorted(part.test.labels.tolist()) == [0, 0, 1, 1]
    assert len(part.train) == 36 and (part.train.labels == -1).sum() == 3  # what has no label is still trained on
    pixels = [
        {image.numpy().tobytes() for image in source.read(np.arange(len(source)))} for source in (part.train, part.test)
    ]
    assert not pixels[0] & pixels[1]
    assert pixels[0] | pixels[1] == {image.numpy().tobytes() for image in whole.train.read(np.arange(40))}
    assert part.train.fingerprint() != whole.train.fingerprint()
    assert "did not see" in part.origin and part.origin.startswith("0.1 of the training images")
    relative = absolute("cifar10@held-out=0.2")
    assert relative == "cifar10@held-out=0.2"
    assert absolute(f"{tmp_path}/../{tmp_path.name}/a.npz@held-out=0.1") == f"{tmp_path}/a.npz@held-out=0.1"


@pytest.mark.parametrize(("share", "words"), [("x", "'x' is no share"), ("1.5", "above 0 and below 1"), ("", "''")])
def test_a_share_that_cannot_be_held_out_is_refused(tmp_path: Path, share: str, words: str) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((4, 8, 8, 3), np.uint8), train_labels=np.arange(4) % 2)
    with pytest.raises(DataError, match=words):
        open_data(f"{tmp_path}/a.npz@held-out={share}")


def test_nothing_is_held_out_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="has no labels"):
        open_data(f"{tmp_path}/a.npz@held-out=0.5")


@pytest.mark.parametrize(("labels", "can"), [([0, 1, 2], False), ([0, 1, 1], True), ([-1, -1, 0], False), ([], False)])
def test_what_can_be_divided(labels: list[int], can: bool) -> None:
    known = np.array(labels, dtype=np.int64)
    assert divisible(known) is can
    if not can:
        with pytest.raises(ValueError, match="nothing can be held out"):
            holdout(known)
