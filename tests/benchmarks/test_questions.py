"""The grids of the questions and of the harness: every cell is a run that could start."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.floor import main as floor
from resmom.configcheck import check
from resmom.data.source import ArraySource, Data
from resmom.recipes import base_of
from resmom.runs.comparisons.compare import images_of
from resmom.runs.comparisons.grid import read_grid
from resmom.runs.training.job import require_batch
from tests.recipes.test_lengths import IMAGES

PLACE = Path(__file__).parents[2] / "benchmarks"
GRIDS = sorted([*(PLACE / "questions").glob("*.json"), *(PLACE / "harness").glob("*.json")])


def training_images(grid: str, recipe: str) -> Data:
    """As many images as the data set has that a grid is for, by its name or by its recipe's; of one pixel each."""
    [data] = {part for part in grid.split("_") if part in IMAGES} or {
        part for part in base_of(recipe).split("_") if part in IMAGES
    }
    pixels = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(IMAGES[data], 3, 1, 1)
    labels = np.arange(IMAGES[data]) % 10
    return Data(ArraySource(data, pixels, labels, tuple("0123456789")), None, "as many as it has")


def test_there_are_grids() -> None:
    assert {file.stem for file in GRIDS} >= {"weight", "site", "pairing", "tuning", "questions", "momentum", "cifar100"}


@pytest.mark.slow
@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.stem)
def test_every_cell_could_start(file: Path) -> None:
    grid = read_grid(file)
    cells = grid.cells()
    assert len(cells) == len(grid.arms) * len(grid.seeds) and len({cell.digest for cell in cells}) == len(cells)
    images = images_of(grid, training_images(file.stem, grid.base.recipe))
    for cell in cells:
        check(cell.run)
        require_batch(cell.run, images)
    assert cells[0].run.residual.weight == 0  # the published method is what the others are compared with
    assert grid.name == file.stem and len(grid.about) > 40


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "distances", "tries"),
    [
        ("questions/tuning.json", ("cosine", "mse", "kd_feature", "kd_relation"), 4),
        ("harness/cifar100_tuning.json", ("cosine", "mse", "kd_feature", "kd_relation"), 8),
    ],
)
def test_every_distance_has_the_same_number_of_tries(file: str, distances: tuple[str, ...], tries: int) -> None:
    grid = read_grid(PLACE / file)
    found: dict[str, int] = {}
    for cell in grid.cells()[1 : len(grid.arms)]:
        found[cell.run.residual.distance] = found.get(cell.run.residual.distance, 0) + 1
    assert found == dict.fromkeys(distances, tries)
    assert grid.held_out == 0.1 and not set(grid.seeds) & {0, 1, 2, 3, 4}


def test_what_was_tuned_is_what_is_asked_about() -> None:
    """The distillations of the comparison are tries of the tuning, with all their settings."""
    tries = list(read_grid(PLACE / "questions" / "tuning.json").arms.values())
    arms = read_grid(PLACE / "questions" / "questions.json").arms
    for name in ("w2", "mse", "kd_feature", "kd_relation"):
        assert arms[name] in tries

    tried, tuned = (read_grid(PLACE / "questions" / f"{name}.json").cells() for name in ("tuned_weights", "tuned"))
    runs = [(cell.run.method, cell.run.ema, cell.run.residual) for cell in tried]
    asked = [
        cell.run for cell in tuned if cell.arm in ("plain-t0.1-m0.9", "w2-t0.1-m0.9", "w4-t0.1-m0.9", "kd-t0.1-m0.9")
    ]
    assert len(asked) == 20 and all((run.method, run.ema, run.residual) in runs for run in asked)


@pytest.mark.parametrize("folder", ["questions", "harness"])
def test_the_readme_counts_right(folder: str) -> None:
    table = (PLACE / folder / "README.md").read_text()
    for file in (PLACE / folder).glob("*.json"):
        grid = read_grid(file)
        row = next(line for line in table.splitlines() if line.startswith(f"| `{file.name}`"))
        assert row.endswith(f"| {len(grid.arms)} x {len(grid.seeds)} |")


def test_the_floor_is_what_pixels_find(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On images of one colour per class, which raw pixels tell apart, and on noise, where nothing is found."""
    random = np.random.default_rng(0)
    labels = np.arange(400) % 4
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]], dtype=np.uint8)
    told = np.broadcast_to(colours[labels][:, None, None, :], (400, 8, 8, 3)).copy()
    noise = random.integers(0, 256, (400, 8, 8, 3), dtype=np.uint8)
    for name, images in (("told", told), ("noise", noise)):
        np.savez(
            tmp_path / f"{name}.npz",
            **{"train_images": images[:200], "train_labels": labels[:200]},
            **{"test_images": images[200:], "test_labels": labels[200:]},
        )
        out = tmp_path / f"{name}.json"
        assert floor(["mocov3_cifar100_tiny", "--data", str(tmp_path / f"{name}.npz"), "--out", str(out)]) == 0
    assert "raw pixels           100.00 %" in capsys.readouterr().out
    found = [json.loads((tmp_path / f"{name}.json").read_text())["knn"] for name in ("told", "noise")]
    assert found[0] == {"raw pixels": 100.0, "normalised pixels": 100.0}
    assert all(10 < top1 < 45 for top1 in found[1].values())
