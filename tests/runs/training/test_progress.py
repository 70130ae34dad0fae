"""What a run tells on the terminal: the numbers of metrics.jsonl, under their names."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from resmom.config import Run
from resmom.jsonfiles import read_lines
from resmom.losses.residual import Residual
from resmom.rundir import RunDir
from resmom.runs.machine import Machine
from resmom.runs.pretrain import pretrain
from resmom.runs.training import loop
from resmom.runs.training.progress import Progress
from resmom.train.plan import Train
from resmom.train.step import train_step
from tests.runs.crash import small_run, write_images
from tests.runs.settling.derived import images, tiny

VALUES = {"loss": 4.0521, "loss/method": 3.6341, "loss/chance": 3.8816, "loss/residual": 0.42042}


def told(capsys: pytest.CaptureFixture[str], values: dict[str, float]) -> str:
    with Progress(10, 5, 8) as progress:
        progress.update(1, values)
    return capsys.readouterr().err


def test_the_loss_is_the_total_with_what_it_is_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, VALUES).endswith("  loss 4.052 (method 3.634, chance 3.882, residual 0.4204)\n")
    alone = {name: VALUES[name] for name in ("loss", "loss/method", "loss/chance")}
    assert told(capsys, alone).endswith("  loss 4.052 (chance 3.882)\n")
    assert told(capsys, {"loss": 2.0}).endswith("  loss 2.000\n")


def test_numbers_of_an_earlier_step_say_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resmom.runs.training.progress.PLAIN_SECONDS", 0.0)
    with Progress(10, 5, 8) as progress:
        progress.update(1, {"loss": 4.0, "gap/z/intra": 0.25})
        progress.update(2, {})
        progress.update(3, {"loss": 3.0})
    first, second, third = capsys.readouterr().err.splitlines()
    assert "step 1/10" in first and first.endswith("  loss 4.000  gap/z 0.2500")
    assert "step 2/10" in second and "  loss 4.000  gap/z 0.2500  (as of step 1)" in second
    assert "  loss 3.000  " in third and "gap" not in third and "as of" not in third


def test_a_zero_has_no_minus(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, {"loss": -1e-9, "gap/z/intra": -1e-9}).endswith("  loss 0.000  gap/z 0.0000\n")


@pytest.mark.slow
def test_what_a_gpu_still_does_before_a_pause_is_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is ahead of it and waits where something is saved or measured; on this clock only that takes time."""
    now, steps, waits = 0.0, 0, []

    def finish(device: torch.device) -> None:
        nonlocal now
        now += 10.0
        waits.append(steps)

    def step(*arguments: Any) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        return train_step(*arguments)

    monkeypatch.setattr(
        "resmom.runs.training.progress.time", SimpleNamespace(monotonic=lambda: now, process_time=lambda: 0.0)
    )
    monkeypatch.setattr(loop, "finish", finish)
    monkeypatch.setattr(loop, "train_step", step)
    run = small_run(epochs=3, warmup_epochs=0)
    pretrain(
        replace(run, log=replace(run.log, line_steps=1, save_epochs=1, knn_epochs=2)),
        str(write_images(tmp_path / "x.npz")),
        tmp_path / "run",
        Machine(device="cpu", workers=0, quiet=True),
    )
    assert waits == [1, 5, 10, 15]  # health of the start, and each epoch's end
    lines = [line for line in read_lines(RunDir(tmp_path / "run").metrics) if line["kind"] == "train"]
    assert [line["elapsed_seconds"] for line in lines] == [0.0, *[10.0] * 4, *[20.0] * 5, *[30.0] * 5]


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_it_is_what_metrics_say(
    weight: float, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resmom.runs.training.progress.PLAIN_SECONDS", 0.0)
    run = replace(tiny(Run()), train=Train(steps=6, batch=16, warmup_steps=0), residual=Residual(weight=weight))
    pretrain(
        replace(run, log=replace(run.log, line_steps=2)), images(), tmp_path / "run", Machine(device="cpu", workers=1)
    )
    words = {int(step): loss for step, loss in re.findall(r"step (\d+)/6 .*?loss (\S+)", capsys.readouterr().err)}
    lines = {line["step"]: line for line in read_lines(RunDir(tmp_path / "run").metrics) if line["kind"] == "train"}
    assert list(lines) == [1, 2, 4, 6]
    for step, line in lines.items():
        assert words[step] == f"{line['loss']:.3f}"
        own, residual = line["loss/method"], line.get("loss/residual", 0.0)
        assert line["loss"] == pytest.approx(own + weight * residual)


@pytest.mark.parametrize(
    ("epoch", "said"), [(0, "epoch 0: "), (0.5, "epoch 0.5: "), (1.9999, "epoch 2.0: "), (2.0, "epoch 2: ")]
)
def test_a_part_of_an_epoch_is_not_called_a_whole_one(epoch: float, said: str) -> None:
    line = {"protocol": "knn-v1", "student": 8.594, "teacher": 8.6}
    assert loop._accuracy_words(epoch, line) == f"{said}knn-v1: student 8.59, teacher 8.60"
