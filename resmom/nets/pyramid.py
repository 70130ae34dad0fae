"""Maps of several strides and one width: what pyramids have in common, and the feature pyramid of a ResNet."""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool, LastLevelP6P7

from resmom.nets.stages import Stages

FINEST = 4
"""No level is finer than this stride: a map of every second pixel costs much and finds little."""


class Pyramid(nn.Module):
    """An image to maps by name, each half as wide as the one before. The names tell the levels of the backbone, from
    which regions are cut; above them there are one or, for RetinaNet, two more.
    """

    def __init__(self, body: nn.Module, strides: list[int], width: int, retina: bool) -> None:
        super().__init__()
        self.body = body
        self.out_channels = width
        self.names = [str(number) for number in range(len(strides))]
        self.strides = [*strides, strides[-1] * 2, strides[-1] * 4] if retina else [*strides, strides[-1] * 2]


def above(width: int, retina: bool) -> ExtraFPNBlock:
    """What makes the levels above those of the backbone."""
    return LastLevelP6P7(width, width) if retina else LastLevelMaxPool()


class StagePyramid(Pyramid):
    """The feature pyramid (Lin et al. 2017, arXiv 1612.03144) on a ResNet's stages."""

    def __init__(self, body: Stages, width: int, retina: bool, norm: bool) -> None:
        """`norm`: BatchNorm in the new layers."""
        first = next((n for n, stride in enumerate(body.strides) if stride >= FINEST), len(body.strides) - 1)
        super().__init__(body, body.strides[first:], width, retina)
        self.first = first
        layer = nn.BatchNorm2d if norm else None
        self.fpn = FeaturePyramidNetwork(body.widths[first:], width, above(width, retina), layer)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)[self.first :]
        levels: dict[str, Tensor] = self.fpn(OrderedDict(zip(self.names, maps, strict=True)))
        return levels
