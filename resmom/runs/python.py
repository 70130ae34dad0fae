"""What Python users and notebooks call: the same jobs with plain arguments."""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

from resmom import dist
from resmom.arguments import arguments_checked
from resmom.build import Own
from resmom.config import Run
from resmom.data.source import Data
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.rundir import RunDir
from resmom.runs.comparisons.base import Base, base_named
from resmom.runs.comparisons.compare import compare as compare_grid
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.given import arms_of, images_named, listed_seeds
from resmom.runs.comparisons.grid import Grid, read_grid, share_of
from resmom.runs.generators import generators_kept
from resmom.runs.images import images_given
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.machine import Compile, LogTo, Trainer, loggers_of
from resmom.runs.own import OwnEach, say_others
from resmom.runs.pretrain import pretrain as start_run
from resmom.runs.pretrain import pretrain_or_resume as begin_or_resume
from resmom.runs.pretrain import resume as resume_run
from resmom.runs.reporting.viewsheet import view_sheet
from resmom.runs.result import Result
from resmom.runs.settling.budget import seconds_of
from resmom.runs.training.interrupt import Finished
from resmom.runs.wish import checked, saying, wish


@arguments_checked("run", "backbone", "log_to")
@generators_kept()
def pretrain(
    data: object,
    out: str | Path,
    run: Run | str | Path | None = None,
    *,
    test: object = None,
    backbone: nn.Module | str | None = None,
    method: Callable[[Backbone], Method] | str | None = None,
    change: Callable[[Run], Run] = lambda run: run,
    init: str | Path | None = None,
    time: str | None = None,
    device: str = "auto",
    workers: int = -1,
    compile: Compile | None = None,
    log_to: LogTo | None = None,
    or_resume: bool = False,
    quiet: bool = False,
) -> Result:
    """Pretrain an encoder in the new folder `out`, and return what came of it.

    `data`: a path or name as on the command line, a uint8 N x H x W x C array or N x C x H x W tensor, such a one with
    N labels as a pair, or a map-style Dataset; `test` likewise, for the measurements, with `data` given in Python.
    `run`: a configuration, a recipe's name such as "mocov3_cifar100_small", a run folder whose settings to take, or a
    .json file of a configuration; without one all settings are derived
    from the images and the machine. `change` turns that run into the one you want. `backbone`: a module of your own
    (views to N x D); it is copied, the trained copy is in the result. `method`: makes a Method of your own around a
    backbone. Both may also be names that the command line has, "resnet18" or "byol", with `run` too, of which they
    change this part. `init`: weights to start from. `time`: fit the run into it, as in "6h". `compile`: "kernels",
    or on a GPU "graphs", compiles the backbones. `log_to`: "tensorboard", "wandb" (nothing is sent), "wandb-
    online", a function that is given each line of metrics.jsonl as a dictionary, or several of these.

    Ctrl-C saves, says on standard error how to go on, and raises KeyboardInterrupt; SIGTERM likewise SystemExit(143),
    SIGUSR1 and SIGUSR2 SystemExit(128 + the signal).
    Raises UserError (ConfigError, DataError, RunDirError) for what cannot be done, before anything is written.
    """
    own = Own(None if isinstance(backbone, str) else backbone, None if isinstance(method, str) else method)
    asked = wish(run, backbone, method, change, str(init or ""), saying(quiet))
    asked = replace(asked, seconds=None if time is None else seconds_of(time))
    opened = images_given(data, test)
    machine = _trainer(device, workers, compile, log_to, quiet)
    work = begin_or_resume if or_resume else start_run
    _require_end(work(asked, opened, Path(out), machine, own))
    return _result(Path(out), load_run(Path(out), "cpu", own), own, None if isinstance(opened, str) else opened)


@arguments_checked("run")
@generators_kept()
def draw_views(
    data: object,
    out: str | Path = "views.png",
    run: Run | str | Path | None = None,
    *,
    backbone: str | None = None,
    method: str | None = None,
    change: Callable[[Run], Run] = lambda run: run,
    init: str | Path | None = None,
    device: str = "auto",
) -> Path:
    """Draw some images and their views into the PNG file `out`, as `pretrain` with the same arguments would have them.

    Nothing is trained. Returns the file. Raises UserError for what cannot be trained, and for a file that is there and
    is no such picture.
    """
    asked = wish(run, backbone, method, change, str(init or ""), saying(quiet=False))
    return view_sheet(asked, images_given(data, None), Path(out), Trainer(device=device)).path


def _trainer(device: str, workers: int, compile: Compile | None, log_to: LogTo | None, quiet: bool) -> Trainer:
    names, calls = loggers_of(log_to)
    return Trainer(device=device, workers=workers, compile=compile, quiet=quiet, log_to=names, calls=calls)


def _require_end(finished: Finished) -> None:
    """Where a signal stopped a run, say how it goes on, and let the signal do what it does to a program in Python."""
    if finished.interrupted_by is not None:
        again = RunDir(finished.path).continued_by()
        told = f"saved at step {finished.step} of {finished.steps}; continue with {again}"
        _raise_signal(finished.interrupted_by, told)


def _raise_signal(number: int, told: str) -> NoReturn:
    """As if the signal came only now: a script that went on would start its next training, and not end when killed."""
    if dist.rank() == 0:
        print(told, file=sys.stderr, flush=True)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


@arguments_checked("backbone", "log_to")
@generators_kept()
def resume(
    path: str | Path,
    *,
    data: object = None,
    test: object = None,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
    device: str = "auto",
    workers: int = -1,
    compile: Compile | None = None,
    log_to: LogTo | None = None,
    quiet: bool = False,
) -> Result:
    """Continue a run from its last checkpoint, as if it had never stopped.

    What was given in Python at its start (`data`, `test`, `backbone`, `method`, a function in `log_to`) is to be given
    again; it is not stored. Loggers that have a name are as before unless `log_to` says others, or "none".
    Raises as `pretrain` does, and DataError if the images are others.
    """
    opened = None if data is None else images_given(data, test)
    own = Own(backbone, method)
    machine = _trainer(device, workers, compile, log_to, quiet)
    _require_end(resume_run(Path(path), machine, opened, own))
    return _result(Path(path), load_run(Path(path), "cpu", own), own, opened)


@arguments_checked("backbone")
def result(
    path: str | Path,
    *,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
    data: object = None,
    test: object = None,
) -> Result:
    """What a run folder has to say. `data`, `test`: to evaluate on, where they were given in Python.

    Raises RunDirError if it is none.
    """
    own = Own(backbone, method)
    loaded = load_run(Path(path), "cpu", own)
    say_others(own, loaded.written)
    return _result(Path(path), loaded, own, None if data is None else images_given(data, test))


def _result(path: Path, loaded: Loaded, own: Own, opened: str | Data | None) -> Result:
    lines = tuple(read_lines(loaded.folder.metrics))
    return Result(path, loaded.step, loaded.steps, loaded.run, lines, own, opened)


@arguments_checked("arms", "vary", "seeds", "log_to")
@generators_kept()
def compare(
    base: Run | str | Path | Result,
    data: object,
    out: str | Path,
    *,
    change: Callable[[Run], Run] = lambda run: run,
    arms: Mapping[str, Mapping[str, Any]] | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    seeds: Sequence[int] | None = None,
    held_out: float | None = None,
    linear: bool = False,
    test: object = None,
    backbone: nn.Module | Callable[[], nn.Module] | None = None,
    method: Callable[[Backbone], Method] | None = None,
    device: str = "auto",
    workers: int = -1,
    compile: Compile | None = None,
    log_to: LogTo | None = None,
    quiet: bool = False,
) -> Comparison:
    """Train arms over seeds in the folder `out`, and compare them with the first; the same call goes on after a stop.

    `base`: a configuration, a recipe's name, a run whose settings to take (its folder, or its result), or a grid file
    (.json), which has its own arms. `data` None: the images of that run, where it or its result knows them. `change`
    turns the base into what all arms have. `arms`: by name the
    options that each sets, as in {"plain": {}, "residual": {"residual.weight": 1.0}}; or `vary`: options with their
    values, of which all combinations are arms. `held_out`: measure on this share of the training images, which is not
    trained on. `linear` adds the linear probe. `data`, `test` and `method` as for `pretrain`. `backbone`: a function
    that makes the module, a class for instance, called for every cell with torch's generator set to its seed; or a
    module, with whose weights all cells begin. Signals and `log_to` as for `pretrain`; every cell logs. Raises
    UserError before anything is trained if any cell cannot be.
    """
    if isinstance(base, Result):
        data = base.data if data is None else data
        base = base.path
    if isinstance(base, str | Path) and str(base).endswith(".json"):
        grid = read_grid(Path(base))
        grid = replace(grid, base=checked(change)(grid.base))
        if arms is not None or vary is not None:
            raise UserError(f"{base} has its own arms; leave arms and vary out")
    else:
        named = Base(base, base.recipe) if isinstance(base, Run) else base_named(str(base))
        run = checked(change)(named.run)
        grid = Grid(named.name, run, arms_of(run, arms, vary), origin=named)
    grid = replace(
        grid,
        seeds=grid.seeds if seeds is None else listed_seeds(seeds),
        held_out=grid.held_out if held_out is None else share_of(held_out),
        own=OwnEach(backbone, method),
    )
    if data is None:
        data = images_named(grid)
    opened = images_given(data, test)

    machine = _trainer(device, workers, compile, log_to, quiet)
    ended = compare_grid(grid, opened, Path(out), machine, linear, say=saying(quiet))
    if ended.interrupted_by is not None:
        _raise_signal(
            ended.interrupted_by, f"saved in {out}, {ended.comparison.left} cells left; the same call goes on"
        )
    return ended.comparison


__all__ = ["compare", "draw_views", "pretrain", "result", "resume"]
