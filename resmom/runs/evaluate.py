"""Evaluate a run's student and teacher, beside what no learning gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from resmom.build import Own
from resmom.config import ConfigError
from resmom.data.open import open_data, short_name
from resmom.data.source import Data, Source, digest
from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.evaluate.finetune import Finetune, finetune
from resmom.evaluate.knn import knn
from resmom.evaluate.layers import layer_features
from resmom.evaluate.linear import Linear, linear_probe
from resmom.evaluate.lowshot import LowShot, low_shot
from resmom.evaluate.online import OnlineClassifier, online_score
from resmom.evaluate.score import Score
from resmom.evaluate.sweep import sweep
from resmom.rundir import append_line
from resmom.runs.environment import environment
from resmom.runs.job import Split, backbone_of, clean_batches, fresh_method, labelled_split
from resmom.runs.labels import with_labels
from resmom.runs.loaded import Loaded, load_run, load_start
from resmom.views.policy import Policy

Protocol = Literal["knn", "linear", "online"]
PROTOCOLS: tuple[Protocol, ...] = ("knn", "linear", "online")


@dataclass(frozen=True)
class Candidate:
    """A layer and pooling, with the best linear setting on held-out training images and its accuracy there."""

    features: str
    held_out: float
    lr: float
    weight_decay: float
    chosen: bool


@dataclass(frozen=True)
class Row:
    """One result: what was measured, how, on which images, and at which step of the run."""

    network: str
    score: Score
    step: int
    data: str
    """The images in a word, see `short_name`."""
    fingerprint: str
    """Of all these images, training and test: it tells two sets of one name apart."""
    sd: float | None = None
    """Standard deviation over draws, where the score is a mean of several."""
    draws: tuple[float, ...] = ()
    """The accuracies that the score is the mean of."""
    candidates: tuple[Candidate, ...] = ()
    """What a sweep chose among."""

    def plain(self) -> dict[str, Any]:
        """As plain values for JSON; `sd` and `draws` only where there were draws, `candidates` only of a sweep."""
        s = self.score
        line = {"network": self.network, "top1": s.top1, "top5": s.top5, "protocol": s.protocol, "step": self.step}
        line |= {"data": self.data, "fingerprint": self.fingerprint}
        line |= {"sd": self.sd, "draws": list(self.draws)} if self.draws else {}
        return line | ({"candidates": [asdict(c) for c in self.candidates]} if self.candidates else {})


@dataclass(frozen=True)
class More:
    """What may be measured beside the plain protocols, and of which labels all of them learn."""

    low_shot: LowShot | None = None
    finetune: Finetune | None = None
    sweep: bool = False
    labels: str = ""
    """A share of each class (0.01), or a file of image names, one per line; empty for all."""
    seed: int = 0
    """Of the draw of a share."""


def evaluate(
    path: Path,
    data: str | Data | None = None,
    network: Literal["student", "teacher", "both"] = "both",
    protocols: Sequence[Protocol] = PROTOCOLS,
    linear: Linear | None = None,
    baselines: bool = False,
    device: str = "auto",
    own: Own | None = None,
    more: More | None = None,
) -> list[Row]:
    """Measure a run on labelled images (its own data by default) and add the rows to RUN/evaluations.jsonl.

    `baselines` adds kNN of raw pixels, of normalised pixels, and of the network before training. `more` adds other
    protocols, or lets all of them learn from some of the labels; the online classifier, which learnt from all, is left
    out then. Raises UserError if there are no labels, or if the images do not fit the network.
    """
    loaded, more = load_run(path, device, own), more or More()
    opened = opened_data(loaded, data)
    split, label_sets = labelled(loaded, opened)
    if more.labels:
        split, label_sets = with_labels(split, more.labels, more.seed), False
    named = name_and_fingerprint(opened)
    rows: list[Row] = []

    def add(name: str, score: Score, **more: Any) -> None:
        stated = Score(score.top1, score.top5, f"{score.protocol}; {split.origin}")
        rows.append(Row(name, stated, loaded.step, *named, **more))

    try:
        _measure(loaded, split, label_sets, network, protocols, linear or Linear(), baselines, more, add)
    except ValueError as error:  # the protocols' own words: too few labels, features that are not finite …
        raise UserError(f"{path} cannot be evaluated on {split.train.name}: {error}") from error
    for row in rows:
        append_line(loaded.folder.evaluations, {**row.plain(), "environment": environment()})
    return rows


def _measure(
    loaded: Loaded,
    split: Split,
    label_sets: bool,
    network: Literal["student", "teacher", "both"],
    protocols: Sequence[Protocol],
    linear: Linear,
    baselines: bool,
    more: More,
    add: Callable[..., None],
) -> None:
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    for name, net in loaded.networks(network).items():
        bank, queries = _features(loaded, net, split.train), _features(loaded, net, split.test)
        if "knn" in protocols:
            add(name, knn(bank, known, queries, asked, loaded.run.knn))
        if "linear" in protocols:
            probe = linear_probe(bank, known, queries, asked, linear)
            add(name, probe.score)
        if "online" in protocols and name == "student" and label_sets:
            add(name, _online(loaded, queries, asked))
        if more.sweep:
            found, candidates = _swept(loaded, net, split, linear)
            add(name, found, candidates=candidates)
        if more.finetune is not None:
            add(name, _finetuned(loaded, net, split, more.finetune))
        if more.low_shot is not None:
            for drawn in low_shot(bank, known, queries, asked, more.low_shot, loaded.run.knn, split.train.classes):
                add(name, drawn.score, sd=drawn.sd, draws=drawn.each)
    if baselines and "knn" in protocols:
        for baseline, (bank, queries) in _without_learning(loaded, split).items():
            add(baseline, knn(bank, known, queries, asked, loaded.run.knn))


def pixel_features(split: Split, policy: Policy) -> dict[str, tuple[Tensor, Tensor]]:
    """The pixels themselves as features of both parts, N x (C H W): in [0, 1], and normalised as for a network."""
    channels = len(policy.mean)
    raw = Policy(policy.views, (0.0,) * channels, (1.0,) * channels)

    def pixels(source: Source, policy: Policy) -> Tensor:
        cpu = torch.device("cpu")
        return torch.cat([batch.flatten(1) for batch in clean_batches(source, policy, cpu)])

    return {
        "raw pixels": (pixels(split.train, raw), pixels(split.test, raw)),
        "normalised pixels": (pixels(split.train, policy), pixels(split.test, policy)),
    }


def opened_data(loaded: Loaded, data: str | Data | None) -> Data:
    """The images asked for; the run's own by default."""
    return data if isinstance(data, Data) else open_data(data or loaded.data)


def name_and_fingerprint(data: Data) -> tuple[str, str]:
    """What a row says of its images."""
    parts = [source.fingerprint().encode() for source in (data.train, data.test) if source is not None]
    return short_name(data.spec) if data.spec else data.train.name, digest(parts)


def labelled(loaded: Loaded, opened: Data) -> tuple[Split, bool]:
    """The labelled split, and whether the checkpoint's online classifier speaks of its classes."""
    split = labelled_split(opened, opened.train.fingerprint() == loaded.content["data"])
    if split is None:
        raise UserError(
            f"{opened.train.name} has no labels, and these protocols need them: use a folder with one sub-folder per "
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


def _swept(loaded: Loaded, network: nn.Module, split: Split, config: Linear) -> tuple[Score, tuple[Candidate, ...]]:
    known, test = (
        layer_features(network, clean_batches(source, loaded.run.policy, loaded.device))
        for source in (split.train, split.test)
    )
    found = sweep(known, torch.from_numpy(split.train.labels), test, torch.from_numpy(split.test.labels), config)
    rows = [Candidate(k, c.accuracy, c.lr, c.weight_decay, k == found.kind) for k, c in found.choices.items()]
    return found.score, tuple(rows)


def _finetuned(loaded: Loaded, network: nn.Module, split: Split, config: Finetune) -> Score:
    backbone = backbone_of(network)

    def test() -> Iterator[Tensor]:
        return clean_batches(split.test, loaded.run.policy, loaded.device)

    asked = torch.from_numpy(split.test.labels)
    half = loaded.run.train.precision != "fp32"
    return finetune(backbone, cast(int, backbone.width), split.train, test, asked, loaded.run.policy, config, half)


def _without_learning(loaded: Loaded, split: Split) -> dict[str, tuple[Tensor, Tensor]]:
    """Features that cost nothing: pixels in [0, 1], pixels normalised as for the network, the network before training.

    The last is called `random init` where the run began with random weights, and left out where nothing was kept.
    """
    found = pixel_features(split, loaded.run.policy)
    start = load_start(loaded)
    own = bool(loaded.written.get("own"))
    if start is None and not own and not loaded.run.init:
        start = fresh_method(loaded.run, loaded.device).student
    if start is not None:
        name = "before training" if own or loaded.run.init else "random init"
        found[name] = (_features(loaded, start, split.train), _features(loaded, start, split.test))
    return found
