"""Intersection over union of predicted and true classes of pixels, from one confusion matrix over all images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Integer

from resmom.data.annotations.masks import IGNORE


def confusion(
    truth: Integer[np.ndarray, "*pixels"], said: Integer[np.ndarray, "*pixels"], classes: int
) -> Int64[np.ndarray, "k k"]:
    """How many pixels of class i (row) were called j (column); those of truth `IGNORE` are left out.

    Raises ValueError for other labels than 0 … classes - 1, and for predictions outside of them.
    """
    counting = truth != IGNORE
    true, named = truth[counting].astype(np.int64), said[counting].astype(np.int64)
    for what, values in (("truth", true), ("prediction", named)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            raise ValueError(f"a {what} is outside 0 … {classes - 1}: {values.min()} to {values.max()}")
    return np.bincount(true * classes + named, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class Overlap:
    """The scores of a confusion matrix, in percent.

    IoU of a class = right / (right + missed + wrongly said) (Everingham et al. 2015, section 4.2.5); NaN where
    the class is neither there nor said. mIoU is the mean over the other classes.
    """

    matrix: Int64[np.ndarray, "k k"]

    @property
    def iou(self) -> Float64[np.ndarray, " k"]:
        right = np.diag(self.matrix).astype(np.float64)
        union = self.matrix.sum(0) + self.matrix.sum(1) - right
        found = np.full(len(right), np.nan)
        np.divide(100 * right, union, out=found, where=union > 0)
        return found

    @property
    def miou(self) -> float:
        """NaN if there are no pixels."""
        known = self.iou[~np.isnan(self.iou)]
        return float(known.mean()) if known.size else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of pixels called right; NaN if there are none."""
        total = self.matrix.sum()
        return float(100 * np.trace(self.matrix) / total) if total else float("nan")

    def plain(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """As plain values; `left_out` names the classes that are neither there nor said. Raises ValueError if all."""
        if not self.matrix.sum():
            raise ValueError("the test images have no pixel that counts: all are void")
        named = list(zip(classes, self.iou.tolist(), strict=True))
        return {
            "miou": self.miou,
            "pixel_accuracy": self.accuracy,
            "per_class": {name: iou for name, iou in named if not np.isnan(iou)},
            "left_out": [name for name, iou in named if np.isnan(iou)],
        }
