"""What a run starts from is measured from its saved weights, and not before anybody sees the first loss."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from resmom.config import Log, Run
from resmom.data.source import ArraySource, Data
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.training import loop
from resmom.runs.training.health import health_line
from resmom.runs.training.job import Job, prepare
from resmom.runs.training.monitor import monitor, monitor_start
from tests.runs.settling.derived import CPU, QUIET, images, tiny

RUN = replace(tiny(Run()), log=Log(line_steps=1, save_epochs=1, knn_epochs=2))
"""Twenty steps of six an epoch."""


def hard() -> Data:
    """Noise with labels that say nothing of it, so that the accuracy is that of guessing, and moves."""
    data = images()
    labels = np.random.default_rng(1).integers(0, 2, len(data.train))
    return Data(ArraySource("noise", data.train.read(np.arange(len(labels))), labels, ("a", "b")), None, "made here")


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_lines(RunDir(folder).metrics) if line["kind"] == kind]


@pytest.mark.slow
def test_the_first_step_does_not_wait_for_accuracy(tmp_path: Path) -> None:
    pretrain(RUN, images(), tmp_path / "run", QUIET)
    order = [(line["kind"], line["step"]) for line in read_lines(RunDir(tmp_path / "run").metrics)]
    assert order.index(("train", 12)) < order.index(("knn", 0)) < order.index(("knn", 12))
    assert [step for kind, step in order if kind == "knn"] == [0, 12, 20]


@pytest.mark.slow
def test_it_is_what_would_have_been_measured_before_the_first_step(tmp_path: Path) -> None:
    pretrain(RUN, hard(), tmp_path / "run", QUIET)
    (direct, *_) = monitor(prepare(RUN, hard(), CPU))
    start = lines(tmp_path / "run", "knn")[0]
    assert {name: start[name] for name in direct} == direct and 20 < start["student"] < 80
    assert lines(tmp_path / "run", "knn")[-1]["student"] != start["student"]  # the run went somewhere


@pytest.mark.slow
def test_a_run_stopped_before_its_first_measurement_measures_its_start_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain(RUN, images(), tmp_path / "whole", QUIET)

    def failing(job: Job) -> list[dict[str, Any]]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "monitor", failing)
        with pytest.raises(KeyboardInterrupt):
            pretrain(RUN, images(), tmp_path / "run", QUIET)
    for _ in range(2):  # the second time there is nothing left to do, or to measure again
        resume(tmp_path / "run", QUIET, images())
        assert lines(tmp_path / "run", "knn") == lines(tmp_path / "whole", "knn")


@pytest.mark.slow
def test_networks_that_differ_at_the_start_are_measured_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.begin

    def begin(job: Job, *rest: Any) -> None:
        with torch.no_grad():
            next(job.state.method.teacher.parameters()).neg_()
        real(job, *rest)

    monkeypatch.setattr("resmom.runs.pretrain.begin", begin)
    pretrain(RUN, images(), tmp_path / "run", QUIET)
    order = [(line["kind"], line["step"]) for line in read_lines(RunDir(tmp_path / "run").metrics)]
    assert order[0] == ("knn", 0) and order.count(("knn", 0)) == 1
    start = lines(tmp_path / "run", "health")[0]
    assert start["gap/h/intra"] > 0


def test_equal_networks_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the line is that of asking both."""
    asked: list[str] = []

    def counting(job: Job) -> None:
        for name in ("student", "teacher"):
            network = getattr(job.state.method, name)
            network.register_forward_hook(lambda *_, name=name: asked.append(name))

    job = prepare(RUN, images(), CPU)
    counting(job)
    short = health_line(job)
    assert set(asked) == {"student"}
    asked.clear()
    monkeypatch.setattr("resmom.runs.training.health.twins", lambda *_: False)
    assert health_line(job) == short and set(asked) == {"student", "teacher"}


def test_one_changed_number_is_a_difference() -> None:
    from resmom.nets.teacher import twins

    method = prepare(RUN, images(), CPU).state.method
    assert twins(method.teacher, method.student)
    statistics: Tensor = next(b for name, b in method.teacher.named_buffers() if name.endswith("running_var"))
    statistics[0] += 1e-6
    assert not twins(method.teacher, method.student)


@pytest.mark.slow
def test_a_damaged_start_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    job = prepare(RUN, images(), CPU)
    (tmp_path / "start.safetensors").write_bytes(b"")
    assert monitor_start(job, tmp_path / "start.safetensors") == []


def test_the_kept_checkpoint_is_there_before_the_last_moves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, a run that goes on from the last one would be past the step that was to be kept."""
    written: list[str] = []
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, content: written.append(path.name))
    run = replace(RUN, log=replace(RUN.log, keep_epochs=1))
    job = prepare(run, images(), CPU)
    job.state.step = job.per_epoch
    loop.save(job, RunDir(tmp_path))
    assert written == [f"step-{job.per_epoch:08d}.pt", "last.pt"]


def test_what_an_earlier_process_could_not_read_stays_listed(tmp_path: Path) -> None:
    folder, job = RunDir(tmp_path), prepare(RUN, images(), CPU)
    (tmp_path / "checkpoints").mkdir()
    for path in ("a.jpg", "b.jpg"):
        source = SimpleNamespace(**{"unreadable": [(path, "cut short")], "fingerprint": lambda: "f", "classes": ()})
        job.data = cast(Data, SimpleNamespace(train=source))
        loop.save(job, folder)
    assert [line["path"] for line in read_lines(folder.unreadable)] == ["a.jpg", "b.jpg"]
