"""Frozen features made ready for a linear classifier."""

import torch
from jaxtyping import Float
from torch import Tensor


def require_sound(features: Float[Tensor, "n d"], test_features: Float[Tensor, "m d"]) -> None:
    """Raise ValueError if there is nothing to learn from or to test on, or for features that are not finite."""
    if len(features) == 0 or len(test_features) == 0:
        raise ValueError(
            f"a linear probe needs labelled images to learn from and to test on; got {len(features)} and "
            f"{len(test_features)}; give data with labels of 0 or more"
        )
    for name, x in (("training", features), ("test", test_features)):
        broken = int((~x.isfinite().all(1)).sum())
        if broken:
            raise ValueError(
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
    features: Float[Tensor, "n d"], mean: Float[Tensor, " d"], deviation: Float[Tensor, " d"]
) -> Float[Tensor, "n d"]:
    """Each feature less its mean, over its deviation, in float32."""
    return (features.float() - mean) / deviation
