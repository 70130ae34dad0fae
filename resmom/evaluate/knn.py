"""Weighted k-nearest-neighbour classification of frozen features."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from resmom.evaluate.score import Score, score

_CHUNK = 1024


@dataclass(frozen=True)
class Knn:
    """Neighbours and temperature of the weights exp(cos / temperature): Wu et al. 2018 (arXiv 1805.01978), section 3.4,
    with the k that the CIFAR literature uses."""

    k: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.k < 1 or self.temperature <= 0:
            raise ValueError(f"knn.k must be at least 1 and knn.temperature above 0; got {self.k}, {self.temperature}")


def knn(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    query_labels: Int[Tensor, " m"],
    config: Knn,
) -> Score:
    """Accuracy of the queries when each takes the weighted vote of its k nearest images in the bank, by cosine.

    Images with label -1 are left out on both sides. Equal votes go to the lower class number. Raises ValueError if a
    side is empty.
    """
    bank, bank_labels = bank[bank_labels >= 0], bank_labels[bank_labels >= 0]
    queries, query_labels = queries[query_labels >= 0], query_labels[query_labels >= 0]
    if len(bank) == 0 or len(queries) == 0:
        raise ValueError(f"kNN needs labelled images on both sides; got {len(bank)} in the bank, {len(queries)} asked")
    k = min(config.k, len(bank))
    classes = int(torch.cat([bank_labels, query_labels]).max()) + 1
    known = F.normalize(bank, dim=1)
    votes = []
    for part in torch.split(F.normalize(queries, dim=1), _CHUNK):
        similarity, neighbours = (part @ known.T).topk(k, dim=1)
        weights = (similarity / config.temperature).exp()
        votes.append(torch.zeros(len(part), classes).scatter_add_(1, bank_labels[neighbours], weights))
    protocol = (
        f"knn-v1 (k={k}, cosine, weights exp(cos/{config.temperature:g}), bank {len(bank)}, asked {len(queries)})"
    )
    return score(torch.cat(votes), query_labels, protocol)
