"""Instance masks as run lengths: COCO's compressed form, of which pycocotools is the reference.

A mask is the counts alone, as bytes; its size is that of its image. Runs go down the columns, those of zeros first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from resmom.errors import UserError
from resmom.extras import lacking

Size = tuple[int, int]
"""Height and width of an image."""
EDGES = 6
"""Fewer numbers, three points, enclose nothing."""


def tools() -> Any:
    """pycocotools.mask. Raises UserError where it is not installed."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise UserError(lacking("instance masks need", "pycocotools")) from error
    return mask


def from_segmentation(segmentation: Any, size: Size) -> bytes:
    """The mask of COCO's `segmentation`: a list of polygons x1, y1, x2, y2 … in pixels, or run lengths.

    Polygons of less than three points are left out, as Detectron2 leaves them out; a mask without any is empty. Raises
    ValueError for another form, run lengths that do not fill an image of `size`, and points far outside of it.
    """
    if isinstance(segmentation, dict):
        return _of_runs(segmentation, size)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("has no segmentation, neither a list of polygons nor run lengths")
    polygons = [_polygon(one, size) for one in segmentation]
    enclosing = [one for one in polygons if len(one) >= EDGES]
    if not enclosing:
        return encoded(np.zeros((1, *size), dtype=np.uint8))[0]
    mask = tools()
    counts: bytes = mask.merge(mask.frPyObjects(enclosing, *size))["counts"]
    return counts


def _polygon(values: Any, size: Size) -> list[float]:
    if not isinstance(values, list) or len(values) % 2:
        raise ValueError("has a polygon that is no list of x1, y1, x2, y2, …")
    points = np.array(values, dtype=np.float64).reshape(-1, 2)
    height, width = size
    # Also of points beyond the image pycocotools makes a mask, but with as much memory as they are far away.
    if not (np.abs(points - np.array([width, height]) / 2) <= np.array([width, height]) * 1.5 + 1).all():
        raise ValueError(f"has a polygon far outside of its image of {width} x {height} pixels, or not finite")
    return points.ravel().tolist()


def _of_runs(segmentation: dict[str, Any], size: Size) -> bytes:
    height, width = size
    there = list(segmentation["size"])
    if there != [height, width]:
        told = " x ".join(map(str, reversed(there)))
        raise ValueError(f"has run lengths for {told or 'no'} pixels, but its image has {width} x {height}")
    counts = segmentation["counts"]
    runs = [int(one) for one in counts] if isinstance(counts, list) else _runs(counts)
    # pycocotools reads beyond its memory where they do not.
    if sum(runs) != height * width or min(runs) < 0:
        raise ValueError(f"has run lengths that do not add up to its image's {width} x {height} pixels")
    if not isinstance(counts, list):
        return counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    made: bytes = tools().frPyObjects({"size": [height, width], "counts": runs}, height, width)["counts"]
    return made


def _runs(counts: str | bytes) -> list[int]:
    """Compressed counts as numbers: six bits a character, the highest says that more come; from the fourth number on
    they are differences from the last but one.
    """
    runs: list[int] = []
    number, shift = 0, 0
    for character in counts.encode("ascii") if isinstance(counts, str) else counts:
        bits = character - 48
        if not 0 <= bits < 64:
            raise ValueError("has run lengths with characters that none can have")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number, shift = 0, 0
    if shift or not runs:
        raise ValueError("has run lengths that end in the middle")
    return runs


def encoded(masks: UInt8[np.ndarray, "n h w"]) -> list[bytes]:
    """The run lengths of masks of 0 and 1."""
    return [one["counts"] for one in tools().encode(np.asfortranarray(masks.transpose(1, 2, 0)))]


def decoded(masks: Sequence[bytes], size: Size) -> UInt8[np.ndarray, "n h w"]:
    """Masks of 0 and 1 of their run lengths."""
    height, width = size
    found = np.zeros((len(masks), height, width), dtype=np.uint8)
    for mask, counts in zip(found, masks, strict=True):
        runs = _runs(counts)
        mask[:] = np.repeat(np.arange(len(runs), dtype=np.uint8) % 2, runs).reshape(width, height).T
    return found


def filled(masks: Sequence[bytes], size: Size) -> Bool[np.ndarray, " n"]:
    """Which masks have a pixel."""
    return np.array(tools().area(_known(masks, size)) if masks else [], dtype=np.int64) > 0


def mask_overlaps(
    masks: Sequence[bytes], others: Sequence[bytes], crowd: Bool[np.ndarray, " m"], size: Size
) -> Float[np.ndarray, "n m"]:
    """Intersection over union of masks on an image of `size`; for a crowd, over the area of the first mask alone."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    ratio: Float[np.ndarray, "n m"] = tools().iou(
        _known(masks, size), _known(others, size), crowd.astype(np.uint8).tolist()
    )
    return ratio


def _known(masks: Sequence[bytes], size: Size) -> list[dict[str, Any]]:
    return [{"size": list(size), "counts": one} for one in masks]
