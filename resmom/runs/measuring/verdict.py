"""What a set of measurements says in a sentence: did training help, by kNN on labelled images, beyond their noise?"""

from collections.abc import Sequence
from typing import get_args

from resmom.diagnose.noise import images_of, noise, noise_words
from resmom.runs.measuring.evaluate import Row
from resmom.which import Network

TRAINED = {**{name: f"the {name}" for name in get_args(Network)}, "init": "these weights", "given": "this module"}
"""What may have learned something, by the name of its rows, in words."""


def verdict(rows: Sequence[Row]) -> str:
    """By the kNN of one call: the better network against the best of what needs no learning, or how to have that.

    Empty where no network's kNN was measured once on a known number of images.
    """
    knn = {row.network: row for row in rows if row.score.protocol.startswith("knn") and not row.draws}
    own = [knn.pop(name) for name in TRAINED if name in knn]
    images = images_of(own[0].score.protocol) if own else None
    if not own or images is None:
        return ""
    best = max(own, key=lambda row: row.score.top1)
    floor = max(knn.values(), key=lambda row: row.score.top1, default=None)
    if floor is None:
        return "whether that is better than no training: add --baselines"
    gain = best.score.top1 - floor.score.top1
    points = noise((best.score.top1, floor.score.top1), images)
    said = f"kNN of {TRAINED[best.network]}: {abs(gain):.2f} points {'above' if gain >= 0 else 'below'} {floor.network}"
    if abs(gain) <= points:
        return f"{said}, within {noise_words(points, images)}: these images tell no gain from training"
    return f"{said}, more than {noise_words(points, images)}" + ("" if gain > 0 else ": training has not helped")
