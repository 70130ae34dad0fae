"""Weighted k-nearest-neighbour classification of frozen features."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from resmom.evaluate.score import NotMeasured, Score, score
from resmom.evaluate.settings import Knn
from resmom.evaluate.standard import finite_rows, in_chunks, only

_CELLS = 1 << 24
"""Similarities held at once (64 MiB), whatever the size of bank and queries."""


def knn(
    bank: Float[Tensor, "n d"],
    bank_labels: Int[Tensor, " n"],
    queries: Float[Tensor, "m d"],
    query_labels: Int[Tensor, " m"],
    config: Knn,
) -> Score:
    """Accuracy of the queries when each takes the weighted vote of its k nearest images in the bank, by cosine.

    Images with label -1 are left out on both sides. Of equally near images the earlier in the bank is the neighbour;
    equal votes go to the lower class number. Features that are not finite are left out of the bank, are wrong as a
    query, and are counted in the protocol. Raises ValueError if a side is empty, NotMeasured if no image of the bank
    has finite features.
    """
    # One NaN in the bank would be the nearest neighbour of every query: topk takes it for the highest similarity.
    sound, asked = finite_rows(bank), query_labels >= 0
    usable = (bank_labels >= 0) & sound
    broken = int(((bank_labels >= 0) & ~sound).sum())
    bank, bank_labels = only(bank, usable), only(bank_labels, usable).long()
    queries, query_labels = only(queries, asked), only(query_labels, asked)
    if len(bank) == 0 and broken:
        raise NotMeasured(f"none of {broken} training images has finite features; use an earlier checkpoint")
    if len(bank) == 0 or len(queries) == 0:
        raise ValueError(
            f"kNN needs labelled images with finite features on both sides; got {len(bank)} in the bank, "
            f"{len(queries)} queries; give data with labels of 0 or more"
        )
    broken += int((~finite_rows(queries)).sum())
    k = min(config.k, len(bank))
    classes = int(torch.cat([bank_labels, query_labels.long()]).max()) + 1
    known = _of_length_1(bank)
    del bank  # where it is a copy of some of the rows, it need not stay
    votes = []
    # Off the CPU the votes are counted by way of k x classes numbers per query.
    each = len(known) if known.device.type == "cpu" else max(len(known), k * classes)
    for part in torch.split(_of_length_1(queries), max(1, _CELLS // each)):
        similarity, neighbours = _nearest(part @ known.T, k)
        # Relative to the nearest: the same shares of the vote, and no overflow at a low temperature.
        weights = ((similarity - similarity.amax(1, keepdim=True)) / config.temperature).exp()
        votes.append(_votes(bank_labels[neighbours], weights, classes))
    return score(torch.cat(votes), query_labels, _protocol(config, len(known), len(queries), broken))


def _of_length_1(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The rows over their lengths, in float32."""
    made = torch.empty_like(x, dtype=torch.float32, memory_format=torch.contiguous_format)
    for rows in in_chunks(x):
        made[rows] = F.normalize(x[rows].float(), dim=1)
    return made


def _votes(labels: Int[Tensor, "m k"], weights: Float[Tensor, "m k"], classes: int) -> Float[Tensor, "m classes"]:
    """The sum of the weights of each class."""
    if labels.device.type == "cpu":
        return weights.new_zeros(len(weights), classes).scatter_add_(1, labels, weights)
    # A GPU would add them up in any order, so that of nearly equal votes now one wins and now the other.
    return torch.einsum("mk,mkc->mc", weights, F.one_hot(labels, classes).to(weights.dtype))


def _nearest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of each row and where they are; of equals at the border those that come first."""
    ranked, places = similarity.topk(min(k + 1, similarity.shape[1]), dim=1)
    values, index = ranked[:, :k], places[:, :k].clone()
    # topk picks among equals as it likes; only where the next one is as near as the last does that choose neighbours.
    tied = (ranked[:, k:] == values[:, -1:]).any(1)
    if tied.any():
        rows, border = similarity[tied], values[tied, -1:]
        above, level = rows > border, rows == border
        room = k - above.sum(1, keepdim=True)
        taken = above | (level & (level.cumsum(1, dtype=torch.int32) <= room))
        index[tied] = taken.nonzero()[:, 1].view(-1, k)
        values = similarity.gather(1, index)
    return values, index


def _protocol(config: Knn, bank: int, queries: int, broken: int) -> str:
    k = f"k={config.k}" if bank >= config.k else f"k={bank} (not {config.k}: all of the bank)"
    ill = f", {broken} with features that are not finite" if broken else ""
    return f"knn-v1 {k} T={config.temperature:g} cosine, bank {bank}, queries {queries}{ill}"
