"""From uint8 images to the normalised views of a batch: draw the parameters, apply the ops."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Shaped, UInt8
from numpy.typing import NDArray
from torch import Tensor

from resmom.transfer import sent
from resmom.views import fused, ops
from resmom.views.draw import Parameters, draw
from resmom.views.policy import Interpolation, Policy, View
from resmom.views.resample import between, central_matrix, crop_resize, resample

Images = Shaped[Tensor, "n c h w"] | Sequence[Shaped[Tensor, "_ _ _"]]
"""Images of one size as one tensor, or of different sizes as a list of C x H x W; uint8 either way.

The type is checked by hand and not by the signature, for float images in [0, 255] would pass unseen in production.
"""

PLAIN_MARGIN = 256 / 224
"""Shorter side after resizing, over the side of the central crop, in evaluation: ImageNet's protocol."""

STRIP = 4
"""Longer over shorter side, above which an image is a strip: resized whole, it would be mostly thrown away."""


def views(
    images: Images, index: NDArray[np.int64], policy: Policy, seed: int, epoch: int
) -> tuple[Float32[Tensor, "n c _ _"], ...]:
    """The views of N images, view v of shape N x C x S_v x S_v, normalised, on the images' device.

    `index` (N,) names the images: parameters depend on (seed, epoch, name, number of the view) alone. RGB images on a
    CPU are rendered one by one in a compiled pass where numba can be imported (extra `fast`), else, and on a GPU, by
    batched ops; the pixels in [0, 1] differ by at most `fused.BOUND`. Of the batched ops, those on a tensor resample by
    one matrix per image (best up to some 100 pixels, or on a GPU), those on a list one image after the other.

    Raises ValueError if the images are none, not uint8, not as many as `index`, or of other channels than the policy.
    """
    _check(images, policy.mean, policy.std)
    if len(images) != len(index):
        raise ValueError(f"{len(images)} images but {len(index)} names in index; give one name per image")
    if isinstance(images, Tensor):
        sizes = np.array(images.shape[2:], dtype=np.int64)
    else:
        sizes = np.array([image.shape[1:] for image in images], dtype=np.int64)
    drawn = [draw(view, seed, epoch, index, number, sizes) for number, view in enumerate(policy.views)]
    each = list(zip(drawn, policy.views, strict=True))
    if _compiled(images, policy.mean):
        rows = fused.channels_last(images)
        return tuple(fused.fused_view(rows, parameters, view, policy.mean, policy.std) for parameters, view in each)
    pixels = images.float().div_(255.0) if isinstance(images, Tensor) else images
    return tuple(normalise(render(pixels, parameters, view), policy.mean, policy.std) for parameters, view in each)


def render(
    images: Float32[Tensor, "n c h w"] | Sequence[Tensor], parameters: Parameters, view: View
) -> Float32[Tensor, "n c {view.size} {view.size}"]:
    """One view of N images with the given parameters, in [0, 1], not normalised.

    `images`: float in [0, 1], or a list of C x H x W (uint8, or float in [0, 1]). Leave the parameters on the CPU,
    where they were drawn, even if the images are on a GPU: which rows an op touches is then known at once.
    """
    flips, upended = parameters.flip, parameters.flip_vertical
    if isinstance(images, Tensor):
        rows = upended if upended.any() else None
        x = resample(images, parameters.box, flips, view.size, view.interpolation, rows)
    else:
        each = zip(images, parameters.box.tolist(), flips.tolist(), upended.tolist(), strict=True)
        x = torch.stack([crop_resize(image, (*box,), flip, view, over) for image, box, flip, over in each])
    x = ops.on_rows(x, parameters.transposed, ops.transpose)
    x = ops.on_rows(x, parameters.angle != 0, ops.rotate, parameters.angle)
    x = ops.on_rows(x, parameters.jitter, ops.jitter, parameters.factors, parameters.order)
    x = ops.on_rows(x, parameters.grey, ops.grey)
    x = ops.on_rows(x, parameters.sigma > 0, ops.blur, parameters.sigma)
    return ops.on_rows(x, parameters.solarise, ops.solarise)


def plain(
    images: Images,
    size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    resize: Interpolation = "bilinear",
) -> Float32[Tensor, "n c {size} {size}"]:
    """The view for evaluation, without chance: N x C x size x size, normalised.

    An image of size x size is taken as it is. Any other is resized so that its shorter side is size * 256/224, rounded
    (the longer one rounded down), with antialiasing, and cropped in the centre, as torchvision's Resize and CenterCrop.
    RGB images on a CPU are made in a compiled pass, as in `views`. Else, of an image more than `STRIP` times as long as
    wide, only what the crop is made of is resized: the same pixels, but for rounding, in little memory. What happens
    depends on the image alone, never on the others of the batch. Raises as `views`.
    """
    _check(images, mean, std)
    as_they_are = isinstance(images, Tensor) and images.shape[2:] == (size, size)
    if not as_they_are and _compiled(images, mean):
        rows = fused.channels_last(images)
        targets = [_target(image.shape[0], image.shape[1], size) for image in rows]
        return normalise(fused.centred(rows, targets, size, resize == "bicubic"), mean, std)
    if isinstance(images, Tensor):
        return normalise(_centre(images, size, resize), mean, std)
    return normalise(torch.cat([_centre(image[None], size, resize) for image in images]), mean, std)


def normalise(
    images: Float32[Tensor, "n c h w"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float32[Tensor, "n c h w"]:
    """(pixel - mean) / std per channel, in place."""
    centre, spread = (sent(torch.tensor(numbers), images.device)[:, None, None] for numbers in (mean, std))
    return images.sub_(centre).div_(spread)


def _compiled(images: Images, mean: tuple[float, ...]) -> bool:
    """Whether images are made in the compiled pass."""
    return len(mean) == 3 and images[0].device.type == "cpu" and fused.available()


def _target(height: int, width: int, size: int) -> tuple[int, int]:
    """Rows and columns that an image is resized to before its middle is cut out."""
    side = round(size * PLAIN_MARGIN)
    return (side, side * width // height) if height <= width else (side * height // width, side)


def _centre(images: UInt8[Tensor, "n c h w"], size: int, resize: Interpolation) -> Float32[Tensor, "n c {size} {size}"]:
    h, w = images.shape[2:]
    if h == w == size:
        return images.float().div_(255.0)
    target = _target(h, w, size)
    if max(h, w) > STRIP * min(h, w):
        return _centre_of_strip(images, target, size, resize)
    pixels = F.interpolate(images.float().div_(255.0), size=target, mode=resize, antialias=True).clamp_(0.0, 1.0)
    top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return pixels[:, :, top : top + size, left : left + size].contiguous()


def _centre_of_strip(
    images: UInt8[Tensor, "n c h w"], target: tuple[int, int], size: int, resize: Interpolation
) -> Float32[Tensor, "n c {size} {size}"]:
    """The centre of images resized to `target`, without making the rest: a line of 60,000 pixels would take 47 GB."""
    rows, y = central_matrix(images.shape[2], target[0], size, resize)
    columns, x = central_matrix(images.shape[3], target[1], size, resize)
    pixels = images[:, :, rows, columns].float().div_(255.0)
    y, x = (sent(each, images.device).expand(len(images), -1, -1) for each in (y, x))
    with torch.autocast(images.device.type, enabled=False):  # measurements run in it, and it would round the pixels
        return between(y, pixels, x).clamp_(0.0, 1.0)


def _check(images: Images, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    if len(images) == 0:
        raise ValueError("there are no images; a batch needs at least one")
    for image in (images,) if isinstance(images, Tensor) else images:
        if image.dtype != torch.uint8:
            raise ValueError(f"images must be uint8, 0 to 255, got {image.dtype}; leave scaling to the views")
        channels = image.shape[-3]
        if not channels == len(mean) == len(std):
            raise ValueError(
                f"an image has {channels} channel(s), but mean has {len(mean)} and std {len(std)} numbers; give one "
                "number per channel, or convert the image"
            )
