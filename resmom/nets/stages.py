"""A ResNet cut where its maps get smaller: what detectors and segmentation networks are built on."""

import copy
import itertools
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import resnet

from resmom.nets.backbones import Backbone

_PROBE = 128
"""Side of the image on which the maps are measured."""


class Stages(nn.Module):
    """A backbone cut where its maps get smaller: an image in, the map of every stage out."""

    def __init__(self, backbone: Backbone) -> None:
        """Copies the backbone. Raises ValueError for one without such stages."""
        super().__init__()
        stem, stages = _cut(copy.deepcopy(backbone.body))
        self.stem, self.stages = stem, nn.ModuleList(stages)
        self.train(backbone.training).requires_grad_(True)  # a teacher's parameters come without gradients
        self.widths, self.strides = self._measured()

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(itertools.accumulate(self.stages, lambda x, stage: stage(x), initial=self.stem(images)))[1:]

    def _measured(self) -> tuple[list[int], list[int]]:
        was = self.training
        self.eval()  # batch statistics must not see the probe
        parameter = next(self.parameters())
        with torch.no_grad():
            maps = self(torch.zeros(1, 3, _PROBE, _PROBE, device=parameter.device))
        self.train(was)
        if any(_PROBE % one.shape[-1] for one in maps):
            raise ValueError(
                f"its maps of an image of side {_PROBE} have sides {[one.shape[-1] for one in maps]}, no divisors of "
                "it (the stem small_pad2 pads them); take a backbone with the stem imagenet or small"
            )
        return [one.shape[1] for one in maps], [_PROBE // one.shape[-1] for one in maps]


def has_stages(backbone: Backbone) -> bool:
    """Whether it is a ResNet, torchvision's or the small one."""
    return isinstance(backbone.body, resnet.ResNet) or _layers(backbone.body) is not None


def _layers(body: nn.Module) -> nn.Sequential | None:
    """All layers of a small ResNet in a row."""
    layers = getattr(body, "layers", None)
    blocks = isinstance(layers, nn.Sequential) and any(isinstance(layer, resnet.BasicBlock) for layer in layers)
    return layers if blocks else None


def _cut(body: nn.Module) -> tuple[nn.Module, list[nn.Module]]:
    if isinstance(body, resnet.ResNet):
        stem = nn.Sequential(OrderedDict(conv1=body.conv1, bn1=body.bn1, relu=body.relu, maxpool=body.maxpool))
        return stem, [body.layer1, body.layer2, body.layer3, body.layer4]
    layers = _layers(body)
    if layers is None:
        raise ValueError(
            "maps of several sizes are needed, which only ResNets have here (small, resnet18, resnet34 and resnet50, "
            "none of timm's); this backbone has none"
        )
    stem_layers: list[nn.Module] = []
    stages: list[list[nn.Module]] = []
    for layer in layers:
        if not isinstance(layer, resnet.BasicBlock):
            stem_layers.append(layer)
        elif not stages or layer.stride != 1:
            stages.append([layer])
        else:
            stages[-1].append(layer)
    return nn.Sequential(*stem_layers), [nn.Sequential(*stage) for stage in stages]
