"""A method that was asked for by its name in a derived run: every one can be trained as it is derived."""

from dataclasses import replace
from typing import get_args

import pytest

from resmom.build import Own, build_method
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.configcheck import check
from resmom.losses.residual import Residual
from resmom.methodconfig import METHODS, MethodConfig, queue_of, with_pairs
from resmom.methodnames import METHOD_NAMES
from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.msf import MSF
from resmom.methods.nnclr import NNCLR
from resmom.methods.ressl import ReSSL
from resmom.methods.simclr import SimCLR
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import DinoViT, ResNet, SmallResNet
from resmom.nets.teacher import Ema
from resmom.recipes.automatic import automatic
from resmom.recipes.facts import Facts, Limits
from resmom.recipes.suited import suited, with_method
from resmom.recipes.words import OPTIMISERS, method_words
from resmom.runs.options import changed
from resmom.train.optim import AdamW, Lars, OptimConfig, Sgd

PHOTOS = Facts(images=5_000, side=300, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
NARROW = SmallResNet((16, 32, 64, 128))
OTHERS = [name for name in METHODS if name != "mocov3"]


def derived(facts: Facts, method: MethodConfig = PHOTOS.method, steps: int = 0) -> Run:
    return automatic(replace(facts, method=method), Limits(steps=steps)).run


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("images", [64, 200, 5_000, 1_281_167])
@pytest.mark.parametrize("gpu", [False, True])
def test_what_is_derived_can_be_trained(name: str, images: int, gpu: bool) -> None:
    """It passes every check of a run, its queue is no longer than half of the images or holds a batch, and its method
    is of the kind that was asked for."""
    facts = replace(PHOTOS, images=images, gpu=gpu)
    run = derived(facts, METHODS[name]())
    check(run)
    assert type(run.method) is METHODS[name]
    assert from_json(to_json(run)) == run
    if queue := queue_of(run.method):
        assert run.train.batch <= queue <= max(images // 2, run.train.batch)
    helped = name in ("mocov2", "densecl") and isinstance(run.backbone, SmallResNet)
    assert run.residual.weight == helped  # of the others nothing was measured, or no help
    if run.method.traits.teacher:  # and it can be turned on
        check(replace(run, method=with_pairs(run.method), residual=replace(run.residual, weight=1.0)))
    told = [choice.option for choice in automatic(replace(facts, method=METHODS[name]())).choices]
    assert ("ema.momentum" in told) == ("residual.weight" in told) == run.method.traits.teacher


@pytest.mark.parametrize("name", OTHERS)
def test_heads_beside_a_small_network_are_small(name: str) -> None:
    """About a million weights at most in all around the narrow network's 0.3 million, where the published heads have up
    to 22 million."""
    run = derived(PHOTOS, METHODS[name]())
    method = build_method(run.method, run.backbone, 0, Own(), (3, 64, 64))
    weights = sum(p.numel() for p in method.student.parameters())
    transformer = METHODS[name].traits.patches  # which alone has .7 million
    assert weights < (2_500_000 if transformer else 1_100_000)


def test_the_published_heads_stay_beside_large_networks() -> None:
    facts = replace(PHOTOS, gpu=True, images=1_281_167)
    for method in (Byol(), SimSiam(), SimCLR(), BarlowTwins(), VICReg()):
        assert derived(facts, method).method == method
    assert derived(facts, MoCoV2()).method == MoCoV2(queue=65_536)


def test_moco_v3_by_its_name_has_the_heads_that_are_derived() -> None:
    assert suited(MoCoV3(), NARROW, 5_000, 128, 200.0)[0] == MoCoV3(0.2, 512, 128)
    assert suited(MoCoV3(), ResNet(18), 5_000, 128, 200.0)[0] == MoCoV3(0.2, 2048, 256)


@pytest.mark.parametrize(
    ("images", "queue"), [(64, 32), (128, 64), (200, 64), (5_000, 2_048), (9_469, 4_096), (1_281_167, 4_096)]
)
def test_a_queue_is_a_power_of_two_and_half_of_the_images_at_most(images: int, queue: int) -> None:
    run = derived(replace(PHOTOS, images=images), NNCLR())
    assert queue_of(run.method) == queue and "queue" in method_words(run.method)


def test_a_queue_holds_a_batch_that_was_asked_for() -> None:
    assert queue_of(derived(replace(PHOTOS, images=100, batch=96), MoCoV2()).method) == 96


def test_dino_is_what_learnt_beside_a_small_network() -> None:
    """Normalised heads and a sharp teacher from the start; what counts in epochs shrinks with a short run."""
    made = derived(replace(PHOTOS, images=50_000), Dino(), steps=780).method  # two passes in batches of 128
    assert (
        isinstance(made, Dino) and made.batch_norm and (made.teacher_temperature, made.temperature_epochs) == (0.04, 0)
    )
    assert made.prototypes == 1024 and made.frozen_epochs == 0.25
    assert derived(PHOTOS, Dino()).method == replace(made, prototypes=512, frozen_epochs=1.0)


def test_dino_beside_a_large_network_is_as_published_but_for_prototypes_and_warm_up() -> None:
    few = derived(replace(PHOTOS, gpu=True, images=50_000), Dino(), steps=100 * 195).method
    assert few == Dino(prototypes=4096, temperature_epochs=10)
    assert derived(replace(PHOTOS, gpu=True, images=1_281_167), Dino(), steps=400 * 5004).method == Dino()


def test_ibot_gets_a_transformer() -> None:
    run = derived(PHOTOS, Ibot())
    assert run.backbone == DinoViT("micro", patch=8, image=64) and isinstance(run.optim, AdamW)
    assert isinstance(run.method, Ibot) and run.method.patch_temperature == run.method.teacher_temperature == 0.04
    assert derived(replace(PHOTOS, gpu=True), Ibot()).backbone == DinoViT("small", patch=16, image=224)
    asked = DinoViT("tiny", patch=8, image=64)
    assert derived(replace(PHOTOS, backbone=asked), Ibot()).backbone == asked


def test_dinov2_gets_a_transformer_and_prototypes_for_the_images() -> None:
    run = derived(PHOTOS, Dinov2())
    assert run.backbone == DinoViT("micro", patch=8, image=64) and isinstance(run.optim, AdamW)
    made = run.method
    assert isinstance(made, Dinov2) and made.prototypes == made.patch_prototypes == 512
    assert (made.teacher_temperature, made.temperature_epochs) == (0.04, 0)
    large = derived(replace(PHOTOS, gpu=True, images=1_281_167), Dinov2(), steps=400 * 5004).method
    assert large == Dinov2()
    few = derived(replace(PHOTOS, gpu=True, images=50_000), Dinov2(patch_prototypes=0), steps=100 * 195).method
    assert isinstance(few, Dinov2) and (few.prototypes, few.patch_prototypes) == (4096, 0)


@pytest.mark.parametrize("method", [BarlowTwins(), VICReg()])
def test_losses_of_another_size_have_lars(method: MethodConfig) -> None:
    run = derived(PHOTOS, method)
    assert run.optim == Lars(lr=0.3, weight_decay=1e-4, trust=0.02, form="clipped")
    told = next(c for c in automatic(replace(PHOTOS, method=method)).choices if c.option == "optim.lr")
    assert "LARS" in told.reason and "(LARS)" in told.value
    assert isinstance(derived(PHOTOS, SimCLR()).optim, Sgd)


def test_ressl_has_its_weak_view_and_msf_both_views_in_turn() -> None:
    run = derived(PHOTOS, ReSSL())
    strong, weak = run.policy.views
    assert weak == replace(strong, jitter=0.0, grey=0.0, blur=0.0, solarise=0.0) != strong
    run = derived(PHOTOS, MSF())
    assert isinstance(run.method, MSF) and run.method.symmetric
    assert run.policy.views[0] == run.policy.views[1]


def test_every_method_has_a_name_for_people() -> None:
    assert set(METHOD_NAMES) == {kind.__name__ for kind in METHODS.values()}
    assert method_words(derived(PHOTOS).method) == "MoCo-v3, temperature 0.1, heads 512/128, no predictor"
    with_one = derived(replace(PHOTOS, backbone=ResNet(18))).method
    assert method_words(with_one) == "MoCo-v3, temperature 0.2, heads 2048/256"
    assert method_words(derived(PHOTOS, Dino()).method) == "DINO, temperatures 0.1/0.04, heads 512/128, 512 prototypes"


@pytest.mark.parametrize("name", METHODS)
def test_an_arm_of_a_derived_run_is_what_would_be_derived_with_that_method(name: str) -> None:
    """Of the same length, apart from the weight of the term, which stays where a method can have it; there and back
    gives the run that was."""
    first = derived(PHOTOS)
    arm = changed(first, {"method": name}, images=PHOTOS.images)
    if METHODS[name].traits.patches:
        with pytest.raises(ConfigError, match="needs a Vision Transformer"):
            check(arm)  # an arm has a transformer only if it names one
        return
    check(arm)
    if name == "mocov3":
        assert arm == first
        return
    expected = derived(PHOTOS, METHODS[name](), steps=first.train.steps)
    teacher = expected.method.traits.teacher
    assert arm.residual == (Residual(weight=1.0, site=expected.residual.site) if teacher else Residual())
    assert arm.method == (with_pairs(expected.method) if teacher else expected.method)
    assert (arm.ema, arm.optim, arm.policy) == (expected.ema, expected.optim, expected.policy)
    back = with_method(expected, MoCoV3(), PHOTOS.images)
    assert (back.method, back.ema) == (first.method, Ema(0.9, 1.0)) and back.optim == first.optim
    assert back.policy == first.policy


def test_what_an_arm_sets_beside_a_method_is_of_that_method() -> None:
    first = derived(PHOTOS)
    arm = changed(first, {"method.hidden": 64, "method": "byol", "residual.weight": 0}, images=PHOTOS.images)
    assert arm.method == Byol(64, 128, 512) and arm.residual.weight == 0


def test_every_optimiser_has_a_name_for_people() -> None:
    assert set(OPTIMISERS) == {kind.__name__ for kind in get_args(OptimConfig)}
