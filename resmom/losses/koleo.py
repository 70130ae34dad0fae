"""The KoLeo regulariser, which spreads the representations of a batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import exact, full

_LEAST = 1e-8
"""Added to distances, and to each coordinate's difference, before the logarithm: the authors' two `eps`."""


def koleo(h: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Minus the mean logarithm of the distance of each row, at unit length, to its nearest other row.

    Sablayrolles et al. 2019 (arXiv 1806.03198, Eq. 2): the Kozachenko-Leonenko estimate of the differential entropy, up
    to constants. Two rows that are the same give 18.4, so it has no chance level. It is of the whole batch: a part of
    the batch has other neighbours. Raises ValueError for a single row, which has no neighbour.
    """
    if len(h) < 2:
        raise ValueError(f"KoLeo compares the images of a batch with each other, and here is {len(h)}")
    rows = F.normalize(exact(h), dim=1, eps=_LEAST)
    with torch.no_grad(), full(rows):  # neighbours that are near are told apart by digits that half precision lacks
        similar = rows @ rows.T
        nearest = similar.fill_diagonal_(-1.0).argmax(1)
    distances = F.pairwise_distance(rows, rows[nearest], eps=_LEAST)
    return -torch.log(distances + _LEAST).mean()
