"""Contrast between the places of two views: DenseCL's part of the loss."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from resmom.losses.contrastive import queue_nce
from resmom.losses.precision import exact, full


@torch.no_grad()
def nearest_places(queries: Float[Tensor, "n d s"], keys: Float[Tensor, "n d t"]) -> Int[Tensor, "n s"]:
    """For every place of an image's one map, the place of its other map with the largest cosine.

    Wang et al. 2021 (arXiv 2011.09157, section 3.4); of equal ones it is one of them.
    """
    with full(queries):
        q, k = (F.normalize(exact(x), dim=1) for x in (queries, keys))
        return (q.transpose(1, 2) @ k).argmax(2)


def dense_nce(
    queries: Float[Tensor, "n d s"],
    keys: Float[Tensor, "n d t"],
    places: Int[Tensor, "n s"],
    queue: Float[Tensor, "k d"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Mean over all places of all images of the cross-entropy of a place's cosines to its key and to the `queue`.

    Wang et al. 2021 (arXiv 2011.09157, section 3.3). The key of place i of image n is place `places[n, i]` of
    the image's other view. The rows of the queue are unit vectors. Chance is ln(k + 1).
    """
    positives = keys.gather(2, places[:, None].expand(-1, keys.shape[1], -1))
    q, k = (x.transpose(1, 2).flatten(0, 1) for x in (queries, positives))
    return queue_nce(q, k, queue, temperature)
