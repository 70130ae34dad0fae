"""The probe on random crops: equal to slow loops, known accuracies, nothing outside touched, restarts."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resmom.data.source import ArraySource
from resmom.errors import UserError
from resmom.evaluate.linearcrop import Memory, linear_crop
from resmom.evaluate.score import Score
from resmom.evaluate.settings import LinearCrop
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.views.apply import plain
from resmom.views.policy import Policy, View
from tests.nets.test_depth import vit

POLICY = Policy((View(size=8, scale=(0.5, 1.0), flip=0.5),), (0.5,) * 3, (0.25,) * 3)


class Colour(nn.Module):
    """h is the mean colour, which of an even image no crop changes."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        return view, view.mean((2, 3))


def even(n: int, seed: int, apart: float = 60.0) -> ArraySource:
    """Images of one colour each; the three classes are redder, greener and bluer than grey."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    colours = 128 + apart * np.eye(3)[labels] + random.uniform(-20, 20, (n, 3)) * (apart > 0)
    images = torch.from_numpy(colours.astype(np.uint8))[:, :, None, None].expand(-1, -1, 12, 12).contiguous()
    return ArraySource("even", images, labels.astype(np.int64), ("r", "g", "b"))


class Kept:
    """Remembers what it is given; `dies` after so many epochs."""

    def __init__(self, state: dict[str, Any] | None = None, dies: int = 0) -> None:
        self.state, self.dies, self.losses = state, dies, [0.0]

    def load(self) -> dict[str, Any] | None:
        return self.state

    def save(self, state: dict[str, Any], epoch: int, loss: float) -> None:
        self.state = copy.deepcopy(state)
        self.losses.append(loss)
        if epoch == self.dies:
            raise KeyboardInterrupt


def probe(
    config: LinearCrop,
    backbone: nn.Module | None = None,
    train: ArraySource | None = None,
    memory: Memory | None = None,
    test: ArraySource | None = None,
    policy: Policy = POLICY,
) -> Score:
    test = test or even(30, 1)
    clean = plain(test.read(np.arange(len(test))), 8, POLICY.mean, POLICY.std)
    network, source = backbone or Colour(), train or even(50, 0)
    found = linear_crop(network, source, test, lambda source: clean.split(20), policy, config, memory=memory)
    return found.score


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_it_is_sgd_on_the_batches_as_slow_loops_have_it(schedule: str) -> None:
    """50 images in batches of 4, so that the last of an epoch has two; the rate per 256 images, moved once an epoch."""
    config = LinearCrop(epochs=5, batch=4, lr=3.0, weight_decay=0.01, schedule=schedule, seed=2)  # type: ignore[arg-type]
    kept, train = Kept(), even(50, 0)
    probe(config, train=train, memory=kept)
    pixels = train.read(np.arange(50))
    assert isinstance(pixels, Tensor) and train.labels is not None and kept.state is not None
    h = (pixels[:, :, 0, 0].double().numpy() / 255 - 0.5) / 0.25
    weight = 0.01 * torch.empty(3, 3).normal_(generator=torch.Generator().manual_seed(2)).double().numpy()
    bias, moved, shifted = np.zeros(3), np.zeros((3, 3)), np.zeros(3)
    for epoch in range(5):
        share = 0.5 * (1 + np.cos(np.pi * epoch / 5)) if schedule == "cosine" else (1.0, 1.0, 1.0, 0.1, 0.01)[epoch]
        rate = 3.0 * 4 / 256 * share
        order = np.random.default_rng([2, epoch]).permutation(50)
        for batch in [order[at : at + 4] for at in range(0, 50, 4)]:
            votes = h[batch] @ weight.T + bias
            shares = np.exp(votes) / np.exp(votes).sum(1, keepdims=True)
            error = (shares - np.eye(3)[train.labels[batch]]) / len(batch)
            moved = 0.9 * moved + error.T @ h[batch] + 0.01 * weight
            shifted = 0.9 * shifted + error.sum(0) + 0.01 * bias
            weight, bias = weight - rate * moved, bias - rate * shifted
    np.testing.assert_allclose(kept.state["head"]["weight"].numpy(), weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(kept.state["head"]["bias"].numpy(), bias, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_known_answers() -> None:
    found = probe(LinearCrop(epochs=20, batch=16, lr=30.0))
    assert found.top1 == 100.0
    assert found.protocol == (
        "linear-crop-v1 (frozen h, one linear layer, random crops of 0.08 to 1 of the area, flip 0.5, sgd lr 30 per "
        "256 images, half a cosine by epoch, wd 0, 20 epochs, batch 5, trained on 50, tested on 30, last epoch, seed 0)"
    )
    grey = even(30, 1, apart=0.0)  # all images are one: every class gets the votes of the same, a third is right
    assert probe(LinearCrop(epochs=2), train=grey, test=grey).top1 == pytest.approx(100 / 3)


def test_the_orientations_of_pretraining_are_learnt_from_and_named() -> None:
    turned = Policy((View(size=8, flip=0.5, flip_vertical=0.5, quarter_turns=1.0),), POLICY.mean, POLICY.std)
    found = probe(LinearCrop(epochs=1), policy=turned).protocol
    assert "of the area, flip 0.5, vertical flip 0.5, quarter turns 1, sgd lr" in found


def test_the_network_stays_as_it_is_and_sees_other_crops_each_epoch() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(SmallResNet((8, 16), stem_stride=1))
    backbone.train()
    before, state = copy.deepcopy(backbone.state_dict()), torch.get_rng_state()
    random = torch.Generator().manual_seed(0)
    labels = np.arange(40, dtype=np.int64) % 2
    noise = torch.randint(0, 256, (40, 3, 12, 12), generator=random, dtype=torch.uint8)
    train = ArraySource("noise", noise, labels, ("a", "b"))
    config = LinearCrop(epochs=2, batch=4, lr=1e-9)  # too slow to learn: the losses differ by the views alone
    kept = Kept()
    first = probe(config, backbone, train, kept, train)
    assert abs(kept.losses[1] - kept.losses[2]) > 1e-5
    assert first == probe(config, backbone, train, None, train)
    assert torch.equal(torch.get_rng_state(), state) and backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    assert all(p.grad is None for p in backbone.parameters())


class Joined(nn.Module):
    """A transformer whose h is what DINO joins: the class tokens of its last four blocks, here the last one's first."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body._pos_embed(self.body.patch_embed(view))  # type: ignore[operator]
        outs = []
        for block in self.body.blocks:  # type: ignore[union-attr]
            x = block(x)
            outs.append(self.body.norm(x))  # type: ignore[operator]
        return outs[-1], torch.cat([out[:, 0] for out in outs[:-5:-1]], 1)


def test_the_features_of_several_layers_are_learnt_from() -> None:
    """The layer learns the same as that of a network whose h they are."""
    torch.manual_seed(0)
    backbone = vit(depth=5)
    shown, joined = Kept(), Kept()
    config = LinearCrop(epochs=3, batch=10, lr=1.0)
    layer = "last 4 blocks, class tokens"
    found = probe(replace(config, layer=layer), backbone, memory=shown)
    expected = probe(config, Joined(backbone.body), memory=joined)
    assert found == replace(expected, protocol=expected.protocol.replace("frozen h", f"frozen '{layer}'"))
    assert shown.losses == pytest.approx(joined.losses) and shown.losses[3] < shown.losses[1]
    assert shown.state is not None and joined.state is not None
    assert shown.state["head"]["weight"].shape == (3, 4 * 32)
    torch.testing.assert_close(shown.state["head"], joined.state["head"])
    assert not any(module._forward_hooks for module in backbone.modules())
    with pytest.raises(UserError, match=r"no features 'stage1, mean'.*; it has 'h', 'last block"):
        probe(replace(config, layer="stage1, mean"), backbone)


def test_a_restart_changes_no_bit() -> None:
    config = LinearCrop(epochs=4, batch=8, lr=1.0)
    whole, parts = Kept(), Kept(dies=2)
    score = probe(config, memory=whole)
    with pytest.raises(KeyboardInterrupt):
        probe(config, memory=parts)
    assert parts.state is not None and parts.state["epoch"] == 2
    again = Kept(parts.state)
    assert probe(config, memory=again) == score and len(again.losses) == 3
    finished = Kept(again.state)
    assert probe(config, memory=finished) == score and len(finished.losses) == 1  # nothing is trained again
    assert whole.state is not None and again.state is not None
    for name, value in whole.state["head"].items():
        assert torch.equal(value, again.state["head"][name])
    assert whole.losses[3:] == again.losses[1:]


def test_networks_of_tokens_learn_at_thirty_times_the_rate() -> None:
    torch.manual_seed(0)
    found = probe(LinearCrop(epochs=1), vit())
    assert "sgd lr 3 per 256 images" in found.protocol
    assert "sgd lr 0.1 per 256 images" in probe(LinearCrop(epochs=1)).protocol


def test_what_is_refused() -> None:
    for wrong in ({"epochs": 0}, {"batch": 0}, {"lr": 0.0}, {"weight_decay": -1.0}, {"seed": -1}):
        with pytest.raises(ValueError, match="linear_crop"):
            LinearCrop(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"in epoch 1 at rate .*1e\+20 per .*, such as linear_crop\.lr 1e\+19"):
        probe(LinearCrop(epochs=2, lr=1e20, weight_decay=1.0))
    unknown = without_labels(even(30, 0))
    with pytest.raises(ValueError, match="two labelled images to learn from and one to test on; got 0 and 30"):
        probe(LinearCrop(), train=unknown)


def without_labels(source: ArraySource) -> ArraySource:
    images = source.read(np.arange(len(source)))
    assert isinstance(images, Tensor)
    return ArraySource("unknown", images, np.full(len(source), -1), source.classes)
