"""How the tensors of a file and those of a backbone go together, and what to do where they do not, in words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from resmom.called import called, either, setting
from resmom.nets.grids import POSITIONS
from resmom.nets.layouts import refused
from resmom.nets.positions import is_sincos, square_side
from resmom.which import BACKBONES, Network

TEACHERS = frozenset({"ema", "k", "key", "momentum", "target", "teacher"})
"""Words in a prefix that tell a momentum network's tensors: MoCo's encoder_k, solo-learn's momentum_backbone …"""


@dataclass(frozen=True)
class OptionNames:
    """The fields that a refusal says name a file and a backbone, by default those of a run."""

    init: str = "init"
    """The field of the file."""
    backbone: str = "backbone"
    """The field of the backbone, and below that of the stem of a ResNet, which is empty where none chooses it."""
    stem: str = "backbone.stem"
    normalisation: bool = True
    """Whether mean and std go with a file that does not say what it was trained to see."""
    settings: bool = True
    """Whether the settings of a backbone, and the size of a run's views, have options too."""
    unfit: str = ""
    """What is said of the backbones behind a list of them."""

    @property
    def file(self) -> str:
        """What names the file, as its reader knows it."""
        return called(self.init)

    @property
    def choice(self) -> str:
        """What names the backbone, with the names that it takes."""
        return f"{called(self.backbone)} ({BACKBONES}{self.unfit})"

    def named(self, name: str) -> str:
        """The backbone set to a name."""
        return setting(self.backbone, name)


OF_A_RUN = OptionNames()


@dataclass(frozen=True)
class Fit:
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


def _speaks_of(prefix: str) -> Network:
    return "student" if TEACHERS.isdisjoint(prefix.replace("_", ".").split(".")) else "teacher"


def nothing(path: Path, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], options: OptionNames) -> str:
    """That nothing in a file is named like a tensor of the backbone."""
    return (
        f"{path} holds {len(weights)} tensors, none of them named like one of this backbone's. Names there: "
        f"{_some(weights)}. Names here: {_some(own)}. "
        + (refused(weights) or f"Choose the backbone that the file was made with: {options.choice}")
    )


def refusal(
    path: Path,
    fit: Fit,
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    whose: str = "",
    options: OptionNames = OF_A_RUN,
) -> str:
    """How a file does not fit, and what to change. `whose`: who names its tensors so, where they were renamed."""
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
    looked = [f"looked under '{fit.prefix}'"] if fit.prefix else []
    looked += [f"its names are those of {whose}, and stand here as timm has them"] if whose else []
    where = f" ({'; '.join(looked)})" if looked else ""
    remedy = refused(weights) or _advice(fit, own, weights, options)
    return f"{path} does not fit this backbone{where}: " + ". ".join(parts) + ". " + remedy


def _advice(fit: Fit, own: Mapping[str, Tensor], weights: Mapping[str, Tensor], options: OptionNames) -> str:
    """What to change, as far as names and shapes tell."""
    name = fit.misshaped[0] if fit.misshaped else ""
    there, here = (weights[fit.found[name]], own[name]) if name else (torch.empty(0), torch.empty(0))
    another = fit.missing or fit.unknown or there.shape[:1] != here.shape[:1]  # no stem would make it fit
    if name == "conv1.weight" and options.stem and not another and there.shape[2:] != here.shape[2:]:
        if there.shape[-1] == 7:
            stem = setting(options.stem, "imagenet")
            return f"The file's first convolution is 7x7: use {stem} (and views of 64 pixels or more)"
        if there.shape[-1] == 3:
            stem = setting(options.stem, "small")
            return f"The file's first convolution is 3x3: use {stem}, or small_pad2 or small_pool"
    if any(other.endswith(".ls1.gamma") for other in fit.missing):
        way = (
            f"set {setting('backbone.layer_scale', 0)}"
            if options.settings
            else f"choose its {called(options.backbone)}"
        )
        return f"Blocks of the file do not scale what they add, as those of this backbone do: {way}"
    if any(other.endswith(".ls1.gamma") for other in fit.unknown):
        return (
            "Blocks in the file scale what they add, as DINOv2's do: "
            + (
                f"set {either('--backbone.layer-scale 1e-5', 'backbone.layer_scale=1e-5')}, or "
                if options.settings
                else ""
            )
            + f"use timm's network of that kind, such as {options.named('timm:vit_small_patch14_dinov2')} (with "
            "registers timm:vit_small_patch14_reg4_dinov2)"
        )
    if name == POSITIONS and there.ndim == 3:
        return _of_positions(there, here, weights.get(fit.found.get("patch_embed.proj.weight", "")), options)
    if "relative_position" in name:
        return "Its relative positions are of one size of image, and are not resampled: use that of the file"
    if "patch_embed" in name and there.shape[0] == here.shape[0]:
        way = f"name timm's network that has them, {options.named('timm:NAME')}"
        if options.settings:
            way = (
                f"set {setting('backbone.patch', there.shape[-1])} (or the timm name that has them), and "
                + either("an --image-size", "a side of the views (with_side of resmom.recipes.side)")
                + " that is a multiple of it"
            )
        return f"The file's patches have side {there.shape[-1]}, and patches are not resampled: {way}"
    if not name and all(_is_deeper(other, fit.prefix) for other in (*fit.missing, *fit.unknown)):
        way = f"set {called('backbone.depth')}, .blocks or .name to those of the file"
        return f"The two have different numbers of layers: {way if options.settings else f'choose {options.choice}'}"
    if fit.unknown and not fit.missing and not name:
        return (
            "If these tensors are not part of the network, save the file without them; else choose its "
            f"{called(options.backbone)}"
        )
    settings = ""
    if options.settings:
        settings = f", and {called('backbone.depth')}, .widths, .blocks, .size, .channels or .name"
    return f"Choose the backbone that the file was made with: {options.choice}{settings}"


def _of_positions(there: Tensor, here: Tensor, patches: Tensor | None, options: OptionNames) -> str:
    """What to do about positions that cannot be brought to the backbone's grid."""
    tokens = f"The file has positions for {there.shape[1]} tokens, this backbone for {here.shape[1]}"
    if is_sincos(here) and is_sincos(there):
        side = square_side(there.shape[1] - 1)
        size = "the image size of the file"
        if patches is not None and options.settings:
            pixels = side * patches.shape[-1]
            size = either(f"--image-size {pixels}", f"with_side(run, {pixels}) of resmom.recipes.side")
        elif patches is not None:
            size = setting("image_size", side * patches.shape[-1])
        return f"{tokens}: MoCo-v3's are fixed, computed for their grid and never resampled: use {size}"
    if is_sincos(here):
        return (
            f"{tokens}, MoCo-v3's, which are fixed, while those in the file were learned: use a backbone that learns "
            f"its positions, {options.named('dino-vit-small')} or timm:NAME"
        )
    way = f"choose the backbone that it was made with, {options.named('NAME')}"
    if options.settings:
        way = (
            f"set {called('backbone.image')} and the views' size (and {called('backbone.patch')}) to those of the "
            "file, or choose the backbone that it was made with"
        )
    return (
        f"{tokens}, and one cannot be resampled to the other (squares of patches are, behind as many other tokens): "
        f"{way}"
    )


def _is_deeper(name: str, prefix: str) -> bool:
    return any(part.isdigit() for part in name.removeprefix(prefix).split("."))


def groups(names: Iterable[str], prefix: str) -> str:
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
