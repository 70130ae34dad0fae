"""Cross-entropy over similarities: the InfoNCE family."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import exact


def info_nce(
    queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"], first: int, temperature: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of each query's cosine similarities to all `keys`; query i's positive is key `first` + i.

    Oord et al. 2018 (arXiv 1807.03748), in the in-batch form of MoCo-v3 (arXiv 2104.02057, Algorithm 1, `ctr`)
    without that paper's factor 2T. The gradient flows into queries and keys; a teacher's keys come detached. Chance is
    ln m.
    """
    logits = F.normalize(exact(queries), dim=1) @ F.normalize(exact(keys), dim=1).T / temperature
    positives = torch.arange(first, first + len(queries), device=queries.device)
    return F.cross_entropy(logits, positives)
