"""Frozen features of several layers, each by the poolings that make sense of it, from one pass over the images."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.evaluate.draw import Rows
from resmom.evaluate.features import frozen
from resmom.nets.backbones import Backbone
from resmom.nets.layers import layers, reading

BLOCKS = 4
"""Blocks of a transformer whose tokens may be joined: 1 or 4, as DINOv2 (arXiv 2304.07193, appendix B.3) has it."""
H = "h"
"""The name of the network's own representation."""


@dataclass(frozen=True)
class LayerFeatures:
    """Features by name, `h` first. A name may stand for several parts side by side; parts are kept once, on the CPU."""

    parts: dict[str, Float[Tensor, "n _"]]
    kinds: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, kind: str) -> Float[Tensor, "n d"]:
        return torch.cat([self.parts[name] for name in self.kinds[kind]], dim=1)

    def of(self, rows: Rows | slice) -> "LayerFeatures":
        """Those of some images."""
        return replace(self, parts={name: values[rows] for name, values in self.parts.items()})


def layer_features(network: nn.Module, batches: Iterable[Float[Tensor, "_ c height width"]]) -> LayerFeatures:
    """What the layers of `network` (view -> Encoding, with a `backbone`) say of all batches, in float32.

    Of maps: each stage's mean over space (the stem's is left out). Of tokens: class token and mean of the patches of
    the last block, and class tokens of the last four, through the last normalisation. What equals `h` is left out.
    Raises ValueError if there is no batch.
    """
    backbone: nn.Module = network.backbone  # type: ignore[assignment]
    collected: dict[str, list[Tensor]] = {}
    tokens = False
    with frozen(network), reading(backbone) as pooled, _Last(backbone) as last:
        for batch in batches:
            features, h = backbone(batch)
            tokens = features.ndim == 3
            parts = {H: h} | (last.read(features) if tokens else _stages(pooled))
            for name, values in parts.items():
                collected.setdefault(name, []).append(values.float().cpu())
    if not collected:
        raise ValueError("there are no images to encode; give at least one batch")
    found = {name: torch.cat(values) for name, values in collected.items()}
    kinds: dict[str, tuple[str, ...]] = {H: (H,)}
    kinds |= _of_tokens(found) if tokens else {name: (name,) for name in found if name != H}
    for name in [name for name, parts in kinds.items() if name != H and _equal(found, parts)]:
        del kinds[name]
    return LayerFeatures(found, kinds)


def _stages(pooled: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}, mean": values for name, values in pooled.items() if name != "stem"}


def _equal(found: dict[str, Tensor], parts: tuple[str, ...]) -> bool:
    return len(parts) == 1 and torch.equal(found[parts[0]], found[H])


def _of_tokens(found: dict[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """Kinds from the parts `class K` and `patches`, K counted from the last block, which is 1."""
    tokens = sorted((name for name in found if name.startswith("class ")), key=lambda name: int(name[6:]))
    kinds: dict[str, tuple[str, ...]] = {}
    if tokens:
        kinds["last block, class token"] = (tokens[0],)
    if "patches" in found:
        kinds["last block, mean of patches"] = ("patches",)
    if tokens and "patches" in found:
        kinds["last block, class token and mean of patches"] = (tokens[0], "patches")
        if len(tokens) > 1:
            several = f"last {len(tokens)} blocks, class tokens"
            kinds |= {several: tuple(tokens), f"{several} and mean of the last's patches": (*tokens, "patches")}
    return kinds


class _Last:
    """The outputs of a transformer's last blocks while it is open; nothing stays on the network afterwards."""

    def __init__(self, backbone: nn.Module) -> None:
        self._body = backbone.body if isinstance(backbone, Backbone) else backbone
        self._modules = [module for name, module in layers(backbone) if name.startswith("blocks.")][-BLOCKS:]
        self._outputs: dict[int, Tensor] = {}

    def __enter__(self) -> "_Last":
        self._hooks = [
            module.register_forward_hook(partial(self._keep, len(self._modules) - at))
            for at, module in enumerate(self._modules)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, number: int, module: nn.Module, given: Any, out: Any) -> None:
        if isinstance(out, Tensor) and out.ndim == 3:
            self._outputs[number] = out

    def read(self, tokens: Float[Tensor, "n t d"]) -> dict[str, Tensor]:
        """Class tokens of the last blocks, and the mean of the last one's patches, normalised as the network does."""
        patches = getattr(getattr(self._body, "patch_embed", None), "num_patches", tokens.shape[1])
        extra = max(0, tokens.shape[1] - patches)
        if getattr(self._body, "dynamic_img_size", False):  # `num_patches` is that of one size of images only
            extra = self._body.num_prefix_tokens  # type: ignore[assignment]
        norm = getattr(self._body, "norm", None)
        found = {"patches": tokens[:, extra:].mean(1)}
        if extra and getattr(self._body, "cls_token", None) is not None:
            for number, out in self._outputs.items():
                found[f"class {number}"] = (norm(out) if isinstance(norm, nn.Module) else out)[:, 0]
        return found
