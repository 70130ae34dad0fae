"""The size of the images that a run's networks see."""

from dataclasses import replace

from resmom.config import Run
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT
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


def with_image(backbone: BackboneConfig, side: int) -> BackboneConfig:
    """The backbone for images of that side, if it is one that is made for a size."""
    return replace(backbone, image=side) if isinstance(backbone, MoCoViT | DinoViT) else backbone
