"""Whole steps against the numbers that solo-learn's code gave (see `record_sololearn.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.byol import Byol, ByolMethod
from resmom.methods.mocov2 import MoCoV2, MoCoV2Method
from resmom.methods.nnclr import NNCLR, NNCLRMethod
from resmom.methods.simclr import SimCLR, SimCLRMethod
from resmom.nets.backbones import Backbone, ResNet, build_backbone
from resmom.nets.teacher import Ema
from resmom.train.optim import Lars, OptimConfig, Sgd, build_optimizer
from resmom.train.plan import Plan, Train, plan
from resmom.train.state import State, networks_of
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests.parity.setting import Body, BodySetting, numbers, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
SOLO = RECORDED["vturrisi/solo-learn"]
S = BodySetting()
LARS = Lars(weight_decay=S.weight_decay, trust=S.clipped_trust, form="clipped")


def theirs(name: str) -> str:
    """Our parameter's name as solo-learn calls it, at the student."""
    return name.replace("backbone.body.", "backbone.")


def body() -> Backbone:
    return Backbone(Body(S.width), S.width)


def five_steps(method: Method, optim: OptimConfig, recorded: dict[str, Any]) -> None:
    """Forward, backward, optimiser and teacher must be those recorded, batch statistics included."""
    networks = networks_of(method.double())
    with torch.no_grad():
        for network in networks.values():
            for name, p in network.named_parameters():
                p.copy_(weight(theirs(name), p))
    state = State(method, build_optimizer(optim, method.student))
    for step in range(S.steps):
        momentum = recorded["momentum"][step] if method.teacher is not None else 0.0
        batch, now = Batch(S.views(step), torch.arange(S.images)), Plan(recorded["lr"][step], momentum, 0.0)
        metrics = train_step(state, batch, now, Rules(Residual()))
        assert metrics["loss"].item() == pytest.approx(recorded["losses"][step], rel=1e-9), f"step {step}"
    for part, network in networks.items():
        begin = "momentum_" if part == "teacher" else ""
        ours = {begin + theirs(name): values for name, values in fingerprints(network).items()}
        assert_same(ours, recorded[part])


def rows(*shape: int) -> torch.Tensor:
    """The start of a queue as recorded: unit vectors along the second dimension."""
    return torch.nn.functional.normalize(numbers("queue", shape), dim=1)


def test_five_byol_steps() -> None:
    config = Byol(hidden=S.hidden, out=S.out, predictor_hidden=S.predictor)
    five_steps(ByolMethod(body(), config), LARS, SOLO["steps"]["byol"])


def test_five_simclr_steps() -> None:
    config = SimCLR(S.temperature, hidden=S.hidden, out=S.out)
    five_steps(SimCLRMethod(body(), config), LARS, SOLO["steps"]["simclr"])


def test_five_nnclr_steps() -> None:
    """The nearest neighbours of the first step are among rows drawn at random, and later among projections too."""
    config = NNCLR(S.temperature, S.queue, hidden=S.hidden, out=S.out, predictor_hidden=S.predictor)
    method, recorded = NNCLRMethod(body(), config), SOLO["steps"]["nnclr"]
    method.double().queue.copy_(rows(S.queue, S.out))
    five_steps(method, LARS, recorded)
    torch.testing.assert_close(method.queue.flatten().tolist(), recorded["queue"], rtol=1e-7, atol=1e-9)
    assert method.pointer == S.steps * S.images % S.queue


def test_five_mocov2plus_steps() -> None:
    """Their one buffer holds two queues, keys of the first view before those of the second, a key a column."""
    config = MoCoV2(S.temperature, hidden=S.hidden, out=S.out, queue=S.queue, symmetric=True)
    method, recorded = MoCoV2Method(body(), config), SOLO["steps"]["mocov2plus"]
    assert method.double().queue1 is not None
    start = rows(2, S.out, S.queue)
    queues = (method.queue1, method.queue)
    for queue, columns in zip(queues, start, strict=True):
        queue.rows.copy_(columns.T)
    five_steps(method, Sgd(weight_decay=S.weight_decay), recorded)
    found = [queue.rows.T.flatten() for queue in queues]
    torch.testing.assert_close(torch.cat(found).tolist(), recorded["queue"], rtol=1e-7, atol=1e-9)
    assert {int(queue.pointer) for queue in queues} == {S.steps * S.images % S.queue}


@pytest.mark.parametrize("name", ["byol", "mocov2plus"])
def test_schedules(name: str) -> None:
    """The same momenta; the same rates but for one step: their warm-up ends one step before ours."""
    recorded, base = SOLO["steps"][name], {"byol": S.lars_lr, "mocov2plus": S.lr}[name]
    train = Train(epochs=S.steps, batch=256, warmup_epochs=S.warmup, warmup_start=3e-5)
    ours = [plan(train, base, Ema(S.momentum, 1.0), Residual(), step, 1) for step in range(S.steps)]
    assert [now.momentum for now in ours] == pytest.approx(recorded["momentum"], rel=1e-12)
    rates = [now.lr for now in ours]
    assert rates[0] == recorded["lr"][0]
    assert rates[S.warmup :] == pytest.approx(recorded["lr"][S.warmup :], rel=1e-12)
    assert recorded["lr"][S.warmup - 1] == base > rates[S.warmup - 1]


@torch.no_grad()
def test_the_cifar_body() -> None:
    """ResNet-18 as far as its first stage: convolution of 3 x 3 with stride 1 and padding 2, and no max-pool."""
    made = build_backbone(ResNet(18, stem="small_pad2")).double()
    made.body.layer2 = made.body.layer3 = made.body.layer4 = torch.nn.Identity()
    for name, p in made.named_parameters():
        p.copy_(weight(name.replace("body.", "backbone."), p))
    said = made(numbers("images", (4, 3, 16, 16)))[1].mean(0)
    torch.testing.assert_close(said.tolist(), SOLO["cifar body"], rtol=1e-9, atol=1e-12)
