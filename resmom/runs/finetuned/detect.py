"""Detection as an evaluation: each backbone is fine-tuned as a detector, measured, and can be continued.

The folder, detect.json and all, is that of `runs/finetuned/tuned.py`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import nn
from torch.optim import Optimizer

from resmom.called import called, setting
from resmom.config import ConfigError, part_from_json, part_to_json
from resmom.data.annotations.boxes import BoxData, is_place, open_boxes
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
from resmom.evaluate.precise import precise_statistics
from resmom.nets.backbones import Backbone, DinoViT, MoCoViT
from resmom.nets.detector import build_detector
from resmom.runs.finetuned import tuned
from resmom.runs.finetuned.task import Task, require_seed
from resmom.runs.finetuned.tuned import Ended, Words
from resmom.runs.finetuned.tuning import Measured
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin, backbones, require_fit
from resmom.train.optim import set_rate


@final
class Detection(Task[BoxData]):
    """A detector around the backbone, all of it trained."""

    kind = "detection"

    def __init__(self, config: Detect, train: BoxData, test: BoxData | None) -> None:
        super().__init__(train, test)
        self.config = config

    @property
    def pace(self) -> Detect:
        return self.config

    def settings(self) -> dict[str, Any]:
        return part_to_json(self.config)

    def build(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        return build_detector(self.config.detector, backbone, len(self.train.classes), mean, std, self.config.longest)

    def optimizer(self, model: nn.Module) -> Optimizer:
        return optimizer(self.config, model)

    def samples(self) -> Samples:
        return Samples(self.train, self.config)

    def require_sizes(self) -> None:
        self.samples().require_sizes()

    def set_rate(self, model: nn.Module, optimizer: Optimizer, step: int) -> float:
        rate = learning_rate(self.config, step)
        set_rate(optimizer, rate)
        return rate

    def prepare(self, model: nn.Module, device: torch.device, step: int) -> None:
        pass

    def settle(self, model: nn.Module, device: torch.device, workers: int) -> str:
        return precise_statistics(model, self.samples(), self.config, device, workers)

    def losses(
        self, model: nn.Module, batch: list[Sample], device: torch.device, step: int
    ) -> Iterator[dict[str, torch.Tensor]]:
        yield loss_terms(model, batch, self.config, device, step)

    def scores(self, model: nn.Module, data: BoxData, device: torch.device) -> dict[str, Any]:
        return score(detections(model, data, self.config, device), data).plain()

    def words(self, scores: dict[str, Any]) -> str:
        s = scores
        masks = f"; masks: AP {s['mask_ap']:.2f}, AP50 {s['mask_ap50']:.2f}" if "mask_ap" in s else ""
        boxes = f"AP {s['ap']:.2f}, AP50 {s['ap50']:.2f}, AP75 {s['ap75']:.2f}"
        return f"{boxes}; VOC 2007's AP50 {s['voc07_ap50']:.2f}{masks}"

    def protocol(self, model: nn.Module) -> str:
        return protocol(self.config, model)


def _restored(settings: dict[str, Any], train: BoxData, test: BoxData | None) -> Detection:
    return Detection(part_from_json(settings, Detect), train, test)


def _opened(specs: Sequence[str], classes: tuple[str, ...], settings: dict[str, Any]) -> BoxData:
    return open_boxes(specs, classes, settings["detector"]["form"] == "mask")


WORDS = Words("detect", "detection", "detectors", "boxes", _opened, _restored, is_place)


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
    _check(config)
    tuned.require_fresh(out, WORDS)
    found = backbones(origin, config.seed, WORDS.task)
    transformer = isinstance(found.config, (MoCoViT, DinoViT))  # has none, which is said below
    if config.detector.norm == "frozen" and "random" in found.weights and not transformer:
        raise ConfigError(
            "random weights have no batch statistics to keep, so BatchNorm cannot stay frozen; "
            f"use {setting('detector.norm', 'trained')}"
        )
    if config.layer_decay != 1 and not transformer:
        raise ConfigError(f"{called('layer_decay')} is for Vision Transformers; leave it at 1 for other backbones")
    require_fit(found, "detector", lambda one: build_detector(config.detector, one, 1, found.mean, found.std))
    settings = part_to_json(config)
    data = _opened(train, (), settings)
    task = Detection(config, data, _opened(test, data.classes, settings) if test else None)
    return tuned.begin(task, WORDS, found, train, test, out, machine or Machine())


def detect_resume(out: Path, machine: Machine | None = None) -> Ended:
    """Continue where the folder's detectors were stopped; finished ones are left as they are.

    On the CPU the weights at the end are those, bit for bit, of a training that was never stopped.
    """
    return tuned.resume(WORDS, out, machine or Machine())


def detect_evaluate(out: Path, test: Sequence[str] = (), machine: Machine | None = None) -> list[Measured]:
    """Measure the folder's detectors as they are, on their own test images or on others of the same classes."""
    return tuned.evaluate(WORDS, out, test, machine or Machine())


def _check(config: Detect) -> None:
    """Refuse numbers that cannot train."""
    if (
        min(config.steps, config.batch, config.line_steps) < 1
        or min(config.warmup_steps, config.save_steps, config.measure_steps, config.precise_bn) < 0
    ):
        raise ConfigError(
            f"{called('steps')}, {called('batch')} and {called('line_steps')} must be 1 or more, "
            f"{called('warmup_steps')}, {called('save_steps')}, {called('measure_steps')} and {called('precise_bn')} 0 "
            "or more"
        )
    require_seed(config.seed)
    if not (config.weight_decay >= 0 and config.clip >= 0 and 0 <= config.flip <= 1):
        raise ConfigError(
            f"{called('weight_decay')} and {called('clip')} must be 0 or more, {called('flip')} in [0, 1]; got "
            f"{config.weight_decay:g}, {config.clip:g}, {config.flip:g}"
        )
    d = config.detector
    if min(d.width, d.hidden, d.proposals, d.samples) < 1 or not d.anchor > 0:
        raise ConfigError(
            f"{called('detector.width')}, {called('detector.hidden')}, {called('detector.proposals')} and "
            f"{called('detector.samples')} must be 1 or more, {called('detector.anchor')} above 0; got {d.width}, "
            f"{d.hidden}, {d.proposals}, {d.samples}, {d.anchor:g}"
        )
    if not config.lr > 0 or not all(0 < drop <= 1 for drop in config.drops):
        raise ConfigError(
            f"{called('lr')} must be above 0, {called('drops')} shares of the steps in (0, 1]; got {config.lr}, "
            f"{config.drops}"
        )
    if not 0 < config.layer_decay <= 1 or (config.layer_decay < 1 and config.optim == "sgd"):
        raise ConfigError(
            f"{called('layer_decay')} must be in (0, 1], and below 1 it goes with {setting('optim', 'adamw')}; got "
            f"{config.layer_decay:g} with {config.optim}"
        )
    if not config.sides or min(*config.sides, config.test_side) < 32 or config.longest < max(config.sides):
        raise ConfigError(
            f"{called('sides')} and {called('test_side')} must be 32 pixels or more, and {called('longest')} no less "
            f"than any of {called('sides')}"
        )
