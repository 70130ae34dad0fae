"""Detection as an evaluation: each backbone is fine-tuned as a detector, measured, and can be continued.

OUT/detect.json              settings, data, classes and backbones, written once
OUT/evaluations.jsonl        one line per backbone and measurement of `resmom detect evaluate`
OUT/NAME/metrics.jsonl       one line per measurement in training; NAME is student, teacher, init or random
OUT/NAME/checkpoints/last.pt what a restart carries
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from resmom import dist
from resmom.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from resmom.config import ConfigError, backbone_from_json, part_from_json, part_to_json
from resmom.data.boxes import BoxData, open_boxes
from resmom.data.loader import prefetch
from resmom.data.source import DataError
from resmom.errors import UserError
from resmom.evaluate.detection import (
    Detect,
    Samples,
    detections,
    learning_rate,
    loss_terms,
    optimizer,
    protocol,
    score,
)
from resmom.nets.backbones import Backbone, build_backbone
from resmom.nets.detector import build_detector
from resmom.rundir import RunDir, RunDirError, append_line, drop_lines_after, write_json
from resmom.runs.detectors import Backbones, Origin, backbones
from resmom.runs.environment import environment
from resmom.runs.interrupt import Interrupt, interruptible
from resmom.runs.job import default_device
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


@dataclass(frozen=True)
class Ended:
    """How it ended: the newest measurement of each backbone, and the signal that stopped it, if one did."""

    path: Path
    rows: list[Detected]
    interrupted_by: int | None


@dataclass
class _Tuning:
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
class _Job:
    """What all backbones of one call share."""

    config: Detect
    folder: Path
    train: BoxData
    test: BoxData | None
    device: torch.device
    machine: Machine

    @property
    def workers(self) -> int:
        return self.machine.workers if self.machine.workers >= 0 else max(1, torch.get_num_threads())


def detect_train(
    config: Detect,
    origin: Origin,
    train: Sequence[str],
    test: Sequence[str],
    out: Path,
    machine: Machine | None = None,
) -> Ended:
    """Fine-tune each backbone of `origin` on the boxes of `train`, measure it on those of `test` (none: not at all).

    Raises UserError before anything is written, Diverged if the loss stays non-finite.
    """
    machine = machine or Machine()
    _check(config)
    if dist.world() > 1:
        raise ConfigError("detection runs on one process; start it without torchrun")
    if (out / "detect.json").exists():
        raise RunDirError(
            f"{out} already holds detectors; continue with `resmom detect resume {out}`, or another --out"
        )
    RunDir(out).refuse_if_used()
    found = backbones(origin, config)
    data = open_boxes(train)
    tests = open_boxes(test, data.classes) if test else None
    Samples(data, config)  # whether the images fill a batch
    job = _Job(config, out, data, tests, default_device(machine.device), machine)
    with RunDir(out).locked():
        for name, backbone in found.weights.items():
            tuning = _fresh(job, name, backbone, found.mean, found.std)
            save_checkpoint(RunDir(out / name).last, _content(job, tuning))
        write_json(out / "detect.json", _written(job, found, train, test))
        return _all(job, found, list(found.weights))


def detect_resume(out: Path, machine: Machine | None = None) -> Ended:
    """Continue where the folder's detectors were stopped; finished ones are left as they are.

    On the CPU the weights at the end are those, bit for bit, of a training that was never stopped.
    """
    machine = machine or Machine()
    written = _read(out)
    config = part_from_json(written["settings"], Detect)
    classes = tuple(written["classes"])
    test = open_boxes(written["test"], classes) if written["test"] else None
    data = open_boxes(written["data"], classes)
    job = _Job(config, out, data, test, default_device(machine.device), machine)
    with RunDir(out).locked():
        return _all(job, _described(written), list(written["networks"]))


def detect_evaluate(out: Path, test: Sequence[str] = (), machine: Machine | None = None) -> list[Detected]:
    """Measure the folder's detectors as they are, on their own test images or on others of the same classes."""
    machine = machine or Machine()
    written = _read(out)
    config = part_from_json(written["settings"], Detect)
    specs = list(test) or written["test"]
    if not specs:
        raise DataError(f"{out} was trained without test images; say which to measure on: --data DATA")
    data = open_boxes(specs, tuple(written["classes"]))
    found = _described(written)
    job = _Job(config, out, data, data, default_device(machine.device), machine)
    rows = []
    for name in written["networks"]:
        tuning = _fresh(job, name, build_backbone(found.config), found.mean, found.std)
        _load(out / name, tuning, job.device)
        rows.append(_measured(job, tuning, data))
        append_line(out / "evaluations.jsonl", {**rows[-1].plain(), "environment": environment()})
    return rows


def _check(config: Detect) -> None:
    """Refuse numbers that cannot train."""
    if min(config.steps, config.batch, config.line_steps) < 1 or min(config.warmup_steps, config.save_steps) < 0:
        raise ConfigError(
            "--steps, --batch and --line-steps must be 1 or more, --warmup-steps and --save-steps 0 or more"
        )
    if not config.lr > 0 or not all(0 < drop <= 1 for drop in config.drops):
        raise ConfigError(
            f"--lr must be above 0, --drops shares of the steps in (0, 1]; got {config.lr}, {config.drops}"
        )
    if not config.sides or min(*config.sides, config.test_side) < 32 or config.longest < max(config.sides):
        raise ConfigError(
            "--sides and --test-side must be 32 pixels or more, and --longest no less than any of --sides"
        )


def _written(job: _Job, found: Backbones, train: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    return {
        "format": 1,
        "settings": part_to_json(job.config),
        "data": [_absolute(spec) for spec in train],
        "test": [_absolute(spec) for spec in test],
        "images": len(job.train.images),
        "classes": list(job.train.classes),
        "backbone": backbone_to_json(found),
        "mean": list(found.mean),
        "std": list(found.std),
        "networks": found.words,
    }


def backbone_to_json(found: Backbones) -> dict[str, Any]:
    """The backbone's configuration as plain values, its kind named."""
    return {**part_to_json(found.config), "kind": type(found.config).__name__}


def _absolute(spec: str) -> str:
    """The same place for whoever stands in another folder."""
    path, colon, part = spec.rpartition(":")
    if Path(spec).exists() or not colon:
        return str(Path(spec).resolve())
    return f"{Path(path).resolve()}:{Path(part).resolve() if path.endswith('.json') else part}"


def _read(out: Path) -> dict[str, Any]:
    file = out / "detect.json"
    if not file.is_file():
        raise RunDirError(f"{out} holds no detectors: it has no detect.json; make some with `resmom detect train`")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def _described(written: dict[str, Any]) -> Backbones:
    """The backbones that a folder speaks of, without their weights, which lie in its checkpoints."""
    config = backbone_from_json(written["backbone"])
    return Backbones(config, tuple(written["mean"]), tuple(written["std"]), {}, written["networks"])


def _fresh(job: _Job, name: str, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> _Tuning:
    """A detector before its first step; the new layers are the same for every backbone of one kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.config.seed)
        model = build_detector(job.config.detector, backbone, len(job.train.classes), mean, std)
    model = model.to(job.device).train()
    return _Tuning(name, model, optimizer(job.config, model))


def _content(job: _Job, tuning: _Tuning) -> dict[str, Any]:
    return {"detector": True, "data": job.train.fingerprint(), "steps": job.config.steps, "state": tuning.state()}


def _load(folder: Path, tuning: _Tuning, device: torch.device) -> dict[str, Any]:
    path = RunDir(folder).last
    content = load_checkpoint(path, device)
    try:
        tuning.load(content["state"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not fit the settings in {folder.parent / 'detect.json'}: {error}"
        ) from error
    return content


def _all(job: _Job, found: Backbones, names: list[str]) -> Ended:
    rows: list[Detected] = []
    append_line(job.folder / "environment.jsonl", environment())
    with interruptible() as interrupt:
        for name in names:
            tuning = _fresh(job, name, build_backbone(found.config), found.mean, found.std)
            content = _load(job.folder / name, tuning, job.device)
            if content["data"] != job.train.fingerprint():
                raise DataError(
                    f"the images or boxes are not those that {job.folder} was begun with; put them back, or start anew"
                )
            row = _tune(job, tuning, interrupt, found.words[name])
            rows += [] if row is None else [row]
            if interrupt.asked:
                break
    return Ended(job.folder, rows, interrupt.signal)


def _tune(job: _Job, tuning: _Tuning, interrupt: Interrupt, words: str) -> Detected | None:
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
                    row = _measured(job, tuning, job.test)
                _note(folder, samples, tuning.step, "detection", row.plain())
                progress.say(f"{tuning.name}, step {tuning.step}: {_words(row)}")
            if due(tuning.step, config.save_steps) or done or interrupt.asked:
                save_checkpoint(folder.last, _content(job, tuning))
            if interrupt.asked:
                break
    return row if row is not None or job.test is None or interrupt.asked else _measured(job, tuning, job.test)


def _step(job: _Job, tuning: _Tuning, batch: Any) -> dict[str, torch.Tensor]:
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
                f"{tuning.name}: the loss has not been finite for {SKIPS} steps; lower --lr (now {config.lr:g}), lengthen "
                "--warmup-steps, or set --clip 10"
            )
    return {"loss": loss.detach(), **{f"loss/{name}": value.detach() for name, value in terms.items()}}


def _note(folder: RunDir, samples: Samples, step: int, kind: str, values: dict[str, Any]) -> None:
    append_line(folder.metrics, {"kind": kind, **values, "step": step, "epoch": step / samples.per_epoch})


def _measured(job: _Job, tuning: _Tuning, data: BoxData) -> Detected:
    found = detections(tuning.model, data, job.config, job.device)
    try:
        scores = score(found, data).plain()
    except ValueError as error:
        raise UserError(f"{tuning.name} cannot be measured: {error}") from error
    return Detected(tuning.name, tuning.step, scores, f"{protocol(job.config)}; {data.name}, {len(data.images)} images")


def _words(row: Detected) -> str:
    s = row.scores
    return f"AP {s['ap']:.2f}, AP50 {s['ap50']:.2f}, AP75 {s['ap75']:.2f}; VOC 2007's AP50 {s['voc07_ap50']:.2f}"
