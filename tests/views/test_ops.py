"""Every colour op against torchvision's on the same images with the same parameters, image by image."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from resmom.views import ops
from resmom.views.resample import blur_kernel

N = 48
Op = Callable[[Tensor, Tensor], Tensor]
THEIRS = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
OURS = (ops.brightness, ops.contrast, ops.saturation, ops.hue)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(c: int = 3, seed: int = 0) -> Tensor:
    """Noise on 8 bits, so that channels tie; then a grey image, black, white, and saturated colours."""
    images = torch.randint(0, 256, (N, c, 13, 11), generator=generator(seed)).float() / 255
    images[0] = images[0, :1]
    images[1], images[2] = 0.0, 1.0
    images[3] = (images[3] > 0.5).float()
    images[4] = (images[4] * 4).round() / 4
    return images


def some_factors(low: float, high: float, seed: int = 1) -> Tensor:
    factors = torch.rand(N, generator=generator(seed)) * (high - low) + low
    factors[-2:] = torch.tensor([low, high])
    return factors


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (ops.brightness, tv.adjust_brightness, 0.0, 2.5),
        (ops.contrast, tv.adjust_contrast, 0.0, 2.5),
        (ops.saturation, tv.adjust_saturation, 0.0, 2.5),
        (ops.hue, tv.adjust_hue, -0.5, 0.5),
    ],
    ids=["brightness", "contrast", "saturation", "hue"],
)
@pytest.mark.parametrize("c", [1, 3])
def test_jitter_ops_equal_torchvisions(
    ours: Op, theirs: Callable[..., Tensor], low: float, high: float, c: int
) -> None:
    images, factors = some_images(c), some_factors(low, high)
    before = images.clone()
    out = ours(images, factors)
    assert torch.equal(images, before), "the input was written to"
    for i in range(N):
        torch.testing.assert_close(out[i], theirs(images[i], factors[i].item()), rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3), st.floats(-0.5, 0.5, width=32))
def test_hue_of_any_colour(colour: tuple[int, int, int], shift: float) -> None:
    pixel = torch.tensor(colour).float()[None, :, None, None] / 255
    out = ops.hue(pixel, torch.tensor([shift]))
    torch.testing.assert_close(out[0], tv.adjust_hue(pixel[0], shift), rtol=0, atol=1e-5)


def test_a_third_of_a_turn_moves_the_channels_on() -> None:
    images = some_images()
    torch.testing.assert_close(ops.hue(images, torch.full((N,), 1 / 3)), images.roll(1, dims=1), rtol=0, atol=2e-6)


def test_grey_equals_torchvision() -> None:
    images = some_images()
    torch.testing.assert_close(ops.grey(images), tv.rgb_to_grayscale(images, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("c", [1, 3, 4])
def test_blur_equals_torchvision(c: int) -> None:
    images, sigma = torch.rand(N, c, 64, 48, generator=generator()), some_factors(0.1, 2.0)
    out, kernel = ops.blur(images, sigma), blur_kernel(64)
    for i in range(N):
        theirs = tv.gaussian_blur(images[i], [kernel, kernel], [sigma[i].item()] * 2)
        torch.testing.assert_close(out[i], theirs, rtol=0, atol=1e-5)


def test_solarise_equals_torchvision_and_pillow() -> None:
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    out = ops.solarise(grey.float() / 255)
    torch.testing.assert_close(out, tv.solarize(grey.float() / 255, 0.5), rtol=0, atol=0)
    pillow = ImageOps.solarize(Image.fromarray(grey[0, 0].numpy()))
    assert (out * 255).round().byte().flatten().tolist() == list(pillow.tobytes())


def test_flip_equals_torchvision() -> None:
    assert torch.equal(ops.flip(some_images()), tv.horizontal_flip(some_images()))


def test_transposed_and_flipped_is_torchvisions_quarter_turn() -> None:
    square = some_images()[:, :, :11]
    torch.testing.assert_close(ops.transpose(ops.flip(square)), tv.rotate(square, 90), rtol=0, atol=0)
    torch.testing.assert_close(ops.transpose(square.flip(2)), tv.rotate(square, 270), rtol=0, atol=0)
    torch.testing.assert_close(ops.flip(square).flip(2), tv.rotate(square, 180), rtol=0, atol=0)


@pytest.mark.parametrize("c", [1, 3, 4])
@pytest.mark.parametrize("size", [2, 3, 24, 33])
def test_rotate_equals_torchvision_on_mirrored_borders(c: int, size: int) -> None:
    images, angle = torch.rand(N, c, size, size, generator=generator()), some_factors(-180.0, 180.0)
    angle[:4] = torch.tensor([0.0, 90.0, 180.0, -45.0])
    out, border = ops.rotate(images, angle), min(size - 1, size // 2)
    wide = tv.pad(images, [border], padding_mode="reflect")
    for i in range(N):
        theirs = tv.rotate(wide[i], angle[i].item(), InterpolationMode.BILINEAR)
        torch.testing.assert_close(out[i], tv.center_crop(theirs, [size, size]), rtol=0, atol=1e-4)


def test_flip_commutes_with_every_colour_op() -> None:
    images, f = some_images(), some_factors(0.5, 1.5)
    with_factor: list[Callable[[Tensor], Tensor]] = [
        lambda x: ops.brightness(x, f),
        lambda x: ops.contrast(x, f),
        lambda x: ops.saturation(x, f),
        lambda x: ops.hue(x, f - 1),
        lambda x: ops.blur(x, f),
        ops.grey,
        ops.solarise,
    ]
    for op in with_factor:
        torch.testing.assert_close(op(ops.flip(images)), ops.flip(op(images)), rtol=0, atol=2e-6)


def test_jitter_applies_the_ops_in_each_images_order() -> None:
    images = some_images()
    factors = torch.stack([some_factors(0.6, 1.4, 1), some_factors(0.6, 1.4, 2), some_factors(0.8, 1.2, 3)], dim=1)
    factors = torch.cat([factors, some_factors(-0.1, 0.1, 4)[:, None]], dim=1)
    order = torch.stack([torch.randperm(4, generator=generator(i)) for i in range(N)])
    out = ops.jitter(images.clone(), factors, order)
    for i in range(N):
        theirs = images[i]
        for j in order[i].tolist():
            theirs = THEIRS[j](theirs, factors[i, j].item())
        torch.testing.assert_close(out[i], theirs, rtol=0, atol=1e-5)


def test_on_rows_touches_the_chosen_images_alone() -> None:
    images, where, f = some_images(), torch.arange(N) % 3 == 0, some_factors(0.5, 0.9)
    darker = images * f[:, None, None, None]
    out = ops.on_rows(images.clone(), where, ops.brightness, f)
    assert torch.equal(out, torch.where(where[:, None, None, None], darker, images))
    assert torch.equal(ops.on_rows(images.clone(), torch.zeros_like(where), ops.brightness, f), images)
    assert torch.equal(ops.on_rows(images.clone(), torch.ones_like(where), ops.brightness, f), darker)


def test_one_channel() -> None:
    images, f = some_images(1), some_factors(0.5, 1.5)
    for same in (ops.saturation(images, f), ops.hue(images, f - 1), ops.grey(images)):
        assert torch.equal(same, images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    g = f[:, None, None, None]
    torch.testing.assert_close(ops.contrast(images, f), (images * g + mean * (1 - g)).clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("c", [2, 4])
def test_neither_one_nor_three_channels(c: int) -> None:
    images, f = some_images(c), some_factors(0.5, 1.5)
    g = f[:, None, None, None]
    own, whole = images.mean(dim=1, keepdim=True), images.mean(dim=(1, 2, 3), keepdim=True)
    close = {"rtol": 0, "atol": 1e-6}
    assert torch.equal(ops.hue(images, f - 1), images)
    torch.testing.assert_close(ops.grey(images), own.expand_as(images), **close)
    torch.testing.assert_close(ops.saturation(images, f), (images * g + own * (1 - g)).clamp(0, 1), **close)
    torch.testing.assert_close(ops.contrast(images, f), (images * g + whole * (1 - g)).clamp(0, 1), **close)
    torch.testing.assert_close(ops.brightness(images, f), (images * g).clamp(0, 1), **close)
    assert torch.equal(ops.solarise(images), torch.where(images >= 0.5, 1 - images, images))
