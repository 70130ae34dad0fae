"""What a derived run's networks are and see: the side of the views, the backbone, the crops, the normalisation.

Each with its reason; docs/automatic.md has the rules, docs/results/settings.md what they rest on.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from resmom.called import either, setting
from resmom.config import ConfigError
from resmom.methodnames import method_name
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, cut_of
from resmom.recipes.facts import Facts
from resmom.recipes.side import LEAST_PATCHES, fitted, side_in_patches, with_image
from resmom.views.policy import IMAGENET, Numbers, View

SMALL = 64
"""Side of views up to which a ResNet on a GPU has the stem for small images."""
SIDES = (32, 48, 64, 96, 128, 160, 192, 224)


def side_of(facts: Facts) -> tuple[int, str]:
    """The side of the views in pixels."""
    if facts.view:
        derived, _ = side_of(replace(facts, view=0))
        return facts.view, f"asked for; derived: {derived}"
    if isinstance(facts.backbone, MoCoViT) and facts.init:
        return facts.backbone.image, "the size that the transformer was made for, to which its positions are fixed"
    if facts.seen is not None and facts.seen.fixed:
        return facts.seen.side, f"what the network in {facts.init} was trained at, as the file says"
    cap = 224 if facts.gpu else (96 if facts.init else 64)
    if facts.backbone is not None and (facts.init or isinstance(facts.backbone, Timm)):
        cut = cut_of(facts.backbone)
        if cut is not None:
            return _side_in_patches(facts, cap, *cut)
    side = max(s for s in SIDES if s == SIDES[0] or s <= min(cap, 1.15 * facts.side))
    if side >= facts.side / 1.15:
        return side, f"the images' own size (median of the shorter sides {facts.side} pixels)"
    if side < cap:
        return side, f"the next smaller size to work with; the images have {facts.side} pixels (median, shorter sides)"
    where = "a GPU" if facts.gpu else "a CPU"
    return side, f"the images are larger (median {facts.side} pixels), but {where} sees most for its time at this size"


def _side_in_patches(facts: Facts, cap: int, image: int, patch: int) -> tuple[int, str]:
    """The side where the patches are given: by weights to start from, or by the name of a model of timm's."""
    side = side_in_patches(facts.side, cap, image, patch)
    many = f"{side // patch} x {side // patch} patches of {patch}"
    if side == image:
        return side, f"{many}: the size that the transformer was made for"
    moved = f"; its positions, for {image // patch} x {image // patch}, are resampled to these" if facts.init else ""
    if side == LEAST_PATCHES * patch and side > min(facts.side, cap):
        return side, f"{many}, as few as are worth while{moved}"
    if facts.side < cap:
        return side, f"{many}, near the images' own size (median of the shorter sides {facts.side} pixels){moved}"
    where = "a GPU" if facts.gpu else "a CPU"
    return side, f"{many}: {where} sees most for its time at about this size{moved}"


def backbone_for(facts: Facts, side: int) -> tuple[BackboneConfig, str]:
    """The backbone, made for views of that side. Raises ConfigError for channels that none of a GPU's takes."""
    if facts.backbone is not None and facts.init:
        return with_image(facts.backbone, side), f"the architecture found in {facts.init}"
    channels = len(facts.mean)
    match facts.backbone:
        case MoCoViT() | DinoViT():
            return fitted(facts.backbone, side), "the one asked for; image and patch by the size of the views"
        case ResNet() if facts.gpu and side <= SMALL:
            return replace(facts.backbone, stem="small"), "the one asked for; a stem that keeps small images' size"
        case SmallResNet():
            return replace(facts.backbone, channels=channels), "the one asked for"
        case ResNet():
            return facts.backbone, "the one asked for"
        case Timm():
            made = with_image(facts.backbone, side)
            return made, "the one asked for" + ("; made for the views" if made != facts.backbone else "")
    if facts.method.traits.patches:
        size: Literal["micro", "small"] = "small" if facts.gpu else "micro"
        name = method_name(facts.method)
        return fitted(DinoViT(size), side), f"{name} hides patches of a Vision Transformer"
    if not facts.gpu:
        return SmallResNet((16, 32, 64, 128), channels=channels), "no GPU: a small ResNet sees many more images"
    if channels != 3:
        raise ConfigError(
            f"the images have {channels} channel(s), and only SmallResNet takes other numbers than 3; convert the "
            f"images to RGB, or use {setting('device', 'cpu')}"
        )
    if side <= SMALL:
        return ResNet(18, stem="small"), "small images: ResNet-18 with a stem that keeps their size"
    if facts.images < 100_000:
        return ResNet(18), "fewer than 100,000 images: ResNet-18"
    return ResNet(50), "100,000 images or more: ResNet-50"


def start_words(facts: Facts) -> tuple[str, str]:
    """What the networks start from, and why."""
    if facts.init:
        return Path(facts.init).name, "the weights asked for"
    return (
        "random weights",
        "none were named; "
        + either("--init FILE or --init timm:NAME", "init=FILE or init='timm:NAME'")
        + " starts from trained ones (docs/export.md)",
    )


def view_for(facts: Facts, side: int) -> tuple[View, str]:
    """Crops, flips and colours of a view."""
    colour = not facts.grey and len(facts.mean) == 3
    view = View(
        size=side,
        scale=(0.2, 1.0),
        interpolation="bilinear",
        saturation=0.4 if colour else 0.0,
        hue=0.1 if colour else 0.0,
        grey=0.2 if colour else 0.0,
        blur=0.5 if side > 64 else 0.0,
        sigma=(0.1, 2.0 * side / 224) if side > 64 else (0.1, 2.0),
    )
    parts = ["flips and jitter of brightness and contrast"]
    parts += ["of colour too" if colour else "no jitter of colour: the images are grey"]
    parts += ["blur in half of them" if side > 64 else "no blur: the images are small"]
    return view, ", ".join(parts)


def orientation_words(facts: Facts) -> str:
    """Why the views are flipped and turned as they are."""
    if facts.orientation == "any":
        return "asked for; derived: upright"
    other = either("--orientation any", "with_orientation(run, 'any') of resmom.recipes.orientation")
    return f"most images have an up; {other} is for those that have none (from above, through a microscope)"


def normalisation_for(facts: Facts) -> tuple[Numbers, Numbers, str]:
    """Mean and deviation per channel."""
    if facts.seen is not None and len(facts.seen.mean) == len(facts.mean):
        return facts.seen.mean, facts.seen.std, f"what the network in {facts.init} was trained with"
    if facts.init and len(facts.mean) == 3:
        return *IMAGENET, "ImageNet's, which the weights you start from are most likely used to"
    return facts.mean, facts.std, "of a sample of the images"
