"""Runs without a recipe from end to end: derived, tried, trained, measured, exported; or refused."""

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torch import Tensor

from resmom.commands.pretrain import main
from resmom.config import ConfigError, from_json
from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import read_lines
from resmom.methodconfig import METHODS
from resmom.methodnames import METHOD_NAMES
from resmom.nets.backbones import SmallResNet
from resmom.rundir import RunDir
from resmom.runs.measuring.gap import gap
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.settling import settle
from resmom.runs.settling import trial as trials
from resmom.runs.settling.offer import Asked
from resmom.train.optim import Sgd
from tests.runs.settling.derived import QUIET, images, tiny, train_with

OPTIONS = """
    --backbone.widths 4 8 --method.hidden 8 --method.out 4 --policy.views.0.size 16 --policy.views.1.size 16
    --train.batch 16 --device cpu --workers 1
""".split()  # noqa: SIM905  as one would type it
"""What makes a derived run tiny."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred labelled images."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    data = images().train
    pixels = data.read(np.arange(len(data)))
    assert isinstance(pixels, Tensor)
    assert data.labels is not None
    np.savez(path, train_images=pixels.permute(0, 2, 3, 1).numpy(), train_labels=data.labels)
    return path


@pytest.mark.slow
def test_on_the_command_line(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settle, "GLANCE", 0.05)
    out = tmp_path / "run"
    arguments = ["--data", str(file), "--out", str(out), *OPTIONS, "--train.steps", "24", "--optim.lr", "0.2"]
    assert main([*arguments, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"path": str(out), "step": 24, "steps": 24, "interrupted_by": None}
    assert "trying the run on this machine, 0.05 seconds" in told.err
    assert "settings derived from the images and this machine; give an option to change one:" in told.err
    assert "estimate: about " in told.err and "MiB of disk" in told.err

    folder = RunDir(out)
    written = json.loads(folder.config.read_text())
    run = from_json(written["run"])
    assert (run.recipe, run.backbone, run.optim.lr) == ("automatic", SmallResNet((4, 8)), 0.2)
    assert (run.train.batch, run.train.steps, run.train.warmup_steps) == (16, 24, 1)
    options = {choice["option"]: choice for choice in written["choices"]}
    derived = {"train.batch", "train.steps", "ema.momentum", "policy.mean", "train.precision", "residual.weight"}
    derived |= {"image_size", "init", "policy.views", "orientation", "backbone", "method"}
    asked = {"backbone.widths", "method.hidden", "method.out", "optim.lr"}
    assert set(options) == derived | asked
    assert options["optim.lr"]["value"] == "0.2" and options["optim.lr"]["reason"] == "asked for; derived: 0.3"
    assert options["method"]["reason"] == "with method.hidden 8 and method.out 4 as asked for"
    for choice in options.values():
        line = next(line for line in told.err.splitlines() if line.strip().startswith(choice["option"] + " "))
        assert choice["value"] in line and line.endswith(choice["reason"])
    assert options["train.batch"]["reason"].startswith("asked for; derived: ")

    lines = read_lines(folder.metrics)
    for kind in ("knn", "health"):
        steps = [line["step"] for line in lines if line["kind"] == kind]
        assert steps[0] == 0 and steps[-1] == 24
    assert "before against after:" in told.err and "kNN top-1 (%)" in told.err and "RankMe" in told.err
    assert "Too early to use either network. After 24 steps a run is too short to be judged" in told.err
    assert sorted(path.suffix for path in folder.export.iterdir() if path.is_file()).count(".safetensors") == 2

    # Kept checkpoints, evenly spaced whatever the measurements: the gap over training has a row of each.
    assert [path.name for path in folder.all_kept()] == [f"step-{step:08d}.pt" for step in (4, 8, 12, 16, 20, 24)]
    assert [found.step for found in gap(out, images=32).checkpoints] == [4, 8, 12, 16, 20, 24]

    with pytest.raises(RunDirError, match="already holds a run"):
        main(arguments)
    assert resume(out, QUIET).steps == 24


@pytest.mark.parametrize("recipe", [(), ("mocov3_digits",)])
def test_a_dry_run_tells_everything_and_writes_nothing(
    recipe: tuple[str, ...],
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(settle, "GLANCE", 0.05)
    out = tmp_path / "run"
    small = [*OPTIONS, "--train.steps", "24", "--train.precision", "fp32"]
    arguments = [*recipe, "--data", str(file), "--out", str(out), *small, "--dry-run"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert ("settings derived from the images" in told) == (not recipe)
    assert "estimate: about " in told and "MiB of memory for a step" in told
    assert "100 images" in told and "24 steps of batch 16" in told and f"into {out}" in told
    assert told.splitlines()[-1] == "nothing was written; the same without --dry-run starts it"
    assert not out.exists()

    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    run = from_json(found["run"])
    assert (found["steps"], found["images"], run.train.batch) == (24, 100, 16)
    assert (len(found["choices"]) > 0) == (not recipe)
    estimate = found["estimate"]
    assert estimate["seconds"] > 24 * estimate["step_seconds"] > 0
    assert estimate["disk_bytes"] > 0 and estimate["memory_bytes"] > 0
    assert not out.exists()

    monkeypatch.chdir(tmp_path)
    bare = [word for word in arguments if word not in ("--out", str(out))]
    assert main(bare) == 0
    without = capsys.readouterr().out
    assert without.splitlines()[-1] == "nothing was written; the same with --out DIR in place of --dry-run starts it"
    assert [line for line in told.splitlines() if line.startswith("into ")] == [f"into {out}"]
    assert "into " not in without and "estimate: about " in without
    assert main([*bare, "--or-resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["train"] == found["run"]["train"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="--out is missing: the run folder: new, or empty"):
        main([*bare, "--no-dry-run"])

    out.mkdir()
    (out / "run.json").write_text("{}")
    with pytest.raises(RunDirError, match="already holds a run"):
        main(arguments)


@pytest.mark.slow
def test_grey_images_without_labels_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "GLANCE", 0.0)
    data = images(80, channels=1, labels=False)
    finished = pretrain(Asked(change=tiny), data, tmp_path / "run", QUIET)
    assert finished.step == finished.steps == 20
    written = json.loads(RunDir(tmp_path / "run").config.read_text())
    run = from_json(written["run"])
    assert len(run.policy.mean) == 1 and run.policy.views[0].hue == 0.0
    assert {line["kind"] for line in read_lines(RunDir(tmp_path / "run").metrics)} == {"train", "health"}
    options = {choice["option"]: choice for choice in written["choices"]}
    assert (options["image_size"]["value"], options["image_size"]["reason"]) == ("16", "asked for; derived: 32")
    assert options["backbone.widths"]["value"] == "[4, 8]"
    assert options["backbone.widths"]["reason"] == "asked for; derived: [16, 32, 64, 128]"


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_with_what_is_derived_for_it(
    name: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but its name is given, and the length: 100 images make queues of 64 and batches of 32."""
    monkeypatch.setattr(settle, "GLANCE", 0.0)
    out = tmp_path / "run"
    short = ["--train.steps", "3", "--image-size", "32", "--device", "cpu", "--workers", "1"]
    assert main(["--data", str(file), "--out", str(out), "--method", name, *short]) == 0
    err = capsys.readouterr().err
    run = from_json(json.loads(RunDir(out).config.read_text())["run"])
    assert type(run.method) is METHODS[name] and METHOD_NAMES[METHODS[name].__name__] in err
    lines = [line for line in read_lines(RunDir(out).metrics) if line["kind"] == "train"]
    assert lines[-1]["step"] == 3 and all(math.isfinite(line["loss"]) for line in lines)
    assert run.residual.weight == (name in ("mocov3", "mocov2", "densecl"))
    assert (run.ema.momentum == 0.9) == (name == "mocov3")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--time", "soon"], "write it as 90s"),
        (["--time", "0.1s"], "the time is too short"),
        (["--train.batch", "101"], "100 images cannot fill a batch of 101"),
        (["--init", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--backbone", "rasnet18"], "resnet18"),
        (["--method", "byul"], "; did you mean byol?"),
        (["--train.warmup-epochs", "1"], "a run without a recipe, which counts in steps; give --train.warmup-steps"),
    ],
)
def test_refused_with_nothing_written(file: Path, tmp_path: Path, options: list[str], words: str) -> None:
    out = tmp_path / "run"
    with pytest.raises(UserError, match=words):
        main(["--data", str(file), "--out", str(out), *OPTIONS, *options])
    assert not out.exists()


def test_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="40 images are too few"):
        pretrain(Asked(), images(40), tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_nothing_given_at_all(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derived network itself, for few steps."""
    monkeypatch.setattr(settle, "GLANCE", 0.0)
    finished = pretrain(Asked(change=train_with(steps=6)), str(file), tmp_path / "run", QUIET)
    run = from_json(json.loads(RunDir(finished.path).config.read_text())["run"])
    assert finished.step == 6 and run.backbone == SmallResNet((16, 32, 64, 128))
    assert run.train.batch == 32 and run.policy.views[0].size == 32


@pytest.mark.slow
def test_from_the_weights_of_a_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backbone file of one run starts another, whose architecture it tells."""
    monkeypatch.setattr(settle, "GLANCE", 0.0)
    pretrain(Asked(change=tiny), str(file), tmp_path / "first", QUIET)
    weights = next((tmp_path / "first" / "export").glob("*student*.safetensors"))
    out = tmp_path / "second"
    change = train_with(steps=4)
    pretrain(Asked(change=change, init=str(weights)), str(file), out, QUIET)
    written = json.loads(RunDir(out).config.read_text())
    run = from_json(written["run"])
    assert run.init == str(weights.resolve()) and run.backbone == SmallResNet((4, 8))
    first = from_json(json.loads(RunDir(tmp_path / "first").config.read_text())["run"])
    assert run.optim == Sgd(lr=0.03) and (run.policy.mean, run.policy.std) == (first.policy.mean, first.policy.std)
    assert f"what the network in {weights} was trained with" in [choice["reason"] for choice in written["choices"]]
    assert f"the architecture found in {weights}" in [choice["reason"] for choice in written["choices"]]


@pytest.mark.slow
def test_a_time_is_kept(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of this process, so that others may use the machine; a resumed run keeps what was planned."""
    monkeypatch.setattr(trials, "time", SimpleNamespace(perf_counter=time.process_time))
    out = tmp_path / "run"
    began = time.process_time()
    assert main(["--data", str(file), "--out", str(out), *OPTIONS, "--time", "8s", "--quiet"]) == 0
    taken = time.process_time() - began
    run = from_json(json.loads(RunDir(out).config.read_text())["run"])
    assert run.train.steps >= 100 and 2 < taken < 24
    assert read_lines(RunDir(out).metrics)[-1]["step"] == run.train.steps
    assert resume(out, QUIET).steps == run.train.steps
