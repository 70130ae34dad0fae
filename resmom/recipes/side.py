"""The size of the images that a run's networks see."""

from dataclasses import replace

from resmom.config import Run
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, Timm, cut_of
from resmom.views.policy import Policy


def with_side(run: Run, side: int) -> Run:
    """The run with so many pixels as the side of its views, local ones apart, and of a transformer's image.

    Raises ValueError for a side that no view can have.
    """
    return replace(run, policy=with_views(run, side), backbone=with_image(run.backbone, side))


def with_views(run: Run, side: int) -> Policy:
    """The run's policy with so many pixels as the side of its views, local ones apart. Raises as `with_side` does."""
    whole = run.method.traits.views
    views = (replace(v, size=side) if number < whole else v for number, v in enumerate(run.policy.views))
    return replace(run.policy, views=tuple(views))


PATCHES = (16, 8, 4)
"""Sides of patches that a transformer may get which was asked for by its name alone, in pixels."""
LEAST_PATCHES = 8
"""Patches that a view's side shall be at least: 8 x 8 tokens, where ViT-S/16 at 224 pixels has 14 x 14."""


def fitted(backbone: BackboneConfig, side: int, init: str = "") -> BackboneConfig:
    """A backbone that was asked for by its name alone, made for views of that side.

    A transformer gets that image size, and the largest patch that divides it and leaves `LEAST_PATCHES` a side, or the
    smallest that divides it: 16 from 128 pixels on, 8 from 64, else 4. Where none divides it, its own patch stays, and
    also where weights are read from the file `init`, which have one.
    """
    if init or not isinstance(backbone, MoCoViT | DinoViT):
        return with_image(backbone, side)
    whole = [patch for patch in PATCHES if side % patch == 0]
    patch = next((patch for patch in whole if side >= LEAST_PATCHES * patch), (whole or [backbone.patch])[-1])
    return replace(backbone, image=side, patch=patch)


def with_image(backbone: BackboneConfig, side: int) -> BackboneConfig:
    """The backbone for images of that side, if it is one that is made for a size."""
    match backbone:
        case MoCoViT() | DinoViT():
            return replace(backbone, image=side)
        case Timm():
            return backbone if (cut_of(backbone) or (side,))[0] == side else replace(backbone, image=side)
        case _:
            return backbone


def side_in_patches(images: int, most: int, image: int, patch: int) -> int:
    """The side of the views of a transformer whose patches are given, as weights to start from or a model's name have
    them: the whole patches nearest to `images`, the side of the data, within `most` and `image`, the sides of what the
    machine bears and of what the transformer was made for; but at least `LEAST_PATCHES`, or what it was made for."""
    least = min(LEAST_PATCHES * patch, image - image % patch)
    return max(least, min(round(images / patch) * patch, min(most, image) // patch * patch))
