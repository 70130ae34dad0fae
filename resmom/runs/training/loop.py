"""The loop of every run: load, step, measure, log, save, and stop when asked to."""

import json
import signal
from dataclasses import replace
from typing import Any

from torch import Tensor

from resmom import dist
from resmom.called import called
from resmom.checkpoint import save_checkpoint
from resmom.config import to_json
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.nets.teacher import twins
from resmom.ondisk import flush, write_whole
from resmom.rundir import RunDir
from resmom.runs.clean import labelled_split
from resmom.runs.device import finish, measured_kernels
from resmom.runs.machine import Compile
from resmom.runs.training.compiling import as_written, begin_step
from resmom.runs.training.health import health_line
from resmom.runs.training.interrupt import Interrupt
from resmom.runs.training.job import Job
from resmom.runs.training.journal import Journal
from resmom.runs.training.monitor import monitor, monitor_start, says_numbers
from resmom.runs.training.progress import Progress
from resmom.runs.training.start import save_start
from resmom.schedule import due, every, on_time
from resmom.train.optim import set_rate
from resmom.train.plan import Plan, learning_rate
from resmom.train.state import State, read_skips, restored, set_aside, state_dict, student_of
from resmom.train.step import train_step

SKIPS = 50
"""So many steps in a row without a finite loss end a run."""


class Diverged(UserError):
    """The loss has not been finite for many steps; the message says what to change."""


def begin(job: Job, journal: Journal, folder: RunDir) -> None:
    """Before the first step: keep what the run starts from, then save. Nothing of it is done twice.

    What can be measured later is, so that nobody waits for it before the first step: health right after that step, with
    the weights of before it, accuracy from the saved weights with the first measurement of the run. Accuracy is
    measured here where teacher and student differ, health where there is no first step or the networks lie in several
    processes.
    """
    if dist.rank() == 0:
        save_start(job, folder)
        teacher = job.state.method.teacher
        if teacher is not None and not twins(teacher, student_of(job.state.method)):
            _measure(job, journal, folder, Progress.silent())
    if not _later(job):
        _health(job, journal, Progress.silent())
    save(job, folder)


def _later(job: Job) -> bool:
    """Whether the health of the start is measured after the first step, not before."""
    return job.steps > 0 and dist.world() == 1


def _first_weights(job: Job, journal: Journal) -> dict[str, Tensor] | None:
    """What the networks are before the first step, if their health is still to be measured."""
    if job.state.step or not _later(job) or journal.has("health", 0):
        return None
    return set_aside(job.state.method)


def train(
    job: Job,
    journal: Journal,
    folder: RunDir,
    interrupt: Interrupt,
    progress: Progress,
    workers: int,
    how: Compile = "no",
) -> None:
    """Train from the state's step to the end of the run, or until asked to stop; the state is saved either way.

    It is saved before it is measured: what ends a measurement costs no step, and a stop does not wait for one. What a
    saved state still lacks is measured before the next step. A stop that another process of the group was asked for is
    noted as SIGTERM. `how`: as the backbones were compiled.
    """
    run, state, log = job.run, job.state, job.run.log
    rules = job.rules
    first = _first_weights(job, journal)
    with measured_kernels(job.device), job.batches(state.step, job.steps, workers) as batches:
        with progress.paused(), as_written(how):
            _measure_due(job, journal, folder, progress)
        state.method.train()
        for batch in batches:
            step = state.step
            now = job.plan(step)
            labels = None if job.labels is None else job.labels[batch.index]
            if state.online_optimizer is not None:
                set_rate(state.online_optimizer, learning_rate(run.train, run.online.lr, step, job.per_epoch))
            measure = step == 0 or due(step + 1, log.line_steps) or step + 1 == job.steps
            begin_step(how)
            metrics = train_step(state, batch, now, rules, labels, measure)

            if measure or due(state.step, SKIPS):  # on a GPU, reading them waits for the device
                read_skips(state)
            if state.in_a_row >= SKIPS:
                raise Diverged(_diverged(job, folder))
            values: dict[str, float] = {}
            if measure:
                values = dist.averaged(metrics)
                told = _schedule(job, now) | _speed(state, progress, batches.waited)
                journal.write("train", state.step, {**values, **told})
            progress.update(state.step, values)
            stopping = dist.anywhere(interrupt.asked)
            saves = stopping or _saves(job)
            if first is None and not saves and not _asks(job):
                continue
            # What the device still does of the step is training; saving and measuring would wait for it anyway.
            finish(job.device)
            with progress.paused(), as_written(how):
                if first is not None:  # even where a stop was asked for: no checkpoint has these weights
                    with restored(state.method, first):
                        _health(replace(job, state=replace(state, step=0)), journal, progress)
                    first = None
                if saves:
                    save(job, folder)
                if stopping:  # whoever sent a signal will not wait long
                    interrupt.signal = interrupt.signal or signal.SIGTERM
                    return
                _measure_due(job, journal, folder, progress)
    read_skips(state)
    if job.steps and state.skipped == state.step:
        raise Diverged(_diverged(job, folder))


def _schedule(job: Job, now: Plan) -> dict[str, float]:
    """What a step was told, for its line of metrics."""
    told = {"lr": now.lr}
    if job.state.method.teacher is not None:
        told["momentum"] = now.momentum
    if now.weight_decay is not None:
        told["weight_decay"] = now.weight_decay
    if job.run.residual.weight > 0:
        told["residual_weight"] = now.residual
    return told


def _speed(state: State, progress: Progress, waited: float) -> dict[str, float]:
    """Where the time went since this process began, for a line of metrics."""
    return {
        "images_per_second": progress.speed(state.step),
        "waited_seconds": waited,
        "elapsed_seconds": progress.elapsed(),
        "processor_seconds": progress.processor(),
        **{f"seconds/{name}": seconds for name, seconds in state.clock.read().items()},
    }


def _planned(job: Job) -> bool:
    """Whether a checkpoint and a measurement of health are due after this step."""
    return on_time(job.state.step, job.steps, every(job.run.log.save_epochs, job.per_epoch))


def _saves(job: Job) -> bool:
    return _planned(job) or due(job.state.step, every(job.run.log.keep_epochs, job.per_epoch))


def _measure_due(job: Job, journal: Journal, folder: RunDir, progress: Progress) -> None:
    """What is due after this step and has no line yet.

    After a step that is all of it; of a state that was read back it is what a stop, a kill or a power cut prevented.
    """
    step = job.state.step
    if step == 0:  # `begin` has measured it, or will have it measured
        return
    accuracy, planned = _asks(job), _planned(job)
    if accuracy:
        _measure(job, journal, folder, progress)
    if planned and not journal.has("health", step):
        _health(job, journal, progress)
    if accuracy or planned:
        _list_unreadable(job, folder)


def lacks(job: Job, journal: Journal) -> bool:
    """Whether a measurement of this step, which was read back, is still to be made: something prevented it."""
    step = job.state.step
    if step == 0:
        return False
    accuracy = _asks(job) and not _answered(job, journal) and labelled_split(job.data) is not None
    return accuracy or (_planned(job) and not journal.has("health", step))


def _asks(job: Job) -> bool:
    """Whether a measurement of accuracy is due after this step."""
    return on_time(job.state.step, job.steps, every(job.run.log.knn_epochs, job.per_epoch))


def _answered(job: Job, journal: Journal) -> bool:
    """Whether the accuracy of this step has all its lines."""
    kinds = ["knn"] if job.state.online is None else ["knn", "online"]
    return all(journal.has(kind, job.state.step) for kind in kinds)


def _measure(job: Job, journal: Journal, folder: RunDir, progress: Progress) -> None:
    step = job.state.step
    if _answered(job, journal):
        return
    try:
        if step and not journal.has("knn", 0) and folder.start.exists():
            for line in monitor_start(job, folder.start):
                journal.write(line.pop("kind"), 0, line)
                progress.say(_accuracy_words(0, line))
        lines = monitor(job)
    except ValueError as error:  # the protocols' own words
        if step == 0 or isinstance(error, UserError) or says_numbers(job):
            raise  # whatever it is, the loss did not do it
        raise Diverged(f"the network can no longer be measured ({error}): {_diverged(job, folder)}") from error
    for line in lines:
        kind = line.pop("kind")
        if not journal.has(kind, step):
            journal.write(kind, step, line)
            progress.say(_accuracy_words(step / job.per_epoch, line))


def _health(job: Job, journal: Journal, progress: Progress) -> None:
    if dist.rank() == 0:
        line = health_line(job)
        journal.write(line.pop("kind"), job.state.step, line)
        for finding in journal.news():
            progress.say(f"attention, {finding.name}: {finding.words} {finding.remedy}")


def save(job: Job, folder: RunDir) -> None:
    """Write the last checkpoint, and the kept one where it is due. Every process calls it, and the first one writes."""
    if dist.rank() == 0:
        _write(job, folder)
    _list_unreadable(job, folder)


def _write(job: Job, folder: RunDir) -> None:
    step = job.state.step
    flush(folder.metrics)  # or a power cut might leave a checkpoint without the lines of the steps before it
    content = {
        "run": to_json(job.run),
        "data": job.data.train.fingerprint(),
        "classes": list(job.data.train.classes),
        "epoch": step / job.per_epoch,
        "steps": job.steps,
        "state": state_dict(job.state),
    }
    if due(step, every(job.run.log.keep_epochs, job.per_epoch)):
        save_checkpoint(folder.kept(step), content)  # before the last: a run that goes on from that is past this step
    save_checkpoint(folder.last, content)


def _list_unreadable(job: Job, folder: RunDir) -> None:
    """Keep which images could not be read so far, in training or in measuring, by any process."""
    met = dict(image for own in dist.gathered(job.data.train.unreadable) for image in own)  # each sees its own part
    if dist.rank() == 0 and met:
        # What an earlier process of this run met is kept: this one may not come to those files again.
        found = {line["path"]: line["reason"] for line in read_lines(folder.unreadable)} | met
        lines = [json.dumps({"path": p, "reason": r}, ensure_ascii=False) for p, r in found.items()]
        write_whole(folder.unreadable, "\n".join(lines) + "\n")


def _accuracy_words(epoch: float, line: dict[str, Any]) -> str:
    parts = [f"{network} {line[network]:.2f}" for network in ("student", "teacher") if network in line]
    at = f"{epoch:.0f}" if float(epoch).is_integer() else f"{epoch:.1f}"
    return f"epoch {at}: {line['protocol']}: " + ", ".join(parts)


def _diverged(job: Job, folder: RunDir) -> str:
    rate, unit = job.run.optim.lr, "steps" if job.run.train.steps else "epochs"
    advice = f"lower {called('optim.lr')} (now {rate:g}), lengthen {called(f'train.warmup_{unit}')}"
    advice += f", or set {called('train.clip')} 1"
    if job.run.train.precision == "fp16":
        advice += f", or use {called('train.precision')} bf16 or fp32"
    return (
        f"the loss or its gradient has not been finite for many steps, or for all of them; {advice}. "
        f"The last checkpoint is {folder.last}"
    )
