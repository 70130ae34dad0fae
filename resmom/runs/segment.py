"""Segmentation as an evaluation: each backbone names every pixel, fine-tuned as an FCN or frozen under a linear layer.

The folder, segment.json and all, is that of `runs/tuned.py`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from resmom.config import ConfigError, part_from_json, part_to_json
from resmom.data.masks import IGNORE, MaskData, open_masks
from resmom.evaluate import fcn, patchlinear
from resmom.evaluate.fcn import Crops, Fcn
from resmom.evaluate.patchlinear import Features, Images, PatchLinear
from resmom.evaluate.pixels import overlap
from resmom.nets.backbones import Backbone
from resmom.nets.patches import PatchProbe
from resmom.nets.segmenter import FcnNetwork
from resmom.runs import tuned
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin, backbones, require_fit
from resmom.runs.task import Task
from resmom.runs.tuned import Ended, Words
from resmom.runs.tuning import Measured
from resmom.train.optim import set_rate


@final
class FcnTask(Task[MaskData]):
    """A fully convolutional network around the backbone, all of it trained: segment-v1."""

    kind = "segmentation"

    def __init__(self, config: Fcn, train: MaskData, test: MaskData | None) -> None:
        super().__init__(train, test)
        self.config = config

    @property
    def pace(self) -> Fcn:
        return self.config

    def settings(self) -> dict[str, Any]:
        return part_to_json(self.config)

    def build(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        return FcnNetwork(self.config.segmenter, backbone, len(self.train.classes), mean, std)

    def optimizer(self, model: nn.Module) -> Optimizer:
        return SGD(model.parameters(), lr=0.0, momentum=0.9, weight_decay=self.config.weight_decay)

    def samples(self) -> Crops:
        return Crops(self.train, self.config)

    def set_rate(self, model: nn.Module, optimizer: Optimizer, step: int) -> float:
        rate = fcn.learning_rate(self.config, step)
        set_rate(optimizer, rate)
        return rate

    def prepare(self, model: nn.Module, device: torch.device, step: int) -> None:
        pass

    def settle(self, model: nn.Module, device: torch.device, workers: int) -> str:
        return ""

    def loss_terms(
        self, model: nn.Module, batch: list[fcn.Sample], device: torch.device, step: int
    ) -> dict[str, torch.Tensor]:
        return fcn.loss_terms(model, batch, self.config, device, step)

    def scores(self, model: nn.Module, data: MaskData, device: torch.device) -> dict[str, Any]:
        assert isinstance(model, FcnNetwork)
        config, was = self.config, model.training
        model.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            found = overlap(model.votes, data, config.side, config.longest, device)
        model.train(was)
        return found.plain(data.classes)

    def words(self, scores: dict[str, Any]) -> str:
        return told(scores)

    def protocol(self, model: nn.Module) -> str:
        return fcn.protocol(self.config)


@dataclass(frozen=True)
class _Passes:
    """The pace of a linear probe: two passes, measured at the end only."""

    config: PatchLinear
    clip: float = 0.0
    measure_steps: int = 0

    @property
    def steps(self) -> int:
        return 2 * self.config.steps

    @property
    def batch(self) -> int:
        return self.config.batch

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def line_steps(self) -> int:
        return self.config.line_steps

    @property
    def save_steps(self) -> int:
        return self.config.save_steps


@final
class PatchLinearTask(Task[MaskData]):
    """A linear layer on the places of the frozen backbone: patch-linear-v1."""

    kind = "segmentation"

    def __init__(self, config: PatchLinear, train: MaskData, test: MaskData | None) -> None:
        super().__init__(train, test)
        self.config = config
        self._features: Features | None = None

    @property
    def pace(self) -> _Passes:
        return _Passes(self.config)

    def settings(self) -> dict[str, Any]:
        return part_to_json(self.config)

    def build(self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        return PatchProbe(backbone, len(self.train.classes), len(self.config.lrs), mean, std)

    def optimizer(self, model: nn.Module) -> Optimizer:
        assert isinstance(model, PatchProbe)
        # A group for each learning rate, and the last for the chosen one.
        return SGD([{"params": [head]} for head in model.heads], lr=0.0, momentum=0.9)

    def samples(self) -> Images:
        return Images(self.train, self.config)

    def set_rate(self, model: nn.Module, optimizer: Optimizer, step: int) -> float:
        """The one to note is that of the chosen rate, or the share that all have before the choice."""
        assert isinstance(model, PatchProbe)
        share = patchlinear.rate(self.config, step)
        chosen = int(model.chosen)
        rates = [*self.config.lrs, self.config.lrs[chosen] if chosen >= 0 else 0.0]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = share * rate
        return share * (rates[-1] if chosen >= 0 else 1.0)

    def prepare(self, model: nn.Module, device: torch.device, step: int) -> None:
        features = self._of(model, device)
        if step == 0:
            features.standardise()
        if step == self.config.steps:
            features.choose(self.samples().held.tolist())

    def settle(self, model: nn.Module, device: torch.device, workers: int) -> str:
        return ""

    def loss_terms(
        self, model: nn.Module, batch: list[int], device: torch.device, step: int
    ) -> dict[str, torch.Tensor]:
        return self._of(model, device).loss_terms(batch, step)

    def scores(self, model: nn.Module, data: MaskData, device: torch.device) -> dict[str, Any]:
        assert isinstance(model, PatchProbe)
        chosen = int(model.chosen)
        if chosen < 0:
            raise ValueError("its training stopped before a learning rate was chosen; continue it with `resume`")

        def votes(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
            shown = (image.shape[1], image.shape[2])
            return model.votes(model.features(image), shown, size, [model.tried])[0]

        found = overlap(votes, data, self.config.side, self.config.longest, device)
        judged = {f"{lr:g}": miou for lr, miou in zip(self.config.lrs, model.judged.tolist(), strict=True)}
        choice = {"lr": self.config.lrs[chosen], "at_edge": patchlinear.at_edge(self.config, chosen)}
        return {**found.plain(data.classes), **choice, "held_out_miou": judged}

    def words(self, scores: dict[str, Any]) -> str:
        return told(scores)

    def protocol(self, model: nn.Module) -> str:
        assert isinstance(model, PatchProbe)
        return patchlinear.protocol(self.config, model)

    def _of(self, model: nn.Module, device: torch.device) -> Features:
        assert isinstance(model, PatchProbe)
        if self._features is None or self._features.model is not model:
            self._features = Features(model, self.train, self.config, device)
        return self._features


def told(scores: dict[str, Any]) -> str:
    """A measurement in a line."""
    left = f"; neither there nor said: {', '.join(scores['left_out'])}" if scores["left_out"] else ""
    return f"mIoU {scores['miou']:.2f}, pixel accuracy {scores['pixel_accuracy']:.2f}{left}"


def _task(config: Fcn | PatchLinear, train: MaskData, test: MaskData | None) -> Task[MaskData]:
    return FcnTask(config, train, test) if isinstance(config, Fcn) else PatchLinearTask(config, train, test)


def _restored(settings: dict[str, Any], train: MaskData, test: MaskData | None) -> Task[MaskData]:
    config = part_from_json(settings, PatchLinear) if "lrs" in settings else part_from_json(settings, Fcn)
    return _task(config, train, test)


def _opened(specs: Sequence[str], classes: tuple[str, ...], settings: dict[str, Any]) -> MaskData:
    return open_masks(specs, classes)


WORDS = Words("segment", "segmentation", "segmentation networks", "masks", _opened, _restored)


def segment_train(
    config: Fcn | PatchLinear,
    origin: Origin,
    train: Sequence[str],
    test: Sequence[str],
    out: Path,
    machine: Machine | None = None,
) -> Ended:
    """Train on the masks of `train` around each backbone of `origin`, measure on those of `test` (none: not at all).

    Raises UserError before anything is written, Diverged if the loss stays non-finite.
    """
    _check(config)
    tuned.require_fresh(out, WORDS)
    found = backbones(origin, config.seed, WORDS.task)
    # Whether a backbone fits does not depend on the data, whose masks take a while to read.
    small = _task(config, MaskData("", ("one",), ()), None)
    require_fit(found, "segmentation network", lambda one: small.build(one, found.mean, found.std))
    data, machine = open_masks(train), machine or Machine()
    if data.numbered and not machine.quiet:
        print(
            f"nothing names the {len(data.classes)} classes, so that every number of the masks but {IGNORE} is one, "
            "also where it stands for void; a classes.txt in the data's folder, a name per line, says what they are",
            file=sys.stderr,
        )
    task = _task(config, data, open_masks(test, data.classes) if test else None)
    return tuned.begin(task, WORDS, found, train, test, out, machine)


def segment_resume(out: Path, machine: Machine | None = None) -> Ended:
    """Continue where the folder's networks were stopped; finished ones are left as they are.

    On the CPU the weights at the end are those, bit for bit, of a training that was never stopped.
    """
    return tuned.resume(WORDS, out, machine or Machine())


def segment_evaluate(out: Path, test: Sequence[str] = (), machine: Machine | None = None) -> list[Measured]:
    """Measure the folder's networks as they are, on their own test images or on others of the same classes."""
    return tuned.evaluate(WORDS, out, test, machine or Machine())


def _check(config: Fcn | PatchLinear) -> None:
    """Refuse numbers that cannot train."""
    if min(config.steps, config.batch, config.line_steps) < 1 or config.save_steps < 0:
        raise ConfigError("--steps, --batch and --line-steps must be 1 or more, --save-steps 0 or more")
    if config.side and (config.side < 32 or config.longest < config.side):
        raise ConfigError(
            "--side must be 32 pixels or more, or 0 for the images' own size, and --longest no less; got "
            f"{config.side} and {config.longest}"
        )
    if isinstance(config, PatchLinear):
        if not config.lrs or min(config.lrs) <= 0 or not 0 < config.held_out < 1:
            raise ConfigError(
                f"--lrs must be one or more rates above 0, --held-out in (0, 1); got {config.lrs}, {config.held_out}"
            )
        return
    if not config.lr > 0 or not all(0 < drop <= 1 for drop in config.drops) or not 0 <= config.min_lr <= config.lr:
        raise ConfigError(
            f"--lr must be above 0, --min-lr in 0 … lr, --drops shares of the steps in (0, 1]; got {config.lr}, "
            f"{config.min_lr}, {config.drops}"
        )
    if config.crop < 32 or not 0 < config.scales[0] <= config.scales[1] or not config.most > 0:
        raise ConfigError(
            "--crop must be 32 pixels or more, --scales two rising numbers above 0, --most above 0; got "
            f"{config.crop}, {config.scales}, {config.most}"
        )
    s = config.segmenter
    if min(s.width, s.rate) < 1 or not 0 <= s.dropout < 1 or s.auxiliary < 0:
        raise ConfigError(
            "--segmenter.width and --segmenter.rate must be 1 or more, --segmenter.dropout in [0, 1), "
            f"--segmenter.auxiliary 0 or more; got {s.width}, {s.rate}, {s.dropout}, {s.auxiliary}"
        )
