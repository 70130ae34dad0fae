"""Which backbone a file of weights was made with."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import ConfigError, backbone_from_json, from_json
from resmom.nets.backbones import (
    BACKBONES,
    Backbone,
    BackboneConfig,
    DinoViT,
    MoCoViT,
    ResNet,
    backbone_named,
    build_backbone,
    name_of,
)
from resmom.nets.init import InitWeights, MisfitError, load_backbone
from resmom.nets.weightfile import WeightsError, read_weights
from resmom.recipes.facts import Seen
from resmom.recipes.words import named

CANDIDATES: tuple[BackboneConfig, ...] = (
    ResNet(18),
    ResNet(50),
    ResNet(34),
    ResNet(18, stem="small"),
    ResNet(50, stem="small"),
    ResNet(34, stem="small"),
    MoCoViT("small"),
    MoCoViT("base"),
)


def recognise(path: str) -> BackboneConfig:
    """The backbone of a file: as the file itself says if it is one of ours, else the first common one that it fits.

    Raises ConfigError if the file cannot be read, or is that of another backbone, which must then be named.
    """
    file = Path(path)
    try:
        said = _own_word(file)
        if said is not None:
            return said
        read_weights(file)  # what cannot be read at all is told once
    except WeightsError as error:
        raise ConfigError(f"init: {error}") from error
    for candidate in CANDIDATES:
        with torch.random.fork_rng(devices=[]):
            backbone = build_backbone(candidate)
        try:
            load_backbone(backbone, file)
        except WeightsError:
            continue
        return candidate
    raise ConfigError(
        f"{path} fits none of the common backbones; name the one it was made with: --backbone NAME ({BACKBONES})"
    )


def start_weights(
    backbone: Backbone, path: str, asked: BackboneConfig | None, derived: bool = False, sized: bool = True
) -> InitWeights:
    """Put a file's weights into a backbone built from `asked` (None: a module of the user's own).

    Raises ConfigError for weights that do not fit. Where the file says what it was made with, that is told, with the
    name that asks for it (`by_name`); a `derived` run takes it by itself if no other one is asked for. `sized`: whether
    views of some size are made, which a transformer must fit.
    """
    try:
        return load_backbone(backbone, path)
    except MisfitError as error:
        said = _own_word(Path(path))
        if said is None or asked is None or named(said) == named(asked):
            raise ConfigError(f"init: {error}") from error
        settings = "(--backbone.widths and the like)"
        name = f"--backbone {name_of(said)}{_image(said) if sized else ''}"
        remedy = f"use {name}, without settings of its own beside it {settings}"
        if derived:
            remedy = f"leave out --backbone, and its settings {settings}"
        raise ConfigError(f"init: {path} is of {named(said)}, not of {named(asked)}: {remedy}") from error
    except WeightsError as error:
        raise ConfigError(f"init: {error}") from error


def by_name(name: str, init: str = "") -> BackboneConfig:
    """The backbone that a short name asks for; as the file of weights `init` says, if it says that it is of that name.

    Raises ConfigError with the names there are.
    """
    try:
        asked = backbone_named(name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    said = _own_word(Path(init)) if init else None
    return asked if said is None or name_of(said) != name_of(asked) else said


def _image(backbone: BackboneConfig) -> str:
    """The option for the views that a transformer was made for, where those of a run are others."""
    return f" --image-size {backbone.image}" if isinstance(backbone, MoCoViT | DinoViT) else ""


def seen(path: str) -> Seen | None:
    """What the network of a file was trained to see; None where the file does not say."""
    file = Path(path)
    try:
        if file.suffix == ".safetensors":
            said = _metadata(file)
            if "resmom_format" not in said:
                return None
            return Seen(tuple(json.loads(said["mean"])), tuple(json.loads(said["std"])), int(said["image_size"]))
        policy = from_json(load_checkpoint(file, mapped=True)["run"]).policy
    except (CheckpointError, ConfigError, KeyError):
        return None
    return Seen(policy.mean, policy.std, policy.views[0].size)


def _metadata(file: Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing if it is none."""
    try:
        with safe_open(file, "pt") as opened:
            return opened.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def _own_word(file: Path) -> BackboneConfig | None:
    """What a run's checkpoint, or a file exported from one, says of its backbone; None for other people's files."""
    if file.suffix == ".safetensors" and file.is_file():
        metadata = _metadata(file)
        architecture = json.loads(metadata["architecture"]) if "resmom_format" in metadata else None
        return backbone_from_json(architecture) if isinstance(architecture, dict) else None
    try:
        return from_json(load_checkpoint(file, mapped=True)["run"]).backbone
    except (CheckpointError, ConfigError, KeyError):
        return None
