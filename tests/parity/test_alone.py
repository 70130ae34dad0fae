"""Methods without a teacher against the numbers that their authors' code gave (see `record_alone.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.barlow import BarlowTwins, BarlowTwinsMethod
from resmom.methods.simsiam import SimSiam, SimSiamMethod
from resmom.methods.vicreg import VICReg, VICRegMethod
from resmom.nets.backbones import Backbone
from resmom.train.optim import ALL_SCHEDULED, Lars, OptimConfig, Sgd, Steady, build_optimizer
from resmom.train.plan import Plan, Train, learning_rate
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests.parity.setting import Body, BodySetting, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
S = BodySetting()
LARS = Lars(weight_decay=S.weight_decay, trust=S.trust)
SIMSIAM = {"backbone.body.": "encoder.", "projector.": "encoder.fc.", "predictor.": "predictor."}
PROJECTED = {"backbone.body.": "backbone.", "projector.": "projector."}


def theirs(name: str, names: dict[str, str]) -> str:
    (begin,) = [begin for begin in names if name.startswith(begin)]
    return names[begin] + name.removeprefix(begin)


def five_steps(
    method: Method,
    optim: OptimConfig,
    recorded: dict[str, Any],
    names: dict[str, str],
    *,
    lowest: float = 0.0,
    steady: Steady = ALL_SCHEDULED,
    apart: tuple[str, ...] = (),
) -> None:
    """Five steps of forward, backward and optimiser must be those recorded, batch statistics included.

    `lowest` is by how much their loss is below ours; `apart`, what one of the two does not have, or has otherwise:
    biases that the next BatchNorm takes out again, its running mean, which has them in, and what keeps no statistics.
    """
    student = method.double().student
    with torch.no_grad():
        for name, p in student.named_parameters():
            p.copy_(weight(theirs(name, names), p))
    state = State(method, build_optimizer(optim, student, steady=steady))
    for step in range(S.steps):
        batch, now = Batch(S.views(step), torch.arange(S.images)), Plan(recorded["lr"][step][0], 0.0, 0.0)
        metrics = train_step(state, batch, now, Rules(Residual()))
        assert metrics["loss"].item() - lowest == pytest.approx(recorded["losses"][step], rel=1e-9), f"step {step}"
    ours = {theirs(name, names): values for name, values in fingerprints(student).items()}
    assert set(apart) <= ours.keys() | recorded["student"].keys()
    assert_same(
        {name: values for name, values in ours.items() if name not in apart},
        {name: values for name, values in recorded["student"].items() if name not in apart},
    )


def test_five_simsiam_steps() -> None:
    """The predictor keeps its rate. Their loss is the negated cosine, 1 below ours.

    Before a BatchNorm they have a frozen bias at the end of the projector, and we have one in the predictor.
    """
    config = SimSiam(hidden=S.width, out=S.out, predictor_hidden=S.predictor)
    method = SimSiamMethod(Backbone(Body(S.width), S.width), config)
    recorded, steady = RECORDED["facebookresearch/simsiam"], Steady(("predictor.",), S.lr)
    apart = ("encoder.fc.6.bias", "encoder.fc.7.running_mean", "predictor.0.bias", "predictor.1.running_mean")
    optim = Sgd(weight_decay=S.weight_decay)
    five_steps(method, optim, recorded, SIMSIAM, lowest=1.0, steady=steady, apart=apart)
    for step, rates in enumerate(recorded["lr"]):
        whole = Train(epochs=S.steps, batch=256, warmup_epochs=0)
        assert rates == pytest.approx([learning_rate(whole, S.lr, step, 1), S.lr], rel=1e-12)


def test_five_barlow_twins_steps() -> None:
    """At scale 1, which their loss does not have. Their last BatchNorm is part of the loss here."""
    config = BarlowTwins(redundancy=0.0051, scale=1.0, hidden=S.hidden, out=S.out)
    method = BarlowTwinsMethod(Backbone(Body(2048), 2048), config)
    apart = ("bn.running_mean", "bn.running_var")
    five_steps(method, LARS, RECORDED["facebookresearch/barlowtwins"], PROJECTED, apart=apart)


def test_five_vicreg_steps() -> None:
    """Half of the paper's weight of the variance: their code halves the hinge. They have biases before BatchNorms."""
    config = VICReg(variance=12.5, hidden=S.hidden, out=S.out)
    method = VICRegMethod(Backbone(Body(S.width), S.width), config)
    apart = tuple(f"projector.{n}" for n in ("0.bias", "1.running_mean", "3.bias", "4.running_mean"))
    five_steps(method, LARS, RECORDED["facebookresearch/vicreg"], PROJECTED, apart=apart)


@pytest.mark.parametrize("repository", ["facebookresearch/barlowtwins", "facebookresearch/vicreg"])
def test_the_rate_ends_at_a_thousandth(repository: str) -> None:
    before, base = S.written_warmup - S.warmup, S.lars_lr * 256 / S.images
    train = Train(epochs=before + S.steps, batch=S.images, warmup_epochs=S.written_warmup, final_lr=1e-3 * S.lars_lr)
    for step, rates in enumerate(RECORDED[repository]["lr"]):
        assert rates[0] == pytest.approx(learning_rate(train, base, before + step, 1), rel=1e-12)
