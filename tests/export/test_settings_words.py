"""The settings of a run in words, as card and report have them."""

from dataclasses import replace

from resmom.config import to_json
from resmom.diagnose.labelfree import meanings
from resmom.export.record import settings
from resmom.recipes import recipe
from resmom.views.policy import Policy, View


def _views(policy: Policy) -> dict[str, str]:
    run = replace(recipe("mocov3_cifar100_tiny"), policy=policy)
    return {name: words for name, words in settings(to_json(run)) if name.startswith("view")}


def test_every_step_of_a_view_is_told_and_none_that_does_nothing() -> None:
    full = View(size=96, scale=(0.08, 1.0), blur=1.0, sigma=(0.1, 1.5), solarise=0.2, interpolation="bicubic")
    bare = View(size=32, scale=(0.2, 1.0), flip=0.0, jitter=0.8, brightness=0, contrast=0, saturation=0, hue=0,
                grey=0.0, blur=0.0)  # fmt: skip
    assert _views(Policy((full, bare), (0.5,), (0.2,))) == {
        "view 1": "96 pixels (bicubic) of a crop of 0.08 to 1 of the area; flipped in 50%; jitter of brightness 0.4, "
        "contrast 0.4, saturation 0.4, hue 0.1 in 80%; grey in 20%; blurred by 0.1 to 1.5 pixels always; solarised in "
        "20%",
        "view 2": "32 pixels (bilinear) of a crop of 0.2 to 1 of the area",
    }


def test_orientations_are_told_and_unknown_to_runs_of_earlier_versions() -> None:
    turned = View(size=32, jitter=0.0, grey=0.0, blur=0.0, flip_vertical=0.5, quarter_turns=1.0, rotation=10.0)
    start = "32 pixels (bilinear) of a crop of 0.2 to 1 of the area; flipped in 50%"
    assert _views(Policy((turned,), (0.5,), (0.2,))) == {
        "view 1": f"{start}; flipped top to bottom in 50%; turned by a multiple of 90 degrees always; rotated by up to "
        "10 degrees"
    }
    run = to_json(replace(recipe("mocov3_cifar100_tiny"), policy=Policy((turned,), (0.5,), (0.2,))))
    for name in ("flip_vertical", "quarter_turns", "rotation"):
        del run["policy"]["views"][0][name]
    assert ("view 1", start) in settings(run)


def test_equal_views_are_told_once() -> None:
    large, local = View(size=64), View(size=32)
    assert list(_views(Policy((large, large, *[local] * 6), (0.5,), (0.2,)))) == ["views 1 and 2", "views 3 to 8"]
    assert list(_views(Policy((large,), (0.5,), (0.2,)))) == ["view 1"]


def test_the_chance_of_finding_the_own_other_view_is_a_number_where_the_images_are_known() -> None:
    name = "own other view found (%)"
    assert "by chance 0.39 (one of 256), so more" in meanings(256)[name]
    assert "by chance 100 / images, so more" in meanings()[name]
