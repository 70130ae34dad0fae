"""Distances to the nearest neighbours of a target among remembered vectors."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import exact, full


@torch.no_grad()
def nearest(targets: Float[Tensor, "n d"], rows: Float[Tensor, "m d"], k: int) -> Float[Tensor, "n k d"]:
    """The `k` rows with the largest cosine to each target, the nearest first. Rows are unit vectors.

    A target that is not finite has no neighbours but NaN: any rows would do for it, and the step would pass as finite.
    """
    with full(targets):
        cosines, numbers = (F.normalize(exact(targets), dim=1) @ exact(rows).T).topk(k, dim=1)
        return exact(rows)[numbers].masked_fill(cosines.isnan()[:, :, None], torch.nan)


def mean_shift(
    predictions: Float[Tensor, "n d"], targets: Float[Tensor, "n d"], rows: Float[Tensor, "m d"], k: int
) -> Float[Tensor, ""]:
    """Mean of 2 - 2 cos between each prediction and the `k` rows nearest to its target: 0 to 4.

    MSF (arXiv 2105.07269, section 3): the squared distance of unit vectors, averaged over neighbours and images. The
    rows are unit vectors and hold the targets themselves; with k = 1 this is BYOL's loss.
    """
    neighbours = nearest(targets, rows, k)
    with full(predictions):
        cosines = (F.normalize(exact(predictions), dim=1)[:, None] * neighbours).sum(2)
        return (2 - 2 * cosines).mean()
