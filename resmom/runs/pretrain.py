"""Pretrain, and resume: the same job from step 0 or from a checkpoint."""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resmom import dist
from resmom.build import Own
from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import Run, from_json, to_json
from resmom.data.open import open_data, taken_apart
from resmom.data.packed import is_pack
from resmom.data.source import Data, DataError, Source
from resmom.export.record import newest
from resmom.recipes import base_of, method_of, title_of
from resmom.rundir import GIVEN, RunDir, RunDirError, append_line, drop_lines_after, no_run, read_lines, write_json
from resmom.runs.compiling import compile_backbones, compiled, how_to_compile, require_compiler
from resmom.runs.device import default_device
from resmom.runs.environment import compile_asked, environment
from resmom.runs.export import export
from resmom.runs.facts import emulates_bf16
from resmom.runs.growth import policies, stretches
from resmom.runs.interrupt import Finished, interruptible
from resmom.runs.job import Job, prepare, require_batch
from resmom.runs.journal import Journal
from resmom.runs.loop import begin, train
from resmom.runs.machine import Compile, Machine, Trainer
from resmom.runs.outcome import before_after, table
from resmom.runs.own import again, names, require, written_data
from resmom.runs.progress import Progress
from resmom.runs.queue import stale_keys
from resmom.runs.settle import Asked, Settled, settle
from resmom.train.state import load_state, networks_of


def pretrain(
    run: Run | Asked,
    data: str | Data,
    out: Path,
    machine: Machine | None = None,
    own: Own | None = None,
    *,
    brief: bool = False,
) -> Finished:
    """Run from the start in a new folder `out`.

    `data` is what `open_data` reads, or images that are open already; `own` brings modules that no configuration
    describes. `brief`: it is one of many, and what it led to is not told at its end. Raises ConfigError, DataError or
    RunDirError before anything is written, Diverged if the loss stays non-finite.
    """
    machine, own = machine or Machine(), own or Own()
    asked = Asked(run) if isinstance(run, Run) else run
    folder = RunDir(out)
    folder.refuse_if_used()
    device = device_for(machine)
    opened = data if isinstance(data, Data) else open_data(data)
    spec = opened.spec or f"{GIVEN}{opened.train.name}"
    workers = workers_for(machine, opened)

    def say(words: str) -> None:
        if not machine.quiet and dist.rank() == 0:
            print(words, file=sys.stderr)

    settled = settle(asked, opened, out, device, workers, own, say)
    if settled.run.init:  # whoever resumes may stand in another folder
        settled = replace(settled, run=replace(settled.run, init=str(Path(settled.run.init).resolve())))
    if settled.choices or settled.estimate:
        say(_told(settled, spec))
    require_batch(settled.run, opened)
    job = prepare(settled.run, opened, device, own)
    written = {
        "format": 1,
        "data": spec,
        "images": len(opened.train),
        "origin": opened.origin,
        "test": _test_of(opened),
        "run": to_json(settled.run),
        "own": names(own),
        "choices": [asdict(choice) for choice in settled.choices],
    }
    manner = _Manner(*how_to_compile(machine, "no", device), brief, resumed=False)
    return _work(job, folder, machine, manner, written)


def resume(
    path: Path,
    machine: Machine | None = None,
    data: str | Data | None = None,
    own: Own | None = None,
    *,
    brief: bool = False,
) -> Finished:
    """Continue the run in a folder from its last checkpoint, or from step 0 if it was stopped before the first.

    `data` says where the images are now, if they have moved or were given as open images; `own` is needed where the run
    was started with modules of the user's own. On the CPU the weights at the end are those, bit for bit, of the run
    that was never stopped (same versions, same number of threads). `brief` as for `pretrain`. Raises RunDirError or
    CheckpointError if there is nothing to continue, DataError if the data changed, ConfigError if modules are missing.
    """
    machine, own = machine or Machine(), own or Own()
    folder = RunDir(path)
    if not folder.config.exists():
        raise RunDirError(no_run(path))
    written = json.loads(folder.config.read_text())
    run = from_json(written["run"])
    require(own, written)
    device = device_for(machine)
    opened = data if isinstance(data, Data) else open_data(data or written_data(written))
    if written.get("test", _test_of(opened)) != _test_of(opened):
        raise DataError(
            f"the test images are not those that the run in {path} has been measured on (they are others, or there are "
            "none now, or there were none); put them back, in Python as test=..., or start a new run"
        )
    require_batch(run, opened)
    manner = _Manner(*how_to_compile(machine, compile_asked(path), device), brief, resumed=True)
    return _work(prepare(run, opened, device, own, start=not folder.last.exists()), folder, machine, manner, None)


def _test_of(data: Data) -> str | None:
    return None if data.test is None else data.test.fingerprint()


@dataclass(frozen=True)
class _Manner:
    """How a run is gone through, whatever it is."""

    asked: Compile
    compile: Compile
    why: str
    brief: bool
    resumed: bool


def _work(job: Job, folder: RunDir, machine: Machine, manner: _Manner, written: dict[str, Any] | None) -> Finished:
    if dist.rank() != 0:
        return _loop(job, folder, machine, manner)
    with folder.locked():
        if written is not None:
            folder.refuse_if_used()  # once more, now that nobody else can come between
            write_json(folder.config, written)
        return _loop(job, folder, machine, manner)


def _loop(job: Job, folder: RunDir, machine: Machine, manner: _Manner) -> Finished:
    how = manner.compile
    if manner.resumed and folder.last.exists():
        _load(job, folder)
        if job.state.step == job.steps and not machine.quiet and dist.rank() == 0:
            print(f"{folder.path} is complete: all {job.steps} steps are done, nothing is left to do", file=sys.stderr)
    started = folder.last.exists()
    if dist.rank() == 0:
        if not started or job.state.step < job.steps:
            append_line(folder.environment, {**environment(), "compile": how, "compile_asked": manner.asked})
        drop_lines_after(folder.metrics, job.state.step if started else -1)
    journal = Journal(folder, job.steps, job.per_epoch)
    if not started:
        begin(job, journal, folder)
    job.state.method.student = dist.data_parallel(job.state.method.student)
    quiet, train_of = machine.quiet or dist.rank() != 0, job.run.train
    parts = stretches(job.run, job.steps, job.multiple)
    compile_backbones(job.state.method, how)
    with (
        compiled(how),
        interruptible() as interrupt,
        Progress(job.steps, job.per_epoch, train_of.batch, job.state.step, quiet, parts) as progress,
    ):
        progress.say(_summary(job, folder) + (f"\n{manner.why}" if manner.why else ""))
        train(job, journal, folder, interrupt, progress, workers_for(machine, job.data), how)
        if interrupt.signal is None and dist.rank() == 0:
            ending = _ending(folder)
            if not manner.brief:
                progress.say(ending)
    return Finished(folder.path, job.state.step, job.steps, interrupt.signal)


def _ending(folder: RunDir) -> str:
    """The files for other tools are written, and what the run made of its network is said."""
    exported = export(folder.path)
    lines = read_lines(folder.metrics)
    images = newest(lines, "health").get("images")
    chance = f"; by chance {100 / images:.2g} % find their own other view" if images else ""
    return (
        f"before against after:\n{table(before_after(lines))}\n"
        f"(higher is better for kNN, own other view found and RankMe; the others only tell a collapse{chance})\n"
        f"backbones in {exported.folder}" + (f"\n{exported.advice}" if exported.advice else "")
    )


def device_for(machine: Machine) -> torch.device:
    """Where a run trains. Raises ConfigError for one that is not there, or that shall be compiled for and cannot."""
    device = default_device(machine.device)
    if isinstance(machine, Trainer):
        require_compiler(machine.compile or "no", device)
    return device


def workers_for(machine: Machine, data: Data) -> int:
    """Threads that prepare batches of these images."""
    if machine.workers >= 0:
        return machine.workers
    in_ram = isinstance(data.train.read(np.array([0])), torch.Tensor)
    return 1 if in_ram else max(1, torch.get_num_threads())


def _told(settled: Settled, spec: str) -> str:
    """The settings with their reasons, where any were derived, and the estimate."""
    lines = []
    if settled.choices:
        lines.append("settings derived from the images and this machine; give an option to change one:")
        left = max(len(choice.option) for choice in settled.choices)
        middle = max(len(choice.value) for choice in settled.choices)
        lines += [f"  {c.option:<{left}}  {c.value:<{middle}}  {c.reason}" for c in settled.choices]
    if settled.estimate:
        lines.append(f"estimate: {settled.estimate}")
    if settled.pack_side:
        lines.append(_reducing(spec, settled.pack_side))
    return "\n".join(lines)


def _reducing(spec: str, side: int) -> str:
    """How to spare the machine the decoding of large images."""
    place, _ = taken_apart(spec)
    smaller = f"  --data {place}@shorter-side={side}\nto have JPEGs decoded smaller, or\n"
    if is_pack(Path(place)):
        smaller = ""
    return (
        f"much of this machine's time goes into decoding large images; stop here and use\n{smaller}"
        f"  resmom data pack {place} --out {place}.pack --side {side}\n"
        f"to reduce all images once, and then --data {place}.pack (views are then cut from reduced images)"
    )


def _load(job: Job, folder: RunDir) -> None:
    content = load_checkpoint(folder.last, job.device)
    if content["data"] != job.data.train.fingerprint():
        raise DataError(
            f"the images are not those of the run in {folder.path} (their number, names or pixels changed); "
            "put them back to continue it, or start a new run"
        )
    try:
        load_state(job.state, content["state"])
    except (RuntimeError, ValueError) as error:
        hint = again(json.loads(folder.config.read_text()))
        raise CheckpointError(f"{folder.last} does not fit the run in {folder.config}: {error}{hint}") from error


def _summary(job: Job, folder: RunDir) -> str:
    run, train_images = job.run, job.data.train
    lines = [
        f"{title_of(run)}: {len(train_images)} images ({job.data.origin}), {job.steps} steps of batch "
        f"{run.train.batch} ({job.steps / job.per_epoch:.4g} epochs), {run.train.precision} on {job.device}",
        f"teacher: {_teacher_words(job)}",
        f"residual momentum: {_residual_words(run)}",
        f"into {folder.path}" + (f", from step {job.state.step}" if job.state.step else ""),
    ]
    if (other := method_of(run)) is not None:
        lines.append(
            f"method: {type(run.method).__name__} in place of the recipe's {other}, with heads and settings of its own "
            "(--method.NAME sets them)"
        )
    if run.train.sizes:
        sides = (policy.views[0].size for policy in policies(run, job.multiple))
        lines.append(f"views grow: {', '.join(map(str, sides))} pixels, each for an equal part of the steps")
    if job.started:
        lines.append(f"starts from {job.started}{_rate_words(run)}")
    if run.train.precision == "bf16" and emulates_bf16(job.device):
        lines.append(
            "this processor emulates bf16, which takes several times as long as fp32; stop here and add "
            "--train.precision fp32, unless this run shall be compared with others in bf16"
        )
    if stale := stale_keys(run, job.data):
        lines.append(stale)
    if train_images.unreadable:
        lines.append(_unreadable_words(train_images, folder))
    return "\n".join(lines)


def _rate_words(run: Run) -> str:
    """Recipes have the learning rate for random weights, derived runs a tenth of that already."""
    if base_of(run.recipe) == "automatic":
        return ""
    return (
        f"\nthe learning rate, {run.optim.lr:g}, is what you or the recipe set; trained weights usually want a "
        "tenth of what random ones do (--optim.lr)"
    )


def _teacher_words(job: Job) -> str:
    if "teacher" not in networks_of(job.state.method):
        return "none, this method trains the student alone"
    ema = job.run.ema
    way = "" if ema.schedule == "constant" or ema.final == ema.momentum else f" to {ema.final:g} ({ema.schedule})"
    what = (
        "a moving average of the student" if ema.part == "all" else "the student's backbone, the rest a moving average"
    )
    return f"{what}, momentum {ema.momentum:g}{way}, BatchNorm statistics {ema.batch_norm}"


def _residual_words(run: Run) -> str:
    r = run.residual
    if r.weight == 0:
        return "off (the published method)"
    return f"weight {r.weight:g} ({r.schedule}), {r.distance} at site {r.site}, {r.pairing} view"


def _unreadable_words(source: Source, folder: RunDir) -> str:
    return f"{len(source.unreadable)} files could not be read and are left out; reasons in {folder.unreadable}"
