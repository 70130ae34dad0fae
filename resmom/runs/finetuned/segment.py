"""Segmentation as an evaluation: each backbone names every pixel, fine-tuned as an FCN or frozen under a linear layer.

The folder, segment.json and all, is that of `runs/finetuned/tuned.py`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resmom.called import called
from resmom.config import ConfigError, part_from_json
from resmom.data.annotations.maskfiles import is_place
from resmom.data.annotations.masks import IGNORE, MaskData, open_masks, require_two_classes
from resmom.evaluate.fcn import Fcn
from resmom.evaluate.patchlinear import PatchLinear
from resmom.runs.finetuned import tuned
from resmom.runs.finetuned.segment_tasks import FcnTask, PatchLinearTask
from resmom.runs.finetuned.task import require_seed
from resmom.runs.finetuned.tuned import Ended, Words
from resmom.runs.finetuned.tuning import Measured
from resmom.runs.machine import Machine
from resmom.runs.origin import Origin, backbones, require_fit


def _task(config: Fcn | PatchLinear, train: MaskData, test: MaskData | None) -> FcnTask | PatchLinearTask:
    return FcnTask(config, train, test) if isinstance(config, Fcn) else PatchLinearTask(config, train, test)


def restored(settings: dict[str, Any], train: MaskData, test: MaskData | None) -> FcnTask | PatchLinearTask:
    """The task of a folder's settings."""
    config = part_from_json(settings, PatchLinear) if "lrs" in settings else part_from_json(settings, Fcn)
    return _task(config, train, test)


def _opened(specs: Sequence[str], classes: tuple[str, ...], settings: dict[str, Any]) -> MaskData:
    return open_masks(specs, classes)


WORDS = Words("segment", "segmentation", "segmentation networks", "masks", _opened, restored, is_place)


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
    require_two_classes(data)
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
        raise ConfigError(
            f"{called('steps')}, {called('batch')} and {called('line_steps')} must be 1 or more, "
            f"{called('save_steps')} 0 or more"
        )
    require_seed(config.seed)
    if config.side and (config.side < 32 or config.longest < config.side):
        raise ConfigError(
            f"{called('side')} must be 32 pixels or more, or 0 for the images' own size, and {called('longest')} no "
            "less; got "
            f"{config.side} and {config.longest}"
        )
    if isinstance(config, PatchLinear):
        if not config.lrs or min(config.lrs) <= 0 or not 0 < config.held_out < 1:
            raise ConfigError(
                f"{called('lrs')} must be one or more rates above 0, {called('held_out')} in (0, 1); got {config.lrs}, "
                f"{config.held_out}"
            )
        return
    if not config.lr > 0 or not all(0 < drop <= 1 for drop in config.drops) or not 0 <= config.min_lr <= config.lr:
        raise ConfigError(
            f"{called('lr')} must be above 0, {called('min_lr')} in 0 … lr, {called('drops')} shares of the steps in "
            f"(0, 1]; got {config.lr}, {config.min_lr}, {config.drops}"
        )
    if not (config.weight_decay >= 0 and config.clip >= 0 and config.measure_steps >= 0):
        raise ConfigError(
            f"{called('weight_decay')}, {called('clip')} and {called('measure_steps')} must be 0 or more; got "
            f"{config.weight_decay:g}, {config.clip:g}, {config.measure_steps}"
        )
    if not (0 <= config.flip <= 1 and 0 <= config.distort <= 1):
        raise ConfigError(
            f"{called('flip')} and {called('distort')} must be in [0, 1]; got {config.flip:g}, {config.distort:g}"
        )
    if config.crop < 32 or not 0 < config.scales[0] <= config.scales[1] or not config.most > 0:
        raise ConfigError(
            f"{called('crop')} must be 32 pixels or more, {called('scales')} two rising numbers above 0, "
            f"{called('most')} above 0; got {config.crop}, {config.scales}, {config.most}"
        )
    s = config.segmenter
    if min(s.width, s.rate) < 1 or not 0 <= s.dropout < 1 or s.auxiliary < 0:
        raise ConfigError(
            f"{called('segmenter.width')} and {called('segmenter.rate')} must be 1 or more, "
            f"{called('segmenter.dropout')} in [0, 1), {called('segmenter.auxiliary')} 0 or more; got {s.width}, "
            f"{s.rate}, {s.dropout}, {s.auxiliary}"
        )
