"""Every recipe: the published settings field by field, its twin, and two steps of a shrunken copy."""

import re
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from resmom.build import Own, build_method
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.configcheck import check
from resmom.counter import uniforms
from resmom.methodconfig import groups_of, queue_of, with_pairs
from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.nnclr import NNCLR
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import DinoViT, MoCoViT, ResNet, SmallResNet
from resmom.recipes import RECIPES, TWIN, method_of, names, recipe, title_of, with_residual
from resmom.runs.training.masks import hidden_patches
from resmom.train.optim import AdamW, Lars, Sgd, build_optimizer
from resmom.train.plan import plan
from resmom.train.state import State
from resmom.train.step import Rules, train_step
from resmom.types import Batch
from resmom.views.apply import views
from resmom.views.masks import Masks
from resmom.views.policy import CIFAR10, CIFAR100, IMAGENET
from tests.recipes import ermolov, imagenet100, imagenette, ours, queues

# The published settings: the authors' repository for ImageNet, solo-learn's tables for CIFAR. One line per field; a
# field that no source states is not here.
CIFAR = {
    "backbone": ResNet(18, stem="small_pad2"),
    "ema.momentum": 0.99,
    "ema.final": 1.0,
    "train.epochs": 1000,
    "train.batch": 256,
    "train.warmup_epochs": 10,
    "train.warmup_start": 3e-5,
    "train.precision": "fp16",
    "train.clip": 0.0,
    "optim.trust": 0.02,
    "optim.form": "clipped",
    "optim.momentum": 0.9,
    "online.weight_decay": 0.0,
    **{
        f"policy.views.{v}.{name}": value
        for v in (0, 1)
        for name, value in {
            "size": 32,
            "scale": (0.08, 1.0),
            "interpolation": "bicubic",
            "jitter": 0.8,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.2,
            "hue": 0.1,
            "grey": 0.2,
            "blur": 0.0,
            "flip": 0.5,
            "solarise": (0.0, 0.2)[v],
        }.items()
    },
}
CIFAR_MOCO = CIFAR | {
    "method": MoCoV3(temperature=0.2, hidden=4096, out=256, projector_layers=2, predictor_norm="none"),
    "optim.lr": 0.3,
    "optim.weight_decay": 1e-6,
    "online.lr": 0.3,
}
CIFAR_BYOL = CIFAR | {
    "method": Byol(hidden=4096, out=256, predictor_hidden=4096),
    "optim.lr": 1.0,
    "optim.weight_decay": 1e-5,
    "online.lr": 0.1,
}
CIFAR_DINO = CIFAR | {
    "method": Dino(
        hidden=2048,
        out=256,
        prototypes=4096,
        gains=False,
        student_temperature=0.1,
        teacher_temperature=0.07,
        temperature_epochs=0,
        centre_momentum=0.9,
        frozen_epochs=1.0,
    ),
    "ema.momentum": 0.9995,
    "optim.lr": 0.3,
    "optim.weight_decay": 1e-6,
    "online.lr": 0.1,
}


STRONG = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "blur": 0.5, "solarise": 0.0}
PLAIN_CIFAR = {key: value for key, value in CIFAR.items() if key.split(".")[0] not in ("ema", "optim")}
SIMSIAM = PLAIN_CIFAR | {
    "method": SimSiam(hidden=2048, out=2048, predictor_hidden=512),
    "optim": Sgd(lr=0.5, weight_decay=1e-5, momentum=0.9),
    "online.lr": 0.1,
    **{f"policy.views.{v}.{name}": value for v in (0, 1) for name, value in STRONG.items()},
}


def lars(lr: float, weight_decay: float) -> Lars:
    return Lars(lr=lr, weight_decay=weight_decay, momentum=0.9, trust=0.02, form="clipped")


def both_views(**values: object) -> dict[str, object]:
    return {f"policy.views.{v}.{name}": value for v in (0, 1) for name, value in values.items()}


ALONE = {
    "simsiam": SIMSIAM,
    "simclr": PLAIN_CIFAR
    | {"method": SimCLR(temperature=0.2, hidden=2048, out=256), "optim": lars(0.4, 1e-4), "online.lr": 0.1}
    | both_views(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur=0.5, solarise=0.0),
    "barlow": PLAIN_CIFAR
    | {"method": BarlowTwins(redundancy=0.0051, scale=0.1, hidden=2048, out=2048), "optim": lars(0.3, 1e-4)},
    "vicreg": PLAIN_CIFAR
    | {"method": VICReg(25.0, 25.0, 1.0, hidden=2048, out=2048), "optim": lars(0.3, 1e-4), "online.lr": 0.1}
    | both_views(scale=(0.2, 1.0), solarise=0.1),
    "nnclr": PLAIN_CIFAR
    | {"method": NNCLR(0.2, queue=65536, hidden=2048, out=256, predictor_hidden=4096), "optim": lars(0.4, 1e-5)},
}


def imagenet(min_scale: float) -> dict[str, object]:
    """Views and schedule that all of moco-v3's ImageNet runs share."""
    return {
        "policy.mean": IMAGENET[0],
        "policy.std": IMAGENET[1],
        "ema.final": 1.0,
        "train.batch": 4096,
        "train.warmup_start": 0.0,
        "train.clip": 0.0,
        **{
            f"policy.views.{v}.{name}": value
            for v in (0, 1)
            for name, value in {
                "size": 224,
                "scale": (min_scale, 1.0),
                "ratio": (3 / 4, 4 / 3),
                "jitter": 0.8,
                "brightness": 0.4,
                "contrast": 0.4,
                "saturation": 0.2,
                "hue": 0.1,
                "grey": 0.2,
                "flip": 0.5,
                "blur": (1.0, 0.1)[v],
                "sigma": (0.1, 2.0),
                "solarise": (0.0, 0.2)[v],
            }.items()
        },
    }


R50 = imagenet(0.2) | {
    "method": MoCoV3(temperature=1.0, hidden=4096, out=256, projector_layers=2, predictor_norm="none"),
    "backbone": ResNet(50, stem="imagenet", zero_init_residual=True),
    "optim": Lars(lr=0.6, weight_decay=1e-6, momentum=0.9, trust=0.001, form="mocov3"),
    "ema.momentum": 0.99,
    "train.epochs": 100,
    "train.warmup_epochs": 10,
}
VIT = imagenet(0.08) | {
    "method": MoCoV3(temperature=0.2, hidden=4096, out=256, projector_layers=3, predictor_norm="plain"),
    "backbone": MoCoViT("small", image=224, patch=16, freeze_patch=True),
    "optim": AdamW(lr=1.5e-4, weight_decay=0.1, betas=(0.9, 0.999), decay_vectors=True),
    "ema.momentum": 0.99,
    "train.epochs": 300,
    "train.warmup_epochs": 40,
}
# The crops are those of moco-v3's ImageNet runs in colours, flips, blur and solarisation, with DINO's areas; bicubic.
DINO_VIT = {
    **{path: value for path, value in imagenet(0.4).items() if path.startswith("policy")},
    "policy.views.0.interpolation": "bicubic",
    **{
        f"policy.views.{v}.{name}": value
        for v in range(2, 10)
        for name, value in {
            "size": 96,
            "scale": (0.05, 0.4),
            "interpolation": "bicubic",
            "jitter": 0.8,
            "saturation": 0.2,
            "blur": 0.5,
            "solarise": 0.0,
        }.items()
    },
    "method": Dino(
        hidden=2048,
        out=256,
        prototypes=65536,
        gains=True,
        student_temperature=0.1,
        teacher_temperature=0.07,
        warmup_temperature=0.04,
        temperature_epochs=30,
        centre_momentum=0.9,
        frozen_epochs=1.0,
    ),
    "backbone": DinoViT("small", image=224, patch=16, drop_path=0.1),
    "optim": AdamW(lr=5e-4, weight_decay=0.04, betas=(0.9, 0.999), decay_tokens=True, final_decay=0.4),
    "ema.momentum": 0.996,
    "ema.final": 1.0,
    "train.epochs": 300,
    "train.batch": 1024,
    "train.warmup_epochs": 10,
    "train.warmup_start": 0.0,
    "train.final_lr": 1e-6,
    "train.clip": 3.0,
    "train.clip_each": True,
    "train.precision": "fp16",
}
IBOT_VIT = {path: value for path, value in DINO_VIT.items() if not path.endswith(".scale")} | {
    **{f"policy.views.{v}.scale": (0.25, 1.0) if v < 2 else (0.05, 0.25) for v in range(12)},
    "method": Ibot(
        hidden=2048,
        out=256,
        prototypes=8192,
        patch_prototypes=0,
        gains=True,
        student_temperature=0.1,
        teacher_temperature=0.07,
        warmup_temperature=0.04,
        patch_temperature=0.07,
        patch_warmup_temperature=0.04,
        temperature_epochs=30,
        centre_momentum=0.9,
        patch_centre_momentum=0.9,
        class_weight=1.0,
        patch_weight=1.0,
        frozen_epochs=1.0,
        masks=Masks(ratio=0.3, spread=0.2, share=0.5, aspect=(0.3, 1 / 0.3)),
    ),
    "train.epochs": 800,
}
DINOV2_VIT = {path: value for path, value in DINO_VIT.items() if not path.endswith(".scale")} | {
    **{f"policy.views.{v}.scale": (0.32, 1.0) if v < 2 else (0.05, 0.32) for v in range(10)},
    **{f"policy.views.{v}.blur": (0.0, 0.9)[v] if v < 2 else 0.5 for v in range(10)},
    "method": Dinov2(
        hidden=2048,
        out=256,
        prototypes=65536,
        patch_prototypes=0,
        gains=True,
        centring="mean",
        centre_momentum=0.9,
        student_temperature=0.1,
        teacher_temperature=0.07,
        warmup_temperature=0.04,
        temperature_epochs=60,
        class_weight=1.0,
        patch_weight=1.0,
        koleo=0.1,
        frozen_epochs=2.0,
        masks=Masks(ratio=0.3, spread=0.2, share=0.5, aspect=(0.3, 1 / 0.3), smallest=4),
    ),
    "backbone": DinoViT("large", image=224, patch=16, drop_path=0.3, even_drop=True, layer_scale=1e-5),
    "optim": AdamW(
        lr=0.004 * 2**0.5 / 8,
        weight_decay=0.04,
        betas=(0.9, 0.999),
        decay_tokens=True,
        final_decay=0.4,
        layer_decay=0.9,
        patch_rate=0.2,
    ),
    "ema.momentum": 0.992,
    "train.epochs": 200,
    "train.batch": 2048,
    "train.warmup_epochs": 20,
    "train.clip_each": False,
    "train.clip_parts": True,
}
COCO_MOCO = R50 | {
    "train.epochs": 800,
    "train.batch": 256,
    "optim": Lars(lr=0.3, weight_decay=1.5e-6, momentum=0.9, trust=0.001, form="mocov3"),
    "ema.momentum": 0.996,
}
PUBLISHED: dict[str, dict[str, object]] = {
    "mocov3_cifar100_r18": CIFAR_MOCO | {"policy.mean": CIFAR100[0], "policy.std": CIFAR100[1]},
    "mocov3_cifar10_r18": CIFAR_MOCO | {"policy.mean": CIFAR10[0], "policy.std": CIFAR10[1]},
    "byol_cifar100_r18": CIFAR_BYOL | {"policy.mean": CIFAR100[0], "policy.std": CIFAR100[1]},
    "byol_cifar10_r18": CIFAR_BYOL | {"policy.mean": CIFAR10[0], "policy.std": CIFAR10[1]},
    "dino_cifar100_r18": CIFAR_DINO | {"policy.mean": CIFAR100[0], "policy.std": CIFAR100[1]},
    "dino_cifar10_r18": CIFAR_DINO | {"policy.mean": CIFAR10[0], "policy.std": CIFAR10[1]},
    "dino_imagenet_vits": DINO_VIT,
    "ibot_imagenet_vits": IBOT_VIT,
    "dinov2_imagenet_vitl": DINOV2_VIT,
    "mocov3_imagenet_r50": R50,
    "mocov3_imagenet_r50_300ep": R50
    | {"train.epochs": 300, "optim": Lars(lr=0.3, weight_decay=1e-6, momentum=0.9, trust=0.001, form="mocov3")},
    "mocov3_imagenet_r50_1000ep": R50
    | {
        "train.epochs": 1000,
        "optim": Lars(lr=0.3, weight_decay=1.5e-6, momentum=0.9, trust=0.001, form="mocov3"),
        "ema.momentum": 0.996,
    },
    "mocov3_imagenet_vits": VIT,
    "mocov3_imagenet_vitb": VIT | {"backbone": MoCoViT("base", image=224, patch=16, freeze_patch=True)},
}
for data, (mean, std) in {"cifar10": CIFAR10, "cifar100": CIFAR100}.items():
    for method, settings in ALONE.items():
        PUBLISHED[f"{method}_{data}_r18"] = settings | {"policy.mean": mean, "policy.std": std}
PUBLISHED |= queues.PUBLISHED | imagenet100.PUBLISHED | imagenette.PUBLISHED | ermolov.PUBLISHED
OURS = ours.MEASURED
BETWEEN = {"mocov3_coco_r50_800ep": COCO_MOCO, "mocov3_coco_r50_1600ep": COCO_MOCO | {"train.epochs": 1600}}
"""Recipes whose settings are ours, put together from published ones, and of which a difference alone is published."""
TWINS = [name for name, made in RECIPES.items() if made().method.traits.teacher]


def at(run: Run, path: str) -> object:
    """The value at a path such as policy.views.0.size."""
    value: object = run
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, tuple) else getattr(value, step)
    return value


def test_every_recipe_is_published_or_ours() -> None:
    assert sorted([*PUBLISHED, *OURS, *BETWEEN]) == sorted(RECIPES)
    assert set(names()) == set(RECIPES) | {name + TWIN for name in TWINS}


@pytest.mark.parametrize(("name", "settings"), [*PUBLISHED.items(), *BETWEEN.items(), *OURS.items()])
def test_the_settings_are_the_published_or_measured_ones(name: str, settings: dict[str, object]) -> None:
    run = recipe(name)
    found = {path: at(run, path) for path in settings}
    assert found == settings
    assert len(run.policy.views) == len({path.split(".")[2] for path in settings if path.startswith("policy.views")})
    assert run.residual.weight == 0  # the base is the published method


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in TWINS])
def test_without_a_teacher_there_is_no_twin(name: str) -> None:
    with pytest.raises(ConfigError, match=r"has no teacher, so '.*' has no twin"):
        recipe(name + TWIN)


@pytest.mark.parametrize("name", TWINS)
def test_the_twin_differs_by_the_term_alone(name: str) -> None:
    base, twin = recipe(name), recipe(name + TWIN)
    assert base.recipe == name and twin.recipe == name + TWIN
    assert base.residual.weight == 0
    assert twin.residual == replace(base.residual, weight=1.0)
    site = "p" if "p" in base.method.traits.sites else "z"
    assert (twin.residual.site, twin.residual.distance, twin.residual.pairing) == (site, "cosine", "same")
    for field in fields(Run):
        if field.name not in ("recipe", "residual", "method"):
            assert getattr(twin, field.name) == getattr(base, field.name), field.name
    assert twin.method == with_pairs(base.method)  # the other difference: where the term needs it, one more pass
    assert with_residual(base, 0.5).residual.weight == 0.5


@pytest.mark.parametrize("name", names())
def test_json_round_trip(name: str) -> None:
    run = recipe(name)
    check(run)
    assert from_json(to_json(run)) == run


@pytest.mark.parametrize("name", RECIPES)
def test_the_header_names_source_command_and_result(name: str) -> None:
    """The result is a number, published or ours, or a difference alone; settings without one are no recipe."""
    header = RECIPES[name].__doc__ or ""
    assert "Source: " in header and "Command: " in header
    number = (
        r"Result: \d" if name in OURS else r"Published: a difference alone" if name in BETWEEN else r"Published: \d"
    )
    assert re.search(number, header)
    assert name in header or name == "mocov3_digits"  # that one is run by `resmom demo`


def test_an_unknown_recipe_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"did you mean .*mocov3_cifar100_r18"):
        recipe("mocov3_cifar100_r81")


def shrunken(run: Run) -> Run:
    """The same run with a tiny backbone (a ViT stays one), narrow heads, small views and few images."""
    backbone: MoCoViT | DinoViT | SmallResNet = SmallResNet(widths=(4, 8))
    if isinstance(run.backbone, MoCoViT | DinoViT):
        backbone = replace(run.backbone, image=32, patch=8, size="tiny")
    wide = ("hidden", "out", "predictor_hidden", "prototypes", "queue")
    slim = {field.name: 16 for field in fields(run.method) if field.name in wide}
    if groups_of(run.method):
        slim["shuffle_bn"] = 4
    size = 16 if isinstance(backbone, SmallResNet) else 32
    local = run.method.traits.views
    return replace(
        run,
        method=replace(run.method, **slim),
        backbone=backbone,
        policy=replace(
            run.policy,
            views=tuple(replace(view, size=size if v < local else 16) for v, view in enumerate(run.policy.views)),
        ),
        train=replace(run.train, batch=8, epochs=2, warmup_epochs=1, warmup_start=1e-3),
    )


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize("name", names())
def test_two_steps_of_a_shrunken_copy(name: str) -> None:
    run = shrunken(recipe(name))
    check(run)
    n = run.train.batch
    method = build_method(run.method, run.backbone, run.train.seed, Own(), (3, 16, 16)).train()
    state = State(method, build_optimizer(run.optim, method.student))
    start = {key: value.clone() for key, value in method.state_dict().items()}
    rules = Rules(run.residual, "fp32", seed=run.train.seed)
    index = np.arange(n)
    pixels = torch.from_numpy((uniforms(3, 0, index, 0, 3 * 32 * 32) * 256).astype(np.uint8).reshape(n, 3, 32, 32))
    for step in range(2):
        made = views(pixels, index, run.policy, run.train.seed, step)
        batch = Batch(made, torch.from_numpy(index), hidden_patches(run, run.policy, index, step), float(step))
        now = plan(run.train, run.optim.lr, run.ema, run.residual, step, per_epoch=1)
        metrics = train_step(state, batch, now, rules)
        assert metrics["skipped"] == 0 and torch.isfinite(metrics["loss"])
        assert ("loss/residual" in metrics) == name.endswith(TWIN)
    moved = {key for key, value in method.state_dict().items() if not torch.equal(value, start[key])}
    assert any(key.startswith("student.predictor") for key in moved) == (method.student.predictor is not None)
    assert any(key.startswith("queue") for key in moved) == (queue_of(run.method) > 0)
    assert (method.teacher is not None) == any(key.startswith("teacher.") for key in moved)
    assert any(key.startswith("student.backbone") and "running" not in key for key in moved)
    if isinstance(run.backbone, MoCoViT):  # what the paper holds still holds still
        assert not any("patch_embed" in key or "pos_embed" in key for key in moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_recipe_builds_at_full_size(name: str) -> None:
    """On the meta device, so nothing is computed: widths of h and of the heads, and the optimiser's groups."""
    run = recipe(name)
    with torch.device("meta"):
        method = build_method(run.method, run.backbone, 0, Own(), (3, 32, 32))
    width = {ResNet(18): 512, ResNet(50): 2048, MoCoViT("small"): 384, MoCoViT("base"): 768}
    width |= {DinoViT("small", drop_path=0.1): 384}
    width |= {DinoViT("large", drop_path=0.3, even_drop=True, layer_scale=1e-5): 1024}
    weights = {key: tuple(value.shape) for key, value in method.student.named_parameters()}
    body = replace(run.backbone, stem="imagenet", zero_init_residual=False) if isinstance(run.backbone, ResNet) else run
    if name.removesuffix(TWIN) in PUBLISHED:
        key = body if isinstance(body, ResNet) else run.backbone
        assert weights["projector.0.weight"] == (run.method.hidden, width[key])
        if "predictor.0.weight" in weights:
            assert weights["predictor.0.weight"][1] == run.method.out
    grouped = sum(len(group["params"]) for group in build_optimizer(run.optim, method.student).param_groups)
    assert grouped == sum(p.requires_grad for p in method.student.parameters())


def test_a_run_with_another_method_than_its_recipe_says_so() -> None:
    run = recipe("mocov3_digits_residual")
    assert (method_of(run), title_of(run)) == (None, "mocov3_digits_residual")
    other = replace(run, method=Byol())
    assert (method_of(other), title_of(other)) == ("MoCo-v3", "mocov3_digits_residual with BYOL")
    own = replace(other, recipe="custom")
    assert (method_of(own), title_of(own)) == (None, "custom")
