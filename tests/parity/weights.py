"""What is kept of the weights of a network in place of all of them: enough to tell that another one has the same."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

Fingerprints = dict[str, list[float]]


def fingerprint(tensor: Tensor) -> list[float]:
    """Its norm, and the sum of its entries, each times the cosine of its place.

    Of another tensor with this norm, one whose entries have changed places or signs included, the sum is another.
    """
    entries = tensor.detach().double().flatten()
    waves = torch.arange(len(entries), dtype=torch.float64).cos()
    return [entries.norm().item(), (entries @ waves).item()]


def fingerprints(network: nn.Module, *beginnings: str) -> Fingerprints:
    """Those of a network's parameters and running statistics whose names begin so (all of them by default)."""
    return {name: fingerprint(t) for name, t in _tensors(network) if name.startswith(beginnings or "")}


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            yield name, buffer


def assert_same(ours: Fingerprints, recorded: Fingerprints) -> None:
    """The same names, and under each of them the same numbers to 1e-8 of the norm."""
    assert ours.keys() == recorded.keys(), sorted(ours.keys() ^ recorded.keys())
    for name, (norm, waves) in ours.items():
        close = 1e-8 * recorded[name][0] + 1e-12
        assert [norm, waves] == pytest.approx(recorded[name], rel=0, abs=close), name
