"""Projection and prediction heads: plain multilayer perceptrons, whose details differ from paper to paper."""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LastNorm = Literal["none", "plain", "affine"]


def mlp(
    width: int,
    hidden: int,
    out: int,
    layers: int,
    last_norm: LastNorm = "none",
    bias: bool = False,
    norm: bool = True,
) -> nn.Module:
    """Linear, BatchNorm, ReLU for every hidden layer, then Linear and, if `last_norm` says so, BatchNorm.

    `last_norm` = "plain" has no gain and bias (SimCLR's and MoCo-v3's last layer). `bias` goes for all linear layers.
    Without `norm` there is no BatchNorm after hidden layers (SimCLR's formula).
    """
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts.append(nn.Linear(width, hidden, bias=bias))
        parts += [nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]
        width = hidden
    parts.append(nn.Linear(width, out, bias=bias))
    if last_norm != "none":
        parts.append(nn.BatchNorm1d(out, affine=last_norm == "affine"))
    return nn.Sequential(*parts)


def gelu_mlp(
    width: int, hidden: int, out: int, layers: int = 3, norm: bool = False, deviation: float = 0.02
) -> nn.Module:
    """Linear and GELU for every hidden layer, then Linear: DINO's head up to its bottleneck.

    `norm`: BatchNorm between the two (the authors' `use_bn_in_head`). Weights start as DeiT's: normal of that
    deviation (which DeiT cuts off at 2, where nothing is), biases 0.
    """
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts.append(nn.Linear(width, hidden))
        parts += [nn.BatchNorm1d(hidden), nn.GELU()] if norm else [nn.GELU()]
        width = hidden
    parts.append(nn.Linear(width, out))
    for part in parts:
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=deviation)
            nn.init.zeros_(part.bias)
    return nn.Sequential(*parts)


def dense_mlp(width: int, hidden: int, out: int) -> nn.Module:
    """Linear, ReLU, linear at every place of a map N x width x H x W by itself, as 1x1 convolutions: DenseCL's head."""
    return nn.Sequential(nn.Conv2d(width, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, out, 1))


class Prototypes(nn.Module):
    """Directions to which z is compared: a logit is the cosine of z and a prototype, times the prototype's gain.

    A weight-normalised linear layer on normalised rows. The gain is 1 and fixed, or with `gains` learnt from 1 on.
    """

    def __init__(self, width: int, number: int, gains: bool = False) -> None:
        super().__init__()
        self.directions = nn.Linear(width, number, bias=False)
        self.gains = nn.Parameter(self.directions.weight.new_ones(number, 1)) if gains else None

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        weight = F.normalize(self.directions.weight, dim=1)
        return F.linear(F.normalize(z, dim=1), weight if self.gains is None else weight * self.gains)
