"""Top-1 and top-5 accuracy in percent, once or over several repetitions."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class NotMeasured(ValueError):
    """One network has no score by a protocol: the training of its classifier diverged, or its features are not finite.
    Others may have one, and the same network by another protocol.
    """


@dataclass(frozen=True)
class Score:
    """Accuracies in percent, in [0, 100], and the protocol they were measured by.

    `top5` is None for five classes or fewer.
    """

    top1: float
    top5: float | None
    protocol: str


@dataclass(frozen=True)
class Classified:
    """A score, and the classifier that it is of: a backbone (view -> map or tokens, h) and a linear layer on its h."""

    score: Score
    backbone: nn.Module
    layer: nn.Linear


def score(votes: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], protocol: str) -> Score:
    """The share of images whose label has the highest vote, and one of the five highest.

    Of equal votes the lower class number counts as higher. An image with a vote that is not finite counts as wrong.
    Raises ValueError for no images, or for labels outside 0 … classes - 1.
    """
    classes = votes.shape[1]
    if len(labels) == 0:
        raise ValueError("an accuracy needs labelled images, and there are none; give images with labels of 0 or more")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must be in 0 … {classes - 1}, the classes voted on; got {int(labels.min())} … "
            f"{int(labels.max())}; test on images of the classes that were learnt"
        )
    # Ranks are counted because topk picks among equals as it likes, and takes NaN for the highest vote of all.
    own = votes.gather(1, labels[:, None].long())
    lower = torch.arange(classes, device=votes.device) < labels[:, None]
    rank = ((votes > own) | ((votes == own) & lower)).sum(1)
    rank = rank.masked_fill(~votes.isfinite().all(1), classes)
    return Score(_percent(rank < 1), _percent(rank < 5) if classes > 5 else None, protocol)


@dataclass(frozen=True)
class Repeated:
    """The mean over repetitions and, of two or more, their sample standard deviation, in points."""

    score: Score
    sd: float | None
    each: tuple[float, ...]


def repeated(scores: Sequence[Score], protocol: str) -> Repeated:
    """Mean, spread and number of one measurement's repetitions, of which there is at least one."""
    each = tuple(s.top1 for s in scores)
    top5 = [s.top5 for s in scores if s.top5 is not None]
    mean = Score(statistics.fmean(each), statistics.fmean(top5) if top5 else None, protocol)
    return Repeated(mean, statistics.stdev(each) if len(each) > 1 else None, each)


def _percent(right: Tensor) -> float:
    return 100.0 * int(right.sum()) / len(right)
