"""The numbers behind a view, as a pure function of (seed, epoch, image, view number), for a whole batch at once."""

from dataclasses import dataclass, fields
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from resmom.counter import uniforms
from resmom.views.policy import View

ATTEMPTS = 10
"""How often a crop is drawn before the central one is taken, as in torchvision's RandomResizedCrop."""

_ORDERS = np.array(list(permutations(range(4))), dtype=np.int64)

# Which of an image's numbers serves what. Append here, never insert: every draw behind an inserted column would change.
_AREA, _RATIO = slice(0, ATTEMPTS), slice(ATTEMPTS, 2 * ATTEMPTS)
_TOP, _LEFT, _FLIP, _JITTER = range(2 * ATTEMPTS, 2 * ATTEMPTS + 4)
_FACTORS = slice(_JITTER + 1, _JITTER + 5)
_ORDER, _GREY, _BLUR, _SIGMA, _SOLARISE = range(_JITTER + 5, _JITTER + 10)
_FLIP_VERTICAL, _TURN, _TURNS, _ANGLE = range(_SOLARISE + 1, _SOLARISE + 5)


@dataclass(frozen=True)
class Parameters:
    """What is done to each of N images.

    `box`: top, left, height, width of the crop in pixels of the source. `flip`: left to right, `flip_vertical`: top to
    bottom, `transposed`: rows then become columns; quarter turns are in these three. `angle`: of the rotation after
    them, in degrees counter-clockwise. `jitter`: whether the colours are jittered, by `factors` (brightness, contrast,
    saturation as factors, hue as turns in [-.5, .5]) in the `order` given: `order[i, r]` is the column of `factors`
    that image i meets in round r. `sigma`: of the blur, in pixels of the view, 0 = no blur. `grey`, `solarise`:
    whether.
    """

    box: Int64[Tensor, "n 4"]
    flip: Bool[Tensor, " n"]
    factors: Float32[Tensor, "n 4"]
    order: Int64[Tensor, "n 4"]
    jitter: Bool[Tensor, " n"]
    grey: Bool[Tensor, " n"]
    sigma: Float32[Tensor, " n"]
    solarise: Bool[Tensor, " n"]
    flip_vertical: Bool[Tensor, " n"]
    transposed: Bool[Tensor, " n"]
    angle: Float32[Tensor, " n"]

    def rows(self, rows: slice) -> "Parameters":
        """The parameters of some of the images."""
        return Parameters(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device | str) -> "Parameters":
        """The same on another device."""
        return Parameters(*(getattr(self, field.name).to(device) for field in fields(self)))


def draw(
    view: View,
    seed: int,
    epoch: int,
    index: NDArray[np.int64],
    number: int,
    sizes: NDArray[np.int64] | tuple[int, int],
) -> Parameters:
    """The parameters of view `number` of the images `index` (N,) in an epoch, on the CPU.

    `sizes`: heights and widths of the images in pixels, (N, 2), or one pair for all. The numbers of one image do not
    depend on which images stand beside it. Raises ValueError if a size is below one pixel or `sizes` has another shape.
    """
    if np.shape(sizes) not in ((2,), (len(index), 2)):
        raise ValueError(
            f"sizes must be one (height, width) or one for each of the {len(index)} images, got shape {np.shape(sizes)}"
        )
    if np.min(sizes, initial=1) < 1:
        raise ValueError(f"an image has a side of {np.min(sizes)} pixels; drop images without pixels from the data")
    extent = np.broadcast_to(np.asarray(sizes, dtype=np.int64), (len(index), 2))
    # A rotation's number lies in a block of the generator's of its own, which other views need not pay for.
    u = uniforms(seed, epoch, index, number, _ANGLE + (view.rotation > 0))
    strengths = np.array([view.brightness, view.contrast, view.saturation, view.hue])
    low = np.array([*np.maximum(0.0, 1.0 - strengths[:3]), -view.hue])
    high = np.array([*(1.0 + strengths[:3]), view.hue])
    sigma = view.sigma[0] + u[:, _SIGMA] * (view.sigma[1] - view.sigma[0])
    flip, flip_vertical, transposed = _placed(view, u)
    return Parameters(
        box=torch.from_numpy(_boxes(view, u, extent)),
        flip=torch.from_numpy(flip),
        factors=torch.from_numpy((low + u[:, _FACTORS] * (high - low)).astype(np.float32)),
        order=torch.from_numpy(_ORDERS[(u[:, _ORDER] * len(_ORDERS)).astype(np.int64)]),
        jitter=torch.from_numpy(u[:, _JITTER] < view.jitter),
        grey=torch.from_numpy(u[:, _GREY] < view.grey),
        sigma=torch.from_numpy(np.where(u[:, _BLUR] < view.blur, sigma, 0.0).astype(np.float32)),
        solarise=torch.from_numpy(u[:, _SOLARISE] < view.solarise),
        flip_vertical=torch.from_numpy(flip_vertical),
        transposed=torch.from_numpy(transposed),
        angle=torch.from_numpy(_angles(view, u)),
    )


def _placed(view: View, u: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Flips and quarter turns (N,) as three permutations of pixels, in this order: whether columns stand in reverse,
    whether rows do, and whether rows then become columns.

    One quarter turn counter-clockwise is the first and the third of them, two are the first two, three the last two.
    """
    flip, flip_vertical = u[:, _FLIP] < view.flip, u[:, _FLIP_VERTICAL] < view.flip_vertical
    if view.quarter_turns == 0:
        return flip, flip_vertical, np.zeros(len(u), dtype=np.bool_)
    turns = np.where(u[:, _TURN] < view.quarter_turns, np.floor(4 * u[:, _TURNS]), 0)
    return flip ^ ((turns == 1) | (turns == 2)), flip_vertical ^ (turns >= 2), turns % 2 == 1


def _angles(view: View, u: NDArray[np.float64]) -> NDArray[np.float32]:
    """Degrees (N,), uniform in both directions."""
    if view.rotation == 0:
        return np.zeros(len(u), dtype=np.float32)
    return ((2 * u[:, _ANGLE] - 1) * view.rotation).astype(np.float32)


def _boxes(view: View, u: NDArray[np.float64], extent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Crops (N, 4) with the distribution of torchvision's RandomResizedCrop.get_params, all attempts at once."""
    height, width = extent[:, :1], extent[:, 1:]
    area = height * width * (view.scale[0] + u[:, _AREA] * (view.scale[1] - view.scale[0]))
    low, high = np.log(view.ratio[0]), np.log(view.ratio[1])
    ratio = np.exp(low + u[:, _RATIO] * (high - low))
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.argmax(axis=1)[:, None]
    found = fits.any(axis=1)
    central_h, central_w = _central(view, height[:, 0], width[:, 0])
    h = np.where(found, np.take_along_axis(h, first, axis=1)[:, 0], central_h)
    w = np.where(found, np.take_along_axis(w, first, axis=1)[:, 0], central_w)
    free = extent - np.stack([h, w], axis=1)
    # An attempt that fails uses no position, so one pair of numbers serves whichever attempt is accepted.
    corner = np.floor(u[:, [_TOP, _LEFT]] * (free + 1)).astype(np.int64)
    corner = np.where(found[:, None], corner, free // 2)
    return np.stack([corner[:, 0], corner[:, 1], h, w], axis=1)


def _central(
    view: View, height: NDArray[np.int64], width: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Height and width (N,) of the largest crop whose ratio is allowed, where no attempt fitted."""
    ratio = width / height
    h = np.where(ratio < view.ratio[0], np.rint(width / view.ratio[0]), height)
    w = np.where(ratio > view.ratio[1], np.rint(height * view.ratio[1]), width)
    # Rounding can leave 0 pixels of a very thin image, on which torchvision raises later, in its resize.
    return np.maximum(h, 1).astype(np.int64), np.maximum(w, 1).astype(np.int64)
