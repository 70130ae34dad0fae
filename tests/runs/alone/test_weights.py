"""A whole run of a method without a teacher: what it writes, what is measured of it, and what is refused in words."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import resmom
from resmom.build import Own
from resmom.checkpoint import load_checkpoint
from resmom.config import ConfigError, Run
from resmom.configcheck import check
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.losses.residual import Residual
from resmom.method import Method
from resmom.methodconfig import METHODS
from resmom.methods.simsiam import SimSiam, SimSiamMethod
from resmom.nets.backbones import Backbone
from resmom.nets.teacher import Ema
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.outcome import table
from resmom.runs.reporting.report import report
from resmom.runs.training.job import prepare
from resmom.runs.training.start import content_of
from tests.runs.crash import small_run
from tests.runs.settling.derived import CPU
from tests.runs.test_python import LABELS, pixels

KINDS = [name for name, config in METHODS.items() if not config.traits.teacher]
SLIM = {"hidden": 16, "out": 8, "predictor_hidden": 8, "queue": 32}


def run_of(kind: str) -> Run:
    config = METHODS[kind]()
    method = replace(config, **{name: value for name, value in SLIM.items() if hasattr(config, name)})
    return replace(small_run(epochs=2), method=method, residual=Residual())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(path, train_images=pixels(), train_labels=LABELS, test_images=pixels()[:10], test_labels=LABELS[:10])
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, resmom.Result]:
    """A run of each method, with the checkpoint after its first epoch kept."""
    folder, log = tmp_path_factory.mktemp("runs"), replace(small_run().log, keep_epochs=1.0)
    runs = {kind: replace(run_of(kind), log=log) for kind in KINDS}
    return {kind: resmom.pretrain(data, folder / kind, run, device="cpu", quiet=True) for kind, run in runs.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_no_word_of_a_teacher(finished: dict[str, resmom.Result], kind: str) -> None:
    result = finished[kind]
    assert result.finished and load_checkpoint(RunDir(result.path).last)["state"]["teacher"] is None
    names = {name for line in result.metrics for name in line}
    assert not [name for name in names if "teacher" in name or "gap/" in name or name in ("momentum", "start_share")]
    kinds = {line["kind"] for line in result.metrics}
    assert {"train", "health", "knn", "online"} <= kinds
    assert {change.network for change in result.changes} == {"student"}
    assert "student after" in table(result.changes) and "teacher" not in table(result.changes)
    assert "teacher" not in str(result)
    assert "student after" in result._repr_html_() and "teacher" not in result._repr_html_()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_evaluated_and_exported_alone(finished: dict[str, resmom.Result], kind: str, tmp_path: Path) -> None:
    path = finished[kind].path
    assert {row.network for row in evaluate(path, protocols=("knn",), device="cpu")} == {"student"}
    made = export(path, tmp_path / "out")
    assert [file.name for file in made.files] == ["backbone-student.safetensors", "README.md"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "This method has no teacher" in card and "| teacher | none |" in card
    assert "momentum teacher" not in card and "gap between" not in card and "Take the" not in card
    assert f"**Too early to use this network.** After {made.step} steps a run is too short to be judged" in card
    assert load_file(made.files[0])


def test_what_needs_a_teacher_is_refused_in_words(finished: dict[str, resmom.Result], tmp_path: Path) -> None:
    path = finished["simsiam"].path
    refused = "a run of SimSiam has no teacher"
    with pytest.raises(UserError, match=refused):
        evaluate(path, network="teacher", device="cpu")
    with pytest.raises(UserError, match=refused):
        resmom.load(path, "teacher")
    with pytest.raises(UserError, match=refused):
        export(path, tmp_path / "out", "teacher")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no gap to measure"):
        gap(path, device="cpu")
    assert resmom.load(path).training is False


def test_the_report_shows_the_student(finished: dict[str, resmom.Result], tmp_path: Path) -> None:
    text = report(finished["simsiam"].path, tmp_path / "report.html", images=False).read_text()
    own = text[: text.index("<script>")] + text[text.rindex("</script>") :]
    assert "kNN" in own and "Momentum of the teacher" not in own and "in the teacher" not in own
    assert "student and teacher differ" not in own


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(finished: dict[str, resmom.Result], tmp_path: Path) -> None:
    """From the checkpoint after one epoch: student and memory are the same to the last bit."""
    for kind, whole in finished.items():
        folder = RunDir(shutil.copytree(whole.path, tmp_path / kind))
        last = load_checkpoint(folder.last)["state"]
        folder.last.write_bytes(folder.kept(whole.steps // 2).read_bytes())
        assert resmom.resume(folder.path, device="cpu", quiet=True).finished
        again = load_checkpoint(folder.last)["state"]
        for part in ("student", "memory"):
            assert all(bool((value == last[part][name]).all()) for name, value in again[part].items()), (kind, part)


def test_the_settings_reach_the_step(data: Path) -> None:
    """The predictor's steady rate is the scaled one, and what is averaged of a teacher is in the rules."""
    run = replace(run_of("simsiam"), ema=Ema(0.9, 1.0, "linear", "averaged", "projector"))
    job = prepare(run, open_data(data), CPU)
    steady = [group for group in job.state.optimizer.param_groups if "steady" in group]
    assert {group["steady"] for group in steady} == {run.optim.lr * run.train.batch / 256}
    predictor = set(job.state.method.student.predictor.parameters())  # type: ignore[union-attr]
    assert {p for group in steady for p in group["params"]} == predictor
    assert job.rules.ema == run.ema
    other = prepare(replace(run, method=METHODS["byol"]()), open_data(data), CPU)
    assert not [group for group in other.state.optimizer.param_groups if "steady" in group]


def test_the_term_is_refused(data: Path) -> None:
    for kind in KINDS:
        with pytest.raises(ConfigError, match="has no teacher, so there is no gap to close"):
            check(replace(run_of(kind), residual=Residual(1.0, "z")))


@pytest.mark.slow
def test_a_method_of_ones_own_may_do_without_a_teacher(data: Path, tmp_path: Path) -> None:
    def alone(backbone: Backbone) -> Method:
        return SimSiamMethod(backbone, SimSiam(hidden=16, out=8, predictor_hidden=8))

    run = replace(small_run(epochs=2), residual=Residual())
    result = resmom.pretrain(data, tmp_path / "own", run, method=alone, device="cpu", quiet=True)
    assert result.finished and {change.network for change in result.changes} == {"student"}
    images = open_data(data)
    with pytest.raises(ConfigError, match="this method has no teacher"):
        prepare(replace(run, residual=Residual(1.0)), images, CPU, Own(method=alone))


@pytest.mark.slow
def test_its_weights_are_a_start_for_others(finished: dict[str, resmom.Result], data: Path, tmp_path: Path) -> None:
    last = RunDir(finished["simsiam"].path).last
    for kind in ("simsiam", "byol"):
        run = replace(run_of("simsiam"), method=METHODS[kind]())
        slim = replace(run.method, hidden=16, out=8)
        run = replace(run, method=slim, init=str(last))
        result = resmom.pretrain(data, tmp_path / kind, run, device="cpu", quiet=True)
        written = json.loads((result.path / "run.json").read_text())
        assert written["run"]["init"] == str(last) and written["init"] == content_of(str(last)) != ""
