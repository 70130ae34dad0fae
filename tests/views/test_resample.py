"""The per-image matrices against torchvision's resized_crop and gaussian_blur, and Pillow's 8-bit path."""

import math

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from resmom.views.policy import Interpolation, View
from resmom.views.resample import blur_kernel, blur_matrix, crop_resize, resample, resize_matrix

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def some_boxes(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, height + 1, n), rng.integers(1, width + 1, n)
    h[0], w[0] = height, width
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    return torch.from_numpy(np.stack([top, left, h, w], axis=1))


def some_images(n: int, c: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(
        0, 256, (n, c, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (75, 50, 24), (16, 20, 48), (9, 90, 1), (1, 1, 7)])
def test_equals_torchvision_on_floats(mode: Interpolation, height: int, width: int, size: int) -> None:
    n = 60
    raw, box, flip = some_images(n, 3, height, width), some_boxes(n, height, width), torch.arange(n) % 2 == 1
    images = raw.float() / 255
    ours = resample(images, box, flip, size, mode)
    view = View(size=size, interpolation=mode, blur=0.0)
    for i in range(n):
        theirs = tv.resized_crop(images[i], *box[i].tolist(), [size, size], MODES[mode], antialias=True).clamp(0, 1)
        theirs = theirs.flip(2) if flip[i] else theirs
        torch.testing.assert_close(ours[i], theirs, rtol=0, atol=1e-5)
        one = (*box[i].tolist(),)
        torch.testing.assert_close(crop_resize(raw[i], one, bool(flip[i]), view), ours[i], rtol=0, atol=1e-5)
        torch.testing.assert_close(crop_resize(images[i], one, bool(flip[i]), view), ours[i], rtol=0, atol=1e-5)


def distance_to_pillow(raw: Tensor, mode: Interpolation, size: int = 24) -> Tensor:
    n, height, width = len(raw), *raw.shape[2:]
    box = some_boxes(n, height, width)
    ours = resample(raw.float() / 255, box, torch.zeros(n, dtype=torch.bool), size, mode)
    errors = []
    for i in range(n):
        top, left, h, w = box[i].tolist()
        crop = Image.fromarray(raw[i].permute(1, 2, 0).numpy()).crop((left, top, left + w, top + h))
        theirs = torch.from_numpy(np.array(crop.resize((size, size), PILLOW[mode]))).permute(2, 0, 1) / 255
        errors.append((ours[i] - theirs).abs())
    return torch.stack(errors)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_the_distance_to_pillow_is_its_rounding(mode: Interpolation) -> None:
    """Pillow rounds to 8 bits after each of the two axes, so pixels differ by at most 1/255 (bicubic 1.15/255).

    The last rounding moves a pixel by at most .5/255; the first one by .5/255 times the sum of the absolute weights of
    the second axis (1 for bilinear, below 1.3 for bicubic with a = -1/2); the weights' 22 bits add next to nothing.
    The images keep a distance from black and white, see the next test.
    """
    raw = (some_images(80, 3, 75, 50).float() * 0.5 + 64).byte()
    error = distance_to_pillow(raw, mode)
    assert error.max() < (0.5 + 0.5 * (1.0 if mode == "bilinear" else 1.3)) / 255 + 1e-5
    assert error.mean() < 0.35 / 255


def test_pillow_also_cuts_bicubic_overshoot_between_the_axes() -> None:
    """On hard edges from black to white its 8-bit path differs more, as torch's float path, ours, differs from it.

    Less so since its version 13.
    """
    error = distance_to_pillow(some_images(80, 3, 75, 50), "bicubic")
    assert error.max() < 0.1
    assert error.mean() < 0.35 / 255
    assert (error > 1.15 / 255).float().mean() < (0.005 if Version(PIL.__version__) >= Version("13") else 0.02)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 40),
    st.sampled_from(["bilinear", "bicubic"]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_weights_sum_to_one_and_leave_the_box_alone(source: int, size: int, mode: str, flip: bool, random) -> None:  # type: ignore[no-untyped-def]
    length = random.randint(1, source)
    start = random.randint(0, source - length)
    matrix = resize_matrix(torch.tensor([start]), torch.tensor([length]), source, size, mode, torch.tensor([flip]))  # type: ignore[arg-type]
    torch.testing.assert_close(matrix.sum(dim=2), torch.ones(1, size), rtol=0, atol=1e-5)
    outside = torch.ones(source, dtype=torch.bool)
    outside[start : start + length] = False
    assert (matrix[..., outside] == 0).all()
    if length == size:
        there = torch.eye(size).flip(0) if flip else torch.eye(size)
        torch.testing.assert_close(matrix[0, :, start : start + length], there, rtol=0, atol=1e-6)


def test_bicubic_overshoot_is_cut() -> None:
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 1.0
    out = resample(step, torch.tensor([[0, 0, 8, 8]]), torch.tensor([False]), 20, "bicubic")
    raw = torch.nn.functional.interpolate(step, size=20, mode="bicubic", antialias=True)
    assert raw.max() > 1.01
    assert out.min() == 0
    assert out.max() == 1


def test_the_kernel_is_a_tenth_of_the_side_and_odd() -> None:
    assert [blur_kernel(size) for size in (224, 96, 64, 32, 2)] == [23, 9, 7, 3, 3]


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (24, 7), (9, 9), (64, 23)])
def test_blur_matrix_equals_torchvision(size: int, kernel: int) -> None:
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0, 7.0])
    image = some_images(1, 2, size, size)[0].float() / 255
    matrix = blur_matrix(sigma, size, kernel)
    for one, s in zip(matrix, sigma.tolist(), strict=True):
        theirs = tv.gaussian_blur(image, [kernel, kernel], [s, s])
        torch.testing.assert_close(one @ image @ one.T, theirs, rtol=0, atol=1e-5)


def test_a_tiny_sigma_is_no_blur() -> None:
    matrix = blur_matrix(torch.tensor([1e-6]), 8, 3)
    assert torch.equal(matrix[0], torch.eye(8))


@pytest.mark.parametrize(("size", "kernel"), [(3, 7), (8, 4)])
def test_an_impossible_kernel_is_refused(size: int, kernel: int) -> None:
    with pytest.raises(ValueError, match="odd and below twice the side"):
        blur_matrix(torch.ones(1), size, kernel)


def test_three_taps_at_32_pixels_are_far_from_pillows_blur() -> None:
    """The trap named in `blur_kernel`, measured: standard deviation of the kernel where 2 pixels were asked for."""
    taps = blur_matrix(torch.tensor([2.0]), 33, blur_kernel(32))[0, 16]
    deviation = math.sqrt(float((taps * (torch.arange(33) - 16) ** 2).sum()))
    assert deviation == pytest.approx(0.8, abs=0.03)
