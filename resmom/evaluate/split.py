"""Holding out labelled images."""

import numpy as np
from numpy.typing import NDArray


def holdout(
    labels: NDArray[np.int64], fraction: float = 0.2, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (to learn from, held out), each in rising order, a function of the labels and `seed` alone.

    Stratified: `fraction` of every class is held out, rounded, but at least one image and never all (a class of one
    image stays to learn from). Raises ValueError unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out fraction must be between 0 and 1; got {fraction}")
    random = np.random.default_rng(seed)
    out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        out.append(random.permutation(members)[:count])
    held = np.sort(np.concatenate(out))
    return np.setdiff1d(np.arange(len(labels)), held), held
