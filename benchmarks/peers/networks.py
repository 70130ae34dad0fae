"""What the peers leave to their users: the backbone, the views of a step, and how Lightning is driven."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.peers.case import Case
from benchmarks.peers.worker import Gate

HIDDEN, OUT, TEMPERATURE = 4096, 256, 0.2
"""Widths of projector and predictor, as everybody has them for MoCo-v3."""


def cifar_resnet18(**options: Any) -> nn.Module:
    """torchvision's ResNet-18 with a 3 x 3 first convolution of stride 1 and without pooling before the stages."""
    network: nn.Module = torchvision.models.resnet18(**options)
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def views(case: Case) -> tuple[Tensor, Tensor]:
    """Two random views, N x 3 x S x S, in the memory order that a DataLoader hands out, on the case's device."""
    shape = case.batch, 3, case.side, case.side
    return torch.randn(shape, device=case.device), torch.randn(shape, device=case.device)


def autocast(case: Case) -> torch.autocast:
    return torch.autocast(torch.device(case.device).type, dtype=torch.bfloat16, enabled=case.precision == "bf16")


class Forever:
    """One batch again and again: what Lightning gets for a DataLoader."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self._batch


def fit(
    lightning: ModuleType, module: Any, batch: Any, case: Case, gate: Gate, callbacks: tuple[Any, ...] = ()
) -> None:
    """Train by Lightning's own loop, without its logger, checkpoints and progress bar."""

    class Rounds(lightning.Callback):  # type: ignore[name-defined,misc]
        def on_train_batch_start(self, *_: Any) -> None:
            gate()

    trainer = lightning.Trainer(
        max_epochs=1, accelerator="gpu" if case.on_gpu else "cpu",
        devices=[case.gpu] if case.on_gpu else 1,
        precision="bf16-mixed" if case.precision == "bf16" else "32-true",
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, callbacks=[Rounds(), *callbacks],
    )  # fmt: skip
    trainer.fit(module, train_dataloaders=Forever(batch))
