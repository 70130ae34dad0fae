"""A ResNet's weights for Detectron2: under the names of its own ResNet, and the configuration that fits them.

The file is torch's (.pth) with tensors and plain values only, so that it can be read with `weights_only=True`.
Detectron2 reads it as `MODEL.WEIGHTS`, and finds each name at the end of one of the model's: `res5` lies in the
backbone where there is a pyramid, and in the head of the form C4.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from resmom.called import setting
from resmom.errors import UserError
from resmom.export.weights import About
from resmom.nets.backbones import BackboneConfig, ResNet

_LAYERS = {
    **{f"conv{number}": f"conv{number}" for number in (1, 2, 3)},
    **{f"bn{number}": f"conv{number}.norm" for number in (1, 2, 3)},
    "downsample.0": "shortcut",
    "downsample.1": "shortcut.norm",
}
"""Layers of a block, and of the stem: torchvision's name, Detectron2's."""
_COUNTER = "num_batches_tracked"
"""Detectron2's frozen BatchNorm has no such counter, and no other depends on it."""


def require_detectron2(config: BackboneConfig | None, whose: str = "this run's") -> ResNet:
    """The configuration, if Detectron2's ResNet can hold its weights. Raises UserError for another backbone, `whose` in
    words."""
    if not isinstance(config, ResNet) or config.stem != "imagenet":
        name = "a module of your own" if config is None else type(config).__name__
        what = f"{name} with the stem {config.stem}" if isinstance(config, ResNet) else name
        raise UserError(
            f"Detectron2's ResNet takes the weights of ResNet-18, -34 and -50 with the stem imagenet, and {whose} "
            f"backbone is {what}; export it with {setting('to', 'safetensors')}, or fine-tune it with `resmom detect "
            "train`"
        )
    return config


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of torchvision's ResNet (no classifier) under Detectron2's names, without the counters of batches."""
    return {_name(name): value for name, value in weights.items() if not name.endswith(_COUNTER)}


def _name(name: str) -> str:
    *place, value = name.split(".")
    if len(place) == 1:
        return f"stem.{_LAYERS[place[0]]}.{value}"
    stage, block, *layer = place
    # Detectron2 counts the stem as the first stage.
    return f"res{int(stage.removeprefix('layer')) + 1}.{block}.{_LAYERS['.'.join(layer)]}.{value}"


def save_detectron2(path: Path, weights: Mapping[str, Tensor], about: About) -> None:
    """Write the file; `weights` have torchvision's names. Not atomic: write it where nobody looks yet."""
    # Without the second entry, older versions of Detectron2 look for whole names only.
    torch.save({"model": renamed(weights), "matching_heuristics": True, "resmom": about.metadata()}, path)


def configuration_lines(config: ResNet, mean: tuple[float, ...], std: tuple[float, ...], file: str) -> str:
    """Lines of a Detectron2 configuration (YAML) that load `file` and show it images as pretraining did.

    `mean` and `std` are of pixels in [0, 1], as everywhere here; Detectron2's are of pixels in [0, 255].
    """
    narrow = [] if config.depth == 50 else ["    RES2_OUT_CHANNELS: 64"]
    return "\n".join(
        [
            "MODEL:",
            f'  WEIGHTS: "{file}"',
            f"  PIXEL_MEAN: {_of_bytes(mean)}  # red, green, blue",
            f"  PIXEL_STD: {_of_bytes(std)}",
            "  BACKBONE:",
            "    FREEZE_AT: 0  # every layer learns",
            "  RESNETS:",
            f"    DEPTH: {config.depth}",
            *narrow,
            "    STRIDE_IN_1X1: False  # torchvision's bottlenecks have it in the 3x3 convolution",
            '    NORM: "SyncBN"',
            "INPUT:",
            '  FORMAT: "RGB"',
        ]
    )


def _of_bytes(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{255 * value:.6g}" for value in values) + "]"
