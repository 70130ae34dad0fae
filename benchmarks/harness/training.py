"""Training comparisons on loan: the cells of a grid file, each trained until the time is up and then later further.

The grid file, the cells and the lines are those of `resmom compare` (docs/compare.md), whose `show` and `merge` read
the results. What is added to a line, since the run's folder is removed when it is finished: the curves, and `pulls`,
how hard the term of each arm pulls at the weights of this run (benchmarks.gradients).
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gradients import forms, measure
from resmom.data.source import Data
from resmom.jsonfiles import read_lines
from resmom.ondisk import lock
from resmom.report.numbers import small
from resmom.rundir import RunDir
from resmom.runs.comparisons.agree import require_same
from resmom.runs.comparisons.cell import claimed, diverged_line, images_line, line_of, train_cell
from resmom.runs.comparisons.combine import Settings
from resmom.runs.comparisons.compare import images_of
from resmom.runs.comparisons.grid import Cell, Grid, read_grid
from resmom.runs.comparisons.results import keep, newest
from resmom.runs.comparisons.sound import require_trainable, require_weights
from resmom.runs.machine import Compile, Trainer
from resmom.runs.options import changed
from resmom.runs.training.loop import Diverged

RESERVE = 60.0
"""Seconds kept free at the end for evaluation, which follows a finished run at once."""
BATCHES = 8
"""Batches over which the gradient's norms are averaged."""
STEPS = 6
TOY = {"train.steps": STEPS, "train.warmup_steps": 1, "train.batch": 16, "log.save_epochs": 1}


def work(
    grid_file: Path,
    data: str,
    state: Path,
    results: Path,
    device: str,
    toy: bool,
    until: float,
    how: Compile | None = None,
) -> int:
    """Train undone cells until the time is up; 0 when none is left, 3 when there is more to do.

    Several processes may share the folders: on a GPU that a small network leaves idle they finish more together.
    """
    grid = shrunk(read_grid(grid_file)) if toy else read_grid(grid_file)
    out, lines = state / grid.name, results / f"{grid.name}.jsonl"
    images, machine = images_of(grid, data), Trainer(device=device, compile=how)
    cells, done = grid.cells(), newest(read_lines(lines))
    for cell in cells:
        require_same(cell, out, done.get((cell.arm, cell.seed)), images_line(images))
    left = [cell for cell in cells if (cell.arm, cell.seed) not in done]
    require_trainable(left, images, how or "no")
    require_weights(left, out)
    end = until - (1.0 if toy else RESERVE)
    return in_turn(left, out, lines, end, lambda cell: _done(grid, cell, images, out, lines, machine, end))


def in_turn(left: Sequence[Cell], out: Path, lines: Path, until: float, do: Callable[[Cell], bool]) -> int:
    """Have the cells done that are left, as long as there is time; 0 when none is left, 3 when there is more to do.

    `do` says whether it has finished a cell. Cells that another process works on in `out`, or has finished since, are
    passed over.
    """
    elsewhere = 0
    for cell in left:
        if time.monotonic() > until:
            return 3
        out.mkdir(parents=True, exist_ok=True)
        with claimed(cell, out) as mine:
            if not mine:
                elsewhere += 1
            elif (cell.arm, cell.seed) not in newest(read_lines(lines)) and not do(cell):
                return 3
    if elsewhere:
        print(f"{small(elsewhere, 'cell')} in the hands of other processes; call again for what they leave")
    return 3 if elsewhere else 0


def _done(grid: Grid, cell: Cell, images: Data, out: Path, lines: Path, machine: Trainer, until: float) -> bool:
    """Train a cell, further or to its end, and keep its line if it is at its end; whether it is."""
    folder, others = cell.folder(out), beside(out, cell)
    try:
        with alarm(until):
            ended = train_cell(cell, images, out, machine)
    except Diverged as error:
        keep(lines, {**diverged_line(cell, images, out, error), "curves": curves(folder)})
        print(f"{cell.arm}, seed {cell.seed}: diverged", flush=True)
        return True
    if ended.interrupted_by is not None:  # in its last step, perhaps: then it is still to be measured
        print(f"{cell.arm}, seed {cell.seed}: at step {ended.step} of {ended.steps}; call again to go on")
        return False
    line = line_of(cell, images, out, linear=True, machine=machine)
    line |= {"beside": max(others, beside(out, cell))}
    keep(lines, {**line, "curves": curves(folder), "pulls": pulls(grid, cell, folder, images)})
    print(f"{cell.arm}, seed {cell.seed}: done", flush=True)
    shutil.rmtree(folder)
    return True


def beside(out: Path, own: Cell) -> int:
    """Cells of the folder that other processes work on now: they take of this one's time, which a clock must know."""
    held = 0
    for folder in out.glob("*/seed-*"):  # of what is under way alone: whoever looks, holds the cell for a moment
        file = out / f".{folder.parent.name}.{folder.name}.lock"
        if folder == own.folder(out) or not file.exists():
            continue
        with file.open() as claim:
            try:
                lock(claim)
            except BlockingIOError:
                held += 1
    return held


def pulls(grid: Grid, cell: Cell, folder: Path, images: Data) -> dict[str, Any]:
    """The gradient's norms of all arms' terms at the weights of a run with one of them; nothing if it is the only one.

    For two arms to be compared at equal pull, not at equal weight: the weight that `weights` gives is the one to take.
    """
    terms = forms(grid, cell.run.method) if cell.run.residual.weight > 0 else {}
    return measure(terms, folder, images, BATCHES) if len(terms) > 1 else {}


def shrunk(grid: Grid) -> Grid:
    """The grid with runs of six steps, under a name of its own: its results are no results."""
    return replace(grid, name=f"{grid.name}-toy", base=changed(grid.base, TOY), arms=short_arms(grid.arms))


def short_arms(arms: Mapping[str, Settings]) -> dict[str, Settings]:
    """Arms that are as short as `TOY`; those of more epochs than others by a step for each length, to stay apart."""
    lengths = sorted({own["train.epochs"] for own in arms.values() if "train.epochs" in own})

    def short(own: Settings) -> Settings:
        kept = {option: value for option, value in own.items() if option not in ("train.epochs", "train.warmup_epochs")}
        return kept | {"train.steps": STEPS + lengths.index(own["train.epochs"])} if "train.epochs" in own else kept

    return {arm: short(own) for arm, own in arms.items()}


@contextmanager
def alarm(until: float) -> Iterator[None]:
    """SIGTERM to this process from `until` on, again and again: a run hears it only once it is under way.

    While it is set up or measured the signal means nothing, instead of the end of the process.
    """
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    over = threading.Event()

    def ring() -> None:
        over.wait(max(0.0, until - time.monotonic()))
        while not over.wait(0.5):
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=ring, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)


def curves(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The metrics of a run, those of training thinned to some fifty lines."""
    metrics = read_lines(RunDir(folder).metrics)
    found = {
        kind: [{k: v for k, v in line.items() if k != "kind"} for line in metrics if line["kind"] == kind]
        for kind in ("knn", "online", "train")
    }
    return {**found, "train": found["train"][:: max(1, len(found["train"]) // 50)]}
