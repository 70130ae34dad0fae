"""The linear classifier trained beside pretraining, as the published tables have it. The encoder is untouched."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from resmom.evaluate.score import Score, score


@dataclass(frozen=True)
class Online:
    """Its own learning rate (per 256 images, same schedule and optimiser as the encoder's) and weight decay."""

    lr: float = 0.3
    weight_decay: float = 0.0


class OnlineClassifier(nn.Module):
    """One linear layer on h. `forward` is its training loss."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    def forward(self, views: Sequence[Float[Tensor, "n d"]], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """Mean cross-entropy over the views' representations, behind a stopped gradient; label -1 is left out."""
        if not (labels >= 0).any():
            return 0.0 * self.linear.bias.sum()
        losses = [F.cross_entropy(self.linear(h.detach().float()), labels, ignore_index=-1) for h in views]
        return torch.stack(losses).mean()


@torch.no_grad()
def online_score(classifier: OnlineClassifier, h: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Score:
    """Its accuracy on representations of clean images; label -1 is left out."""
    known = labels >= 0
    votes = classifier.linear(h[known])
    return score(votes, labels[known], f"online-linear-v1 (trained beside pretraining, tested on {int(known.sum())})")
