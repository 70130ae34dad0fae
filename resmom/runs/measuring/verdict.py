"""What a set of measurements says in a sentence: did training help, by kNN on labelled images, beyond their noise?"""

from collections.abc import Sequence
from typing import get_args

from resmom.called import called
from resmom.diagnose.noise import images_of, noise, noise_words
from resmom.runs.measuring.rows import Row
from resmom.which import Network

TRAINED = {**{name: f"the {name}" for name in get_args(Network)}, "init": "these weights", "given": "this module"}
"""What may have learned something, by the name of its rows, in words."""


def verdict(rows: Sequence[Row]) -> str:
    """By the kNN of one call: the better network against the best of what needs no learning, or how to have that.

    Empty where no network's kNN was measured once on a known number of images.
    """
    knn = _knn(rows)
    own = [knn.pop(name) for name in TRAINED if name in knn]
    images = images_of(own[0].score.protocol) if own else None
    if not own or images is None:
        return ""
    floor = max(knn.values(), key=lambda row: row.score.top1, default=None)
    if floor is None:
        return f"whether that is better than no training: add {called('baselines')}"
    said, gain, points = _ahead(own, floor, images)
    if abs(gain) <= points:
        return f"{said}: these images tell no gain from training"
    return said + ("" if gain > 0 else ": training has not helped")


def standing(rows: Sequence[Row], others: Sequence[Row]) -> str:
    """By the kNN of one call: the better network against the best of other weights, and whether that is noise.

    Empty where either has no kNN that was measured once on a known number of images.
    """
    knn, theirs = _knn(rows), _knn(others)
    own = [knn[name] for name in TRAINED if name in knn]
    images = images_of(own[0].score.protocol) if own else None
    if images is None or not theirs:
        return ""
    said, gain, points = _ahead(own, max(theirs.values(), key=lambda row: row.score.top1), images)
    return said + (": these images do not tell which is better" if abs(gain) <= points else "")


def _knn(rows: Sequence[Row]) -> dict[str, Row]:
    """The kNN rows of single measurements, by the name of the network."""
    return {row.network: row for row in rows if row.score.protocol.startswith("knn") and not row.draws}


def _ahead(own: Sequence[Row], other: Row, images: int) -> tuple[str, float, float]:
    """How far the best of `own` is ahead of another row: in words, in points, and the points of noise."""
    best = max(own, key=lambda row: row.score.top1)
    gain = best.score.top1 - other.score.top1
    points = noise((best.score.top1, other.score.top1), images)
    said = f"kNN of {TRAINED[best.network]}: {abs(gain):.2f} points {'above' if gain >= 0 else 'below'} {other.network}"
    return f"{said}, {'within' if abs(gain) <= points else 'more than'} {noise_words(points, images)}", gain, points
