"""resmom compare RECIPE|RUN|GRID.json --data DATA --out DIR"""

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from resmom.called import called, called_by
from resmom.commands import (
    Flat,
    parse,
    print_json,
    require_one_length,
    require_term,
    require_warmup,
    say,
    set_process,
    take,
)
from resmom.commands.usages import COMPARE
from resmom.config import Run
from resmom.diagnose.rules import too_short
from resmom.diagnose.series import LEAST_STEPS
from resmom.errors import UserError
from resmom.nets.backbones import DinoViT, MoCoViT
from resmom.recipes import is_derived
from resmom.recipes.pace import warmup
from resmom.recipes.teaching import ema_by_length
from resmom.recipes.words import named as words_of
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.base import Base, base_named
from resmom.runs.comparisons.combine import varied
from resmom.runs.comparisons.compare import Standing, can_show, compare, images_of, merge, standings, time_left
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.comparisontables import Format, written
from resmom.runs.comparisons.grid import SEEDS, Cell, Grid, read_grid, seeds_of
from resmom.runs.comparisons.results import RESULTS, cut_short, read_results
from resmom.runs.environment import threads_of
from resmom.runs.machine import Trainer
from resmom.runs.options import IMAGE_SIZE, ORIENTATION, PARTS, changed, parsed, patch_told, taken_back
from resmom.runs.ready import device_for

ABOUT = "Train the arms of a grid over several seeds, and compare them seed by seed with the first arm."


@dataclass(frozen=True)
class Shared:
    """What every call has, whatever the run."""

    data: str
    """A folder of images, tar archives, an .npz file, or cifar10, cifar100, stl10 (NAME or NAME:FOLDER)."""
    out: Path
    """The folder of the comparison: new, or that of an earlier call."""
    vary: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An option with its values, residual.weight=0,1; several of them make all combinations."""
    seeds: str = ""
    """The seeds of every arm."""
    held_out: float = 0.0
    """Measure on this share of the training images, which is not trained on, instead of the test images."""
    linear: bool = False
    """Measure the linear probe too."""
    part: str = "1/1"
    """This machine's share of the cells: 1/3, 2/3 and 3/3 for three machines."""
    list_cells: Annotated[bool, tyro.conf.arg(name="list")] = False
    """Say what is done and what is left, and train nothing."""
    dry_run: bool = False
    """Check all cells, and train nothing."""
    machine: Flat[Trainer] = field(default_factory=Trainer)
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Do it and print the table: 0 when all is done, 3 if other processes hold some cells, 128 + signal if stopped."""
    match arguments:
        case []:
            raise UserError(f"name a recipe, a run or a grid file.\n{COMPARE}")
        case ["show", *rest]:
            shown = parse(Show, rest, "resmom compare show", "The table of the cells that are finished.")
            found = comparison(read_results(shown.files), shown.against, shown.together)
            _tell_cut(shown.files)
            return _show(found, shown)
        case ["merge", *rest]:
            merging = parse(Merge, rest, "resmom compare merge", "Result files of several machines as one.")
            found = merge(merging.files, merging.out)
            _tell_cut(merging.files)
            return _print(found, merging.json)
        case [first, *rest] if not first.startswith("-"):
            return _compare(first, rest)
        case _:
            raise UserError(
                "the recipe, the run or the grid file comes first, as in `resmom compare RECIPE --data DATA --out DIR "
                "--vary OPTION=A,B` (`resmom compare --help` lists the forms)"
            )


@dataclass(frozen=True)
class Show:
    files: tyro.conf.Positional[tuple[Path, ...]]
    """Result files, or folders of comparisons."""
    against: str = ""
    """The arm that the others are compared with, in place of the first one; or an option and a value, such as weight=0:
    each arm is compared with the one that has it and is the same otherwise."""
    together: bool = False
    """Intervals that hold together for all arms of a table (Bonferroni), and not each for itself."""
    format: Format = "text"
    """How tables are written: for Markdown, for LaTeX (with booktabs), or every number as a line of CSV."""
    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True)
class Merge:
    files: tyro.conf.Positional[tuple[Path, ...]]
    """Result files, or folders of comparisons."""
    json: bool = False
    """Print the result as JSON."""
    out: Path = Path(RESULTS)
    """The new result file."""


def _compare(first: str, rest: list[str]) -> int:
    grid = read_grid(Path(first)) if first.endswith(".json") else None
    named = base_named(first) if grid is None else grid.origin or Base(grid.base, grid.name)
    base = named.run if grid is None else grid.base
    base, body = replace(base, init=take(rest, "--init")[1] or base.init), take(rest, "--backbone")[1]
    for name in ("method", IMAGE_SIZE, ORIENTATION, "backbone"):  # a transformer by name follows the size of the views
        rest, value = take(rest, f"--{name}".replace("_", "-"))
        taken = base if value is None else changed(base, {name: parsed(base, name, value)}, named.images)
        if name in PARTS and (told := taken_back(base, taken, rest)):
            say(told)
        if name == "backbone" and value is not None and (told := patch_told(value, taken, rest)):
            say(told)
        base = taken
    # The defaults of the call are the recipe's, or the grid file's.
    seeds, share = (SEEDS, 0.0) if grid is None else (grid.seeds, grid.held_out)
    defaults = [
        ("seeds", str, field(default=",".join(map(str, seeds)))),
        ("held_out", float, field(default=share)),
        ("run", tyro.conf.AvoidSubcommands[Flat[Run]], field(default=base)),
    ]
    if named.data:
        defaults.append(("data", str, field(default=named.data)))
    kind: Any = make_dataclass("Arguments", defaults, bases=(Shared,), frozen=True, kw_only=True)
    a = parse(kind, rest, f"resmom compare {first}", ABOUT)
    require_one_length(rest, base.train.steps)
    require_term(rest, a.run)
    if told := _of_other_length(named.run, a.run):
        say(told)
    if a.run.train.seed != base.train.seed:
        raise UserError("--train.seed is set by the grid; give --seeds")
    if grid is None:
        grid = Grid(named.name, a.run, varied(a.run, a.vary), origin=named)
    elif a.vary:
        raise UserError(f"{first} has its own arms; leave --vary out, or name a recipe or a run")
    grid = replace(grid, base=a.run, seeds=seeds_of(a.seeds), held_out=a.held_out)
    with called_by("options" if a.vary else "fields"):  # as the arms have them
        cells = grid.cells()
    if len(units := {cell.run.train.steps > 0 for cell in cells}) == 1:
        require_warmup(rest, units.pop())
    _tell_patches(cells[: len(grid.arms)], body)
    if len(cells) == len(grid.seeds) and a.vary:
        raise UserError(f"{', '.join(grid.arms)} is one arm, with nothing to compare it with; write --vary OPTION=A,B")
    if a.list_cells or a.dry_run:
        device_for(a.machine)
        images = images_of(grid, a.data)
        same = (a.data, a.held_out) == (named.data, 0)
        same = same and (a.run.backbone, a.run.policy) == (named.run.backbone, named.run.policy)
        shows = can_show(images, named.began if same else None)
        found = standings(grid, images, a.out, a.linear, a.part, a.machine.compile or "no")
        return _list(found, shows, named.note, a.json)
    # As `resume`: the order in which threads add up decides the last bits, so a cell goes on with as many as it began.
    begun = (threads_of(run) for run in sorted(a.out.glob("*/seed-*")))
    set_process(replace(a.machine, threads=a.machine.threads or next(begun, named.threads)))
    ended = compare(grid, a.data, a.out, a.machine, a.linear, a.part, say)
    _print(ended.comparison, a.json)
    left = ended.comparison.left
    if left:
        held = f", {ended.elsewhere} of them in the hands of other processes" if ended.elsewhere else ""
        say(f"{left} cells left{held}; what is under way is saved, and the same call goes on")
    if ended.interrupted_by is not None:
        return 128 + ended.interrupted_by
    return 3 if left else 0


def _tell_patches(arms: Sequence[Cell], body: str | None) -> None:
    """Say which patches the transformers of the arms have; `body` is the backbone that is named for all of them."""
    for cell in arms:
        own, words = cell.settings.get("backbone"), [f"--{option}" for option in cell.settings]
        if isinstance(own, str) and (told := patch_told(own, cell.run, words)):
            say(f"arm {cell.arm}: {told}")
        if (
            own is None
            and body is not None
            and IMAGE_SIZE in cell.settings
            and isinstance(cell.run.backbone, MoCoViT | DinoViT)
        ):
            say(
                f"arm {cell.arm}: {words_of(cell.run.backbone)}, with the patches that all arms have; --vary "
                f"backbone={body} in place of --backbone makes it for the views of each"
            )


def _of_other_length(derived: Run, run: Run) -> str:
    """What was derived from the length of a run and stays where another length is asked for, in a sentence."""
    steps = run.train.steps
    if not is_derived(derived) or not steps or steps == derived.train.steps:
        return ""
    if (run.train.warmup_steps, run.ema) != (derived.train.warmup_steps, derived.ema):
        return ""
    length = called("train.warmup_steps")
    stays, other = f"{length} {run.train.warmup_steps}", f"{length} {warmup(steps)}"
    if derived.ema == ema_by_length(derived.train.steps)[0]:
        stays += f" and {called('ema.momentum')} {run.ema.momentum:.4g}"
        other += f" {called('ema.momentum')} {ema_by_length(steps)[0].momentum:.4g}"
    return (
        f"{steps} steps instead of {derived.train.steps}: what was derived from the length stays, {stays}; for {steps} "
        f"steps there would be {other}"
    )


def _show(found: Comparison, asked: Show) -> int:
    if asked.json or asked.format == "text":
        if asked.format != "text":
            raise UserError("--json and --format are two ways to write the same; leave one of them out")
        return _print(found, asked.json)
    print(written(found, asked.format))
    return 0


def _print(found: Comparison, as_json: bool) -> int:
    if as_json:
        print_json(found.plain())
    else:
        print(found)
    return 0


def _list(found: list[Standing], shows: str, note: str, as_json: bool) -> int:
    short = too_short(min((s.steps for s in found), default=LEAST_STEPS))
    said = [line for line in (time_left(found), shows, short, note) if line]
    if as_json:
        cells = [
            {"arm": s.cell.arm, "seed": s.cell.seed, "step": s.step, "steps": s.steps, "done": s.line is not None}
            | {"digest": s.cell.digest, "settings": dict(s.cell.settings), "seconds_left": s.seconds}
            for s in found
        ]
        print_json({"cells": cells, "said": said})
        return 0
    width = max((len(s.cell.arm) for s in found), default=0)
    for s in found:
        print(f"{s.cell.arm:<{width}}  seed {s.cell.seed}  {_state(s)}")
    print("\n".join(said))
    return 0


def _state(standing: Standing) -> str:
    if standing.line is None:
        return f"step {standing.step} of {standing.steps}" if standing.step else f"not begun, {standing.steps} steps"
    return "done" if standing.line["failed"] is None else "diverged"


def _tell_cut(files: Sequence[Path]) -> None:
    for file in cut_short(files):
        say(f"the last line of {file} is cut short and left out; the same `resmom compare` call makes it again")
