"""What `resmom evaluate` measures of one network, each protocol with its repetitions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from resmom.called import called
from resmom.data.loader import workers_here
from resmom.data.source import Source, labels_read
from resmom.errors import UserError
from resmom.evaluate import features as frozen_features
from resmom.evaluate import finetune as finetuning
from resmom.evaluate.crops import labelled_rows
from resmom.evaluate.knn import knn
from resmom.evaluate.layers import layer_features
from resmom.evaluate.linear import linear_probe
from resmom.evaluate.linearcrop import linear_crop
from resmom.evaluate.lowshot import low_shot
from resmom.evaluate.online import OnlineClassifier, online_score
from resmom.evaluate.score import Classified, NotMeasured, Score
from resmom.evaluate.settings import Finetune, Linear, LinearCrop, LowShot
from resmom.evaluate.standard import finite_rows
from resmom.evaluate.sweep import sweep
from resmom.runs.clean import Split, clean_batches
from resmom.runs.device import beside
from resmom.runs.limits import free_ram
from resmom.runs.measurable import Measurable
from resmom.runs.measuring.probefile import probe_file
from resmom.runs.measuring.repeats import Found, Once, Repeats
from resmom.runs.training.job import backbone_of
from resmom.views.policy import Policy


@dataclass(frozen=True)
class Candidate:
    """A layer and pooling, with the best linear setting on held-out training images and its accuracy there."""

    features: str
    held_out: float
    lr: float
    weight_decay: float
    chosen: bool
    draw: int = 0
    """Of several, the repetition in which it stood."""


@dataclass(frozen=True)
class Sides:
    """Features N x D and labels N to learn from, M x D and M to test on, on one device."""

    bank: Tensor
    known: Tensor
    queries: Tensor
    asked: Tensor


@dataclass(frozen=True)
class Ground:
    """What is measured, the labelled images that it is measured on, and how often: what all protocols share."""

    measured: Measurable
    split: Split
    repeats: Repeats

    @property
    def known(self) -> Tensor:
        """The labels to learn from, N, as `labels_read` has them."""
        return torch.from_numpy(labels_read(self.split.train))

    @property
    def asked(self) -> Tensor:
        """The labels to test on, M, likewise: ask for them when the images have been read."""
        return torch.from_numpy(labels_read(self.split.test))

    def features(self, network: nn.Module) -> tuple[Tensor, Tensor]:
        """h of the training images, N x D, and of the test images, M x D."""
        train, test = (frozen_features.features(network, self._clean(s)) for s in (self.split.train, self.split.test))
        return train, test

    def knn(self, bank: Tensor, queries: Tensor) -> Found:
        there, config = self._together(bank, queries), self.measured.neighbours

        def once(one: Once) -> Score:
            return knn(there.bank[one.rows], there.known[one.rows], there.queries, there.asked, config)

        return self.repeats.over(once)

    def linear(self, network: nn.Module, bank: Tensor, queries: Tensor, config: Linear) -> Found:
        there = self._together(bank, queries)

        def once(one: Once) -> Classified:
            rows = there.bank[one.rows], there.known[one.rows]
            found = linear_probe(*rows, there.queries, there.asked, one.seeded(config))
            return Classified(found.score, backbone_of(network), found.layer)

        return self._trained(once, config.seed)

    def online(self, queries: Tensor) -> Found:
        """Of the classifier that was trained beside the student. Raises NotMeasured if no image has finite features."""
        if not finite_rows(queries).any():
            raise NotMeasured(f"none of {len(queries)} test images has finite features; use an earlier checkpoint")
        weights = self.measured.online
        assert weights is not None  # it is asked for of runs that have one
        classes, width = weights["linear.weight"].shape
        classifier = OnlineClassifier(width, classes)
        classifier.load_state_dict({name: value.cpu() for name, value in weights.items()})
        return online_score(classifier, queries, self.asked), {}

    def low_shot(self, bank: Tensor, queries: Tensor, config: LowShot) -> Iterator[Found]:
        """A result for each number of images per class and each learner; the draws are the protocol's own."""
        classes = self.split.train.classes
        there = self._together(bank, queries)
        sides = there.bank, there.known, there.queries, there.asked
        for drawn in low_shot(*sides, config, self.measured.neighbours, classes):
            yield drawn.score, {"sd": drawn.sd, "draws": drawn.each}

    def sweep(self, network: nn.Module, config: Linear) -> Found:
        bank, test = (layer_features(network, self._clean(s)) for s in (self.split.train, self.split.test))
        known, asked = self.known, self.asked
        candidates: list[Candidate] = []

        def once(one: Once) -> Score:
            found = sweep(bank.of(one.rows), known[one.rows], test, asked, one.seeded(config))
            for kind, c in found.choices.items():
                candidates.append(Candidate(kind, c.accuracy, c.lr, c.weight_decay, kind == found.kind, one.number))
            return found.score

        score, spread = self.repeats.over(once, config.seed)
        return score, {**spread, "candidates": tuple(candidates)}

    def finetune(self, network: nn.Module, config: Finetune) -> Found:
        policy, half, backbone = self.measured.trained, self.measured.half, backbone_of(network)
        width, workers, shown = cast(int, backbone.width), workers_here(), self.measured.crop_words

        def once(one: Once) -> Classified:
            train, seeded = self._lent(one), one.seeded(config)
            sides = train, self.split.test
            return finetuning.finetune(backbone, width, *sides, self._clean, policy, seeded, shown, half, workers)

        return self._trained(once, config.seed)

    def linear_crop(self, name: str, network: nn.Module, config: LinearCrop) -> Found:
        """Of the network called `name`; its layer is kept in RUN/probes, or the like, after every epoch."""
        policy, half, backbone = self.measured.trained, self.measured.half, backbone_of(network)
        workers, folder = workers_here(), self.measured.probes

        def once(one: Once) -> Classified:
            train, seeded = self._lent(one), one.seeded(config)
            # The layer has a row for every class of both parts, and the test images are not in the fingerprint.
            _, classes = labelled_rows(train, self.split.test, "a linear probe")
            settings = (train.fingerprint(), policy, seeded, half, classes)
            memory = probe_file(folder, name, backbone, settings, config.epochs, self.measured.device)
            return linear_crop(
                backbone,
                train,
                self.split.test,
                self._clean,
                policy,
                seeded,
                half,
                workers,
                memory,
            )

        return self._trained(once, config.seed)

    def _trained(self, measure: Callable[[Once], Classified], seed: int) -> Found:
        """A measurement that trains a classifier; of a single one, that too."""
        last: list[Classified] = []

        def once(one: Once) -> Score:
            last[:] = [measure(one)]
            return last[0].score

        score, told = self.repeats.over(once, seed)
        return score, told if "draws" in told else {**told, "classifier": last[0]}

    def baselines(self) -> Iterator[tuple[str, Found]]:
        """kNN of what costs nothing: pixels in [0, 1], pixels normalised as for the network, the network before
        training, where it is at hand.
        """
        pixels = pixel_features(self.split, self.measured.policy)
        for name in pixels:
            yield name, self.knn(*pixels[name])
        if (found := self.measured.untrained()) is not None:
            name, start = found
            yield name, self.knn(*self.features(start))

    def _together(self, bank: Tensor, queries: Tensor) -> Sides:
        """Features with their labels, on the network's device where there is room for them."""
        return Sides(*beside(self.measured.device, bank, self.known, queries, self.asked))

    def _lent(self, one: Once) -> Source:
        """The training images that lend their labels in a repetition."""
        return self.split.train.subset(np.arange(len(self.split.train))[one.rows])

    def _clean(self, source: Source) -> Iterator[Tensor]:
        return self.measured.clean(source)


class Pixels(Mapping[str, tuple[Tensor, Tensor]]):
    """The pixels themselves as features of both parts of a split, N x (C H W): in [0, 1], and normalised as for a
    network. Either is made when it is asked for, and not kept: both at once would be twice the memory.
    """

    def __init__(self, split: Split, policy: Policy) -> None:
        channels = len(policy.mean)
        raw = Policy(policy.views, (0.0,) * channels, (1.0,) * channels)
        self._split, self._policies = split, {"raw pixels": raw, "normalised pixels": policy}

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __len__(self) -> int:
        return len(self._policies)

    def __getitem__(self, name: str) -> tuple[Tensor, Tensor]:
        policy = self._policies[name]
        return _pixels(self._split.train, policy), _pixels(self._split.test, policy)


def pixel_features(split: Split, policy: Policy) -> Pixels:
    """The pixels as features, by name. Raises UserError if there is no memory to compare them in."""
    images, width = len(split.train) + len(split.test), len(policy.mean) * policy.views[0].size ** 2
    needed, free = 2 * 4 * images * width, free_ram()  # float32, once as they are and once of length 1
    if needed > free:
        raise UserError(
            f"the pixels of {images:,} images, {width:,} numbers each, take {needed / 2**30:.1f} GiB of memory to "
            f"compare, and {free / 2**30:.1f} GiB are free; leave {called('baselines')} out, or name fewer images with "
            f"{called('data')}"
        )
    return Pixels(split, policy)


def _pixels(source: Source, policy: Policy) -> Tensor:
    made, at = torch.empty(len(source), len(policy.mean) * policy.views[0].size ** 2), 0
    for batch in clean_batches(source, policy, torch.device("cpu")):
        made[at : at + len(batch)] = batch.flatten(1)
        at += len(batch)
    return made
