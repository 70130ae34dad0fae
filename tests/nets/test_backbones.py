"""Backbones: shapes, stems, starts; what they share with torchvision and timm."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18, resnet50

from resmom.nets.backbones import BackboneConfig, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.nets.positions import sincos_positions

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "image", "shape", "width"),
    [
        (ResNet(18), 64, (2, 512, 2, 2), 512),
        (ResNet(34, stem="small"), 32, (2, 512, 4, 4), 512),
        (ResNet(50, stem="small_pad2"), 32, (2, 2048, 5, 5), 2048),
        (ResNet(18, stem="small_pool"), 64, (2, 512, 4, 4), 512),
        (SmallResNet((8, 16)), 32, (2, 16, 8, 8), 16),
        (SmallResNet((8, 16), blocks=2, stem_stride=1, channels=1), 32, (2, 16, 16, 16), 16),
        (MoCoViT("tiny", image=32, patch=8), 32, (2, 17, 192), 192),
        (MoCoViT("micro", image=32, patch=4), 32, (2, 65, 96), 96),
        (Timm("resnet10t"), 64, (2, 512, 2, 2), 512),
        (Timm("mobilenetv3_small_050"), 32, (2, 288, 1, 1), 1024),
        (Timm("vit_tiny_patch16_224", image=32), 32, (2, 5, 192), 192),
    ],
    ids=str,
)
def test_map_and_pooled_representation(
    config: ResNet | SmallResNet | MoCoViT | Timm, image: int, shape: tuple[int, ...], width: int
) -> None:
    backbone = build_backbone(config).eval()
    channels = config.channels if isinstance(config, SmallResNet) else 3
    features, h = backbone(torch.randn(2, channels, image, image))
    assert features.shape == shape and h.shape == (2, width) and backbone.width == width


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "side"), [("small", 32), ("small_pad2", 34), ("small_pool", 16), ("imagenet", 8)])
def test_the_small_stem_keeps_the_map(stem: str, side: int) -> None:
    body = build_backbone(ResNet(18, stem=stem)).body
    assert body.maxpool(body.conv1(torch.randn(1, 3, 32, 32))).shape[-2:] == (side, side)


@pytest.mark.slow
def test_resnet_is_torchvisions_by_name_and_by_number() -> None:
    for depth, reference in ((18, resnet18()), (50, resnet50())):
        ours = build_backbone(ResNet(depth)).body
        expected = {k: v.shape for k, v in reference.state_dict().items() if not k.startswith("fc.")}
        assert {k: v.shape for k, v in ours.state_dict().items()} == expected
        ours.load_state_dict({k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")})
        reference.fc = nn.Identity()
        x = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(ours.eval().forward_head(ours.forward_features(x)), reference.eval()(x))


def test_zero_init_residual() -> None:
    body = build_backbone(ResNet(18, zero_init_residual=True)).body
    assert all((block.bn2.weight == 0).all() for block in body.layer1)
    assert all((block.bn2.weight == 1).all() for block in build_backbone(ResNet(18)).body.layer1)


@pytest.mark.slow
def test_moco_vit_is_the_papers() -> None:
    body = build_backbone(MoCoViT("small", image=64)).body
    assert body.blocks[0].attn.num_heads == 12
    assert not body.pos_embed.requires_grad and not body.patch_embed.proj.weight.requires_grad
    assert body.cls_token.abs().max() < 1e-4 and (body.pos_embed[0, 0] == 0).all()
    qkv = body.blocks[0].attn.qkv.weight
    bound = (6 / (384 + 384)) ** 0.5  # as three square matrices, not one of 3 x 384 rows
    assert qkv.abs().max() <= bound and qkv.abs().max() > 0.98 * bound
    assert build_backbone(
        MoCoViT("tiny", image=32, patch=8, freeze_patch=False)
    ).body.patch_embed.proj.weight.requires_grad


def test_sincos_positions_by_hand() -> None:
    positions = sincos_positions(8, 2, 3)
    assert positions.shape == (6, 8)
    # Token 3 is column 1, row 1: tokens run down the columns.
    omega = torch.tensor([1.0, 1e-2])
    expected = torch.cat([torch.sin(omega), torch.cos(omega), torch.sin(omega), torch.cos(omega)])
    torch.testing.assert_close(positions[3], expected)
    torch.testing.assert_close(positions[2][:2], torch.sin(omega))
    torch.testing.assert_close(positions[2][4:6], torch.zeros(2))
    with pytest.raises(ValueError, match="divisible by 4"):
        sincos_positions(6, 2, 2)


def test_an_unknown_timm_model_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="timm has no model 'resnet19'; near it: resnet1"):
        build_backbone(Timm("resnet19"))
    with pytest.raises(
        ValueError, match=r"timm's resnet10t cannot be made for images of 32 pixels \(.*img_size.*leave"
    ):
        build_backbone(Timm("resnet10t", image=32))
    assert timm.is_model("resnet18")


def test_heads_have_the_layers_that_were_asked_for() -> None:
    head = mlp(8, 16, 4, 3, last_norm="plain")
    kinds = [type(layer).__name__ for layer in head]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert head[0].bias is None and head[-1].weight is None
    assert mlp(8, 16, 4, 2, last_norm="affine", bias=True)[-1].weight is not None


def test_encoder_gives_all_sites_and_the_teacher_form_none_for_p() -> None:
    backbone = build_backbone(SmallResNet((8, 16)))
    encoding = Encoder(backbone, mlp(16, 8, 4, 2), mlp(4, 8, 4, 2))(torch.randn(3, 3, 16, 16))
    assert encoding.h.shape == (3, 16) and encoding.z.shape == encoding.p.shape == (3, 4)
    assert torch.equal(encoding.rows(slice(1, 3)).p, encoding.p[1:])
    plain = Encoder(backbone, mlp(16, 8, 4, 2))(torch.randn(3, 3, 16, 16))
    assert plain.p is None and plain.at("p") is plain.z


def test_a_module_that_is_frozen_whole_is_refused() -> None:
    """It would come back from a run as it went in."""
    from resmom.nets.given import given_backbone

    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter of Sequential takes a gradient"):
        given_backbone(module, (3, 2, 2))
    module[1].bias.requires_grad_(True)
    assert given_backbone(module, (3, 2, 2)).width == 4


def test_a_narrow_shortcut_computes_the_strided_convolution() -> None:
    """Output and gradients of the form that spares oneDNN its faulty kernel, in float64 and channels last."""
    torch.manual_seed(0)
    body = build_backbone(SmallResNet((4, 8))).double()
    shortcut = next(m for m in body.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1))
    x = torch.randn(2, 4, 7, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    ours = shortcut(x)
    plain = torch.nn.functional.conv2d(x, shortcut.weight, stride=2)
    assert shortcut.stride == (2, 2)
    torch.testing.assert_close(ours, plain)
    weights = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), (x, shortcut.weight)),
        torch.autograd.grad((plain.contiguous() * weights).sum(), (x, shortcut.weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_only_narrow_networks_have_it() -> None:
    kinds = {type(m) for m in build_backbone(SmallResNet((8, 16))).modules() if isinstance(m, nn.Conv2d)}
    assert kinds == {nn.Conv2d}


def test_what_the_pages_say_of_the_cost_of_a_resnet() -> None:
    """Operations at 64 pixels, beside the network that a CPU derives, and of the stem for small images."""

    def operations(config: BackboneConfig) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            build_backbone(config).eval()(torch.zeros(1, 3, 64, 64))
        return counter.get_total_flops()

    derived, photos = operations(SmallResNet((16, 32, 64, 128))), operations(ResNet(18))
    assert round(photos / derived) == 9
    assert "a ResNet-18 takes nine times the computation at 64 pixels" in (ROOT / "README.md").read_text()
    assert round(operations(ResNet(18, stem="small")) / photos) == 15
    assert "the small one costs about 15 times the operations" in (ROOT / "docs/automatic.md").read_text()
