"""Which patches of a view are hidden from the student, as a pure function of (seed, epoch, image, view number).

Blocks of patches, as BEiT draws them (Bao et al. 2022, arXiv 2106.08254, Algorithm 1) and iBOT uses them (Zhou et al.
2022, arXiv 2111.07832, section 3.3 and appendix).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from resmom.called import called
from resmom.counter import uniforms

ATTEMPTS = 10
"""How often in a row a block may not fit before the mask is left as it is."""

STREAM = 2**15
"""The numbers of a view's mask lie so many streams behind those of the view, which they leave as they are."""

_PER_TRY = 4  # of a block: area, ratio, top, left
_SKIPPED = 4  # before the first block: whether there is a mask, and how much it hides
_TRIES = 32  # drawn at first; most masks need fewer


@dataclass(frozen=True)
class Masks:
    """How much is hidden of a view: a part of its patches uniform on `ratio` ± `spread`, in a `share` of the views.

    `aspect`: range of a block's height / width, log-uniform. What is drawn is an upper bound: the last block that
    fits may leave a few patches short of it. `smallest`: patches of the smallest block; 0: a third of the view's
    shorter side, squared.
    """

    ratio: float = 0.3
    spread: float = 0.2
    share: float = 0.5
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    smallest: int = 0

    def __post_init__(self) -> None:
        if self.smallest < 0:
            raise ValueError(
                f"{called('Masks.smallest')} is {self.smallest}; give a number of patches, or 0 for iBOT's"
            )
        if not (0 <= self.spread <= self.ratio and self.ratio + self.spread <= 1):
            raise ValueError(
                f"{called('Masks.ratio')} is {self.ratio} ± {self.spread} ({called('Masks.spread')}); both ends must "
                "be parts of the patches, in [0, 1]"
            )
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"{called('Masks.share')} is {self.share}; it is a part of the views and must be in [0, 1]"
            )
        if len(self.aspect) != 2 or not 0 < self.aspect[0] <= self.aspect[1] < float("inf"):
            raise ValueError(f"{called('Masks.aspect')} must be (low, high) with 0 < low <= high, got {self.aspect}")


def draw_masks(
    masks: Masks, seed: int, epoch: int, index: NDArray[np.int64], number: int, grid: tuple[int, int]
) -> Bool[Tensor, "n rows columns"]:
    """The hidden patches of view `number` of the images `index` (N,) in an epoch: true where hidden, on the CPU.

    `grid`: rows and columns of patches. The mask of one image does not depend on which images stand beside it.
    A block has an area uniform between that of the smallest block and what is left to hide; it is tried until it fits
    and hides something new, at most ten times.
    """
    rows, columns = grid
    stream = STREAM + number
    first = uniforms(seed, epoch, index, stream, 2)
    ratio = masks.ratio + (2 * first[:, 1] - 1) * masks.spread
    left = np.where(first[:, 0] < masks.share, ratio * (rows * columns), 0.0)
    hidden = np.zeros((len(index), rows, columns), dtype=bool)
    failed = np.zeros(len(index), dtype=np.int64)  # in a row
    active = np.flatnonzero(left > 0)
    drawn, tries = 0, _TRIES
    while len(active):
        u = uniforms(seed, epoch, index[active], stream, _SKIPPED + _PER_TRY * tries)[:, _SKIPPED:]
        for attempt in range(drawn, tries):
            block = _block(masks, u[:, _PER_TRY * attempt : _PER_TRY * (attempt + 1)], left[active], rows, columns)
            new = (block & ~hidden[active]).sum((1, 2))
            fits = (new > 0) & (new <= left[active])
            hidden[active] |= block & fits[:, None, None]
            left[active] -= np.where(fits, new, 0)
            failed[active] = np.where(fits, 0, failed[active] + 1)
            on = (left[active] > 0) & (failed[active] < ATTEMPTS)
            active, u = active[on], u[on]
            if not len(active):
                break
        drawn, tries = tries, 2 * tries
    return torch.from_numpy(hidden)


def _block(
    masks: Masks, u: NDArray[np.float64], left: NDArray[np.float64], rows: int, columns: int
) -> NDArray[np.bool_]:
    """A block of patches (N, rows, columns) for each of N images; empty where it would span a whole side."""
    least = masks.smallest or (min(rows, columns) // 3) ** 2
    area = least + u[:, 0] * (left - least)  # may run downwards: then hardly any fits, and the mask is done
    low, high = np.log(masks.aspect[0]), np.log(masks.aspect[1])
    aspect = np.exp(low + u[:, 1] * (high - low))
    height = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    width = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    inside = (height < rows) & (width < columns)
    top = np.floor(u[:, 2] * (rows - height + 1)).astype(np.int64)[:, None]
    start = np.floor(u[:, 3] * (columns - width + 1)).astype(np.int64)[:, None]
    down, along = np.arange(rows), np.arange(columns)
    of_row = (down >= top) & (down < top + height[:, None]) & inside[:, None]
    of_column = (along >= start) & (along < start + width[:, None])
    block: NDArray[np.bool_] = of_row[:, :, None] & of_column[:, None, :]
    return block
