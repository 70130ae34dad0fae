"""Where a run stops, and what it then lacks: a stop waits for no measurement, and what is missing is measured later."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.checkpoint import load_checkpoint
from resmom.jsonfiles import append_line, read_lines
from resmom.rundir import RunDir
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training import loop
from resmom.runs.training.job import prepare
from resmom.runs.training.journal import Journal
from resmom.runs.training.progress import Progress
from resmom.train.state import load_state, state_dict
from resmom.types import Batch
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.settling.derived import CPU, images, tiny
from tests.runs.test_resume import assert_same_run, stop_at


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of twenty steps that was never stopped, and its data."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_images(folder / "images.npz")
    return pretrain(small_run(), str(data), folder / "run", QUIET).path, data


def kinds(folder: Path, step: int) -> list[str]:
    return [line["kind"] for line in read_lines(RunDir(folder).metrics) if line["step"] == step]


@pytest.mark.slow
@pytest.mark.parametrize("step", [10, 20])
def test_a_stop_does_not_wait_for_the_measurements_that_are_due(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """In the middle and at the end; resumed, the run has the lines of one that was not stopped, in their order."""
    out = tmp_path / "run"
    assert stop_at(step, small_run(), whole[1], out, monkeypatch).interrupted_by == signal.SIGTERM
    assert kinds(out, step) == ["train"] and load_checkpoint(RunDir(out).last)["state"]["step"] == step
    assert not RunDir(out).export.exists()
    resume(out, QUIET)
    assert kinds(out, step) == kinds(whole[0], step) and "knn" in kinds(out, step)
    assert_same_run(whole[0], out)


@pytest.mark.slow
@pytest.mark.parametrize("left", ["train", "knn", "online"])
def test_measurements_that_a_power_cut_took_are_made_again(whole: tuple[Path, Path], tmp_path: Path, left: str) -> None:
    """The checkpoint is on the disk, and of its measurements the lines up to one kind. Where they were made is told."""
    shutil.copytree(whole[0], tmp_path / "run")
    folder = RunDir(tmp_path / "run")
    lines = read_lines(folder.metrics)
    last = next(at for at, line in enumerate(lines) if (line["kind"], line["step"]) == (left, 20))
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines[: last + 1]))
    resume(folder.path, QUIET)
    assert_same_run(whole[0], folder.path)
    assert len(read_lines(folder.environment)) == 2
    resume(folder.path, QUIET)
    assert len(read_lines(folder.environment)) == 2  # nothing was left to do


def test_what_a_finished_run_lacks(tmp_path: Path) -> None:
    """Of accuracy nothing where no image has a label: there never is such a line."""
    folder = RunDir(tmp_path)
    for labels, kinds in ((True, ("knn", "online", "health")), (False, ("health",))):
        job = prepare(tiny(small_run()), images(labels=labels), CPU)
        folder.metrics.unlink(missing_ok=True)
        job.state.step = job.steps
        for kind in kinds:
            journal = Journal(folder, job.steps, job.per_epoch)
            assert loop.lacks(job, journal)
            journal.write(kind, job.steps, {})
        assert not loop.lacks(job, Journal(folder, job.steps, job.per_epoch))
    job.state.step = 0
    assert not loop.lacks(job, Journal(folder, job.steps, job.per_epoch))


def test_lines_of_metrics_are_on_the_disk_before_a_checkpoint_that_follows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut takes what was not flushed: the checkpoint must not be the newer of the two."""
    folder, job = RunDir(tmp_path), prepare(tiny(small_run()), images(), CPU)
    flushed: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda opened: (flushed.append(os.fstat(opened).st_ino), real(opened)))
    append_line(folder.metrics, {"kind": "train", "step": 1})
    loop.save(job, folder)
    assert flushed.index(folder.metrics.stat().st_ino) < flushed.index(folder.last.stat().st_ino)


@pytest.mark.slow
def test_a_checkpoint_does_not_wait_for_the_measurement_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends a measurement, such as another process of the group that waits no longer, costs no step."""

    def failing(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "monitor", failing)
    data = write_images(tmp_path / "images.npz")
    with pytest.raises(KeyboardInterrupt):
        pretrain(small_run(), str(data), tmp_path / "run", QUIET)
    assert load_checkpoint(RunDir(tmp_path / "run").last)["state"]["step"] == 10


@pytest.mark.slow
def test_a_stop_asked_of_another_process_stops_this_one_too(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It saves, exports nothing in the middle of the run, and does not say that it has finished."""
    out = tmp_path / "run"
    asked: list[bool] = []

    def anywhere(flag: bool) -> bool:
        asked.append(flag)
        return len(asked) == 7

    with monkeypatch.context() as patch:
        patch.setattr("resmom.dist.anywhere", anywhere)
        stopped = pretrain(small_run(), str(whole[1]), out, QUIET)
    assert (stopped.step, stopped.interrupted_by) == (7, signal.SIGTERM) and not any(asked)
    assert not RunDir(out).export.exists()
    assert resume(out, QUIET).interrupted_by is None and RunDir(out).export.exists()
    assert_same_run(whole[0], out)


def broken_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From that step on no loss is finite."""
    train_step = loop.train_step

    def stepping(state: Any, batch: Batch, *rest: Any) -> Any:
        if state.step >= step:
            batch = replace(batch, views=tuple(torch.full_like(view, math.nan) for view in batch.views))
        return train_step(state, batch, *rest)

    monkeypatch.setattr(loop, "train_step", stepping)
    monkeypatch.setattr(loop, "SKIPS", 8)


@pytest.mark.slow
def test_a_diverged_run_does_not_begin_to_count_anew_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_after(6, monkeypatch)
    data = write_images(tmp_path / "images.npz")
    assert stop_at(9, small_run(), data, tmp_path / "run", monkeypatch).step == 9
    saved = load_checkpoint(RunDir(tmp_path / "run").last)["state"]
    assert (saved["skipped"], saved["in_a_row"]) == (3, 3)
    with pytest.raises(loop.Diverged):
        resume(tmp_path / "run", QUIET)
    assert read_lines(RunDir(tmp_path / "run").metrics)[-1]["step"] < 14  # the eighth in a row


def test_a_checkpoint_from_before_the_streak_was_kept() -> None:
    job = prepare(tiny(small_run()), images(), CPU)
    job.state.in_a_row = 5
    saved = state_dict(job.state)
    del saved["in_a_row"]
    load_state(job.state, saved)
    assert job.state.in_a_row == 0


def test_images_that_only_a_measurement_found_unreadable_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint, with which they are listed too, is written before."""
    folder, job = RunDir(tmp_path), prepare(tiny(small_run()), images(), CPU)
    job.state.step = job.steps
    for name in ("_measure", "_health"):
        monkeypatch.setattr(loop, name, lambda *_: None)
    monkeypatch.setattr(type(job.data.train), "unreadable", [("a.jpg", "cut short")])
    loop._measure_due(job, Journal(folder, job.steps, job.per_epoch), folder, Progress.silent())
    assert read_lines(folder.unreadable) == [{"path": "a.jpg", "reason": "cut short"}]
