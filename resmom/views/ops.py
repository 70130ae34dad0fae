"""Colour ops on batches N x C x H x W of float pixels in [0, 1], with one parameter per image.

Each equals torchvision's function of the same meaning on a float tensor, image by image. They return new tensors,
but for `on_rows` and `jitter`, which write the images that they touch into the tensor given.

For images that are not RGB (torchvision refuses all but 1 and 3 channels):

|            | C = 1                    | C other than 1 and 3           |
|------------|--------------------------|--------------------------------|
| brightness | as RGB                   | as RGB                         |
| contrast   | about the channel's mean | about the mean of all channels |
| saturation | identity                 | about the mean over channels   |
| hue        | identity                 | identity                       |
| grey       | identity                 | the mean over channels         |
| blur       | as RGB                   | as RGB                         |
| solarise   | as RGB                   | as RGB                         |
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float32, Int64, Shaped
from torch import Tensor

from resmom.transfer import sent
from resmom.views.resample import between, blur_kernel, blur_matrix

LUMA = (0.2989, 0.587, 0.114)
"""How much red, green and blue count in grey: ITU-R BT.601 as torchvision rounds it (the sum is .9999)."""

Images = Float32[Tensor, "n c h w"]
Factors = Float32[Tensor, " n"]


def _column(factor: Factors, images: Images) -> Float32[Tensor, "n 1 1 1"]:
    return sent(factor, images.device)[:, None, None, None]


def _luma(images: Images) -> Float32[Tensor, "n 1 h w"]:
    """One channel of grey; C other than 3: the mean of the channels."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    r, g, b = images.unbind(dim=1)
    return (r * LUMA[0]).add_(g, alpha=LUMA[1]).add_(b, alpha=LUMA[2])[:, None]


def brightness(images: Images, factor: Factors) -> Images:
    """Pixels times the factor (>= 0), cut off at 1."""
    return (images * _column(factor, images)).clamp_(max=1.0)


def contrast(images: Images, factor: Factors) -> Images:
    """Pixels' distance from the image's mean grey, times the factor (>= 0), cut off at 0 and 1."""
    # The mean of the grey image is the grey of the mean pixel, which costs one pass over the pixels and not four.
    mean = _luma(images.mean(dim=(2, 3), keepdim=True))
    f = _column(factor, images)
    return (images * f).add_(mean * (1.0 - f)).clamp_(0.0, 1.0)


def saturation(images: Images, factor: Factors) -> Images:
    """Pixels' distance from their own grey, times the factor (>= 0), cut off at 0 and 1."""
    if images.shape[1] == 1:
        return images.clone()
    f = _column(factor, images)
    return (images * f).add_(_luma(images).mul_(1.0 - f)).clamp_(0.0, 1.0)


def hue(images: Images, shift: Factors) -> Images:
    """Turn the colour circle of HSV by `shift` turns, in [-.5, .5]; value and saturation stay."""
    if images.shape[1] != 3:
        return images.clone()
    r, g, b = images.unbind(dim=1)
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    scale = chroma.clamp(min=torch.finfo(images.dtype).tiny).reciprocal_()  # grey pixels: any hue, for chroma is 0
    # Sixths of a turn from red; where two channels share the maximum, the formulas agree up to a whole turn.
    from_r, from_g, from_b = (g - b).mul_(scale), (b - r).mul_(scale).add_(2.0), (r - g).mul_(scale).add_(4.0)
    # lerp by exactly 0 or 1 chooses without rounding, several times as fast on a CPU as `where` with its bytes.
    angle = torch.lerp(from_b, from_g, torch.eq(high, g, out=torch.empty_like(high)))
    angle = torch.lerp(angle, from_r, torch.eq(high, r, out=torch.empty_like(high)))
    angle.add_(6.0 * sent(shift, images.device)[:, None, None])
    angle.sub_(angle.div(6.0).floor_().mul_(6.0))
    # Back from HSV without branches: how far each channel stands above the lowest one, as a part of the chroma, is a
    # trapezium over the angle.
    out = torch.empty_like(images)
    for channel, middle in zip(out.unbind(dim=1), (3.0, 2.0, 4.0), strict=True):
        torch.sub(angle, middle, out=channel).abs_().neg_().add_(2.0)
    out[:, 0].neg_().add_(1.0)  # red is the one whose plateau lies across 0: |angle - 3| - 1
    return out.clamp_(0.0, 1.0).mul_(chroma[:, None]).add_(low[:, None])


def grey(images: Images) -> Images:
    """Every channel set to the pixel's grey."""
    return images.clone() if images.shape[1] == 1 else _luma(images).repeat(1, images.shape[1], 1, 1)


def blur(images: Images, sigma: Factors) -> Images:
    """Gaussian blur with `sigma` > 0 in pixels, mirrored at the border; the kernel is `blur_kernel(H)` wide."""
    h, w = images.shape[2:]
    sigma = sent(sigma, images.device)
    y = blur_matrix(sigma, h, blur_kernel(h))
    x = y if h == w else blur_matrix(sigma, w, blur_kernel(h))
    return between(y, images, x)


def solarise(images: Images) -> Images:
    """Invert the pixels that are at least .5; on 8 bits that is Pillow's threshold of 128, for 127.5 lies between."""
    return torch.minimum(images, 1.0 - images)  # of x and 1 - x, the inverse is the lower one just where x >= .5


def flip(images: Images) -> Images:
    """Mirror left and right."""
    return images.flip(3)


def transpose(images: Float32[Tensor, "n c s s"]) -> Float32[Tensor, "n c s s"]:
    """Rows become columns: with flips, a quarter turn."""
    return images.mT.contiguous()


def rotate(images: Float32[Tensor, "n c s s"], angle: Factors) -> Float32[Tensor, "n c s s"]:
    """Turn by `angle` degrees counter-clockwise about the centre, bilinear, mirrored at the border as `blur` is.

    The images are square, with sides of at least 2 pixels: corners never reach beyond one mirror image.
    """
    size = images.shape[2]
    last = size - 1
    away = torch.arange(size, device=images.device) - last / 2
    turn = torch.deg2rad(angle.double())
    cosine, sine = (sent(part.float(), images.device)[:, None, None] for part in (turn.cos(), turn.sin()))
    x = cosine * away - sine * away[:, None] + last / 2
    y = sine * away + cosine * away[:, None] + last / 2
    x, y = (last - (last - place.abs()).abs() for place in (x, y))
    left, top = (place.floor().clamp_(max=last - 1) for place in (x, y))
    first = (top.long() * size + left.long()).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    pixels = images.flatten(2)

    def between_two(start: int) -> Float32[Tensor, "n c s s"]:
        one, other = (pixels.gather(2, first + start + step).view_as(images) for step in (0, 1))
        return torch.lerp(one, other, (x - left)[:, None])

    return torch.lerp(between_two(0), between_two(size), (y - top)[:, None])


def on_rows(
    images: Images, where: Bool[Tensor, " n"], op: Callable[..., Tensor], *parameters: Shaped[Tensor, "n ..."]
) -> Images:
    """The images with `op` applied to those alone where `where` is set; `images` may be overwritten.

    `op` gets the chosen images and their rows of the `parameters`. Leave `where` and these on the CPU, where they were
    drawn: then no device is asked how many rows there are.
    """
    rows = where.nonzero()[:, 0]
    if len(rows) == len(images):
        return op(images, *parameters)
    if len(rows) == 0:
        return images
    there = sent(rows, images.device)
    chosen = op(images.index_select(0, there), *(parameter[rows] for parameter in parameters))
    return images.index_copy_(0, there, chosen)


_JITTERS = (brightness, contrast, saturation, hue)


def jitter(images: Images, factors: Float32[Tensor, "n 4"], order: Int64[Tensor, "n 4"]) -> Images:
    """Brightness, contrast, saturation and hue, each image in its own order; `images` may be overwritten.

    `factors[:, j]` is the parameter of op j; `order[i, r]` the op that image i meets in round r. In each of the four
    rounds each op runs once, over the images whose turn it is.
    """
    for turn in range(len(_JITTERS)):
        for j, op in enumerate(_JITTERS):
            images = on_rows(images, order[:, turn] == j, op, factors[:, j])
    return images
