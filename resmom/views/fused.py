"""One view of one image in one pass, compiled: what `apply.render` does with batched tensors, for photographs on a CPU.

Batched tensor ops stream a whole batch of large views through memory at every op; here one image stays in the cache
from its crop to its normalised pixels. The maths is that of `resample` and `ops`, op by op, in float32, so that those
remain the oracle: pixels differ by rounding alone (`BOUND`). Needs the extra `fast` (numba); nothing is imported before
`available` is asked.

The compiled code is kept beside this file, or in the user's cache folder where that cannot be written.
"""

import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from resmom.extras import importable
from resmom.views.draw import Parameters
from resmom.views.policy import View
from resmom.views.resample import blur_kernel

BOUND = 1e-4
"""Largest difference of a pixel in [0, 1] from the batched ops, a fortieth of a grey level: float32 rounds, most of
it that of `F.interpolate`, whose positions in a large photo are float32 (ours are float64). 3e-5 is the most seen."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Target = tuple[int, int]


def available() -> bool:
    """Whether the compiled pass can be used: numba can be imported."""
    return importable("numba")


def kernels() -> ModuleType:
    """The module of the compiled functions that crop, resize, flip and rotate."""
    from resmom.views import kernels as module

    return module


def colours() -> ModuleType:
    """The module of those that come after."""
    from resmom.views import colourkernels as module

    return module


def channels_last(images: Tensor | Sequence[Tensor]) -> list[Pixels]:
    """Images C x H x W as arrays H x W x C, without a copy where their memory is in that order already."""
    if isinstance(images, Tensor):
        return list(images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy())
    return [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in images]


def fused_view(
    images: list[Pixels], parameters: Parameters, view: View, mean: tuple[float, ...], std: tuple[float, ...]
) -> Float32[Tensor, "n 3 {view.size} {view.size}"]:
    """One view of N images, normalised, in channels-last memory.

    `images`: N arrays H x W x 3 of uint8, contiguous. Releases the interpreter's lock while it works, so threads that
    make other batches run beside it.
    """
    resize, rotate, finish = kernels().resize, kernels().rotate, colours().finish
    n, size = len(images), view.size
    out = torch.empty(n, 3, size, size, memory_format=torch.channels_last)
    pixels = out.permute(0, 2, 3, 1).numpy().reshape(n, size, 3 * size)
    planes, spare = np.empty((2, 3, size, size), dtype=np.float32)
    scale = np.array([1.0 / s for s in std], dtype=np.float32)
    shift = np.array([-m / s for m, s in zip(mean, std, strict=True)], dtype=np.float32)
    box, order = parameters.box.numpy(), parameters.order.numpy()
    factors, sigma = parameters.factors.numpy(), parameters.sigma.numpy()
    jitter, grey, solarise = parameters.jitter.numpy(), parameters.grey.numpy(), parameters.solarise.numpy()
    mirrored, upended = parameters.flip.numpy(), parameters.flip_vertical.numpy()
    transposed, angle = parameters.transposed.numpy(), parameters.angle.numpy()
    cubic, radius = view.interpolation == "bicubic", blur_kernel(size) // 2
    for i, image in enumerate(images):
        resize(image.reshape(len(image), -1), box[i], mirrored[i], upended[i], cubic, planes)
        if angle[i]:
            # Until they are written, pixels stand on their sides, where a turn goes the other way.
            turn = math.radians(angle[i] if transposed[i] else -angle[i])
            rotate(planes, math.cos(turn), math.sin(turn), spare)
            planes, spare = spare, planes
        colour = (jitter[i], factors[i], order[i], grey[i])
        taps = _taps(float(sigma[i]), radius)
        finish(planes, spare, *colour, taps, solarise[i], transposed[i], scale, shift, pixels[i])
    return out


def centred(images: list[Pixels], target: list[Target], size: int, cubic: bool) -> Float32[Tensor, "n 3 {size} {size}"]:
    """The middle of N images resized to their `target` (rows, columns), pixels in [0, 1]. `images` as in `fused_view`.

    An image of S x S is taken as it is.
    """
    centre = kernels().centre
    out = torch.empty(len(images), 3, size, size)
    planes = np.empty((3, size, size), dtype=np.float32)
    for image, (rows, columns), own in zip(images, target, out.numpy(), strict=True):
        if image.shape[:2] == (size, size):
            np.divide(image.transpose(2, 0, 1), np.float32(255.0), out=own)
            continue
        top, left = round((rows - size) / 2), round((columns - size) / 2)
        centre(image.reshape(len(image), -1), rows, columns, top, left, cubic, planes)
        own[:] = planes.transpose(0, 2, 1)  # where they stand on their sides
    return out


def _taps(sigma: float, radius: int) -> Floats:
    """Half of the blur's kernel, from its middle outwards, summing (mirrored) to 1; empty without blur.

    Taps that float32 would not feel are left out.
    """
    if sigma <= 0:
        return np.empty(0, dtype=np.float32)
    radius = min(radius, math.ceil(6.0 * sigma))
    taps = np.exp(-((np.arange(radius + 1) / (math.sqrt(2.0) * sigma)) ** 2))
    half: Floats = (taps / (2.0 * taps.sum() - taps[0])).astype(np.float32)
    return half
