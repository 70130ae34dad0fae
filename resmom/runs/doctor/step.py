"""One training step of a small run, to be compared between devices."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor

from resmom.config import Run
from resmom.data.source import ArraySource, Data
from resmom.losses.residual import Residual
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.runs.training.job import Job, prepare
from resmom.train.optim import Sgd
from resmom.train.plan import Precision, Train
from resmom.train.state import student_of
from resmom.train.step import train_step
from resmom.views.policy import Policy, View


@dataclass(frozen=True)
class Step:
    """The loss of a step, and how the student's weights moved, all of them in one vector on the CPU."""

    loss: float
    move: Float64[Tensor, " w"]

    def apart(self, other: "Step") -> tuple[float | None, float | None]:
        """Relative differences of loss and move to those of another step; None where one is not finite."""
        loss = abs(self.loss / other.loss - 1.0)
        move = ((self.move - other.move).norm() / other.move.norm()).item()
        return loss if math.isfinite(loss) else None, move if math.isfinite(move) else None


def small_step(where: torch.device, precision: Precision = "fp32", double: bool = False) -> Step:
    """A step on noise on a device, always the same one; `double`: computed in fp64."""
    job = _job(where, precision)
    method, batch = job.state.method, job.batch(0)
    if double:
        method.double()
        batch = replace(batch, views=tuple(view.double() for view in batch.views))
    method.train()
    before = _weights(job)
    metrics = train_step(job.state, batch, job.plan(0), job.rules)
    return Step(metrics["loss"].item(), _weights(job) - before)


def _weights(job: Job) -> Float64[Tensor, " w"]:
    return torch.cat([p.detach().cpu().double().flatten() for p in student_of(job.state.method).parameters()])


def _job(where: torch.device, precision: Precision) -> Job:
    """A run of a fraction of a second: grey images, whose views need no compiled code."""
    view = View(size=16)
    run = Run(
        method=MoCoV3(temperature=0.2, hidden=16, out=8),
        backbone=SmallResNet((8, 16), channels=1),
        policy=Policy((view, view), mean=(0.5,), std=(0.25,)),
        optim=Sgd(lr=0.1),
        residual=Residual(1.0),
        train=Train(steps=2, batch=16, warmup_epochs=0, precision=precision),
    )
    noise = torch.randint(0, 256, (32, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return prepare(run, Data(ArraySource("noise", noise), None, "noise"), where)
