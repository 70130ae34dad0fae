"""Frozen features made ready for a classifier, without copies of them: they may be gigabytes."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resmom.evaluate.score import NotMeasured

_CELLS = 1 << 22
"""Numbers that are worked on at once (16 MiB)."""


def in_chunks(x: Float[Tensor, "n d"]) -> Iterator[slice]:
    """Slices of so many rows that they hold some `_CELLS` numbers; never a single row of many.

    A reduction over one row alone may be shared among threads, and then add up in another order.
    """
    count = max(1, len(x) // max(2, _CELLS // max(1, x.shape[1])))
    edges = [at * len(x) // count for at in range(count + 1)]
    yield from map(slice, edges[:-1], edges[1:])


def finite_rows(x: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
    """Which images have features that are finite."""
    return torch.cat([x[rows].isfinite().all(1) for rows in in_chunks(x)])


def all_finite(x: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> bool:
    """Whether all labelled images have features that are finite."""
    return bool((finite_rows(x) | (labels < 0)).all())


def only(x: Tensor, usable: Bool[Tensor, " n"]) -> Tensor:
    """The usable rows; where that is all of them, no copy."""
    return x if usable.all() else x[usable]


def require_sound(features: Float[Tensor, "n d"], test_features: Float[Tensor, "m d"]) -> None:
    """Raise ValueError if there is nothing to learn from or to test on; NotMeasured if features are not finite."""
    if len(features) == 0 or len(test_features) == 0:
        raise ValueError(
            f"a linear probe needs labelled images to learn from and to test on; got {len(features)} and "
            f"{len(test_features)}; give data with labels of 0 or more"
        )
    for name, x in (("training", features), ("test", test_features)):
        broken = int((~finite_rows(x)).sum())
        if broken:
            raise NotMeasured(
                f"{broken} of {len(x)} {name} images have features that are not finite; encode them in float32, or "
                "use an earlier checkpoint"
            )


def moments(features: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """Mean and deviation of each feature; a constant one has an infinite deviation, so that it becomes 0."""
    deviation, mean = torch.std_mean(features.float(), dim=0, correction=0)
    # A constant feature varies by rounding alone, which must not be blown up to a deviation of 1.
    constant = deviation <= 1e-6 * mean.abs()
    return mean, deviation.masked_fill(constant, torch.inf)


def standardised(
    features: Float[Tensor, "n d"], mean: Float[Tensor, " d"], deviation: Float[Tensor, " d"], ones: int = 0
) -> Float[Tensor, "n _"]:
    """Each feature less its mean, over its deviation, in float32; behind them `ones` columns of ones."""
    n, d = features.shape
    made = features.new_ones((n, d + ones), dtype=torch.float32)
    for rows in in_chunks(features):
        torch.sub(features[rows].float(), mean, out=made[rows, :d])
        made[rows, :d] /= deviation
    return made
