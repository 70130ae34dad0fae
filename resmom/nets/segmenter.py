"""Fully convolutional networks around a backbone: its last stages dilated, a head that names every place."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import resnet

from resmom.called import called, either, setting
from resmom.nets.backbones import Backbone
from resmom.nets.stages import Stages


@dataclass(frozen=True)
class Segmenter:
    """What is put on the backbone.

    `fcn`: two 3x3 convolutions, a third one on their output beside their input, dropout and the classifier
    (mmsegmentation's FCN head, which DenseCL's protocol has). `field`: two 3x3 convolutions with dilation `rate` and
    the classifier (MoCo, arXiv 1911.05722, appendix). BatchNorm and ReLU after each.
    """

    head: Literal["fcn", "field"] = "fcn"
    dilated: int = 2
    """So many of the last stages keep the size of the stage before them, and are dilated instead."""
    width: int = 512
    """Channels of the head."""
    rate: int = 6
    """Dilation of the convolutions of `field`."""
    dropout: float = 0.1
    """Chance that a channel is left out before the classifier, in training."""
    auxiliary: float = 0.4
    """Weight of the loss of a second head, half as wide and of one convolution, on the last stage but one; 0: none."""


def dilate(body: Stages, count: int) -> None:
    """Give the last `count` stages the resolution of the stage before them, changing strides and dilations in place.

    The à-trous form: at the places of the former, coarser maps the new maps are the former ones (Chen et al. 2018,
    arXiv 1606.00915, section 3.1). On bottlenecks these are the dilations of mmsegmentation's `contract_dilation`
    and of torchvision's `replace_stride_with_dilation`. Raises ValueError for more stages than there are.
    """
    if not 0 <= count < len(body.stages):
        raise ValueError(
            f"it has {len(body.stages)} stages, so {called('segmenter.dilated')} can be 0 to {len(body.stages) - 1}; "
            f"got {count}"
        )
    rate = 1
    for number in range(len(body.stages) - count, len(body.stages)):
        blocks = body.stages[number]
        assert isinstance(blocks, nn.Sequential)
        for block in blocks:
            assert isinstance(block, (resnet.BasicBlock, resnet.Bottleneck))
            rate = _dilate(block, rate)
        body.strides[number] = body.strides[number - 1]


def _dilate(block: nn.Module, rate: int) -> int:
    """One block at dilation `rate`; the dilation after it, which its stride has multiplied."""
    for conv in (block.conv1, block.conv2):
        assert isinstance(conv, nn.Conv2d)
        stride, conv.stride = conv.stride[0], (1, 1)
        if conv.kernel_size[0] > 1:
            conv.dilation = conv.padding = (rate, rate)
        rate *= stride
    if isinstance(block.downsample, nn.Sequential):
        shortcut = block.downsample[0]
        assert isinstance(shortcut, nn.Conv2d)
        shortcut.stride = (1, 1)
    return rate


class _Head(nn.Module):
    """Convolutions and a classifier of every place."""

    def __init__(self, inside: int, width: int, classes: int, convolutions: int, config: Segmenter) -> None:
        super().__init__()
        rate = config.rate if config.head == "field" else 1
        inputs = [inside] + [width] * (convolutions - 1)
        self.convolutions = nn.Sequential(*(_convolution(one, width, rate) for one in inputs))
        joined = config.head == "fcn" and convolutions > 1
        self.join = _convolution(inside + width, width, 1) if joined else None
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(width, classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        assert self.classifier.bias is not None
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        out = self.convolutions(x)
        if self.join is not None:
            out = self.join(torch.cat([x, out], dim=1))
        votes: Tensor = self.classifier(self.dropout(out))
        return votes


def _convolution(inside: int, width: int, rate: int) -> nn.Sequential:
    conv = nn.Conv2d(inside, width, 3, padding=rate, dilation=rate, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class FcnNetwork(nn.Module):
    """Images to votes for each class, on the last map's places."""

    def __init__(
        self, config: Segmenter, backbone: Backbone, classes: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        """Around a copy of `backbone`, new layers drawn from torch's generator. Raises ValueError for no ResNet."""
        super().__init__()
        try:
            self.body = Stages(backbone)
        except ValueError as error:
            raise ValueError(
                f"{error}. Any backbone can be measured with {either('--recipe patch_linear', 'PatchLinear()')}"
            ) from error
        dilate(self.body, config.dilated)
        self.head = _Head(self.body.widths[-1], config.width, classes, 2, config)
        self.second: nn.Module | None = None
        if config.auxiliary > 0:
            if len(self.body.widths) < 2:
                raise ValueError(
                    f"it has one stage, so there is no other for a second head; {setting('segmenter.auxiliary', 0)}"
                )
            self.second = _Head(self.body.widths[-2], max(1, config.width // 2), classes, 1, config)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def ready(self, images: list[Tensor], side: int) -> Float[Tensor, "n 3 side side"]:
        """Images (3 x H x W in [0, 1]) normalised, then filled up with 0, the mean, on the right and below."""
        assert isinstance(self.mean, Tensor) and isinstance(self.std, Tensor)
        out = [(image - self.mean) / self.std for image in images]
        return torch.stack([F.pad(one, (0, side - one.shape[2], 0, side - one.shape[1])) for one in out])

    def forward(self, x: Float[Tensor, "n 3 _ _"]) -> tuple[Tensor, Tensor | None]:
        """The votes N x classes x h x w, and those of the second head, in training and where there is one."""
        maps = self.body(x)
        second = self.second(maps[-2]) if self.second is not None and self.training else None
        return self.head(maps[-1]), second

    def votes(self, image: Float[Tensor, "3 _ _"], size: tuple[int, int]) -> Float[Tensor, "classes _ _"]:
        """The votes of one whole image in [0, 1], bilinearly brought to `size` (height, width)."""
        assert isinstance(self.mean, Tensor) and isinstance(self.std, Tensor)
        votes, _ = self(((image - self.mean) / self.std)[None])
        return F.interpolate(votes.float(), size, mode="bilinear", align_corners=False)[0]
