"""Which images lend their labels: a few per class, or a share of every class. Stratified, a function of a seed."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def shots(labels: Rows, n: int, seed: int, draw: int = 0, classes: Sequence[str] = ()) -> Rows:
    """`n` images of every class, in rising order, a function of the labels, `seed` and `draw` alone.

    Of one seed and draw, fewer images are a part of more, so that what n adds is not mixed with another choice. Images
    with label -1 are left out. Raises ValueError for no labels or if a class has fewer than `n`, with its name if
    `classes` tells it.
    """
    if n < 1:
        raise ValueError(f"at least one labelled image per class is needed; got {n}")
    known, counts = np.unique(labels[labels >= 0], return_counts=True)
    scarce = known[counts < n]
    if len(scarce):
        named = ", ".join(
            f"{classes[c] if c < len(classes) else c} ({counts[known == c][0]})" for c in scarce[:5].tolist()
        )
        raise ValueError(
            f"{len(scarce)} of {len(known)} classes have fewer than {n} labelled images to learn from: {named}; "
            f"ask for at most {counts.min()} per class"
        )
    return _drawn(labels, lambda members: n, seed, draw)


def share(labels: Rows, fraction: float, seed: int, draw: int = 0) -> Rows:
    """`fraction` of every class, rounded, at least one image; else as `shots`.

    Raises ValueError for no labels, or unless 0 < fraction <= 1.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a share of the labels must be above 0 and at most 1; got {fraction:g}; 0.01 is one per cent")
    return _drawn(labels, lambda members: max(1, round(fraction * members)), seed, draw)


def _drawn(labels: Rows, count: Callable[[int], int], seed: int, draw: int) -> Rows:
    known = np.unique(labels[labels >= 0])
    if len(known) == 0:
        raise ValueError(f"none of these {len(labels)} images has a label; give data with labels of 0 or more")
    if seed < 0 or draw < 0:
        raise ValueError(f"a seed must be 0 or more; got {min(seed, draw)}")
    chosen = []
    for label in known.tolist():
        members = np.flatnonzero(labels == label)
        # A generator for each class: what is drawn of one depends on no other.
        order = np.random.default_rng([seed, draw, label]).permutation(len(members))
        chosen.append(members[order[: count(len(members))]])
    return np.sort(np.concatenate(chosen))


def listed(names: Sequence[str], wanted: Sequence[str]) -> Rows:
    """The images that a published list names, in rising order: by their path, or by its last part where that is alone.

    Lists of ImageNet's subsets have the last part (`n01440764_10026.JPEG`). A name that stands twice counts once.
    Raises ValueError for a list of nothing, for names of no image, and for last parts that several images have.
    """
    by_path = {name: at for at, name in enumerate(names)}
    by_last: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        by_last.setdefault(name.rpartition("/")[2], []).append(at)
    found: set[int] = set()
    unknown: list[str] = []
    several: list[str] = []
    for name in wanted:
        places = [by_path[name]] if name in by_path else by_last.get(name, [])
        if len(places) == 1:
            found.add(places[0])
        else:
            (several if places else unknown).append(name)
    if unknown:
        raise ValueError(
            f"{len(unknown)} of its {len(wanted)} names are no labelled training image here: "
            f"{', '.join(unknown[:3])}; images are named like {names[0]!r}, and the last part of that will do"
        )
    if several:
        raise ValueError(
            f"{len(several)} of its {len(wanted)} names are those of several images: {', '.join(several[:3])}; "
            f"write them with their folders, like {names[0]!r}"
        )
    if not found:
        raise ValueError("it names no image; write one file name per line")
    return np.array(sorted(found), dtype=np.int64)
