"""Fine-tuning that is killed, or stopped by a signal, at a chosen step; and what its folder then holds."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.checkpoint import load_checkpoint, save_checkpoint
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.finetuned import tuned, tuning
from resmom.runs.machine import Machine
from resmom.runs.training.interrupt import Interrupt
from tests.runs.crash import QUIET

MACHINE = replace(QUIET, workers=0)


def state(out: Path, name: str = "random") -> dict[str, Any]:
    """What the checkpoint of one network holds."""
    found: dict[str, Any] = load_checkpoint(RunDir(out / name).last)["state"]
    return found


def restart_changes_no_bit(
    train: Callable[[Path], object],
    resume: Callable[[Path, Machine], tuned.Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seven steps, a checkpoint every two: killed between two of these, and stopped by a signal, they end the same."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole)
    killed_at_the_beginning(train, parts, monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        die_at(3, patch)
        train(parts)
    assert state(parts)["step"] == 2
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        assert resume(parts, MACHINE).interrupted_by == 15
    assert state(parts)["step"] == 5
    ended = resume(parts, MACHINE)
    assert not (parts / tuned.BEGINNING).exists()
    one, other = state(whole), state(parts)
    assert one["model"].keys() == other["model"].keys()
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name]), name
    a, b = (found["optimizer"]["state"] for found in (one, other))
    assert a.keys() == b.keys()
    for key, kept in a.items():
        assert kept.keys() == b[key].keys() and len(kept)
        assert all(torch.equal(value, b[key][name]) for name, value in kept.items())
    assert read_lines(whole / "random/metrics.jsonl") == read_lines(parts / "random/metrics.jsonl")
    # What is finished is left as it is, and not measured again.
    monkeypatch.setattr(tuning, "measured", None)
    assert resume(parts, MACHINE).rows == ended.rows


def killed_at_the_beginning(train: Callable[[Path], object], out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when the first checkpoint is written and the folder's file is not: the next call may begin there."""

    def deadly(path: Path, content: dict[str, Any]) -> None:
        save_checkpoint(path, {"format": "older"})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tuned, "save_checkpoint", deadly)
        patch.setattr(tuned, "_clear", lambda out: None)  # SIGKILL leaves no time for it
        train(out)
    left = sorted(entry.name for entry in out.iterdir())
    assert left == ["beginning.part", "lock", "random"]


def die_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tuning._step

    def deadly(job: object, at: tuning.Tuning, batch: object) -> object:
        if at.step == step:
            raise KeyboardInterrupt
        return original(job, at, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "_step", deadly)


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Callable[..., object] = tuning._step
    asked: list[Interrupt] = []
    tune = tuned.tune

    def noted(job: object, at: object, interrupt: Interrupt, words: str) -> object:
        asked.append(interrupt)
        return tune(job, at, interrupt, words)  # type: ignore[arg-type]

    def signalled(job: object, at: tuning.Tuning, batch: object) -> object:
        if at.step + 1 == step:
            asked[0].signal = 15
        return original(job, at, batch)

    monkeypatch.setattr(tuned, "tune", noted)
    monkeypatch.setattr(tuning, "_step", signalled)
