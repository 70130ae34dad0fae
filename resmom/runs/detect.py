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

from resmom import dist
from resmom.checkpoint import save_checkpoint
from resmom.config import ConfigError, backbone_from_json, part_from_json, part_to_json
from resmom.data.boxes import open_boxes
from resmom.data.source import DataError
from resmom.evaluate.detection import Detect, Samples
from resmom.nets.backbones import build_backbone
from resmom.rundir import RunDir, RunDirError, append_line, write_json
from resmom.runs.detectors import Backbones, Origin, backbones
from resmom.runs.environment import environment
from resmom.runs.interrupt import interruptible
from resmom.runs.job import default_device
from resmom.runs.pretrain import Machine
from resmom.runs.tuning import Detected, Detection, content, fresh_tuning, load_tuning, measured, tune


@dataclass(frozen=True)
class Ended:
    """How it ended: the newest measurement of each backbone, and the signal that stopped it, if one did."""

    path: Path
    rows: list[Detected]
    interrupted_by: int | None


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
    job = Detection(config, out, data, tests, default_device(machine.device), machine)
    with RunDir(out).locked():
        for name, backbone in found.weights.items():
            tuning = fresh_tuning(job, name, backbone, found.mean, found.std)
            save_checkpoint(RunDir(out / name).last, content(job, tuning))
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
    job = Detection(config, out, data, test, default_device(machine.device), machine)
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
    job = Detection(config, out, data, data, default_device(machine.device), machine)
    rows = []
    for name in written["networks"]:
        tuning = fresh_tuning(job, name, build_backbone(found.config), found.mean, found.std)
        load_tuning(out / name, tuning, job.device)
        rows.append(measured(job, tuning, data))
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


def _written(job: Detection, found: Backbones, train: Sequence[str], test: Sequence[str]) -> dict[str, Any]:
    return {
        "format": 1,
        "settings": part_to_json(job.config),
        "data": [_absolute(spec) for spec in train],
        "test": [_absolute(spec) for spec in test],
        "images": len(job.train.images),
        "classes": list(job.train.classes),
        "backbone": _backbone_to_json(found),
        "mean": list(found.mean),
        "std": list(found.std),
        "networks": found.words,
    }


def _backbone_to_json(found: Backbones) -> dict[str, Any]:
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


def _all(job: Detection, found: Backbones, names: list[str]) -> Ended:
    rows: list[Detected] = []
    append_line(job.folder / "environment.jsonl", environment())
    with interruptible() as interrupt:
        for name in names:
            tuning = fresh_tuning(job, name, build_backbone(found.config), found.mean, found.std)
            saved = load_tuning(job.folder / name, tuning, job.device)
            if saved["data"] != job.train.fingerprint():
                raise DataError(
                    f"the images or boxes are not those that {job.folder} was begun with; put them back, or start anew"
                )
            row = tune(job, tuning, interrupt, found.words[name])
            rows += [] if row is None else [row]
            if interrupt.asked:
                break
    return Ended(job.folder, rows, interrupt.signal)
