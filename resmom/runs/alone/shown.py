"""What images are shown to weights without a run: as asked for, as their file says, or as is usual."""

from resmom.called import called
from resmom.config import ConfigError
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.nets.fit import OptionNames
from resmom.recipes.facts import Seen
from resmom.recipes.words import numbers
from resmom.runs.initial.published import seen_as
from resmom.views.policy import IMAGENET, Numbers, Policy, View

AREAS = (0.08, 1.0)
"""Of the crops by which a classifier is trained with them: torchvision's RandomResizedCrop as it is."""
MADE = "`resmom export --init FILE --mean … --std … --out FOLDER`"
"""What makes a file that says its own normalisation, where no option of a command does."""
SMALL_SIDE = 32
"""Pixels that the small stems are made for: those of CIFAR's images."""


def usual(config: BackboneConfig | None) -> tuple[Seen, str]:
    """What networks of a kind are usually shown, and who says so. `config` is None for a module of the user's own."""
    match config:
        case Timm(name=name, image=image):
            return _timm(name, image)
        case DinoViT(image=image):
            return Seen(*IMAGENET, image, "bicubic"), "as DINO's authors evaluate on ImageNet"
        case MoCoViT(image=image):
            return Seen(*IMAGENET, image, "bilinear"), "as MoCo-v3's authors evaluate on ImageNet"
        case SmallResNet() | ResNet(stem="small" | "small_pad2" | "small_pool"):
            return Seen(
                *IMAGENET, SMALL_SIDE, "bilinear"
            ), "the size small stems are made for, ImageNet's normalisation"
        case ResNet() | None:
            return Seen(*IMAGENET, 224, "bilinear"), "as is usual with ImageNet"


def _timm(name: str, image: int | None) -> tuple[Seen, str]:
    """As the default configuration of the architecture has it."""
    import timm

    found = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if found is None:
        return Seen(*IMAGENET, image or 224, "bilinear"), "as is usual with ImageNet"
    return seen_as(found, image or int(found.input_size[-1])), f"timm's default configuration of {name}"


def shown(
    said: Seen | None,
    otherwise: tuple[Seen, str],
    side: int | None,
    mean: Numbers,
    std: Numbers,
    options: OptionNames,
) -> tuple[Policy, str]:
    """One view to show images with, and a sentence on where each part of it comes from.

    `said`: by the file; `otherwise`: what is usual, and who says so; `side`, `mean` and `std`: what was asked for, None
    and empty for nothing. The sentence names what takes the place of an assumption, of the `options` there are. Raises
    ConfigError for numbers that are no normalisation.
    """
    if bool(mean) != bool(std):
        raise ConfigError(
            f"{called('mean')} and {called('std')} go together: give both, one number per channel of pixels in [0, 1]"
        )
    usually, whose = otherwise
    own, source = (usually, f"assumed, {whose}") if said is None else (said, "as the file says")
    resize, resized = (usually.resize, f"assumed, {whose}") if own.resize is None else (own.resize, source)
    assert resize is not None  # what is usual is known
    given = "as asked for"
    try:
        view = View(side or own.side, AREAS, interpolation=resize)
        policy = Policy((view,), mean or own.mean, std or own.std)
    except ValueError as error:
        raise ConfigError(f"{called('mean')} and {called('std')}: {error}") from error
    normal = f"normalised by mean {numbers(policy.mean)} and standard deviation {numbers(policy.std)}"
    parts = [
        (f"images of {policy.views[0].size} pixels", given if side else source),
        (f"resized {resize}", resized),
        (normal, given if mean else source),
    ]
    return policy, _by_source(parts) + _instead(options, *(parts[at][1].startswith("assumed") for at in range(3)))


def _by_source(parts: list[tuple[str, str]]) -> str:
    """The parts, those of one source together."""
    grouped: dict[str, list[str]] = {}
    for words, source in parts:
        grouped.setdefault(source, []).append(words)
    return "; ".join(f"{', '.join(words)}: {source}" for source, words in grouped.items())


def _instead(options: OptionNames, side: bool, resize: bool, normal: bool) -> str:
    """How to say otherwise, in brackets, where any of the three is assumed."""
    if options.normalisation:
        if not (side or resize or normal):
            return ""
        return f" ({called('image_size')}, {called('mean')} and {called('std')} say otherwise)"
    ways = [f"{called('image_size')} says otherwise"] if side else []
    ways += [f"a file of {MADE} has another normalisation"] if normal else []
    return f" ({'; '.join(ways)})" if ways else ""
