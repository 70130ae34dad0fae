"""Evaluate a run's student and teacher, beside what no learning gives."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import ConfigError, Run, from_json
from resmom.data.open import open_data
from resmom.data.source import Data, Source
from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.linear import Linear, linear_probe
from resmom.evaluate.online import OnlineClassifier, online_score
from resmom.evaluate.score import Score
from resmom.method import Method
from resmom.rundir import RunDir, append_line, find_run
from resmom.runs.environment import environment
from resmom.runs.job import Split, clean_batches, default_device, fresh_method, labelled_split
from resmom.views.policy import Policy

Protocol = Literal["knn", "linear", "online"]
PROTOCOLS: tuple[Protocol, ...] = ("knn", "linear", "online")


@dataclass(frozen=True)
class Row:
    """One result: what was measured, how, and at which step of the run."""

    network: str
    score: Score
    step: int

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON."""
        s = self.score
        return {"network": self.network, "top1": s.top1, "top5": s.top5, "protocol": s.protocol, "step": self.step}


@dataclass(frozen=True)
class Loaded:
    """A run read back: its configuration, its method with the checkpoint's weights, and the rest of the checkpoint."""

    run: Run
    folder: RunDir
    method: Method
    content: dict[str, Any]
    device: torch.device
    data: str

    @property
    def step(self) -> int:
        return int(self.content["state"]["step"])

    def networks(self, which: Literal["student", "teacher", "both"]) -> dict[str, nn.Module]:
        """The networks asked for, by name."""
        both = {"student": self.method.student, "teacher": self.method.teacher}
        return both if which == "both" else {which: both[which]}


def load_run(path: Path, device: str = "auto") -> Loaded:
    """Read a run folder's last checkpoint, or one checkpoint file. Raises RunDirError, CheckpointError, ConfigError."""
    folder, checkpoint = find_run(path)
    place = default_device(device)
    content = load_checkpoint(checkpoint, place)
    run = from_json(content["run"])
    method = fresh_method(run, place)
    try:
        method.student.load_state_dict(content["state"]["student"], strict=True)
        method.teacher.load_state_dict(content["state"]["teacher"], strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint} does not fit its own configuration: {error}") from error
    return Loaded(run, folder, method, content, place, json.loads(folder.config.read_text())["data"])


def evaluate(
    path: Path,
    data: str | None = None,
    network: Literal["student", "teacher", "both"] = "both",
    protocols: Sequence[Protocol] = PROTOCOLS,
    linear: Linear | None = None,
    baselines: bool = False,
    device: str = "auto",
) -> list[Row]:
    """Measure a run on labelled images (its own data by default) and add the rows to RUN/evaluations.jsonl.

    `baselines` adds kNN of raw pixels, of normalised pixels, and of the network before training. Raises UserError if
    there are no labels, or if the images do not fit the network.
    """
    loaded = load_run(path, device)
    split, label_sets = _split(loaded, data)
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    rows: list[Row] = []

    def add(name: str, score: Score) -> None:
        stated = Score(score.top1, score.top5, f"{score.protocol}; {split.origin}")
        rows.append(Row(name, stated, loaded.step))

    for name, net in loaded.networks(network).items():
        bank, queries = _features(loaded, net, split.train), _features(loaded, net, split.test)
        if "knn" in protocols:
            add(name, knn(bank, known, queries, asked, loaded.run.knn))
        if "linear" in protocols:
            probe = linear_probe(bank, known, queries, asked, linear or Linear())
            add(name, probe.score)
        if "online" in protocols and name == "student" and label_sets:
            add(name, _online(loaded, queries, asked))
    if baselines and "knn" in protocols:
        for name, (bank, queries) in _without_learning(loaded, split).items():
            add(name, knn(bank, known, queries, asked, loaded.run.knn))
    for row in rows:
        append_line(loaded.folder.evaluations, {**row.plain(), "environment": environment()})
    return rows


def _split(loaded: Loaded, data: str | None) -> tuple[Split, bool]:
    """The labelled split, and whether the checkpoint's online classifier speaks of its classes."""
    opened: Data = open_data(data or loaded.data)
    split = labelled_split(opened)
    if split is None:
        raise UserError(
            f"{data or loaded.data} has no labels, and these protocols need them: use a folder with one sub-folder per "
            "class, or an .npz with train_labels"
        )
    if split.train.channels != len(loaded.run.policy.mean):
        raise ConfigError(
            f"the images have {split.train.channels} channel(s), the network was trained on "
            f"{len(loaded.run.policy.mean)}"
        )
    same = loaded.content["state"]["online"] is not None and loaded.content["classes"] == list(split.train.classes)
    return split, same


def _features(loaded: Loaded, network: nn.Module, source: Source) -> Tensor:
    return features(network, clean_batches(source, loaded.run.policy, loaded.device))


def _online(loaded: Loaded, h: Tensor, labels: Tensor) -> Score:
    weights = loaded.content["state"]["online"]
    classes, width = weights["linear.weight"].shape
    classifier = OnlineClassifier(width, classes)
    classifier.load_state_dict({name: value.cpu() for name, value in weights.items()})
    return online_score(classifier, h, labels)


def _without_learning(loaded: Loaded, split: Split) -> dict[str, tuple[Tensor, Tensor]]:
    """Features that cost nothing: pixels in [0, 1], pixels normalised as for the network, and the network untrained."""
    policy = loaded.run.policy
    channels = len(policy.mean)
    raw = Policy(policy.views, (0.0,) * channels, (1.0,) * channels)
    untrained = fresh_method(loaded.run, loaded.device).student

    def pixels(source: Source, policy: Policy) -> Tensor:
        cpu = torch.device("cpu")
        return torch.cat([batch.flatten(1) for batch in clean_batches(source, policy, cpu)])

    return {
        "raw pixels": (pixels(split.train, raw), pixels(split.test, raw)),
        "normalised pixels": (pixels(split.train, policy), pixels(split.test, policy)),
        "random init": (_features(loaded, untrained, split.train), _features(loaded, untrained, split.test)),
    }
