"""The same call again: it begins a run or goes on with it, and refuses another one in words that name what differs."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import resmom
from resmom.config import Run
from resmom.data.errors import DataError
from resmom.errors import RunDirError
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.asked import record_of, require_asked
from resmom.runs.pretrain import pretrain, pretrain_or_resume
from resmom.runs.settling.offer import Asked
from resmom.runs.training import loop
from tests.conftest import Call
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.settling.derived import images, tiny
from tests.runs.test_resume import assert_same_run

SMALL = """--backbone.widths 4 8 --method.hidden 8 --method.out 4 --image-size 16 --train.batch 8 --quiet --device cpu
    --threads 1""".split()  # noqa: SIM905  as one would type it


def signalled(step: int, monkeypatch: pytest.MonkeyPatch, which: signal.Signals) -> None:
    """The process is sent a signal in one of its steps."""
    real, done = loop.train_step, iter(range(step))

    def stepping(*given: Any) -> Any:
        if next(done, None) == step - 1:
            os.kill(os.getpid(), which)
        return real(*given)

    monkeypatch.setattr(loop, "train_step", stepping)


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_schedulers_signal_stops_a_run_and_the_same_call_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: signal.Signals
) -> None:
    data, out, asked = str(write_images(tmp_path / "images.npz")), tmp_path / "run", Asked(small_run())
    before = signal.getsignal(which)
    with monkeypatch.context() as patch:
        signalled(7, patch, which)
        stopped = pretrain_or_resume(asked, data, out, QUIET)
    assert (stopped.step, stopped.interrupted_by) == (7, which) and signal.getsignal(which) == before
    ended = pretrain_or_resume(asked, data, out, QUIET)
    assert (ended.step, ended.interrupted_by) == (20, None)
    assert pretrain_or_resume(asked, data, out, QUIET).step == 20
    assert len(read_lines(RunDir(out).environment)) == 2  # the third had nothing to do
    pretrain(small_run(), data, tmp_path / "whole", QUIET)
    assert_same_run(tmp_path / "whole", out)


@pytest.mark.slow
def test_a_job_script_with_a_recipe(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = write_images(tmp_path / "images.npz"), tmp_path / "run"
    script = ["pretrain", "mocov3_digits", "--data", data, "--out", out, *SMALL, "--train.warmup-epochs", 0]
    script += ["--train.epochs", 2, "--optim.lr", 0.1, "--or-resume"]
    with monkeypatch.context() as patch:
        signalled(3, patch, signal.SIGUSR1)
        status, told, _ = call(*script)
    assert status == 128 + signal.SIGUSR1 and "saved at step 3 of 10" in told
    unlike = {
        "train.epochs was 2 and is 3": [*script, "--train.epochs", 3],
        "optim.lr was 0.1 and is 0.3": [word for word in script if word not in ("--optim.lr", 0.1)],
        "residual.weight was 0.0 and is 1.0": [script[0], "mocov3_digits_residual", *script[2:]],
        "it began as mocov3_digits, and now no recipe is named": [script[0], *script[2:]],
        'time was not given and is "3600 s"': [*script, "--time", "1h"],
        "leave --dry-run out": [*script, "--dry-run"],
    }
    for words, other in unlike.items():
        status, told, err = call(*other)
        assert (status, told) == (2, "") and words in err and err.count("\n") == 1, err
    assert "holds another run than the one asked for: " in call(*script, "--train.seed", 5)[2]
    status, told, _ = call(*script)
    assert status == 0 and "finished" in told
    status, told, _ = call(*script)
    assert status == 0 and "finished" in told
    write_images(data, n=44)
    status, _, err = call(*script)
    assert status == 2 and "the images are not those of the run" in err


@pytest.mark.slow
def test_a_job_script_without_a_recipe(call: Call, tmp_path: Path) -> None:
    """What was derived is not derived again; what is asked for is compared, however it is written."""
    data, out = write_images(tmp_path / "images.npz", n=96), tmp_path / "run"
    script: list[object] = ["pretrain", "--data", data, "--out", out, *SMALL, "--train.steps", 4, "--or-resume"]
    lengths: list[object] = ["--train.warmup-steps", 0, "--optim.lr", 0.1]
    status, told, err = call(*script, *lengths)
    assert status == 0 and "finished" in told, err
    same = [word if word != "--train.steps" else "--train.steps=4" for word in script if word != 4]
    status, told, err = call(*same, "--optim.lr", "0.10", "--train.warmup-steps", "0")
    assert status == 0 and "finished" in told, err
    for other, words in (
        ([*script, *lengths, "--train.steps", 8], "train.steps was 4 and is 8"),
        ([*script, *lengths[:2]], "optim.lr was 0.1 and is not given"),
        ([*script, *lengths, "--train.seed", 1], "train.seed was not given and is 1"),
        ([*script, *lengths, "--time", "1h"], 'time was not given and is "3600 s"'),
        ([*script, *lengths, "--method", "byol"], "method was not given and is"),
        (["pretrain", "mocov3_digits", "--data", data, "--out", out, "--or-resume"], "without a recipe, and now a"),
    ):
        status, told, err = call(*other)
        assert (status, told) == (2, "") and words in err and err.count("\n") == 1, err


def held(out: Path, run: Run, asked: Asked, offered: Run | None, known: bool = True) -> RunDir:
    """A folder with a run in it that came of a call."""
    from resmom.config import to_json

    out.mkdir()
    record = {"asked": record_of(asked, offered)} if known else {}
    RunDir(out).config.write_text(json.dumps({"run": to_json(run), "data": "x", **record}))
    return RunDir(out)


def longer(times: int) -> Callable[[Run], Run]:
    """A change that is relative, and is made once."""
    return lambda run: replace(run, train=replace(run.train, epochs=times * run.train.epochs))


def test_a_relative_change_of_a_derived_run_is_the_same_when_it_is_asked_for_again(tmp_path: Path) -> None:
    offered, asked = small_run(), Asked(change=longer(2))
    folder = held(tmp_path / "run", longer(2)(offered), asked, offered)
    require_asked(folder, asked)
    with pytest.raises(RunDirError, match=r"train\.epochs was 8 and is 12"):
        require_asked(folder, Asked(change=longer(3)))


def test_backbone_weights_and_time_of_a_derived_run(tmp_path: Path) -> None:
    from resmom.nets.backbones import ResNet, SmallResNet

    asked = Asked(init="weights.pt", seconds=60.0, backbone=SmallResNet((4, 8)))
    folder = held(tmp_path / "run", small_run(), asked, small_run())
    require_asked(folder, replace(asked, init=str(Path("weights.pt").resolve())))
    for other, words in (
        ({"init": "others.pt"}, r'init was ".*/weights.pt" and is ".*/others.pt"'),
        ({"init": ""}, "is not given"),
        ({"seconds": 90.0}, 'time was "60 s" and is "90 s"'),
        ({"backbone": ResNet(18)}, r'backbone was \{"widths": \[4, 8\], .*\} and is \{"depth": 18'),
        ({"backbone": None}, "is not given"),
    ):
        with pytest.raises(RunDirError, match=words):
            require_asked(folder, replace(asked, **other))  # type: ignore[arg-type]


def test_a_recipe_that_was_fitted_into_a_time(tmp_path: Path) -> None:
    """Its length is not what the recipe says, and is not compared with that; the rest is."""
    recipe = small_run()
    asked = Asked(recipe, longer(3), seconds=60.0)
    cut = replace(recipe, train=replace(recipe.train, epochs=1, warmup_epochs=0.5))
    folder = held(tmp_path / "run", cut, asked, None)
    require_asked(folder, asked)
    for other, words in (
        (replace(asked, seconds=90.0), 'time was "60 s" and is "90 s"'),
        (replace(asked, seconds=None), 'time was "60 s" and is not given'),
        (replace(asked, change=longer(2)), "train.epochs was 12 and is 8"),
        (
            Asked(replace(recipe, residual=replace(recipe.residual, weight=3.0)), longer(3), seconds=60.0),
            "residual.wei",
        ),
    ):
        with pytest.raises(RunDirError, match=words):
            require_asked(folder, other)


def test_runs_of_versions_that_kept_nothing_of_the_call(tmp_path: Path) -> None:
    run = small_run()
    folder = held(tmp_path / "run", run, Asked(run), None, known=False)
    four = Asked(change=lambda run: replace(run, train=replace(run.train, epochs=4)))
    five = Asked(change=lambda run: replace(run, train=replace(run.train, epochs=5)))
    for asked in (Asked(run), Asked(run, seconds=9.0), four):
        require_asked(folder, asked)
    for asked in (five, Asked(run, five.change)):
        with pytest.raises(RunDirError, match=r"train\.epochs was 4 and is 5"):
            require_asked(folder, asked)


@pytest.mark.slow
def test_from_python(tmp_path: Path) -> None:
    out, options = tmp_path / "run", {"device": "cpu", "quiet": True, "or_resume": True}
    given = images()
    for _ in range(2):
        result = resmom.pretrain(given, out, change=tiny, **options)  # type: ignore[arg-type]
        assert result.finished and result.step == 20
    with pytest.raises(RunDirError, match=r"method\.hidden was 8 and is not given, .* and \d more"):
        resmom.pretrain(given, out, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the images are not those"):
        resmom.pretrain(images(90), out, change=tiny, **options)  # type: ignore[arg-type]
