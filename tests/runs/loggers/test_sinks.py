"""Loggers beside a run: it is the same with and without them, whatever they do, and goes on with them when resumed."""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import resmom
from resmom import dist
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.environment import logged_to
from resmom.runs.loggers import packages, sinks
from resmom.runs.machine import Logger, Trainer, loggers_of
from resmom.runs.pretrain import pretrain, resume
from tests import forked
from tests.conftest import Call
from tests.runs.comparisons.grids import TINY
from tests.runs.crash import small_run, stopped_before_the_first_step, write_images
from tests.runs.loggers.events import assert_same_points
from tests.runs.loggers.unchecked import refused
from tests.runs.test_resume import assert_same_run

PLAIN = Trainer(device="cpu", quiet=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of twenty steps that logs nowhere, and its data."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_images(folder / "images.npz")
    return pretrain(small_run(), str(data), folder / "run", PLAIN).path, data


def disturbing(line: dict[str, Any]) -> None:
    """What a function that is given lines may do to a process."""
    torch.manual_seed(1)
    torch.rand(3)
    random.seed(2)
    np.random.rand(3)  # noqa: NPY002  the global generator is meant
    line.clear()


class Broken:
    """Fails at the third line, and then counts on."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, line: dict[str, Any]) -> None:
        self.given += 1
        if self.given == 3:
            raise OSError("no space\nleft")


@pytest.mark.slow
def test_a_run_is_the_same_bit_for_bit_whatever_loggers_do(
    whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    given: list[dict[str, Any]] = []
    broken, out = Broken(), tmp_path / "run"
    calls = (disturbing, broken, given.append)
    pretrain(small_run(), str(whole[1]), out, replace(PLAIN, log_to=("tensorboard",), calls=calls))
    assert_same_run(whole[0], out)
    lines = read_lines(RunDir(out).metrics)
    assert given == lines
    assert_same_points(out / "tensorboard", lines)
    told = capsys.readouterr().err
    assert broken.given == 3 and told.count("\n") == 1
    assert "the function Broken of log_to failed (OSError: no space left); it is given no more lines" in told


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_a_logger_that_cannot_begin_or_end_stops_nothing(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where its folder should be; and one that fails only when it is closed."""

    class Late:
        def take(self, line: object) -> None: ...

        def close(self) -> None:
            raise RuntimeError("not sent")

    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    shutil.copytree(whole[0], out)
    (out / "tensorboard").write_text("")
    monkeypatch.setattr(sinks, "WandbRun", lambda folder, online: Late())
    monkeypatch.setattr(packages, "installed", lambda name: True)
    assert resume(out, replace(PLAIN, log_to=("tensorboard", "wandb"))).step == 20
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "--log-to tensorboard failed (FileExistsError" in told[0]
    assert "--log-to wandb failed (RuntimeError: not sent)" in told[1]


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_a_resumed_run_logs_as_before_unless_it_is_told_otherwise(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    out, short = tmp_path / "run", small_run(epochs=2)
    files = out / "tensorboard"
    pretrain(short, str(whole[1]), out, replace(PLAIN, log_to=("tensorboard",)))
    stopped_before_the_first_step(out)
    resume(out, PLAIN)
    assert logged_to(out) == ("tensorboard",)
    second = sorted(files.iterdir())
    assert_same_points(files, read_lines(out / "metrics.jsonl"))
    # Where the package is no longer here, it goes on without.
    stopped_before_the_first_step(out)
    with monkeypatch.context() as patch:
        patch.setattr(packages, "importable", lambda name: name != "tensorboard")
        capsys.readouterr()
        resume(out, PLAIN)
    told = capsys.readouterr().err
    assert "--log-to tensorboard needs the package tensorboard, which is not here" in told and "The run goes on" in told
    assert sorted(files.iterdir()) == second and logged_to(out) == ("tensorboard",)
    stopped_before_the_first_step(out)
    resume(out, replace(PLAIN, log_to=("none",)))
    assert sorted(files.iterdir()) == second and logged_to(out) == ()
    stopped_before_the_first_step(out)
    resume(out, PLAIN)
    assert logged_to(out) == () and sorted(files.iterdir()) == second


def test_what_is_not_here_is_told_before_anything_is_written(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_images(tmp_path / "images.npz", n=48, classes=3)
    asked = ["pretrain", "mocov3_digits", "--data", data, "--out", tmp_path / "run", *TINY]
    monkeypatch.setattr(packages, "importable", lambda name: False)
    monkeypatch.setattr(packages, "installed", lambda name: False)
    for name, package in (("tensorboard", "tensorboard"), ("wandb", "wandb"), ("wandb-online", "wandb")):
        status, _, err = call(*asked, "--log-to", name)
        assert status == 2 and err.count("\n") == 1
        assert f"--log-to {name} needs the package {package}, which is not here: pip install {package}" in err
    grid = ["compare", "mocov3_digits", *asked[2:], "--vary", "residual.weight=0,1"]
    status, _, err = call(*grid, "--log-to", "tensorboard")
    assert status == 2 and "needs the package tensorboard" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mlflow"], "--log-to is 'mlflow'; it is one of tensorboard, wandb, wandb-online, none"),
        ([], "--log-to needs at least one of tensorboard, wandb, wandb-online, none"),
        (["none", "tensorboard"], "--log-to none ends all others"),
        (["wandb", "wandb-online"], "leave one of them out"),
    ],
)
@pytest.mark.parametrize("verb", [["pretrain", "mocov3_digits"], ["compare", "mocov3_digits"], ["pretrain"]])
def test_loggers_that_there_are_not_are_a_mistake(
    call: Call, tmp_path: Path, verb: list[str], words: list[str], said: str
) -> None:
    status, out, err = call(*verb, "--data", tmp_path / "x", "--out", tmp_path / "run", "--log-to", *words)
    assert (status, out) == (2, "") and said in err and err.count("\n") == 1


def test_loggers_as_python_users_give_them() -> None:
    assert loggers_of(None) == (None, ())
    assert loggers_of("wandb") == (("wandb",), ())
    assert loggers_of(["tensorboard", print]) == (("tensorboard",), (print,))
    assert loggers_of(print) == (None, (print,))


def test_a_logger_that_is_named_twice_is_one() -> None:
    """As a run would open it now, or goes on with it from an earlier start: a second one would empty the file."""
    pytest.importorskip("tensorboard")
    twice: tuple[Logger, ...] = ("tensorboard", "tensorboard")
    assert sinks.loggers_to_use(replace(PLAIN, log_to=twice), ()) == ("tensorboard",)
    assert sinks.loggers_to_use(PLAIN, twice) == ("tensorboard",)


@pytest.mark.slow
def test_what_is_no_logger_is_told(tmp_path: Path) -> None:
    number, none, name, other = forked.answer(refused, tmp_path / "run")
    assert number.startswith("log_to is 5; it is one of tensorboard, wandb, wandb-online, none, in Python also a func")
    assert none.startswith("log_to needs at least one of tensorboard")
    assert name.startswith("log_to is 'x'") and other.startswith("log_to is {}")


@pytest.mark.slow
def test_a_function_in_python_is_given_the_lines_of_each_start(whole: tuple[Path, Path], tmp_path: Path) -> None:
    """Those that a start writes; a comparison gives it those of every cell."""
    out, given = tmp_path / "run", list[dict[str, Any]]()
    run = small_run(epochs=2)
    resmom.pretrain(whole[1], out, run, device="cpu", quiet=True, log_to=given.append)
    assert given == read_lines(out / "metrics.jsonl")
    given.clear()
    resmom.resume(out, device="cpu", quiet=True, log_to=[given.append])
    assert given == []
    cells = tmp_path / "cells"
    vary = {"residual.weight": [0, 1]}
    resmom.compare(run, whole[1], cells, vary=vary, seeds=[0], device="cpu", quiet=True, log_to=given.append)
    written = [line for path in sorted(cells.glob("*/seed-0/metrics.jsonl")) for line in read_lines(path)]
    assert sorted(map(json.dumps, given)) == sorted(map(json.dumps, written)) and written


def test_of_several_processes_the_first_one_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    line = {"kind": "train", "step": 1, "epoch": 0.1}
    for rank in (1, 0):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        with sinks.opened(RunDir(tmp_path), (), replace(PLAIN, calls=(given.append,))) as opened:
            opened.take(line)
        assert given == [line] * (rank == 0)
