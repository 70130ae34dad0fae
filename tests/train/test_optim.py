"""Optimisers against slow loops; parameter groups; the rate at every step."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from resmom.checkpoint import load_checkpoint, save_checkpoint
from resmom.losses.residual import Residual
from resmom.nets.backbones import Backbone, MoCoViT, build_backbone
from resmom.nets.encoder import PatchEncoder
from resmom.nets.teacher import Ema
from resmom.nets.vit import ViTBody
from resmom.train.optim import Adam, AdamW, Lars, Sgd, Steady, build_optimizer, parameter_groups, set_decay, set_rate
from resmom.train.plan import Plan, Train, learning_rate, plan, residual_weight, scaled
from resmom.train.state import State, load_state, state_dict
from resmom.train.step import Rules, clip_each, train_step
from tests import oracle, toy


@pytest.mark.parametrize("form", ["mocov3", "clipped", "paper"])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_lars_is_the_oracle_over_five_steps(form: str, decay: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False)).double()
    nn.init.zeros_(network[2].weight)  # a zero weight must not divide by zero
    optimizer = build_optimizer(Lars(weight_decay=decay, trust=0.02, form=form), network)
    expected = {
        n: (p.detach().numpy().copy(), np.zeros_like(p.detach().numpy())) for n, p in network.named_parameters()
    }
    for lr in (0.003, 0.3, 0.2, 0.1, 0.05):
        for name, p in network.named_parameters():
            p.grad = torch.randn_like(p) if name != "0.bias" else torch.zeros_like(p)
            w, v = expected[name]
            expected[name] = oracle.lars_step(w, p.grad.numpy(), v, lr, decay, 0.9, 0.02, form)
        set_rate(optimizer, lr)
        optimizer.step()
    for name, p in network.named_parameters():
        np.testing.assert_allclose(p.detach().numpy(), expected[name][0], rtol=1e-10, atol=1e-14)


def test_lars_at_rate_zero_moves_nothing() -> None:
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    for form in ("mocov3", "clipped", "paper"):
        optimizer = build_optimizer(Lars(form=form), network)
        network.weight.grad, network.bias.grad = torch.ones(2, 3), torch.ones(2)
        set_rate(optimizer, 0.0)
        optimizer.step()
        assert torch.equal(network.weight, before)


def test_groups_spare_vectors_and_tokens_and_leave_out_frozen_weights() -> None:
    vit = build_backbone(MoCoViT("tiny", image=32, patch=8))
    groups = parameter_groups(vit, 0.1, decay_vectors=False)
    names = {id(p): name for name, p in vit.named_parameters()}
    decayed, free = ({names[id(p)] for p in group["params"]} for group in groups)
    assert groups[0]["weight_decay"] == 0.1 and groups[1]["weight_decay"] == 0.0
    assert all(name.endswith("weight") and "norm" not in name for name in decayed)
    assert "body.cls_token" in free and all("norm" in n or n.endswith(("bias", "token")) for n in free)
    assert not any("pos_embed" in n or "patch_embed.proj" in n for n in decayed | free)
    [everything] = parameter_groups(vit, 0.1, decay_vectors=True)
    assert len(everything["params"]) == len(decayed | free)


def test_steady_parameters_keep_their_rate_and_are_decayed_as_the_others() -> None:
    network = nn.Sequential(OrderedDict(body=nn.Linear(3, 2), head=nn.Linear(2, 2), head2=nn.Linear(2, 2)))
    names = {id(p): name for name, p in network.named_parameters()}
    for config, free in ((AdamW(weight_decay=0.1), 0.0), (Sgd(weight_decay=0.1), 0.1)):
        optimizer = build_optimizer(config, network, steady=Steady(("head.",), 0.05))
        set_rate(optimizer, 0.3)
        found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
        assert found == {
            f"{part}.{kind}": (0.05 if part == "head" else 0.3, decay)
            for part in ("body", "head", "head2")
            for kind, decay in (("weight", 0.1), ("bias", free))
        }


@pytest.mark.parametrize("gated", [False, True])
def test_what_a_config_says_reaches_torchs_optimiser(gated: bool) -> None:
    for config in (AdamW(betas=(0.8, 0.95)), Adam(betas=(0.8, 0.95))):
        assert build_optimizer(config, nn.Linear(2, 2), gated=gated).defaults["betas"] == (0.8, 0.95)
    for momentum in (0.7, 0.0):
        made = build_optimizer(Sgd(momentum=momentum), nn.Linear(2, 2), gated=gated)
        assert made.defaults["momentum"] == momentum
        # The buffer is there before the first step, which may be skipped, where a flag decides.
        assert len(made.state) == (2 if gated and momentum else 0)


def test_lars_of_vectors_alone_is_plain_momentum() -> None:
    network = nn.BatchNorm1d(2)
    optimizer = build_optimizer(Lars(weight_decay=0.1), network)
    set_rate(optimizer, 0.5)
    for _ in range(2):
        network.weight.grad, network.bias.grad = torch.ones(2), torch.zeros(2)
        optimizer.step()
    torch.testing.assert_close(network.weight.detach(), torch.full((2,), 1 - 0.5 * 1 - 0.5 * 1.9))
    assert not network.bias.any()


def test_each_optimiser_lowers_a_quadratic() -> None:
    for config, rate in (
        (Sgd(weight_decay=0.0), 0.05),
        (AdamW(weight_decay=0.0), 0.05),
        (Adam(), 0.05),
        (Lars(trust=0.1), 0.1),
    ):
        torch.manual_seed(0)
        network = nn.Linear(4, 4)
        optimizer = build_optimizer(config, network)
        set_rate(optimizer, rate)
        x = torch.randn(32, 4)
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = (network(x) - x).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0], config


def test_rate_follows_the_batch_and_the_schedule() -> None:
    train = Train(epochs=10, batch=512, warmup_epochs=2, warmup_start=0.01)
    assert scaled(0.3, 512) == pytest.approx(0.6)
    assert learning_rate(train, 0.3, 0, 5) == pytest.approx(0.01)
    assert learning_rate(train, 0.3, 10, 5) == pytest.approx(0.6)
    assert learning_rate(train, 0.3, 30, 5) == pytest.approx(0.3)
    assert learning_rate(train, 0.3, 50, 5) == pytest.approx(0.0, abs=1e-12)
    first = plan(train, 0.3, Ema(0.99, 1.0), Residual(2.0, schedule="rise"), 0, 5)
    assert (first.momentum, first.residual) == (pytest.approx(0.99), pytest.approx(0.0))
    last = plan(train, 0.3, Ema(0.99, 1.0), Residual(2.0, schedule="rise"), 50, 5)
    assert (last.momentum, last.residual) == (pytest.approx(1.0), pytest.approx(2.0))
    assert residual_weight(Residual(2.0, schedule="fall"), 0, 50) == pytest.approx(2.0)
    assert residual_weight(Residual(2.0), 17, 50) == 2.0


def adam_oracle(path: list[np.ndarray], w: np.ndarray, rates: tuple[float, ...], decay: float) -> np.ndarray:
    """Kingma and Ba 2015, Algorithm 1, with the decay added to the gradient."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (gradient, lr) in enumerate(zip(path, rates, strict=True), start=1):
        g = gradient + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


@pytest.mark.parametrize("gated", [False, True])
def test_adam_is_torchs_and_the_papers_with_l2_on_everything(gated: bool) -> None:
    torch.manual_seed(0)
    rates = (0.0, 4e-6, 0.3, 0.2, 0.04)
    ours, theirs = (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    start = {name: p.detach().numpy().copy() for name, p in ours.named_parameters()}
    path: dict[str, list[np.ndarray]] = {name: [] for name in start}
    optimizer = build_optimizer(Adam(weight_decay=0.1), ours, gated=gated)
    reference = torch.optim.Adam(theirs.parameters(), lr=1.0, weight_decay=0.1)
    for lr in rates:
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
            path[name].append(p.grad.numpy().copy())
        set_rate(optimizer, lr)
        set_rate(reference, lr)
        optimizer.step()
        reference.step()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(p.detach().numpy(), adam_oracle(path[name], start[name], rates, 0.1), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("gated", [False, True])
def test_all_of_adams_state_is_in_the_checkpoint(gated: bool, tmp_path: Path) -> None:
    """Two steps, the file, two more in a fresh run: bit for bit four steps in one go, moments and counts included."""

    def fresh(seed: int) -> State:
        made = toy.method("byol", seed)
        return State(made, build_optimizer(Adam(weight_decay=0.01), made.student, gated=gated))

    def go(state: State, *steps: int) -> None:
        for step in steps:
            train_step(
                state, toy.batch(step), Plan(lr=0.01, momentum=0.9, residual=0.0), Rules(Residual(), gated=gated)
            )

    whole, first, second = fresh(0), fresh(0), fresh(1)
    go(whole, 0, 1, 2, 3)
    go(first, 0, 1)
    save_checkpoint(tmp_path / "last.pt", {"state": state_dict(first)})
    saved = load_checkpoint(tmp_path / "last.pt")["state"]
    assert {key for slot in saved["optimizer"]["state"].values() for key in slot} == {"step", "exp_avg", "exp_avg_sq"}
    load_state(second, saved)
    go(second, 2, 3)
    want, found = state_dict(whole), state_dict(second)
    for part in ("student", "teacher"):
        assert all(torch.equal(value, found[part][name]) for name, value in want[part].items())
    for number, slot in want["optimizer"]["state"].items():
        assert all(torch.equal(value, found["optimizer"]["state"][number][name]) for name, value in slot.items())


def test_the_rate_drops_where_it_is_told() -> None:
    train = Train(epochs=10, batch=512, warmup_epochs=2, drops=(0.5, 0.75), drop_factor=0.2)
    found = [learning_rate(train, 1e-3, step, 5) for step in (0, 5, 10, 24, 25, 37, 38, 50)]
    assert found == pytest.approx([0.0, 1e-3, 2e-3, 2e-3, 4e-4, 4e-4, 8e-5, 8e-5])
    longer = replace(train, steps=1000, warmup_steps=20)  # a length in steps keeps the shares
    assert [learning_rate(longer, 1e-3, step, 5) for step in (499, 500)] == pytest.approx([2e-3, 4e-4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drops": (0.5, 1.0)}, "between 0 and 1"),
        ({"drops": (0.0,)}, "between 0 and 1"),
        ({"drops": (0.5,), "drop_factor": 1.0}, "between 0 and 1"),
        ({"drops": (0.5,), "final_lr": 1e-6}, "leave one of them out"),
    ],
)
def test_impossible_drops_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Train(**change)


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lower train\.warmup_epochs"):
        Train(epochs=5, warmup_epochs=10)
    with pytest.raises(ValueError, match="at least 2 images"):
        Train(batch=0)


def test_weight_decay_follows_its_own_cosine() -> None:
    """Of the decayed group alone: biases and gains stay free of it."""
    network = torch.nn.Linear(3, 2)
    optim = AdamW(weight_decay=0.04, final_decay=0.4)
    optimizer = build_optimizer(optim, network)
    train = Train(epochs=10, warmup_epochs=2)
    for step, expected in ((0, 0.04), (25, 0.22), (50, 0.4)):
        decay = plan(train, 0.3, Ema(), Residual(), step, 5, optim).weight_decay
        assert decay == pytest.approx(expected)
        set_decay(optimizer, decay)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [pytest.approx(expected), 0.0]
    assert plan(train, 0.3, Ema(), Residual(), 3, 5, AdamW()).weight_decay is None
    with pytest.raises(ValueError, match=r"optim\.final_decay"):
        AdamW(weight_decay=0.0, final_decay=0.4)


def test_the_rate_ends_where_it_is_told() -> None:
    train = Train(epochs=10, warmup_epochs=2, final_lr=1e-3)
    assert learning_rate(train, 0.3, 50, 5) == pytest.approx(1e-3)


def test_each_gradient_is_clipped_by_itself() -> None:
    short, long = torch.tensor([0.3, 0.4]), torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    given = [short.clone(), long.clone()]
    clip_each(given, 1.0)
    torch.testing.assert_close(given[0], short)
    torch.testing.assert_close(given[1], long / 5)


@pytest.mark.parametrize("gated", [False, True])
def test_layers_and_patches_have_their_share_of_the_rate(gated: bool) -> None:
    """By hand for two blocks: .5^3 before them (a fifth of that for patches), .5^2, .5, then 1 for norm and heads."""
    student = toy.method("dinov2").student
    config = AdamW(weight_decay=0.1, decay_tokens=True, layer_decay=0.5, patch_rate=0.2)
    body = ViTBody(4, 1, 12, depth=2, heads=2)
    network = PatchEncoder(Backbone(body, 12), student.projector, student.prototypes)
    optimizer = build_optimizer(config, network, gated=gated)
    set_rate(optimizer, 0.8)
    names = {id(p): name for name, p in network.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == dict(network.named_parameters()).keys()
    for name, rate in rates.items():
        level = 0 if name == "mask_token" or name.endswith(("pos_embed", "cls_token")) or "patch_embed" in name else 3
        level = int(name.split(".")[3]) + 1 if ".blocks." in name else level
        share = 0.2 if "patch_embed" in name else 1.0
        assert rate == pytest.approx(0.8 * share * 0.5 ** (3 - level)), name
    decayed = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {name for name, p in network.named_parameters() if p.ndim > 1}


def test_without_layer_decay_groups_are_as_they_were() -> None:
    student = toy.method("dinov2").student
    groups = build_optimizer(AdamW(), student, gated=False).param_groups
    assert len(groups) == 2 and not any("scale" in group for group in groups)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_decay": 0.0}, "optim.layer_decay is 0.0; it must be above 0 and at most 1"),
        ({"layer_decay": 1.1}, "optim.layer_decay is 1.1; it must be above 0 and at most 1"),
        ({"patch_rate": -0.1}, "optim.patch_rate is -0.1; it must be 0"),
    ],
)
def test_shares_that_cannot_be_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdamW(**change)
