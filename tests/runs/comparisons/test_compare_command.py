"""`resmom compare` as one types it: suggestions, one-line refusals, dry runs, lists, JSON, show and merge."""

import functools
import json
import re
from pathlib import Path

import pytest

from resmom.diagnose.rules import too_short
from resmom.jsonfiles import append_line, read_lines
from resmom.runs.comparisons.results import RESULTS
from tests.conftest import Call
from tests.runs.comparisons.grids import OPTIONS, TINY, line
from tests.runs.crash import write_images

DONE = r"done, kNN student \d+\.\d\d, teacher \d+\.\d\d"
"""What is said of a cell when it is finished."""


@pytest.fixture
def call(call: Call) -> Call:
    """Run `resmom compare ARGUMENTS` in this process: (exit status, standard output, standard error)."""
    return functools.partial(call, "compare")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "images.npz", n=48, classes=3)


@pytest.mark.slow
@pytest.mark.usefixtures("typed")
def test_a_grid_from_options_step_by_step(call: Call, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    grid = ["mocov3_digits", "--data", data, "--out", out, *TINY, "--vary", "residual.weight=0,1", "--seeds", "0,5"]
    status, told, _ = call(*grid, "--dry-run")
    assert status == 0 and not out.exists()
    assert told.splitlines() == [
        "weight=0  seed 0  not begun, 12 steps",
        "weight=1  seed 0  not begun, 12 steps",
        "weight=0  seed 5  not begun, 12 steps",
        "weight=1  seed 5  not begun, 12 steps",
        "0 of 4 cells done",
        "kNN is measured on twelve test images: an arm counts only if its kNN rises by more than 51.4 points (if "
        "it begins at chance, 33.3 %)",
        too_short(12),
    ]
    status, told, err = call(*grid, "--part", "1/2", "--json")
    half, whole = err.splitlines()  # a line for every cell, though the call is quiet
    assert status == 0 and re.fullmatch(
        rf"weight=0, seed 0: {DONE}; 1 of 2 cells done; about .* of training left", half
    )
    assert re.fullmatch(rf"weight=1, seed 0: {DONE}; 2 of 2 cells done", whole)
    first = json.loads(told)
    assert [(arm["name"], arm["seeds"]) for arm in first["arms"]] == [("weight=0", [0]), ("weight=1", [0])]
    assert (first["left"], first["against"]) == (0, "weight=0")
    status, told, _ = call(*grid, "--list")
    assert told.splitlines()[0] == "weight=0  seed 0  done" and "2 of 4 cells done; about" in told
    status, told, _ = call(*grid, "--list", "--json")
    listed = json.loads(told)["cells"]
    assert json.loads(told)["said"][0].startswith("2 of 4 cells done; about") and len(json.loads(told)["said"]) == 3
    assert [cell["done"] for cell in listed] == [True, True, False, False] and listed[2]["seconds_left"] > 0
    assert {cell["steps"] for cell in listed} == {12} and len({cell["digest"] for cell in listed}) == 4
    status, told, _ = call(*grid)
    assert status == 0 and "kNN of the student, top-1 in %" in told and "gap at p, 1 - cos" in told
    assert "what the residual term trains for (weight=1)" in told
    assert len(read_lines(out / RESULTS)) == 4
    status, shown, _ = call("show", out)
    assert (status, shown) == (0, told)
    status, shown, _ = call("show", out, "--against", "weight=1", "--together", "--format", "latex")
    assert status == 0 and shown.startswith("% last epoch") and "hold together" in shown and "against weight=1" in shown
    assert call("show", out, "--against", "w")[2].startswith(
        "resmom compare: there is no arm w to compare with; there are"
    )
    assert "leave one of them out" in call("show", out, "--json", "--format", "csv")[2]
    status, merged, _ = call("merge", out, out / RESULTS, "--out", tmp_path / "all.jsonl")
    assert (status, merged) == (0, told) and len(read_lines(tmp_path / "all.jsonl")) == 4
    assert json.loads(call("show", tmp_path / "all.jsonl", "--json")[1])["arms"][1]["seeds"] == [0, 5]


def test_a_grid_from_a_file(call: Call, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    arms = {"plain": {}, "residual": {"residual.weight": 1}, "byol": {"method": "byol", "method.hidden": 8}}
    file.write_text(json.dumps({"recipe": "mocov3_digits", "set": OPTIONS, "arms": arms, "seeds": [2]}))
    rest = ["--data", data, "--out", tmp_path / "out", "--device", "cpu"]
    status, told, _ = call(file, *rest, "--dry-run", "--train.epochs", 4, "--seeds", "2,3")
    assert status == 0 and "byol      seed 3  not begun, 24 steps" in told
    status, _, err = call(file, *rest, "--vary", "optim.lr=1,2")
    assert status == 2 and "has its own arms" in err
    status, _, err = call(file, *rest, "--train.seed", "4")
    assert status == 2 and "give --seeds" in err
    status, told, _ = call(file, "--help")
    assert status == 0 and "--seeds STR" in told and "(default: 2)" in told
    file.write_text(json.dumps({"recipe": "mocov3_digits", "set": OPTIONS, "vary": {"residual.site": ["p", "z"]}}))
    status, told, _ = call(file, *rest, "--dry-run", "--residual.weight", 1, "--seeds", 0)
    assert status == 0 and told.startswith("site=p  seed 0  not begun")
    assert "residual.site changes nothing while residual.weight is 0" in call(file, *rest, "--dry-run")[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--vary", "residul.weight=0,1"], "did you mean residual.weight?"),
        (["--vary", "residual.weight=0,-1"], "arm weight=-1: the configuration cannot be used"),
        (["--vary", "residual.weight=0,1", "--train.batch", "64"], "has 48 images, --train.batch is 64"),
        (["--vary", "residual.weight=0,1", "--seeds", "a"], "--seeds is 'a'"),
        (["--vary", "residual.weight=0,1", "--part", "3/2"], "--part is '3/2'"),
        (["--vary", "residual.weight=0,1", "--held-out", "2"], "above 0 and below 1"),
        (["--vary", "residual.weight=0"], "weight=0 is one arm, with nothing to compare it with"),
        (["--vary", "residual.weight=0,1", "--compile", "graphs"], "records CUDA graphs, and the device is cpu"),
        ([], "nothing is varied"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(
    call: Call, data: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    status, told, err = call("mocov3_digits", "--data", data, "--out", tmp_path / "out", *TINY, *arguments)
    assert (status, told) == (2, "") and words in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_method_and_backbone_for_all_arms(call: Call, data: Path, tmp_path: Path) -> None:
    rest = ["mocov3_digits", "--data", data, "--out", tmp_path / "out", "--device", "cpu", "--seeds", "1", "--list"]
    rest += ["--train.batch", "8", "--json"]

    def digests(*options: str) -> dict[str, str]:
        status, told, _ = call(*rest, "--vary", "residual.weight=0,1", *options)
        assert status == 0
        return {cell["arm"]: cell["digest"] for cell in json.loads(told)["cells"]}

    options = ("--method", "byol", "--backbone", "small", "--image-size", "24", "--orientation", "any")
    found = digests(*options, "--method.hidden", "16")
    file = tmp_path / "same.json"
    arms = {"weight=0": {"residual.weight": 0}, "weight=1": {"residual.weight": 1}}
    every = {
        "method": "byol",
        "backbone": "small",
        "image_size": 24,
        "orientation": "any",
        "method.hidden": 16,
        "train.batch": 8,
    }
    file.write_text(json.dumps({"recipe": "mocov3_digits", "set": every, "arms": arms, "seeds": [1]}))
    told = call(file, *rest[1:], "--method.hidden", "16")[1]
    assert found == {cell["arm"]: cell["digest"] for cell in json.loads(told)["cells"]} and found != digests()


def test_a_line_cut_short_is_told(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    for seed in (0, 1):
        append_line(file, line("plain", seed, 0, knn__student=40.0))
    whole = call("show", file)
    assert whole[::2] == (0, "")
    with file.open("a") as end:
        end.write('{"format": 1, "arm": "pl')
    for arguments in (("show", tmp_path), ("merge", file, "--out", tmp_path / "all.jsonl")):
        status, told, err = call(*arguments)
        assert (status, told) == whole[:2] and err.startswith(f"the last line of {file} is cut short and left out")
    (arm := tmp_path / "plain").mkdir()
    assert f"{arm} lies in the folder of a comparison, {tmp_path}; name" in call("show", arm)[2]


def test_unknown_words(call: Call, tmp_path: Path) -> None:
    status, _, err = call("mocov3_digit", "--data", "x", "--out", tmp_path / "out")
    assert status == 2 and "did you mean mocov3_digits" in err
    status, _, err = call("--data", "x")
    assert status == 2 and "comes first" in err
    assert call()[0] == 2
    status, _, err = call("mocov3_digits", "--data", "x", "--out", tmp_path / "o", "--residul.weight", "1")
    assert status == 2 and "--residual.weight" in err
    status, _, err = call("show", tmp_path)
    assert status == 2 and "does not exist" in err and err.count("\n") == 1
    (tmp_path / "begun/plain/seed-0").mkdir(parents=True)
    assert f"no cell of {tmp_path / 'begun'} is finished yet" in call("show", tmp_path / "begun")[2]
    (tmp_path / "run.json").write_text("{}")
    assert f"{tmp_path} is a run, and no comparison" in call("show", tmp_path)[2]


def test_a_folder_of_something_else_is_left_alone(call: Call, data: Path, tmp_path: Path) -> None:
    asked = ["mocov3_digits", "--data", data, *TINY, "--vary", "residual.weight=0,1", "--dry-run", "--out"]
    photos, run, file = tmp_path / "photos", tmp_path / "run", tmp_path / "file"
    photos.mkdir()
    (photos / "a.png").touch()
    assert f"{photos} is not empty and no comparison (it holds a.png)" in call(*asked, photos)[2]
    run.mkdir()
    (run / "run.json").touch()
    assert f"{run} is a run; give another --out" in call(*asked, run)[2]
    file.touch()
    assert f"{file} is a file" in call(*asked, file)[2]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.plain.seed-0.lock").touch()  # of a call that was stopped at once
    assert call(*asked, tmp_path / "empty")[0] == 0
