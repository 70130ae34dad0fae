"""The same numbers for the authors' code and for ours: inputs and weights as functions of names, on every platform."""

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from resmom.counter import uniforms
from resmom.views.masks import Masks, draw_masks


@dataclass(frozen=True)
class Setting:
    """A small MoCo-v3 run: ResNet-18 on 32x32 images, float64, LARS, five steps."""

    steps: int = 5
    images: int = 8
    hidden: int = 32
    out: int = 16
    temperature: float = 0.2
    lr: float = 0.6
    weight_decay: float = 1e-2  # large enough to be seen in five steps
    warmup: int = 2
    epochs: int = 5
    momentum: float = 0.9


@dataclass(frozen=True)
class DinoSetting:
    """A small DINO run: a convolution on two views of 16 x 16 and three of 8 x 8, float64, AdamW, five steps.

    One step an epoch, so that freezing, temperature and decay change within them.
    """

    steps: int = 5
    images: int = 6
    local: int = 3
    hidden: int = 32
    out: int = 16
    prototypes: int = 24
    lr: float = 0.01
    decay: tuple[float, float] = (0.04, 0.4)
    clip: float = 0.02  # small enough to act on some tensors and not on others
    momentum: float = 0.9
    temperatures: tuple[float, float, int] = (0.04, 0.07, 3)
    frozen: int = 2

    def views(self, step: int) -> tuple[Tensor, ...]:
        """The views of a step."""
        sides = [16, 16, *[8] * self.local]
        shapes = [(self.images, 3, side, side) for side in sides]
        return tuple(numbers(f"crop {v} of step {step}", shape) for v, shape in enumerate(shapes))


@dataclass(frozen=True)
class ViTSetting:
    """A small MoCo-v3 run of a transformer on two views of 32 x 32: float64, AdamW that decays all, five steps."""

    steps: int = 5
    images: int = 8
    image: int = 32
    patch: int = 8
    width: int = 24
    depth: int = 2
    heads: int = 2
    hidden: int = 32
    out: int = 16
    temperature: float = 0.2
    lr: float = 0.01
    weight_decay: float = 0.1
    momentum: float = 0.9

    def views(self, step: int) -> tuple[Tensor, Tensor]:
        """The two views of a step."""
        shape = (self.images, 3, self.image, self.image)
        return numbers(f"view 1 of step {step}", shape), numbers(f"view 2 of step {step}", shape)


class Convolution(nn.Module):
    """A body for views of any size, as both libraries want one."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, stride=2), nn.GELU())

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        return features.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


class Body(nn.Module):
    """Two convolutions with BatchNorm for images of 16 x 16, under the names by which the authors' codes ask a ResNet.

    `fc` is what they replace by a head or by nothing, `inplanes` the width that they read.
    """

    def __init__(self, width: int, fc: nn.Module | None = None) -> None:
        super().__init__()
        inside = 16
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, inside, 3, stride=2, bias=False), nn.BatchNorm2d(inside), nn.ReLU()),
            *(nn.Conv2d(inside, width, 3, stride=2, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        )
        self.fc = nn.Identity() if fc is None else fc
        self.inplanes = width

    def forward_features(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        return features.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.forward_head(self.forward_features(x)))


@dataclass(frozen=True)
class BodySetting:
    """A small run of a method's own parts, heads, loss, optimiser, teacher and queue, on a `Body`: float64, five steps.

    One step an epoch, so that the schedules change within them; the queue goes round.
    """

    steps: int = 5
    images: int = 8
    width: int = 24
    hidden: int = 32
    out: int = 16
    predictor: int = 20
    queue: int = 24
    temperature: float = 0.2
    lr: float = 0.1
    lars_lr: float = 0.01  # which vectors have unadapted; matrices move by `trust` of their own size at a rate of 1
    trust: float = 0.1
    clipped_trust: float = 0.001  # small enough for the clip to leave some matrices alone
    weight_decay: float = 1e-2
    momentum: float = 0.9
    warmup: int = 2
    written_warmup: int = 10  # epochs, which Barlow Twins' and VICReg's schedule cannot do otherwise

    def views(self, step: int) -> tuple[Tensor, Tensor]:
        """The two views of a step."""
        first, second = (numbers(f"view {v} of step {step}", (self.images, 3, 16, 16)) for v in (1, 2))
        return first, second


@dataclass(frozen=True)
class QueueSetting:
    """A small run of a method with a queue: ResNet-18, 32x32 images, float64, SGD, five steps; the queue goes round."""

    steps: int = 5
    images: int = 8
    out: int = 16
    queue: int = 24
    neighbours: int = 5
    temperature: float = 0.2
    lr: float = 0.05
    weight_decay: float = 1e-2
    momentum: float = 0.9


@dataclass(frozen=True)
class DenseSetting(QueueSetting):
    """The same of DenseCL, on images of 80 x 80, of which ResNet-18 makes maps of 3 x 3 places."""

    images: int = 6
    hidden: int = 24
    dense_weight: float = 0.4  # not the published half, which would not tell the two losses apart

    def views(self, step: int) -> tuple[Tensor, Tensor]:
        """The two views of a step."""
        first, second = (numbers(f"view {v} of step {step}", (self.images, 3, 80, 80)) for v in (1, 2))
        return first, second


@dataclass(frozen=True)
class IbotSetting:
    """A small iBOT run: a transformer on two masked views of 32 x 32 and two more unmasked, float64, AdamW, five steps.

    One step an epoch, so that freezing, temperatures and decay change within them. The local views are as large as the
    global ones: for other sizes the two codes interpolate positions differently.
    """

    steps: int = 5
    images: int = 6
    local: int = 2
    image: int = 32
    patch: int = 8
    width: int = 24
    depth: int = 2
    heads: int = 2
    hidden: int = 32
    out: int = 16
    prototypes: int = 24
    patch_prototypes: int = 20  # where the patches have their own
    lr: float = 0.005
    decay: tuple[float, float] = (0.04, 0.4)
    clip: float = 0.05
    momentum: float = 0.9
    temperatures: tuple[float, float, int] = (0.04, 0.07, 3)
    patch_temperatures: tuple[float, float] = (0.05, 0.09)
    centres: tuple[float, float] = (0.9, 0.8)
    weights: tuple[float, float] = (1.0, 0.7)
    frozen: int = 2

    def views(self, step: int) -> tuple[Tensor, ...]:
        """The views of a step."""
        shape = (self.images, 3, self.image, self.image)
        return tuple(numbers(f"view {v} of step {step}", shape) for v in range(2 + self.local))

    def masks(self, step: int) -> tuple[Tensor, ...]:
        """The masks of its global views; some hide nothing."""
        side, index = self.image // self.patch, np.arange(self.images)
        return tuple(draw_masks(Masks(), 1, step, index, v, (side, side)) for v in range(2))


@dataclass(frozen=True)
class Dinov2Setting(IbotSetting):
    """A small DINOv2 run of the same views: gains in the blocks, rates by layer, a warm-up of one step."""

    layer_scale: float = 1e-5  # where the authors start; the test has other values
    warmup: int = 1
    final_lr: float = 1e-4
    layer_decay: float = 0.9
    patch_rate: float = 0.2
    koleo: float = 0.1
    clip: float = 4.0  # small enough to act on some parts in some steps and not on others

    def masks(self, step: int) -> tuple[Tensor, ...]:
        """The masks of its global views, with blocks from four patches on; some hide nothing."""
        side, index = self.image // self.patch, np.arange(self.images)
        return tuple(draw_masks(Masks(smallest=4), 1, step, index, v, (side, side)) for v in range(2))


def numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Normal numbers in float64 that depend on the name alone."""
    size = int(np.prod(shape))
    drawn = uniforms(zlib.crc32(name.encode()), 0, np.arange(-(-size // 64)), 0, 128).reshape(-1)
    first, second = np.maximum(drawn[0::2], 2.0**-40), drawn[1::2]
    normal = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
    return torch.from_numpy(normal[:size].reshape(shape).copy())


def weight(name: str, old: Tensor) -> Tensor:
    """A start value for a parameter: of the usual size for matrices, near 1 or 0 for gains and biases."""
    drawn = numbers(name, tuple(old.shape))
    if old.ndim > 1:
        return drawn * (2.0 / old[0].numel()) ** 0.5
    return 0.1 * drawn + (1.0 if name.endswith("weight") else 0.0)


def views(step: int, setting: Setting | QueueSetting) -> tuple[Tensor, Tensor]:
    shape = (setting.images, 3, 32, 32)
    return numbers(f"view 1 of step {step}", shape), numbers(f"view 2 of step {step}", shape)
