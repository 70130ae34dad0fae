"""Which runs can train: what numbers may be, and which parts go together, each refusal with what to set instead."""

import math
from collections.abc import Collection, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from resmom import dist
from resmom.called import called, either, side_called, side_setter
from resmom.config import ConfigError, Run
from resmom.losses.residual import Residual
from resmom.methodconfig import groups_of, one_sided, pair_kinds, queue_of, sites_of, with_pairs
from resmom.methodnames import method_name
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import DinoViT, MoCoViT, SmallResNet, Timm, cut_of, patch_of, whole_sides
from resmom.train.optim import Adam, AdamW, Lars, OptimConfig, Sgd
from resmom.views.policy import SMALLEST, resized

MOST: dict[type, float] = {int: 2**31 - 1, float: 1e30}
"""Sizes of settings above which sums with them leave the range of what they are computed in: steps as whole numbers of
64 bits, rates and factors as float32."""


def check(run: Run, own_method: bool = False) -> None:
    """Refuse numbers that cannot train, and parts that do not go together. Raises ConfigError.

    `own_method`: the method is given from Python. Which views, sites and pairs it has only a step with it can tell.
    """
    for path, value in _numbers(run):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{called(path)} is {value}; it must be a finite number")
        most = MOST[float if isinstance(value, float) else int]  # numpy's are of kinds of their own
        if not -most <= value <= most and path != "train.seed":  # which has its own range
            raise ConfigError(f"{called(path)} is beyond any use: its size must be at most {most:.10g}")
    if run.optim.lr <= 0:
        raise ConfigError(f"{called('optim.lr')} is {run.optim.lr}; it must be above 0")
    _check_averages(run.optim)
    if not own_method:
        _check_method(run)
    match run.backbone:
        case SmallResNet(widths=widths) if not widths or min(widths) < 1:
            raise ConfigError(f"{called('backbone.widths')} is {widths}; give at least one width, each at least 1")
        case MoCoViT(image=image, patch=patch) | DinoViT(image=image, patch=patch):
            _check_patches(run, image, patch)
        case Timm(name=name) if patch_of(run.backbone) > 1:
            _check_whole(run, patch_of(run.backbone), f"the patch of timm's {name}, {patch_of(run.backbone)}")
        case _:
            pass
    _check_sizes(run)


def _check_averages(optim: OptimConfig) -> None:
    """Refuse moving averages of gradients that are none."""
    match optim:
        case Sgd(momentum=momentum) | Lars(momentum=momentum):
            if not 0 <= momentum < 1:
                raise ConfigError(
                    f"{called('optim.momentum')} is {momentum}; it must be at least 0 and below 1, and 0.9 is usual"
                )
        case AdamW(betas=betas) | Adam(betas=betas):
            if not all(0 <= beta < 1 for beta in betas):
                raise ConfigError(
                    f"{called('optim.betas')} are {betas}; they must be at least 0 and below 1, and 0.9 0.999 is usual"
                )


def _check_sizes(run: Run) -> None:
    """Refuse views that start so small that nothing is left to see, or to hide."""
    side, patch = run.policy.views[0].size, patch_of(run.backbone)
    for share in run.train.sizes:
        small = resized(run.policy, share, patch).views[0].size
        if small < min(SMALLEST, side):
            raise ConfigError(
                f"{called('train.sizes')} has {share:g}, of views of {side} pixels that is {small}; it must be at "
                f"least {SMALLEST} pixels: set it to {SMALLEST / side:.2g} or more"
            )
        if run.method.traits.patches and small < 2 * patch:
            raise ConfigError(
                f"{called('train.sizes')} has {share:g}, of views of {side} pixels that is a single patch of {patch}, "
                f"and {method_name(run.method)} hides some patches and shows others: set it to "
                f"{2 * patch / side:.2g} or more"
            )


def _check_patches(run: Run, image: int, patch: int) -> None:
    """Refuse views that a transformer does not take: the first have its size, local ones a whole number of patches."""
    if patch < 1:
        raise ConfigError(f"{called('backbone.patch')} is {patch}; it must be at least 1 pixel, and 16 is usual")
    if image < patch or image % patch:
        raise ConfigError(
            f"{called('backbone.image')} {image} is not a multiple of {called('backbone.patch')} {patch}; set "
            f"{side_called()} to {whole_sides(image, patch)}, or another {called('backbone.patch')}"
        )
    for number, view in enumerate(run.policy.views):
        if number < run.method.traits.views and view.size != image:
            raise ConfigError(
                f"{called('backbone.image')} is {image}, but view {number} has side {view.size}; set both with "
                f"{side_setter()}, or {called('backbone.image')} and {called('View.size')} so that they agree"
            )
    _check_whole(run, patch, f"{called('backbone.patch')} {patch}")


def _check_whole(run: Run, patch: int, named: str) -> None:
    """Refuse views that are no whole number of patches. `named`: the patch, in words."""
    for number, view in enumerate(run.policy.views):
        if view.size % patch:
            whole = number < run.method.traits.views
            remedy = side_called() if whole else called(f"policy.views.{number}.size")
            alike = "" if whole or number == len(run.policy.views) - 1 else ", and the views after it alike"
            raise ConfigError(
                f"view {number} has side {view.size}, which is not a multiple of {named}; set {remedy} to "
                f"{whole_sides(view.size, patch)}{alike}"
            )


def _check_method(run: Run) -> None:
    """Refuse views, parts of batches, queues and backbones that a method does not take, and a term it cannot have."""
    name, traits, views = method_name(run.method), run.method.traits, len(run.policy.views)
    if views < traits.views or (views > traits.views and not traits.more):
        few = f"at least {traits.views}" if traits.more else f"{traits.views}"
        raise ConfigError(f"{name} takes {few} views, policy.views has {views}")
    sides = [view.size for view in run.policy.views]
    if not traits.more and len(set(sides)) > 1:
        raise ConfigError(
            f"the views have sides of {' and '.join(map(str, sides))} pixels, and {name} compares views of one size; "
            f"set it for all with {side_setter()}, or {called('policy.views.0.size')} to .{views - 1}.size alike"
        )
    if not traits.micro_batches and 0 < run.train.micro_batch < run.train.batch:
        raise ConfigError(
            f"the loss of {name} is one of the whole batch, whose images it sets against each other as the student "
            f"sees them now, so it cannot be computed in parts: set {called('train.micro_batch')} to 0, and lower "
            f"{called('train.batch')} if the memory is too small"
        )
    if 0 < queue_of(run.method) < run.train.batch:
        raise ConfigError(
            f"{called('method.queue')} is {queue_of(run.method)}, {called('train.batch')} {run.train.batch}: it must "
            f"hold a batch at least; raise {called('method.queue')} or lower {called('train.batch')}"
        )
    if groups_of(run.method):
        _check_groups(run, groups_of(run.method))
    for what, sizes in (
        ("global", {view.size for view in run.policy.views[: traits.views]}),
        ("local", {view.size for view in run.policy.views[traits.views :]}),
    ):
        if traits.more and len(sizes) > 1:
            raise ConfigError(
                f"the {what} views of {name} (the first {traits.views} are the global ones) have the sides "
                f"{', '.join(map(str, sorted(sizes)))}; give them all one"
                + (f", with {side_setter()}" if what == "global" else "")
            )
    if run.residual.weight > 0:
        _check_residual(run)
    if traits.patches and cut_of(run.backbone) is None:
        raise ConfigError(
            f"{name} hides patches of the views, so it needs a Vision Transformer, and the backbone is "
            f"{type(run.backbone).__name__}; set "
            + either(
                "--backbone dino-vit-small (or -micro, -tiny, -base, -large), vit-small or a Vision Transformer of "
                "timm's, such as timm:vit_small_patch16_224",
                "backbone to a DinoViT, a MoCoViT or a Vision Transformer of timm's, such as "
                "Timm('vit_small_patch16_224')",
            )
        )


def _check_groups(run: Run, images: int) -> None:
    """Refuse groups of BatchNorm that the batch, its part on each device or a micro-batch is not made of."""
    batch, devices, micro = run.train.batch, dist.announced(), run.train.micro_batch
    off = f"; or set {called('method.shuffle_bn')} to 0, for BatchNorm over the whole batch"
    if images < 2:
        raise ConfigError(
            f"{called('method.shuffle_bn')} is {images}; it must be 0 (off) or the images of a group, at least 2"
        )
    if batch < 2 * images or batch // devices % images:
        share = f", {batch // devices} on each of {devices} devices" if devices > 1 else ""
        raise ConfigError(
            f"{called('method.shuffle_bn')} is {images}, {called('train.batch')} {batch}{share}: BatchNorm needs whole "
            f"groups of {images} images, and two of them at least, to shuffle keys among them; set "
            f"{called('method.shuffle_bn')} to a part that goes into the batch, or {called('train.batch')} to a "
            f"multiple of {max(2, devices) * images}" + off
        )
    if micro % images:
        raise ConfigError(
            f"{called('method.shuffle_bn')} is {images}, {called('train.micro_batch')} {micro}: a part of the batch "
            f"must be whole groups of {images} images; set {called('train.micro_batch')} to a multiple of {images}"
            + off
        )


def check_term(run: Run, given: Collection[str] = ()) -> None:
    """Refuse what the residual term can never be with the method, also while its weight is 0: else it would be found
    only when somebody turns the weight on. Likewise settings of a teacher where there is none.

    A default says nothing, and may have no place in a method: refused is what has another value, or was `given`, by
    names such as `residual.site`. Raises ConfigError.
    """
    stated = [
        name
        for name, default in (("site", Residual.site), ("pairs", Residual.pairs), ("pairing", Residual.pairing))
        if f"residual.{name}" in given or (run.method.traits.teacher and getattr(run.residual, name) != default)
    ]
    if not run.method.traits.teacher:
        if stated:
            raise ConfigError(_no_teacher(run, f"leave {called(f'residual.{stated[0]}')} out"))
        if moved := sorted(name for name in given if name.startswith("ema.")):
            raise ConfigError(
                f"{method_name(run.method)} has no teacher, which {called(moved[0])} would move: leave it out, or "
                "choose a method with a teacher"
            )
        return
    if "site" in stated:
        _check_site(run)
    if "pairs" in stated:
        _check_pairs(run)
    if "pairing" in stated:
        _check_pairing(run)


def _check_residual(run: Run) -> None:
    """Refuse a residual term where student and teacher never meet on what it compares."""
    if not run.method.traits.teacher:
        raise ConfigError(_no_teacher(run, f"set {called('residual.weight')} to 0"))
    _check_site(run)
    _check_pairs(run)
    if run.method != with_pairs(run.method):
        raise ConfigError(
            f"in {method_name(run.method)} the teacher does not see the student's view, so the residual term has "
            f"nothing to compare: set {called('method.same_view')} (one more teacher forward a step), or "
            f"{called('residual.weight')} to 0"
        )
    _check_pairing(run)


def _no_teacher(run: Run, remedy: str) -> str:
    return (
        f"{method_name(run.method)} has no teacher, so there is no gap to close: {remedy}, or choose a method with a "
        "teacher"
    )


def _check_site(run: Run) -> None:
    site, sites = run.residual.site, sites_of(run.method)
    if site in sites:
        return
    told = (
        f"{method_name(run.method)} as it is set has no site {site}; {called('residual.site')} is one of "
        f"{', '.join(sites)} for it"
    )
    match run.method, site:
        case MoCoV3(predictor_layers=0), "p":
            told += f"; p needs a predictor, {called('method.predictor_layers')} of 1 or more"
        case Dinov2(patch_pairs=True), "logits":
            told += (
                f"; for logits leave {called('method.patch_pairs')} out: of a pair of patches only those that are "
                "hidden meet the prototypes"
            )
        case _:
            pass
    raise ConfigError(told)


def _check_pairs(run: Run) -> None:
    pairs, kinds = run.residual.pairs, ("all", *pair_kinds(run.method))
    if pairs in kinds:
        return
    told = (
        f"{method_name(run.method)} as it is set hands out no same-view pairs '{pairs}'; {called('residual.pairs')} is "
        f"one of {', '.join(kinds)} for it"
    )
    match run.method, pairs:
        case (Dino() | Ibot() | Dinov2(), "local") | (Ibot() | Dinov2(), "patch"):
            told += f"; '{pairs}' needs {called(f'method.{pairs}_pairs')}"
        case _:
            pass
    raise ConfigError(told)


def _check_pairing(run: Run) -> None:
    if run.residual.pairing == "cross" and one_sided(run.method) is not None:
        raise ConfigError(
            f"{called('residual.pairing')} 'cross' needs the student on both views, but in {method_name(run.method)} "
            "it sees one; leave it at 'same'"
        )


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    """All numbers in a tree of dataclasses and tuples, with their paths."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _numbers(part, f"{path}.{number}")
    elif is_dataclass(value):
        for f in fields(value):
            yield from _numbers(getattr(value, f.name), f"{path}.{f.name}" if path else f.name)
