"""timm's Vision Transformers by name: what they are made for, and views of other sizes."""

import pytest
import timm
import torch

from resmom.build import Own, build_method
from resmom.methods.ibot import Ibot
from resmom.nets.backbones import DinoViT, MoCoViT, ResNet, Timm, build_backbone, cut_of, patch_of, unseen_of
from resmom.nets.timms import Patches, patches_of
from resmom.nets.vit import ViTBody, hidden_tokens, takes_hidden


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_vit", Patches(160, 16)),
        ("vit_small_patch14_reg4_dinov2", Patches(518, 14)),
        ("deit_tiny_distilled_patch16_224", Patches(224, 16)),
        ("eva02_tiny_patch14_224", Patches(224, 14)),
        ("vit_small_r26_s32_224", Patches(224, 32)),
        ("resnet10t", None),
        ("gmlp_ti16_224", None),
        ("no_such_model", None),
    ],
)
def test_image_and_patch_of_a_name(name: str, expected: Patches | None) -> None:
    assert patches_of(name) == expected


def test_what_a_backbone_cuts_images_into() -> None:
    assert cut_of(Timm("test_vit")) == (160, 16) and cut_of(Timm("test_vit", 32)) == (32, 16)
    assert cut_of(MoCoViT("tiny", 64, 8)) == (64, 8) and cut_of(DinoViT("tiny", 32, 4)) == (32, 4)
    assert cut_of(ResNet()) is None and cut_of(Timm("resnet10t")) is None
    # 27 patches of 14 and some pixels: timm leaves these out, and takes no other size.
    assert cut_of(Timm("vit_so400m_patch14_siglip_384")) is None
    assert cut_of(Timm("test_vit", 40)) is None
    assert [patch_of(backbone) for backbone in (Timm("test_vit"), Timm("test_vit", 40), DinoViT(), ResNet())] == [
        *(16, 1, 16, 1)
    ]


def test_pixels_that_make_no_whole_patch_are_known() -> None:
    assert unseen_of(Timm("test_vit", 40)) == (8, 16) and unseen_of(Timm("test_vit", 48)) is None
    assert unseen_of(Timm("vit_so400m_patch14_siglip_384")) == (6, 14)
    assert unseen_of(Timm("resnet10t")) is None and unseen_of(DinoViT("tiny", 40, 16)) is None


def test_looking_at_a_name_draws_no_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    patches_of.cache_clear()
    patches_of("test_vit2")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "eva02_tiny_patch14_224", "deit_tiny_distilled_patch16_224"])
@torch.no_grad()
def test_weights_and_features_are_those_of_timms_model_of_one_size(name: str) -> None:
    """Of the same names and values, so that files of before and after load into either."""
    side = 2 * patch_of(Timm(name))
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=0, img_size=side).eval()
    torch.manual_seed(0)
    backbone = build_backbone(Timm(name, side)).eval()
    assert list(plain.state_dict()) == list(backbone.body.state_dict())
    plain.load_state_dict(backbone.body.state_dict(), strict=True)
    x = torch.randn(2, 3, side, side)
    assert torch.equal(plain(x), backbone(x)[1])
    for other in (side // 2, 3 * side // 2):
        assert backbone(torch.randn(2, 3, other, other))[1].shape == (2, backbone.width)
    if not name.startswith("test_"):  # which timm's own definition has take other sizes
        with pytest.raises(AssertionError):
            plain(torch.randn(2, 3, side // 2, side // 2))


@torch.no_grad()
def test_patches_are_hidden_in_timms_transformer_as_in_ours() -> None:
    torch.manual_seed(0)
    body = build_backbone(Timm("test_vit", 64)).body.eval()
    depth, heads = len(body.blocks), body.blocks[0].attn.num_heads
    ours = ViTBody(64, 16, 64, depth, heads, mlp_ratio=body.blocks[0].mlp.fc1.out_features / 64).eval()
    ours.load_state_dict(body.state_dict(), strict=True)
    x, token = torch.randn(2, 3, 64, 64), torch.randn(1, 64)
    hidden = torch.rand(2, 4, 4) < 0.5
    torch.testing.assert_close(hidden_tokens(body, x, hidden, token), hidden_tokens(ours, x, hidden, token))
    assert takes_hidden(body) and takes_hidden(ours)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("name", ["test_vit2", "gmlp_ti16_224", "eva02_tiny_patch14_224", "resnet10t"])
def test_ibot_refuses_what_has_no_class_token_of_its_own(name: str) -> None:
    with pytest.raises(ValueError, match=r"patches are hidden .* alone, and .* choose --backbone dino-vit-small"):
        build_method(Ibot(hidden=8, out=4, prototypes=8), Timm(name), 0, Own(), (3, 160, 160))


def test_ibot_refuses_a_transformer_from_python() -> None:
    """It is called as a whole there, and its patches are not known."""
    own = Own(backbone=timm.create_model("test_vit", num_classes=0, img_size=32, dynamic_img_size=True))
    with pytest.raises(ValueError, match="patches are hidden and compared in a Vision Transformer alone"):
        build_method(Ibot(hidden=8, out=4, prototypes=8), DinoViT(), 0, own, (3, 32, 32))
