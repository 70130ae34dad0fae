"""Cells against what a folder and its lines hold: whatever could not be compared is refused, and nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.config import ConfigError, to_json
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import read_lines, write_json
from resmom.nets.backbones import SmallResNet
from resmom.rundir import RunDir
from resmom.runs.comparisons.agree import require_alike
from resmom.runs.comparisons.cell import bare_line
from resmom.runs.comparisons.compare import standings
from resmom.runs.comparisons.grid import Cell, Grid
from resmom.runs.comparisons.results import RESULTS, keep
from resmom.runs.comparisons.sound import require_weights
from resmom.runs.pretrain import resume
from resmom.runs.training.job import backbone_of, fresh_method
from resmom.runs.training.start import content_of
from tests.runs.comparisons.grids import small_grid
from tests.runs.crash import QUIET, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return open_data(str(write_images(tmp_path_factory.mktemp("images") / "images.npz")))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return written(tmp_path / "w.pth")


def written(file: Path, seed: int = 0, widths: tuple[int, ...] = (4, 8)) -> Path:
    """A file of weights of a backbone as small as the grid's."""
    run = small_grid().base
    run = replace(run, backbone=SmallResNet(widths), train=replace(run.train, seed=seed))
    torch.save(backbone_of(fresh_method(run, torch.device("cpu")).student).state_dict(), file)
    return file


def from_weights(file: Path, seeds: tuple[int, ...] = (3, 4)) -> Grid:
    """The grid with an arm that starts from a file."""
    grid = small_grid(seeds)
    return replace(grid, arms={**grid.arms, "warm": {"init": str(file)}})


def warm(grid: Grid) -> Cell:
    return next(cell for cell in grid.cells() if cell.arm == "warm")


def finish(cell: Cell, images: Data, out: Path) -> dict[str, Any]:
    """Keep a line as if the cell had been trained."""
    out.mkdir(exist_ok=True)
    keep(out / RESULTS, bare_line(cell, images, out, 10, ()) | {"seconds": 1.0})
    return read_lines(out / RESULTS)[-1]


def begin(cell: Cell, out: Path) -> RunDir:
    """A folder as the start of the cell leaves it, before its first checkpoint."""
    folder = RunDir(cell.folder(out))
    folder.path.mkdir(parents=True)
    content = {"format": 1, "data": "x", "run": to_json(cell.run), "init": content_of(cell.run.init)}
    write_json(folder.config, content)
    return folder


def test_other_seeds_with_another_setting_are_refused(images: Data, tmp_path: Path) -> None:
    finish(small_grid().cells()[0], images, tmp_path)
    more = small_grid(seeds=(5,))
    assert [standing.line for standing in standings(more, images, tmp_path)] == [None, None]
    other = replace(more, arms={**more.arms, "plain": {"residual.weight": 0, "optim.lr": 0.5}})
    with pytest.raises(RunDirError, match=r"arm plain, seed 3 with another configuration: optim.lr was 1.0 and is 0.5"):
        standings(other, images, tmp_path)
    # An arm under way counts as one with a line.
    begin(small_grid().cells()[1], tmp_path)
    changed = {**more.arms, "residual": {"residual.weight": 1, "optim.lr": 0.5}}
    with pytest.raises(RunDirError, match=r"residual/seed-3 holds arm residual, seed 3 with another configuration"):
        standings(replace(more, arms=changed, seeds=(5, 3)), images, tmp_path)


def test_other_seeds_and_other_arms_on_other_images_are_refused(images: Data, tmp_path: Path) -> None:
    finish(small_grid().cells()[0], images, tmp_path)
    others = open_data(str(write_images(tmp_path / "others.npz", n=48)))
    more = small_grid(seeds=(5,))
    for grid in (more, replace(more, arms={"faster": {"optim.lr": 2.0}, "slower": {"optim.lr": 0.5}})):
        with pytest.raises(RunDirError, match=r"cells.jsonl: arm plain, seed 3 was measured on other images \("):
            standings(grid, others, tmp_path)


def test_lines_that_stand_in_no_table_are_told_before_anything_is_added(images: Data, tmp_path: Path) -> None:
    finish(small_grid().cells()[0], images, tmp_path)
    other = finish(small_grid().cells()[2], images, tmp_path)
    other["run"]["optim"]["lr"] = 0.5
    keep(tmp_path / RESULTS, other)
    with pytest.raises(UserError, match=r"the cells of arm plain differ in more than their seed, in optim.lr"):
        standings(small_grid(seeds=(5,)), images, tmp_path)


def test_weights_that_are_missing_or_do_not_fit_are_refused(images: Data, tmp_path: Path, weights: Path) -> None:
    out = tmp_path / "out"
    assert len(standings(from_weights(weights), images, out)) == 6
    for file in (tmp_path / "none.pth", written(tmp_path / "wide.pth", widths=(8, 16))):
        with pytest.raises(ConfigError, match="arm warm: init: .*" + file.name):
            standings(from_weights(file), images, out)
    # Past its start a cell does not read the file any more.
    cell = warm(from_weights(tmp_path / "none.pth"))
    with pytest.raises(ConfigError, match="arm warm: init"):
        require_weights([cell], out)
    last = begin(cell, out).last
    last.parent.mkdir()
    last.touch()
    require_weights([cell], out)


def test_weights_that_were_overwritten_are_refused(images: Data, tmp_path: Path, weights: Path) -> None:
    out, grid = tmp_path / "out", from_weights(weights)
    line = finish(warm(grid), images, out)
    assert line["init"] == content_of(str(weights)) != ""
    written(weights, seed=1)
    told = (
        rf"cells.jsonl holds arm warm, seed 3 .*: init was .w.pth of content {line['init']}. and is .w.pth of content"
    )
    with pytest.raises(RunDirError, match=told):
        standings(grid, images, out)
    done = replace(grid, seeds=(3,), arms={"warm": grid.arms["warm"]})
    assert standings(done, images, out)[0].line == line  # nothing is left to start


def test_a_cell_that_began_with_other_weights_does_not_go_on(images: Data, tmp_path: Path, weights: Path) -> None:
    out, cell = tmp_path / "out", warm(from_weights(weights))
    folder, before = begin(cell, out), content_of(str(weights))
    written(weights, seed=1)
    with pytest.raises(RunDirError, match=r"warm/seed-3 holds arm warm, seed 3 .*: init was .w.pth of content"):
        standings(from_weights(weights), images, out)
    with pytest.raises(RunDirError, match=r"holds other weights than when the run in .* was begun"):
        resume(folder.path, QUIET)
    assert bare_line(cell, images, out, 10, ())["init"] == before  # that of its start, whatever the file holds now
    weights.unlink()
    assert bare_line(cell, images, out, 10, ())["init"] == before
    older = json.loads(folder.config.read_text())
    del older["init"]
    write_json(folder.config, older)
    assert bare_line(cell, images, out, 10, ())["init"] == ""


def test_cells_of_before_contents_were_written_down_go_on(images: Data, tmp_path: Path, weights: Path) -> None:
    out, grid = tmp_path / "out", from_weights(weights)
    folder = begin(warm(grid), out)
    write_json(folder.config, {name: value for name, value in folder.written().items() if name != "init"})
    assert len(standings(grid, images, out)) == 6
    with pytest.raises(UserError, match=r"init was .*w.* and is .*other"):
        standings(from_weights(written(weights.with_name("other.pth"))), images, out)


def test_a_cell_past_its_start_goes_on_whatever_became_of_the_file(tmp_path: Path, weights: Path) -> None:
    out, grid = tmp_path / "out", from_weights(weights)
    last = begin(warm(grid), out).last
    last.parent.mkdir()
    last.touch()
    require_alike([warm(grid)], out, [], {})
    written(weights, seed=1)
    require_alike([warm(grid)], out, [], {})
    last.unlink()
    with pytest.raises(RunDirError, match="another configuration: init was"):
        require_alike([warm(grid)], out, [], {})
    last.touch()
    weights.unlink()
    require_alike([warm(grid)], out, [], {})
