"""Holding out labelled images."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from resmom.data.errors import DataError
from resmom.data.source import Data


def divisible(labels: NDArray[np.int64]) -> bool:
    """Whether some of these labelled images can be held out: a class has two."""
    return bool((np.bincount(labels[labels >= 0]) > 1).any())


def holdout(
    labels: NDArray[np.int64], fraction: float = 0.2, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (to learn from, held out), each in rising order, a function of the labels, `fraction` and `seed` alone.

    Stratified: `fraction` of every class is held out, rounded, but at least one image and never all (a class of one
    image stays to learn from). Images with label -1 are in neither part. Raises ValueError unless 0 < fraction < 1, or
    if no class has two images.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out fraction must be above 0 and below 1; got {fraction}; a fifth (0.2) is usual")
    random = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held[random.permutation(members)[:count]] = True
    if not held.any():
        raise ValueError(
            f"nothing can be held out of these {len(labels)} images: no class has two; label more images per class"
        )
    return np.flatnonzero((labels >= 0) & ~held), np.flatnonzero(held)


UNSEEN = ", which pretraining did not see"
"""The end of a split's words, true for runs on the rest of these images."""


def held_out(data: Data, fraction: float) -> Data:
    """The training images without a stratified `fraction` of the labelled ones, and that fraction to test on.

    The data's own test split is left alone, so that settings can be chosen without a look at it. Images without a label
    stay to be trained on. Raises DataError where nothing can be held out.
    """
    labels = data.train.labels
    if labels is None:
        raise DataError(f"{data.train.name} has no labels, and images are held out class by class; give labelled ones")
    try:
        _, held = holdout(labels, fraction)
    except ValueError as error:
        raise DataError(str(error)) from error
    rest = np.setdiff1d(np.arange(len(labels)), held)
    origin = f"{fraction:g} of the training images held out{UNSEEN}"
    train, test = data.train.subset(rest), data.train.subset(held)
    return replace(data, train=train, test=test, origin=origin, spec="", outside="")
