"""Clipping part by part: backbone, heads, and heads of patches."""

import pytest
import torch

from resmom.losses.residual import Residual
from resmom.train.clip import clip_parts
from resmom.train.optim import AdamW, build_optimizer
from resmom.train.plan import Plan, Train
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from tests import toy

PARTS = {
    "backbone": ("backbone.", "mask_token"),
    "head": ("projector.", "prototypes."),
    "places": ("patch_projector.", "patch_prototypes."),
}


def norms(network: torch.nn.Module) -> dict[str, float]:
    """The norm of each part's gradient."""
    found = {}
    for part, names in PARTS.items():
        parts = [p.grad.flatten() for name, p in network.named_parameters() if name.startswith(names)]
        found[part] = torch.cat(parts).norm().item()
    return found


def test_the_parts_are_all_there_is() -> None:
    names = [name for name, _ in toy.method("dinov2").student.named_parameters()]
    begun = {part: [name for name in names if name.startswith(found)] for part, found in PARTS.items()}
    assert sorted(name for found in begun.values() for name in found) == sorted(names) and all(begun.values())


@pytest.mark.parametrize("gated", [False, True])
def test_each_part_is_clipped_by_itself(gated: bool) -> None:
    """A norm between those of the parts: the shorter gradients stay as they are."""
    results = []
    for most in (0.0, None):
        made = toy.method("dinov2")
        state = State(made, build_optimizer(AdamW(), made.student, gated=gated))
        most = most if most is not None else (results[0]["backbone"] + results[0]["head"]) / 2
        rules = Rules(Residual(), clip=most, clip_parts=True, gated=gated)
        metrics = train_step(state, toy.batch(), Plan(0.1, 0.9, 0.0), rules)
        results.append(norms(made.student))
        whole = sum(norm**2 for norm in results[0].values()) ** 0.5
        assert metrics["grad_norm"].item() == pytest.approx(whole, rel=1e-9)  # of all of it, before it is clipped
    free, clipped = results
    assert min(free.values()) < most < max(free.values())
    for part, norm in free.items():
        assert clipped[part] == pytest.approx(min(norm, most), rel=1e-5), part


def test_what_is_no_encoder_is_one_part() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    network(torch.ones(5, 3)).sum().backward()
    clip_parts(network, 0.1)
    assert torch.cat([p.grad.flatten() for p in network.parameters()]).norm().item() == pytest.approx(0.1, rel=1e-4)


def test_it_cannot_be_clipped_in_two_ways() -> None:
    with pytest.raises(ValueError, match=r"train.clip_each .* train.clip_parts .*; leave one of them out"):
        Train(clip=1.0, clip_each=True, clip_parts=True)
