"""resmom pretrain [RECIPE|RUN|FILE.json] --data DATA --out DIR"""

import os
import sys
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from resmom import dist
from resmom.commands import (
    Flat,
    parse,
    parse_known,
    print_json,
    require_one_length,
    require_term,
    require_warmup,
    set_process,
    take,
    tell_end,
)
from resmom.commands.usages import EVERY_FIELD, PRETRAIN
from resmom.config import Run, method_named
from resmom.errors import UserError
from resmom.rundir import RunDir
from resmom.runs.comparisons.base import Base, base_named
from resmom.runs.environment import threads_of
from resmom.runs.initial.recognise import by_name
from resmom.runs.machine import Trainer
from resmom.runs.options import IMAGE_SIZE, ORIENTATION, changed, parsed, patch_told, taken_back
from resmom.runs.pretrain import pretrain, pretrain_or_resume
from resmom.runs.ready import Preview, preview
from resmom.runs.reporting.viewsheet import Sheet, view_sheet
from resmom.runs.settling.budget import seconds_of
from resmom.runs.settling.offer import Asked


@dataclass(frozen=True)
class Shared:
    """What every call has, whatever the run."""

    data: str
    """A folder of images, tar archives, an .npz file, or cifar10, cifar100, stl10 (NAME or NAME:FOLDER). With
    FOLDER@shorter-side=448, large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, see docs/data.md.
    """
    out: Path
    """The run folder: new, or empty; --dry-run and --views do without."""
    time: str = ""
    """Fit the run into this time, as in 45m, 6h or 1h30m: its steps are set after a trial of up to a minute."""
    machine: Flat[Trainer] = field(default_factory=Trainer)
    or_resume: bool = False
    """Where --out holds this run already, continue it; for scripts that are started again. Another run is refused."""
    dry_run: bool = False
    """Say what the run would be and what it would cost, from a trial of some seconds, and write nothing."""
    views: Path | None = None
    """Draw some images and their views, as the run would have them, into this PNG file, and start nothing."""
    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True)
class Arguments(Shared):
    """The same with a run, every field of which is an option."""

    run: tyro.conf.AvoidSubcommands[Flat[Run]] = field(default_factory=Run)


@dataclass(frozen=True)
class _Call:
    """A call in its parts. Options that stand for whole parts of a run are judged before those of single fields, which
    depend on them."""

    begun: Base | None
    """What the run begins as; None for a derived one."""
    options: list[str]
    """All but the whole parts."""
    called: str
    """The beginning of the call, for messages."""
    backbone: str | None
    method: str | None
    size: str | None
    orientation: str | None
    init: str
    placed: bool
    """Whether a run folder is named, or has to be: what writes none needs none."""

    @staticmethod
    def of(arguments: list[str]) -> "_Call":
        name = None if arguments[0].startswith("-") else arguments[0]
        begun = None if name is None else base_named(name)
        options, backbone = take(arguments if name is None else arguments[1:], "--backbone")
        options, method = take(options, "--method")
        options, size = take(options, "--image-size")
        options, orientation = take(options, "--orientation")
        init = take(options, "--init")[1] or ""
        pictured, dry = take(options, "--views")[1], any(o.replace("_", "-") == "--dry-run" for o in options)
        placed = not (pictured or dry) or take(options, "--out")[1] is not None
        if not placed:
            options = [*options, "--out", os.curdir]  # for the parser alone
        parts = {"--backbone": backbone, "--method": method}
        called = " ".join(["resmom pretrain", name or "", *(f"{o} {value}" for o, value in parts.items() if value)])
        return _Call(begun, options, " ".join(called.split()), backbone, method, size, orientation, init, placed)

    @property
    def base(self) -> Run | None:
        return None if self.begun is None else self.begun.run

    def named(self, run: Run) -> Run:
        """A run with the whole parts that were named."""
        side = None if self.size is None else parsed(run, IMAGE_SIZE, self.size)
        parts = {"init": self.init or None, IMAGE_SIZE: side, ORIENTATION: self.orientation}
        if self.begun is not None:  # a derived run has its method and backbone already
            parts |= {"method": self.method, "backbone": self.backbone}
        given = {option: value for option, value in parts.items() if value is not None}
        return changed(run, given, 0 if self.begun is None else self.begun.images)

    def asked(self, run: Run) -> Arguments:
        """The arguments, with a run as all options make it."""
        run = self.named(run)
        data = "" if self.begun is None else self.begun.data
        found = parse(_arguments(run, data), self.options, self.called, EVERY_FIELD)
        require_one_length(self.options, 0 if self.base is None else self.base.train.steps)
        require_warmup(self.options, found.run.train.steps > 0, derived=self.base is None)
        require_term(self.options, found.run)
        return found

    def judged(self) -> Shared:
        """What can be judged before images are read: everything, but for a derived run, whose options depend on what it
        is. Says what of the base is taken back or follows the backbone."""
        base = self.base
        if base is None:
            first = parse_known(Shared, self.options, "resmom pretrain")
            self.named(Run())  # a size that there is not is told before the images are read
            return first
        found = self.asked(base)
        if told := taken_back(base, self.named(base), self.options):
            print(told, file=sys.stderr)
        if self.backbone is not None and (told := patch_told(self.backbone, self.named(base), self.options)):
            print(told, file=sys.stderr)
        return found

    def wish(self, seconds: float | None) -> Asked:
        """The run that is asked for, to be settled when the images are known."""
        base = self.base
        body = None if base is not None or self.backbone is None else by_name(self.backbone, self.init)
        kind = None if base is not None or self.method is None else method_named(self.method)
        init = self.init if base is None else ""
        return Asked(base, lambda run: self.asked(run).run, init, seconds, body, kind)


def main(arguments: list[str]) -> int:
    """Run it; 0 when finished, 128 + signal when stopped by one (the state is saved, and the resume line printed)."""
    if not arguments:
        raise UserError(f"name at least --data and --out.\n{PRETRAIN}")
    call = _Call.of(arguments)
    if call.begun is not None and call.begun.note:
        print(call.begun.note, file=sys.stderr)
    if call.begun is None and not {"-h", "--help"}.isdisjoint(call.options):
        print(PRETRAIN, end="")
        return 0
    first = call.judged()
    if not call.placed and first.views is None and not first.dry_run:  # --dry-run was taken back
        raise UserError("--out is missing: the run folder: new, or empty (`resmom pretrain --help` lists the options)")
    there = first.or_resume and call.placed and RunDir(first.out).config.exists()
    if there and first.dry_run:
        raise UserError(f"--dry-run says what a new run would be, and {first.out} holds one; leave --dry-run out")
    # As `resume`: with as many threads as it began with.
    set_process(replace(first.machine, threads=first.machine.threads or (threads_of(first.out) if there else 0)))
    wish = call.wish(seconds_of(first.time) if first.time else None)
    if first.views is not None or first.dry_run:
        return _look(wish, first, first.out if call.placed else None)
    work = pretrain_or_resume if first.or_resume else pretrain
    return tell_end(work(wish, first.data, first.out, first.machine), first.json)


def _look(wish: Asked, call: Shared, out: Path | None) -> int:
    """Draw the views, tell of the run, or both, and start nothing. `out`: the run folder, where one was named."""
    told: list[Sheet | Preview] = []
    if call.views is not None:
        told.append(view_sheet(wish, call.data, call.views, call.machine))
    if call.dry_run:
        told.append(preview(wish, call.data, out, call.machine))
    if dist.rank() != 0:
        return 0
    if call.json:
        print_json({name: value for each in told for name, value in each.plain().items()})
    else:
        print("\n".join(map(str, told)))
    return 0


def _arguments(default: Run, data: str = "") -> type[Arguments]:
    """The arguments with the fields of a run as defaults, and the images of one on disk; `out` stays without one."""
    own: list[tuple[str, Any, Any]] = [("run", tyro.conf.AvoidSubcommands[Flat[Run]], field(default=default))]
    if data:
        own.append(("data", str, field(default=data)))
    return make_dataclass("Arguments", own, bases=(Arguments,), frozen=True, kw_only=True)
