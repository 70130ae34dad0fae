"""Cosine distance."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import exact


def cosine_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean over rows of 1 - cos(a_i, b_i): 0 for equal directions, 1 for orthogonal, 2 for opposite ones.

    BYOL's loss (arXiv 2006.07733, Eq. 2) of one direction is twice this.
    """
    return 1.0 - F.cosine_similarity(exact(a), exact(b), dim=1).mean()
