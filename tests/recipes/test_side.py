"""The size of the images that a run sees, changed in all places at once."""

import pytest

from resmom.configcheck import check
from resmom.nets.backbones import DinoViT
from resmom.recipes import names, recipe
from resmom.recipes.side import with_side


@pytest.mark.parametrize("name", names())
def test_every_recipe_can_be_had_at_another_size(name: str) -> None:
    run = recipe(name)
    found = with_side(run, 96)
    check(found)
    whole = run.method.traits.views
    assert [view.size for view in found.policy.views[:whole]] == [96] * whole
    assert found.policy.views[whole:] == run.policy.views[whole:]  # local views
    assert with_side(found, run.policy.views[0].size) == run


def test_a_transformer_is_made_for_it() -> None:
    found = with_side(recipe("dino_imagenet_vits"), 96).backbone
    assert isinstance(found, DinoViT) and found.image == 96


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 1 pixel"):
        with_side(recipe("mocov3_digits"), 0)
