"""Held-out images: every class, no overlap, the same every time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resmom.evaluate.split import holdout


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
