"""Measuring a run on images of another side than that of its views."""

from dataclasses import replace

import torch

from resmom.errors import UserError
from resmom.evaluate.features import frozen
from resmom.nets.backbones import Backbone, MoCoViT, cut_of, name_of
from resmom.runs.job import backbone_of
from resmom.runs.loaded import Loaded
from resmom.runs.own import part_words
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
    if type(side) is not int or not SMALLEST <= side <= LARGEST:
        raise UserError(
            f"--image-size is {side!r}; it must be a whole number of {SMALLEST} to {LARGEST} pixels, and without it "
            f"the images have the {trained} of this run's views"
        )
    _require_taken(loaded, side, trained)
    return replace(loaded, image_size=side)


def _require_taken(loaded: Loaded, side: int, trained: int) -> None:
    """Refuse a side that the backbone does not take, or takes otherwise than it was trained."""
    given = "backbone" in loaded.written.get("own", {})
    config = None if given else loaded.run.backbone
    name = part_words(loaded.written, loaded.run, "backbone") if config is None else name_of(config)
    # Positions that are learned are interpolated; MoCo-v3's are fixed.
    cut = None if config is None or isinstance(config, MoCoViT) else cut_of(config)
    if cut is not None and side % cut[1]:
        below = side - side % cut[1]
        near = " or ".join(str(s) for s in (below, below + cut[1]) if SMALLEST <= s <= LARGEST)
        raise UserError(
            f"--image-size is {side}, and {name} cuts images into patches of {cut[1]} pixels: give a multiple of "
            f"that, {near}"
        )
    why = _wrong(loaded, side, fixed=config is not None and cut is None)
    if why:
        raise UserError(
            f"{name} cannot be measured at --image-size {side}: {why}. Leave --image-size out, which measures at the "
            f"{trained} pixels of the run's views; convolutional networks take other sizes, and dino-vit-… and timm's "
            "Vision Transformers, whose positions are interpolated"
        )


def _wrong(loaded: Loaded, side: int, fixed: bool) -> str:
    """What is wrong with what the backbone makes of an image of that side; empty if nothing is.

    `fixed`: whether the positions of tokens, if it has any, belong to one grid of patches. Learned ones of dino-vit-…
    and of timm's are interpolated, as they are for local views; what a module of the user's own does is its owner's to
    know.
    """
    student = loaded.method.student
    backbone = backbone_of(student)
    assert isinstance(backbone, Backbone)
    view = torch.zeros(1, len(loaded.run.policy.mean), side, side, device=loaded.device)
    try:
        with frozen(student):
            features, h = backbone(view)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:  # whatever a module of others raises
        return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
    if tuple(h.shape) != (1, backbone.width):
        return f"h has the shape {tuple(h.shape)[1:]} there, and {backbone.width} numbers at the size it was trained on"
    if features.ndim == 3 and fixed:
        return "it is a transformer whose positions are fixed to the image that it is made for"
    return ""
