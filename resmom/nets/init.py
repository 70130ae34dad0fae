"""Weights to start from: a backbone's tensors found in a file, whoever wrote it and under whatever names they lie."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from resmom.nets.backbones import MOCO_VIT, Backbone
from resmom.nets.fit import OF_A_RUN, Fit, OptionNames, groups, nothing, refusal
from resmom.nets.grids import POSITIONS, Grid, brought, grid_of, heads_of, source_of
from resmom.nets.layouts import namings, renamed
from resmom.nets.positions import is_sincos
from resmom.nets.weightfile import WeightsError, read_weights, uncompiled
from resmom.which import Network

HEADS = frozenset(
    {"classifier", "classifiers", "contrastive", "criterion", "decoder", "fc", "head", "heads", "linear", "logit"}
    | {"logits", "loss", "mask", "masked", "mlp", "pooler", "prediction", "predictor", "probe", "projection"}
    | {"projector", "prototypes", "queue", "temperature"}
)
"""Words in the first part of a tensor's name that tell it is no part of a backbone."""

_COUNTER = "num_batches_tracked"
"""Absent from files of old; nothing depends on it while BatchNorm has a momentum."""


class MisfitError(WeightsError):
    """The file is sound, but its tensors are not this backbone's by name, number or shape."""


@dataclass(frozen=True)
class InitWeights:
    """What was taken from a file: so many tensors whose names began with `prefix`, and what stayed behind.

    `whose`: who names them so, where they had to be renamed. `resampled`: what became of positions of another grid of
    patches, in words; empty where they were taken as they are.
    """

    path: Path
    prefix: str
    tensors: int
    left_out: tuple[str, ...]
    whose: str = ""
    resampled: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        where = f" under '{self.prefix}'" if self.prefix else ""
        told = f"{self.tensors} tensors of the backbone from {self.path}{where}"
        told += f", whose names there are those of {self.whose}" if self.whose else ""
        told += f"; {self.resampled}" if self.resampled else ""
        return f"{told}; not used: {groups(self.left_out, self.prefix)}" if self.left_out else told


def load_backbone(
    backbone: nn.Module, path: str | Path, network: Network = "student", options: OptionNames = OF_A_RUN
) -> InitWeights:
    """Put a file's weights into a backbone; names are matched under the prefix where *all* of its tensors lie.

    Where a file holds several such networks (a momentum method's checkpoint), the one that `network` says is taken.
    Names of others (`layouts`) become timm's, and learned positions of another grid of patches are resampled (`grids`).
    Tensors of classifiers and heads may be left over, and are listed. Nothing is written unless everything fits: raises
    MisfitError, a WeightsError, if a tensor is missing, has another shape, or if the file's network has further parts,
    and WeightsError if one is not finite. What to change is told by the names of `options`.
    """
    path = Path(path)
    raw = {uncompiled(name): value for name, value in read_weights(path).items()}
    body = backbone.body if isinstance(backbone, Backbone) else backbone
    own, grid = body.state_dict(), grid_of(body)
    weights, whose, best = raw, "", _best(own, raw, network, grid)
    if (best is None or best.differences) and (other := renamed(raw)) is not None:
        found = _best(own, other.weights, network, grid)
        if found is not None and (best is None or found.rank(network) < best.rank(network)):
            weights, whose, best = other.weights, other.whose, found
    if best is None:
        raise MisfitError(nothing(path, own, weights, options))
    if best.differences:
        raise MisfitError(refusal(path, best, own, weights, whose, options))
    state = {name: weights[best.found[name]] if name in best.found else value for name, value in own.items()}
    _check_kind(path, body, own, state, options)
    state, resampled = (state, "") if grid is None else brought(state, grid)
    _check_finite(path, state)
    body.load_state_dict(state, strict=True)
    used = set(best.found.values())
    left_out = tuple(sorted(name for name in weights if name not in used))
    return InitWeights(path, best.prefix, len(used), left_out, whose, resampled)


def _best(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], network: Network, grid: Grid | None) -> Fit | None:
    """The place in the file that fits best; None where no tensor is named like one of the backbone's."""
    return min(_fits(own, weights, grid), key=lambda fit: fit.rank(network), default=None)


def _fits(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], grid: Grid | None) -> Iterator[Fit]:
    """Every place in the file where tensors are named like the backbone's."""
    places: dict[str, list[str]] = {}  # the end of a name -> what stands before it
    for name in weights:
        parts = name.split(".")
        for cut in range(len(parts)):
            places.setdefault(".".join(parts[cut:]), []).append("".join(part + "." for part in parts[:cut]))
    for names in namings(own):
        prefixes = Counter(prefix for wanted in names.values() for prefix in places.get(wanted, []))
        for prefix, _ in sorted(prefixes.most_common(16), key=lambda item: len(item[0])):
            yield _fit(own, weights, names, prefix, grid)


def _fit(
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    names: Mapping[str, str],
    prefix: str,
    grid: Grid | None,
) -> Fit:
    found = {name: prefix + there for name, there in names.items() if prefix + there in weights}
    missing = tuple(name for name in own if name not in found and not name.endswith(_COUNTER))

    def fits(name: str, there: Tensor) -> bool:
        if name == POSITIONS and grid is not None:
            return source_of(there, grid, own[name].shape[-1]) is not None
        return there.shape == own[name].shape

    misshaped = tuple(name for name, there in found.items() if not fits(name, weights[there]))
    known = set(found.values())
    rest = (name for name in weights if name.startswith(prefix) and name not in known)
    unknown = tuple(name for name in rest if not _is_head(name.removeprefix(prefix)))
    return Fit(prefix, found, missing, misshaped, unknown)


def _is_head(name: str) -> bool:
    """Whether a name (without prefix) tells a part that no backbone has. A pooling's norm, timm's fc_norm, is one's."""
    first = name.split(".")[0]
    return first != "fc_norm" and not HEADS.isdisjoint(first.split("_"))


def _check_kind(
    path: Path, body: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], options: OptionNames
) -> None:
    """Refuse another kind of Vision Transformer of the same shapes: the number of heads is in none of them, but MoCo-v3
    has fixed positions, and all others learn theirs."""
    if POSITIONS not in own:
        return
    here, there = own[POSITIONS], state[POSITIONS]
    if is_sincos(here):
        if not torch.allclose(there.float(), here, atol=1e-4 if there.dtype == here.dtype else 5e-3):
            raise WeightsError(
                f"{path} has the shapes of this backbone but other positions than MoCo-v3's fixed ones, so it is "
                "another kind of ViT, maybe with another number of heads; load it into timm's model of its "
                f"kind, for instance {options.named('timm:vit_small_patch16_224')}"
            )
        return
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    theirs = {(width, blocks): heads for width, blocks, heads in MOCO_VIT.values()}.get((there.shape[-1], depth))
    ours = heads_of(body)
    if None not in (theirs, ours) and theirs != ours and is_sincos(there):
        raise WeightsError(
            f"{path} has MoCo-v3's fixed positions, and so {theirs} heads, where this backbone has {ours}: use "
            f"{options.named('vit-small')} or the like, which are MoCo-v3's"
        )


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    for name, value in state.items():
        if not value.isfinite().all():
            raise WeightsError(f"{path}: {name} has values that are not finite; the run that wrote it had diverged")
