"""In which precision losses are computed."""

import torch
from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """`x` in float32, or as it is if it is already float64: half precision ends where the loss begins."""
    return x if x.dtype == torch.float64 else x.float()


def alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as `exact` has them, in float64 if one of them is: matrix products take no two precisions."""
    made = [exact(x) for x in tensors]
    double = any(x.dtype == torch.float64 for x in made)
    return tuple(x.double() if double else x for x in made)


def full(x: Tensor) -> torch.autocast:
    """The context in which products of such tensors are not rounded to half precision again by an autocast around."""
    return torch.autocast(x.device.type, enabled=False)
