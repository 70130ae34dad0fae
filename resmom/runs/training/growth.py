"""Views that grow over a run (`train.sizes`): the policy at each size, and what its pixels are beside full size."""

from itertools import pairwise
from typing import cast

import torch
from torch import nn

from resmom.called import called, either, setting
from resmom.config import ConfigError, Run
from resmom.nets.backbones import Timm, cut_of, unseen_of, whole_sides
from resmom.nets.given import GivenBackbone
from resmom.views.policy import Policy, resized


def policies(run: Run, multiple: int) -> tuple[Policy, ...]:
    """The views at each size, in the order of the run, sides a multiple of so many pixels; one where they do not grow.

    `multiple` is 1 where a backbone from Python stands in the place of the configuration's.
    """
    return tuple(resized(run.policy, share, multiple) for share in run.train.sizes or (1.0,))


def stretches(run: Run, steps: int, multiple: int) -> list[tuple[int, float]]:
    """Of each part of a run of so many steps: the step at which it ends, and its views' pixels as a share of all."""
    sizes = policies(run, multiple)
    # Rounded up, since a step is of the part that `view_share` finds by rounding down.
    ends = [-(-part * steps // len(sizes)) for part in range(1, len(sizes) + 1)]
    return [(end, _pixels(policy) / _pixels(run.policy)) for end, policy in zip(ends, sizes, strict=True)]


def work(run: Run, step: int, steps: int, multiple: int) -> float:
    """What lies before a step of a run of so many, in steps at full size, by the pixels of the views.

    More than it is where other things take the time, such as decoding.
    """
    parts = stretches(run, steps, multiple)
    spans = zip(pairwise([0, *(end for end, _ in parts)]), parts, strict=True)
    return sum(cost * max(0, min(step, end) - start) for (start, end), (_, cost) in spans)


@torch.no_grad()
def require_sizes(backbone: nn.Module, run: Run, channels: int, multiple: int) -> None:
    """Raise ConfigError for a backbone that does not take views of all sizes that the run has, each to its width.

    That it takes the first view is tried of timm's models alone: our own are made for it, and one from Python has been
    measured by it.
    """
    side, width = run.policy.views[0].size, cast(int, backbone.width)
    local = {view.size: "beside them" for view in run.policy.views}
    grown = {
        view.size: f"which {called('train.sizes')} asks for"
        for policy in policies(run, multiple)
        for view in policy.views
    }
    modes = {part: part.training for part in backbone.modules()}
    timms = run.backbone if isinstance(run.backbone, Timm) and not isinstance(backbone, GivenBackbone) else None
    cut = None if timms is None else cut_of(timms)
    if timms is not None and (wrong := _unmade(cut, side) or _wrong(backbone, channels, side, width)) is not None:
        remedy = (
            "give views of the size that it is made for, often "
            f"{either('--image-size 224', 'with_side(run, 224) of resmom.recipes.side')}, or have it made for these by "
            f"{called('backbone.image')} {side}, which transformers have"
        )
        if (unseen := unseen_of(timms)) is not None:
            whole = whole_sides(side, unseen[1])
            remedy = "give views of whole patches, " + either(
                f"--image-size {whole}", f"with a side of {whole} (with_side of resmom.recipes.side)"
            )
        raise ConfigError(f"timm's {timms.name} does not take views of side {side}: {wrong}; {remedy}")
    for other, why in (grown | local).items():
        if other != side and (wrong := _wrong(backbone, channels, other, width)) is not None:
            raise ConfigError(
                f"the backbone takes views of side {side}, but not of side {other}, {why}: {wrong}; give all views one "
                f"size and leave {called('train.sizes')} out, or take a backbone that does, such as "
                f"{setting('backbone', 'dino-vit-small')} or timm:vit_small_patch16_224"
            )
    for part, training in modes.items():
        part.training = training


def _unmade(cut: tuple[int, int] | None, side: int) -> str | None:
    """That a transformer of timm's is made for another image; it would interpolate its positions at every step."""
    return f"it is made for {cut[0]} pixels" if cut is not None and cut[0] != side else None


def _wrong(backbone: nn.Module, channels: int, side: int, width: int) -> str | None:
    """What is wrong with what a backbone makes of a view of that side; None if nothing is. Leaves it in eval mode."""
    try:
        found = tuple(backbone.eval()(torch.zeros(1, channels, side, side))[1].shape)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:  # whatever a module of others raises
        return str(error).rstrip(".") or type(error).__name__
    return None if found == (1, width) else f"its h has the shape {found}, not {(1, width)}"


def _pixels(policy: Policy) -> int:
    return sum(view.size**2 for view in policy.views)
