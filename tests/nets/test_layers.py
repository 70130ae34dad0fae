"""The layers of a backbone: which they are, how they are pooled, and that nothing stays behind."""

import pytest
import timm
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from resmom.nets.backbones import Backbone, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.layers import layers, reading


def read(backbone: nn.Module, size: int, n: int = 2) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The pooled layers and h, in evaluation mode."""
    torch.manual_seed(0)
    backbone.eval()
    with torch.no_grad(), reading(backbone) as pooled:
        _, h = backbone(torch.randn(n, 3, size, size))
    return pooled, h


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "widths"),
    [
        (ResNet(18), {"stem": 64, "stage1": 64, "stage2": 128, "stage3": 256, "stage4": 512}),
        (ResNet(50, stem="small"), {"stem": 64, "stage1": 256, "stage2": 512, "stage3": 1024, "stage4": 2048}),
        (SmallResNet((4, 8, 12)), {"stem": 4, "stage1": 4, "stage2": 8, "stage3": 12}),
        (SmallResNet((4, 8), blocks=3, stem_stride=1), {"stem": 4, "stage1": 4, "stage2": 8}),
    ],
)
def test_our_resnets_have_a_stem_and_stages_and_end_at_h(config: ResNet | SmallResNet, widths: dict[str, int]) -> None:
    pooled, h = read(build_backbone(config), 32)
    assert {name: rows.shape[1] for name, rows in pooled.items()} == widths
    assert list(pooled) == list(widths)
    torch.testing.assert_close(pooled[list(widths)[-1]], h)


def test_a_stage_of_several_blocks_is_read_after_its_last_block() -> None:
    backbone = build_backbone(SmallResNet((4, 8), blocks=2))
    assert isinstance(backbone.body.layers, nn.Sequential)
    parts = list(backbone.body.layers)
    found = dict(layers(backbone))
    assert (found["stem"], found["stage1"], found["stage2"]) == (parts[2], parts[4], parts[6])


def test_the_stem_is_pooled_before_anything_changes_it_in_place() -> None:
    backbone = build_backbone(SmallResNet((4, 8))).eval()
    assert isinstance(backbone.body.layers, nn.Sequential)
    view = torch.randn(3, 3, 16, 16)
    with torch.no_grad(), reading(backbone) as pooled:
        backbone(view)
        expected = backbone.body.layers[:3](view).mean((2, 3))
    torch.testing.assert_close(pooled["stem"], expected)


def test_a_vit_is_read_at_its_class_token_after_each_block() -> None:
    backbone = build_backbone(MoCoViT("tiny", image=16, patch=8))
    pooled, h = read(backbone, 16)
    assert list(pooled) == [f"blocks.{number}" for number in range(12)]
    assert {rows.shape for rows in pooled.values()} == {(2, 192)}
    body = backbone.body
    assert isinstance(body.norm, nn.Module)
    torch.testing.assert_close(body.norm(pooled["blocks.11"]), h)


@pytest.mark.parametrize(
    ("name", "size", "widths"),
    [
        ("resnet10t", 32, [64, 64, 128, 256, 512]),
        ("convnext_atto", 32, [40, 80, 160, 320]),
        ("test_efficientnet", 32, [16, 24, 32, 48, 64]),
    ],
)
def test_any_timm_model_is_read_at_its_own_stages(name: str, size: int, widths: list[int]) -> None:
    pooled, _ = read(build_backbone(Timm(name)), size)
    assert [rows.shape for rows in pooled.values()] == [(2, width) for width in widths]


def test_channels_last_and_late_class_tokens_are_pooled_over_places() -> None:
    swin = timm.models.SwinTransformer(
        img_size=32, patch_size=2, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(2, 2), num_classes=0
    )
    pooled, _ = read(Backbone(swin, 24), 32)
    assert [rows.shape for rows in pooled.values()] == [(2, 12), (2, 24)]
    late = timm.models.cait.Cait(
        img_size=16, patch_size=8, embed_dim=8, depth=2, num_heads=2, num_classes=0, global_pool="token"
    )
    kept: list[torch.Tensor] = []
    late.blocks[1].register_forward_hook(lambda module, given, out: kept.append(out))
    pooled, _ = read(Backbone(late, 8), 16)
    torch.testing.assert_close(pooled["blocks.1"], kept[0].mean(1))  # four patches, and no class token yet


def test_a_network_of_ones_own_is_read_at_its_children() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 5, 3)
            self.blocks = nn.ModuleList([nn.Conv2d(5, 5, 1), nn.ReLU()])
            self.unused = nn.Linear(2, 2)
            self.twins = nn.LSTM(5, 4)  # its output is no tensor

        def forward(self, view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = self.first(view)
            for block in self.blocks:
                x = block(x)
            self.twins(x.mean((2, 3)))
            return x, x.mean((2, 3))

    own = Own()
    assert [name for name, _ in layers(own)] == ["first", "blocks.0", "blocks.1", "unused", "twins"]
    pooled, h = read(own, 8)
    assert list(pooled) == ["first", "blocks.0", "blocks.1"]
    torch.testing.assert_close(pooled["blocks.1"], h)
    blocks = nn.Sequential(BasicBlock(3, 3), BasicBlock(3, 3, 2, nn.Conv2d(3, 3, 1, 2)))
    assert [name for name, _ in layers(nn.Sequential(blocks))] == ["stage1", "stage2"]


def test_nothing_stays_on_the_backbone_also_after_an_error() -> None:
    backbone = build_backbone(SmallResNet((4, 8)))
    with reading(backbone) as pooled:
        assert hooks(backbone) == 3
        backbone(torch.randn(2, 3, 16, 16))
    assert hooks(backbone) == 0
    assert not any(rows.requires_grad for rows in pooled.values())
    before = {name: rows.clone() for name, rows in pooled.items()}
    backbone(torch.randn(2, 3, 16, 16))
    assert all(torch.equal(pooled[name], rows) for name, rows in before.items())
    with pytest.raises(RuntimeError), reading(backbone):
        backbone(torch.randn(2, 5, 16, 16))
    assert hooks(backbone) == 0
