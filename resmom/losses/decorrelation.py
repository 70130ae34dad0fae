"""What the dimensions of a projection have to do with each other over a batch: Barlow Twins' and VICReg's parts."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import exact, full

TINY = 1e-5
"""Added to a variance that is divided by: BatchNorm's, which the authors' code of Barlow Twins uses."""
FLOOR = 1e-4
"""VICReg's epsilon under the root (arXiv 2105.04906, Eq. 2)."""


def cross_correlation(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """The correlation of every dimension of `a` with every one of `b` over the batch (arXiv 2103.03230, Eq. 2)."""
    with full(a):
        return _standardised(exact(a)).T @ _standardised(exact(b)) / len(a)


def _standardised(z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return (z - z.mean(0)) / (z.var(0, unbiased=False) + TINY).sqrt()


def covariance(z: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """The covariance of the dimensions over the batch, unbiased (arXiv 2105.04906, Eq. 3)."""
    with full(z):
        centred = exact(z) - exact(z).mean(0)
        return centred.T @ centred / (len(z) - 1)


def spread_hinge(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean over dimensions of how far the standard deviation is below 1 (arXiv 2105.04906, Eq. 1, gamma = 1)."""
    return F.relu(1.0 - (exact(z).var(0) + FLOOR).sqrt()).mean()


def off_diagonal(square: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """The matrix with zeros on its diagonal."""
    return square - torch.diag_embed(square.diagonal())
