"""The depth of parameters and the rates of layer-wise decay, by hand for every kind of backbone."""

import pytest
import timm
from torch import nn

from resmom.nets.backbones import Backbone, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.depth import depths, layer_rates


def vit(depth: int = 3) -> Backbone:
    body = timm.models.vision_transformer.VisionTransformer(
        img_size=8, patch_size=4, embed_dim=32, depth=depth, num_heads=2, num_classes=0
    )
    return Backbone(body, 32)


def test_a_vision_transformer_block_by_block() -> None:
    found, last = depths(vit())
    assert last == 3 and set(found) == {name for name, _ in vit().named_parameters()}
    for name in ("body.cls_token", "body.pos_embed", "body.patch_embed.proj.weight"):
        assert found[name] == 0
    assert [found[f"body.blocks.{i}.attn.qkv.weight"] for i in range(3)] == [1, 2, 3]
    assert found["body.blocks.1.norm1.bias"] == 2 and found["body.norm.weight"] == 4


def test_the_rates_of_the_formula() -> None:
    """decay^(L + 1 - depth) of three blocks: the last one .5, the embedding .5^4, the norm as the classifier."""
    rates = layer_rates(vit(), 0.5)
    assert [rates[f"body.blocks.{i}.mlp.fc1.weight"] for i in range(3)] == [0.125, 0.25, 0.5]
    assert rates["body.patch_embed.proj.bias"] == 0.0625 and rates["body.norm.bias"] == 1.0
    assert set(layer_rates(vit(), 1.0).values()) == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize("config", [ResNet(18), ResNet(18, stem="small"), Timm("resnet18")])
def test_a_resnet_stage_by_stage(config: ResNet | Timm) -> None:
    found, last = depths(build_backbone(config))
    assert last == 4
    assert found["body.conv1.weight"] == found["body.bn1.bias"] == 0
    assert [found[f"body.layer{i}.1.conv2.weight"] for i in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert set(found.values()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_small_resnet(blocks: int) -> None:
    found, last = depths(build_backbone(SmallResNet((4, 8, 16), blocks)))
    assert last == 3
    level = [found[f"body.layers.{3 + i}.conv1.weight"] for i in range(3 * blocks)]
    assert level == [1 + i // blocks for i in range(3 * blocks)]
    assert found["body.layers.0.weight"] == found["body.layers.1.weight"] == 0


def test_any_other_network() -> None:
    found, last = depths(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    assert last == 2 and found == {"0.weight": 1, "0.bias": 1, "2.weight": 2, "2.bias": 2}
