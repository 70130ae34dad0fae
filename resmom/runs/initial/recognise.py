"""Which backbone a file of weights was made with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from resmom.called import called, either, setting
from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import ConfigError, backbone_from_json, from_json
from resmom.nearest import similar
from resmom.nets.backbones import (
    MOCO_VIT,
    VIT,
    Backbone,
    BackboneConfig,
    DinoViT,
    MoCoViT,
    ResNet,
    Timm,
    backbone_named,
    build_backbone,
    cut_of,
    name_of,
)
from resmom.nets.filed import FiledViT, filed_vit
from resmom.nets.fit import OF_A_RUN, OptionNames
from resmom.nets.init import InitWeights, MisfitError, load_backbone
from resmom.nets.weightfile import WeightsError, metadata
from resmom.recipes.facts import Seen
from resmom.recipes.side import with_image
from resmom.recipes.words import named
from resmom.runs.initial.published import weights_file
from resmom.which import BACKBONES

CANDIDATES: tuple[BackboneConfig, ...] = (
    ResNet(18),
    ResNet(50),
    ResNet(34),
    ResNet(18, stem="small"),
    ResNet(50, stem="small"),
    ResNet(34, stem="small"),
)
"""Networks without patches that a file of others may be of."""
_DINOV2 = {(384, 12): "small", (768, 12): "base", (1024, 24): "large"}
"""DINOv2's sizes by width and blocks, as timm calls them."""
_SCALE = 1e-5
"""Where gains of blocks start that a file of others has (DINOv2's); its weights replace them."""


def recognise(path: str, options: OptionNames = OF_A_RUN) -> BackboneConfig:
    """The backbone of a file: as the file itself says if it is one of ours, else the first common one that it fits.

    A Vision Transformer is told by its shapes: MoCo-v3's by its positions, DINOv2's by the scales in its blocks, and
    others' by width and depth alone, with DeiT's number of heads. Raises ConfigError if the file cannot be read, or is
    that of another backbone, which must then be named, by the option that `options` says.
    """
    file = weights_file(path, options.init)
    said = own_word(file)
    if said is not None:
        return said
    try:
        found = filed_vit(file)
    except WeightsError as error:
        raise ConfigError(f"{options.file}: {error}") from error
    if (common := _common(file, found)) is not None:
        return common
    what = "" if found is None else f": it holds {found}"
    raise ConfigError(
        f"{path} fits none of the common backbones{what}; name the one it was made with: {options.named('NAME')} "
        f"({BACKBONES}{options.unfit})"
    )


def _common(file: Path, found: FiledViT | None) -> BackboneConfig | None:
    """The first common backbone that the tensors of a file fit; `found`: the transformer that its shapes tell."""
    for candidate in CANDIDATES if found is None else _transformers(found):
        with torch.random.fork_rng(devices=[]):
            backbone = build_backbone(candidate)
        try:
            load_backbone(backbone, file)
        except WeightsError:
            continue
        return candidate
    return None


def _transformers(found: FiledViT) -> tuple[BackboneConfig, ...]:
    """What a Vision Transformer of these shapes may be."""
    shape = found.width, found.depth
    if found.scaled and found.patch == 14 and shape in _DINOV2:
        registers = f"_reg{found.registers}" if found.registers else ""
        return (Timm(f"vit_{_DINOV2[shape]}_patch14{registers}_dinov2", found.image),)
    kind, sizes = ("vit", MOCO_VIT) if found.fixed else ("dino-vit", VIT)
    return tuple(_cut(f"{kind}-{size}", found) for size, (*own, _) in sizes.items() if tuple(own) == shape)


def _cut(name: str, found: FiledViT) -> BackboneConfig:
    """The backbone of that name, a transformer for the image and patches of a file where the name leaves them open."""
    asked = backbone_named(name)
    match asked:
        case DinoViT():
            gains = _SCALE if found.scaled else 0.0
            return replace(asked, image=found.image, patch=found.patch, layer_scale=gains)
        case MoCoViT():
            return replace(asked, image=found.image, patch=found.patch)
        case Timm() if (cut := cut_of(asked)) is not None and cut[1] == found.patch:
            return with_image(asked, found.image)
        case _:
            return asked


def start_weights(
    backbone: Backbone,
    path: str,
    asked: BackboneConfig | None,
    derived: bool = False,
    options: OptionNames = OF_A_RUN,
) -> InitWeights:
    """Put a file's weights into a backbone built from `asked` (None: a module of the user's own).

    Raises ConfigError for weights that do not fit. Where the file says what it was made with, or is recognised, that is
    told, with the `options` that ask for it (`by_name`); a `derived` run, and what has no settings of a backbone, take
    it by themselves if no other one is asked for.
    """
    file = weights_file(path, options.init)
    try:
        return load_backbone(backbone, file, options=options)
    except MisfitError as error:
        said = own_word(file)
        found = said or (None if asked is None else _common(file, filed_vit(file)))
        if found is None or asked is None or named(found) == named(asked):
            raise ConfigError(f"{options.file}: {error}") from error
        if said is None and name_of(found) == name_of(asked) and options.stem:  # and the advice is about the stem
            raise ConfigError(f"{options.file}: {error}") from error
        remedy = _remedy(found, said is not None, derived, options)
        raise ConfigError(f"{options.file}: {path} is of {named(found)}, not of {named(asked)}: {remedy}") from error
    except WeightsError as error:
        raise ConfigError(f"{options.file}: {error}") from error


def _remedy(found: BackboneConfig, ours: bool, derived: bool, options: OptionNames) -> str:
    """How the backbone of a file is had; `ours`: the file says it itself, and its name brings the stem with it."""
    name, other = options.named(name_of(found)), "settings"
    if not ours and isinstance(found, ResNet) and found.stem != "imagenet":
        name = f"{name}{either(' ', ' and ')}{setting(options.stem, found.stem)}" if options.stem else ""
        other = "other settings"
    settings = f"({called('backbone.widths')} and the like)"
    if derived:
        return f"leave out {called('backbone')}, and its settings {settings}"
    if options.settings:
        return f"use {name}{_image(found)}, without {other} of its own beside it {settings}"
    return f"leave {called(options.backbone)} out" + (f", or say {name}" if name else "")


def by_name(name: str, init: str = "", options: OptionNames = OF_A_RUN) -> BackboneConfig:
    """The backbone that a short name asks for; as the file of weights `init` says, if it says that it is of that name.

    Of a Vision Transformer of others the file's shapes say for which image and patches it was made. Raises ConfigError
    with the names there are, what `options` say of them, and the one that may be meant.
    """
    try:
        asked = backbone_named(name)
    except ValueError as error:
        raise ConfigError(f"{error}{options.unfit}{_meant(name, timms=not options.unfit)}") from error
    if not init:
        return asked
    file = weights_file(init, options.init)
    said = own_word(file)
    if said is not None:
        return asked if name_of(said) != name_of(asked) else said
    if not isinstance(asked, MoCoViT | DinoViT | Timm):
        return asked
    try:
        found = filed_vit(file)
    except WeightsError:  # told where the weights are put into the backbone
        return asked
    return asked if found is None else _cut(name, found)


def _meant(name: str, timms: bool) -> str:
    """Which backbone somebody may mean by a name that is none, as the end of a sentence; `timms`: all of timm's too."""
    import timm  # takes seconds, which a good name need not wait for

    if timms and timm.is_model(name):
        return f"; did you mean timm:{name}?"
    return similar(name, BACKBONES.split(", "), 1)


def _image(backbone: BackboneConfig) -> str:
    """What sets the views that a transformer was made for, where those of a run are others."""
    if not isinstance(backbone, MoCoViT | DinoViT):
        return ""
    return either(f" --image-size {backbone.image}", f" and with_side(run, {backbone.image}) of resmom.recipes.side")


def seen(path: str) -> Seen | None:
    """What the network of a file was trained to see; None where the file does not say."""
    file = weights_file(path)
    try:
        if file.suffix == ".safetensors":
            said = metadata(file)
            if "resmom_format" not in said:
                return None
            resize: Any = said.get("resize")  # files of earlier versions do not say
            mean, std = (tuple(json.loads(said[name])) for name in ("mean", "std"))
            return Seen(mean, std, int(said["image_size"]), resize, fixed="source" not in said)
        policy = from_json(load_checkpoint(file, mapped=True)["run"]).policy
    except (CheckpointError, ConfigError, KeyError):
        return None
    first = policy.views[0]
    return Seen(policy.mean, policy.std, first.size, first.interpolation)


def origin_words(path: str) -> str:
    """What a file of ours says that its weights are, as a sentence; empty for other files."""
    said = metadata(weights_file(path))
    if "resmom_format" not in said:
        return ""
    if "source" in said:
        return f"published weights: {said['source']}"
    what = f"the {said['network']} of a run at step {said['step']}" if "step" in said else "weights without a run"
    if said["network"] == "random":
        what = "random weights, of which nothing was learned"
    return f"exported by resmom: {what}"


def own_word(file: Path) -> BackboneConfig | None:
    """What a run's checkpoint, or a file exported from one, says of its backbone; None for other people's files."""
    if file.suffix == ".safetensors" and file.is_file():
        said = metadata(file)
        architecture = json.loads(said["architecture"]) if "resmom_format" in said else None
        return backbone_from_json(architecture) if isinstance(architecture, dict) else None
    try:
        return from_json(load_checkpoint(file, mapped=True)["run"]).backbone
    except (CheckpointError, ConfigError, KeyError):
        return None
