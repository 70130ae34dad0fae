"""Cross-entropy over similarities: the InfoNCE family."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from resmom.losses.precision import exact, full


def info_nce(
    queries: Float[Tensor, "n d"], keys: Float[Tensor, "m d"], first: int, temperature: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of each query's cosine similarities to all `keys`; query i's positive is key `first` + i.

    Oord et al. 2018 (arXiv 1807.03748), in the in-batch form of MoCo-v3 (arXiv 2104.02057, Algorithm 1, `ctr`)
    without that paper's factor 2T. The gradient flows into queries and keys; a teacher's keys come detached. Chance is
    ln m.
    """
    with full(queries):
        logits = F.normalize(exact(queries), dim=1) @ F.normalize(exact(keys), dim=1).T / temperature
        positives = torch.arange(first, first + len(queries), device=queries.device)
        return F.cross_entropy(logits, positives)


def nt_xent(
    anchors: Float[Tensor, "n d"],
    partners: Float[Tensor, "m d"],
    others: Float[Tensor, "m d"],
    first: int,
    temperature: float,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of each anchor's partner among the other 2m - 1 outputs (SimCLR, arXiv 2002.05709, Eq. 1).

    `partners` are of the other view, `others` of the anchors' own: anchor i's partner is row `first` + i of the one,
    and the anchor itself that row of the other, which is left out. The gradient flows everywhere. Chance: ln(2m - 1).
    """
    with full(anchors):
        a, b, c = (F.normalize(exact(x), dim=1) for x in (anchors, partners, others))
        positives = torch.arange(first, first + len(a), device=a.device)
        own = (a @ c.T / temperature).scatter(1, positives[:, None], float("-inf"))
        return F.cross_entropy(torch.cat([a @ b.T / temperature, own], dim=1), positives)


def queue_nce(
    queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], queue: Float[Tensor, "k d"], temperature: float
) -> Float[Tensor, ""]:
    """Mean cross-entropy of each query's cosine similarities to its own key, the positive, and to all of the `queue`.

    MoCo (arXiv 1911.05722, Eq. 1). The rows of the queue are unit vectors. Chance is ln(k + 1).
    """
    with full(queries):
        q, k = (F.normalize(exact(x), dim=1) for x in (queries, keys))
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ exact(queue).T], dim=1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))
