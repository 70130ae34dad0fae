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
    """Its own learning rate (per 256 images, same schedule and optimiser as the encoder's) and weight decay.

    The form of solo-learn's tables (da Costa et al. 2022, JMLR 23(56)): rate .3 for MoCo, .1 for most others.
    """

    lr: float = 0.3
    weight_decay: float = 0.0


class OnlineClassifier(nn.Module):
    """One linear layer on h, `width` numbers to `classes` scores. `forward` is its training loss.

    The optimiser is the caller's.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)

    def predict(self, h: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """Scores in float32, whatever the precision around; no gradient reaches what made h."""
        with torch.autocast(h.device.type, enabled=False):
            scores: Tensor = self.linear(h.detach().float())
            return scores

    def forward(self, views: Sequence[Float[Tensor, "n d"]], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """Cross-entropy in float32, averaged over the labelled images and over the views' representations.

        Label -1 is left out; a batch without labels gives 0, and no gradient. Raises ValueError for no views.
        """
        if len(views) == 0:
            raise ValueError(
                "the online classifier learns from at least one view; got none; pass h of each global view"
            )
        # The count stays on the device: asking it for a number would make the host wait in every step.
        labelled = (labels >= 0).sum().clamp_min(1)
        losses = [F.cross_entropy(self.predict(h), labels.long(), ignore_index=-1, reduction="sum") for h in views]
        return torch.stack(losses).mean() / labelled


@torch.no_grad()
def online_score(classifier: OnlineClassifier, h: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Score:
    """Its accuracy on representations of clean images, which lie on its device; label -1 is left out.

    Raises ValueError if no image is labelled, or if a label is none of the classifier's classes.
    """
    known = labels >= 0
    protocol = f"online-linear-v1 (trained beside pretraining, tested on {int(known.sum())})"
    return score(classifier.predict(h[known]), labels[known], protocol)
