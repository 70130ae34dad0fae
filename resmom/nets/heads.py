"""Projection and prediction heads: plain multilayer perceptrons, whose details differ from paper to paper."""

from typing import Literal

from torch import nn

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
