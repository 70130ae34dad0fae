"""The whole path, uint8 to normalised views, against torchvision's functions one at a time with our parameters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.v2 import functional as tv

from resmom.views import apply, fused, policy
from resmom.views.apply import normalise, plain, render, views
from resmom.views.draw import Parameters, draw
from resmom.views.policy import CIFAR10, IMAGENET, Policy, View
from resmom.views.resample import blur_kernel
from tests.views.test_resample import MODES, some_images

JITTERS = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
MANY = View(size=24, scale=(0.08, 1.0), interpolation="bicubic", blur=0.5, solarise=0.3)
BOTH = Policy((MANY, replace(MANY, size=20, interpolation="bilinear", solarise=0.0)), *CIFAR10)


def by_torchvision(image: Tensor, p: Parameters, i: int, view: View) -> Tensor:
    """View of one uint8 image, on floats, in [0, 1]; pixels next to solarise's threshold are marked with nan."""
    side = [view.size, view.size]
    x = tv.resized_crop(image / 255, *p.box[i].tolist(), side, MODES[view.interpolation], antialias=True).clamp(0, 1)
    x = tv.horizontal_flip(x) if p.flip[i] else x
    for j in p.order[i].tolist() if p.jitter[i] else ():
        x = JITTERS[j](x, p.factors[i, j].item())
    x = tv.rgb_to_grayscale(x, 3) if p.grey[i] else x
    kernel = blur_kernel(view.size)
    x = tv.gaussian_blur(x, [kernel, kernel], [p.sigma[i].item()] * 2) if p.sigma[i] > 0 else x
    if p.solarise[i]:
        near = (x - 0.5).abs() < 1e-5
        x = tv.solarize(x, 0.5).masked_fill(near, torch.nan)
    return x


def assert_equal_but_for_nan(ours: Tensor, theirs: Tensor) -> None:
    known = ~theirs.isnan()
    assert known.float().mean() > 0.99
    torch.testing.assert_close(ours[known], theirs[known], rtol=0, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("as_list", [False, True])
def test_the_whole_path_equals_torchvisions(as_list: bool) -> None:
    n = 64
    images, index = some_images(n, 3, 40, 36), np.arange(n) + 1000
    made = views(list(images) if as_list else images, index, BOTH, seed=3, epoch=4)
    for number, (view, ours) in enumerate(zip(BOTH.views, made, strict=True)):
        p = draw(view, 3, 4, index, number, (40, 36))
        theirs = torch.stack([by_torchvision(images[i], p, i, view) for i in range(n)])
        scale = torch.tensor(BOTH.std)[:, None, None]
        assert_equal_but_for_nan(ours * scale, tv.normalize(theirs, list(BOTH.mean), list(BOTH.std)) * scale)


def test_photographs_of_different_sizes() -> None:
    photos = [some_images(1, 3, 30 + 7 * i, 90 - 5 * i, seed=i)[0] for i in range(8)]
    index = np.arange(8)
    sizes = np.array([photo.shape[1:] for photo in photos])
    made = views(photos, index, BOTH, seed=0, epoch=0)[0]
    p = draw(MANY, 0, 0, index, 0, sizes)
    theirs = torch.stack([by_torchvision(photo, p, i, MANY) for i, photo in enumerate(photos)])
    scale = torch.tensor(BOTH.std)[:, None, None]
    assert_equal_but_for_nan(made * scale, tv.normalize(theirs, list(BOTH.mean), list(BOTH.std)) * scale)


def test_a_tensor_and_the_list_of_its_images_give_the_same_pixels() -> None:
    images, index = some_images(32, 3, 32, 32), np.arange(32)
    smooth = Policy((replace(MANY, solarise=0.0),), *CIFAR10)  # solarise jumps at its threshold, by any rounding
    one, other = views(images, index, smooth, 0, 0), views(list(images), index, smooth, 0, 0)
    torch.testing.assert_close(one[0], other[0], rtol=0, atol=5e-5)


def test_the_batch_around_an_image_does_not_matter() -> None:
    n = 48
    images, index = some_images(n, 3, 32, 32), np.arange(n)
    whole = views(images, index, BOTH, 5, 6)
    for a, b in zip(whole, views(images, index, BOTH, 5, 6), strict=True):
        assert torch.equal(a, b), "the same twice"
    order = np.random.default_rng(0).permutation(n)[:30]
    for v, part in enumerate(views(images[order], index[order], BOTH, 5, 6)):
        torch.testing.assert_close(part, whole[v][order], rtol=0, atol=1e-5)
    for i in order[:10]:
        for v, alone in enumerate(views(images[i : i + 1], index[i : i + 1], BOTH, 5, 6)):
            torch.testing.assert_close(alone[0], whole[v][i], rtol=0, atol=1e-5)


def test_the_images_given_are_not_written_to() -> None:
    images = some_images(16, 3, 32, 32)
    before = images.clone()
    pixels = images.float() / 255
    kept = pixels.clone()
    views(images, np.arange(16), BOTH, 0, 0)
    # A view that changes nothing must hand out a copy, or normalising would write into the images.
    still = View(size=32, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0, grey=0.0, blur=0.0)
    out = render(pixels, draw(still, 0, 0, np.arange(16), 0, (32, 32)), still)
    torch.testing.assert_close(out, pixels, rtol=0, atol=1e-6)
    normalise(out, *CIFAR10)
    assert torch.equal(images, before)
    assert torch.equal(pixels, kept)


@pytest.mark.parametrize("n", [1, 5])
def test_every_op_on_every_image(n: int) -> None:
    """Ops that touch a whole batch skip the copy that picks their rows, and must leave a tensor that can be written."""
    view = replace(MANY, flip=1.0, jitter=1.0, grey=1.0, blur=1.0, solarise=1.0)
    images, index = some_images(n, 3, 30, 32), np.arange(n)
    for one in (
        view,
        replace(view, blur=0.0),
        replace(view, blur=0.0, solarise=0.0),
        replace(view, grey=0.5, blur=0.5),
    ):
        (made,) = views(images, index, Policy((one,), *CIFAR10), 0, 0)
        p = draw(one, 0, 0, index, 0, (30, 32))
        theirs = torch.stack([by_torchvision(images[i], p, i, one) for i in range(n)])
        mean, std = (torch.tensor(x)[:, None, None] for x in CIFAR10)
        assert_equal_but_for_nan(made * std + mean, theirs)


def test_the_two_views_differ() -> None:
    one, other = views(some_images(4, 3, 32, 32), np.arange(4), policy.mocov2plus_cifar(), 0, 0)
    assert one.shape == other.shape == (4, 3, 32, 32)
    assert (one - other).abs().mean() > 0.1


@pytest.mark.parametrize("c", [1, 4])
def test_other_channels_than_three(c: int) -> None:
    images = some_images(20, c, 30, 32)
    for given in (images, list(images)):
        (made,) = views(given, np.arange(20), Policy((MANY,), (0.5,) * c, (0.25,) * c), 0, 0)
        assert made.shape == (20, c, 24, 24)
        assert made.isfinite().all()
        assert made.abs().max() <= 2 + 1e-5


@pytest.mark.parametrize("as_list", [False, True])
def test_wrong_images_are_refused(as_list: bool) -> None:
    images = some_images(4, 1, 8, 8)
    given = list(images) if as_list else images
    with pytest.raises(ValueError, match=r"1 channel\(s\), but mean has 3 and std 3"):
        views(given, np.arange(4), BOTH, 0, 0)
    with pytest.raises(ValueError, match=r"1 channel\(s\), but mean has 3 and std 3"):
        plain(given, 8, *CIFAR10)
    with pytest.raises(ValueError, match=r"must be uint8, 0 to 255, got torch.float32"):
        views([image.float() for image in images] if as_list else images.float(), np.arange(4), BOTH, 0, 0)
    rgb = some_images(4, 3, 8, 8)
    with pytest.raises(ValueError, match="4 images but 3 names"):
        views(list(rgb) if as_list else rgb, np.arange(3), BOTH, 0, 0)
    with pytest.raises(ValueError, match="no images"):
        views([] if as_list else rgb[:0], np.arange(0), BOTH, 0, 0)


@pytest.fixture(params=["compiled", "torch"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean views by the compiled pass, and by torch's operations."""
    if request.param == "torch":
        monkeypatch.setattr(fused, "available", lambda: False)
    else:
        pytest.importorskip("numba")


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("size", [(80, 100), (100, 81), (50, 50), (61, 200), (900, 1300)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_plain_equals_torchvisions_resize_and_crop(size: tuple[int, int], mode: policy.Interpolation) -> None:
    images = some_images(3, 3, *size)
    theirs = transforms.Compose(
        [
            transforms.Resize(64, MODES[mode], antialias=True),
            transforms.Lambda(lambda x: x.clamp(0, 1)),
            transforms.CenterCrop(56),
            transforms.Normalize(*IMAGENET),
        ]
    )(images / 255)
    torch.testing.assert_close(plain(images, 56, *IMAGENET, mode), theirs, rtol=0, atol=5e-5)
    torch.testing.assert_close(plain(list(images), 56, *IMAGENET, mode), theirs, rtol=0, atol=5e-5)


@pytest.mark.usefixtures("either")
def test_plain_takes_images_of_the_right_size_as_they_are() -> None:
    images = some_images(3, 3, 32, 32)
    expected = tv.normalize(images / 255, *map(list, CIFAR10))
    torch.testing.assert_close(plain(images, 32, *CIFAR10), expected)
    mixed = plain([*images, some_images(1, 3, 50, 40)[0]], 32, *CIFAR10)
    torch.testing.assert_close(mixed[:3], expected)
    assert mixed.shape == (4, 3, 32, 32)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("size", [(40, 300), (500, 31), (70, 281), (90, 900)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_of_a_strip_only_the_middle_is_resized_to_the_same_pixels(
    size: tuple[int, int], mode: policy.Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = some_images(2, 3, *size)
    ours = [plain(images, 56, *IMAGENET, mode), plain(list(images), 56, *IMAGENET, mode)]
    monkeypatch.setattr(apply, "STRIP", 1000)
    whole = plain(images, 56, *IMAGENET, mode)
    for made in ours:
        torch.testing.assert_close(made, whole, rtol=0, atol=2e-4)  # where torch has a place only to 24 bits
    exact = F.interpolate(images.double() / 255, apply_target(size), mode=mode, antialias=True).clamp(0, 1)
    wanted = tv.normalize(tv.center_crop(exact, [56, 56]).float(), *map(list, IMAGENET))
    torch.testing.assert_close(ours[0], wanted, rtol=0, atol=2e-5)


def apply_target(size: tuple[int, int]) -> tuple[int, int]:
    h, w = size
    return (64, 64 * w // h) if h <= w else (64 * h // w, 64)


@pytest.mark.parametrize("size", [(1, 60000), (60000, 1), (3, 4000)])
def test_a_line_is_not_resized_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """1 x 60,000 pixels would be 256 x 15 million."""
    monkeypatch.setattr(F, "interpolate", None)
    image = torch.arange(size[0] * size[1]).remainder(211).to(torch.uint8).reshape(1, 1, *size)
    middle = image.flatten()[image.numel() // 2].item() if 1 in size else None
    for mode in ("bilinear", "bicubic"):
        view = plain(image, 224, (0.0,), (1.0,), mode)
        colour = plain(image.expand(-1, 3, -1, -1), 224, (0.0,) * 3, (1.0,) * 3, mode)  # compiled, where that is there
        torch.testing.assert_close(colour, view.expand(-1, 3, -1, -1), rtol=0, atol=fused.BOUND)
        assert view.shape == (1, 1, 224, 224) and view.isfinite().all() and 0 <= view.min() <= view.max() <= 1
        if middle is not None:
            assert abs(view[0, 0, 112, 112].item() * 255 - middle) <= 1


@pytest.mark.usefixtures("either")
def test_strips_are_seen_in_full_precision_whatever_runs_around() -> None:
    strip = torch.randint(0, 256, (3, 40, 400), dtype=torch.uint8)
    alone = plain([strip], 32, *IMAGENET)
    with torch.autocast("cpu", torch.bfloat16):
        inside = plain([strip], 32, *IMAGENET)
    assert inside.dtype == torch.float32 and torch.equal(inside, alone)
