"""Settings derived from the data and the machine, each with its reason: what `resmom pretrain` runs without a recipe.

The table of the rules, and the measurements behind each, stand in docs/automatic.md; `benchmarks/settings.py` repeats
the measurements. Change a rule here (of method, teacher and term in `teaching`), there, and in the table together.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from resmom.config import ConfigError, Log, Run
from resmom.data.order import steps_per_epoch
from resmom.evaluate.online import Online
from resmom.methodconfig import MethodConfig, site_for
from resmom.methods.ibot import Ibot
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, cut_of
from resmom.recipes.facts import Facts, Limits
from resmom.recipes.orientation import orientation_of, with_orientation
from resmom.recipes.side import LEAST_PATCHES, fitted, side_in_patches, with_image
from resmom.recipes.suited import optim_for, suited, views_for
from resmom.recipes.teaching import ema_for, measured, mocov3_for, term_for
from resmom.recipes.words import method_words, named, numbers, passes
from resmom.train.optim import AdamW, Lars, OptimConfig, Sgd
from resmom.train.plan import Train
from resmom.views.policy import IMAGENET, Numbers, Policy, View

AUTOMATIC = "automatic"
"""What a derived run has in place of a recipe's name."""
LEAST_IMAGES = 64
"""Fewer images make no batch with enough negatives."""
LEAST_BATCH = 32
"""A smaller batch has too few negatives: where memory does not hold this one, its graph is cut."""
LEAST_SIDE = 16
"""Pixels of the shorter side below which crops show nothing."""
SMALL = 64
"""Side of views up to which a ResNet on a GPU has the stem for small images."""
SIDES = (32, 48, 64, 96, 128, 160, 192, 224)
MEASURES = 20
"""Checkpoints and measurements of health over a run, where they are cheap beside it."""


@dataclass(frozen=True)
class Choice:
    """One derived setting: the option or part of the run it is, its value in words, and why.

    `image_size` is the option `--image-size`, the side of all views that are no local ones, `orientation` the option
    `--orientation`, by which all views are flipped and turned.
    """

    option: str
    value: str
    reason: str

    def part(self, run: Run) -> object:
        """That part of a run, to see whether it was kept."""
        if self.option == "orientation":
            return orientation_of(run.policy)
        value: object = run
        option = "policy.views.0.size" if self.option == "image_size" else self.option
        for name in option.split("."):
            value = value[int(name)] if isinstance(value, tuple) else getattr(value, name)
        return value


@dataclass(frozen=True)
class Automatic:
    """The derived run and the reasons for its settings."""

    run: Run
    choices: tuple[Choice, ...]


def automatic(facts: Facts, limits: Limits | None = None) -> Automatic:
    """Derive a whole run, within limits if a trial found some.

    Raises ConfigError, with the rule, for data that no run can be made for.
    """
    if facts.images < LEAST_IMAGES:
        raise ConfigError(
            f"{facts.images} images are too few: a contrastive method compares each image with the others of its "
            f"batch, which needs at least {LEAST_IMAGES}; add images, or start from an encoder trained on other ones"
        )
    if facts.side < LEAST_SIDE:
        raise ConfigError(
            f"half of the images have a side below {facts.side + 1} pixels; at least {LEAST_SIDE} are needed"
        )
    limits = limits or Limits()
    choices: list[Choice] = []

    def chosen(option: str, value: object, reason: str) -> None:
        choices.append(Choice(option, str(value), reason))

    side, why = _side(facts)
    chosen("image_size", side, why)
    backbone, why = _backbone(facts, side)
    chosen("backbone", named(backbone), why)
    batch, batch_why = _batch(facts, limits)
    steps, steps_why = _steps(facts, limits, batch)
    over = steps / steps_per_epoch(facts.images, batch)
    known = measured(backbone, facts.init, facts.own or facts.method is not None)
    method, why = _method(facts, backbone, batch, over, known)
    chosen("method", method_words(method), why)
    chosen("train.batch", batch, batch_why)
    chosen("train.steps", f"{steps} ({passes(over)})", steps_why)
    optim, why = _optim(facts, backbone)
    optim = optim_for(method, optim)
    if isinstance(optim, Lars):
        why = "LARS, whose steps do not depend on the size of the loss"
    chosen("optim.lr", f"{optim.lr:g} per 256 images ({type(optim).__name__})", why)
    ema, why = ema_for(known, steps)
    if method.traits.teacher:
        chosen("ema.momentum", f"{ema.momentum:.5g} rising to 1", why)
    view, why = _view(facts, side)
    chosen("policy.views", f"crops from {view.scale[0]:g} of the area", why)
    chosen("orientation", facts.orientation, _orientation(facts))
    mean, std, why = _normalisation(facts)
    chosen("policy.mean", f"{numbers(mean)}, std {numbers(std)}", why)
    precision, why = _precision(facts)
    chosen("train.precision", precision, why)
    term, why = term_for(known, site_for(method))
    if method.traits.teacher:
        chosen("residual.weight", f"{term.weight:g}", why)
    run = Run(
        recipe=AUTOMATIC,
        init=facts.init,
        method=method,
        residual=term,
        backbone=backbone,
        policy=Policy(views_for(method, view), mean, std),
        optim=optim,
        ema=ema,
        train=Train(steps=steps, batch=batch, warmup_steps=warmup(steps), precision=precision),
        online=Online(lr=0.3),
        log=_log(steps, steps_per_epoch(facts.images, batch), limits),
    )
    return Automatic(with_orientation(run, facts.orientation), tuple(choices))


def _method(facts: Facts, backbone: BackboneConfig, batch: int, passes: float, known: bool) -> tuple[MethodConfig, str]:
    if facts.method is not None:
        return suited(facts.method, backbone, facts.images, batch, passes)
    reason = "contrastive, needs no large batch at this temperature, and its loss has a chance level to be judged by"
    return mocov3_for(backbone, known), reason


def _log(steps: int, per_epoch: int, limits: Limits) -> Log:
    """How often is measured, and kept: one step more than an even share, so that none falls on the last checkpoint."""
    measured = max(1, round(steps / (limits.measures or MEASURES))) / per_epoch
    kept = math.ceil((steps + 1) / (limits.kept + 1)) / per_epoch if limits.kept else 0.0
    return Log(line_steps=max(1, min(20, steps // 200)), save_epochs=measured, keep_epochs=kept, knn_epochs=measured)


def warmup(steps: int) -> int:
    """Steps of the warm-up: a twentieth of the run, as 10 of 200 epochs in the literature, and no more than 1,000."""
    return min(1000, steps // 20)


def _side(facts: Facts) -> tuple[int, str]:
    if facts.view:
        derived, _ = _side(replace(facts, view=0))
        return facts.view, f"asked for; derived: {derived}"
    if isinstance(facts.backbone, MoCoViT) and facts.init:
        return facts.backbone.image, "the size that the transformer was made for, to which its positions are fixed"
    if facts.seen is not None:
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


def _backbone(facts: Facts, side: int) -> tuple[BackboneConfig, str]:
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
    if isinstance(facts.method, Ibot):
        size: Literal["micro", "small"] = "small" if facts.gpu else "micro"
        return fitted(DinoViT(size), side), "iBOT hides patches of a Vision Transformer"
    if not facts.gpu:
        return SmallResNet((16, 32, 64, 128), channels=channels), "no GPU: a small ResNet sees many more images"
    if channels != 3:
        raise ConfigError(
            f"the images have {channels} channel(s), and only SmallResNet takes other numbers than 3; convert the "
            "images to RGB, or use --device cpu"
        )
    if side <= SMALL:
        return ResNet(18, stem="small"), "small images: ResNet-18 with a stem that keeps their size"
    if facts.images < 100_000:
        return ResNet(18), "fewer than 100,000 images: ResNet-18"
    return ResNet(50), "100,000 images or more: ResNet-50"


def _batch(facts: Facts, limits: Limits) -> tuple[int, str]:
    if facts.batch:
        derived, _ = _batch(replace(facts, batch=0), limits)
        return facts.batch, f"asked for; derived: {derived}"
    batch, why = _whole_batch(facts, limits)
    if over := batch % facts.processes:
        less = batch - over
        return (
            less if less >= LEAST_BATCH else less + facts.processes,
            f"{why}; equal parts for {facts.processes} processes",
        )
    return batch, why


def _whole_batch(facts: Facts, limits: Limits) -> tuple[int, str]:
    """The batch, whether or not the processes can share it."""
    most = 256 if facts.gpu else 128
    if LEAST_BATCH <= limits.batch < most:
        return limits.batch, "as many images as the memory holds at once"
    if 0 < limits.batch < LEAST_BATCH:
        return LEAST_BATCH, f"the least that has enough negatives, though the memory holds {limits.batch} at once"
    batch = most
    while batch > LEAST_BATCH and batch > facts.images // 4:
        batch //= 2
    if batch == most:
        return batch, "enough negatives, and more steps than a larger one for the same images"
    if batch > facts.images // 4:
        return batch, f"the least that has enough negatives, though more than a quarter of the {facts.images} images"
    return batch, f"a quarter of the {facts.images} images at most, so that batches differ"


def _steps(facts: Facts, limits: Limits, batch: int) -> tuple[int, str]:
    if 0 < limits.steps < facts.steps:
        return limits.steps, f"what fits into the given time at the speed measured just now; asked for: {facts.steps}"
    if facts.steps:
        derived, _ = _steps(replace(facts, steps=0), limits, batch)
        return facts.steps, f"asked for; derived: {derived}"
    if limits.steps:
        return limits.steps, "what fits into the given time at the speed measured just now"
    seen = 20_000_000 if facts.gpu else 1_000_000
    passes = min(800.0, max(seen / facts.images, 20.0))
    steps = max(500, math.ceil(passes * facts.images / batch))
    if facts.init:
        return max(500, steps // 4), "a quarter of a run from random weights: the encoder knows much already"
    if passes == 800.0:
        return steps, "800 passes at most: beyond that a small set is only learnt by heart"
    return steps, f"about {seen // 1_000_000} million images seen; --time fits the run to a budget instead"


def _optim(facts: Facts, backbone: BackboneConfig) -> tuple[OptimConfig, str]:
    convolutional = isinstance(backbone, ResNet | SmallResNet) or (
        isinstance(backbone, Timm) and "resnet" in backbone.name
    )
    if convolutional:
        start = "; a tenth of it, since the run starts from trained weights" if facts.init else ""
        return Sgd(lr=0.03 if facts.init else 0.3, weight_decay=1e-4), f"SGD, as most published runs of ResNets{start}"
    start = "; four tenths of it, since the run starts from trained weights" if facts.init else ""
    lr, lower, source = 1.5e-4, 6e-5, "MoCo-v3's for transformers"
    if isinstance(backbone, MoCoViT | DinoViT) and backbone.size == "micro":
        lr, lower, source = 2e-3, 8e-4, "level with the best of four rates, in short runs with patches of 8"
    if isinstance(backbone, Timm):
        source += f", not measured for {backbone.name}"
    return AdamW(lr=lower if facts.init else lr, weight_decay=0.1), source + start


def _view(facts: Facts, side: int) -> tuple[View, str]:
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


def _orientation(facts: Facts) -> str:
    if facts.orientation == "any":
        return "asked for; derived: upright"
    return "most images have an up; --orientation any is for those that have none (from above, through a microscope)"


def _normalisation(facts: Facts) -> tuple[Numbers, Numbers, str]:
    if facts.seen is not None and len(facts.seen.mean) == len(facts.mean):
        return facts.seen.mean, facts.seen.std, f"what the network in {facts.init} was trained with"
    if facts.init and len(facts.mean) == 3:
        return *IMAGENET, "ImageNet's, which the weights you start from are most likely used to"
    return facts.mean, facts.std, "of a sample of the images"


def _precision(facts: Facts) -> tuple[Literal["fp32", "bf16"], str]:
    if facts.fast_bf16:
        return "bf16", "this machine computes bfloat16 faster than float32"
    return "fp32", "this machine has no fast bfloat16"
