"""Layers and poolings against a plain forward pass; the sweep finds the layer that knows, without the test images."""

import pytest
import torch
from torch import Tensor

from resmom.errors import UserError
from resmom.evaluate.layers import LayerFeatures, features_of, layer_features
from resmom.evaluate.linear import choose_linear, linear_probe
from resmom.evaluate.score import NotMeasured
from resmom.evaluate.settings import Linear
from resmom.evaluate.sweep import sweep
from resmom.nets.backbones import Backbone, ResNet, SmallResNet, build_backbone
from resmom.nets.encoder import Encoder
from resmom.nets.vit import ViTBody
from tests.nets.test_depth import vit

QUICK = Linear(lrs=(0.003, 0.03), weight_decays=(0.0, 1e-3), epochs=5)


def encoder(backbone: Backbone) -> Encoder:
    return Encoder(backbone, torch.nn.Identity()).eval()


def test_stages_of_a_resnet_by_hand() -> None:
    torch.manual_seed(0)
    network, images = encoder(build_backbone(ResNet(18, stem="small"))), torch.randn(5, 3, 16, 16)
    found = layer_features(network, images.split(2))
    body = network.backbone.body
    assert list(found.kinds) == ["h", "stage1, mean", "stage2, mean", "stage3, mean"]  # stage 4 is h
    with torch.no_grad():
        one = body.layer1(body.relu(body.bn1(body.conv1(images))))  # type: ignore[operator]
        torch.testing.assert_close(found["stage1, mean"], one.mean((2, 3)))
        torch.testing.assert_close(found["h"], network.backbone(images)[1])
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("blocks", [1, 2])
def test_stages_of_a_small_resnet(blocks: int) -> None:
    network = encoder(build_backbone(SmallResNet((4, 8, 16), blocks)))
    found = layer_features(network, [torch.randn(3, 3, 16, 16)])
    assert {kind: found[kind].shape[1] for kind in found.kinds} == {"h": 16, "stage1, mean": 4, "stage2, mean": 8}


def test_tokens_of_a_transformer_by_hand() -> None:
    torch.manual_seed(0)
    network, images = encoder(vit(depth=5)), torch.randn(4, 3, 8, 8)
    found = layer_features(network, images.split(3))
    # The class token of the last block is h.
    assert list(found.kinds) == [
        "h", "last block, mean of patches", "last block, class token and mean of patches",
        "last 4 blocks, class tokens", "last 4 blocks, class tokens and mean of the last's patches",
    ]  # fmt: skip
    body = network.backbone.body
    with torch.no_grad():
        x = body._pos_embed(body.patch_embed(images))  # type: ignore[operator]
        outs: list[Tensor] = []
        for block in body.blocks:  # type: ignore[union-attr]
            x = block(x)
            outs.append(body.norm(x))  # type: ignore[operator]
    classes = torch.cat([out[:, 0] for out in reversed(outs[1:])], 1)
    patches = outs[-1][:, 1:].mean(1)
    torch.testing.assert_close(found["h"], outs[-1][:, 0])
    torch.testing.assert_close(found["last block, mean of patches"], patches)
    torch.testing.assert_close(found["last 4 blocks, class tokens"], classes)
    torch.testing.assert_close(found[list(found.kinds)[-1]], torch.cat([classes, patches], 1))
    assert found["last block, class token and mean of patches"].shape == (4, 64)


@pytest.mark.parametrize("side", [4, 8, 16])
def test_tokens_of_images_of_other_sizes(side: int) -> None:
    """The class token is told from the patches, whose number is not that of the size that the network is made for."""
    torch.manual_seed(0)
    body, images = ViTBody(8, 2, 12, depth=2, heads=2), torch.randn(3, 3, side, side)
    found = layer_features(encoder(Backbone(body, 12)), [images])
    with torch.no_grad():
        tokens = body.forward_features(images)
    assert tokens.shape[1] == 1 + (side // 2) ** 2
    torch.testing.assert_close(found["h"], tokens[:, 0])
    torch.testing.assert_close(found["last block, mean of patches"], tokens[:, 1:].mean(1))
    assert "last 2 blocks, class tokens" in found.kinds


@pytest.mark.parametrize("backbone", [build_backbone(SmallResNet((4, 8, 16))), vit(depth=5)], ids=["map", "tokens"])
def test_features_of_one_kind_are_those_among_all(backbone: Backbone) -> None:
    network, images = encoder(backbone), torch.randn(5, 3, 8, 8)
    found = layer_features(network, images.split(2))
    for kind in found.kinds:
        assert torch.equal(features_of(network, images.split(2), kind), found[kind]), kind
    # What equals h is no candidate, and can be had by its name all the same.
    equal = "stage3, mean" if backbone.width == 16 else "last block, class token"
    assert equal not in found.kinds
    torch.testing.assert_close(features_of(network, [images], equal), found["h"])
    with pytest.raises(UserError, match=r"no features 'stage9, mean'.*; it has 'h', '.*', '"):
        features_of(network, [images], "stage9, mean")
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(ValueError, match="no images"):
        features_of(network, [], "h")


def test_no_images() -> None:
    with pytest.raises(ValueError, match="no images to encode"):
        layer_features(encoder(vit()), [])


def halves(n: int, seed: int, apart: tuple[float, ...]) -> tuple[LayerFeatures, Tensor]:
    """Kinds that tell four classes apart more or less well."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(4, 6, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(n) % 4
    parts = {f"{i}": a * centres[labels] + torch.randn(n, 6, generator=random) for i, a in enumerate(apart)}
    return LayerFeatures(parts, {"h": ("0",), "deep": ("1",), "both": ("0", "1")}), labels


def test_the_layer_that_knows_is_found_and_tested_once() -> None:
    (train, y), (test, ty) = halves(600, 0, (0.0, 1.0)), halves(300, 1, (0.0, 1.0))
    found = sweep(train, y, test, ty, QUICK)
    assert found.kind in ("deep", "both") and found.choices["h"].accuracy < 45 < found.choices["deep"].accuracy
    for kind, choice in found.choices.items():
        assert choice == choose_linear(train[kind], y, QUICK)
        alone = linear_probe(train[kind], y, test[kind], ty, QUICK)
        assert (choice.lr, choice.weight_decay, choice.accuracy) == (alone.lr, alone.weight_decay, alone.validation)
        assert (alone.score.top1 == found.score.top1) or kind != found.kind
    assert found.score.protocol.startswith(
        f"sweep-v1 ({found.kind}; chosen among 3 layers and poolings x 4 settings; then linear-v1 (frozen"
    )


def test_the_test_images_have_no_part_in_the_choice() -> None:
    (train, y), (test, ty) = halves(600, 0, (0.5, 1.0)), halves(300, 1, (1.0, 0.0))
    honest = sweep(train, y, *halves(300, 1, (0.5, 1.0)), QUICK)
    wrong = sweep(train, y, test, (ty + 1) % 4, QUICK)
    assert (wrong.kind, wrong.choices) == (honest.kind, honest.choices) and wrong.score.top1 < honest.score.top1


def test_of_equals_the_first_is_taken() -> None:
    (train, y), (test, ty) = halves(200, 0, (1.0, 1.0)), halves(100, 1, (1.0, 1.0))
    twins = [LayerFeatures(f.parts, {"h": ("1",), "again": ("1",)}) for f in (train, test)]
    assert sweep(twins[0], y, twins[1], ty, QUICK).kind == "h"


def test_features_that_are_not_finite_are_left_out_and_named() -> None:
    (train, y), (test, ty) = halves(200, 0, (1.0, 1.0)), halves(100, 1, (1.0, 1.0))
    without = sweep(LayerFeatures(train.parts, {"h": ("0",)}), y, test, ty, QUICK)
    train.parts["1"][3, 2] = torch.nan
    found = sweep(train, y, test, ty, QUICK)
    assert (found.kind, found.choices, found.score.top1) == ("h", without.choices, without.score.top1)
    assert "x 4 settings, without 'deep' (not finite), without 'both' (not finite); then" in found.score.protocol
    assert "(diverged)" not in found.score.protocol
    train.parts["0"][0, 0] = torch.inf
    with pytest.raises(ValueError, match="1 of 200 training images have features that are not finite"):
        sweep(train, y, test, ty, QUICK)


def test_features_on_which_every_rate_diverges_are_left_out_and_named() -> None:
    """One learning rate: far too high for features that tell the classes hardly apart, and none for those that do."""
    (train, y), (test, ty) = halves(600, 0, (8.0, 0.1)), halves(300, 1, (8.0, 0.1))
    wild = Linear(lrs=(3.0,), weight_decays=(0.0,), epochs=5)
    with pytest.raises(NotMeasured, match="every learning rate"):
        choose_linear(train["deep"], y, wild)
    found = sweep(train, y, test, ty, wild)
    assert found.kind == "h" and "deep" not in found.choices and found.score.top1 > 95
    assert "layers and poolings x 1 settings, without 'deep' (diverged)" in found.score.protocol
    noise = torch.randn(600, 8, generator=torch.Generator().manual_seed(1))
    only = LayerFeatures({"0": noise, "1": noise}, train.kinds)
    with pytest.raises(NotMeasured, match="every learning rate"):
        sweep(only, y, test, ty, wild)
