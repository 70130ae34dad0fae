"""The derived settings: each rule of docs/automatic.md's table, what is refused, and limits that a trial found."""

import math
from dataclasses import replace

import pytest
import torch

from resmom.build import Own, build_method
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.configcheck import check
from resmom.losses.residual import Residual
from resmom.methodconfig import with_pairs
from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, cut_of
from resmom.nets.teacher import Ema
from resmom.recipes.automatic import Choice, automatic
from resmom.recipes.facts import Facts, Limits, Seen
from resmom.recipes.pace import warmup
from resmom.recipes.teaching import ema_by_length, momentum_of
from resmom.schedule import every
from resmom.train.optim import AdamW, Sgd
from resmom.views.policy import IMAGENET
from tests.halflife import half_life

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
PHOTOS = Facts(images=5_000, side=300, mean=MEAN, std=STD)
"""Five thousand colour photographs, no GPU."""
DIGITS = Facts(images=2_000, side=28, mean=(0.13,), std=(0.31,), grey=True)
"""Grey images of one channel."""
SCANS = replace(PHOTOS, grey=True)
"""Grey images stored as RGB."""
KINDS = {
    "photos": PHOTOS,
    "photos on a GPU": replace(PHOTOS, gpu=True, fast_bf16=True),
    "many photos on a GPU": replace(PHOTOS, gpu=True, images=1_281_167),
    "tiny images on a GPU": replace(PHOTOS, gpu=True, side=32),
    "digits": DIGITS,
    "scans": SCANS,
    "few": replace(PHOTOS, images=64, side=16),
    "from ResNet-18": replace(PHOTOS, init="r18.safetensors", backbone=ResNet(18)),
    "from a ViT": replace(PHOTOS, init="vit.safetensors", backbone=MoCoViT("small")),
    "from DINO's ViT": replace(PHOTOS, init="dino.pth", backbone=DinoViT("small")),
    "a timm model": replace(PHOTOS, backbone=Timm("resnet10t")),
    "timm's transformer": replace(PHOTOS, backbone=Timm("test_vit")),
}


def derived(facts: Facts, limits: Limits | None = None) -> Run:
    return automatic(facts, limits).run


def choice(facts: Facts, option: str, limits: Limits | None = None) -> Choice:
    return next(c for c in automatic(facts, limits).choices if c.option == option)


@pytest.mark.parametrize(("processes", "batch"), [(1, 128), (2, 128), (3, 126), (7, 126), (200, 200)])
def test_processes_share_the_batch_evenly(processes: int, batch: int) -> None:
    facts = replace(PHOTOS, processes=processes)
    assert derived(facts).train.batch == batch
    told = choice(facts, "train.batch").reason
    assert ("equal parts" in told) == (128 % processes > 0)
    assert derived(replace(facts, batch=96)).train.batch == 96  # asked for, and judged where it is shared out


@pytest.mark.parametrize("kind", KINDS)
def test_the_run_can_be_used_and_is_its_own_json(kind: str) -> None:
    run = derived(KINDS[kind])
    check(run)
    assert from_json(to_json(run)) == run
    assert run.recipe == "automatic"
    assert run.policy.views[0] == run.policy.views[1] and run.policy.views[0].scale == (0.2, 1.0)
    assert len(run.policy.mean) == len(KINDS[kind].mean)


@pytest.mark.parametrize("kind", KINDS)
def test_every_choice_is_a_part_of_the_run_and_has_a_reason(kind: str) -> None:
    found = automatic(KINDS[kind])
    options = [c.option for c in found.choices]
    assert options == [
        *("image_size", "backbone", "init", "method", "train.batch", "train.steps", "optim.lr", "ema.momentum"),
        *("policy.views", "orientation", "policy.mean", "train.precision", "residual.weight"),
    ]
    run = found.run
    parts = {c.option: c.part(run) for c in found.choices}
    assert parts["image_size"] == run.policy.views[0].size
    assert parts["backbone"] is run.backbone and parts["method"] is run.method
    assert parts["init"] == run.init
    assert parts["train.steps"] == run.train.steps and parts["optim.lr"] == run.optim.lr
    for c in found.choices:
        assert c.reason.strip() and c.value.strip(), c.option
    # Numbers told are the numbers of the run.
    told = {c.option: c.value for c in found.choices}
    assert told["image_size"] == str(run.policy.views[0].size)
    assert told["train.batch"] == str(run.train.batch)
    assert told["train.steps"].split()[0] == str(run.train.steps)
    assert float(told["optim.lr"].split()[0]) == run.optim.lr
    assert float(told["ema.momentum"].split()[0]) == pytest.approx(run.ema.momentum, abs=1e-5)
    assert told["train.precision"] == run.train.precision


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "GPU" not in kind and "ViT" not in kind])
def test_the_networks_can_be_built_and_see_the_view(kind: str) -> None:
    run = derived(KINDS[kind])
    side, channels = run.policy.views[0].size, len(run.policy.mean)
    with torch.device("meta"):
        method = build_method(run.method, run.backbone, 0, Own(), (channels, side, side))
        said = method.student.eval()(torch.empty(2, channels, side, side))
    assert isinstance(run.method, MoCoV3)
    assert said.z.shape == (2, run.method.out)


@pytest.mark.parametrize(
    ("side", "cpu", "cpu_init", "gpu"),
    [
        (16, 32, 32, 32),  # the least view, larger than the images
        (28, 32, 32, 32),
        (41, 32, 32, 32),  # 48 would be 17 % more than there is
        (42, 48, 48, 48),
        (64, 64, 64, 64),
        (96, 64, 96, 96),
        (200, 64, 96, 224),
        (300, 64, 96, 224),
    ],
)
def test_the_view_is_the_images_size_up_to_what_the_machine_bears(side: int, cpu: int, cpu_init: int, gpu: int) -> None:
    facts = replace(PHOTOS, side=side)
    found = [
        derived(f).policy.views[0].size
        for f in (facts, replace(facts, init="r18.pt", backbone=ResNet(18)), replace(facts, gpu=True))
    ]
    assert found == [cpu, cpu_init, gpu]
    reason = choice(facts, "image_size").reason
    assert ("the images are larger" in reason) == (cpu == 64 and side > 1.15 * cpu)
    assert ("the next smaller size" in reason) == (side == 41), "no machine's limit, so none is named"


def test_a_transformer_of_fixed_positions_gets_the_size_it_was_made_for() -> None:
    facts = replace(PHOTOS, side=40, init="vit.safetensors", backbone=MoCoViT("small", image=96, patch=8))
    assert [view.size for view in derived(facts).policy.views] == [96, 96]
    assert "positions are fixed" in choice(facts, "image_size").reason


@pytest.mark.parametrize(
    ("backbone", "side", "cpu", "gpu"),
    [
        (DinoViT("small"), 300, 128, 224),  # 8 x 8 patches of 16 are more than a CPU's 96 pixels
        (DinoViT("small"), 180, 128, 176),  # near the images' own size
        (DinoViT("small"), 32, 128, 128),  # smaller images are enlarged
        (DinoViT("small", patch=8), 300, 96, 224),
        (DinoViT("small", patch=8), 32, 64, 64),
        (DinoViT("tiny", 32, 4), 300, 32, 32),  # no larger than it was made for
        (DinoViT("base", 384), 500, 128, 224),
        (Timm("vit_small_patch14_dinov2", 518), 500, 112, 224),
        (Timm("vit_small_patch14_dinov2"), 150, 112, 154),
        (Timm("resnet10t"), 300, 96, 224),
    ],
)
def test_the_view_of_a_transformer_with_weights_is_whole_patches(
    backbone: DinoViT | Timm, side: int, cpu: int, gpu: int
) -> None:
    facts = replace(PHOTOS, side=side, init="vit.pth", backbone=backbone)
    for machine, expected in ((facts, cpu), (replace(facts, gpu=True), gpu)):
        run = derived(machine)
        assert {view.size for view in run.policy.views} == {expected}
        check(run)
        made = run.backbone
        if (cut := cut_of(backbone)) is not None:
            assert cut_of(made) == (expected, cut[1]), "the patches are those of the weights"


def test_it_is_told_why_and_that_positions_are_resampled() -> None:
    facts = replace(PHOTOS, init="dino.pth", backbone=DinoViT("small"))
    few = choice(facts, "image_size").reason
    assert few == ("8 x 8 patches of 16, as few as are worth while; its positions, for 14 x 14, are resampled to these")
    own = choice(replace(facts, gpu=True), "image_size").reason
    assert own == "14 x 14 patches of 16: the size that the transformer was made for"
    within = choice(replace(facts, gpu=True, side=180), "image_size").reason
    assert within.startswith("11 x 11 patches of 16, near the images' own size (median of the shorter sides 180")
    large = choice(replace(facts, gpu=True, backbone=DinoViT("small", 384)), "image_size").reason
    assert large.startswith("14 x 14 patches of 16: a GPU sees most for its time at about this size; its positions")
    assert choice(facts, "backbone").value == "DINO's ViT-small/16 at 128 pixels"
    asked = replace(facts, view=96)
    assert derived(asked).backbone == DinoViT("small", 96) and choice(asked, "image_size").reason.startswith("asked")


def test_a_transformer_of_timms_by_name_is_made_for_the_views() -> None:
    facts = replace(PHOTOS, backbone=Timm("vit_small_patch14_dinov2"))
    assert derived(facts).backbone == Timm("vit_small_patch14_dinov2", 112)
    assert choice(facts, "backbone").reason == "the one asked for; made for the views"
    assert "resampled" not in choice(facts, "image_size").reason, "there are no weights yet"


def test_a_file_that_says_what_its_network_saw_is_followed() -> None:
    facts = replace(PHOTOS, init="own.safetensors", backbone=ResNet(18), seen=Seen((0.1,) * 3, (0.2,) * 3, 160))
    run = derived(facts)
    assert [view.size for view in run.policy.views] == [160, 160]
    assert (run.policy.mean, run.policy.std) == ((0.1,) * 3, (0.2,) * 3)
    told = "what the network in own.safetensors was trained at, as the file says"
    assert choice(facts, "image_size").reason == told
    vit = replace(facts, backbone=DinoViT("tiny", 160, 16))  # of ours, which says so too
    assert choice(vit, "image_size").reason == told and derived(vit).backbone == DinoViT("tiny", 160, 16)
    grey = replace(facts, mean=(0.3,), std=(0.3,))  # the file's three channels do not fit
    assert derived(grey).policy.mean == (0.3,)


def test_the_size_that_was_asked_for_brings_its_blur() -> None:
    facts = replace(PHOTOS, view=96)
    assert [(view.size, view.blur) for view in derived(facts).policy.views] == [(96, 0.5)] * 2
    assert choice(facts, "image_size").reason == "asked for; derived: 64"
    vit = derived(replace(PHOTOS, view=96, backbone=MoCoViT("tiny", image=224, patch=16)))
    assert vit.backbone == MoCoViT("tiny", image=96, patch=8) and vit.policy.views[1].size == 96


@pytest.mark.parametrize(
    ("facts", "backbone"),
    [
        (PHOTOS, SmallResNet((16, 32, 64, 128))),
        (DIGITS, SmallResNet((16, 32, 64, 128), channels=1)),
        (replace(DIGITS, backbone=SmallResNet()), SmallResNet(channels=1)),
        (replace(PHOTOS, gpu=True, side=64), ResNet(18, stem="small")),
        (replace(PHOTOS, gpu=True, side=64, images=10**6), ResNet(18, stem="small")),
        (replace(PHOTOS, gpu=True, images=99_999), ResNet(18)),
        (replace(PHOTOS, gpu=True, images=100_000), ResNet(50)),
        (replace(PHOTOS, gpu=True, backbone=Timm("convnext_tiny")), Timm("convnext_tiny")),
        (replace(PHOTOS, init="r34.pt", backbone=ResNet(34)), ResNet(34)),
        (replace(PHOTOS, gpu=True, side=64, backbone=ResNet(50)), ResNet(50, stem="small")),
        (replace(PHOTOS, gpu=True, backbone=ResNet(50)), ResNet(50)),
        (replace(PHOTOS, side=64, backbone=ResNet(18)), ResNet(18)),
        (replace(PHOTOS, gpu=True, backbone=MoCoViT("small")), MoCoViT("small")),
        (replace(PHOTOS, gpu=True, side=64, backbone=DinoViT("small")), DinoViT("small", 64, 8)),
    ],
)
def test_the_backbone_follows_machine_size_and_number(facts: Facts, backbone: BackboneConfig) -> None:
    assert derived(facts).backbone == backbone


def test_the_backbone_says_where_it_comes_from() -> None:
    assert "no GPU" in choice(PHOTOS, "backbone").reason
    assert choice(replace(PHOTOS, backbone=ResNet(18)), "backbone").reason == "the one asked for"
    from_file = choice(replace(PHOTOS, init="r34.pt", backbone=ResNet(34)), "backbone")
    assert from_file.reason == "the architecture found in r34.pt" and from_file.value == "ResNet-34, imagenet stem"


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        (None, MoCoV3(temperature=0.1, hidden=512, out=128, predictor_layers=0)),
        (SmallResNet((8, 16)), MoCoV3(temperature=0.1, hidden=64, out=128, predictor_layers=0)),
        (ResNet(18), MoCoV3(temperature=0.2, hidden=2048, out=256)),
        (MoCoViT("micro"), MoCoV3(0.2, hidden=512, out=128, projector_layers=3, predictor_norm="plain")),
        (MoCoViT("small"), MoCoV3(temperature=0.2, projector_layers=3, predictor_norm="plain")),
    ],
)
def test_the_heads_follow_the_backbone(backbone: BackboneConfig | None, method: MoCoV3) -> None:
    assert derived(replace(PHOTOS, backbone=backbone)).method == method


@pytest.mark.parametrize(
    ("images", "cpu", "gpu"), [(64, 32, 32), (255, 32, 32), (256, 64, 64), (512, 128, 128), (1024, 128, 256)]
)
def test_the_batch_is_a_quarter_of_the_images_at_most(images: int, cpu: int, gpu: int) -> None:
    facts = replace(PHOTOS, images=images)
    assert derived(facts).train.batch == cpu and derived(replace(facts, gpu=True)).train.batch == gpu
    reason = choice(facts, "train.batch").reason
    assert ("though more than a quarter" in reason) == (cpu == 32 and images < 4 * 32), "the reason is the true one"


@pytest.mark.parametrize(
    ("images", "gpu", "passes"),
    [
        (1_000, False, 800),  # the most
        (5_000, False, 200),  # a million images seen
        (100_000, False, 20),  # the least
        (50_000, True, 400),  # twenty million
        (5_000, True, 800),
    ],
)
def test_the_length_in_images_seen(images: int, gpu: bool, passes: int) -> None:
    facts = replace(PHOTOS, images=images, gpu=gpu)
    train = derived(facts).train
    assert train.steps == math.ceil(passes * images / train.batch)
    started = derived(replace(facts, init="r18.pt", backbone=ResNet(18))).train
    assert started.steps == max(500, train.steps // 4)


@pytest.mark.parametrize(
    ("images", "passes", "leaves_out"),
    [(70, 875, True), (1_000, 893, True), (1_024, 800, False)],  # 70: batches of 32, so that an epoch has 64 of them
)
def test_the_most_passes_are_told_as_they_are_counted(images: int, passes: int, leaves_out: bool) -> None:
    told = choice(replace(PHOTOS, images=images), "train.steps")
    assert f"({passes} passes over the images)" in told.value and "800 times on average" in told.reason
    assert "passes at most" not in told.reason, "of epochs there are more, where one leaves images out"
    assert ("a pass leaves out" in told.reason) == leaves_out


@pytest.mark.parametrize(
    ("backbone", "random", "started"),
    [
        (None, Sgd(lr=0.3, weight_decay=1e-4), None),
        (ResNet(50), Sgd(lr=0.3, weight_decay=1e-4), Sgd(lr=0.03, weight_decay=1e-4)),
        (Timm("resnet50"), Sgd(lr=0.3, weight_decay=1e-4), Sgd(lr=0.03, weight_decay=1e-4)),
        (MoCoViT("small"), AdamW(lr=1.5e-4, weight_decay=0.1), AdamW(lr=6e-5, weight_decay=0.1)),
        (MoCoViT("micro"), AdamW(lr=2e-3, weight_decay=0.1), AdamW(lr=8e-4, weight_decay=0.1)),
        (Timm("vit_small_patch16_224"), AdamW(lr=1.5e-4, weight_decay=0.1), AdamW(lr=6e-5, weight_decay=0.1)),
    ],
)
def test_the_learning_rate_is_smaller_from_trained_weights(
    backbone: BackboneConfig | None, random: Sgd | AdamW, started: Sgd | AdamW | None
) -> None:
    facts = replace(PHOTOS, backbone=backbone)
    assert derived(facts).optim == random
    assert "trained weights" not in choice(facts, "optim.lr").reason
    if started is not None:
        facts = replace(facts, init="weights.pt")
        assert derived(facts).optim == started
        assert "since the run starts from trained weights" in choice(facts, "optim.lr").reason


@pytest.mark.parametrize(("steps", "expected"), [(100, 5), (2_000, 100), (20_000, 1_000), (200_000, 1_000)])
def test_the_warm_up_is_a_twentieth_and_no_more_than_a_thousand_steps(steps: int, expected: int) -> None:
    assert warmup(steps) == expected
    assert derived(PHOTOS, Limits(steps=steps)).train.warmup_steps == expected


@pytest.mark.parametrize("steps", [1.0, 20.0, 68.97, 700.0, 1e5])
def test_half_life_and_momentum_are_inverse(steps: float) -> None:
    momentum = momentum_of(steps)
    assert momentum**steps == pytest.approx(0.5)  # what a half-life is
    assert half_life(momentum) == pytest.approx(steps)


def test_known_half_lives() -> None:
    assert half_life(0.5) == 1.0
    assert half_life(0.99) == pytest.approx(68.97, abs=0.01)
    assert half_life(0.996) == pytest.approx(172.9, abs=0.1)
    assert half_life(1.0) == math.inf


@pytest.mark.parametrize(("steps", "told"), [(1, "less than a step"), (9, "less than a step"), (10, "1 step")])
def test_a_half_life_is_told_of_the_shortest_runs_too(steps: int, told: str) -> None:
    assert ema_by_length(steps)[1] == f"a half-life of {told}: a tenth of so short a run"


@pytest.mark.parametrize(
    ("steps", "life"), [(60, 6), (200, 20), (2_000, 20), (7_813, 78.13), (70_000, 700), (500_000, 700)]
)
def test_the_teachers_half_life_is_a_hundredth_of_the_run(steps: int, life: float) -> None:
    facts = replace(PHOTOS, backbone=ResNet(18))
    ema = derived(facts, Limits(steps=steps)).ema
    assert half_life(ema.momentum) == pytest.approx(life) and ema.final == 1.0
    told = choice(facts, "ema.momentum", Limits(steps=steps)).reason
    assert f"a half-life of {life:.0f} steps" in told
    share = {
        60: "a tenth of so short a run",
        200: "at least so many, where a hundredth of the run is 2",
        500_000: "at most so many, where a hundredth of the run is 5,000",
    }
    assert told.endswith(share.get(steps, "steps: a hundredth of the run"))


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("facts", [PHOTOS, DIGITS, replace(PHOTOS, gpu=True, backbone=SmallResNet())])
def test_a_small_resnet_has_what_was_measured_of_it(facts: Facts) -> None:
    """Temperature, teacher, term and no predictor, of docs/automatic.md, whatever the length of the run."""
    for steps in (200, 50_000):
        run = derived(facts, Limits(steps=steps))
        assert isinstance(run.method, MoCoV3) and run.method.temperature == 0.1 and not run.method.predictor_layers
        assert (run.ema, run.residual) == (Ema(0.9, 1.0), Residual(weight=1.0, site="z"))
    assert "measured" in choice(facts, "ema.momentum").reason
    term = choice(facts, "residual.weight")
    assert term.value == "1" and "--residual.weight 0 leaves it out" in term.reason


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("method", [MoCoV2(), DenseCL()])
def test_the_term_is_derived_where_it_was_measured_to_help(method: MoCoV2 | DenseCL) -> None:
    """With the pairs that it needs; nothing else of MoCo-v3's."""
    facts = replace(PHOTOS, method=method)
    run = derived(facts)
    assert run.residual == Residual(weight=1.0, site="z") and run.method == with_pairs(run.method)
    assert run.ema == ema_by_length(run.train.steps)[0]
    told = choice(facts, "residual.weight")
    assert told.value == "1" and "--residual.weight 0 leaves it out" in told.reason and "predictor" not in told.reason
    for other in (
        replace(facts, backbone=ResNet(18)),
        replace(facts, init="small.safetensors", backbone=SmallResNet()),
    ):
        assert derived(other).residual == Residual(site="z")
        assert derived(other).method != with_pairs(derived(other).method)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    "facts",
    [
        replace(PHOTOS, backbone=ResNet(18)),
        replace(PHOTOS, backbone=MoCoViT("micro")),
        replace(PHOTOS, gpu=True),
        replace(PHOTOS, init="small.safetensors", backbone=SmallResNet()),
        replace(PHOTOS, own=True),
    ],
)
def test_all_others_have_the_published_method(facts: Facts) -> None:
    """From trained weights, and with a method or a module of the user's own, a small ResNet has it too."""
    run = derived(facts)
    assert isinstance(run.method, MoCoV3) and run.method.temperature == 0.2 and run.method.predictor_layers == 2
    assert run.residual == Residual() and run.ema == ema_by_length(run.train.steps)[0]
    assert choice(facts, "residual.weight").reason.endswith("--residual.weight 1 turns it on")


@pytest.mark.parametrize("facts", [DIGITS, SCANS])
def test_grey_images_get_no_operations_on_colour(facts: Facts) -> None:
    for view in derived(facts).policy.views:
        assert (view.saturation, view.hue, view.grey) == (0.0, 0.0, 0.0)
        assert (view.brightness, view.contrast, view.jitter, view.flip) == (0.4, 0.4, 0.8, 0.5)
    assert "the images are grey" in choice(facts, "policy.views").reason


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("facts", [PHOTOS, DIGITS])
def test_images_without_an_up_are_flipped_and_turned_every_way(facts: Facts) -> None:
    assert [(v.flip, v.flip_vertical, v.quarter_turns) for v in derived(facts).policy.views] == [(0.5, 0.0, 0.0)] * 2
    assert "--orientation any is for those that have none" in choice(facts, "orientation").reason
    turned = replace(facts, orientation="any")
    assert [(v.flip, v.flip_vertical, v.quarter_turns) for v in derived(turned).policy.views] == [(0.5, 0.5, 1.0)] * 2
    told = choice(turned, "orientation")
    assert (told.value, told.reason) == ("any", "asked for; derived: upright")
    assert told.part(derived(turned)) == "any" and told.part(derived(facts)) == "upright"
    assert choice(turned, "policy.views") == choice(facts, "policy.views")


def test_colour_images_get_moco_v2s_jitter() -> None:
    view = derived(PHOTOS).policy.views[0]
    assert (view.brightness, view.contrast, view.saturation, view.hue, view.grey) == (0.4, 0.4, 0.4, 0.1, 0.2)


def test_blur_is_for_views_above_64_pixels_and_as_wide_as_at_224() -> None:
    small, large = derived(PHOTOS).policy.views[0], derived(replace(PHOTOS, gpu=True)).policy.views[0]
    assert (small.size, small.blur) == (64, 0.0)
    assert (large.size, large.blur, large.sigma) == (224, 0.5, (0.1, 2.0))
    medium = derived(replace(PHOTOS, gpu=True, side=100)).policy.views[0]
    assert (medium.size, medium.blur) == (96, 0.5) and medium.sigma == pytest.approx((0.1, 2.0 * 96 / 224))


def test_normalisation() -> None:
    assert (derived(PHOTOS).policy.mean, derived(PHOTOS).policy.std) == (MEAN, STD)
    assert (derived(DIGITS).policy.mean, derived(DIGITS).policy.std) == ((0.13,), (0.31,))
    started = replace(PHOTOS, init="r18.pt", backbone=ResNet(18))
    assert (derived(started).policy.mean, derived(started).policy.std) == IMAGENET
    # The file of a run on grey images: ImageNet's three numbers would not fit its one channel.
    grey = derived(replace(DIGITS, init="run.pt", backbone=SmallResNet((8, 16), channels=1)))
    assert grey.policy.mean == (0.13,)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_the_precision_is_what_the_hardware_is_fast_at(gpu: bool, fast: bool) -> None:
    facts = replace(PHOTOS, gpu=gpu, fast_bf16=fast)
    assert derived(facts).train.precision == ("bf16" if fast else "fp32")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [0, 120, 1_000, 2_000, 7_813])
def test_twenty_measurements_and_six_kept_checkpoints(kind: str, steps: int) -> None:
    facts = replace(KINDS[kind], steps=steps)
    run = derived(facts)
    per_epoch = facts.images // run.train.batch
    for epochs in (run.log.save_epochs, run.log.knn_epochs):
        assert run.train.steps / every(epochs, per_epoch) == pytest.approx(20, rel=0.05)
    kept = every(run.log.keep_epochs, per_epoch)
    assert run.train.steps // kept == 6 and run.train.steps % kept > 0.9 * kept - 7  # and the last, about as far on


class TestRefusals:
    """The message names the rule and the number that broke it."""

    def test_too_few_images(self) -> None:
        with pytest.raises(ConfigError, match=r"63 images are too few.*at least 64, whatever the method; add images"):
            automatic(replace(PHOTOS, images=63))
        automatic(replace(PHOTOS, images=64))

    def test_too_small_images(self) -> None:
        with pytest.raises(ConfigError, match=r"side below 16 pixels; at least 16 are needed"):
            automatic(replace(PHOTOS, side=15))
        automatic(replace(PHOTOS, side=16))

    @pytest.mark.usefixtures("typed")
    def test_one_channel_on_a_gpu(self) -> None:
        with pytest.raises(ConfigError, match=r"1 channel\(s\).*convert the images to RGB, or use --device cpu"):
            automatic(replace(DIGITS, gpu=True))


class TestLimits:
    """What a trial found possible is kept to, and what depends on it follows."""

    def test_steps(self) -> None:
        facts = replace(PHOTOS, backbone=ResNet(18))
        free, limited = derived(facts), derived(facts, Limits(steps=3_000))
        assert limited.train.steps == 3_000 < free.train.steps
        assert limited.train.warmup_steps == 150
        assert half_life(limited.ema.momentum) == pytest.approx(30)
        assert limited.log.save_epochs == pytest.approx(free.log.save_epochs * 3_000 / free.train.steps, rel=0.01)
        assert "fits into the given time" in choice(PHOTOS, "train.steps", Limits(steps=3_000)).reason

    @pytest.mark.parametrize("batch", [32, 64])
    def test_batch(self, batch: int) -> None:
        limits = Limits(batch=batch)
        limited = derived(PHOTOS, limits)
        assert limited.train.batch == batch
        assert limited.train.steps == math.ceil(1_000_000 / batch)  # as many images seen as without
        assert "memory" in choice(PHOTOS, "train.batch", limits).reason

    @pytest.mark.parametrize("batch", [1, 4, 16, 31])
    def test_below_32_the_batch_is_32_and_the_rest_left_to_micro_batches(self, batch: int) -> None:
        limits = Limits(batch=batch)
        assert derived(PHOTOS, limits) == derived(PHOTOS, Limits(batch=32))
        reason = choice(PHOTOS, "train.batch", limits).reason
        assert reason == f"the least that has enough negatives, though the memory holds {batch} at once"

    def test_measures(self) -> None:
        free, limited = derived(PHOTOS), derived(PHOTOS, Limits(measures=2))
        epochs = free.train.steps / (PHOTOS.images // free.train.batch)
        assert limited.log.save_epochs == limited.log.knn_epochs == pytest.approx(epochs / 2, rel=0.01)
        assert free.log.save_epochs == pytest.approx(epochs / 20, rel=0.01)
        assert replace(limited, log=free.log) == free

    @pytest.mark.parametrize("kept", [0, 1, 3])
    def test_kept(self, kept: int) -> None:
        free, limited = derived(PHOTOS), derived(PHOTOS, Limits(kept=kept))
        interval = every(limited.log.keep_epochs, PHOTOS.images // free.train.batch)
        assert (free.train.steps // interval if interval else 0) == kept
        assert replace(limited, log=free.log) == free

    def test_none_is_the_same_as_no_limits(self) -> None:
        assert automatic(PHOTOS) == automatic(PHOTOS, Limits())


class TestAskedFor:
    """A batch or a length of the user's own wins over rules and limits; the rest follows from it."""

    def test_batch(self) -> None:
        facts = replace(PHOTOS, batch=256)
        run = derived(facts, Limits(batch=64))
        assert run.train.batch == 256 and run.train.steps == math.ceil(1_000_000 / 256)
        assert choice(facts, "train.batch").reason == "asked for; derived: 128"

    def test_steps(self) -> None:
        facts = replace(PHOTOS, steps=40, backbone=ResNet(18))
        run = derived(facts, Limits(steps=3_000))
        assert (run.train.steps, run.train.warmup_steps) == (40, 2)
        assert half_life(run.ema.momentum) == pytest.approx(4)
        assert choice(facts, "train.steps").reason == f"asked for; derived: {derived(PHOTOS).train.steps}"


@pytest.mark.usefixtures("typed")
def test_what_it_starts_from_is_told_and_how_to_start_from_trained_weights() -> None:
    facts = KINDS[next(iter(KINDS))]
    without = choice(replace(facts, init="", seen=None), "init")
    assert without.value == "random weights" and "--init timm:NAME" in without.reason
    asked = choice(replace(facts, init="folder/w.pth", backbone=ResNet(18)), "init")
    assert (asked.value, asked.reason) == ("w.pth", "the weights asked for")
