"""Published and own runs as functions that return a whole configuration.

A recipe's docstring is its header: source, command, hours on which hardware, and the result as mean ± sd (n) or "not
measured yet" for ours. The residual twin of every recipe is `with_residual` of it, named NAME_residual.
"""

import difflib
from collections.abc import Callable
from dataclasses import replace

from resmom.config import ConfigError, Run
from resmom.recipes.cifar import (
    byol_cifar10_r18,
    byol_cifar100_r18,
    mocov3_cifar10_r18,
    mocov3_cifar100_r18,
    mocov3_cifar100_small,
)
from resmom.recipes.digits import mocov3_digits
from resmom.recipes.imagenet import (
    mocov3_imagenet_r50,
    mocov3_imagenet_r50_300ep,
    mocov3_imagenet_r50_1000ep,
    mocov3_imagenet_vitb,
    mocov3_imagenet_vits,
)

Recipe = Callable[[], Run]

RECIPES: dict[str, Recipe] = {
    "byol_cifar10_r18": byol_cifar10_r18,
    "byol_cifar100_r18": byol_cifar100_r18,
    "mocov3_cifar10_r18": mocov3_cifar10_r18,
    "mocov3_cifar100_r18": mocov3_cifar100_r18,
    "mocov3_cifar100_small": mocov3_cifar100_small,
    "mocov3_digits": mocov3_digits,
    "mocov3_imagenet_r50": mocov3_imagenet_r50,
    "mocov3_imagenet_r50_300ep": mocov3_imagenet_r50_300ep,
    "mocov3_imagenet_r50_1000ep": mocov3_imagenet_r50_1000ep,
    "mocov3_imagenet_vitb": mocov3_imagenet_vitb,
    "mocov3_imagenet_vits": mocov3_imagenet_vits,
}

TWIN = "_residual"


def with_residual(run: Run, weight: float = 1.0) -> Run:
    """The same run with the residual term at the provisional defaults: site p, cosine, same view."""
    return replace(run, recipe=run.recipe + TWIN, residual=replace(run.residual, weight=weight))


def names() -> list[str]:
    """All recipes, each with its twin."""
    return [name + ending for name in RECIPES for ending in ("", TWIN)]


def recipe(name: str) -> Run:
    """The configuration of that name. Raises ConfigError with the nearest names for an unknown one."""
    base = name.removesuffix(TWIN)
    if base not in RECIPES:
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.4)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"there is no recipe '{name}'{hint} (`resmom recipes` lists all)")
    run = replace(RECIPES[base](), recipe=base)
    return with_residual(run) if name.endswith(TWIN) else run
