"""`resmom evaluate --save-classifier`: what is kept scores what was told, and one is kept or none."""

import csv
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resmom.runs.measuring.saving as saving
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, LinearCrop
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.alone.bare import bare
from resmom.runs.loaded import load_run
from resmom.runs.measuring.alone import evaluate_alone
from resmom.runs.measuring.asked import ALONE, More, asked
from resmom.runs.measuring.classifierfile import load_classifier
from resmom.runs.measuring.evaluate import evaluate
from tests.conftest import Call
from tests.runs.measuring.quick import QUICK


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three classes that differ a little, with their labels, of several sizes."""
    root, random = tmp_path_factory.mktemp("hard"), np.random.default_rng(0)
    for at in range(90):
        split, name = ("test", "train")[at >= 40], ("moss", "rose", "sand")[at % 3]
        (root / split / name).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 200, (24 + at % 5, 30, 3)) + 25 * np.eye(3)[at % 3]
        Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{at:02d}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "larger", "crops", "tuned"])
def test_the_classifier_that_is_kept_has_the_score_that_was_told(
    kind: str, trained: tuple[Path, Path], hard: Path, tmp_path: Path, call: Call
) -> None:
    file, out = tmp_path / "c.safetensors", tmp_path / "said.csv"
    options = {
        "linear": ["--protocols", "linear", "knn", "--linear.lrs", "0.1", "--linear.epochs", "8"],
        "larger": ["--protocols", "linear", "--image-size", "24", "--linear.lrs", "0.1", "--linear.epochs", "8"],
        "crops": ["--linear-crop", "--probe.epochs", "3", "--probe.lr", "3", "--probe.batch", "8"],
        "tuned": ["--finetune", "--tuning.epochs", "4", "--tuning.batch", "8", "--tuning.lr", "0.5"],
    }[kind]
    given = ["evaluate", trained[0], "--data", hard, "--network", "teacher", "--device", "cpu"]
    before = len(read_lines(RunDir(trained[0]).evaluations))
    status, told, _ = call(*given, *options, "--save-classifier", file)
    assert status == 0 and f"resmom predict {file} --data PHOTOS --out predictions.csv" in told
    lines = read_lines(RunDir(trained[0]).evaluations)[before:]
    (line,) = [each for each in lines if not each["protocol"].startswith("knn")]
    made = load_classifier(file)
    assert made.classes == ("moss", "rose", "sand") and made.side == (24 if kind == "larger" else 16)
    assert (made.said["protocol"], made.said["network"]) == (line["protocol"], "teacher") and line[
        "network"
    ] == "teacher"
    assert float(made.said["top1"]) == pytest.approx(line["top1"], abs=1e-4)
    assert call("predict", file, "--data", hard, "--out", out, "--device", "cpu")[0] == 0
    with out.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    tested = [row for row in rows if row["path"].startswith("test/")]
    right = [row["class"] == row["path"].split("/")[1] for row in tested]
    assert len(rows) == 90 and len(tested) == 40
    assert 100 * np.mean(right) == pytest.approx(line["top1"]) and 30 < line["top1"] < 100


@pytest.mark.usefixtures("typed")
def test_one_is_kept_or_the_call_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    file, before = tmp_path / "c.safetensors", len(read_lines(RunDir(trained[0]).evaluations))
    tuned = More(save_classifier=file, finetune=Finetune(epochs=1))
    for network, protocols, more, words in (
        ("both", ("linear",), More(save_classifier=file), r"trains 2 \(linear of the student, linear of the teacher\)"),
        ("student", ("linear",), tuned, r"trains 2 \(linear of the student, --finetune of the student\)"),
        ("student", ("knn", "online"), More(save_classifier=file), "trains none"),
        ("student", (), More(save_classifier=file, sweep=True), "trains none"),
        (
            "student",
            ("linear",),
            More(save_classifier=file, draws=3),
            r"trains 3 \(linear of the student, 3 times each",
        ),
        ("student", ("linear",), More(save_classifier=tmp_path / "c.pt"), r"must end in \.safetensors"),
        (
            "student",
            (),
            More(save_classifier=file, linear_crop=LinearCrop(layer="stage1, mean")),
            r"a layer on its h; leave --probe\.layer 'stage1, mean' out",
        ),
    ):
        with pytest.raises(UserError, match=words):
            evaluate(trained[0], None, network, protocols, QUICK, device="cpu", more=more)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [] and len(read_lines(RunDir(trained[0]).evaluations)) == before


def test_a_backbone_from_python_can_be_kept_in_no_file(trained: tuple[Path, Path], tmp_path: Path) -> None:
    loaded = load_run(trained[0], "cpu")
    own = replace(loaded, written={"own": {"backbone": "mine.Body"}})
    file = tmp_path / "c.safetensors"
    with pytest.raises(UserError, match=r"mine\.Body, was given from Python"):
        saving.require_one_classifier(file, own, "student", ["linear"], 1)
    saving.require_one_classifier(file, loaded, "student", ["linear"], 1)


def test_a_full_disk_loses_the_classifier_and_not_the_score(
    trained: tuple[Path, Path], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(saving, "save_classifier", full)
    given = ["evaluate", trained[0], "--network", "student", "--protocols", "linear", "--linear.epochs", "1"]
    file = tmp_path / "c.safetensors"
    status, told, errors = call(*given, "--device", "cpu", "--json", "--save-classifier", file)
    assert status == 1 and json.loads(told)[0]["network"] == "student"
    assert f"attention: {file}: no space left on device; the classifier is lost" in errors and not file.exists()


def test_choosing_a_network_keeps_no_classifier(trained: tuple[Path, Path], tmp_path: Path, call: Call) -> None:
    status, _, errors = call("evaluate", trained[0], "--all", "--save-classifier", tmp_path / "c.safetensors")
    assert status == 2 and "--all is a measurement of its own" in errors


def test_a_layer_on_crops_is_the_one_that_goes_on(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """A finished probe, taken from RUN/probes, is kept too."""
    config = LinearCrop(epochs=1, batch=8)
    for name in ("a", "b"):
        more = More(linear_crop=config, save_classifier=tmp_path / f"{name}.safetensors")
        evaluate(trained[0], None, "student", (), QUICK, device="cpu", more=more)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_its_backbone_is_measured_as_weights_without_a_run(trained: tuple[Path, Path], tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    (row,) = evaluate(trained[0], None, "student", ("linear",), QUICK, device="cpu", more=More(save_classifier=file))
    wanted = asked(("linear",), usual=ALONE, linear=QUICK)
    (alone,) = evaluate_alone(bare(str(file), device="cpu"), str(trained[1]), wanted)
    assert alone.score.top1 == row.score.top1 and "images of 16 pixels" in alone.score.protocol
