"""Which backbone a file of weights was made with."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from resmom.checkpoint import CheckpointError, load_checkpoint
from resmom.config import ConfigError, backbone_from_json, from_json
from resmom.nets.backbones import BACKBONES, BackboneConfig, MoCoViT, ResNet, build_backbone
from resmom.nets.init import load_backbone
from resmom.nets.weightfile import WeightsError, read_weights

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


def _own_word(file: Path) -> BackboneConfig | None:
    """What a run's checkpoint, or a file exported from one, says of its backbone; None for other people's files."""
    if file.suffix == ".safetensors" and file.is_file():
        try:
            with safe_open(file, "pt") as opened:
                metadata = opened.metadata() or {}
        except SafetensorError:
            return None
        architecture = json.loads(metadata["architecture"]) if "architecture" in metadata else None
        return backbone_from_json(architecture) if isinstance(architecture, dict) else None
    try:
        return from_json(load_checkpoint(file)["run"]).backbone
    except (CheckpointError, ConfigError, KeyError):
        return None
