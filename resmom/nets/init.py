"""Weights to start from: a backbone's tensors found in a file, whoever wrote it and under whatever names they lie."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from resmom.nets.backbones import BACKBONES, Backbone
from resmom.nets.positions import sincos_positions
from resmom.nets.weightfile import WeightsError, read_weights, uncompiled
from resmom.which import Network

HEADS = frozenset(
    {"classifier", "classifiers", "contrastive", "criterion", "decoder", "fc", "head", "heads", "linear", "logit"}
    | {"logits", "loss", "mask", "masked", "mlp", "prediction", "predictor", "probe", "projection", "projector"}
    | {"prototypes", "queue", "temperature"}
)
"""Words in the first part of a tensor's name that tell it is no part of a backbone."""

TEACHERS = frozenset({"ema", "k", "key", "momentum", "target", "teacher"})
"""Words in a prefix that tell a momentum network's tensors: MoCo's encoder_k, solo-learn's momentum_backbone …"""

_COUNTER = "num_batches_tracked"
"""Absent from files of old; nothing depends on it while BatchNorm has a momentum."""


class MisfitError(WeightsError):
    """The file is sound, but its tensors are not this backbone's by name, number or shape."""


@dataclass(frozen=True)
class InitWeights:
    """What was taken from a file: so many tensors whose names began with `prefix`, and what stayed behind."""

    path: Path
    prefix: str
    tensors: int
    left_out: tuple[str, ...]

    @property
    def words(self) -> str:
        """One line for people."""
        where = f" under '{self.prefix}'" if self.prefix else ""
        told = f"{self.tensors} tensors of the backbone from {self.path}{where}"
        return f"{told}; not used: {_groups(self.left_out, self.prefix)}" if self.left_out else told


@dataclass(frozen=True)
class _Fit:
    """How a file's tensors under `prefix` compare with a backbone's: file's name by own name, and the differences."""

    prefix: str
    found: dict[str, str]
    missing: tuple[str, ...]
    misshaped: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def differences(self) -> int:
        return len(self.missing) + len(self.misshaped) + len(self.unknown)

    def rank(self, network: Network) -> tuple[int, int, bool]:
        """Lower is better: those without a difference, then by tensors that agree, then the network asked for."""
        agree = len(self.found) - len(self.misshaped)
        return min(self.differences, 1), -agree, _speaks_of(self.prefix) != network


def load_backbone(backbone: nn.Module, path: str | Path, network: Network = "student") -> InitWeights:
    """Put a file's weights into a backbone; names are matched under the prefix where *all* of its tensors lie.

    Where a file holds several such networks (a momentum method's checkpoint), the one that `network` says is taken.
    Tensors of classifiers and heads may be left over, and are listed. Nothing is written unless everything fits: raises
    MisfitError, a WeightsError, if a tensor is missing, has another shape, or if the file's network has further parts,
    and WeightsError if one is not finite.
    """
    path = Path(path)
    weights = {uncompiled(name): value for name, value in read_weights(path).items()}
    body = backbone.body if isinstance(backbone, Backbone) else backbone
    own = body.state_dict()
    fits = sorted(_fits(own, weights), key=lambda fit: fit.rank(network))
    if not fits:
        raise MisfitError(
            f"{path} holds {len(weights)} tensors, none of them named like one of this backbone's. Names there: "
            f"{_some(weights)}. Names here: {_some(own)}. Choose the backbone that the file was made with: "
            f"--backbone ({BACKBONES})"
        )
    best = fits[0]
    if best.differences:
        raise MisfitError(_refusal(path, best, own, weights))
    state = {name: weights[best.found[name]] if name in best.found else value for name, value in own.items()}
    _check_values(path, own, state)
    body.load_state_dict(state, strict=True)
    used = set(best.found.values())
    left_out = tuple(sorted(name for name in weights if name not in used))
    return InitWeights(path, best.prefix, len(used), left_out)


def _fits(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Iterator[_Fit]:
    """Every place in the file where tensors are named like the backbone's."""
    places: dict[str, list[str]] = {}  # the end of a name -> what stands before it
    for name in weights:
        parts = name.split(".")
        for cut in range(len(parts)):
            places.setdefault(".".join(parts[cut:]), []).append("".join(part + "." for part in parts[:cut]))
    for names in _namings(own):
        prefixes = Counter(prefix for wanted in names.values() for prefix in places.get(wanted, []))
        for prefix, _ in sorted(prefixes.most_common(16), key=lambda item: len(item[0])):
            yield _fit(own, weights, names, prefix)


def _namings(own: Mapping[str, Tensor]) -> Iterator[dict[str, str]]:
    """How others may call the backbone's tensors: own name -> name there, without prefix."""
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


def _fit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], names: Mapping[str, str], prefix: str) -> _Fit:
    found = {name: prefix + there for name, there in names.items() if prefix + there in weights}
    missing = tuple(name for name in own if name not in found and not name.endswith(_COUNTER))
    misshaped = tuple(name for name, there in found.items() if weights[there].shape != own[name].shape)
    known = set(found.values())
    rest = (name for name in weights if name.startswith(prefix) and name not in known)
    unknown = tuple(name for name in rest if not _is_head(name.removeprefix(prefix)))
    return _Fit(prefix, found, missing, misshaped, unknown)


def _is_head(name: str) -> bool:
    """Whether a name (without prefix) tells a part that no backbone has. A pooling's norm, timm's fc_norm, is one's."""
    first = name.split(".")[0]
    return first != "fc_norm" and not HEADS.isdisjoint(first.split("_"))


def _speaks_of(prefix: str) -> Network:
    return "student" if TEACHERS.isdisjoint(prefix.replace("_", ".").split(".")) else "teacher"


def _check_values(path: Path, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for name, value in state.items():
        if not value.isfinite().all():
            raise WeightsError(f"{path}: {name} has values that are not finite; the run that wrote it had diverged")
    # A ViT's number of heads is in no shape; but MoCo-v3's have fixed positions, and all others learn theirs.
    position = own.get("pos_embed")
    if position is not None and _are_sincos(position) and not torch.allclose(state["pos_embed"], position, atol=1e-4):
        raise WeightsError(
            f"{path} has the shapes of this backbone but other positions than MoCo-v3's fixed ones, so it is another "
            "kind of ViT, maybe with another number of heads; load it into timm's model of its "
            "kind, for instance --backbone timm:vit_small_patch16_224"
        )


def _are_sincos(position: Tensor) -> bool:
    tokens, width = position.shape[-2] - 1, position.shape[-1]
    side = math.isqrt(max(tokens, 0))
    if position.ndim != 3 or side * side != tokens or width % 4:
        return False
    return torch.allclose(position[0, 1:].cpu(), sincos_positions(width, side, side), atol=1e-4)


def _refusal(path: Path, fit: _Fit, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    parts = []
    if fit.misshaped:
        shapes = [
            f"{name} is {_shape(weights[fit.found[name]])} in the file, {_shape(own[name])} here"
            for name in fit.misshaped[:3]
        ]
        parts.append("; ".join(shapes) + _more(len(fit.misshaped) - 3))
    if fit.missing:
        parts.append(f"missing in the file: {_some(fit.missing)}")
    if fit.unknown:
        parts.append(f"only in the file: {_some(fit.unknown)}")
    where = f" (looked under '{fit.prefix}')" if fit.prefix else ""
    return f"{path} does not fit this backbone{where}: " + ". ".join(parts) + ". " + _advice(fit, own, weights)


def _advice(fit: _Fit, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """What to change, as far as names and shapes tell."""
    name = fit.misshaped[0] if fit.misshaped else ""
    there, here = (weights[fit.found[name]], own[name]) if name else (torch.empty(0), torch.empty(0))
    another = fit.missing or fit.unknown or there.shape[:1] != here.shape[:1]  # no stem would make it fit
    if name == "conv1.weight" and not another and there.shape[2:] != here.shape[2:]:
        if there.shape[-1] == 7:
            return "The file's first convolution is 7x7: use --backbone.stem imagenet (and views of 64 pixels or more)"
        if there.shape[-1] == 3:
            return "The file's first convolution is 3x3: use --backbone.stem small, or small_pad2 or small_pool"
    if name.endswith("pos_embed") and there.ndim == 3:
        tokens = f"The file has positions for {there.shape[1]} tokens, this backbone for {here.shape[1]}"
        return f"{tokens}: set --backbone.image and the views' size (and --backbone.patch) to those of the file"
    if "patch_embed" in name and there.shape[0] == here.shape[0]:
        return f"The file's patches have side {there.shape[-1]}: set --backbone.patch (or the timm name) accordingly"
    if not name and all(_is_deeper(other, fit.prefix) for other in (*fit.missing, *fit.unknown)):
        return "The two have different numbers of layers: set --backbone.depth, .blocks or .name to those of the file"
    if fit.unknown and not fit.missing and not name:
        return "If these tensors are not part of the network, save the file without them; else choose its --backbone"
    return (
        f"Choose the backbone that the file was made with: --backbone ({BACKBONES}), and --backbone.depth, .widths, "
        ".blocks, .size, .channels or .name"
    )


def _is_deeper(name: str, prefix: str) -> bool:
    return any(part.isdigit() for part in name.removeprefix(prefix).split("."))


def _groups(names: Iterable[str], prefix: str) -> str:
    """Names up to the part where they leave the prefix, with how many each stands for."""
    inside = prefix.split(".")[:-1]

    def branch(name: str) -> str:
        parts = name.split(".")
        shared = next((n for n, pair in enumerate(zip(inside, parts, strict=False)) if pair[0] != pair[1]), len(inside))
        return ".".join(parts[: shared + 1])

    counts = Counter(map(branch, names))
    shown = [f"{group} ({number})" for group, number in counts.most_common(4)]
    return ", ".join(shown) + _more(sum(number for _, number in counts.most_common()[4:]))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + _more(len(names) - 4)


def _more(number: int) -> str:
    return f" and {number} more" if number > 0 else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
