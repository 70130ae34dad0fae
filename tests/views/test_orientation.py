"""Flips, quarter turns and rotations on every path, against torchvision's and as exact permutations of pixels."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from resmom.counter import uniforms
from resmom.views import fused
from resmom.views.apply import render, views
from resmom.views.draw import draw
from resmom.views.policy import Policy, View
from tests.views.test_resample import some_images

N = 96
UPRIGHT = View(size=24, interpolation="bicubic", jitter=0.0, grey=0.0, blur=0.0)
TURNED = replace(UPRIGHT, flip_vertical=0.4, quarter_turns=0.9)
UNIT = ((0.0,) * 3, (1.0,) * 3)


def batched(images: Tensor, view: View) -> Tensor:
    return render(images.float() / 255, draw(view, 3, 4, np.arange(N), 0, (images.shape[2], images.shape[3])), view)


def one_by_one(images: Tensor, view: View) -> Tensor:
    return render(list(images), draw(view, 3, 4, np.arange(N), 0, (images.shape[2], images.shape[3])), view)


def compiled(images: Tensor, view: View) -> Tensor:
    pytest.importorskip("numba")
    p = draw(view, 3, 4, np.arange(N), 0, (images.shape[2], images.shape[3]))
    return fused.fused_view(fused.channels_last(images), p, view, *UNIT)


PATHS = [batched, one_by_one, compiled]


def drawn_turns(view: View) -> list[list[int]]:
    """What the generator says of each image: whether flipped, whether flipped vertically, quarter turns."""
    u = uniforms(3, 4, np.arange(N), 0, 36)
    turns = np.where(u[:, 34] < view.quarter_turns, np.floor(4 * u[:, 35]), 0)
    return np.stack([u[:, 22] < view.flip, u[:, 33] < view.flip_vertical, turns], axis=1).astype(int).tolist()


def by_torchvision(image: Tensor, flip: int, vertical: int, turns: int) -> Tensor:
    image = tv.horizontal_flip(image) if flip else image
    return tv.rotate(tv.vertical_flip(image) if vertical else image, 90.0 * turns)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
@pytest.mark.parametrize("size", [(24, 24), (40, 36)], ids=["whole", "cropped"])
def test_flips_and_quarter_turns_are_torchvisions(
    path: Callable[[Tensor, View], Tensor], size: tuple[int, int]
) -> None:
    images = some_images(N, 3, *size)
    still = replace(UPRIGHT, flip=0.0)
    if size == (24, 24):  # nothing is resampled, so that rounding cannot hide a pixel in the wrong place
        still = replace(still, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    view = replace(still, flip=0.5, flip_vertical=TURNED.flip_vertical, quarter_turns=TURNED.quarter_turns)
    upright, made = path(images, still), path(images, view)
    seen = set()
    for i, placed in enumerate(drawn_turns(view)):
        theirs = by_torchvision(upright[i], *placed)
        exact = path is not batched or size == (24, 24)  # sums of a matrix product may be in another order
        torch.testing.assert_close(made[i], theirs, rtol=0, atol=0 if exact else 1e-6)
        seen.add(tuple(placed))
    assert len(seen) == 16
    if size == (24, 24):
        torch.testing.assert_close(upright, images / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_colours_and_blur_do_not_see_the_orientation(path: Callable[[Tensor, View], Tensor]) -> None:
    images = some_images(N, 3, 40, 36)
    whole = replace(UPRIGHT, flip=0.0, jitter=0.8, grey=0.2, blur=0.5)
    view = replace(whole, flip=0.5, flip_vertical=TURNED.flip_vertical, quarter_turns=TURNED.quarter_turns)
    upright, made = path(images, whole), path(images, view)
    for i, placed in enumerate(drawn_turns(view)):
        torch.testing.assert_close(made[i], by_torchvision(upright[i], *placed), rtol=0, atol=2e-5)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.__name__)
def test_a_rotation_is_torchvisions_with_mirrored_borders_after_the_turn(
    path: Callable[[Tensor, View], Tensor],
) -> None:
    images = some_images(N, 3, 40, 36)
    view = replace(TURNED, rotation=35.0)
    before, made = path(images, TURNED), path(images, view)
    angles = draw(view, 3, 4, np.arange(N), 0, (40, 36)).angle
    wide = tv.pad(before, [20], padding_mode="reflect")
    for i in range(N):
        theirs = tv.rotate(wide[i], angles[i].item(), InterpolationMode.BILINEAR)
        torch.testing.assert_close(made[i], tv.center_crop(theirs, [24, 24]), rtol=0, atol=1e-4)


def test_the_batch_around_an_image_does_not_matter() -> None:
    policy = Policy((replace(TURNED, rotation=20.0), TURNED), *UNIT)
    images, index = some_images(N, 3, 32, 30), np.arange(N)
    whole = views(images, index, policy, 5, 6)
    order = np.random.default_rng(0).permutation(N)[:20]
    for v, part in enumerate(views(images[order], index[order], policy, 5, 6)):
        torch.testing.assert_close(part, whole[v][order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("c", [1, 4])
@pytest.mark.parametrize("n", [1, 7])
def test_other_channels_and_small_batches(c: int, n: int) -> None:
    """An op that every image of a batch meets must leave a tensor that can be written."""
    view = replace(TURNED, flip_vertical=1.0, quarter_turns=1.0, rotation=90.0, blur=1.0)
    (made,) = views(some_images(n, c, 30, 26), np.arange(n), Policy((view,), (0.5,) * c, (0.25,) * c), 0, 0)
    assert made.shape == (n, c, 24, 24) and made.isfinite().all() and made.abs().max() <= 2 + 1e-5
