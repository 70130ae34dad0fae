"""Arms that begin as a run on disk: its settings, images and time; what cannot be begun from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import resmom
from resmom.called import called_by
from resmom.commands.compare import _of_other_length
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.export.record import trained_seconds
from resmom.jsonfiles import append_line, read_lines, write_json
from resmom.nets.backbones import ResNet
from resmom.recipes import recipe
from resmom.recipes.automatic import automatic
from resmom.recipes.facts import Facts
from resmom.recipes.pace import warmup
from resmom.recipes.teaching import ema_by_length
from resmom.runs.comparisons.base import base_named
from resmom.runs.comparisons.compare import can_show
from resmom.runs.comparisons.results import RESULTS
from resmom.runs.settling.offer import Asked
from tests.conftest import Call
from tests.runs.crash import small_run, write_images
from tests.runs.settling.derived import QUIET, images, tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of seconds."""
    folder = tmp_path_factory.mktemp("base")
    data = write_images(folder / "images.npz")
    resmom.pretrain(data, folder / "mine", small_run(epochs=2), device="cpu", quiet=True)
    return folder / "mine"


def test_a_recipe_by_its_name() -> None:
    found = base_named("mocov3_digits_residual")
    assert found.run == recipe("mocov3_digits_residual")
    assert (found.name, found.data, found.step_seconds) == ("mocov3_digits_residual", "", None)


def test_a_run_with_its_images_and_its_time(finished: Path) -> None:
    found = base_named(str(finished))
    assert found.run == small_run(epochs=2)
    assert (found.name, found.data) == ("mine", str(finished.parent / "images.npz"))
    seconds = trained_seconds(read_lines(finished / "metrics.jsonl"))
    assert found.step_seconds == pytest.approx(seconds / 10)  # type: ignore[operator]
    knn = [line for line in read_lines(finished / "metrics.jsonl") if line["kind"] == "knn"]
    assert found.began == knn[0]["student"] and knn[0]["step"] == 0
    assert (found.threads, found.note) == (torch.get_num_threads(), "")


def test_an_unfinished_run_is_told(call: Call, finished: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(finished, half)
    lines = [line for line in read_lines(half / "metrics.jsonl") if line["step"] <= 6]
    (half / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    note = f"{half} has not finished (step 6 of 10); only its settings are taken"
    assert base_named(str(half)).note == note
    asked = ["compare", half, "--out", tmp_path / "out", "--vary", "residual.weight=0,1", "--device", "cpu"]
    assert call(*asked, "--dry-run")[1].splitlines()[-1] == note


def test_a_run_of_images_given_in_python_has_none_to_name(tmp_path: Path) -> None:
    resmom.runs.pretrain.pretrain(tiny(small_run()), images(n=40), tmp_path / "run", QUIET)
    assert base_named(str(tmp_path / "run")).data == ""


def test_an_older_run_that_does_not_say_of_how_many_images_and_a_damaged_one(finished: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(finished, older)
    written = json.loads((older / "run.json").read_text())
    del written["images"]
    (older / "run.json").write_text(json.dumps(written))
    assert base_named(str(older)).note == "" and base_named(str(older)).step_seconds
    (older / "metrics.jsonl").unlink()
    assert (base_named(str(older)).note, base_named(str(older)).step_seconds) == ("", None)
    (older / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run.json is damaged"):
        base_named(str(older))


def test_what_cannot_be_begun_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="did you mean mocov3_digits"):
        base_named("mocov3_digit")
    Path("photos").mkdir()
    with pytest.raises(ConfigError, match=r"no recipe 'photos': photos is not a run folder: it has no run\.json"):
        base_named("photos")
    Path("photos/0.png").touch()
    with pytest.raises(ConfigError, match=r"photos looks like images, .*images are named with data='photos'"):
        base_named("photos")
    append_line(Path("photos") / RESULTS, {})
    with pytest.raises(ConfigError, match="photos holds a comparison, not a run; its runs are photos/ARM/seed-S"):
        base_named("photos")
    Path("own").mkdir()
    write_json(Path("own/run.json"), {"data": "x", "run": to_json(small_run()), "own": {"backbone": "a.B"}})
    with pytest.raises(ConfigError, match="own has a backbone given from Python, that no configuration describes"):
        base_named("own")


def test_a_configuration_in_a_file(call: Call, tmp_path: Path) -> None:
    """As `recipes show` prints it, with its header, changed by hand; or a run.json; mistakes are told with the file."""
    file = tmp_path / "mine.json"
    shown = call("recipes", "show", "mocov3_digits")[1]
    file.write_text(shown.replace('"seed": 0', '"seed": 7'))
    assert shown.startswith("#") and base_named(str(file)).run.train.seed == 7
    assert base_named(str(file)).name == "mine" and base_named(str(file)).data == ""
    write_json(file, {"data": "x", "run": to_json(small_run())})
    assert base_named(str(file)).run == small_run()
    for content, told in (
        ("{", r"mine.json cannot be read as JSON \(.*line 1"),
        ('{"arms": {}, "recipe": "mocov3_digits"}', "mine.json is a grid of several runs; `resmom.compare\\("),
        ('{"trian": {}}', r"mine.json: the configuration cannot be used: unknown 'trian', did you mean 'train'"),
        ("[]", "mine.json: the configuration cannot be used: expected an object"),
    ):
        file.write_text(content)
        with pytest.raises(ConfigError, match=told):
            base_named(str(file))
    with pytest.raises(ConfigError, match=r"there is no file .*other.json"):
        base_named(str(tmp_path / "other.json"))


@pytest.mark.slow
def test_a_run_with_the_settings_and_images_of_another(call: Call, finished: Path, tmp_path: Path) -> None:
    """Its images unless others are named; every field is an option; and the file of its settings says the same."""
    short = ["--train.epochs", "1", "--train.warmup-epochs", "0", "--device", "cpu", "--workers", "1"]
    assert call("pretrain", finished, "--out", tmp_path / "again", *short, "--train.seed", "5")[0] == 0
    written = json.loads((tmp_path / "again" / "run.json").read_text())
    first = small_run(epochs=2)
    expected = replace(first, train=replace(first.train, epochs=1, warmup_epochs=0, seed=5))
    assert from_json(written["run"]).train == expected.train and from_json(written["run"]).method == expected.method
    assert written["data"] == json.loads((finished / "run.json").read_text())["data"]
    status, _, err = call("pretrain", finished / "run.json", "--out", tmp_path / "b", *short)
    assert status == 2 and "--data is missing" in err
    status, _, err = call("pretrain", finished, "--out", finished, *short)
    assert status == 2 and "already holds a run" in err


@pytest.mark.slow
def test_an_arm_of_a_derived_run_may_name_a_method(call: Call, tmp_path: Path) -> None:
    """Its queue and heads are made for the images and the network, as `pretrain --method` makes them."""
    resmom.runs.pretrain.pretrain(Asked(change=tiny), data := images(80), tmp_path / "run", QUIET)
    assert base_named(str(tmp_path / "run")).images == len(data.train)
    asked = [
        "compare",
        tmp_path / "run",
        "--out",
        tmp_path / "out",
        "--vary",
        "method=mocov3,mocov2",
        "--device",
        "cpu",
    ]
    write_images(tmp_path / "images.npz")
    status, told, err = call(*asked, "--data", tmp_path / "images.npz", "--seeds", "0", "--list")
    assert (status, err) == (0, "") and "method=mocov2" in told


@pytest.mark.slow
def test_a_comparison_of_a_run_as_one_types_it(call: Call, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["compare", finished, "--out", out, "--vary", "residual.weight=0,1", "--seeds", "3", "--device", "cpu"]
    status, told, err = call(*asked, "--dry-run")
    assert (status, err) == (0, "") and not out.exists()
    assert "weight=0  seed 3  not begun, 10 steps" in told and "0 of 2 cells done; about " in told
    assert "on which no arm can be shown to learn" in told  # random weights name all of these images right
    status, told, err = call(*asked)
    assert status == 0 and "weight=1  " in told
    assert (
        "residual momentum: weight 1 (constant)" in err and "before against after" not in err
    )  # told once, at the end
    lines = {line["arm"]: line for line in read_lines(out / RESULTS)}
    assert lines["weight=1"]["run"]["recipe"] == f"mine: weight=1, from {small_run().recipe}"
    # The arm that changes nothing is the run itself.
    again = replace(from_json(lines["weight=1"]["run"]), recipe=small_run().recipe)
    assert again == small_run(epochs=2)
    own = [line for line in read_lines(finished / "metrics.jsonl") if line["kind"] == "knn"][-1]
    assert lines["weight=1"]["measures"]["knn/student"] == own["student"]
    health = [line for line in read_lines(out / "weight=1/seed-3/metrics.jsonl") if line["kind"] == "health"][-1]
    assert lines["weight=1"]["measures"]["health/teacher/rankme"] == health["teacher/rankme"]
    # The same from Python, and from a grid file: nothing is left to train.
    arms = {"weight=0": {"residual.weight": 0}, "weight=1": {"residual.weight": 1}}
    done = resmom.result(finished)
    for base, data in ((finished, finished.parent / "images.npz"), (done, None)):
        found = resmom.compare(base, data, out, arms=arms, seeds=[3], device="cpu")
        assert str(found).splitlines()[1:] == told.splitlines()[1:]  # the first speaks of options, or of fields
    with pytest.raises(UserError, match=r"another configuration: optim\.lr was"):
        resmom.compare(done, None, out, change=faster, arms=arms, seeds=[3], device="cpu")
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps({"recipe": str(finished), "arms": arms, "seeds": [3]}))
    status, listed, _ = call("compare", grid, "--out", out, "--list")
    assert status == 0 and "2 of 2 cells done" in listed


def test_what_the_test_images_can_show(finished: Path) -> None:
    data = open_data(str(finished.parent / "images.npz"))  # ten test images of two classes
    assert "rises by more than 48.7 points (if it begins at chance, 50.0 %)" in can_show(data)
    assert "rises by more than 52.7 points (from 40.0 %)" in can_show(data, 40.0)


def faster(run: Run) -> Run:
    return replace(run, optim=replace(run.optim, lr=2 * run.optim.lr))


def test_what_was_derived_from_the_length_is_told(call: Call, tmp_path: Path) -> None:
    data = images(n=200)
    resmom.runs.pretrain.pretrain(Asked(change=tiny), data, tmp_path / "run", QUIET)
    made = base_named(str(tmp_path / "run")).run
    assert made.recipe == "automatic"
    asked = ["compare", tmp_path / "run", "--data", write_images(tmp_path / "images.npz"), "--out", tmp_path / "out"]
    asked += ["--vary", "residual.weight=0,1", "--dry-run", "--device", "cpu"]
    told = call(*asked, "--train.steps", 60)[2]
    assert f"60 steps instead of {made.train.steps}: what was derived from the length stays, --train.warmup" in told
    assert f"for 60 steps there would be --train.warmup-steps {warmup(60)}\n" in told
    assert "derived" not in call(*asked)[2] + call(*asked, "--train.steps", 60, "--ema.momentum", 0.8)[2]


def test_a_teacher_that_was_derived_from_the_length_is_told_too() -> None:
    made = automatic(Facts(images=5_000, side=300, mean=(0.5,) * 3, std=(0.2,) * 3, backbone=ResNet(18))).run
    with called_by("options"):
        told = _of_other_length(made, replace(made, train=replace(made.train, steps=600)))
    assert f"--train.warmup-steps {made.train.warmup_steps} and --ema.momentum {made.ema.momentum:.4g}; for 600" in told
    momentum = ema_by_length(600)[0].momentum
    assert told.endswith(f"there would be --train.warmup-steps {warmup(600)} --ema.momentum {momentum:.4g}")
