"""Whole images with their masks, at a chosen size, and the score of whatever names their pixels."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from resmom.data.annotations.labelled import needed
from resmom.data.annotations.masks import MaskData, Masked, labels
from resmom.data.decode import decode
from resmom.data.loader import prefetch, workers_here
from resmom.evaluate.overlap import Overlap, confusion


def factor(size: tuple[int, int], side: int, longest: int) -> float:
    """By which an image is resized: to the shorter side `side`, less where the longer would pass `longest`; `side` 0
    keeps its own size."""
    return min(side / min(size), longest / max(size)) if side else 1.0


def read(image: Masked, by: float) -> UInt8[Tensor, "3 h w"]:
    """The pixels, resized by a factor with antialiasing. Raises DataError for an image that cannot be read."""
    return by_factor(needed(decode, image.path), by)


def by_factor(pixels: UInt8[Tensor, "3 _ _"], by: float) -> UInt8[Tensor, "3 _ _"]:
    """The pixels, resized by a factor with antialiasing; at least one is left of each side."""
    height, width = pixels.shape[1:]
    new = _new_size((height, width), by)
    out: Tensor = pixels if new == (height, width) else T.resize(pixels, list(new), antialias=True)
    return out


def read_labels(image: Masked, by: float) -> UInt8[Tensor, "h w"]:
    """The labels, resized by a factor, each that of the nearest pixel."""
    found = torch.from_numpy(labels(image))
    new = _new_size(image.size, by)
    if new == image.size:
        return found
    return F.interpolate(found[None, None], new, mode="nearest-exact")[0, 0]


def _new_size(size: tuple[int, int], by: float) -> tuple[int, int]:
    height, width = size
    return max(1, int(height * by + 0.5)), max(1, int(width * by + 0.5))


Votes = Callable[[Float[Tensor, "3 _ _"], tuple[int, int]], Tensor]
"""An image in [0, 1], and the size of its mask: the votes, classes x H x W."""


def overlap(votes: Votes, data: MaskData, side: int, longest: int, device: torch.device) -> Overlap:
    """The score over all images, whole and one by one, each shown at `side` and judged at its mask's own size.

    Raises ValueError for votes that are not finite.
    """
    total = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)

    def made(at: int) -> tuple[UInt8[Tensor, "3 h w"], UInt8[np.ndarray, "h w"]]:
        image = data.images[at]
        return read(image, factor(image.size, side, longest)), labels(image)

    with prefetch(made, 0, len(data.images), workers_here()) as ready:
        for image, (pixels, truth) in zip(data.images, ready, strict=True):
            total += confusion(truth, _named(votes, pixels, image, device), len(data.classes))
    return Overlap(total)


def named(votes: Votes, image: Masked, side: int, longest: int, device: torch.device) -> Int64[np.ndarray, "h w"]:
    """The class with most votes for every pixel of an image's mask, the image shown whole at `side`.

    Raises ValueError for votes that are not finite.
    """
    return _named(votes, read(image, factor(image.size, side, longest)), image, device)


def _named(
    votes: Votes, pixels: UInt8[Tensor, "3 _ _"], image: Masked, device: torch.device
) -> Int64[np.ndarray, "h w"]:
    said = most_votes(votes, pixels, image.size, device)
    if said is None:
        raise ValueError(
            f"the votes on {image.path.name} are not finite; the training has diverged: lower its learning rate"
        )
    return said


@torch.no_grad()
def most_votes(
    votes: Votes, shown: UInt8[Tensor, "3 _ _"], size: tuple[int, int], device: torch.device
) -> Int64[np.ndarray, "h w"] | None:
    """The class with most votes for every pixel of an image of `size`, which is `shown` at another; None where a vote
    is not finite."""
    found = votes(shown.to(device).float() / 255, size)
    if not found.isfinite().all():
        return None
    said: Int64[np.ndarray, "h w"] = found.argmax(0).cpu().numpy()
    return said


def shown(side: int) -> str:
    """In words, for protocols."""
    return f"tested whole, {f'resized to side {side}' if side else 'at their own size'}, scored at the masks' own size"
