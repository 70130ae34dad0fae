"""Fine-tuning learns digits, gives each layer its rate, changes nothing outside, and is a function of its arguments."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from resmom.data.source import ArraySource
from resmom.evaluate.crops import light, turned
from resmom.evaluate.finetune import Classifier, _optimizer, _settled, finetune, parameter_groups
from resmom.evaluate.score import Score
from resmom.evaluate.settings import Finetune
from resmom.nets.backbones import Backbone, SmallResNet, build_backbone
from resmom.views.apply import plain
from resmom.views.policy import Policy, View
from tests.nets.test_depth import vit

POLICY = Policy((View(size=8, scale=(0.6, 1.0), flip=0.0, blur=0.0),), (0.5,) * 3, (0.25,) * 3)


def digits(rows: slice) -> ArraySource:
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))[rows]
    images = torch.from_numpy(found.images[order] / 16 * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    return ArraySource("digits", images, found.target[order].astype(np.int64), tuple("0123456789"))


TRAIN, TEST = digits(slice(0, 800)), digits(slice(800, 1200))


def tune(backbone: Backbone, config: Finetune, train: ArraySource = TRAIN, test: ArraySource = TEST) -> Score:
    clean = plain(test.read(np.arange(len(test))), 8, POLICY.mean, POLICY.std)
    views = "crop and flip of pretraining's first view"
    return finetune(backbone, backbone.width, train, test, lambda source: clean.split(150), POLICY, config, views).score


def small() -> Backbone:
    torch.manual_seed(0)
    return build_backbone(SmallResNet((8, 16), stem_stride=1))


def tokens() -> Backbone:
    torch.manual_seed(0)
    return vit()


@pytest.mark.slow
def test_it_learns_the_digits() -> None:
    found = tune(small(), Finetune(epochs=6, batch=32, lr=1.6))
    assert found.top1 > 90 and found.top5 is not None
    assert found.protocol == (
        "finetune-v1 (whole network, sgd lr 1.6 per 256 images, layer decay 1, wd 0, 6 epochs, batch 32, crop and flip "
        "of pretraining's first view, trained on 800, tested on 400, last epoch, seed 0)"
    )


def test_threads_that_make_the_crops_change_nothing() -> None:
    few = digits(slice(0, 100))
    clean = plain(TEST.read(np.arange(len(TEST))), 8, POLICY.mean, POLICY.std)
    heads = []
    for workers in (0, 2):
        net = small()
        args = few, TEST, lambda source: clean.split(150), POLICY, Finetune(epochs=2, batch=16, lr=1.6), "views"
        heads.append(finetune(net, net.width, *args, workers=workers).layer.weight)
    assert torch.equal(*heads) and heads[0].abs().sum() > 0


@pytest.mark.slow
def test_a_transformer_learns_too_by_other_settings() -> None:
    found = tune(tokens(), Finetune(epochs=12, batch=32, lr=2e-2))
    assert found.top1 > 50
    assert "adamw lr 0.02 per 256 images, layer decay 0.75, wd 0.05" in found.protocol


@pytest.mark.slow
def test_the_same_again_and_nothing_outside_is_touched() -> None:
    backbone = small().requires_grad_(False)
    before, state = copy.deepcopy(backbone.state_dict()), torch.get_rng_state()
    config = Finetune(epochs=1, batch=32)
    first = tune(backbone, config)
    assert first == tune(backbone, config) != tune(backbone, replace(config, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert not any(p.requires_grad for p in backbone.parameters())


def test_every_layer_steps_at_the_rate_of_the_formula() -> None:
    """One SGD step on gradients of one moves a weight by 1.9 (Nesterov) x rate x .5^(L + 1 - depth)."""
    model = Classifier(tokens(), 32, 10)
    optimizer = _optimizer(model, _settled(Finetune(optim="sgd", layer_decay=0.5), tokens=True))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["scale"]
    optimizer.step()
    moved = {name: (before[name] - p.detach()).mean().item() / 0.019 for name, p in model.named_parameters()}
    assert moved["head.weight"] == pytest.approx(1.0, rel=1e-3)
    assert moved["backbone.body.norm.weight"] == pytest.approx(1.0, rel=1e-3)
    for block, rate in enumerate((0.125, 0.25, 0.5)):
        assert moved[f"backbone.body.blocks.{block}.attn.proj.bias"] == pytest.approx(rate, rel=1e-3)
    assert moved["backbone.body.cls_token"] == pytest.approx(0.0625, rel=1e-3)


def test_adamw_decays_matrices_alone() -> None:
    model = Classifier(tokens(), 32, 10)
    decayed = {id(p) for g in parameter_groups(model, {}, 0.05, False) if g["weight_decay"] for p in g["params"]}
    for name, p in model.named_parameters():
        assert (id(p) in decayed) == (p.ndim > 1 and not name.endswith(("pos_embed", "cls_token"))), name


def test_only_crop_flips_and_quarter_turns_are_left_of_the_view() -> None:
    view = light(replace(POLICY, views=(View(), View()))).views
    assert view == (View(jitter=0.0, grey=0.0, blur=0.0),) and turned(view[0]) == ""
    every = View(flip_vertical=0.5, quarter_turns=1.0, rotation=10.0, solarise=0.2)
    (view,) = light(replace(POLICY, views=(every, View()))).views
    assert view == View(jitter=0.0, grey=0.0, blur=0.0, flip_vertical=0.5, quarter_turns=1.0)
    assert turned(view) == ", vertical flip 0.5, quarter turns 1"


@pytest.mark.parametrize(
    ("share", "epochs"), [(0.001, 60), (12_811 / 1_281_167, 60), (0.01, 60), (0.0101, 30), (0.1, 30), (1.0, 30)]
)
def test_epochs_are_simclrs_for_the_share_of_the_labels(share: float, epochs: int) -> None:
    """Its published list of 1 % has 12,811 images of ImageNet; a number that is given always wins."""
    assert Finetune().for_share(share) == Finetune(epochs=epochs)
    assert Finetune(epochs=7).for_share(share) == Finetune(epochs=7)
    assert Finetune(warmup_epochs=3, lr=0.1).for_share(share) == Finetune(epochs, warmup_epochs=3, lr=0.1)


def test_refusals() -> None:
    alone = ArraySource("one", TRAIN.read(np.arange(1)), np.array([0]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two labelled images to learn from and one to test on; got 1 and 400"):
        tune(small(), Finetune(), train=alone)
    nothing = ArraySource("none", TEST.read(np.arange(4)), np.full(4, -1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 800 and 0"):
        tune(small(), Finetune(), test=nothing)
    with pytest.raises(ValueError, match=r"in epoch 1 at .* 1e\+30 per 256 .*, such as finetune\.lr 1e\+29"):
        tune(tokens(), Finetune(epochs=1, optim="sgd", lr=1e30))
    with pytest.raises(ValueError, match=r"a warm-up within the epochs .*; got 30, 256, 40, 0"):
        tune(small(), Finetune(warmup_epochs=40))  # within the 60 of few labels, but these are all
    wrong: list[dict[str, float]] = [
        {"epochs": 0}, {"batch": 1}, {"layer_decay": 0.0}, {"layer_decay": 1.1}, {"lr": 0.0}, {"warmup_epochs": 99},
        {"weight_decay": -1.0},
    ]  # fmt: skip
    for values in wrong:
        with pytest.raises(ValueError, match=r"finetune|--tuning"):
            Finetune(**values)  # type: ignore[arg-type]
