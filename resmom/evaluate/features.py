"""What a frozen network says of clean images."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.types import Encoding


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def encodings(network: nn.Module, batches: Iterable[Float[Tensor, "n c h w"]]) -> Encoding:
    """What `network` (view -> Encoding) says of all batches: float32, on the CPU, row after row.

    Running statistics are used and not changed. Raises ValueError if there is no batch.
    """
    parts: list[Encoding] = []
    with frozen(network):
        parts.extend(_on_cpu(network(batch)) for batch in batches)
    if not parts:
        raise ValueError("there are no images to encode; give at least one batch")
    p = [part.p for part in parts if part.p is not None]
    return Encoding(
        torch.cat([part.h for part in parts]), torch.cat([part.z for part in parts]), torch.cat(p) if p else None
    )


def _on_cpu(encoding: Encoding) -> Encoding:
    p = None if encoding.p is None else encoding.p.float().cpu()
    return Encoding(encoding.h.float().cpu(), encoding.z.float().cpu(), p)


def features(network: nn.Module, batches: Iterable[Float[Tensor, "n c h w"]]) -> Float[Tensor, "m d"]:
    """The representations h of all batches; see `encodings`."""
    return encodings(network, batches).h
