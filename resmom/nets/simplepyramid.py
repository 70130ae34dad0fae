"""The simple feature pyramid of a plain Vision Transformer (ViTDet)."""

import copy
from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

from resmom.nets.backbones import Backbone
from resmom.nets.pyramid import Pyramid, above
from resmom.nets.vit import ViTBody

STRIDES = (4, 8, 16, 32)
PADDED = 32
"""Sides of a batch are multiples of this (torchvision's default)."""


class SimplePyramid(Pyramid):
    """The last map of a plain Vision Transformer at strides 4, 8, 16 and 32 (ViTDet, Li et al. 2022, arXiv 2203.16527).

    Finer maps by transposed convolutions, coarser ones by pooling; then a 1x1 and a 3x3 convolution, a LayerNorm after
    each. Unlike there, every block sees the whole image instead of windows, there are no relative positions, and the
    last normalisation of the backbone stays.
    """

    def __init__(self, backbone: Backbone, width: int, retina: bool, longest: int) -> None:
        """Around a copy of the backbone, for images no side of which is longer than `longest`.

        Raises ValueError for a backbone without patches of which maps of these strides can be made.
        """
        body = copy.deepcopy(backbone.body)
        if not isinstance(body, ViTBody):
            raise ValueError(
                "maps of several sizes are needed, which small, resnet18, resnet34 and resnet50 have, and which are "
                "made here of the Vision Transformers by the names vit-* and dino-vit-*; this backbone is neither"
            )
        # A teacher's parameters come without gradients, and so may positions and the projection of patches.
        super().__init__(body.requires_grad_(True), list(STRIDES), width, retina)
        patch = body.patch_embed.patch_size[0]
        if patch not in STRIDES:
            raise ValueError(f"its patches are {patch} pixels wide; a pyramid can be made of {STRIDES}")
        self.canvas = -(-longest // PADDED) * PADDED // patch
        self.levels = nn.ModuleList(_level(backbone.width, patch, stride, width) for stride in STRIDES)
        self.above = above(width, retina)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        last = self.body.forward_map(images, self.canvas)  # type: ignore[operator]
        maps = [level(last) for level in self.levels]
        levels, names = self.above(maps, maps, list(self.names))
        return OrderedDict(zip(names, levels, strict=True))


def _level(inside: int, patch: int, stride: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for at in range(patch.bit_length() - stride.bit_length()):
        layers += [LayerNorm2d(inside, eps=1e-6), nn.GELU()] if at else []
        layers.append(nn.ConvTranspose2d(inside, inside // 2, 2, stride=2))
        inside //= 2
    if stride > patch:
        layers.append(nn.MaxPool2d(stride // patch))
    return nn.Sequential(
        *layers,
        nn.Conv2d(inside, width, 1, bias=False),
        LayerNorm2d(width, eps=1e-6),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        LayerNorm2d(width, eps=1e-6),
    )
