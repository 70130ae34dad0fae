"""The job: every cell checked first, trained once, gone on with after a kill, measured, and kept as one line."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import resmom
import resmom.runs.comparisons.cell as cell
import resmom.runs.comparisons.compare
import resmom.runs.measuring.measure as measure
import resmom.runs.training.loop as loop
from resmom.data.open import open_data
from resmom.errors import RunDirError, UserError
from resmom.evaluate.score import NotMeasured
from resmom.jsonfiles import append_line, read_lines
from resmom.rundir import RunDir
from resmom.runs.comparisons.cell import claimed
from resmom.runs.comparisons.compare import Ended, compare, standings, time_left
from resmom.runs.comparisons.grid import Grid
from resmom.runs.comparisons.results import RESULTS
from resmom.runs.pretrain import resume
from resmom.runs.reporting.report import report
from resmom.runs.training.interrupt import Finished
from tests.runs.comparisons.grids import OPTIONS, TINY, command, small_grid, start
from tests.runs.crash import QUIET, write_images
from tests.runs.test_resume import assert_same_run

CELLS = [("plain", 3), ("residual", 3), ("plain", 4), ("residual", 4)]


def kept(out: Path) -> list[dict[str, Any]]:
    """The lines without what is no result."""
    drop = ("environment", "seconds", "processor_seconds")
    lines = [{k: v for k, v in line.items() if k not in drop} for line in read_lines(out / RESULTS)]
    return sorted(lines, key=lambda line: (line["seed"], line["place"]))


def work(out: Path, data: Path, grid: Grid | None = None, **options: Any) -> Ended:
    return compare(grid or small_grid(), str(data), out, QUIET, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The comparison that was never stopped: its folder, and its data."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data = write_images(folder / "images.npz", n=60, classes=3)
    process = start(folder / "out", data)
    process.join()
    assert process.exitcode == 0
    return folder / "out", data


def test_every_cell_is_a_run_and_a_line(undisturbed: tuple[Path, Path]) -> None:
    out, _ = undisturbed
    lines = read_lines(out / RESULTS)
    assert [(line["arm"], line["seed"]) for line in lines] == CELLS
    for line in lines:
        folder = RunDir(out / line["arm"] / f"seed-{line['seed']}")
        metrics = read_lines(folder.metrics)
        knn = [entry for entry in metrics if entry["kind"] == "knn"]
        assert knn[0]["step"] == 0 and knn[-1]["step"] == 14 == line["steps"]  # 2 epochs of 60 // 8
        assert line["before"] == knn[0]["student"] and line["queries"] == 15
        assert line["environment"]["compile"] == "no"
        assert line["measures"]["knn/student"] == knn[-1]["student"]
        assert line["measures"]["knn/teacher"] == knn[-1]["teacher"]
        online = [entry for entry in metrics if entry["kind"] == "online"]
        assert line["measures"]["online/student"] == online[-1]["student"]
        gaps = read_lines(folder.gaps)[-1]
        assert {row["site"]: row["intra"] for row in gaps["rows"]} == {
            site: line["measures"][f"gap/{site}/intra"] for site in ("h", "z", "p")
        }
        assert line["protocols"]["gap"] == gaps["protocol"] and line["protocols"]["knn"].startswith("knn-v1")
        assert (
            line["seconds"] > 0
            and line["processor_seconds"] > 0
            and line["environment"]["packages"]["torch"]
            and line["data"]["images"] == 60
        )
        assert json.loads(folder.config.read_text())["run"]["train"]["seed"] == line["seed"]
        assert not any(name.startswith("linear") for name in line["measures"])


@pytest.mark.slow
def test_the_runs_of_an_arm_are_those_of_pretrain(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    from resmom.runs.pretrain import pretrain

    one = small_grid().cells()[1]
    pretrain(one.run, str(undisturbed[1]), tmp_path / "run", QUIET)
    assert_same_run(tmp_path / "run", undisturbed[0] / "residual" / "seed-3")


def test_a_second_call_trains_nothing(undisturbed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    out, data = undisturbed
    before = (out / RESULTS).read_text()

    def never(*_: object, **__: object) -> Finished:
        raise AssertionError("a finished cell was trained again")

    monkeypatch.setattr(cell, "pretrain", never)
    monkeypatch.setattr(cell, "resume", never)
    ended = work(out, data)
    assert (out / RESULTS).read_text() == before
    assert (ended.comparison.left, ended.elsewhere, ended.interrupted_by) == (0, 0, None)
    assert [arm.name for arm in ended.comparison.arms] == ["plain", "residual"]
    arms = small_grid().arms
    other = dataclasses.replace(small_grid(), arms={name: arms[name] for name in ("residual", "plain")})
    assert [arm.name for arm in work(out, data, other).comparison.arms] == ["residual", "plain"]


KILLS = [("step", 4), ("step", 14), ("step", 20), ("gap", 1), ("gap", 3), ("line", 1), ("line", 4)]


@pytest.mark.slow
@pytest.mark.parametrize(("where", "at"), KILLS)
def test_killed_and_finished_is_as_if_undisturbed(
    undisturbed: tuple[Path, Path], tmp_path: Path, where: str, at: int
) -> None:
    reference, data = undisturbed
    out = tmp_path / "out"
    process = start(out, data, where, at)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = {(line["arm"], line["seed"]) for line in read_lines(out / RESULTS)}
    if where == "step":  # in step `at`; an epoch has 7 steps and ends with a checkpoint
        found = {(s.cell.arm, s.cell.seed): s.step for s in standings(small_grid(), open_data(str(data)), out)}
        assert found[CELLS[(at - 1) // 14]] == (at - 1) % 14 // 7 * 7
    again = start(out, data)
    again.join()
    assert again.exitcode == 0 and kept(out) == kept(reference)
    for arm, seed in CELLS:
        own, theirs = (folder / arm / f"seed-{seed}" for folder in (out, reference))
        assert_same_run(own, theirs)
        if (arm, seed) in done:  # nothing was started a second time
            assert len(read_lines(RunDir(own).environment)) == 1


@pytest.mark.slow
def test_the_command_killed_in_the_middle_and_called_again(tmp_path: Path) -> None:
    """Killed in the second cell and, called again, while its line is written; the last call is a fresh interpreter."""
    data = write_images(tmp_path / "images.npz", n=48, classes=3)
    grid = ["mocov3_digits", "--data", str(data), "--vary", "residual.weight=0,1", "--seeds", "0,1", *TINY]
    grid += ["--threads", "1", "--json"]
    told, whole, killed = tmp_path / "told.json", tmp_path / "whole", tmp_path / "killed"
    process = command([*grid, "--out", str(whole)], told)
    process.join()
    assert process.exitcode == 0
    arms = json.loads(told.read_text())["arms"]
    assert [(arm["name"], arm["seeds"]) for arm in arms] == [("weight=0", [0, 1]), ("weight=1", [0, 1])]
    for where, at, lines in (("step", 15, 1), ("line", 2, 2)):
        process = command([*grid, "--out", str(killed)], tmp_path / "unsaid", where, at)
        process.join()
        assert process.exitcode == -signal.SIGKILL and len(read_lines(killed / RESULTS)) == lines
    last = [sys.executable, "-m", "resmom", "compare", *grid, "--out", str(killed)]
    done = subprocess.run(last, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(told.read_text()) and kept(killed) == kept(whole)
    assert [(line["arm"], line["seed"]) for line in read_lines(killed / RESULTS)] == [
        ("weight=0", 0), ("weight=1", 0), ("weight=0", 1), ("weight=1", 1),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_signal_stops_the_grid_and_the_next_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, steps = write_images(tmp_path / "images.npz"), []
    train_step = loop.train_step

    def stepping(*args: Any) -> Any:
        steps.append(1)
        if len(steps) == 14:
            signal.raise_signal(signal.SIGTERM)
        return train_step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stepping)
        ended = work(tmp_path / "out", data)
    assert ended.interrupted_by == signal.SIGTERM and len(steps) == 14 and ended.comparison.left == 3
    found = standings(small_grid(), open_data(data), tmp_path / "out")
    assert [(s.step, s.line is not None) for s in found] == [(10, True), (4, False), (0, False), (0, False)]
    assert "1 of 4 cells done; about" in time_left(found)
    assert work(tmp_path / "out", data).interrupted_by is None
    assert len(read_lines(tmp_path / "out" / RESULTS)) == 4


def test_all_cells_are_checked_before_the_first_trains(tmp_path: Path) -> None:
    data, grid = write_images(tmp_path / "images.npz"), small_grid()
    for settings, words in (
        ({"train.batch": 64}, "arm bad: train_images in images.npz has 40 images, train.batch is 64"),
        ({"optim.lr": 0.0}, "arm bad: optim.lr is 0.0; it must be above 0"),
        ({"backbone": "timm:resnet_none"}, "arm bad: backbone or method cannot be built: timm has no model"),
        ({"residual.site": "q"}, "arm bad: the configuration cannot be used"),
    ):
        bad = dataclasses.replace(grid, arms={**grid.arms, "bad": settings})
        with pytest.raises(UserError) as error:
            work(tmp_path / "out", data, bad)
        assert words in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_cell_that_is_not_what_the_folder_says_is_refused(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    out, data = undisturbed
    grid = small_grid()
    other = dataclasses.replace(grid, arms={"plain": {"residual.weight": 0, "optim.lr": 0.5}})
    with pytest.raises(RunDirError, match=r"arm plain, seed 3 with another configuration: optim.lr was 1.0 and is 0.5"):
        work(out, data, other)
    with pytest.raises(RunDirError, match="was measured on other images"):
        work(out, data, dataclasses.replace(grid, held_out=0.2))
    # A folder without its line, too.
    work(tmp_path / "out", data, dataclasses.replace(grid, seeds=(3,), arms={"plain": grid.arms["plain"]}))
    (tmp_path / "out" / RESULTS).unlink()
    with pytest.raises(RunDirError, match="plain/seed-3 holds arm plain, seed 3 with another configuration"):
        work(tmp_path / "out", data, other)


@pytest.mark.slow
def test_a_cell_in_other_hands_is_passed_over(tmp_path: Path) -> None:
    data, grid = write_images(tmp_path / "images.npz"), small_grid(seeds=(3,))
    out = tmp_path / "out"
    out.mkdir()
    with claimed(grid.cells()[0], out) as mine, claimed(grid.cells()[0], out) as second:
        assert mine and not second
        ended = work(out, data, grid)
    assert (ended.elsewhere, ended.comparison.left) == (1, 1)
    assert [line["arm"] for line in read_lines(out / RESULTS)] == ["residual"]
    assert work(out, data, grid).comparison.left == 0


@pytest.mark.slow
def test_a_cell_that_other_hands_finish_meanwhile_is_not_left(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (reference, data), grid, out = undisturbed, small_grid(seeds=(3,)), tmp_path / "out"
    out.mkdir()
    (theirs,) = (line for line in read_lines(reference / RESULTS) if (line["arm"], line["seed"]) == ("plain", 3))
    train = cell.train_cell

    def beside(*arguments: Any) -> Any:
        append_line(out / RESULTS, theirs)
        return train(*arguments)

    monkeypatch.setattr("resmom.runs.comparisons.compare.train_cell", beside)
    with claimed(grid.cells()[0], out) as mine:
        assert mine
        ended = work(out, data, grid)
    assert (ended.elsewhere, ended.comparison.left) == (0, 0)


@pytest.mark.slow
def test_parts_are_done_apart_and_put_together(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    reference, data = undisturbed
    for part in ("1/2", "2/2"):
        work(tmp_path / part[0], data, part=part)
    assert [line["seed"] for line in read_lines(tmp_path / "1" / RESULTS)] == [3, 3]
    resmom.runs.comparisons.compare.merge([tmp_path / "1", tmp_path / "2"], tmp_path / RESULTS)
    assert kept(tmp_path) == kept(reference)


@pytest.mark.slow
def test_the_probe_asked_for_later_is_measured_without_training(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = undisturbed
    grid = dataclasses.replace(small_grid(seeds=(3,)), arms={"plain": {"residual.weight": 0}})
    work(tmp_path / "out", data, grid)
    steps: list[int] = []
    monkeypatch.setattr(loop, "train_step", lambda *args: steps.append(1))
    found = work(tmp_path / "out", data, grid, linear=True).comparison
    assert not steps and {"linear/student", "linear/teacher"} <= found.arms[0].measures.keys()
    assert len(read_lines(tmp_path / "out" / RESULTS)) == 2 and found.arms[0].seeds == (3,)
    assert work(tmp_path / "out", data, grid).comparison == found  # and it is not lost by asking for less


@pytest.mark.slow
def test_a_probe_that_diverges_leaves_the_rest_to_be_compared(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    probe, seen = measure.linear_probe, []

    def first_diverges(*given: Any) -> Any:
        seen.append(1)
        if len(seen) == 1:
            raise NotMeasured("every learning rate diverged")
        return probe(*given)

    monkeypatch.setattr(measure, "linear_probe", first_diverges)
    grid = dataclasses.replace(small_grid(seeds=(3,)), arms={"plain": {"residual.weight": 0}})
    found = work(tmp_path / "out", undisturbed[1], grid, linear=True).comparison
    assert found.left == 0 and {"knn/student", "linear/teacher"} <= found.arms[0].measures.keys()
    assert "linear/student" not in found.arms[0].measures
    said = "plain, seed 3: the linear probe of student was not measured: every learning rate diverged\n"
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_an_arm_that_diverges_does_not_stop_the_others(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz")
    grid = small_grid(seeds=(3,))
    arms = {"wild": {"optim": {"kind": "Sgd", "lr": 1e30}, "train.steps": 120, "train.warmup_steps": 0}, **grid.arms}
    found = work(tmp_path / "out", data, dataclasses.replace(grid, arms=arms)).comparison
    assert [(arm.name, arm.diverged) for arm in found.arms] == [("wild", (3,)), ("plain", ()), ("residual", ())]
    line = read_lines(tmp_path / "out" / RESULTS)[0]
    assert "has not been finite" in line["failed"] and line["measures"] == {}
    again = work(tmp_path / "out", data, dataclasses.replace(grid, arms=arms)).comparison
    assert again == found


@pytest.mark.slow
def test_held_out_images_are_not_trained_on_and_every_verb_knows(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz", n=60, classes=3)
    grid = dataclasses.replace(small_grid(seeds=(3,)), held_out=0.2)
    work(tmp_path / "out", data, grid)
    folder = tmp_path / "out" / "plain" / "seed-3"
    written = json.loads((folder / "run.json").read_text())
    assert written["data"] == f"{data}@held-out=0.2" and written["images"] == 48
    line = read_lines(tmp_path / "out" / RESULTS)[0]
    assert (
        "bank 48, queries 12, 0.2 of the training images held out, which pretraining did not see"
        in (line["protocols"]["knn"])
    )
    assert resume(folder, QUIET).interrupted_by is None
    page = report(list((tmp_path / "out").glob("*/*")), tmp_path / "report.html")
    assert "residual.weight" in page.read_text()


@pytest.mark.slow
def test_from_python(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz", n=60, classes=3)
    base = small_grid().base
    arms = {"plain": {"residual.weight": 0}, "residual": {}}
    found = resmom.compare(base, data, tmp_path / "out", arms=arms, seeds=[3], device="cpu", quiet=True)
    assert [arm.name for arm in found.arms] == ["plain", "residual"] and found.left == 0
    assert found.arms[1].measures["gap/p/intra"].mean < found.arms[0].measures["gap/p/intra"].mean
    with pytest.raises(UserError, match="give either arms="):
        resmom.compare(base, data, tmp_path / "out")
    file = tmp_path / "grid.json"
    file.write_text(json.dumps({"recipe": "mocov3_digits", "set": OPTIONS, "vary": {"residual.weight": [0, 1]}}))
    found = resmom.compare(file, data, tmp_path / "file", seeds=[0], held_out=0.2, device="cpu", quiet=True)
    assert [arm.name for arm in found.arms] == ["weight=0", "weight=1"]


@pytest.mark.slow
def test_a_line_cut_short_is_no_result(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz")
    grid = small_grid(seeds=(3,))
    work(tmp_path / "out", data, grid)
    lines = read_lines(tmp_path / "out" / RESULTS)
    (tmp_path / "out" / RESULTS).write_text("")
    append_line(tmp_path / "out" / RESULTS, lines[0])
    with (tmp_path / "out" / RESULTS).open("a") as file:
        file.write(json.dumps(lines[1])[:200])
    work(tmp_path / "out", data, grid)
    assert [line["measures"] for line in read_lines(tmp_path / "out" / RESULTS)] == [line["measures"] for line in lines]
