"""Top-1 and top-5 accuracy in percent."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """Accuracies in percent and the protocol they were measured by. `top5` is None for five classes or fewer."""

    top1: float
    top5: float | None
    protocol: str


def score(votes: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], protocol: str) -> Score:
    """The share of images whose label has the highest vote, and one of the five highest."""
    best = votes.topk(min(5, votes.shape[1]), dim=1).indices == labels[:, None]
    top1 = 100.0 * best[:, 0].double().mean().item()
    top5 = 100.0 * best.any(1).double().mean().item() if votes.shape[1] > 5 else None
    return Score(top1, top5, protocol)
