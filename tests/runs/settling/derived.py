"""Few images, what a user changes in a derived run so that it takes a second, and made-up costs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from resmom.config import Run
from resmom.data.source import ArraySource, Data
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import SmallResNet
from resmom.runs.machine import Machine
from resmom.runs.settling import memory
from resmom.runs.settling.memory import MEMORY, TRANSIENT, Kept
from resmom.runs.settling.offer import Ask
from resmom.runs.settling.settle import Settled
from resmom.runs.settling.trial import Trial
from resmom.train.plan import Train

CPU = torch.device("cpu")
QUIET = Machine(device="cpu", workers=1, quiet=True)

MIB = 2**20
COST = Trial(
    0.1, 1.5, 0.5, 5.0, kept=Kept(10 * MIB), weight_bytes=100 * MIB, checkpoint_bytes=5 * MIB, backbone_bytes=MIB
)
"""Of a run that is tried, made up."""

Settle = Callable[..., Settled]
"""`settle` with made-up costs, see the fixture."""


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


def same(run: Run) -> Run:
    return run


def set_memory(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Just enough free memory for so many images at once, at `COST`."""
    need = held * COST.kept.per_image * TRANSIENT + COST.weight_bytes
    monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)


def reasons(found: Settled) -> dict[str, str]:
    return {choice.option: choice.reason for choice in found.choices}
