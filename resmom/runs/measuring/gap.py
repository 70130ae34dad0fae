"""The gap between a run's student and teacher over its checkpoints, sites and layers, and the accuracy gap.

All of it is measured in evaluation mode and not to be compared with the gaps in metrics.jsonl, which are of training.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from resmom.build import Own
from resmom.called import called, either, setting
from resmom.config import ConfigError
from resmom.data.source import Data, Source, labels_read
from resmom.diagnose.gap import Gap
from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.evaluate.gap import network_gap
from resmom.evaluate.knn import knn
from resmom.jsonfiles import append_or_say
from resmom.nets.layers import POOLING
from resmom.ondisk import require_writable
from resmom.rundir import find_run
from resmom.runs.clean import clean_batches, labelled_split, leading_batches, thinned
from resmom.runs.environment import environment
from resmom.runs.loaded import Loaded, load_run
from resmom.runs.own import part_words


@dataclass(frozen=True)
class GapRow:
    """Mean 1 - cos between student and teacher at a site or a layer: same view, other view, other image."""

    site: str
    intra: float
    inter: float | None
    chance: float


@dataclass(frozen=True)
class AccuracyGap:
    """Top-1 of both networks in percent, on clean images, and how it was measured."""

    student: float
    teacher: float
    protocol: str

    @property
    def gap(self) -> float:
        """Teacher minus student, in percentage points."""
        return self.teacher - self.student


@dataclass(frozen=True)
class CheckpointGap:
    """The gaps of one checkpoint: `rows` by site, `layers` from the stem on (empty if not asked for).

    `accuracy` is None where there are no labels, or if it was not asked for.
    """

    step: int
    epoch: float
    checkpoint: str
    rows: tuple[GapRow, ...]
    layers: tuple[GapRow, ...]
    accuracy: AccuracyGap | None
    protocol: str
    kept: bool = True
    """Whether it is in RUN/gaps.jsonl; if that could not be written, standard error has had it."""

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "kept"}


@dataclass(frozen=True)
class GapResult:
    """The gaps of all checkpoints, in order of step; at least one."""

    checkpoints: tuple[CheckpointGap, ...]

    @property
    def rows(self) -> tuple[GapRow, ...]:
        """The sites of the last checkpoint."""
        return self.checkpoints[-1].rows

    @property
    def protocol(self) -> str:
        return self.checkpoints[-1].protocol


def gap(
    path: Path,
    data: str | Data | None = None,
    images: int = 2048,
    device: str = "auto",
    layers: bool = False,
    accuracy: bool = True,
    own: Own | None = None,
) -> GapResult:
    """All of `gap_by_checkpoint` at once."""
    return GapResult(tuple(gap_by_checkpoint(path, data, images, device, layers, accuracy, own)))


def gap_by_checkpoint(
    path: Path,
    data: str | Data | None = None,
    images: int = 2048,
    device: str = "auto",
    layers: bool = False,
    accuracy: bool = True,
    own: Own | None = None,
) -> Iterator[CheckpointGap]:
    """Measure every checkpoint of a run folder, or the one that is named, as one after the other is asked for.

    Gaps are taken on at most `images` training images, each in the recipe's augmented views of epoch 0; accuracy is
    that of kNN on clean images. Each result is also added to RUN/gaps.jsonl. Raises UserError if there is no run, or if
    the images do not fit it; OSError, before anything is measured, where no result can be added. `own`: the modules of
    the user's own that the run was made with.
    """
    if images < 2:
        raise UserError(f"{called('images')} is {images}; the chance gap compares different images, so give at least 2")
    folder, named = find_run(path, "a gap is between a run's student and its teacher")
    require_writable(folder.gaps)
    opened: Data | None = None
    seen = set()
    for checkpoint in [named] if path.is_file() else [*folder.all_kept(), folder.last]:
        loaded = load_run(checkpoint, device, own)
        student, teacher = loaded.method.student, loaded.method.teacher
        if teacher is None:
            name = part_words(loaded.written, loaded.run, "method")
            other = either("`resmom evaluate`", "evaluate")
            raise UserError(f"a run of {name} has no teacher, so there is no gap to measure; use {other}")
        if loaded.step in seen:
            continue  # the last checkpoint may be a kept one too
        seen.add(loaded.step)
        opened = opened or _open(loaded, data)
        source = thinned(opened.train, images)
        found = network_gap(student, teacher, leading_batches(source, loaded.run, loaded.device), layers)
        if layers and not found.layers:
            raise UserError(f"no layer of this backbone could be read; leave {called('layers')} out")
        result = CheckpointGap(
            loaded.step,
            float(loaded.content["epoch"]),
            checkpoint.name,
            _rows(found.sites),
            _rows(found.layers),
            _accuracy(loaded, opened, checkpoint) if accuracy else None,
            _protocol(loaded, source, layers),
        )
        measured_on = opened.train.name if isinstance(data, Data) else data or loaded.data
        line = {**result.plain(), "data": measured_on, "environment": environment()}
        yield dataclasses.replace(result, kept=append_or_say(folder.gaps, line))


def _open(loaded: Loaded, data: str | Data | None) -> Data:
    opened = loaded.opened(data)
    channels = len(loaded.run.policy.mean)
    if opened.train.channels != channels:
        raise ConfigError(
            f"the images have {opened.train.channels} channel(s), the network was trained on {channels}; "
            f"give {called('data')} of the same kind"
        )
    if len(opened.train) < 2:
        raise UserError(
            f"{opened.train.name} has one image only; the chance gap compares different images, so give at least 2"
        )
    return opened


def _rows(found: Mapping[str, Gap]) -> tuple[GapRow, ...]:
    return tuple(
        GapRow(name, g.intra.item(), None if g.inter is None else g.inter.item(), g.chance.item())
        for name, g in found.items()
    )


def _accuracy(loaded: Loaded, opened: Data, checkpoint: Path) -> AccuracyGap | None:
    """kNN of both networks as training measures it, but in float32 whatever the run trained in."""
    split = labelled_split(opened, opened.train.fingerprint() == loaded.content["data"])
    if split is None:
        return None
    bank, queries = thinned(split.train, loaded.run.log.knn_images), split.test
    top1, protocol = {}, ""
    for name, network in loaded.networks("both").items():
        h = [features(network, clean_batches(part, loaded.run.policy, loaded.device)) for part in (bank, queries)]
        known, asked = (torch.from_numpy(labels_read(part)) for part in (bank, queries))
        try:
            score = knn(h[0], known, h[1], asked, loaded.run.knn)
        except ValueError as error:
            raise UserError(f"{checkpoint}: {error}; {setting('accuracy', False)} leaves kNN out") from error
        top1[name], protocol = score.top1, f"{score.protocol}; {split.origin}"
    return AccuracyGap(top1["student"], top1["teacher"], protocol)


def _protocol(loaded: Loaded, source: Source, layers: bool) -> str:
    pooled = f"; layers: {POOLING}" if layers else ""
    return (
        f"gap-v1 (eval mode, float32, {len(loaded.run.policy.leading.views)} augmented views of the recipe at epoch 0, "
        f"{len(source)} training images{pooled})"
    )
