"""timm's Vision Transformers by their names: the images and patches that they are made for."""

import functools
from dataclasses import dataclass
from typing import Any

import timm
import torch

_MODULES = ("vision_transformer", "vision_transformer_hybrid", "deit", "eva")
"""Modules of timm whose transformers interpolate their positions for images of other sizes (`dynamic_img_size`). Names
and values of their weights, and what they make of images of their own size, are the same with it and without."""


@dataclass(frozen=True)
class Patches:
    """The side of the images that a transformer is made for where none is named, and that of a patch, in pixels."""

    image: int
    patch: int


@functools.cache  # nothing is computed, but a large model has hundreds of parts
def patches_of(name: str) -> Patches | None:
    """Image and patch of a timm model that cuts images into patches and can take several sizes; None for any other."""
    if not timm.is_model(name) or not timm.models.is_model_in_modules(name, _MODULES):
        return None
    with torch.device("meta"):
        cut: Any = timm.create_model(name, pretrained=False, num_classes=0).patch_embed
    image: int = cut.img_size[0]
    return Patches(image, image // cut.grid_size[0])
