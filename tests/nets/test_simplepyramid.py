"""The simple pyramid: its strides, positions that depend on the place alone, and what cannot have one."""

import pytest
import torch
from torch import nn
from torchvision.models.convnext import LayerNorm2d

from resmom.nets.backbones import Backbone, BackboneConfig, DinoViT, MoCoViT, Timm, build_backbone
from resmom.nets.detector import Detector, build_detector
from resmom.nets.simplepyramid import SimplePyramid

HALF = (0.5, 0.5, 0.5)
SMALL = MoCoViT("tiny", image=64)


def backbone_of(config: BackboneConfig) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, DinoViT("tiny", image=32, patch=8), MoCoViT("tiny", image=32, patch=4)])
@pytest.mark.parametrize("retina", [False, True])
@torch.no_grad()
def test_levels_have_strides_of_4_to_32_and_more_above(config: MoCoViT | DinoViT, retina: bool) -> None:
    pyramid = SimplePyramid(backbone_of(config), 16, retina, longest=128)
    assert pyramid.strides == [4, 8, 16, 32, 64, 128][: 6 if retina else 5]
    maps = list(pyramid(torch.randn(2, 3, 64, 96)).values())
    sizes = [tuple(one.shape) for one in maps]
    assert sizes[:4] == [(2, 16, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32)]
    # What pools a last odd place keeps it.
    assert sizes[4:] == [(2, 16, 1, 2), (2, 16, 1, 1)][: len(sizes) - 4]
    assert not [m for m in pyramid.modules() if isinstance(m, nn.BatchNorm2d)]


def test_layers_are_those_of_the_paper() -> None:
    """For patches of 16: two, one and no transposed convolution, then pooling; all with LayerNorm."""
    levels = SimplePyramid(backbone_of(SMALL), 16, False, 64).levels
    kinds = [[type(layer) for layer in level] for level in levels]  # type: ignore[union-attr]
    end = [nn.Conv2d, LayerNorm2d, nn.Conv2d, LayerNorm2d]
    up = nn.ConvTranspose2d
    assert kinds == [[up, LayerNorm2d, nn.GELU, up, *end], [up, *end], end, [nn.MaxPool2d, *end]]
    first = levels[0]
    assert isinstance(first, nn.Sequential) and isinstance(first[0], up) and isinstance(first[4], nn.Conv2d)
    assert (first[0].in_channels, first[0].out_channels, first[4].in_channels) == (192, 96, 48)
    assert first[4].kernel_size == (1, 1) and first[4].bias is None


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, DinoViT("tiny", image=64)])
@torch.no_grad()
def test_the_map_at_the_size_of_pretraining_is_the_backbones_own(config: MoCoViT | DinoViT) -> None:
    backbone = backbone_of(config)
    image = torch.randn(2, 3, 64, 64)
    tokens, _ = backbone(image)
    places = backbone.body.forward_map(image, 4)  # type: ignore[operator]
    torch.testing.assert_close(places.flatten(2).transpose(1, 2), tokens[:, 1:])


@torch.no_grad()
def test_positions_are_spread_over_the_longest_side_and_depend_on_the_place_alone() -> None:
    body = backbone_of(DinoViT("tiny", image=64)).body
    seen: list[torch.Tensor] = []
    body.get_submodule("norm_pre").register_forward_hook(lambda module, given, out: seen.append(out))
    body.get_submodule("patch_embed.proj").weight.zero_()  # type: ignore[operator]
    body.get_submodule("patch_embed.proj").bias.zero_()  # type: ignore[operator]
    slope = torch.arange(4.0).repeat_interleave(4)  # the row of each patch
    body.pos_embed.copy_(torch.cat([torch.zeros(1), slope])[None, :, None].expand(1, 17, 192))  # type: ignore[operator]
    for height, width in ((128, 128), (64, 128), (128, 32), (32, 64)):
        body.forward_map(torch.zeros(1, 3, height, width), 8)  # type: ignore[operator]
    grids = [
        one[0, 1:, 0].reshape(height, width)
        for one, (height, width) in zip(seen, ((8, 8), (4, 8), (8, 2), (2, 4)), strict=True)
    ]
    for grid in grids[1:]:
        assert torch.equal(grid, grids[0][: grid.shape[0], : grid.shape[1]])
    # A square of twice as many patches has rows half as far apart (bicubic, and flatter at the edges).
    assert grids[0][2:6, 0].tolist() == pytest.approx([0.75, 1.25, 1.75, 2.25], abs=0.05)
    assert grids[0].std(dim=1).max() < 1e-5


def test_everything_learns_what_pretraining_had_fixed_too() -> None:
    backbone = backbone_of(SMALL).requires_grad_(False)  # as a teacher's
    pyramid = SimplePyramid(backbone, 16, False, 96)
    torch.stack([one.square().sum() for one in pyramid(torch.randn(1, 3, 64, 96)).values()]).sum().backward()
    assert [name for name, p in pyramid.named_parameters() if p.grad is None] == []
    assert not any(p.requires_grad for p in backbone.parameters())  # a copy learns, not the backbone itself


@pytest.mark.slow
def test_what_has_no_simple_pyramid_is_said() -> None:
    for config, backbone, words in (
        (Detector("c4"), SMALL, "form c4 is the last stage of a ResNet"),
        (Detector("fpn", norm="frozen"), SMALL, "no BatchNorm that could stay frozen"),
        (Detector(), DinoViT("tiny", image=28, patch=14), "patches are 14 pixels wide"),
        (Detector(), Timm("vit_tiny_patch16_224", 32), r"the names vit-\* and dino-vit-\*; this backbone is neither"),
        (Detector(), Timm("resnet10t"), "this backbone is neither"),
    ):
        with pytest.raises(ValueError, match=words):
            build_detector(config, backbone_of(backbone), 2, HALF, HALF)
