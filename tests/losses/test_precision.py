"""Half precision ends where the loss begins: what comes in so is taken as float32 before anything is computed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from resmom.losses.contrastive import info_nce, nt_xent, queue_nce
from resmom.losses.cosine import cosine_distance
from resmom.losses.decorrelation import covariance, cross_correlation, spread_hinge
from resmom.losses.dense import dense_nce, nearest_places
from resmom.losses.neighbours import mean_shift, nearest
from resmom.losses.prototypes import cross_entropies, sharpened
from resmom.losses.relation import relation
from resmom.losses.residual import Residual, target_entropy
from resmom.types import Encoding, Pair

Loss = Callable[[Tensor, Tensor, Tensor], Tensor | None]


def entropy(distance: str) -> Loss:
    def of(a: Tensor, b: Tensor, c: Tensor) -> Tensor | None:
        pair = Pair("global", Encoding(a, a), Encoding(b, b), bank=Encoding(c, c))
        return target_entropy([pair], Residual(1.0, "z", distance=distance))

    return of


LOSSES: dict[str, Loss] = {
    "info_nce": lambda a, b, c: info_nce(a, b, 0, 0.2),
    "nt_xent": lambda a, b, c: nt_xent(a, b, a, 0, 0.2),
    "queue_nce": lambda a, b, c: queue_nce(a, b, c, 0.2),
    "cosine_distance": lambda a, b, c: cosine_distance(a, b),
    "cross_correlation": lambda a, b, c: cross_correlation(a, b),
    "covariance": lambda a, b, c: covariance(a),
    "spread_hinge": lambda a, b, c: spread_hinge(a / 4),
    "dense_nce": lambda a, b, c: dense_nce(a[:, :, None], b[:, :, None], torch.zeros(8, 1, dtype=torch.long), c, 0.2),
    "nearest": lambda a, b, c: nearest(a, c, 2),
    "mean_shift": lambda a, b, c: mean_shift(a, b, c, 2),
    "cross_entropies": lambda a, b, c: cross_entropies(sharpened(a, c[0], 0.04), b, 0.1),
    "relation": lambda a, b, c: relation(a, b, c, 0.1, 0.04),
    "kd_feature's entropy": entropy("kd_feature"),
    "kd_relation's entropy": entropy("kd_relation"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_taken_as_float32(name: str) -> None:
    made = torch.Generator().manual_seed(0)
    rows = [torch.randn(8, 16, generator=made).bfloat16() for _ in range(3)]
    found, exact = LOSSES[name](*rows), LOSSES[name](*(x.float() for x in rows))
    assert found is not None and exact is not None and found.dtype == torch.float32
    assert torch.equal(found, exact)


def test_places_are_matched_in_float32() -> None:
    """In bfloat16 the two cosines are one number, and the first place would win."""
    places = torch.tensor([[1.0, 0.03125], [1.0, 0.0625]]).T.reshape(1, 2, 2)
    query = torch.tensor([1.0, 0.0625]).reshape(1, 2, 1)
    assert nearest_places(query.bfloat16(), places.bfloat16()).tolist() == [[1]]
