"""The published policies hold the published numbers; ranges that make no sense are refused with words."""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from resmom.views import policy
from resmom.views.policy import Policy, View

RGB = ((0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 1, "blur": 0.5},
        {"interpolation": "nearest"},
        {"scale": (0.0, 1.0)},
        {"scale": (0.5, 0.2)},
        {"scale": (0.5, 1.5)},
        {"ratio": (0.0, 1.0)},
        {"ratio": (2.0, 1.0)},
        {"ratio": (1.0, float("inf"))},
        {"sigma": (0.0, 2.0)},
        {"sigma": (0.1,)},
        {"flip": -0.1},
        {"jitter": 1.1},
        {"grey": float("nan")},
        {"blur": 2.0},
        {"solarise": -1.0},
        {"brightness": -0.4},
        {"contrast": float("inf")},
        {"saturation": float("nan")},
        {"hue": 0.6},
        {"flip_vertical": 1.5},
        {"quarter_turns": -0.5},
        {"rotation": 181.0},
        {"rotation": -1.0},
        {"size": 1, "blur": 0.0, "rotation": 5.0},
    ],
    ids=str,
)
def test_a_view_out_of_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    view = View()
    for name, value in wrong.items():  # past the types of the signature, which tests enforce but production does not
        object.__setattr__(view, name, value)
    with pytest.raises(ValueError, match=f"View.{next(iter(wrong))} "):
        view.__post_init__()


def test_the_check_runs_when_a_view_is_made() -> None:
    with pytest.raises(ValueError, match="hue is a part of the colour circle"):
        View(hue=0.6)


def test_the_borders_of_the_ranges_are_allowed() -> None:
    View(size=1, scale=(1.0, 1.0), ratio=(1.0, 1.0), blur=0.0, hue=0.5, flip=1.0, brightness=3.0)
    View(size=2, blur=0.0, flip_vertical=1.0, quarter_turns=1.0, rotation=180.0)


def test_the_documented_defaults_are_those_of_a_view() -> None:
    page = (Path(__file__).parents[2] / "docs" / "views.md").read_text().partition("\n## ")[0]
    table = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5:
            table |= dict.fromkeys(re.findall(r"`(\w+)`", cells[2].partition(":")[0]), cells[3])
    own = View()
    for name in (field.name for field in fields(View)):
        default = getattr(own, name)
        if name == "ratio":
            told = "3/4 to 4/3"
        elif isinstance(default, tuple):
            told = f"{default[0]:g} to {default[1]:g}"
        else:
            told = default if isinstance(default, str) else f"{default:g}"
        assert table[name].removesuffix(" each") == told, name


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [((0.5,), (0.2, 0.2), "mean and Policy.std"), ((), (), "one number per channel"), ((0.5,), (0.0,), "positive")],
)
def test_a_policy_needs_one_mean_and_one_positive_std_per_channel(mean: Any, std: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Policy((View(),), mean, std)


def test_a_policy_needs_a_view() -> None:
    with pytest.raises(ValueError, match="at least one View"):
        Policy((), *RGB)


def test_mocov2_imagenet() -> None:
    two = policy.mocov2_imagenet()
    assert two.views[0] == two.views[1]
    assert two.views[0] == View(224, (0.2, 1.0), (3 / 4, 4 / 3), "bilinear", 0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2, 0.5)
    assert two.views[0].sigma == (0.1, 2.0)
    assert (two.mean, two.std) == policy.IMAGENET


@pytest.mark.parametrize("min_scale", [0.2, 0.08])
def test_mocov3_imagenet(min_scale: float) -> None:
    first, second = policy.mocov3_imagenet(min_scale).views
    assert (first.blur, second.blur, first.solarise, second.solarise) == (1.0, 0.1, 0.0, 0.2)
    assert (first.scale, first.size, first.interpolation) == ((min_scale, 1.0), 224, "bilinear")
    assert (first.brightness, first.contrast, first.saturation, first.hue, first.jitter) == (0.4, 0.4, 0.2, 0.1, 0.8)
    assert replace(second, blur=1.0, solarise=0.0) == first


def test_mocov3_cifar() -> None:
    first, second = policy.mocov3_cifar(*policy.CIFAR10).views
    assert (first.blur, second.blur, first.solarise, second.solarise) == (0.0, 0.0, 0.0, 0.2)
    assert (first.scale, first.size, first.interpolation) == ((0.08, 1.0), 32, "bicubic")
    assert (first.brightness, first.contrast, first.saturation, first.hue, first.jitter) == (0.4, 0.4, 0.2, 0.1, 0.8)
    assert (first.grey, first.flip) == (0.2, 0.5)
    assert replace(second, solarise=0.0) == first
    assert policy.mocov3_cifar(*policy.CIFAR10).mean == policy.CIFAR10[0]


def test_mocov2plus_cifar() -> None:
    first, second = policy.mocov2plus_cifar().views
    assert first == second
    assert (first.blur, first.solarise, first.sigma) == (0.5, 0.0, (0.1, 2.0))
    assert (first.scale, first.size, first.interpolation) == ((0.08, 1.0), 32, "bicubic")
    assert (first.brightness, first.contrast, first.saturation, first.hue, first.jitter) == (0.4, 0.4, 0.4, 0.1, 0.8)


def test_dino_has_two_global_views_and_smaller_local_ones() -> None:
    crops = policy.dino_imagenet(local=6, scale=0.25)
    assert [view.size for view in crops.views] == [224, 224, *[96] * 6]
    assert [view.scale for view in crops.views] == [(0.25, 1.0)] * 2 + [(0.05, 0.25)] * 6
    assert crops.leading.views == crops.views[:2] and crops.leading.mean == crops.mean
    assert policy.mocov3_imagenet().leading == policy.mocov3_imagenet()
