"""What Python users and notebooks call: the same jobs with plain arguments, and what a run has to say as one object."""

import html
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from torch import nn

from resmom.build import Own
from resmom.config import Run
from resmom.data.dataset import as_data
from resmom.data.source import Data
from resmom.diagnose.rules import Finding, findings, unjudged
from resmom.errors import UserError
from resmom.evaluate.linear import Linear
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.recipes import recipe
from resmom.rundir import RunDir, read_lines
from resmom.runs.base import Base, base_named
from resmom.runs.budget import seconds_of
from resmom.runs.compare import compare as compare_grid
from resmom.runs.comparison import Comparison
from resmom.runs.compiling import Compile
from resmom.runs.evaluate import PROTOCOLS, Protocol, Row, evaluate
from resmom.runs.grid import Grid, combinations, read_grid
from resmom.runs.interrupt import Finished
from resmom.runs.loaded import load_run
from resmom.runs.machine import Trainer
from resmom.runs.outcome import Change, before_after, table
from resmom.runs.pretrain import pretrain as start_run
from resmom.runs.pretrain import resume as resume_run
from resmom.runs.settle import Asked
from resmom.which import Network


@dataclass(frozen=True)
class Result:
    """A run on disk, finished or not: what was measured, and its networks when they are asked for.

    In a notebook it shows itself as a table. `steps` is the planned length, `step` how far the run is.
    """

    path: Path
    step: int
    steps: int
    run: Run
    metrics: tuple[dict[str, Any], ...]
    """The lines of metrics.jsonl; docs/run-folder.md tells what is in them."""
    own: Own = field(default_factory=Own, repr=False)
    data: str | Data | None = field(default=None, repr=False)
    """Where its images are now, or they themselves; None: where run.json says."""

    @property
    def finished(self) -> bool:
        """Whether the run reached its last step; if not, `resmom.resume` continues it."""
        return self.step == self.steps

    @property
    def changes(self) -> list[Change]:
        """Before against after: kNN where there are labels, and the label-free measures."""
        return before_after(self.metrics)

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong with the run, in words; empty when nothing does."""
        return findings(self.metrics, self.steps)

    def series(self, kind: str, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one number of one kind of line, as in series("train", "loss") or ("knn", "student").

        Raises KeyError, naming what there is, for one that was never written.
        """
        lines = [line for line in self.metrics if line["kind"] == kind]
        points = [(int(line["step"]), float(line[name])) for line in lines if isinstance(line.get(name), int | float)]
        if not points:
            known = sorted({key for line in lines for key in line}) or sorted({line["kind"] for line in self.metrics})
            raise KeyError(f"no '{name}' in lines of kind '{kind}'; there are {', '.join(map(str, known))}")
        return [step for step, _ in points], [value for _, value in points]

    def network(self, which: Network = "student", device: str = "cpu") -> nn.Module:
        """The encoder in evaluation mode: N x C x S x S views, normalised, to Encoding(h, z, p); `h` is kept."""
        return load(self.path, which, device, self.own)

    def evaluate(
        self, protocols: Sequence[Protocol] = PROTOCOLS, baselines: bool = False, linear: Linear | None = None
    ) -> list[Row]:
        """kNN, linear probe and online classifier of student and teacher on the run's own labelled data."""
        return evaluate(self.path, self.data, "both", protocols, linear, baselines, own=self.own)

    def __str__(self) -> str:
        state = "finished" if self.finished else f"stopped at step {self.step} of {self.steps}"
        measured = table(self.changes) if self.changes else "nothing was measured after its start yet"
        lines = [f"{self.run.recipe}, {state}, in {self.path}", measured]
        lines += [f"attention, {finding.name}: {finding.words} {finding.remedy}" for finding in self.findings]
        lines += [f"attention, not judged: {sentence}" for sentence in unjudged(self.metrics, self.steps, self.step)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *rest = str(self).split("\n")
        cells = {c.quantity: [None, None, None] for c in self.changes}  # type: dict[str, list[float | None]]
        for c in self.changes:
            cells[c.quantity][0] = c.before
            cells[c.quantity][1 if c.network == "student" else 2] = c.after
        columns = 3 if any(c.network == "teacher" for c in self.changes) else 2
        heads = ("before", "student after", "teacher after")[:columns]
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            + "".join(f"<td>{'–' if value is None else f'{value:.4g}'}</td>" for value in values[:columns])
            + "</tr>"
            for name, values in cells.items()
        )
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in rest if line.startswith("attention"))
        named = "".join(f"<th>{name}</th>" for name in heads)
        measured = f"<table><thead><tr><th></th>{named}</tr></thead><tbody>{rows}</tbody></table>"
        if not self.changes:
            measured = f"<p>{html.escape(rest[0])}</p>"
        return f"<p><b>{html.escape(head)}</b></p>{measured}{notes}"


def pretrain(
    data: object,
    out: str | Path,
    run: Run | str | None = None,
    *,
    test: object = None,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
    change: Callable[[Run], Run] = lambda run: run,
    init: str | Path | None = None,
    time: str | None = None,
    device: str = "auto",
    workers: int = -1,
    compile: Compile = "no",
    quiet: bool = False,
) -> Result:
    """Pretrain an encoder in the new folder `out`, and return what came of it.

    `data`: a path or name as on the command line, a uint8 N x H x W x C array or N x C x H x W tensor, such a one with
    N labels as a pair, or a map-style Dataset; `test` likewise, for the measurements, with `data` given in Python.
    `run`: a configuration, or a recipe's name such as "mocov3_cifar100_small"; without one all settings are derived
    from the images and the machine. `change` turns that run into the one you want. `backbone`: a module of your own
    (views to N x D); it is copied, the trained copy is in the result. `method`: makes a Method of your own around a
    backbone. `init`: weights to start from. `time`: fit the run into it, as in "6h". `compile`: "kernels", or on a GPU
    "graphs", compiles the backbones.

    Ctrl-C saves and returns a result that is not finished. Raises UserError (ConfigError, DataError, RunDirError) for
    what cannot be done, before anything is written.
    """
    own = Own(backbone, method)
    opened = _opened(data, test)
    asked = Asked(
        None if run is None else _run_of(run),
        _checked(change),
        str(init or ""),
        None if time is None else seconds_of(time),
    )
    machine = Trainer(device=device, workers=workers, compile=compile, quiet=quiet)
    _tell(start_run(asked, opened, Path(out), machine, own), quiet)
    return result(out, backbone=backbone, method=method, data=None if isinstance(opened, str) else opened)


def _tell(finished: Finished, quiet: bool) -> None:
    """Where a run was stopped, how it goes on."""
    if finished.interrupted_by is not None and not quiet:
        again = RunDir(finished.path).continued_by()
        print(f"saved at step {finished.step} of {finished.steps}; continue with {again}", file=sys.stderr)


def _opened(data: object, test: object) -> str | Data:
    """A place as it is, which has its own test images; or the images given in Python."""
    if not isinstance(data, str | Path):
        return as_data(data, test)
    if test is not None:
        raise UserError(f"test goes with images given in Python; {data} is a place, and has its own (docs/data.md)")
    return str(data)


def _run_of(run: Run | str | Path) -> Run:
    """A configuration as it is given, or by its recipe's name."""
    if isinstance(run, Run):
        return run
    if isinstance(run, str | Path):
        return recipe(str(run))
    raise UserError(f"{run!r} is no run; give a recipe's name, or a configuration as resmom.recipe(NAME) returns it")


def _checked(change: Callable[[Run], Run]) -> Callable[[Run], Run]:
    """The user's change, refused if it returns no run."""

    def ask(run: Run) -> Run:
        changed = change(run)
        if not isinstance(changed, Run):
            raise UserError(
                f"change returned {changed!r}; it must return the run, as dataclasses.replace(run, ...) makes it"
            )
        return changed

    return ask


def resume(
    path: str | Path,
    *,
    data: object = None,
    test: object = None,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
    device: str = "auto",
    workers: int = -1,
    compile: Compile = "no",
    quiet: bool = False,
) -> Result:
    """Continue a run from its last checkpoint, as if it had never stopped.

    What was given in Python at its start (`data`, `backbone`, `method`) is to be given again; it is not stored. Raises
    as `pretrain` does, and DataError if the images are others.
    """
    opened = None if data is None else _opened(data, test)
    machine = Trainer(device=device, workers=workers, compile=compile, quiet=quiet)
    _tell(resume_run(Path(path), machine, opened, Own(backbone, method)), quiet)
    return result(path, backbone=backbone, method=method, data=opened)


def result(
    path: str | Path,
    *,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
    data: object = None,
) -> Result:
    """What a run folder has to say. Raises RunDirError if it is none."""
    own = Own(backbone, method)
    loaded = load_run(Path(path), "cpu", own)
    opened = None if data is None else _opened(data, None)
    lines = tuple(read_lines(loaded.folder.metrics))
    return Result(Path(path), loaded.step, loaded.steps, loaded.run, lines, own, opened)


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
    device: str = "auto",
    workers: int = -1,
    compile: Compile = "no",
    quiet: bool = False,
) -> Comparison:
    """Train arms over seeds in the folder `out`, and compare them with the first; the same call goes on after a stop.

    `base`: a configuration, a recipe's name, a run whose settings to take (its folder, or its result), or a grid file
    (.json), which has its own arms. `data` None: the images of that run. `change` turns the base into what all arms
    have. `arms`: by name the
    options that each sets, as in {"plain": {}, "residual": {"residual.weight": 1.0}}; or `vary`: options with their
    values, of which all combinations are arms. `held_out`: measure on this share of the training images, which is not
    trained on. `linear` adds the linear probe. `data` and `test` as for `pretrain`. Raises UserError before anything is
    trained if any cell cannot be.
    """
    base = base.path if isinstance(base, Result) else base
    if isinstance(base, str | Path) and str(base).endswith(".json"):
        grid = read_grid(Path(base))
        grid = replace(grid, base=_checked(change)(grid.base))
        if arms is not None or vary is not None:
            raise UserError(f"{base} has its own arms; leave arms and vary out")
    else:
        named = Base(base, base.recipe) if isinstance(base, Run) else base_named(str(base))
        run = _checked(change)(named.run)
        if (arms is None) == (vary is None):
            raise UserError('give either arms={"plain": {}, ...} or vary={"residual.weight": [0, 1]}')
        made = combinations(run, vary) if arms is None and vary is not None else arms or {}
        grid = Grid(named.name, run, made, origin=named)
    grid = replace(
        grid,
        seeds=grid.seeds if seeds is None else tuple(seeds),
        held_out=grid.held_out if held_out is None else held_out,
    )
    origin = grid.origin
    opened = _opened(origin.data if data is None and origin is not None and origin.data else data, test)

    def say(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    machine = Trainer(device=device, workers=workers, compile=compile, quiet=quiet)
    return compare_grid(grid, opened, Path(out), machine, linear, say=say).comparison


def load(path: str | Path, network: Network = "student", device: str = "cpu", own: Own | None = None) -> nn.Module:
    """The encoder of a run folder or checkpoint, in evaluation mode, taking no gradient: views to Encoding(h, z, p).

    Views are N x C x S x S, normalised as `run.policy` says. Raises RunDirError, CheckpointError, ConfigError;
    UserError for another network.
    """
    if network not in get_args(Network):
        raise UserError(f"network is {network!r}; it is one of {', '.join(get_args(Network))}")
    encoder = load_run(Path(path), device, own).networks(network)[network]
    return encoder.eval().requires_grad_(False)


__all__ = ["Result", "compare", "load", "pretrain", "result", "resume"]
