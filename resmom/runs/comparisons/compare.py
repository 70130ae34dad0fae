"""Compare arms over seeds: every cell of a grid checked, then trained, measured, and kept as one line."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resmom import dist
from resmom.config import Run, from_json
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.data.split import held_out
from resmom.diagnose.rise import least_rise
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import patch_of
from resmom.ondisk import require_new_file, write_whole
from resmom.report.numbers import small
from resmom.runs.clean import NOT_DIVISIBLE, labelled_part, labelled_split
from resmom.runs.comparisons.agree import require_alike, require_same
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.base import planned
from resmom.runs.comparisons.cell import (
    claimed,
    diverged_line,
    finished,
    images_line,
    line_of,
    steps_done,
    train_cell,
)
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.grid import Cell, Grid, part_of
from resmom.runs.comparisons.results import RESULTS, Line, keep, newest, read_results
from resmom.runs.comparisons.sound import require_own, require_steps, require_trainable, require_weights
from resmom.runs.loggers.sinks import loggers_to_use
from resmom.runs.machine import Compile, Machine
from resmom.runs.ready import device_for
from resmom.runs.settling.budget import words_of_time
from resmom.runs.training.compiling import how_asked
from resmom.runs.training.growth import work
from resmom.runs.training.loop import Diverged


@dataclass(frozen=True)
class Standing:
    """How far a cell is. `line` is what is kept of it once it is finished; `seconds` estimates the training left."""

    cell: Cell
    step: int
    steps: int
    line: Line | None
    seconds: float | None


@dataclass(frozen=True)
class Ended:
    """How a call ended: what all finished cells say; `elsewhere` cells are in the hands of other processes."""

    comparison: Comparison
    elsewhere: int
    interrupted_by: int | None


def compare(
    grid: Grid,
    data: str | Data,
    out: Path,
    machine: Machine | None = None,
    linear: bool = False,
    part: str = "1/1",
    say: Callable[[str], None] = lambda text: None,
) -> Ended:
    """Train and measure what is left of a grid, in the folder `out`; call it again to go on where it ended.

    Each cell is a run folder, OUT/ARM/seed-S, and when it is finished a line of OUT/cells.jsonl. `linear` adds the
    linear probe. `part` is a share of the cells, 2/3 for the second of three machines. Processes that share a folder
    pass over each other's cells. `say` is told what a cell came to, and of a machine that is not quiet more. Raises
    UserError before anything is trained if any cell cannot be, or is not what the folder or its lines say.
    """
    if dist.announced() > 1:
        raise UserError("a comparison trains each cell in one process; start it without torchrun, once per GPU")
    machine = machine or Machine()
    device = device_for(machine)
    loggers_to_use(machine, ())  # or the first cell would be the one to tell that a package is not here
    images = images_of(grid, data)
    how = how_asked(machine) or "no"
    waiting = [standing.cell for standing in standings(grid, images, out, linear, part, how) if standing.line is None]
    require_steps(waiting, images, device)
    out.mkdir(parents=True, exist_ok=True)
    if grid.origin is not None and grid.origin.note and not machine.quiet:
        say(grid.origin.note)
    passed: list[Cell] = []
    stopped = None
    for number, cell in enumerate(waiting, start=1):
        with claimed(cell, out) as mine:
            if not mine:
                passed.append(cell)
                continue
            # Another process may have finished it since.
            if not finished(_lines(out).get((cell.arm, cell.seed)), linear):
                if not machine.quiet:
                    say(f"{cell.arm}, seed {cell.seed}: {number} of {len(waiting)}")
                stopped = _train(cell, images, out, linear, machine)
            if stopped is not None:
                break
        say(f"{_outcome(_lines(out)[cell.arm, cell.seed])}; {time_left(standings(grid, images, out, linear, part))}")
    lines = _lines(out)  # with what other processes have finished meanwhile
    found = comparison(list(lines.values()), first=tuple(grid.arms))
    left, elsewhere = (
        sum(not finished(lines.get((cell.arm, cell.seed)), linear) for cell in cells) for cells in (waiting, passed)
    )
    return Ended(replace(found, left=left), elsewhere, stopped)


def images_of(grid: Grid, data: str | Data) -> Data:
    """The images that a grid is trained and measured on: with a share of the training images held out, if it says so.

    Raises DataError if they cannot be used.
    """
    if isinstance(data, str):
        return open_data(f"{data}@held-out={grid.held_out:g}" if grid.held_out else data)
    return held_out(data, grid.held_out) if grid.held_out else data


def standings(
    grid: Grid, images: Data, out: Path, linear: bool = False, part: str = "1/1", how: Compile = "no"
) -> list[Standing]:
    """How far the cells of a part are, after a check of all cells: options, batch, networks, weights to start from, and
    what `out` holds, with which those that are left must go into one table.

    `how`: as they shall be compiled. Nothing is written. Raises UserError, naming the arm.
    """
    cells = grid.cells()
    own = part_of(cells, part)
    require_own(out)
    require_trainable(cells, images, how)
    lines = _lines(out)
    own_images = images_line(images)
    for cell in cells:
        require_same(cell, out, lines.get((cell.arm, cell.seed)), own_images)
    left = [cell for cell in own if not finished(lines.get((cell.arm, cell.seed)), linear)]
    require_weights(left, out)
    require_alike(left, out, list(lines.values()), own_images)
    # Once for all cells: what a line says of its run has to be read for it.
    timed = [(line["arm"], line["seconds"], _work_of(line)) for line in lines.values() if line["steps"]]
    found = []
    for cell in own:
        line = lines.get((cell.arm, cell.seed))
        steps = planned(cell.run, len(images.train))
        if line is not None and finished(line, linear):
            found.append(Standing(cell, line["steps"], steps, line, 0.0))
        else:
            step, rate = steps_done(cell, out), _step_seconds(timed, cell.arm)
            if rate is None and grid.origin is not None and _as_long(cell.run, grid.origin.run):
                rate = grid.origin.step_seconds
            rest = _work(cell.run, steps, steps) - _work(cell.run, step, steps)
            found.append(Standing(cell, step, steps, None, None if rate is None else rate * rest))
    return found


def _as_long(run: Run, other: Run) -> bool:
    """Whether a step of two runs is the same work, the residual term apart."""
    same = [(one.backbone, one.method, one.policy, one.train.batch, one.train.precision) for one in (run, other)]
    return same[0] == same[1]


def time_left(found: Sequence[Standing]) -> str:
    """How many cells are done, and how long the others will train, once one is finished, or a run, to judge by."""
    left = [standing for standing in found if standing.line is None]
    words = f"{len(found) - len(left)} of {len(found)} cells done"
    seconds = [standing.seconds for standing in left if standing.seconds is not None]
    if not left or len(seconds) < len(left):
        return words
    return f"{words}; about {words_of_time(sum(seconds))} of training left"


def _outcome(line: Line) -> str:
    """What a finished cell came to, in words."""
    measures = line["measures"]
    known = [f"{name} {measures[f'knn/{name}']:.2f}" for name in ("student", "teacher") if f"knn/{name}" in measures]
    words = "done" if line["failed"] is None else "diverged"
    return f"{line['arm']}, seed {line['seed']}: {', '.join([words, *(['kNN ' + ', '.join(known)] if known else [])])}"


def can_show(images: Data, began: float | None = None) -> str:
    """What the labelled images of a comparison are enough for, in a sentence.

    `began`: the accuracy in percent of the first weights, where it is known.
    """
    split = labelled_split(images)
    if split is None:
        lacking = "without labels" if labelled_part(images.train) is None else f"without test images ({NOT_DIVISIBLE})"
        return f"{lacking} nothing tells which arm is better for a task: label-free measures and gaps are compared"
    classes, queries = len(np.unique(np.asarray(split.test.labels))), len(split.test)
    measured = f"kNN is measured on {small(queries, 'test image')}"
    least = least_rise(100 / classes if began is None else began, queries)
    if least is None:
        return f"{measured}, on which no arm can be shown to learn; give more labelled images"
    start = f"if it begins at chance, {100 / classes:.1f} %" if began is None else f"from {began:.1f} %"
    return f"{measured}: an arm counts only if its kNN rises by more than {least:.1f} points ({start})"


def merge(paths: Sequence[Path], out: Path) -> Comparison:
    """Write the cells of several result files into the new file `out`. Raises UserError as `read_results` does."""
    require_new_file(out)
    lines = read_results(paths)
    found = comparison(lines)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return found


def _train(cell: Cell, images: Data, out: Path, linear: bool, machine: Machine) -> int | None:
    """Train, measure and keep a cell; the signal that stopped it, if one did."""
    try:
        ended = train_cell(cell, images, out, machine)
    except Diverged as error:
        keep(out / RESULTS, diverged_line(cell, images, out, error))
        return None
    if ended.interrupted_by is None:
        keep(out / RESULTS, line_of(cell, images, out, linear, machine))
    return ended.interrupted_by


def _lines(out: Path) -> dict[tuple[str, int], Line]:
    return newest(read_lines(out / RESULTS))


def _step_seconds(timed: Sequence[tuple[str, float, float]], arm: str) -> float | None:
    """Seconds of a step of training at full size: of the arm's own finished cells, or else of all; None before there is
    one. `timed`: arm, seconds and work of each."""
    known = [(seconds, done) for own, seconds, done in timed if own == arm]
    known = known or [(seconds, done) for _, seconds, done in timed]
    return sum(seconds for seconds, _ in known) / sum(done for _, done in known) if known else None


def _work_of(line: Line) -> float:
    return _work(from_json(line["run"]), line["steps"], line["steps"])


def _work(run: Run, step: int, steps: int) -> float:
    return work(run, step, steps, patch_of(run.backbone))
