"""Frozen features of several layers, each by the poolings that make sense of it, from one pass over the images."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from resmom.errors import UserError
from resmom.evaluate.draw import Rows
from resmom.evaluate.features import NO_IMAGES, frozen
from resmom.nets.backbones import Backbone
from resmom.nets.layers import layers, reading
from resmom.which import H

BLOCKS = 4
"""Blocks of a transformer whose tokens may be joined: 1 or 4, as DINOv2 (arXiv 2304.07193, appendix B.3) has it."""
PATCHES = "patches"
"""The part that only networks of tokens have."""


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
    collected: dict[str, list[Tensor]] = {}
    with _parts(network.backbone) as read:  # type: ignore[arg-type]
        for batch in batches:
            for name, values in read(batch).items():
                collected.setdefault(name, []).append(values.float().cpu())
    if not collected:
        raise ValueError(NO_IMAGES)
    found = {name: torch.cat(values) for name, values in collected.items()}
    kinds = _kinds(found)
    for name in [name for name, parts in kinds.items() if name != H and _equal(found, parts)]:
        del kinds[name]
    return LayerFeatures(found, kinds)


def features_of(
    network: nn.Module, batches: Iterable[Float[Tensor, "_ c height width"]], kind: str
) -> Float[Tensor, "n d"]:
    """The features that `layer_features` calls `kind`, and no others: what is not asked for takes no memory.

    Raises UserError, with the names there are, for a kind that this network does not have; ValueError if there is no
    batch.
    """
    with reader(network.backbone, kind) as read:  # type: ignore[arg-type]
        rows = [read(batch).float().cpu() for batch in batches]
    if not rows:
        raise ValueError(NO_IMAGES)
    return torch.cat(rows)


@contextmanager
def reader(
    backbone: nn.Module, kind: str = H
) -> Iterator[Callable[[Float[Tensor, "n c height width"]], Float[Tensor, "n d"]]]:
    """While it is open: a batch to its features of a kind that `layer_features` names; `backbone` is frozen.

    What it gives raises UserError, with the names there are, for a kind that this network does not have.
    """
    if kind == H:  # without what finds the others
        with frozen(backbone):
            yield lambda batch: backbone(batch)[1]
        return
    with _parts(backbone) as parts:

        def read(batch: Tensor) -> Tensor:
            found = parts(batch)
            kinds = _kinds(found)
            if kind not in kinds:
                names = ", ".join(f"'{name}'" for name in kinds)
                raise UserError(f"this network has no features '{kind}'; it has {names}")
            return torch.cat([found[name] for name in kinds[kind]], dim=1)

        yield read


@contextmanager
def _parts(backbone: nn.Module) -> Iterator[Callable[[Float[Tensor, "n c height width"]], dict[str, Tensor]]]:
    """While it is open: a batch to the parts that features are made of, by name, `h` first."""
    with frozen(backbone), reading(backbone) as pooled, _Last(backbone) as last:

        def read(batch: Tensor) -> dict[str, Tensor]:
            features, h = backbone(batch)
            return {H: h} | (last.read(features) if features.ndim == 3 else _stages(pooled))

        yield read


def _kinds(parts: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What can be made of some parts, `h` first."""
    return {H: (H,)} | (_of_tokens(parts) if PATCHES in parts else {name: (name,) for name in parts})


def _stages(pooled: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}, mean": values for name, values in pooled.items() if name != "stem"}


def _equal(found: dict[str, Tensor], parts: tuple[str, ...]) -> bool:
    return len(parts) == 1 and torch.equal(found[parts[0]], found[H])


def _of_tokens(found: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Kinds from the parts `patches` and `class K`, if there are any: K is counted from the last block, which is 1."""
    tokens = sorted((name for name in found if name.startswith("class ")), key=lambda name: int(name[6:]))
    kinds: dict[str, tuple[str, ...]] = {"last block, class token": (tokens[0],)} if tokens else {}
    kinds["last block, mean of patches"] = (PATCHES,)
    if tokens:
        kinds["last block, class token and mean of patches"] = (tokens[0], PATCHES)
    if len(tokens) > 1:
        several = f"last {len(tokens)} blocks, class tokens"
        kinds |= {several: tuple(tokens), f"{several} and mean of the last's patches": (*tokens, PATCHES)}
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
        found = {PATCHES: tokens[:, extra:].mean(1)}
        if extra and getattr(self._body, "cls_token", None) is not None:
            for number, out in self._outputs.items():
                found[f"class {number}"] = (norm(out) if isinstance(norm, nn.Module) else out)[:, 0]
        return found
