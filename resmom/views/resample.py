"""Crop, resize and blur as one small matrix per image and axis: out = Y @ image @ X^T.

With a matrix per image, a batch whose images all have different boxes is two batched matrix products, on any device.
The weights are those of `F.interpolate(..., antialias=True)` on the image cropped first, which are Pillow's: a filter
stretched by the scale when shrinking, cut off at the box's border, and normalised to sum 1.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from resmom.transfer import sent
from resmom.views.policy import Interpolation, View


def blur_kernel(size: int) -> int:
    """Width in pixels (odd, at least 3) of the blur's kernel in views of side `size`: 23 at 224, 9 at 96, 3 at 32.

    SimCLR's rule (arXiv 2002.05709, appendix A), a tenth of the side. The trap: at 32 pixels, 3 taps cut a sigma of 2
    off to that of a box of 3 (a standard deviation of about .8), whereas Pillow's blur is not cut.
    """
    return max(2 * (size // 10 // 2) + 1, 3)


def _weight(distance: Float32[Tensor, "*any"], interpolation: Interpolation) -> Float32[Tensor, "*any"]:
    """The filter at distances >= 0, in pixels of the coarser grid; the tensor is consumed."""
    if interpolation == "bilinear":
        return distance.neg_().add_(1.0).clamp_(min=0.0)
    # Keys' cubic with a = -1/2 (Pillow's; ATen's too when it antialiases, but -3/4 when it does not), free of
    # branches: with u = max(0, 2-d) and t = max(0, 1-d), it is u²(u-1)/2 + t²(1-2t).
    u = distance.neg_().add_(2.0)
    t = (u - 1.0).clamp_(min=0.0)
    u.clamp_(min=0.0)
    outer = (u - 1.0).mul_(0.5).mul_(u).mul_(u)
    return outer.addcmul_(t.square(), t.mul_(-2.0).add_(1.0))


def resize_matrix(
    start: Int64[Tensor, " n"],
    length: Int64[Tensor, " n"],
    source: int,
    size: int,
    interpolation: Interpolation,
    flip: Bool[Tensor, " n"] | None = None,
) -> Float32[Tensor, "n {size} {source}"]:
    """Per image, the matrix that takes pixels [start, start + length) of `source` many to `size` many on one axis.

    Rows sum to 1. Where `flip` is set, the rows stand in reverse, which mirrors the result.
    """
    scale = (length / size)[:, None]
    place = torch.arange(size, device=start.device).expand(len(start), size)
    if flip is not None:
        place = torch.where(flip[:, None], size - 1 - place, place)
    centre = (place + 0.5) * scale
    pixel = torch.arange(source, device=start.device) - start[:, None] + 0.5
    inside = (pixel > 0) & (pixel < length[:, None])
    distance = (pixel[:, None, :] - centre[:, :, None]).abs_().div_(scale.clamp(min=1.0)[:, :, None])
    weight = _weight(distance, interpolation).mul_(inside[:, None, :])
    return weight.div_(weight.sum(dim=2, keepdim=True))


def central_matrix(
    source: int, target: int, size: int, interpolation: Interpolation
) -> tuple[slice, Float32[Tensor, "{size} pixels"]]:
    """The middle `size` of the `target` pixels that `source` many are resized to on one axis: of which pixels they are
    made, and the matrix that makes them of these.

    Where many more than `size` are asked for, neither the other rows nor the other pixels are looked at.
    """
    scale = source / target
    centre = (torch.arange(size, dtype=torch.float64) + (round((target - size) / 2) + 0.5)) * scale
    stretch = max(scale, 1.0)
    reach = stretch * (1 if interpolation == "bilinear" else 2)
    low, high = max(math.floor(centre[0] - reach), 0), min(math.ceil(centre[-1] + reach), source)
    pixel = torch.arange(low, high, dtype=torch.float64) + 0.5
    weight = _weight((pixel - centre[:, None]).abs_().div_(stretch).float(), interpolation)
    return slice(low, high), weight.div_(weight.sum(dim=1, keepdim=True))


def between(
    y: Float32[Tensor, "n a h"], images: Float32[Tensor, "n c h w"], x: Float32[Tensor, "n b w"]
) -> Float32[Tensor, "n c a b"]:
    """Y @ image @ X^T for every channel of every image, each image with its own Y and X.

    The trap: under autocast, or with TF32 allowed, factors are rounded to 8 or 11 bits. Make views outside autocast;
    TF32 moves a pixel by .5/255 at worst (four factors, 2^-11 each).
    """
    return torch.einsum("nah,nchb->ncab", y, torch.einsum("nchw,nbw->nchb", images, x))


def resample(
    images: Float32[Tensor, "n c h w"],
    box: Int64[Tensor, "n 4"],
    flip: Bool[Tensor, " n"],
    size: int,
    interpolation: Interpolation,
    upended: Bool[Tensor, " n"] | None = None,
) -> Float32[Tensor, "n c {size} {size}"]:
    """Crop each image to its `box` (top, left, height, width in pixels), resize to a square, flip where told: left and
    right by `flip`, top and bottom by `upended`.

    Pixels lie in [0, 1], before and after: bicubic weights overshoot, and Pillow, too, cuts what leaves the range. Its
    8-bit path rounds, and cuts overshoot, after each axis: bilinear pixels differ from ours by at most 1/255, bicubic
    ones by 1.15/255 where nothing is cut in between; on noise of full contrast .3 % differ by more.
    """
    h, w = images.shape[2:]
    device = images.device
    top, left, height, width = sent(box, device).unbind(dim=1)
    y = resize_matrix(top, height, h, size, interpolation, None if upended is None else sent(upended, device))
    x = resize_matrix(left, width, w, size, interpolation, sent(flip, device))
    return between(y, images, x).clamp_(0.0, 1.0)


def crop_resize(
    image: UInt8[Tensor, "c h w"] | Float[Tensor, "c h w"],
    box: tuple[int, int, int, int],
    flip: bool,
    view: View,
    upended: bool = False,
) -> Float32[Tensor, "c {view.size} {view.size}"]:
    """What `resample` does, for one image of any size, uint8 or float in [0, 1]; the result is in [0, 1].

    For photographs, where a dense matrix per image would be mostly zeros: the work is that of the crop alone.
    """
    top, left, height, width = box
    crop = image[None, :, top : top + height, left : left + width]
    pixels = crop.float() if image.is_floating_point() else crop.float().div_(255.0)
    pixels = F.interpolate(pixels, size=(view.size, view.size), mode=view.interpolation, antialias=True)[0]
    pixels = pixels.flip(2) if flip else pixels
    return (pixels.flip(1) if upended else pixels).clamp_(0.0, 1.0)


def blur_matrix(sigma: Float32[Tensor, " n"], size: int, kernel: int) -> Float32[Tensor, "n {size} {size}"]:
    """Per image, the matrix of a Gaussian blur along an axis of `size` pixels that mirrors at the border.

    `sigma`: standard deviations in pixels, > 0. `kernel`: odd number of taps; the border pixel is not repeated.
    Raises ValueError if the kernel reaches beyond the mirror image.
    """
    radius = kernel // 2
    if kernel % 2 == 0 or radius >= size:
        raise ValueError(f"a blur's kernel must be odd and below twice the side, got {kernel} for a side of {size}")
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    # As a softmax, a sigma near 0 gives the identity instead of 0 / 0.
    taps = torch.softmax(-((offset / (math.sqrt(2.0) * sigma[:, None])) ** 2), dim=1)
    source = (torch.arange(size, device=sigma.device) + offset[:, None]).abs()
    source = size - 1 - (size - 1 - source).abs()
    # A product with a 0/1 tensor and not scatter_add, whose sums on a GPU come in any order.
    selection = F.one_hot(source, size).to(taps.dtype)
    return (taps @ selection.reshape(kernel, size * size)).reshape(len(sigma), size, size)
