"""Pretrain, and resume: the same job from step 0 or from a checkpoint."""

import errno
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resmom import dist
from resmom.build import Own
from resmom.called import called, setting
from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import Run, from_json, to_json
from resmom.data.errors import DataError
from resmom.data.source import Data
from resmom.errors import RunDirError
from resmom.jsonfiles import append_line, drop_lines_after, write_json
from resmom.norun import no_run
from resmom.rundir import RunDir
from resmom.runs.announce import ending, summary
from resmom.runs.asked import record_of, require_asked
from resmom.runs.environment import compile_asked, environment, logged_to
from resmom.runs.exporting.export import export
from resmom.runs.loggers.sinks import loggers_to_use, opened
from resmom.runs.machine import Logger, Machine
from resmom.runs.own import again, names, opened_again, require, say_others
from resmom.runs.ready import device_for, make_ready, tell, workers_for
from resmom.runs.settling.offer import Asked
from resmom.runs.training.compiling import (
    Way,
    compile_backbones,
    compiled,
    how_asked,
    how_to_compile,
    require_compilable,
)
from resmom.runs.training.growth import stretches
from resmom.runs.training.interrupt import Finished, interruptible
from resmom.runs.training.job import Job, prepare, require_batch
from resmom.runs.training.journal import Journal
from resmom.runs.training.loop import begin, lacks, train
from resmom.runs.training.progress import Progress
from resmom.runs.training.start import content_of, require_content
from resmom.train.state import load_state


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
    loggers = loggers_to_use(machine, ())
    asked = Asked(run) if isinstance(run, Run) else run
    ready = make_ready(asked, data, out, machine, own)
    job, settled = ready.job, ready.settled
    if ready.settings:
        tell(machine, ready.settings)
    written = {
        "format": 1,
        "data": ready.spec,
        "images": len(job.data.train),
        "origin": job.data.origin,
        "fingerprint": job.data.train.fingerprint(),
        "test": _test_of(job.data),
        "run": to_json(settled.run),
        **({"init": content_of(settled.run.init)} if settled.run.init else {}),
        **({"resampled": job.taken.resampled} if job.taken is not None and job.taken.resampled else {}),
        "own": names(own),
        "choices": [asdict(choice) for choice in settled.choices],
        "asked": record_of(asked, settled.offered),
    }
    manner = _Manner(how_to_compile(machine, "no", job.device), loggers, brief, resumed=False)
    return _work(job, RunDir(out), machine, manner, written)


def resume(
    path: Path,
    machine: Machine | None = None,
    data: str | Data | None = None,
    own: Own | None = None,
    *,
    brief: bool = False,
) -> Finished:
    """Continue the run in a folder from its last checkpoint, or from step 0 if it was stopped before the first.

    `data` says where the images are now, if they have moved or were given as open images; a place is kept, see
    `RunDir.written`. `own` is needed where the run was started with modules of the user's own. On the CPU the weights
    at the end are those, bit for bit, of the run that was never stopped (same versions, same number of threads).
    `brief` as for `pretrain`. Raises RunDirError or CheckpointError if there is nothing to continue, DataError if the
    data changed, ConfigError if modules are missing, or nothing of the method would be compiled as it was asked for.
    """
    machine, own = machine or Machine(), own or Own()
    folder = RunDir(path)
    if not folder.config.exists():
        raise RunDirError(no_run(path, "a run goes on with its other networks and its optimiser, too"))
    written = folder.written()
    folder.require_not_lost()
    run = from_json(written["run"])
    require(own, written)
    require_content(folder, written)
    if own.method is None:
        require_compilable(run.method, how_asked(machine) or "no")
    if dist.rank() == 0:
        say_others(own, written)
    device = device_for(machine)
    images = opened_again(folder, written, data)
    require_batch(run, images)
    way, loggers = how_to_compile(machine, compile_asked(path), device), loggers_to_use(machine, logged_to(path))
    job = prepare(run, images, device, own, start=not folder.last.exists())
    return _work(job, folder, machine, _Manner(way, loggers, brief, resumed=True), None)


def pretrain_or_resume(
    asked: Asked, data: str | Data, out: Path, machine: Machine | None = None, own: Own | None = None
) -> Finished:
    """Begin the run in `out`, or continue it where an earlier call has begun it; of a finished one nothing is left.

    Raises as these two do, and RunDirError if the run that is there is not the one that is asked for.
    """
    folder = RunDir(out)
    if not folder.config.exists():
        return pretrain(asked, data, out, machine, own)
    require_asked(folder, asked)
    return resume(out, machine, data, own)


def _test_of(data: Data) -> str | None:
    return None if data.test is None else data.test.fingerprint()


def _require_train(job: Job, folder: RunDir, known: str | None) -> None:
    """Raise DataError unless the training images are those of that fingerprint; None where it was not written down."""
    if known not in (None, job.data.train.fingerprint()):
        before, now = folder.written().get("images"), len(job.data.train)
        if before in (None, now):
            what = f"their number, {now}, is the same, but their labels, names or pixels are not"
        else:
            what = f"there were {before} of them, and there are {now} now"
        raise DataError(
            f"the images are not those of the run in {folder.path}: {what} (in Python also where an array or a tensor "
            "became a Dataset, or the reverse); put them back to continue it, name the place where they are "
            f"({called('data')}), or start a new run from what it has learned ({setting('init', str(folder.last))})"
        )


def _require_test(job: Job, folder: RunDir) -> None:
    now = _test_of(job.data)
    if folder.written().get("test", now) != now:  # not written by older versions
        raise DataError(
            f"the test images are not those that the run in {folder.path} has been measured on (they are others, or "
            "there are none now, or there were none); put them back, in Python as test=..., or start a new run"
        )


@dataclass(frozen=True)
class _Manner:
    """How a run is gone through, whatever it is."""

    compile: Way
    loggers: tuple[Logger, ...]
    brief: bool
    resumed: bool


def _work(job: Job, folder: RunDir, machine: Machine, manner: _Manner, written: dict[str, Any] | None) -> Finished:
    if dist.rank() != 0:
        return _loop(job, folder, machine, manner)
    with folder.worked_in():
        if written is not None:
            folder.refuse_if_used()  # once more, now that nobody else can come between
            write_json(folder.config, written)
        try:
            return _loop(job, folder, machine, manner)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunDirError(
                f"{error.filename or folder.path}: {(error.strerror or 'no space left').lower()}; make room, and "
                f"continue with {folder.continued_by()}: what is saved is whole"
            ) from error


def _loop(job: Job, folder: RunDir, machine: Machine, manner: _Manner) -> Finished:
    # The first one's word: before a slow process looks, there may be the checkpoint that the others begin with.
    started = dist.agreed(folder.last.exists())
    if manner.resumed:
        _require_train(job, folder, folder.written().get("fingerprint"))  # older versions have it in checkpoints alone
        if started:
            _load(job, folder)
        _require_test(job, folder)
        if started and job.state.step == job.steps:
            tell(machine, f"{folder.path} is complete: all {job.steps} steps are done, none is left to do")
    if dist.rank() == 0:
        drop_lines_after(folder.metrics, job.state.step if started else -1)
    journal = Journal(folder, job.steps, job.per_epoch)
    if dist.rank() == 0:
        _note_start(job, folder, manner, not started or job.state.step < job.steps or lacks(job, journal))
    with opened(folder, manner.loggers, machine) as journal.sinks:
        if not started:
            begin(job, journal, folder)
        return _go_through(job, journal, folder, machine, manner)


def _go_through(job: Job, journal: Journal, folder: RunDir, machine: Machine, manner: _Manner) -> Finished:
    how = manner.compile.used
    dist.as_first(job.state.method)
    job.state.method.student = dist.data_parallel(job.state.method.student)
    quiet, train_of = machine.quiet or dist.rank() != 0, job.run.train
    parts = stretches(job.run, job.steps, job.multiple)
    compile_backbones(job.state.method, how)
    with (
        compiled(how),
        interruptible() as interrupt,
        Progress(job.steps, job.per_epoch, train_of.batch, job.state.step, quiet, parts) as progress,
    ):
        progress.say(summary(job, folder) + (f"\n{manner.compile.why}" if manner.compile.why else ""))
        train(job, journal, folder, interrupt, progress, workers_for(machine, job.data), how)
        if job.state.step == job.steps and interrupt.signal is None and dist.rank() == 0:
            exported = export(folder.path)
            if not manner.brief:
                progress.say(ending(folder, exported))
    dist.wait()  # until the first process has measured and exported what the others may now read
    return Finished(folder.path, job.state.step, job.steps, interrupt.signal)


def _note_start(job: Job, folder: RunDir, manner: _Manner, works: bool) -> None:
    """A line of this start, with the place of the images if they have moved.

    `works`: something is to be trained or measured, of which the line tells where; else only a move is told.
    """
    moved = {"data": job.data.spec} if job.data.spec not in ("", folder.written()["data"]) else {}
    if works or moved:
        how = {"compile": manner.compile.used, "compile_asked": manner.compile.asked, "log_to": list(manner.loggers)}
        append_line(folder.environment, {**environment(), **moved, **how})


def _load(job: Job, folder: RunDir) -> None:
    content = load_checkpoint(folder.last, job.device)
    _require_train(job, folder, content["data"])
    try:
        load_state(job.state, content["state"])
    except (RuntimeError, ValueError) as error:
        hint = again(folder.written())
        raise CheckpointError(f"{folder.last} does not fit the run in {folder.config}: {error}{hint}") from error
