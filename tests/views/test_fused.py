"""The compiled pass against the batched ops, which are its oracle."""

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from resmom.views import fused
from resmom.views.apply import normalise, render, views
from resmom.views.draw import Parameters, draw
from resmom.views.policy import Policy, View, mocov2_imagenet, mocov3_cifar, mocov3_imagenet
from resmom.views.resample import resize_matrix

SIZES = [(375, 500), (64, 48), (500, 333), (20, 300), (224, 224), (31, 33)]


def photos(sizes: list[tuple[int, int]], seed: int = 0) -> list[torch.Tensor]:
    """Noise over a slope, with flat and saturated parts: hue and contrast meet grey and clipped pixels."""
    draws = np.random.default_rng(seed)
    made = []
    for height, width in sizes:
        slope = np.linspace(0, 255, width)[None, :, None] * np.array([1.0, 0.6, 0.3])
        image = np.clip(slope + draws.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)
        image[: height // 4] = draws.integers(0, 256, (height // 4, width, 1), dtype=np.uint8)  # grey: no hue
        image[-height // 5 :] = 255
        made.append(torch.from_numpy(image).permute(2, 0, 1))
    return made


def both(images: list[torch.Tensor], parameters: Parameters, view: View) -> tuple[torch.Tensor, torch.Tensor]:
    unit = ((0.0,) * 3, (1.0,) * 3)
    return fused.fused_view(fused.channels_last(images), parameters, view, *unit), render(images, parameters, view)


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [mocov3_imagenet(0.08), mocov2_imagenet(), mocov3_cifar()], ids=["v3", "v2", "cifar"]
)
@pytest.mark.parametrize("seed", range(4))
def test_whole_policies_agree_within_the_bound(policy: Policy, seed: int) -> None:
    images = photos(SIZES * 4, seed)
    sizes = np.array([image.shape[1:] for image in images])
    for number, view in enumerate(policy.views):
        ours, oracle = both(images, draw(view, seed, 3, np.arange(len(images)), number, sizes), view)
        assert (ours - oracle).abs().max() <= fused.BOUND


QUIET = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "alone",
    [
        {},
        {"interpolation": "bicubic"},
        {"jitter": 1.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
        {"jitter": 1.0, "brightness": 0.0, "saturation": 0.0, "hue": 0.0},
        {"jitter": 1.0, "brightness": 0.0, "contrast": 0.0, "hue": 0.0},
        {"jitter": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.5},
        {"grey": 1.0},
        {"blur": 1.0},
        {"blur": 1.0, "sigma": (0.01, 0.02)},
        {"blur": 1.0, "sigma": (30.0, 40.0), "grey": 0.5},
        {"solarise": 1.0, "grey": 0.5},
        {"flip_vertical": 0.5, "quarter_turns": 1.0},
        {"rotation": 180.0},
        {"rotation": 20.0, "quarter_turns": 1.0, "jitter": 1.0, "blur": 0.5, "grey": 0.3, "solarise": 0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [5, 32, 50, 224])
def test_each_op_agrees_alone(alone: dict[str, object], size: int) -> None:
    view = View(size=size, **{**QUIET, **alone})  # type: ignore[arg-type]
    images = photos(SIZES)
    sizes = np.array([image.shape[1:] for image in images])
    ours, oracle = both(images, draw(view, 1, 0, np.arange(len(images)), 0, sizes), view)
    # A pixel at the threshold of .5 may fall to either side; solarised, both sides meet there.
    assert (ours - oracle).abs().max() <= fused.BOUND


@pytest.mark.parametrize("length", [1, 2, 7, 100, 499])
@pytest.mark.parametrize("cubic", [False, True])
def test_filters_are_the_resize_matrix(length: int, cubic: bool) -> None:
    size, start = 32, 3
    first, count, weight = fused.kernels().filters(length, size, cubic)
    dense = np.zeros((size, length))
    for i in range(size):
        dense[i, first[i] : first[i] + count[i]] = weight[i, : count[i]]
    place = (torch.tensor([start]), torch.tensor([length]))
    oracle = resize_matrix(*place, length + 9, size, "bicubic" if cubic else "bilinear")[0]
    np.testing.assert_allclose(dense, oracle[:, start : start + length].numpy(), atol=2e-6)


def test_views_are_normalised_channels_last_and_the_same_from_a_tensor_or_a_list() -> None:
    policy = mocov3_imagenet()
    images = photos([(80, 80)] * 5)
    index = np.arange(5)
    a = views(images, index, policy, 0, 0)
    b = views(torch.stack(images), index, policy, 0, 0)
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        assert torch.equal(one, other)
        assert one.is_contiguous(memory_format=torch.channels_last)
        parameters = draw(policy.views[number], 0, 0, index, number, (80, 80))
        oracle = normalise(render(images, parameters, policy.views[number]), policy.mean, policy.std)
        assert (one - oracle).abs().max() <= fused.BOUND / min(policy.std)


def test_an_image_in_any_memory_order_gives_the_same() -> None:
    policy = mocov3_imagenet()
    images = photos(SIZES)
    planar = [image.contiguous() for image in images]
    for one, other in zip(
        views(images, np.arange(6), policy, 0, 0), views(planar, np.arange(6), policy, 0, 0), strict=True
    ):
        assert torch.equal(one, other)


def test_without_numba_the_batched_ops_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = mocov3_imagenet()
    images = photos(SIZES)
    compiled = views(images, np.arange(6), policy, 0, 0)
    monkeypatch.setattr(fused, "available", lambda: False)
    batched = views(images, np.arange(6), policy, 0, 0)
    assert not all(torch.equal(a, b) for a, b in zip(compiled, batched, strict=True))
    for a, b in zip(compiled, batched, strict=True):
        assert (a - b).abs().max() <= fused.BOUND / min(policy.std)


def test_images_are_not_written_in() -> None:
    images = photos(SIZES)
    before = [image.clone() for image in images]
    views(images, np.arange(6), mocov3_imagenet(), 0, 0)
    assert all(torch.equal(a, b) for a, b in zip(images, before, strict=True))
