"""DenseCL against the numbers that its authors' code gave (see `record_dense.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.losses.residual import Residual
from resmom.methods.densecl import DenseCL, DenseCLMethod
from resmom.nets.backbones import ResNet, build_backbone
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests.parity.setting import DenseSetting
from tests.parity.test_queues import filled, theirs
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
NAMES = {"backbone.body.": "encoder_q.0.", "projector.": "encoder_q.1.mlp.", "dense.": "encoder_q.1.mlp2."}


@pytest.mark.slow
def test_five_densecl_steps() -> None:
    """Forward, both losses, backward, SGD, teacher and both queues, BatchNorm included, must be those recorded."""
    s, recorded = DenseSetting(), RECORDED["WXinlong/DenseCL"]
    config = DenseCL(s.temperature, s.hidden, s.out, s.queue, s.dense_weight)
    method = DenseCLMethod(build_backbone(ResNet(18)), config).double()
    filled(method, NAMES, {"queue": method.queue, "queue2": method.queue_dense})
    state = State(method, build_optimizer(Sgd(weight_decay=s.weight_decay), method.student))
    for step in range(s.steps):
        batch = Batch(s.views(step), torch.arange(s.images))
        metrics = train_step(state, batch, Plan(s.lr, s.momentum, 0.0), Rules(Residual()))
        assert metrics["loss"].item() == pytest.approx(recorded["losses"][step], rel=1e-9), f"step {step}"
        dense = s.dense_weight * metrics["loss/dense"].item()
        assert dense == pytest.approx(recorded["dense"][step], rel=1e-9), f"step {step}"
    for network, part in ((method.student, "student"), (method.teacher, "teacher")):
        ours = {theirs(name, NAMES): values for name, values in fingerprints(network).items()}
        if part == "teacher":
            ours = {name.replace("encoder_q", "encoder_k"): values for name, values in ours.items()}
        assert_same(ours, recorded[part])
    for name, queue in (("queue", method.queue), ("queue2", method.queue_dense)):
        torch.testing.assert_close(queue.rows.flatten().tolist(), recorded[name], rtol=1e-7, atol=1e-9)
        assert queue.pointer == s.steps * s.images % s.queue
