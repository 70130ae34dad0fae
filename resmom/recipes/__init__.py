"""Published and own runs as functions that return a whole configuration.

A recipe's docstring is its header: source, command, hours on which hardware, and the result as mean ± sd (n) or "not
measured yet" for ours. The residual twin of every recipe whose method has a teacher is `with_residual` of it,
named NAME_residual.
"""

from collections.abc import Callable
from dataclasses import replace

from resmom.arguments import arguments_checked
from resmom.called import setting
from resmom.config import ConfigError, Run
from resmom.methodconfig import site_for, with_pairs
from resmom.methodnames import method_name
from resmom.nearest import similar
from resmom.recipes.baselines import (
    barlow_cifar10_r18,
    barlow_cifar100_r18,
    nnclr_cifar10_r18,
    nnclr_cifar100_r18,
    simclr_cifar10_r18,
    simclr_cifar100_r18,
    simsiam_cifar10_r18,
    simsiam_cifar100_r18,
    vicreg_cifar10_r18,
    vicreg_cifar100_r18,
)
from resmom.recipes.cifar import (
    byol_cifar10_r18,
    byol_cifar100_r18,
    dino_cifar10_r18,
    dino_cifar100_r18,
    mocov3_cifar10_r18,
    mocov3_cifar100_r18,
    mocov3_cifar100_small,
    mocov3_cifar100_tiny,
)
from resmom.recipes.dense import (
    densecl_coco_r50_800ep,
    densecl_coco_r50_1600ep,
    densecl_imagenet_r50,
    mocov2_coco_r50_800ep,
    mocov3_coco_r50_800ep,
    mocov3_coco_r50_1600ep,
)
from resmom.recipes.digits import mocov3_digits
from resmom.recipes.ermolov import (
    byol_stl10_r18,
    byol_tinyimagenet_r18,
    simclr_stl10_r18,
    simclr_tinyimagenet_r18,
)
from resmom.recipes.imagenet import (
    dino_imagenet_vits,
    dinov2_imagenet_vitl,
    ibot_imagenet_vits,
    mocov3_imagenet_r50,
    mocov3_imagenet_r50_300ep,
    mocov3_imagenet_r50_1000ep,
    mocov3_imagenet_vitb,
    mocov3_imagenet_vits,
)
from resmom.recipes.imagenet100 import (
    barlow_imagenet100_r18,
    byol_imagenet100_r18,
    dino_imagenet100_r18,
    mocov2plus_imagenet100_r18,
    mocov3_imagenet100_r18,
    nnclr_imagenet100_r18,
    ressl_imagenet100_r18,
    simclr_imagenet100_r18,
    simsiam_imagenet100_r18,
    vicreg_imagenet100_r18,
)
from resmom.recipes.imagenette import (
    barlow_imagenette_r18,
    barlow_imagenette_r18_800ep,
    byol_imagenette_r18,
    byol_imagenette_r18_800ep,
    dino_imagenette_r18,
    dino_imagenette_r18_800ep,
    mocov2_imagenette_r18,
    mocov2_imagenette_r18_800ep,
    nnclr_imagenette_r18,
    nnclr_imagenette_r18_800ep,
    simclr_imagenette_r18,
    simclr_imagenette_r18_800ep,
    simsiam_imagenette_r18,
    simsiam_imagenette_r18_800ep,
    vicreg_imagenette_r18,
    vicreg_imagenette_r18_800ep,
)
from resmom.recipes.queues import (
    mocov2_imagenet_r50,
    mocov2_imagenet_r50_800ep,
    mocov2plus_cifar10_r18,
    mocov2plus_cifar100_r18,
    msf_imagenet_r50,
    ressl_cifar10_r18,
    ressl_cifar100_r18,
)
from resmom.which import BACKBONES, METHODS

Recipe = Callable[[], Run]

RECIPES: dict[str, Recipe] = {
    "byol_cifar10_r18": byol_cifar10_r18,
    "byol_cifar100_r18": byol_cifar100_r18,
    "densecl_coco_r50_800ep": densecl_coco_r50_800ep,
    "densecl_coco_r50_1600ep": densecl_coco_r50_1600ep,
    "densecl_imagenet_r50": densecl_imagenet_r50,
    "dino_cifar10_r18": dino_cifar10_r18,
    "dino_cifar100_r18": dino_cifar100_r18,
    "dino_imagenet_vits": dino_imagenet_vits,
    "ibot_imagenet_vits": ibot_imagenet_vits,
    "dinov2_imagenet_vitl": dinov2_imagenet_vitl,
    "mocov2plus_cifar10_r18": mocov2plus_cifar10_r18,
    "mocov2plus_cifar100_r18": mocov2plus_cifar100_r18,
    "mocov2_coco_r50_800ep": mocov2_coco_r50_800ep,
    "mocov2_imagenet_r50": mocov2_imagenet_r50,
    "mocov2_imagenet_r50_800ep": mocov2_imagenet_r50_800ep,
    "mocov3_cifar10_r18": mocov3_cifar10_r18,
    "mocov3_cifar100_r18": mocov3_cifar100_r18,
    "mocov3_cifar100_small": mocov3_cifar100_small,
    "mocov3_cifar100_tiny": mocov3_cifar100_tiny,
    "mocov3_coco_r50_800ep": mocov3_coco_r50_800ep,
    "mocov3_coco_r50_1600ep": mocov3_coco_r50_1600ep,
    "mocov3_digits": mocov3_digits,
    "mocov3_imagenet_r50": mocov3_imagenet_r50,
    "mocov3_imagenet_r50_300ep": mocov3_imagenet_r50_300ep,
    "mocov3_imagenet_r50_1000ep": mocov3_imagenet_r50_1000ep,
    "mocov3_imagenet_vitb": mocov3_imagenet_vitb,
    "mocov3_imagenet_vits": mocov3_imagenet_vits,
    "ressl_cifar10_r18": ressl_cifar10_r18,
    "ressl_cifar100_r18": ressl_cifar100_r18,
    "simsiam_cifar10_r18": simsiam_cifar10_r18,
    "simsiam_cifar100_r18": simsiam_cifar100_r18,
    "simclr_cifar10_r18": simclr_cifar10_r18,
    "simclr_cifar100_r18": simclr_cifar100_r18,
    "nnclr_cifar10_r18": nnclr_cifar10_r18,
    "nnclr_cifar100_r18": nnclr_cifar100_r18,
    "barlow_cifar10_r18": barlow_cifar10_r18,
    "barlow_cifar100_r18": barlow_cifar100_r18,
    "vicreg_cifar10_r18": vicreg_cifar10_r18,
    "vicreg_cifar100_r18": vicreg_cifar100_r18,
    "msf_imagenet_r50": msf_imagenet_r50,
    "mocov3_imagenet100_r18": mocov3_imagenet100_r18,
    "byol_imagenet100_r18": byol_imagenet100_r18,
    "mocov2plus_imagenet100_r18": mocov2plus_imagenet100_r18,
    "dino_imagenet100_r18": dino_imagenet100_r18,
    "ressl_imagenet100_r18": ressl_imagenet100_r18,
    "simsiam_imagenet100_r18": simsiam_imagenet100_r18,
    "simclr_imagenet100_r18": simclr_imagenet100_r18,
    "barlow_imagenet100_r18": barlow_imagenet100_r18,
    "vicreg_imagenet100_r18": vicreg_imagenet100_r18,
    "nnclr_imagenet100_r18": nnclr_imagenet100_r18,
    "mocov2_imagenette_r18": mocov2_imagenette_r18,
    "mocov2_imagenette_r18_800ep": mocov2_imagenette_r18_800ep,
    "byol_imagenette_r18": byol_imagenette_r18,
    "byol_imagenette_r18_800ep": byol_imagenette_r18_800ep,
    "dino_imagenette_r18": dino_imagenette_r18,
    "dino_imagenette_r18_800ep": dino_imagenette_r18_800ep,
    "simclr_imagenette_r18": simclr_imagenette_r18,
    "simclr_imagenette_r18_800ep": simclr_imagenette_r18_800ep,
    "simsiam_imagenette_r18": simsiam_imagenette_r18,
    "simsiam_imagenette_r18_800ep": simsiam_imagenette_r18_800ep,
    "barlow_imagenette_r18": barlow_imagenette_r18,
    "barlow_imagenette_r18_800ep": barlow_imagenette_r18_800ep,
    "nnclr_imagenette_r18": nnclr_imagenette_r18,
    "nnclr_imagenette_r18_800ep": nnclr_imagenette_r18_800ep,
    "vicreg_imagenette_r18": vicreg_imagenette_r18,
    "vicreg_imagenette_r18_800ep": vicreg_imagenette_r18_800ep,
    "byol_stl10_r18": byol_stl10_r18,
    "simclr_stl10_r18": simclr_stl10_r18,
    "byol_tinyimagenet_r18": byol_tinyimagenet_r18,
    "simclr_tinyimagenet_r18": simclr_tinyimagenet_r18,
}

AUTOMATIC = "automatic"
"""What a derived run has in place of a recipe's name."""
TWIN = "_residual"
FROM = ", from "
"""Between the name of a grid's arm and that of the recipe it changes."""


def base_of(name: str) -> str:
    """The recipe that a run's name goes back to: what a twin or a grid's arm was made from, otherwise itself."""
    return name.rpartition(FROM)[2].removesuffix(TWIN)


def is_derived(run: Run) -> bool:
    """Whether the settings of a run, or of what it was made from, were derived from its images and the machine."""
    return base_of(run.recipe) == AUTOMATIC


def method_of(run: Run) -> str | None:
    """The method that the recipe of a run has, where the run has another one; None where it has that one."""
    base = base_of(run.recipe)
    own = RECIPES[base]().method if base in RECIPES else run.method
    return None if type(own) is type(run.method) else method_name(own)


def title_of(run: Run) -> str:
    """The name of a run, with its method where that is not the recipe's."""
    return run.recipe if method_of(run) is None else f"{run.recipe} with {method_name(run.method)}"


def with_residual(run: Run, weight: float = 1.0) -> Run:
    """The same run with the residual term at the provisional defaults: site p (z without a predictor), cosine, same
    view.

    A method whose teacher does not see the student's view gets `same_view`: one more teacher forward a step.
    """
    residual = replace(run.residual, weight=weight, site=site_for(run.method, run.residual.site))
    return replace(run, recipe=run.recipe + TWIN, method=with_pairs(run.method), residual=residual)


def names() -> list[str]:
    """All recipes, each with its twin if its method has a teacher."""
    return [name + ending for name, made in RECIPES.items() for ending in _endings(made())]


def _endings(run: Run) -> tuple[str, ...]:
    return ("", TWIN) if run.method.traits.teacher else ("",)


@arguments_checked()
def recipe(name: str) -> Run:
    """The configuration of that name. Raises ConfigError with the nearest names for an unknown one."""
    base = name.removesuffix(TWIN)
    if base not in RECIPES:
        hint = similar(name, names(), 3, 0.4)
        if base in METHODS:
            hint = f"; a method is named by {setting('method', base)}{hint}"
        if base in BACKBONES.split(", "):
            hint = f"; a backbone is named by {setting('backbone', base)}"
        if base == AUTOMATIC:
            hint = "; settings that are derived from images and machine are a run's own, and its run.json has them"
        raise ConfigError(f"there is no recipe '{name}'{hint} (`resmom recipes` lists all)")
    run = replace(RECIPES[base](), recipe=base)
    if not name.endswith(TWIN):
        return run
    if not run.method.traits.teacher:
        raise ConfigError(
            f"{method_name(run.method)} has no teacher, so '{base}' has no twin with the residual term; use '{base}'"
        )
    return with_residual(run)
