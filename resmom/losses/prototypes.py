"""Cross-entropy between distributions over prototypes: the DINO family."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resmom.losses.precision import exact


def sharpened(logits: Float[Tensor, "n k"], centre: Float[Tensor, " k"], temperature: float) -> Float[Tensor, "n k"]:
    """The teacher's distributions, centred and sharpened: softmax((logits - centre) / temperature), without gradient.

    Caron et al. 2021 (arXiv 2104.14294), section 3.1. The centre keeps one prototype from taking all, the temperature
    keeps the distribution from being flat; a teacher needs both.
    """
    return F.softmax((exact(logits.detach()) - exact(centre)) / temperature, dim=1)


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def sinkhorn(
    logits: Float[Tensor, "n k"],
    temperature: float,
    rounds: int = 3,
    summed: Callable[[Tensor], Tensor] = _as_it_is,
    largest: Callable[[Tensor], Tensor] = _as_it_is,
) -> Float[Tensor, "n k"]:
    """The teacher's distributions, spread evenly over the prototypes: Sinkhorn-Knopp on exp(logits / temperature).

    Caron et al. 2020 (SwAV, arXiv 2006.09882, section 3.1), as DINOv2 (arXiv 2304.07193, section 4) takes it from
    there: `rounds` times every prototype's column is divided by its sum, then every row by its own, so that each row
    is a distribution. Without gradient. Over several ranks, of which some may have no rows, `summed` adds up a tensor
    of all of them and `largest` takes the maximum; without them the rows are all there are.
    """
    q = exact(logits.detach()) / temperature  # as logarithms: at low temperatures exponentials overflow, or are all 0
    for _ in range(rounds):
        most = largest(q.amax(0) if len(q) else q.new_full(q.shape[1:], -torch.inf))
        q = q - most - summed(torch.exp(q - most).sum(0)).log()
        q = q.log_softmax(1)
    return q.exp()


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


def over_chosen(
    losses: Float[Tensor, " m"], chosen: Int[Tensor, " m"], hidden: Bool[Tensor, "n rows columns"]
) -> Float[Tensor, ""]:
    """The same mean over an image's hidden places, averaged over the images, where there are losses of these alone.

    `chosen` numbers the places of all images in a row: those of the first, then of the second, and so on.
    """
    places = hidden.flatten(1)
    counts = places.sum(1).clamp(min=1)
    return (losses / counts[chosen // places.shape[1]]).sum() / len(places)
