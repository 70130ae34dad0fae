"""Where a probe has no score: what else was measured is told and kept, and what has none is said."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resmom
import resmom.runs.measuring.keep as keeping
import resmom.runs.measuring.measure as measuring
from resmom.checkpoint import load_checkpoint, save_checkpoint
from resmom.errors import UserError
from resmom.evaluate.linear import Choice, LinearScore
from resmom.evaluate.score import NotMeasured
from resmom.evaluate.settings import Linear, LinearCrop
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from resmom.runs.measuring.asked import More
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.keep import keep
from resmom.runs.measuring.rows import Incomplete
from tests.conftest import Call
from tests.runs.measuring.quick import QUICK

WILD = ("--linear.lrs", "1e5", "--linear.weight-decays", "0", "--linear.epochs", "3", "--device", "cpu")
SAID = "every learning rate of the grid diverged: 100000; give lower ones, such as --linear.lrs 0.003 0.01 0.03 0.1 0.3"


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in two classes that nothing tells apart, so that a rate that is too high blows up."""
    root = tmp_path_factory.mktemp("noise")
    random = np.random.default_rng(0)
    for at in range(60):
        file = root / "ab"[at % 2] / f"{at:03d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    return root


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> RunDir:
    """A copy of the run without the results of other tests."""
    folder = RunDir(shutil.copytree(trained[0], tmp_path / "run"))
    folder.evaluations.unlink(missing_ok=True)
    return folder


def kept(folder: RunDir) -> list[tuple[str, str]]:
    lines = read_lines(folder.evaluations) if folder.evaluations.exists() else []
    return [(line["network"], line["protocol"].partition(" ")[0]) for line in lines]


def test_the_results_beside_a_probe_that_diverged_are_printed_and_kept(
    run: RunDir, noise: Path, tmp_path: Path, call: Call
) -> None:
    export(run.path, tmp_path / "export")
    other = tmp_path / "export" / "backbone-teacher.safetensors"
    line = ("evaluate", run.path, "--data", noise, "--protocols", "knn", "linear", "--against", other, *WILD)
    status, out, _ = call(*line)
    assert status == 1 and kept(run) == [("student", "knn-v1"), ("teacher", "knn-v1")]
    rows = [words.split()[0] for words in out.splitlines() if "  top-1 " in words]
    assert rows == ["student", "teacher", other.name]
    for name in ("student", "teacher", other.name):
        assert f"the linear probe of {name} was not measured: {SAID}" in out
    assert "the same call would keep once more: ask for the missing alone" in out
    status, out, err = call(*line, "--json")
    assert status == 1 and [row["network"] for row in json.loads(out)] == rows
    assert f"the linear probe of {other.name} was not measured: {SAID}" in err


def test_weights_alone_are_told_likewise(run: RunDir, noise: Path, tmp_path: Path, call: Call) -> None:
    export(run.path, tmp_path / "export")
    student, teacher = (tmp_path / "export" / f"backbone-{name}.safetensors" for name in ("student", "teacher"))
    line = ("evaluate", "--init", student, "--data", noise, "--against", teacher, *WILD)
    status, out, _ = call(*line, "--out", tmp_path / "rows")
    assert status == 1 and kept(RunDir(tmp_path / "rows")) == [("init", "knn-v1")] * 2
    assert f"linear probe of init was not measured: {SAID}" in out and f"probe of {teacher.name} was not" in out
    status, out, err = call(*line, "--protocols", "linear")  # nothing is left then
    assert status == 2 and not out and SAID in err and "linear.lrs" in err
    weights = resmom.weights(student, device="cpu")
    with pytest.raises(Incomplete) as end:
        weights.evaluate(str(noise), linear=Linear(lrs=(1e5,), epochs=3))
    assert [row.network for row in end.value.rows] == ["init"]


def test_where_nothing_could_be_measured_the_call_fails_in_one_sentence(run: RunDir, noise: Path, call: Call) -> None:
    status, out, err = call("evaluate", run.path, "--data", noise, "--protocols", "linear", *WILD)
    assert status == 2 and not out and not kept(run)
    assert err.startswith(f"resmom evaluate: {run.path} cannot be evaluated on ") and err.endswith(f": {SAID}\n")
    assert err.count("\n") == 1


def test_one_network_does_not_take_the_other_along(run: RunDir, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    probe, seen = measuring.linear_probe, []

    def first_diverges(*given: torch.Tensor | Linear) -> LinearScore:
        seen.append(1)
        if len(seen) == 1:
            raise NotMeasured("it diverged")
        return probe(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "linear_probe", first_diverges)
    status, out, _ = call("evaluate", run.path, "--protocols", "linear", "--linear.epochs", 1, "--device", "cpu")
    assert status == 1 and kept(run) == [("teacher", "linear-v1")]
    assert "  teacher            top-1 " in out and "the linear probe of student was not measured: it diverged" in out


def test_python_has_the_rows_with_the_error(run: RunDir, noise: Path) -> None:
    result = resmom.result(run.path)
    grid = replace(QUICK, lrs=(1e5,), epochs=3)
    with pytest.raises(Incomplete, match=r"was evaluated in part on .*: the linear probe of student was not") as end:
        result.evaluate(("knn", "linear"), linear=grid, data=str(noise), network="student", device="cpu")
    assert isinstance(end.value, UserError)
    assert [(row.network, row.score.protocol[:6]) for row in end.value.rows] == [("student", "knn-v1")]
    assert [(each.network, each.probe, each.why) for each in end.value.missing] == [
        ("student", "the linear probe", SAID.replace("--", ""))
    ]
    assert "what was measured, 1 result, is `rows` of this error" in str(end.value)


@pytest.mark.slow
def test_a_probe_on_crops_that_diverges_names_its_option(run: RunDir, noise: Path) -> None:
    crops = LinearCrop(epochs=2, batch=8, lr=1e40)
    with pytest.raises(Incomplete) as end:
        evaluate(run.path, str(noise), "teacher", ("knn",), device="cpu", more=More(linear_crop=crops))
    (row,), (missing,) = end.value.rows, end.value.missing
    assert row.score.protocol.startswith("knn-v1")
    assert missing.words.startswith("the linear probe on crops of teacher was not measured: it diverged in epoch ")
    assert "1e+40 per 256 images; give a lower one, such as linear_crop.lr 1e+39" in missing.words


def test_a_repetition_that_diverges_is_named(run: RunDir, noise: Path) -> None:
    grid, more = Linear(lrs=(1e5,), weight_decays=(0.0,), epochs=3), More(draws=2)
    with pytest.raises(Incomplete, match="repetition 1 of 2: every learning rate"):
        evaluate(run.path, str(noise), "student", ("linear",), grid, device="cpu", more=more)


def test_a_network_whose_features_are_not_finite_leaves_the_other_one(run: RunDir) -> None:
    content = {key: value for key, value in load_checkpoint(run.last).items() if key != "format"}
    student = content["state"]["student"]
    last = [key for key, value in student.items() if key.startswith("backbone.") and value.ndim == 4][-1]
    student[last].fill_(math.nan)
    save_checkpoint(run.last, content)
    with pytest.raises(Incomplete) as end:
        evaluate(run.path, linear=replace(QUICK, epochs=1), device="cpu")
    assert [(row.network, row.score.protocol[:6]) for row in end.value.rows] == [
        ("teacher", "knn-v1"), ("teacher", "linear"),
    ]  # fmt: skip
    assert [each.probe for each in end.value.missing] == ["kNN", "the linear probe", "the online classifier"]
    assert all("finite features" in each.why or "not finite" in each.why for each in end.value.missing)


def test_another_mistake_keeps_what_came_before_it(run: RunDir, tmp_path: Path, call: Call) -> None:
    """Of one image in each class a probe can hold out none, but kNN is there already."""
    random = np.random.default_rng(0)
    for at in range(4):
        file = tmp_path / "few" / ("train" if at < 2 else "test") / "ab"[at % 2] / f"{at}.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    given = ("evaluate", run.path, "--data", tmp_path / "few", "--protocols", "knn", "linear", "--device", "cpu")
    status, out, _ = call(*given, "--network", "student")
    assert status == 1 and kept(run) == [("student", "knn-v1")]
    assert "the rest was not measured: nothing can be held out of these 2 images" in out, out


def test_a_layer_on_which_every_rate_diverges_is_no_candidate(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    choose, width = keeping.choose_linear, {"h": 8, "stage1, mean": 4}

    def diverges_on(kind: str) -> None:
        def chosen(x: torch.Tensor, labels: torch.Tensor, config: Linear) -> Choice:
            if x.shape[1] == width[kind]:
                raise NotMeasured("it diverged")
            return choose(x, labels, config)

        monkeypatch.setattr(keeping, "choose_linear", chosen)

    diverges_on("stage1, mean")
    found = keep(run.path, linear=QUICK, network="student")
    assert {e.features for e in found.entries} == {"h"}
    assert "Left out, for a linear probe that diverges at every learning rate: the student of step" in found.sentence
    diverges_on("h")
    with pytest.raises(UserError, match=r"at every learning rate a linear probe diverges on the .*: linear\.lrs"):
        keep(run.path, linear=QUICK, network="student")
