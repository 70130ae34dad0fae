"""`resmom evaluate --all`: all are measured, one is tested, and export goes by the choice until it is stale."""

import errno
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from resmom import cli
from resmom.checkpoint import load_checkpoint, save_checkpoint
from resmom.errors import UserError
from resmom.evaluate.score import Score
from resmom.export.keep import Entry, Picked
from resmom.jsonfiles import append_line, read_lines
from resmom.losses.residual import Residual
from resmom.methods.simsiam import SimSiam
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from resmom.runs.measuring.keep import Kept, keep
from resmom.runs.measuring.rows import Row
from resmom.runs.pretrain import pretrain
from tests.conftest import Call
from tests.runs.crash import QUIET, small_run, write_images
from tests.runs.measuring.quick import QUICK


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of two epochs with a checkpoint kept after each."""
    root = tmp_path_factory.mktemp("keep")
    data, run = write_images(root / "images.npz", n=80), small_run(epochs=2)
    pretrain(replace(run, log=replace(run.log, keep_epochs=1)), str(data), root / "run", QUIET)
    return RunDir(root / "run")


@pytest.mark.slow
def test_every_candidate_once_and_one_test(folder: RunDir) -> None:
    before = len(read_lines(folder.evaluations))
    found = keep(folder.path, linear=QUICK)
    measured = [(e.network, e.step, e.features) for e in found.entries]
    assert measured == [
        (network, step, features)
        for step in (10, 20)
        for network in ("student", "teacher")
        for features in ("h", "stage1, mean")
    ]
    line = read_lines(folder.evaluations)[-1]
    assert len(read_lines(folder.evaluations)) == before + 1 and line["protocol"].startswith("keep-v2 (")
    assert line["top1"] == found.row.score.top1 and "tested on 20" in line["protocol"]
    written = json.loads(folder.choice.read_text())
    assert written["sentence"] == found.sentence and written["held_out"] == found.held == 8
    again = keep(folder.path, linear=QUICK)
    assert (again.entries, again.picked, again.row) == (found.entries, found.picked, found.row)


def test_one_checkpoint_alone(folder: RunDir) -> None:
    found = keep(folder.kept(10), linear=QUICK, network="teacher")
    assert {(e.network, e.step) for e in found.entries} == {("teacher", 10)} and found.row.step == 10


def choose(folder: RunDir, **values: object) -> None:
    """Write a choice by hand, on top of a measured one."""
    if not folder.choice.exists():
        keep(folder.path, linear=QUICK)
    written = json.loads(folder.choice.read_text())
    folder.choice.write_text(json.dumps(written | values))


def test_export_goes_by_the_choice(folder: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resmom.export.record.too_short", lambda step, normed=None: "")
    choose(folder, step=10, last_step=20, network="student", decided=True, sentence="Keep the student of step 10.")
    found = export(folder.path, tmp_path / "out")
    assert (found.step, found.chosen) == (10, "Keep the student of step 10.")
    teacher = load_checkpoint(folder.kept(10))["state"]["teacher"]
    weights = load_file(tmp_path / "out/backbone-teacher.safetensors")
    assert weights["0.weight"].equal(teacher["backbone.body.layers.0.weight"])
    card = (tmp_path / "out/README.md").read_text()
    assert "**Take the student.** Keep the student of step 10. The teacher is frozen" in card
    assert "weights after 10 steps, chosen over those of other steps" in card and "was not finished" not in card
    assert "| network | step | features | kNN (%) | linear probe (%) |" in card and "| stage1, mean |" in card


def test_of_a_run_too_short_to_be_judged_a_choice_recommends_nothing(folder: RunDir, tmp_path: Path) -> None:
    choose(folder, step=10, last_step=20, network="teacher", decided=True, sentence="Keep the teacher of step 10.")
    found = export(folder.path, tmp_path / "out")
    assert found.step == 10 and found.advice.startswith("Too early to use either network. After 10 steps a run is too")


def test_a_checkpoint_that_is_named_is_the_one_that_is_exported(folder: RunDir, tmp_path: Path) -> None:
    choose(folder, step=10, last_step=20, sentence="Another choice.")
    assert export(folder.path, tmp_path / "chosen").step == 10
    named = export(folder.last, tmp_path / "last")
    assert (named.step, named.chosen) == (20, "")


def spoilt(folder: RunDir, where: Path, *checkpoints: str) -> RunDir:
    """A copy of the run, of which the student's last convolution in these checkpoints is not finite."""
    ill = RunDir(where)
    shutil.copytree(folder.path, ill.path)
    for name in checkpoints:
        file = ill.last.parent / name
        content = {key: value for key, value in load_checkpoint(file).items() if key != "format"}
        student = content["state"]["student"]
        last = [key for key, value in student.items() if key.startswith("backbone.") and value.ndim == 4][-1]
        student[last].fill_(math.nan)
        save_checkpoint(file, content)
    return ill


def test_a_network_that_is_not_finite_is_left_out_and_named(folder: RunDir, tmp_path: Path) -> None:
    ill = spoilt(folder, tmp_path / "run", "step-00000020.pt", "last.pt")
    found = keep(ill.path, linear=QUICK)
    assert {(e.network, e.step) for e in found.entries} == {("student", 10), ("teacher", 10), ("teacher", 20)}
    assert [e.words for e in found.left_out] == ["the student of step 20"]
    assert found.sentence.endswith("Left out, for features that are not finite: the student of step 20.")
    written = json.loads(ill.choice.read_text())
    assert written["last_step"] == 20 and written["left_out"][0]["network"] == "student"
    alone = keep(ill.path, linear=QUICK, network="student")  # the last step has no candidate then
    assert (alone.row.step, json.loads(ill.choice.read_text())["last_step"]) == (10, 20)
    assert export(ill.path, tmp_path / "out").step == 10
    with pytest.raises(UserError, match="to choose from: features are not finite of the student of step 20"):
        keep(ill.last, linear=QUICK, network="student")


def test_a_stale_choice_and_another_checkpoint_are_left_alone(folder: RunDir, tmp_path: Path) -> None:
    choose(folder, step=10, last_step=15, sentence="old")
    assert (export(folder.path, tmp_path / "a").step, export(folder.path, tmp_path / "a").chosen) == (20, "")
    choose(folder, step=10, last_step=20, sentence="Another choice.")
    named = export(folder.kept(20), tmp_path / "b")
    assert (named.step, named.chosen) == (20, "") and "Another choice." not in (tmp_path / "b/README.md").read_text()
    assert export(folder.kept(10), tmp_path / "c").chosen == "Another choice."


@pytest.mark.usefixtures("typed")
def test_of_a_run_that_diverged_none_is_kept_whatever_the_labels_say(folder: RunDir, tmp_path: Path) -> None:
    ill = RunDir(tmp_path / "run")
    shutil.copytree(folder.path, ill.path)
    for step in range(17, 21):
        append_line(ill.metrics, {"kind": "train", "step": step, "loss": math.nan, "skipped": 1.0})
    found = keep(ill.path, linear=QUICK)
    assert found.sentence.startswith("Keep none of them. This run diverges: 4 of the last")
    assert "What to change: Lower --optim.lr" in found.sentence
    told = export(ill.path, tmp_path / "out").advice
    assert told.startswith("Use neither network. This run diverges")
    assert "**Use neither network.** This run diverges" in (tmp_path / "out/README.md").read_text()


@pytest.mark.usefixtures("typed")
def test_refusals(folder: RunDir, tmp_path: Path) -> None:
    arrays = np.load(write_images(tmp_path / "images.npz"))
    np.savez(tmp_path / "bare.npz", train_images=arrays["train_images"])
    with pytest.raises(UserError, match=r"has no labels, .* name labelled images with --data LABELLED, a folder with"):
        keep(folder.path, str(tmp_path / "bare.npz"), linear=QUICK)
    assert keep(folder.path, linear=QUICK, labels="0.5").row.plain()["label_share"] == 0.5
    with pytest.raises(UserError, match=r"cannot be evaluated: .*no class has two"):
        keep(folder.path, linear=QUICK, labels="0.01")


def test_what_a_full_disk_does_not_take_is_told_all_the_same(
    folder: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    path = RunDir(tmp_path / "run")
    shutil.copytree(folder.path, path.path)
    path.choice.write_text("{}")
    path.evaluations.unlink(missing_ok=True)
    path.evaluations.symlink_to("/dev/full")  # which can be opened, and takes nothing

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    quick = ("--network", "teacher", "--linear.epochs", 2, "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status, out, err = call("evaluate", path.last, "--all", *quick)
    assert status == 1 and "Keep " in out and "candidates are in" not in out
    assert "evaluations.jsonl: no space left on device; this line is not in it:\n{" in err
    assert "choice.json: no space left on device; the file still says what it said before; this should be in it:" in err
    status, out, _ = call("evaluate", path.last, "--all", "--json", *quick)
    assert status == 1 and json.loads(out) == json.loads(path.choice.read_text())


@pytest.mark.parametrize(("features", "told"), [("h", False), ("stage1, mean", True)])
def test_the_way_to_features_that_no_file_gives_is_told(
    folder: RunDir, monkeypatch: pytest.MonkeyPatch, call: Call, features: str, told: bool
) -> None:
    entry = Entry("teacher", 10, features, 50.0, 60.0, 0.5, 0.1, 0.0)
    row = Row("teacher", Score(61.0, None, "keep-v2"), 10, "images", "f")
    entries = (entry, replace(entry, features="h"))
    kept = Kept(entries, Picked(entry, True, "It is best."), 9, row, folder.choice)
    monkeypatch.setattr("resmom.runs.measuring.keep.keep", lambda *_, **__: kept)
    status, out, err = call("evaluate", folder.path, "--all")
    assert status == 0 and "Keep the teacher of step 10" in out
    assert (f"resmom embed {folder.path} --layer chosen" in err) == told


@pytest.mark.slow
def test_the_command(folder: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["resmom", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    quick = ("--linear.epochs", 2, "--device", "cpu")
    status, out, err = call("evaluate", folder.path, "--all", *quick)
    assert "labels: 2 classes (0, 1)\n" in err
    lines = out.splitlines()
    entries = json.loads(folder.choice.read_text())["candidates"]
    networks = len({(e["network"], e["step"]) for e in entries})
    assert status == 0 and len(lines) == 2 + networks + 2 and lines[-2].startswith("Keep the ")
    assert lines[-1].endswith(f"all {len(entries)} candidates are in {folder.choice}") and len(entries) > networks
    assert sum(line.startswith("* ") for line in lines[2:-2]) == 1
    status, out, _ = call("evaluate", folder.path, "--all", "--json", *quick)
    assert status == 0 and json.loads(out) == json.loads(folder.choice.read_text())
    status, _, err = call("evaluate", folder.path, "--all", "--sweep")
    assert status == 2 and "--all is a measurement of its own" in err and err.count("\n") == 1
    status, out, _ = call("export", folder.path, "--json")
    assert status == 0 and json.loads(out)["chosen"].startswith("Keep the ")


@pytest.mark.slow
def test_a_method_without_a_teacher(tmp_path: Path) -> None:
    data, run = write_images(tmp_path / "images.npz", n=80), small_run(epochs=2)
    alone = replace(run, method=SimSiam(hidden=8, out=8, predictor_hidden=4), residual=Residual(weight=0.0))
    pretrain(alone, str(data), tmp_path / "run", QUIET)
    found = keep(tmp_path / "run", linear=QUICK)
    assert {e.network for e in found.entries} == {"student"}
    export(tmp_path / "run", tmp_path / "out")
    assert "After 20 steps a run is too short to be judged" in found.sentence
    card = (tmp_path / "out/README.md").read_text()
    assert "This method has no teacher" in card and "| linear probe (%) |" in card
    assert "**Too early to use this network.** After 20 steps a run is too short to be judged" in card
