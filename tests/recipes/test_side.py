"""The size of the images that a run sees, changed in all places at once."""

import pytest

from resmom.configcheck import check
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet
from resmom.recipes import names, recipe
from resmom.recipes.side import fitted, with_side


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


@pytest.mark.parametrize(
    ("side", "patch"),
    [(224, 16), (160, 16), (128, 16), (112, 8), (96, 8), (64, 8), (48, 4), (32, 4), (24, 4), (100, 4), (27, 16)],
)
def test_a_transformer_by_name_has_patches_that_suit_the_views(side: int, patch: int) -> None:
    assert fitted(DinoViT("tiny", drop_path=0.1), side) == DinoViT("tiny", side, patch, drop_path=0.1)
    assert fitted(MoCoViT("base"), side) == MoCoViT("base", side, patch)
    assert fitted(MoCoViT("base"), side, "weights.pth") == MoCoViT("base", side, 16)


@pytest.mark.parametrize("backbone", [ResNet(18)])
def test_what_is_made_for_no_size_stays(backbone: BackboneConfig) -> None:
    assert fitted(backbone, 32) is backbone


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 1 pixel"):
        with_side(recipe("mocov3_digits"), 0)
