"""Pretrain, and resume: the same job from step 0 or from a checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from resmom import dist
from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import Run, from_json, to_json
from resmom.data.open import absolute
from resmom.data.source import DataError, Source
from resmom.rundir import RunDir, RunDirError, append_line, drop_lines_after, write_json
from resmom.runs.environment import environment
from resmom.runs.interrupt import interruptible
from resmom.runs.job import Job, default_device, open_for, prepare
from resmom.runs.loop import save, train
from resmom.runs.progress import Progress
from resmom.train.state import load_state


@dataclass(frozen=True)
class Machine:
    """What a run uses of the machine. None of it changes what is computed, rounding apart."""

    device: str = "auto"
    """auto (a CUDA GPU where there is one), cpu, cuda, cuda:1 …"""
    workers: int = -1
    """Threads that prepare batches; -1: one for images in RAM of one size, else one per core."""
    threads: int = 0
    """CPU threads of one operation, set by the command line; 0 leaves torch's choice. Where other programs compete for
    the cores, or the network is very small, 1 can be many times faster than 2."""
    quiet: bool = False
    """Say nothing while training."""


@dataclass(frozen=True)
class Finished:
    """How a run ended: at its last step, or earlier by a signal."""

    path: Path
    step: int
    steps: int
    interrupted_by: int | None


def pretrain(run: Run, data: str, out: Path, machine: Machine | None = None) -> Finished:
    """Run from the start in a new folder `out`.

    Raises ConfigError, DataError or RunDirError before anything is written, Diverged if the loss stays non-finite.
    """
    machine = machine or Machine()
    folder = RunDir(out)
    folder.refuse_if_used()
    device = default_device(machine.device)
    spec = absolute(data)
    job = prepare(run, open_for(run, spec), device)
    return _work(job, folder, machine, spec, resumed=False)


def resume(path: Path, machine: Machine | None = None) -> Finished:
    """Continue the run in a folder from its last checkpoint, or from step 0 if it was stopped before the first.

    On the CPU the weights at the end are those, bit for bit, of the run that was never stopped (same versions, same
    number of threads). Raises RunDirError or CheckpointError if there is nothing to continue, DataError if the data
    changed.
    """
    machine = machine or Machine()
    folder = RunDir(path)
    if not folder.config.exists():
        raise RunDirError(f"{path} is not a run folder: it has no run.json; start a run with `resmom pretrain`")
    written = json.loads(folder.config.read_text())
    run = from_json(written["run"])
    device = default_device(machine.device)
    job = prepare(run, open_for(run, written["data"]), device)
    return _work(job, folder, machine, written["data"], resumed=True)


def _work(job: Job, folder: RunDir, machine: Machine, data: str, resumed: bool) -> Finished:
    if dist.rank() != 0:
        return _loop(job, folder, machine, resumed)
    with folder.locked():
        if not resumed:
            folder.refuse_if_used()  # once more, now that nobody else can come between
            write_json(folder.config, {"format": 1, "data": data, "run": to_json(job.run)})
        append_line(folder.environment, environment())
        return _loop(job, folder, machine, resumed)


def _loop(job: Job, folder: RunDir, machine: Machine, resumed: bool) -> Finished:
    if resumed and folder.last.exists():
        _load(job, folder)
    if dist.rank() == 0:
        drop_lines_after(folder.metrics, job.state.step)
    if not folder.last.exists():
        save(job, folder)
    job.state.method.student = dist.data_parallel(job.state.method.student)
    in_ram = isinstance(job.data.train.read(job.order.index(0)[:1]), torch.Tensor)
    workers = machine.workers if machine.workers >= 0 else 1 if in_ram else max(1, torch.get_num_threads())
    quiet = machine.quiet or dist.rank() != 0
    with (
        interruptible() as interrupt,
        Progress(job.steps, job.per_epoch, job.run.train.batch, job.state.step, quiet) as progress,
    ):
        progress.say(_summary(job, folder))
        train(job, folder, interrupt, progress, workers)
    return Finished(folder.path, job.state.step, job.steps, interrupt.signal)


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
        raise CheckpointError(f"{folder.last} does not fit the run in {folder.config}: {error}") from error


def _summary(job: Job, folder: RunDir) -> str:
    run, train_images = job.run, job.data.train
    lines = [
        f"{run.recipe}: {len(train_images)} images ({job.data.origin}), {run.train.epochs} epochs of "
        f"{job.per_epoch} steps, batch {run.train.batch}, {run.train.precision} on {job.device}",
        f"residual momentum: {_residual_words(run)}",
        f"into {folder.path}" + (f", from step {job.state.step}" if job.state.step else ""),
    ]
    if train_images.unreadable:
        lines.append(_unreadable_words(train_images, folder))
    return "\n".join(lines)


def _residual_words(run: Run) -> str:
    r = run.residual
    if r.weight == 0:
        return "off (the published method)"
    return f"weight {r.weight:g} ({r.schedule}), {r.distance} at site {r.site}, {r.pairing} view"


def _unreadable_words(source: Source, folder: RunDir) -> str:
    return f"{len(source.unreadable)} files could not be read and are left out; reasons in {folder.unreadable}"
