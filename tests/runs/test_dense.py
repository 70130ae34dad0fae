"""A whole run of DenseCL: what is measured of it while it trains and afterwards, place by place too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import resmom
from resmom.commands.gap import main as gap_command
from resmom.config import ConfigError, from_json
from resmom.diagnose.gap import gap as row_gap
from resmom.losses.residual import Residual
from resmom.methods.densecl import DenseCL
from resmom.nets.backbones import MoCoViT
from resmom.nets.ghosts import ghosts
from resmom.recipes import with_residual
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from resmom.runs.loaded import load_run
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.reporting.report import report
from resmom.runs.training.job import fresh_method
from resmom.views.apply import views
from tests.runs.crash import QUIET, small_run, write_images

pytestmark = pytest.mark.slow

GROUP = 2
RUN = replace(
    small_run(epochs=2), method=DenseCL(hidden=8, out=4, queue=20, shuffle_bn=GROUP), residual=Residual(site="z")
)
SITES = ("h", "z", "dense/h", "dense/z")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> resmom.Result:
    folder = tmp_path_factory.mktemp("dense")
    data = write_images(folder / "images.npz")
    return resmom.pretrain(data, folder / "run", with_residual(RUN), device=QUIET.device, quiet=True)


def test_both_kinds_of_gap_are_measured_in_training_and_by_the_health(finished: resmom.Result) -> None:
    training = [line for line in finished.metrics if line["kind"] == "train"][-1]
    for site in SITES:
        assert 0 < training[f"gap/{site}/intra"] < 2 and f"gap/{site}/inter" not in training
    health = [line for line in finished.metrics if line["kind"] == "health"]
    assert health[0]["gap/dense/z/intra"] == pytest.approx(0.0, abs=1e-6)  # both networks are the same at the start
    assert 0 < health[-1]["gap/dense/z/intra"] < health[-1]["gap/dense/z/chance"]
    assert "gap/z/inter" in health[-1] and "gap/dense/z/inter" not in health[-1]


def test_the_groups_of_pretraining_end_with_it(finished: resmom.Result) -> None:
    run = from_json(load_run(finished.path, "cpu").content["run"])
    assert run.method.shuffle_bn == GROUP and ghosts(fresh_method(run, torch.device("cpu")))
    assert not ghosts(load_run(finished.path, "cpu").method)
    student = resmom.load(finished.path).train()  # as who fine-tunes it has it
    assert not ghosts(student) and len(student(torch.rand(2 * GROUP + 1, 3, 8, 8)).h) == 2 * GROUP + 1


def test_the_gap_command_shows_places(finished: resmom.Result, capsys: pytest.CaptureFixture[str]) -> None:
    found = gap(RunDir(finished.path).last, device="cpu", accuracy=False)
    rows = {row.site: row for row in found.rows}
    assert tuple(rows) == SITES
    assert rows["dense/z"].inter is None and rows["z"].inter is not None
    loaded = load_run(finished.path, "cpu")
    pixels = torch.from_numpy(np.load(finished.path.parent / "images.npz")["train_images"]).permute(0, 3, 1, 2)
    made = views(pixels, np.arange(len(pixels)), loaded.run.policy, loaded.run.train.seed, epoch=0)
    intra = []
    with torch.no_grad():
        for view in made:
            s, t = (network.eval()(view).places for network in (loaded.method.student, loaded.method.teacher))
            intra.append(row_gap(s.z, t.z).intra.item())
    assert rows["dense/z"].intra == pytest.approx(np.mean(intra), rel=1e-4)
    assert gap_command([str(finished.path), "--no-accuracy", "--device", "cpu"]) == 0
    table = capsys.readouterr().out
    assert all(f"  {site} " in table for site in SITES)


def test_it_is_evaluated_exported_and_reported(finished: resmom.Result, tmp_path: Path) -> None:
    assert {row.network for row in evaluate(finished.path, protocols=("knn",), device="cpu")} == {"student", "teacher"}
    made = export(finished.path, tmp_path / "out")
    assert not [name for name in load_file(made.files[0]) if "dense" in name or "projector" in name]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| dense/z |" in card and "| z |" in card
    text = report(finished.path, tmp_path / "report.html", images=False).read_text()
    assert "Gap at dense/z" in text


def test_a_transformer_is_refused_before_anything_is_written(finished: resmom.Result, tmp_path: Path) -> None:
    run = replace(RUN, backbone=MoCoViT("tiny", image=16, patch=8))
    with pytest.raises(ConfigError, match="compares the places of a feature map"):
        resmom.pretrain(finished.path.parent / "images.npz", tmp_path / "run", run, device="cpu", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="take a convolutional backbone"):
        fresh_method(run, torch.device("cpu"))
