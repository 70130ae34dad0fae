"""Frozen for a while: every combination of modes comes back, and so does the gradient."""

import itertools

import pytest
import torch
from torch import nn

from resmom.evaluate.features import frozen


@pytest.mark.parametrize("modes", list(itertools.product([True, False], repeat=4)))
def test_every_combination_of_modes_comes_back(modes: tuple[bool, ...]) -> None:
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.Dropout()))
    modules = list(network.modules())
    for module, training in zip(modules, modes, strict=True):
        module.training = training
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with frozen(network):
        assert not any(module.training for module in modules)
        assert not torch.is_grad_enabled()
        network(torch.randn(5, 3) + 4)
    assert tuple(module.training for module in modules) == modes
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert torch.is_grad_enabled()


def test_a_gradient_that_was_off_stays_off() -> None:
    with torch.no_grad():
        with frozen(nn.Linear(2, 2)):
            pass
        assert not torch.is_grad_enabled()
