"""Measuring networks on images of another side than that which they were trained to see."""

from dataclasses import dataclass, replace

import torch

from resmom.called import called, setting
from resmom.errors import UserError
from resmom.evaluate.features import frozen
from resmom.nets.backbones import Backbone, BackboneConfig, MoCoViT, cut_of, name_of, whole_sides
from resmom.runs.loaded import Loaded
from resmom.runs.own import config_of, part_words
from resmom.runs.training.job import backbone_of
from resmom.views.policy import SMALLEST

LARGEST = 1024
"""Pixels of a side above which an image takes more than twenty times what it takes at the usual 224."""


def with_image_size(loaded: Loaded, side: int | None) -> Loaded:
    """The run as it is measured on clean images of so many pixels a side; as it is for None or the side of its views.

    Raises UserError for a side outside of SMALLEST to LARGEST, and for one that its network does not take.
    """
    trained = loaded.run.policy.views[0].size
    if side is None or (type(side) is int and side == trained):
        return loaded
    require_side(side, f"the images have the {trained} of this run's views")
    backbone = backbone_of(loaded.method.student)
    assert isinstance(backbone, Backbone)
    config = config_of(loaded.written, loaded.run)
    name = part_words(loaded.written, loaded.run, "backbone") if config is None else name_of(config)
    channels, usual = len(loaded.run.policy.mean), f"at the {trained} pixels of the run's views"
    require_taken(Sized(backbone, config, name, channels, usual), side)
    return replace(loaded, image_size=side)


def require_side(side: object, otherwise: str) -> None:
    """Raise UserError for what is no side of an image. `otherwise`: what there is without the option."""
    if type(side) is not int or not SMALLEST <= side <= LARGEST:
        raise UserError(
            f"{called('image_size')} is {side!r}; it must be a whole number of {SMALLEST} to {LARGEST} pixels, and "
            f"without it {otherwise}"
        )


@dataclass(frozen=True)
class Sized:
    """A backbone, and how it is spoken of. `config` is None for a module of the user's own; `usual` says at which size
    it is measured without the option."""

    backbone: Backbone
    config: BackboneConfig | None
    name: str
    channels: int
    usual: str


def require_taken(sized: Sized, side: int) -> None:
    """Raise UserError for a side that the backbone does not take, or takes otherwise than it was trained."""
    config, name = sized.config, sized.name
    # Positions that are learned are interpolated; MoCo-v3's are fixed.
    cut = None if config is None or isinstance(config, MoCoViT) else cut_of(config)
    if cut is not None and side % cut[1]:
        raise UserError(
            f"{called('image_size')} is {side}, and {name} cuts images into patches of {cut[1]} pixels: give a "
            f"multiple of that, {whole_sides(side, cut[1], SMALLEST, LARGEST)}"
        )
    why = refusal(sized, side, fixed=config is not None and cut is None)
    if why:
        raise UserError(
            f"{name} cannot be measured at {setting('image_size', side)}: {why}. Leave {called('image_size')} out, "
            f"which measures {sized.usual}; convolutional networks take other sizes, and dino-vit-… and timm's Vision "
            "Transformers, whose positions are interpolated"
        )


def refusal(sized: Sized, side: int, fixed: bool) -> str:
    """What is wrong with what the backbone makes of an image of that side; empty if nothing is.

    `fixed`: whether the positions of tokens, if it has any, belong to one grid of patches. Learned ones of dino-vit-…
    and of timm's are interpolated, as they are for local views; what a module of the user's own does is its owner's to
    know.
    """
    backbone = sized.backbone
    view = torch.zeros(1, sized.channels, side, side, device=next(backbone.parameters()).device)
    try:
        with frozen(backbone):
            features, h = backbone(view)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:  # whatever a module of others raises
        return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    if tuple(h.shape) != (1, backbone.width):
        return f"h has the shape {tuple(h.shape)[1:]} there, and {backbone.width} numbers at the size it was trained on"
    if features.ndim == 3 and fixed:
        return "it is a transformer whose positions are fixed to the image that it is made for"
    return ""
