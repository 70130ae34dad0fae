"""Runs settled with made-up costs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resmom.build import Own
from resmom.config import Run
from resmom.data.source import Data
from resmom.methodconfig import MethodConfig
from resmom.nets.backbones import BackboneConfig
from resmom.runs.settling import settle
from resmom.runs.settling.offer import Ask, Asked
from resmom.runs.settling.settle import Settled
from resmom.runs.settling.trial import Trial
from tests.runs.settling.derived import COST, CPU, Settle, images, same


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that were tried; each of them costs `COST`."""
    runs: list[Run] = []

    def made_up(
        run: Run, data: Data, device: torch.device, workers: int, own: Own, seconds: float, slowest: float, *_: object
    ) -> Trial:
        runs.append(run)
        return replace(COST, in_parts=own.method is None and run.method.traits.micro_batches)

    monkeypatch.setattr(settle, "trial", made_up)
    return runs


@pytest.fixture
def settled(tried: list[Run], tmp_path: Path) -> Settle:
    """Settle with made-up costs."""

    def call(
        ask: Ask = same,
        n: int = 5_000,
        base: Run | None = None,
        time: float | None = None,
        backbone: BackboneConfig | None = None,
        method: MethodConfig | None = None,
        own: Own | None = None,
        init: str = "",
        priced: bool = False,
        placed: bool = True,
    ) -> Settled:
        data = images(n, side=32 if n < 5_000 else 16)
        asked = Asked(base, ask, init, time, backbone, method, priced)
        return settle.settle(asked, data, tmp_path / "run" if placed else None, CPU, 1, own or Own())

    return call
