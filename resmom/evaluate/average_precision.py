"""Average precision of boxes: COCO's and that of Pascal VOC 2007. Pure functions on arrays.

COCO (https://cocodataset.org/#detection-eval): at each of ten IoU thresholds .50, .55 … .95 detections take, best
score first, the object they overlap most; precision, made to fall with recall, is averaged at 101 recalls, then over
thresholds and classes. VOC 2007 (its development kit): precision at 11 recalls; a second detection of an object is
wrong even if another object would be free; difficult objects count for nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Detections of an image (and, as in COCO's own code, of a class) that count."""

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Judge = Callable[[Numbers, Flags, Flags], tuple[Flags, Flags]]
"""Overlaps (detection x object), objects that do not count, crowds -> threshold x detection: right, counts."""
Interpolated = Callable[[Numbers, Numbers], float]


@dataclass(frozen=True)
class Found:
    """What a detector says of one image; boxes are x1, y1, x2, y2."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]
    masks: tuple[bytes, ...] | None = None
    """Run lengths of the masks (`data/annotations/runlength.py`), where it says any."""


@dataclass(frozen=True)
class Truth:
    """What is in one image. Finding an `ignore`d object, or missing it, counts for nothing; nor does finding a `crowd`
    box, which (in COCO's score) any number of detections may match, and of which only the detection's area counts.
    """

    boxes: Float[np.ndarray, "n 4"]
    labels: Int[np.ndarray, " n"]
    ignore: Bool[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class Precision:
    """Average precisions in percent: thresholds x classes, NaN for a class without an object that counts."""

    table: Float[np.ndarray, "thresholds classes"]

    @property
    def ap(self) -> float:
        """The mean over thresholds and classes; NaN if no class has an object."""
        return _mean(self.table)

    def at(self, threshold: float) -> float:
        """The mean over classes at one IoU threshold of `THRESHOLDS`."""
        return _mean(self.table[np.flatnonzero(np.isclose(threshold, THRESHOLDS))])

    @property
    def per_class(self) -> list[float]:
        """The mean over thresholds for each class."""
        return [_mean(column) for column in self.table.T]


def coco(
    found: Sequence[Found], truth: Sequence[Truth], classes: int, over: Sequence[Numbers] | None = None
) -> Precision:
    """COCO's average precision, as pycocotools computes it over objects of all sizes.

    `over`: for each image the overlaps (detection x object) that count instead of those of the boxes, as of masks.
    Raises ValueError where the two are not of the same images, or a number is not finite.
    """
    return _over_classes(found, truth, classes, _coco_image, _interpolated_101, over)


def voc07(found: Sequence[Found], truth: Sequence[Truth], classes: int) -> Precision:
    """Average precision of VOC 2007 at each of the ten thresholds; the classical figure is that at .5.

    An overlap must be above the threshold, as in the Python port by which tables are made, not just reach it. Raises
    ValueError as `coco` does.
    """
    return _over_classes(found, truth, classes, _voc_image, _interpolated_11)


def overlaps(
    boxes: Float[np.ndarray, "n 4"], others: Float[np.ndarray, "m 4"], crowd: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    """Intersection over union; for a crowd box, over the area of the first box alone."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None]
    union = np.where(crowd[None], area, area + (others[:, 2:] - others[:, :2]).prod(1)[None] - shared)
    ratio: Numbers = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


@dataclass(frozen=True)
class _Judged:
    """Detections of one class in one image, best first: threshold x detection, whether right, whether it counts."""

    scores: Numbers
    right: Flags
    counts: Flags


def _over_classes(
    found: Sequence[Found],
    truth: Sequence[Truth],
    classes: int,
    judge: Judge,
    interpolated: Interpolated,
    over: Sequence[Numbers] | None = None,
) -> Precision:
    _check(found, truth)
    if over is None:
        over = [overlaps(said.boxes, there.boxes, there.crowd) for said, there in zip(found, truth, strict=True)]
    table = np.full((len(THRESHOLDS), classes), np.nan)
    for label in range(classes):
        objects = 0
        judged = []
        for said, there, table_of in zip(found, truth, over, strict=True):
            mine, its = said.labels == label, there.labels == label
            void = (there.ignore | there.crowd)[its]
            objects += int((~void).sum())
            if mine.any():
                order = np.argsort(-said.scores[mine], kind="stable")[:MOST]
                right, counts = judge(table_of[mine][order][:, its], void, there.crowd[its])
                judged.append(_Judged(said.scores[mine][order], right, counts))
        if objects:
            table[:, label] = 100 * _average(judged, objects, interpolated)
    return Precision(table)


def _check(found: Sequence[Found], truth: Sequence[Truth]) -> None:
    if len(found) != len(truth):
        raise ValueError(f"detections of {len(found)} images, objects of {len(truth)}; give both for the same images")
    for said in found:
        if not (np.isfinite(said.boxes).all() and np.isfinite(said.scores).all()):
            raise ValueError("a box or score of the detector is not finite; the run that made it had diverged")


def _coco_image(over: Numbers, void: Flags, crowd: Flags) -> tuple[Flags, Flags]:
    """Greedy matching at each threshold: objects that count first; of equal overlaps the last, as pycocotools."""
    order = np.argsort(void, kind="stable")
    over, void, crowd = over[:, order], void[order], crowd[order]
    matched = np.zeros((len(THRESHOLDS), len(over)), dtype=bool)
    ignored = np.zeros_like(matched)
    # Most detections reach no object at the lowest threshold, and need no loop.
    reached = over >= THRESHOLDS[0] - 1e-10
    near = [(int(d), [(int(g), float(over[d, g])) for g in np.flatnonzero(reached[d])]) for d in _any(reached)]
    for t, threshold in enumerate(THRESHOLDS.tolist()):
        free = [True] * len(void)
        for d, objects in near:
            open_ = [(g, overlap) for g, overlap in objects if free[g] or crowd[g]]
            best = _best(open_, min(threshold, 1 - 1e-10), void)
            if best >= 0:
                free[best] = False
                matched[t, d], ignored[t, d] = True, void[best]
    return matched & ~ignored, ~ignored


def _any(reached: Flags) -> NDArray[np.int64]:
    return np.flatnonzero(reached.any(1))


def _best(objects: Sequence[tuple[int, float]], threshold: float, void: Flags) -> int:
    """The object that a detection takes: one that counts if any reaches the threshold, else another; or -1."""
    best, most = -1, threshold
    for g, overlap in objects:  # those that count stand first
        if best >= 0 and void[g] and not void[best]:
            break
        if overlap >= most:
            best, most = g, overlap
    return best


def _voc_image(over: Numbers, void: Flags, crowd: Flags) -> tuple[Flags, Flags]:
    """Each detection is judged by the object it overlaps most, taken or not. By a crowd, which VOC's own rule does not
    know, only what finds no object: all that lies inside of a crowd's box overlaps the crowd most.
    """
    right = np.zeros((len(THRESHOLDS), len(over)), dtype=bool)
    counts = np.ones_like(right)
    if over.shape[1] == 0:
        return right, counts
    single = np.where(crowd, 0.0, over)
    best, most = single.argmax(1), single.max(1)
    crowded = np.where(crowd, over, 0.0).max(1)
    for t, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(void), dtype=bool)
        for d in np.flatnonzero(over.max(1) > threshold):
            found = most[d] > threshold
            if found and not void[best[d]] and not taken[best[d]]:
                right[t, d] = taken[best[d]] = True
            elif (found and void[best[d]]) or crowded[d] > threshold:
                counts[t, d] = False
    return right, counts


def _average(judged: Sequence[_Judged], objects: int, interpolated: Interpolated) -> Numbers:
    """One average precision per threshold, of the detections of all images."""
    if not judged:
        return np.zeros(len(THRESHOLDS))
    order = np.argsort(-np.concatenate([one.scores for one in judged]), kind="stable")
    right = np.concatenate([one.right for one in judged], axis=1)[:, order]
    counts = np.concatenate([one.counts for one in judged], axis=1)[:, order]
    hits = np.cumsum(right, axis=1)
    all_ = np.cumsum(counts, axis=1)
    recall, precision = hits / objects, hits / np.maximum(all_, np.spacing(1))
    # Precision at a recall is the best at this or any higher recall.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.array([interpolated(r, p) for r, p in zip(recall, precision, strict=True)])


def _interpolated_101(recall: Numbers, precision: Numbers) -> float:
    return _at(RECALLS, recall, precision)


def _interpolated_11(recall: Numbers, precision: Numbers) -> float:
    # Tenths as quotients: 3 of 10 objects then reach recall .3, which 3 x .1 would be above.
    return _at(np.arange(11) / 10, recall, precision)


def _at(recalls: Numbers, recall: Numbers, precision: Numbers) -> float:
    where = np.searchsorted(recall, recalls, side="left")
    return float(np.append(precision, 0.0)[where].mean())


def _mean(values: Numbers) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
