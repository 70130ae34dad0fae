"""The names under which others keep the tensors of the same networks, and how they become ours."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from resmom.called import either, setting
from resmom.nets.weightfile import uncompiled

_START = r"(?:(?<=\.)|^)"
"""Where the name of a part begins: at the start or behind a dot."""


@dataclass(frozen=True)
class Layout:
    """Names of a Vision Transformer that are not timm's: a name that tells them, and which become which of timm's.

    `{}` stands for the number of a block. What is not listed keeps its name.
    """

    whose: str
    mark: str
    names: tuple[tuple[str, str], ...]


_LAYOUTS = (
    Layout(
        "torchvision's Vision Transformer",
        "encoder.pos_embedding",
        (
            ("class_token", "cls_token"),
            ("conv_proj", "patch_embed.proj"),
            ("encoder.pos_embedding", "pos_embed"),
            ("encoder.layers.encoder_layer_{}.ln_1", "blocks.{}.norm1"),
            ("encoder.layers.encoder_layer_{}.self_attention.in_proj_weight", "blocks.{}.attn.qkv.weight"),
            ("encoder.layers.encoder_layer_{}.self_attention.in_proj_bias", "blocks.{}.attn.qkv.bias"),
            ("encoder.layers.encoder_layer_{}.self_attention.out_proj", "blocks.{}.attn.proj"),
            ("encoder.layers.encoder_layer_{}.ln_2", "blocks.{}.norm2"),
            ("encoder.layers.encoder_layer_{}.mlp.0", "blocks.{}.mlp.fc1"),
            ("encoder.layers.encoder_layer_{}.mlp.3", "blocks.{}.mlp.fc2"),
            ("encoder.layers.encoder_layer_{}.mlp.linear_1", "blocks.{}.mlp.fc1"),  # its first versions
            ("encoder.layers.encoder_layer_{}.mlp.linear_2", "blocks.{}.mlp.fc2"),
            ("encoder.ln", "norm"),
        ),
    ),
    Layout(
        "Hugging Face's Vision Transformers",
        "embeddings.position_embeddings",
        (
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.mask_token", "mask_token"),
            ("embeddings.register_tokens", "reg_token"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("encoder.layer.{}.attention.attention.query", "blocks.{}.attn.q"),
            ("encoder.layer.{}.attention.attention.key", "blocks.{}.attn.k"),
            ("encoder.layer.{}.attention.attention.value", "blocks.{}.attn.v"),
            ("encoder.layer.{}.attention.output.dense", "blocks.{}.attn.proj"),
            ("encoder.layer.{}.layernorm_before", "blocks.{}.norm1"),  # ViT
            ("encoder.layer.{}.layernorm_after", "blocks.{}.norm2"),
            ("encoder.layer.{}.intermediate.dense", "blocks.{}.mlp.fc1"),
            ("encoder.layer.{}.output.dense", "blocks.{}.mlp.fc2"),
            ("encoder.layer.{}.norm1", "blocks.{}.norm1"),  # DINOv2
            ("encoder.layer.{}.norm2", "blocks.{}.norm2"),
            ("encoder.layer.{}.mlp", "blocks.{}.mlp"),
            ("encoder.layer.{}.layer_scale1.lambda1", "blocks.{}.ls1.gamma"),
            ("encoder.layer.{}.layer_scale2.lambda1", "blocks.{}.ls2.gamma"),
            ("layernorm", "norm"),
        ),
    ),
    Layout("DINOv2", "register_tokens", (("register_tokens", "reg_token"),)),
)

_OF_TIMM = (
    (r"resblocks\.\d+\.", "CLIP's", "vit_base_patch16_clip_224"),
    (r"(?:storage_tokens$|rope_embed\.periods$)", "DINOv3's", "vit_small_patch16_dinov3"),
    (r"layers\.\d+\.ffn\.layers\.", "OpenMMLab's", "vit_base_patch16_224"),
)
"""Names of others that are known and not taken, and whose weights timm has: a pattern, whose they are, and which."""
_OF_DETECTRON2 = r"stem\.conv1\.norm\."


@dataclass(frozen=True)
class Renamed:
    """A file's tensors under timm's names, and whose names they had."""

    weights: dict[str, Tensor]
    whose: str


def renamed(weights: Mapping[str, Tensor]) -> Renamed | None:
    """The tensors under timm's names, prefixes kept; None where no other layout is known in them.

    Query, key and value that lie apart become the one matrix that timm has, and blocks in chunks those of one list.
    """
    whose, found = "", dict(weights)
    for layout in _LAYOUTS:
        if any(re.search(f"{_START}{re.escape(layout.mark)}$", name) for name in found):
            whose, found = whose or layout.whose, _joined(_translated(found, layout))
    chunked = _unchunked(found)
    if chunked is not None:
        whose, found = whose or "DINOv2, blocks in chunks", chunked
    return Renamed(found, whose) if whose else None


def refused(weights: Mapping[str, Tensor]) -> str:
    """Whose names they are, and what to do, where they are known and not taken; empty for others."""
    for pattern, whose, like in _OF_TIMM:
        if any(re.search(_START + pattern, name) for name in weights):
            return (
                f"The names there are {whose}, which are not taken: save timm's file of the same weights "
                "(timm.create_model(NAME, pretrained=True).state_dict(), on a machine with network access), and use "
                f"{setting('backbone', 'timm:NAME')}, such as timm:{like}"
            )
    if any(re.search(_START + _OF_DETECTRON2, name) for name in weights):
        return (
            "The names there are Detectron2's, which are not taken: give the .safetensors of the same network, which "
            f"{either('resmom export', 'export')} writes, or the file that it was made from"
        )
    return ""


def namings(own: Iterable[str]) -> Iterator[dict[str, str]]:
    """How others may call a backbone's tensors: own name -> name there, without prefix."""
    plain = {name: uncompiled(name) for name in own}
    first = next(iter(plain.values())).split(".")[0] + "."
    # What all names share belongs to the prefix: SmallResNet's `layers.` is absent from its exported file.
    shared = len(first) if all(name.startswith(first) for name in plain.values()) else 0
    yield {name: there[shared:] for name, there in plain.items()}
    if {"conv1.weight", "bn1.weight"} <= set(plain.values()):
        # torchvision's ResNet cut into nn.Sequential(*children), with and without its max-pool: lightly's habit.
        for layers in (4, 3):
            number = {"conv1": "0", "bn1": "1"} | {f"layer{n + 1}": str(layers + n) for n in range(4)}
            yield {name: _renumbered(there, number) for name, there in plain.items()}


def _renumbered(name: str, number: Mapping[str, str]) -> str:
    first, dot, rest = name.partition(".")
    return number.get(first, first) + dot + rest


def _translated(weights: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    rules = [(_pattern(theirs), ours.replace("{}", r"\1")) for theirs, ours in layout.names]
    made = {}
    for name, value in weights.items():
        for pattern, ours in rules:
            new, hits = pattern.subn(ours, name, count=1)
            if hits:
                name = new
                break
        made[name] = value
    return made


def _pattern(name: str) -> re.Pattern[str]:
    """A part's name, at any place and with any block's number, up to the end of a word between dots."""
    return re.compile(_START + re.escape(name).replace(r"\{\}", r"(\d+)") + r"(?=\.|$)")


def _joined(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value of each block in one matrix."""
    made = dict(weights)
    for name in weights:
        apart = [re.sub(r"\.attn\.q\.(weight|bias)$", rf".attn.{part}.\1", name) for part in "qkv"]
        if apart[0] == name and apart[1] != name and all(other in weights for other in apart):
            made[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([made.pop(other) for other in apart])
    return made


def _unchunked(weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Blocks 0.0, 0.1, 1.2, 1.3 … as DINOv2's training has them, numbered through, as 0, 1, 2, 3; None for others."""
    pattern = re.compile(rf"{_START}blocks\.\d+\.(?=\d+\.)")
    if not any(pattern.search(name) and name.endswith(".attn.qkv.weight") for name in weights):
        return None
    made = {pattern.sub("blocks.", name): value for name, value in weights.items()}
    return made if len(made) == len(weights) else None  # numbers that begin anew are those of another kind of network
