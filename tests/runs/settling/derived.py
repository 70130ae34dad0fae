"""Few images, and what a user changes in a derived run so that it takes a second."""

from dataclasses import replace

import numpy as np
import torch

from resmom.config import Run
from resmom.data.source import ArraySource, Data
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.runs.machine import Machine
from resmom.runs.settling.settle import Ask
from resmom.train.plan import Train

CPU = torch.device("cpu")
QUIET = Machine(device="cpu", workers=1, quiet=True)


def images(n: int = 100, channels: int = 3, labels: bool = True, side: int = 20) -> Data:
    """Noise, the first class darker."""
    random = np.random.default_rng(0)
    numbers = (np.arange(n) % 2).astype(np.int64)
    pixels = random.integers(0, 150, (n, channels, side, side)) + 100 * numbers[:, None, None, None]
    made = ArraySource("noise", torch.from_numpy(pixels.astype(np.uint8)), numbers if labels else None, ("a", "b"))
    return Data(made, None, "made here")


def tiny(run: Run) -> Run:
    """What a Python user may change: everything that costs time."""
    views = tuple(replace(view, size=16) for view in run.policy.views)
    return replace(
        run,
        backbone=SmallResNet((4, 8), channels=len(run.policy.mean)),
        method=MoCoV3(hidden=8, out=4),
        policy=replace(run.policy, views=views),
        train=Train(steps=20, batch=16, warmup_steps=2),
    )


def train_with(**changes: int) -> Ask:
    return lambda run: replace(run, train=replace(run.train, **changes))  # type: ignore[arg-type]
