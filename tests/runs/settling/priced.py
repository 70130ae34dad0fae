"""A small run, images of noise, and what a run is made up to cost."""

from dataclasses import replace

import numpy as np
import torch

from resmom.config import Log, Run
from resmom.data.source import ArraySource, Data
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.runs.settling.memory import Kept
from resmom.runs.settling.trial import Trial
from resmom.train.optim import Sgd
from resmom.train.plan import Train
from resmom.views.policy import Policy, View

CPU = torch.device("cpu")
MIB, GIB = 2**20, 2**30
COST = Trial(
    step_seconds=0.1,
    knn_seconds=1.5,
    health_seconds=0.5,
    spent_seconds=5.0,
    kept=Kept(10 * MIB),
    weight_bytes=100 * MIB,
    checkpoint_bytes=50 * MIB,
    backbone_bytes=6 * MIB,
)
VIEW = View(size=16, scale=(0.5, 1.0))
RUN = Run(
    method=MoCoV3(hidden=8, out=4),
    backbone=SmallResNet((4, 8)),
    policy=Policy((VIEW, VIEW), (0.5,) * 3, (0.25,) * 3),
    optim=Sgd(),
    train=Train(steps=1_000, batch=128, warmup_steps=50),
    log=Log(save_epochs=10, knn_epochs=5, keep_epochs=25),
)


def images(n: int = 40, labels: bool = True) -> Data:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (n, 3, 16, 16)).astype(np.uint8))
    numbers = (np.arange(n) % 2).astype(np.int64) if labels else None
    return Data(ArraySource("noise", pixels, numbers, ("a", "b") if labels else ()), None, "made here")


TINY = replace(RUN, train=Train(steps=200, batch=8, warmup_steps=0))
