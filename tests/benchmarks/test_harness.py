"""The harness: cut off and called again, it does every cell once; at toy size it runs on a CPU."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import check, training
from benchmarks.harness.throughput import Case, measure
from resmom.errors import UserError
from resmom.recipes import recipe
from resmom.rundir import read_lines

GRID = {
    "name": "tiny",
    "recipe": "mocov3_digits",
    "set": {"policy.mean": [0.5, 0.5, 0.5]},
    "arms": {"mocov3": {}, "residual": {"residual.weight": 1.0}},
    "seeds": [0, 1],
}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.json"
    file.write_text(json.dumps(GRID))
    return file


@pytest.fixture
def data(tmp_path: Path) -> str:
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 3, 64)
    pixels = (draws.integers(0, 128, (64, 32, 32, 3)) + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(
        tmp_path / "data.npz",
        train_images=pixels[:48], train_labels=labels[:48], test_images=pixels[48:], test_labels=labels[48:],
    )  # fmt: skip
    return str(tmp_path / "data.npz")


def work(grid: Path, data: str, seconds: float) -> int:
    place = grid.parent
    (place / "results").mkdir(exist_ok=True)
    return training.work(grid, data, place / "state", place / "results", "cpu", True, time.monotonic() + seconds)


def test_cells_go_seed_by_seed_with_their_settings() -> None:
    found = list(training.cells(GRID, toy=False))
    assert [(arm, seed) for arm, seed, _ in found] == [("mocov3", 0), ("residual", 0), ("mocov3", 1), ("residual", 1)]
    assert [run.train.seed for _, _, run in found] == [0, 0, 1, 1]
    assert [run.residual.weight for _, _, run in found] == [0, 1, 0, 1]
    assert all(run.policy.mean == (0.5, 0.5, 0.5) for _, _, run in found)


@pytest.mark.parametrize("path", ["train.epoch", "trian.epochs", "train.epochs.more"])
def test_a_field_that_no_run_has_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="the grid sets"):
        training.changed(recipe("mocov3_digits"), {path: 3})


@pytest.mark.slow
def test_a_grid_cut_off_is_finished_by_calling_again(grid: Path, data: str) -> None:
    assert work(grid, data, 0.0) == 3  # no time at all: nothing is begun
    calls = 0
    while work(grid, data, 6.0):
        calls += 1
        assert calls < 20
    lines = read_lines(grid.parent / "results" / "tiny.jsonl")
    assert sorted((line["arm"], line["seed"]) for line in lines) == [
        ("mocov3", 0), ("mocov3", 1), ("residual", 0), ("residual", 1),
    ]  # fmt: skip
    for line in lines:
        protocols = {row["protocol"].split(" ")[0] for row in line["rows"]}
        assert any(name.startswith("knn") for name in protocols) and any("linear" in name for name in protocols)
        assert {row["network"] for row in line["rows"]} == {"student", "teacher"}
        assert {row["site"] for row in line["gap"]} == {"h", "z", "p"}
        assert line["run"]["train"]["steps"] == 6 and line["seconds"] > 0
    assert not any((grid.parent / "state").iterdir())  # nothing large is left
    assert work(grid, data, 60.0) == 0  # and nothing is done twice
    assert len(read_lines(grid.parent / "results" / "tiny.jsonl")) == 4


@pytest.mark.slow
def test_a_stopped_cell_goes_on(grid: Path, data: str) -> None:
    _, _, run = next(training.cells(GRID, toy=True))
    run = replace(run, train=replace(run.train, steps=4000))
    # The time is up before the run is set up: it is not killed, does a step, saves, and says how far it is.
    first = training.train(run, data, grid.parent / "run", "cpu", time.monotonic())
    assert 0 < first.step < 4000
    second = training.train(run, data, grid.parent / "run", "cpu", time.monotonic() + 1.5)
    assert first.step < second.step < 4000


@pytest.mark.slow
def test_throughput_and_checks_run_at_toy_size_on_a_cpu(tmp_path: Path) -> None:
    import torch

    line = measure(Case("mocov3_digits", 4, 32, 16), "fp32", torch.device("cpu"), toy=True)
    assert set(line["images_per_second"]) == {"ours", "plain", "ours, with loader"}
    assert all(speed > 0 for speed in line["images_per_second"].values()) and line["ratio_to_plain"] > 0
    found = check.check_losses(torch.device("cpu"))
    assert found["holds"] and found["fp32_to_cpu"] == 0.0
    assert check.check_views(torch.device("cpu"))["holds"]
