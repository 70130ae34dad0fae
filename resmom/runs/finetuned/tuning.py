"""One backbone fine-tuned for a task with labels: its steps, its measurements, and what a restart carries."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import torch
from torch import nn
from torch.optim import Optimizer

from resmom.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from resmom.data.loader import prefetch, workers_here
from resmom.errors import UserError
from resmom.jsonfiles import append_line, drop_lines_after, read_lines
from resmom.nets.backbones import Backbone
from resmom.rundir import RunDir
from resmom.runs.finetuned.task import Batches, D, Task
from resmom.runs.machine import Machine
from resmom.runs.training.interrupt import Interrupt
from resmom.runs.training.loop import Diverged
from resmom.runs.training.progress import Progress
from resmom.schedule import due

SKIPS = 20
"""So many steps in a row without a finite loss end the training."""


@dataclass(frozen=True)
class Measured:
    """One measurement: which backbone, at which step of its fine-tuning, and the numbers in percent."""

    network: str
    step: int
    scores: dict[str, Any]
    protocol: str

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {"network": self.network, "step": self.step, **self.scores, "protocol": self.protocol}


@dataclass
class Tuning:
    """One network between two steps."""

    name: str
    model: nn.Module
    optimizer: Optimizer
    step: int = 0
    skipped: int = 0
    in_a_row: int = 0
    settled: str = ""
    """What was estimated for a measurement since the last step, in words."""

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "skipped": self.skipped,
            "in_a_row": self.in_a_row,
            "settled": self.settled,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"], strict=True)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.skipped, self.in_a_row = saved["step"], saved["skipped"], saved["in_a_row"]
        self.settled = saved.get("settled", "")  # older checkpoints have none


@dataclass(frozen=True)
class Job(Generic[D]):
    """What all backbones of one call share: task, folder and machine."""

    task: Task[D]
    folder: Path
    device: torch.device
    machine: Machine

    @property
    def workers(self) -> int:
        return self.machine.workers if self.machine.workers >= 0 else workers_here()


def fresh_tuning(job: Job[D], name: str, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> Tuning:
    """A network before its first step; the new layers are the same for every backbone of one kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.task.pace.seed)
        model = job.task.build(backbone, mean, std).to(job.device)
    return Tuning(name, model, job.task.optimizer(model))


def content(job: Job[D], tuning: Tuning) -> dict[str, Any]:
    task = job.task
    return {"task": task.kind, "data": task.train.fingerprint(), "steps": task.pace.steps, "state": tuning.state()}


def load_tuning(folder: Path, tuning: Tuning, device: torch.device, file: Path) -> dict[str, Any]:
    """The checkpoint in `folder`, taken over; `file` has the settings that it must fit."""
    path = RunDir(folder).last
    content = load_checkpoint(path, device)
    try:
        tuning.load(content["state"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit the settings in {file}: {error}") from error
    return content


def tune(job: Job[D], tuning: Tuning, interrupt: Interrupt, words: str) -> Measured | None:
    """Train one network from its step on; the last measurement, None if there was none."""
    task, pace, folder = job.task, job.task.pace, RunDir(job.folder / tuning.name)
    samples = task.samples()
    drop_lines_after(folder.metrics, tuning.step)
    noted = _noted(job, tuning)
    if tuning.step == pace.steps and noted is not None:
        return noted
    row: Measured | None = None
    with (
        Progress(pace.steps, samples.per_epoch, pace.batch, tuning.step, job.machine.quiet) as progress,
        prefetch(samples.batch, tuning.step, pace.steps, job.workers) as batches,
    ):
        progress.say(f"{tuning.name} ({words}): {len(samples)} images, step {tuning.step} of {pace.steps}")
        if noted is None:  # whatever measured this step may have been killed, or failed
            row = _late(job, tuning, samples, progress)
        for batch in batches:
            values = _step(job, tuning, batch)
            tuning.step += 1
            tuning.settled = ""
            done = tuning.step == pace.steps
            if due(tuning.step, pace.line_steps) or done or tuning.step == 1:
                lines = {name: float(value) for name, value in values.items()}
                _note(folder, samples, tuning.step, "train", lines)
                progress.update(tuning.step, {"loss": lines["loss"]})
            measuring = _measures(task, tuning.step)
            if measuring or done:
                tuning.settled = task.settle(tuning.model, job.device, job.workers)
            saving = due(tuning.step, pace.save_steps) or done or interrupt.asked
            if saving:  # before the measurement: whatever ends that costs no step
                save_checkpoint(folder.last, content(job, tuning))
            if measuring:
                row = _measured_and_noted(job, tuning, samples, progress)
            if interrupt.asked:
                if not saving:  # it was asked since
                    save_checkpoint(folder.last, content(job, tuning))
                break
    return row


def _measures(task: Task[D], step: int) -> bool:
    """Whether the network is measured after this step."""
    return task.test is not None and (due(step, task.pace.measure_steps) or step == task.pace.steps)


def _late(job: Job[D], tuning: Tuning, samples: Batches, progress: Progress) -> Measured | None:
    """What a saved step still lacks: the estimate that a measurement needs, and the measurement; None if neither."""
    task, measuring = job.task, _measures(job.task, tuning.step)
    if (measuring or tuning.step == task.pace.steps) and not tuning.settled:
        tuning.settled = task.settle(tuning.model, job.device, job.workers)
        if tuning.settled:
            save_checkpoint(RunDir(job.folder / tuning.name).last, content(job, tuning))
    return _measured_and_noted(job, tuning, samples, progress) if measuring else None


def _measured_and_noted(job: Job[D], tuning: Tuning, samples: Batches, progress: Progress) -> Measured:
    task = job.task
    assert task.test is not None
    with progress.paused():
        row = measured(job, tuning, task.test)
    _note(RunDir(job.folder / tuning.name), samples, tuning.step, task.kind, row.plain())
    progress.say(f"{tuning.name}, step {tuning.step}: {task.words(row.scores)}")
    return row


def _noted(job: Job[D], tuning: Tuning) -> Measured | None:
    """The measurement of the step that it is at, if its lines have it."""
    own = {"kind", "network", "step", "epoch", "protocol"}
    for line in read_lines(RunDir(job.folder / tuning.name).metrics):
        if line["kind"] == job.task.kind and line["step"] == tuning.step:
            scores = {name: value for name, value in line.items() if name not in own}
            return Measured(tuning.name, tuning.step, scores, line["protocol"])
    return None


def _step(job: Job[D], tuning: Tuning, batch: Any) -> dict[str, Any]:
    """One step; nothing moves, batch statistics included, where the loss or its gradient is not finite."""
    task, model = job.task, tuning.model
    task.prepare(model, job.device, tuning.step)
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    rate = task.set_rate(model, tuning.optimizer, tuning.step)
    tuning.optimizer.zero_grad(set_to_none=True)
    terms = _backward(task.losses(model, batch, job.device, tuning.step))
    loss = torch.stack(list(terms.values())).sum()
    limit = task.pace.clip if task.pace.clip > 0 else float("inf")
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    if bool(torch.isfinite(loss) & torch.isfinite(norm)):
        tuning.optimizer.step()
        tuning.in_a_row = 0
    else:
        tuning.skipped += 1
        tuning.in_a_row += 1
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(statistics[name])
        if tuning.in_a_row >= SKIPS:
            raise Diverged(f"{tuning.name}: the loss has not been finite for {SKIPS} steps; {task.remedy(rate)}")
    return {"loss": loss, **{f"loss/{name}": value for name, value in terms.items()}, "lr": rate}


def _backward(parts: Iterator[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The named losses summed over `parts`, after the backward pass of each."""
    total: dict[str, torch.Tensor] = {}
    for terms in parts:
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        total = {name: value.detach() + total.get(name, 0) for name, value in terms.items()}
    return total


def _note(folder: RunDir, samples: Batches, step: int, kind: str, values: dict[str, Any]) -> None:
    append_line(folder.metrics, {"kind": kind, **values, "step": step, "epoch": step / samples.per_epoch})


def at_any_step(protocol: str) -> str:
    """A protocol of `measured` without what it says of the step: of equal ones the later number counts."""
    return re.sub(r"; (last step|step \d+ of \d+, not the last);", ";", protocol)


def measured(job: Job[D], tuning: Tuning, data: D) -> Measured:
    """The network as it is, on `data`."""
    try:
        scores = job.task.scores(tuning.model, data, job.device)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{tuning.name} cannot be measured: {error}") from error
    settled = f"; {tuning.settled}" if tuning.settled else ""
    whole = job.task.pace.steps
    when = "last step" if tuning.step == whole else f"step {tuning.step} of {whole}, not the last"
    protocol = f"{job.task.protocol(tuning.model)}{settled}; {when}; {data.name}, {len(data.images)} images"
    return Measured(tuning.name, tuning.step, scores, protocol)
