"""Weights of a transformer taken to another grid of patches: what is resampled, what is computed, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from resmom.nets.backbones import MOCO_VIT, Backbone, DinoViT, MoCoViT, Timm, build_backbone
from resmom.nets.grids import grid_of
from resmom.nets.init import load_backbone
from resmom.nets.weightfile import WeightsError
from tests.nets.test_init import saved

State = dict[str, Tensor]
pytestmark = pytest.mark.usefixtures("small_transformers")


def vit(side: int, **options: Any) -> VisionTransformer:
    """A transformer of patches of 4 and `small_transformers`' shape, its positions of normal size."""
    shape = {"patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 0}
    made = VisionTransformer(side, **shape | options)
    torch.nn.init.normal_(made.pos_embed)
    return made.eval()


def by_hand(positions: Tensor, before: int, old: int, new: int) -> Tensor:
    """Positions resampled by torch alone, those of the tokens before the patches as they are."""
    patches = positions[:, before:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    moved = F.interpolate(patches, (new, new), mode="bicubic", antialias=True)
    return torch.cat([positions[:, :before], moved.flatten(2).transpose(1, 2)], dim=1)


@pytest.mark.parametrize(("old", "new"), [(32, 16), (16, 32), (28, 12)])
def test_learned_positions_are_resampled_and_nothing_else_is_changed(tmp_path: Path, old: int, new: int) -> None:
    torch.manual_seed(0)
    state = vit(old).state_dict()
    backbone = build_backbone(DinoViT("tiny", new, 4))
    taken = load_backbone(backbone, saved(tmp_path / "w.pth", state))
    own = backbone.body.state_dict()
    torch.testing.assert_close(own["pos_embed"], by_hand(state["pos_embed"], 1, old // 4, new // 4))
    assert torch.equal(own["pos_embed"][:, 0], state["pos_embed"][:, 0])
    assert all(torch.equal(own[name], value) for name, value in state.items() if name != "pos_embed")
    told = f"positions of {old // 4} x {old // 4} patches resampled to {new // 4} x {new // 4} (bicubic, antialiased)"
    assert taken.resampled == told and told in taken.words
    # What it says of a view of that size is what timm's own transformer says, which interpolates at every step.
    plain = vit(old, dynamic_img_size=True)
    plain.load_state_dict(state)
    x = torch.randn(2, 3, new, new)
    torch.testing.assert_close(backbone.eval()(x)[1], plain(x))


def test_of_the_same_grid_nothing_is_resampled_or_told(tmp_path: Path) -> None:
    state = vit(16).state_dict()
    backbone = build_backbone(DinoViT("tiny", 16, 4))
    taken = load_backbone(backbone, saved(tmp_path / "w.pth", state))
    assert taken.resampled == "" and "resampled" not in taken.words
    assert torch.equal(backbone.body.pos_embed, state["pos_embed"])


@pytest.mark.parametrize(
    ("options", "before"),
    [
        ({"reg_tokens": 3}, 4),
        ({"reg_tokens": 3, "no_embed_class": True}, 0),
        ({"class_token": False, "global_pool": "avg"}, 0),
    ],
)
def test_tokens_before_the_patches_keep_their_positions(tmp_path: Path, options: dict[str, Any], before: int) -> None:
    state = vit(32, **options).state_dict()
    backbone = Backbone(vit(16, **options), 24)
    load_backbone(backbone, saved(tmp_path / "w.pth", state))
    own = backbone.body.state_dict()
    torch.testing.assert_close(own["pos_embed"], by_hand(state["pos_embed"], before, 8, 4))
    if before > 1:
        assert torch.equal(own["pos_embed"][:, :before], state["pos_embed"][:, :before])


@pytest.mark.parametrize(
    ("name", "side", "new"),
    [("test_vit", 32, 2), ("test_vit2", 48, 3), ("eva02_tiny_patch14_224", 28, 2)],
)
def test_timms_transformers_are_brought_to_the_size_of_their_views(
    tmp_path: Path, name: str, side: int, new: int
) -> None:
    state = timm.create_model(name).state_dict()
    backbone = build_backbone(Timm(name, side))
    taken = load_backbone(backbone, saved(tmp_path / "w.pth", state))
    before = 1
    old = round((state["pos_embed"].shape[1] - before) ** 0.5)
    assert f"positions of {old} x {old} patches resampled to {new} x {new}" in taken.words
    own = backbone.body.state_dict()
    torch.testing.assert_close(own["pos_embed"], by_hand(state["pos_embed"], before, old, new))


def test_half_precision_stays_what_it_is_until_it_is_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {name: value.bfloat16() for name, value in vit(32).state_dict().items()}
    backbone = build_backbone(DinoViT("tiny", 16, 4))
    load_backbone(backbone, saved(tmp_path / "w.pth", state))
    expected = by_hand(state["pos_embed"].float(), 1, 8, 4)
    torch.testing.assert_close(backbone.body.pos_embed.detach(), expected, atol=0.02, rtol=0.02)
    assert backbone.body.pos_embed.dtype == torch.float32


@pytest.mark.usefixtures("typed")
def test_fixed_positions_are_computed_and_not_resampled(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", build_backbone(MoCoViT("tiny", 32, 4)).body.state_dict())
    backbone = build_backbone(MoCoViT("tiny", 16, 4))
    assert grid_of(backbone.body) is None
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(
        WeightsError, match=r"for 65 tokens, this backbone for 17: MoCo-v3's are fixed.*--image-size 32$"
    ):
        load_backbone(backbone, path)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    load_backbone(build_backbone(MoCoViT("tiny", 32, 4)), path)  # the advice, followed


def test_learned_positions_are_not_taken_for_fixed_ones(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", vit(32).state_dict())
    with pytest.raises(WeightsError, match="MoCo-v3's, which are fixed, while those in the file were learned: use a"):
        load_backbone(build_backbone(MoCoViT("tiny", 16, 4)), path)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("side", [16, 32])
def test_fixed_positions_tell_a_number_of_heads_that_no_shape_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    """MoCo-v3's ViT-S has 12 heads, DeiT's and DINO's 6, in tensors of the same shapes."""
    monkeypatch.setitem(MOCO_VIT, "tiny", (24, 2, 3))
    path = saved(tmp_path / "w.pth", build_backbone(MoCoViT("tiny", 32, 4)).body.state_dict())
    with pytest.raises(
        WeightsError, match="fixed positions, and so 3 heads, where this backbone has 2: use --backbone vit"
    ):
        load_backbone(build_backbone(DinoViT("tiny", side, 4)), path)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            lambda: vit(32, embed_dim=48).state_dict(),
            r"cls_token is 1x1x48 in the file, 1x1x24 here.*Choose the backbone",
        ),
        (
            lambda: vit(32, patch_size=8).state_dict(),
            r"patches have side 8, and patches are not resampled: set --backbone",
        ),
        (
            lambda: vit(32).state_dict() | {"pos_embed": torch.ones(1, 60, 24)},
            "positions for 60 tokens, this backbone for 17, and one cannot be resampled to the other",
        ),
        (lambda: vit(32).state_dict() | {"pos_embed": torch.ones(65, 24)}, "pos_embed is 65x24 in the file, 1x17x24"),
        (
            lambda: vit(32).state_dict() | {"pos_embed": torch.full((1, 65, 24), torch.nan)},
            "pos_embed has values that are not finite",
        ),
    ],
)
def test_what_makes_no_grid_is_refused_and_nothing_is_written(tmp_path: Path, state: Any, words: str) -> None:
    backbone = build_backbone(DinoViT("tiny", 16, 4))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(WeightsError, match=words):
        load_backbone(backbone, saved(tmp_path / "w.pth", state()))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
