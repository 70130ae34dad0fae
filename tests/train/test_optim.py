"""Optimisers against slow loops; parameter groups; the rate at every step."""

import numpy as np
import pytest
import torch
from torch import nn

from resmom.losses.residual import Residual
from resmom.nets.backbones import MoCoViT, build_backbone
from resmom.nets.teacher import Ema
from resmom.train.optim import AdamW, Lars, Sgd, build_optimizer, parameter_groups, set_decay, set_rate
from resmom.train.plan import Train, learning_rate, plan, residual_weight, scaled
from resmom.train.step import clip_each
from tests import oracle


@pytest.mark.parametrize("form", ["mocov3", "clipped"])
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
    for form in ("mocov3", "clipped"):
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


def test_each_optimiser_lowers_a_quadratic() -> None:
    for config, rate in ((Sgd(weight_decay=0.0), 0.05), (AdamW(weight_decay=0.0), 0.05), (Lars(trust=0.1), 0.1)):
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


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lower train\.warmup_epochs"):
        Train(epochs=5, warmup_epochs=10)
    with pytest.raises(ValueError, match="at least 1"):
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
