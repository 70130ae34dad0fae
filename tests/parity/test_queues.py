"""Methods with a queue against the numbers that their authors' code gave (see `record_queues.py`)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resmom.losses.contrastive import queue_nce
from resmom.losses.relation import relation
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methods.mocov2 import MoCoV2, MoCoV2Method
from resmom.methods.msf import MSF, MSFMethod
from resmom.methods.ressl import ReSSL, ReSSLMethod
from resmom.nets.backbones import ResNet, build_backbone
from resmom.nets.queue import Queue
from resmom.train.optim import Sgd, build_optimizer
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from tests.parity.setting import QueueSetting, numbers, views, weight
from tests.parity.weights import assert_same, fingerprints

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent.parent / "golden" / "parity.json").read_text())
S = QueueSetting()


def unit(name: str, *shape: int, dim: int = 1) -> Tensor:
    return nn.functional.normalize(numbers(name, shape), dim=dim)


@torch.no_grad()
def filled(method: Method, names: dict[str, str], queues: dict[str, Queue]) -> Method:
    """The method as the authors' code began; `names`: how our parameters' names begin, and how theirs do."""
    for name, p in method.student.named_parameters():
        p.copy_(weight(theirs(name, names), p))
    for name, p in method.teacher.named_parameters():
        p.copy_(method.student.get_parameter(name))
    for name, queue in queues.items():  # there a key is a column
        queue.rows.copy_(unit(name, queue.rows.shape[1], queue.rows.shape[0], dim=0).T)
    return method


def theirs(name: str, names: dict[str, str]) -> str:
    (begin,) = [begin for begin in names if name.startswith(begin)]
    return names[begin] + name.removeprefix(begin)


def five_steps(
    method: Method, recorded: dict[str, Any], names: dict[str, str], teacher: tuple[str, str], statistics: bool = True
) -> None:
    """Five steps of forward, backward, SGD, teacher and queue, BatchNorm included, must be those recorded."""
    state = State(method, build_optimizer(Sgd(weight_decay=S.weight_decay), method.student))
    for step in range(S.steps):
        batch = Batch(views(step, S), torch.arange(S.images))
        metrics = train_step(state, batch, Plan(S.lr, S.momentum, 0.0), Rules(Residual()))
        assert metrics["loss"].item() == pytest.approx(recorded["losses"][step], rel=1e-9), f"step {step}"
    for network, part in ((method.student, "student"), (method.teacher, "teacher")):
        ours = {theirs(name, names): values for name, values in fingerprints(network).items()}
        if not statistics:
            ours = {name: values for name, values in ours.items() if "running" not in name}
        if part == "teacher":
            ours = {name.replace(*teacher): values for name, values in ours.items()}
        assert_same(ours, recorded[part])


MOCO = {"backbone.body.": "encoder_q.", "projector.": "encoder_q.fc."}


@pytest.mark.slow
def test_five_mocov2_steps() -> None:
    config = MoCoV2(S.temperature, hidden=512, out=S.out, queue=S.queue)
    method = MoCoV2Method(build_backbone(ResNet(18)), config).double()
    filled(method, MOCO, {"queue": method.queue})
    recorded = RECORDED["facebookresearch/moco"]
    five_steps(method, recorded, MOCO, ("encoder_q", "encoder_k"))
    torch.testing.assert_close(method.queue.rows.flatten().tolist(), recorded["queue"], rtol=1e-7, atol=1e-9)
    assert method.queue.pointer == S.steps * S.images % S.queue


@pytest.mark.slow
def test_five_mocov2_steps_with_keys_shuffled_among_groups() -> None:
    """Two processes of theirs with four images each are two groups of ours."""
    config = MoCoV2(S.temperature, hidden=512, out=S.out, queue=S.queue, shuffle_bn=S.images // 2)
    method = MoCoV2Method(build_backbone(ResNet(18)), config).double()
    filled(method, MOCO, {"queue": method.queue})
    recorded = RECORDED["facebookresearch/moco"]["shuffled"]
    five_steps(method, recorded, MOCO, ("encoder_q", "encoder_k"), statistics=False)
    torch.testing.assert_close(method.queue.rows.flatten().tolist(), recorded["queue"], rtol=1e-7, atol=1e-9)
    assert recorded["losses"][0] != pytest.approx(RECORDED["facebookresearch/moco"]["losses"][0], rel=1e-3)


RESSL = {
    "backbone.body.": "encoder_q.net.",
    "projector.0.": "encoder_q.head.linear1.",
    "projector.2.": "encoder_q.head.linear2.",
}


@pytest.mark.slow
def test_five_ressl_steps() -> None:
    config = ReSSL(0.1, 0.04, hidden=4096, out=S.out, queue=S.queue)
    method = ReSSLMethod(build_backbone(ResNet(18)), config).double()
    filled(method, RESSL, {"queue": method.queue})
    recorded = RECORDED["KyleZheng1997/ReSSL"]
    five_steps(method, recorded, RESSL, ("encoder_q", "encoder_k"))
    torch.testing.assert_close(method.queue.rows.flatten().tolist(), recorded["queue"], rtol=1e-7, atol=1e-9)


MSF_NAMES = {"backbone.body.": "encoder_q.", "projector.": "encoder_q.fc.", "predictor.": "predict_q."}


@pytest.mark.slow
def test_five_msf_steps() -> None:
    config = MSF(S.neighbours, S.queue, hidden=1024, out=128, predictor_hidden=1024)  # theirs for ResNet-18
    method = filled(MSFMethod(build_backbone(ResNet(18)), config).double(), MSF_NAMES, {})
    with torch.no_grad():
        method.queue.rows.copy_(unit("queue", S.queue, 128))
    recorded = RECORDED["UMBCvision/MSF"]
    five_steps(method, recorded, MSF_NAMES, ("encoder_q", "encoder_t"))
    assert len(recorded["losses"]) == S.steps and recorded["losses"][-1] < recorded["losses"][0]
    torch.testing.assert_close(method.queue.rows[:, :4].flatten().tolist(), recorded["queue"], rtol=1e-7, atol=1e-9)
    assert method.queue.pointer == S.steps * S.images % S.queue


def test_sololearn_ressl_loss() -> None:
    q, k, queue = unit("q", 6, 10), unit("k", 6, 10), unit("m", 9, 10)
    assert relation(q, k, queue, 0.1, 0.04).item() == pytest.approx(RECORDED["vturrisi/solo-learn"]["ressl"], rel=1e-12)


def test_sololearn_mocov2plus_loss() -> None:
    q, k, queue = unit("q", 6, 10), unit("k", 6, 10), unit("m", 9, 10)
    ours = queue_nce(q, k, queue, 0.2).item()
    assert ours == pytest.approx(RECORDED["vturrisi/solo-learn"]["mocov2plus"], rel=1e-12)
