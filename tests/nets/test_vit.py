"""Transformers that take views of several sizes and hide patches."""

import pytest
import torch
from timm.layers.drop import DropPath
from timm.models.vision_transformer import VisionTransformer

from resmom.config import ConfigError, Run
from resmom.methods.dino import Dino
from resmom.nets.backbones import DinoViT, MoCoViT, Timm, build_backbone
from resmom.nets.encoder import Encoder, encode
from resmom.nets.teacher import make_teacher
from resmom.nets.vit import hidden_tokens
from resmom.runs.training.job import fresh_method
from resmom.views.policy import Policy, View

SMALL = DinoViT("tiny", image=32, patch=8)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, MoCoViT("tiny", image=32, patch=8)])
@torch.no_grad()
def test_views_of_another_size_have_their_own_positions(config: DinoViT | MoCoViT) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(config).eval()
    for side, tokens in ((32, 17), (16, 5), (48, 37)):
        features, h = backbone(torch.randn(2, 3, side, side))
        assert features.shape == (2, tokens, 192) and torch.equal(h, features[:, 0])
    # At its own size it is timm's transformer with these weights, bit for bit.
    width, depth, heads = (192, 12, 3) if isinstance(config, DinoViT) else (192, 12, 12)
    plain = VisionTransformer(32, 8, embed_dim=width, depth=depth, num_heads=heads, num_classes=0).eval()
    plain.load_state_dict(backbone.body.state_dict())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(plain(x), backbone(x)[1])


@torch.no_grad()
def test_positions_of_a_smaller_view_are_means_of_the_larger_ones() -> None:
    """Positions that rise evenly over the image rise evenly over a view of half as many patches."""
    body = build_backbone(SMALL).body
    slope = torch.arange(4.0).repeat(4)  # column of each patch
    body.pos_embed.copy_(torch.cat([torch.zeros(1), slope])[None, :, None].expand(1, 17, 192))
    body.patch_embed.proj.weight.zero_()
    body.patch_embed.proj.bias.zero_()
    body.cls_token.zero_()
    found = body._pos_embed(body.patch_embed(torch.zeros(1, 3, 16, 16)))[0, 1:, 0]
    assert found.tolist() == pytest.approx([0.5, 2.5, 0.5, 2.5], abs=0.15)  # bicubic weights are a little wider


@torch.no_grad()
def test_hidden_patches_are_not_seen_but_their_place_is() -> None:
    torch.manual_seed(0)
    body, token = build_backbone(SMALL).body.eval(), torch.randn(1, 192)
    x, y = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    hidden = torch.zeros(2, 4, 4, dtype=torch.bool)
    torch.testing.assert_close(hidden_tokens(body, x, hidden, token), body.forward_features(x))
    hidden[0, :2, 1] = True
    pixels = hidden.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    torch.testing.assert_close(
        hidden_tokens(body, x, hidden, token), hidden_tokens(body, torch.where(pixels, y, x), hidden, token)
    )
    all_hidden = torch.ones(2, 4, 4, dtype=torch.bool)
    tokens = hidden_tokens(body, x, all_hidden, token)
    assert torch.equal(tokens[0], tokens[1]) and not torch.allclose(tokens[0, 1], tokens[0, 2])


def test_paths_are_dropped_in_the_student_alone() -> None:
    torch.manual_seed(0)
    backbone = build_backbone(DinoViT("tiny", image=32, patch=8, drop_path=0.5))
    student = Encoder(backbone, torch.nn.Identity()).train()
    teacher = make_teacher(student).train()
    rates = [module.drop_prob for module in student.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.5)
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(student(x).h, student(x).h) and torch.equal(teacher(x).h, teacher(x).h)
    torch.testing.assert_close(teacher(x).h, student.eval()(x).h)


@torch.no_grad()
def test_local_views_go_through_as_one_batch() -> None:
    torch.manual_seed(0)
    network = Encoder(build_backbone(SMALL).eval(), torch.nn.Linear(192, 4)).eval()
    views = [torch.randn(3, 3, side, side) for side in (32, 32, 16, 16)]
    batches = []
    network.register_forward_hook(lambda module, given, out: batches.append(len(given[0])))
    together = encode(network, views, 2)
    assert batches == [3, 3, 6]
    for view, encoding in zip(views, together, strict=True):
        torch.testing.assert_close(network(view).z, encoding.z)


def test_a_backbone_that_takes_one_size_only_is_refused_before_the_run() -> None:
    views = (View(size=32), View(size=32), View(size=16))
    run = Run(
        method=Dino(hidden=8, out=4, prototypes=8),
        backbone=Timm("gmlp_ti16_224", image=32),
        policy=Policy(views, (0.5,) * 3, (0.2,) * 3),
    )
    with pytest.raises(ConfigError, match="takes views of side 32, but not of side 16"):
        fresh_method(run, torch.device("cpu"))


@pytest.mark.parametrize("even", [False, True])
def test_blocks_are_dropped_more_and_more_or_all_alike(even: bool) -> None:
    backbone = build_backbone(DinoViT("micro", 32, 8, drop_path=0.3, even_drop=even))
    parts = [(block.drop_path1, block.drop_path2) for block in backbone.body.blocks]
    chances = [getattr(part, "drop_prob", 0.0) for both in parts for part in both]  # the first of those that rise is 0
    assert chances == [0.3] * 12 if even else chances == pytest.approx([0.3 * (k // 2) / 5 for k in range(12)])
    teacher = make_teacher(Encoder(backbone, torch.nn.Identity()))
    assert not any(part.drop_prob for part in teacher.modules() if isinstance(part, DropPath))


def test_gains_of_blocks_start_where_they_are_told_to() -> None:
    body, plain = (build_backbone(DinoViT("micro", 32, 8, layer_scale=gain)).body for gain in (1e-3, 0.0))
    gains = [value for name, value in body.named_parameters() if name.endswith("gamma")]
    assert len(gains) == 12 and all(torch.equal(gain, torch.full((96,), 1e-3)) for gain in gains)
    assert not any(name.endswith("gamma") for name, _ in plain.named_parameters())
    with pytest.raises(ValueError, match=r"backbone.layer_scale is -1.0; it must be 0 \(none\) or positive"):
        DinoViT(layer_scale=-1.0)
