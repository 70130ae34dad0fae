"""DINO's head, loss and five steps against the numbers that the authors' published code gave (see `record.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.losses.residual import Residual
from resmom.methods.dino import Dino, DinoMethod
from resmom.nets.backbones import Backbone
from resmom.nets.heads import Prototypes, gelu_mlp
from resmom.nets.teacher import Ema
from resmom.schedule import by_epoch
from resmom.train.optim import AdamW, build_optimizer
from resmom.train.plan import Plan, Train, plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests.parity.setting import Convolution, DinoSetting, numbers, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
DINO = RECORDED["facebookresearch/dino"]
S = DinoSetting()


def canonical(name: str) -> str:
    """Our parameter's name as DINO calls it."""
    for ours, theirs in (
        ("backbone.body.", "backbone."),
        ("projector.", "head.mlp."),
        ("prototypes.directions.weight", "head.last_layer.weight_v"),
        ("prototypes.gains", "head.last_layer.weight_g"),
    ):
        name = name.replace(ours, theirs)
    return name


@torch.no_grad()
def test_head() -> None:
    mlp, prototypes = gelu_mlp(24, S.hidden, S.out).double(), Prototypes(S.out, S.prototypes).double()
    for prefix, part in (("projector.", mlp), ("prototypes.", prototypes)):
        for name, p in part.named_parameters():
            p.copy_(weight(canonical(prefix + name), p))
    logits = prototypes(mlp(numbers("input of head", (6, 24))))
    torch.testing.assert_close(logits.flatten().tolist(), DINO["head"], rtol=1e-10, atol=1e-12)


def test_schedules() -> None:
    first, last, epochs = S.temperatures
    train, optim = Train(epochs=S.steps, batch=256, warmup_epochs=1), AdamW(S.lr, S.decay[0], final_decay=S.decay[1])
    for step in range(S.steps):
        now = plan(train, S.lr, Ema(S.momentum, 1.0), Residual(), step, 1, optim)
        assert by_epoch(step, epochs, first, last) == pytest.approx(DINO["temperatures"][step], rel=1e-12)
        assert now.weight_decay == pytest.approx(DINO["decay"][step], rel=1e-12)
        assert now.momentum == pytest.approx(DINO["momentum"][step], rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("micro", [0, 4])
def test_five_steps(micro: int) -> None:
    """Two sizes of crops, learned gains, frozen prototypes, gradients clipped one by one, changing decay, centre."""
    first, last, epochs = S.temperatures
    config = Dino(
        hidden=S.hidden,
        out=S.out,
        prototypes=S.prototypes,
        gains=True,
        warmup_temperature=first,
        teacher_temperature=last,
        temperature_epochs=epochs,
        frozen_epochs=S.frozen,
    )
    method = DinoMethod(Backbone(Convolution(), 24), config).double()
    with torch.no_grad():
        for network in (method.student, method.teacher):
            for name, p in network.named_parameters():
                p.copy_(weight(canonical(name), p))
    optim = AdamW(S.lr, S.decay[0], final_decay=S.decay[1], decay_tokens=True)
    state = State(method, build_optimizer(optim, method.student))
    rules = Rules(Residual(), micro_batch=micro, clip=S.clip, clip_each=True)
    for step in range(S.steps):
        batch = Batch(S.views(step), torch.arange(S.images), epoch=float(step))
        now = Plan(S.lr, DINO["momentum"][step], 0.0, DINO["decay"][step])
        metrics = train_step(state, batch, now, rules)
        assert metrics["loss"].item() == pytest.approx(DINO["losses"][step], rel=1e-9), f"step {step}"
        torch.testing.assert_close(method.centre.tolist(), DINO["centres"][step], rtol=1e-9, atol=1e-12)
    for network, recorded in ((method.student, DINO["student"]), (method.teacher, DINO["teacher"])):
        assert_same({canonical(name): values for name, values in fingerprints(network).items()}, recorded)
