"""One backbone fine-tuned as a detector: its steps, its measurements, and what a restart carries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from resmom.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from resmom.data.boxes import BoxData
from resmom.data.loader import prefetch
from resmom.errors import UserError
from resmom.evaluate.detection import (
    Detect,
    Sample,
    Samples,
    detections,
    learning_rate,
    loss_terms,
    optimizer,
    protocol,
    score,
)
from resmom.nets.backbones import Backbone
from resmom.nets.detector import build_detector
from resmom.rundir import RunDir, append_line, drop_lines_after
from resmom.runs.interrupt import Interrupt
from resmom.runs.loop import Diverged
from resmom.runs.pretrain import Machine
from resmom.runs.progress import Progress
from resmom.schedule import due
from resmom.train.optim import set_rate

SKIPS = 20
"""So many steps in a row without a finite loss end the training."""


@dataclass(frozen=True)
class Detected:
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
    """One detector between two steps."""

    name: str
    model: nn.Module
    optimizer: Optimizer
    step: int = 0
    skipped: int = 0
    in_a_row: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "skipped": self.skipped,
            "in_a_row": self.in_a_row,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"], strict=True)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.skipped, self.in_a_row = saved["step"], saved["skipped"], saved["in_a_row"]


@dataclass(frozen=True)
class Detection:
    """What all backbones of one call share: settings, data, folder and machine."""

    config: Detect
    folder: Path
    train: BoxData
    test: BoxData | None
    device: torch.device
    machine: Machine

    @property
    def workers(self) -> int:
        return self.machine.workers if self.machine.workers >= 0 else max(1, torch.get_num_threads())


def fresh_tuning(
    job: Detection, name: str, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]
) -> Tuning:
    """A detector before its first step; the new layers are the same for every backbone of one kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.config.seed)
        model = build_detector(job.config.detector, backbone, len(job.train.classes), mean, std)
    model = model.to(job.device).train()
    return Tuning(name, model, optimizer(job.config, model))


def content(job: Detection, tuning: Tuning) -> dict[str, Any]:
    return {"detector": True, "data": job.train.fingerprint(), "steps": job.config.steps, "state": tuning.state()}


def load_tuning(folder: Path, tuning: Tuning, device: torch.device) -> dict[str, Any]:
    path = RunDir(folder).last
    content = load_checkpoint(path, device)
    try:
        tuning.load(content["state"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not fit the settings in {folder.parent / 'detect.json'}: {error}"
        ) from error
    return content


def tune(job: Detection, tuning: Tuning, interrupt: Interrupt, words: str) -> Detected | None:
    """Train one detector from its step on; the last measurement, None if there was none."""
    config, folder = job.config, RunDir(job.folder / tuning.name)
    samples = Samples(job.train, config)
    drop_lines_after(folder.metrics, tuning.step)
    row: Detected | None = None
    with (
        Progress(config.steps, samples.per_epoch, config.batch, tuning.step, job.machine.quiet) as progress,
        prefetch(samples.batch, tuning.step, config.steps, job.workers) as batches,
    ):
        progress.say(f"{tuning.name} ({words}): {len(samples)} images, step {tuning.step} of {config.steps}")
        for batch in batches:
            values = _step(job, tuning, batch)
            tuning.step += 1
            done = tuning.step == config.steps
            if due(tuning.step, config.line_steps) or done or tuning.step == 1:
                lines = {name: float(value) for name, value in values.items()}
                _note(folder, samples, tuning.step, "train", lines | {"lr": learning_rate(config, tuning.step - 1)})
                # What Progress prints is the method's own loss, which here is all there is.
                progress.update(tuning.step, {"loss": lines["loss"], "loss/method": lines["loss"]})
            if job.test is not None and (due(tuning.step, config.measure_steps) or done):
                with progress.paused():
                    row = measured(job, tuning, job.test)
                _note(folder, samples, tuning.step, "detection", row.plain())
                progress.say(f"{tuning.name}, step {tuning.step}: {_words(row)}")
            if due(tuning.step, config.save_steps) or done or interrupt.asked:
                save_checkpoint(folder.last, content(job, tuning))
            if interrupt.asked:
                break
    return row if row is not None or job.test is None or interrupt.asked else measured(job, tuning, job.test)


def _step(job: Detection, tuning: Tuning, batch: list[Sample]) -> dict[str, torch.Tensor]:
    """One step; nothing moves, batch statistics included, where the loss or its gradient is not finite."""
    config, model = job.config, tuning.model
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    set_rate(tuning.optimizer, learning_rate(config, tuning.step))
    terms = loss_terms(model, batch, config, job.device, tuning.step)
    loss = torch.stack(list(terms.values())).sum()
    tuning.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    limit = config.clip if config.clip > 0 else float("inf")
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
            raise Diverged(
                f"{tuning.name}: the loss has not been finite for {SKIPS} steps; lower --lr (now {config.lr:g}), "
                "lengthen --warmup-steps, or set --clip 10"
            )
    return {"loss": loss.detach(), **{f"loss/{name}": value.detach() for name, value in terms.items()}}


def _note(folder: RunDir, samples: Samples, step: int, kind: str, values: dict[str, Any]) -> None:
    append_line(folder.metrics, {"kind": kind, **values, "step": step, "epoch": step / samples.per_epoch})


def measured(job: Detection, tuning: Tuning, data: BoxData) -> Detected:
    found = detections(tuning.model, data, job.config, job.device)
    try:
        scores = score(found, data).plain()
    except ValueError as error:
        raise UserError(f"{tuning.name} cannot be measured: {error}") from error
    return Detected(tuning.name, tuning.step, scores, f"{protocol(job.config)}; {data.name}, {len(data.images)} images")


def _words(row: Detected) -> str:
    s = row.scores
    return f"AP {s['ap']:.2f}, AP50 {s['ap50']:.2f}, AP75 {s['ap75']:.2f}; VOC 2007's AP50 {s['voc07_ap50']:.2f}"
