"""Cross-entropy between distributions over prototypes: the DINO family."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from resmom.losses.precision import exact


def sharpened(logits: Float[Tensor, "n k"], centre: Float[Tensor, " k"], temperature: float) -> Float[Tensor, "n k"]:
    """The teacher's distributions, centred and sharpened: softmax((logits - centre) / temperature), without gradient.

    Caron et al. 2021 (arXiv 2104.14294), section 3.1. The centre keeps one prototype from taking all, the temperature
    keeps the distribution from being flat; a teacher needs both.
    """
    return F.softmax((exact(logits.detach()) - exact(centre)) / temperature, dim=1)


def cross_entropies(
    targets: Float[Tensor, "n k"], logits: Float[Tensor, "n k"], temperature: float
) -> Float[Tensor, " n"]:
    """H(target, softmax(logits / temperature)) of every row (arXiv 2104.14294, Eq. 2).

    Chance is ln k: what equal logits give against any target.
    """
    return -(targets * F.log_softmax(exact(logits) / temperature, dim=1)).sum(1)


def over_hidden(losses: Float[Tensor, " places"], hidden: Bool[Tensor, "n rows columns"]) -> Float[Tensor, " n"]:
    """Mean of each image's losses over its hidden places, 0 where none is hidden.

    Zhou et al. 2022 (arXiv 2111.07832), Eq. 2, divided as the authors' code has it: an image counts the same, however
    much of it is hidden. `losses` has a row per image and place.
    """
    counted = hidden.flatten(1).to(losses.dtype)
    return (losses.view_as(counted) * counted).sum(1) / counted.sum(1).clamp(min=1.0)
