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
    # Set one by one: a module that its owner froze must not come back in training mode because its parent does.
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def encodings(network: nn.Module, batches: Iterable[Float[Tensor, "_ c height width"]]) -> Encoding:
    """What `network` (view -> Encoding) says of all batches: h, z and p in float32, on the CPU, row after row.

    The last batch may be smaller. The batches lie on the network's device, and an autocast around the call is
    respected. Running statistics are used and not changed. Raises ValueError if there is no batch.
    """
    with frozen(network):
        parts = [_on_cpu(network(batch)) for batch in batches]
    _some(parts)
    p = [part.p for part in parts if part.p is not None]
    return Encoding(
        torch.cat([part.h for part in parts]), torch.cat([part.z for part in parts]), torch.cat(p) if p else None
    )


def features(network: nn.Module, batches: Iterable[Float[Tensor, "_ c height width"]]) -> Float[Tensor, "m d"]:
    """The representations h of all batches, as `encodings` gives them, without keeping the rest."""
    with frozen(network):
        parts = [_plain(network(batch).h) for batch in batches]
    _some(parts)
    return torch.cat(parts)


def _plain(x: Tensor) -> Tensor:
    return x.float().cpu()


def _on_cpu(encoding: Encoding) -> Encoding:
    p = None if encoding.p is None else _plain(encoding.p)
    return Encoding(_plain(encoding.h), _plain(encoding.z), p)


def _some(parts: list[Encoding] | list[Tensor]) -> None:
    if not parts:
        raise ValueError("there are no images to encode; give at least one batch")
