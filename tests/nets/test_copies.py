"""Copies of modules: apart from the original, and also of those that keep what they computed."""

import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from resmom.nets.copies import copied


class Keeps(nn.Module):
    """Keeps what it said, as many transformers keep their attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.last: dict[str, list[Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        said = self.layer(x).relu()
        self.last = {"maps": [said]}
        return said


def test_what_a_module_computed_and_keeps_is_copied_without_its_graph() -> None:
    module = nn.Sequential(Keeps())
    said = module(torch.randn(2, 3))
    other = copied(module)
    (kept,) = other[0].last["maps"]
    assert torch.equal(kept, said) and kept.is_leaf and kept is not said
    with torch.no_grad():
        other[0].layer.weight.zero_()
    assert module[0].layer.weight.abs().sum() > 0 and module[0].last["maps"][0] is said


@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_torchs_old_norms_of_weights_are_copied_and_learn(wrap: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch has newer ones, and people the old
        module = wrap(nn.Linear(3, 3))  # type: ignore[operator]
    module(torch.randn(2, 3))
    x, other = torch.randn(4, 3), copied(module).eval()
    assert torch.equal(other(x), module.eval()(x))
    other(x).sum().backward()
    assert all(p.grad is not None for p in other.parameters()) and all(p.grad is None for p in module.parameters())


def test_what_cannot_be_copied_is_told() -> None:
    module = nn.Linear(2, 2)
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(
        ValueError, match=r"Linear cannot be copied: .*lock.*; what it holds beside its weights must be"
    ):
        copied(module)


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.jit itself
        return torch.jit.script(nn.Linear(3, 3))


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.trace(nn.Linear(3, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("make", [scripted, traced, lambda: nn.Sequential(nn.Linear(3, 3), scripted())])
def test_torchscript_is_refused_whose_copies_do_not_train(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(
        ValueError, match=r"^\w+(, in its part 1,)? is TorchScript, .*; give the module as it was before torch\.jit"
    ):
        copied(make())
