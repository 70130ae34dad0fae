"""Images that have no up: flips and turns of all views at once, by name."""

from dataclasses import replace

import pytest

from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.recipes import RECIPES, recipe
from resmom.recipes.orientation import orientation_of, with_orientation
from resmom.runs.options import changed, differing, parsed
from resmom.views.policy import View


@pytest.mark.parametrize("name", [name for name in RECIPES if "_imagenet" in name or "digits" in name])
def test_every_view_of_a_recipe_is_turned_and_set_upright_again(name: str) -> None:
    run = recipe(name)
    assert orientation_of(run.policy) == "upright" and with_orientation(run, "upright") == run
    turned = with_orientation(run, "any")
    check(turned)
    assert orientation_of(turned.policy) == "any" and len(turned.policy.views) == len(run.policy.views)
    for before, after in zip(run.policy.views, turned.policy.views, strict=True):
        assert after == replace(before, flip_vertical=before.flip, quarter_turns=1.0)
    assert with_orientation(turned, "upright") == run and with_orientation(turned, "any") == turned


def test_images_that_must_not_be_mirrored_are_turned_only() -> None:
    (one, _) = with_orientation(recipe("mocov3_digits"), "any").policy.views
    assert (one.flip, one.flip_vertical, one.quarter_turns) == (0.0, 0.0, 1.0)


def test_flips_and_turns_of_ones_own_have_no_name() -> None:
    run = Run()
    for own in (View(flip_vertical=0.5), View(quarter_turns=0.5, flip_vertical=0.5), View(quarter_turns=1.0)):
        assert orientation_of(replace(run.policy, views=(own, own))) is None
    half = (with_orientation(run, "any").policy.views[0], run.policy.views[1])
    assert orientation_of(replace(run.policy, views=half)) is None


def test_as_an_option_and_what_is_set_after_it_counts() -> None:
    run = Run()
    assert parsed(run, "orientation", "any") == "any"
    assert changed(run, {"orientation": "any"}) == with_orientation(run, "any")
    one = changed(run, {"orientation": "any", "policy.views.0.quarter_turns": 0.5})
    assert [view.quarter_turns for view in one.policy.views] == [0.5, 1.0]
    names = ("flip_vertical", "quarter_turns")
    assert differing(run, with_orientation(run, "any")) == [f"policy.views.{v}.{n}" for v in (0, 1) for n in names]
    for wrong in ("sideways", 3, None):
        with pytest.raises(ConfigError, match=r"orientation is .*; it is upright, for images that have an up, or any"):
            changed(run, {"orientation": wrong})
