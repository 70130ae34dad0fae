"""Which backbones are fine-tuned: a run's student and teacher, a file's weights, or random ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from resmom.called import called, either
from resmom.config import ConfigError
from resmom.nets.backbones import Backbone, BackboneConfig, build_backbone, name_of
from resmom.nets.fit import OptionNames
from resmom.runs.initial.recognise import seen, start_weights
from resmom.runs.loaded import load_run
from resmom.runs.training.job import backbone_of
from resmom.views.policy import IMAGENET
from resmom.which import Which

OPTIONS = OptionNames(stem="", settings=False)
"""Of the commands that fine-tune."""


@dataclass(frozen=True)
class Origin:
    """Where backbones come from: a run, or a backbone by its configuration with a file's weights or random ones."""

    run: Path | None = None
    network: Which = "both"
    random: bool = False
    """Also the same backbone with random weights."""
    backbone: BackboneConfig | None = None
    init: str = ""
    options: OptionNames = OPTIONS
    """What names the file and its backbone, and which backbones the task cannot have."""


@dataclass(frozen=True)
class Backbones:
    """Backbones of one kind by name (student, teacher, init, random), and what each is in words.

    `mean` and `std` of pixels in [0, 1] are what they were trained with: as the run says, or the file, else ImageNet's.
    """

    config: BackboneConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: dict[str, Backbone]
    words: dict[str, str]


def backbones(origin: Origin, seed: int, task: str) -> Backbones:
    """The backbones asked for, on the CPU, random ones by `seed`. Raises UserError for what cannot be had.

    `task` is what they are for, in a word that begins the sentence about grey images.
    """
    if (origin.run is None) == (origin.backbone is None):
        raise ConfigError(
            either(
                "give a RUN, or --init FILE for weights or --backbone NAME for random ones, and not both",
                "give a run, or a backbone with init for weights or without for random ones, and not both",
            )
        )
    if origin.run is not None and origin.init:
        raise ConfigError(
            f"{called('init')} is instead of a {either('RUN', 'run')}, of which the run's own weights are taken; leave "
            "one of them out"
        )
    found = _of_file(origin, seed) if origin.backbone is not None else _of_run(origin, seed)
    if len(found.mean) != 3:
        raise ConfigError(f"{task} reads colour images, but the network was trained on {len(found.mean)} channel(s)")
    return found


def require_fit(found: Backbones, thing: str, build: Callable[[Backbone], object]) -> None:
    """Raise ConfigError with the name of the first backbone that `build` refuses, which makes a `thing` of it."""
    for name, backbone in found.weights.items():
        try:
            build(backbone)
        except ValueError as error:
            raise ConfigError(f"{name} ({name_of(found.config)}) cannot become a {thing}: {error}") from error


def _of_run(origin: Origin, seed: int) -> Backbones:
    assert origin.run is not None
    loaded = load_run(origin.run, "cpu")
    weights: dict[str, Backbone] = {}
    words: dict[str, str] = {}
    for name, network in loaded.networks(origin.network).items():
        body = backbone_of(network)
        assert isinstance(body, Backbone)
        weights[name], words[name] = body, f"{name} of {loaded.folder.path} at step {loaded.step}"
    if origin.random:
        weights["random"], words["random"] = fresh_backbone(loaded.run.backbone, seed), f"random weights, seed {seed}"
    return Backbones(loaded.run.backbone, loaded.run.policy.mean, loaded.run.policy.std, weights, words)


def _of_file(origin: Origin, seed: int) -> Backbones:
    assert origin.backbone is not None
    weights: dict[str, Backbone] = {}
    words: dict[str, str] = {}
    if origin.init:
        weights["init"] = fresh_backbone(origin.backbone, seed)
        words["init"] = start_weights(weights["init"], origin.init, origin.backbone, options=origin.options).words
    if origin.random or not origin.init:
        weights["random"], words["random"] = fresh_backbone(origin.backbone, seed), f"random weights, seed {seed}"
    said = seen(origin.init) if origin.init else None
    mean, std = IMAGENET if said is None else (said.mean, said.std)
    return Backbones(origin.backbone, mean, std, weights, words)


def fresh_backbone(config: BackboneConfig, seed: int) -> Backbone:
    """A backbone with random weights by `seed`, torch's generator left as it was. Raises ConfigError."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return build_backbone(config)
        except ValueError as error:
            raise ConfigError(f"the backbone cannot be built: {error}") from error
