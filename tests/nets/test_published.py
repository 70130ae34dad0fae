"""Files in the layouts in which others publish them, with small tensors: names, prefixes, and what lies beside."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torchvision.models import resnet18
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT

from resmom.nets.backbones import Backbone, DinoViT, MoCoViT, ResNet, build_backbone
from resmom.nets.filed import filed_vit
from resmom.nets.init import load_backbone
from resmom.nets.weightfile import WeightsError
from tests.nets.test_init import agree, saved, under

State = dict[str, Tensor]
pytestmark = pytest.mark.usefixtures("small_transformers")
WIDTH, DEPTH = 24, 2


def tensors(names: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def block(scaled: bool) -> dict[str, tuple[int, ...]]:
    """The tensors of one block of timm's, DINO's, DINOv2's and MoCo-v3's transformers, which name them alike."""
    d = WIDTH
    linear = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (4 * d, d), "mlp.fc2": (d, 4 * d)}
    shapes = {f"{part}.{kind}": (d,) for part in ("norm1", "norm2") for kind in ("weight", "bias")}
    shapes |= {f"{part}.weight": shape for part, shape in linear.items()}
    shapes |= {f"{part}.bias": shape[:1] for part, shape in linear.items()}
    return shapes | ({"ls1.gamma": (d,), "ls2.gamma": (d,)} if scaled else {})


def vit(
    patches: int = 4, patch: int = 4, scaled: bool = False, chunks: int = 0, seed: int = 0, **more: tuple[int, ...]
) -> State:
    """A transformer's tensors under the names that timm and the papers' own code give them; blocks in chunks keep
    their numbers, as in DINOv2's training."""
    names: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH), "pos_embed": (1, 1 + patches**2, WIDTH), **more,
        "patch_embed.proj.weight": (WIDTH, 3, patch, patch), "patch_embed.proj.bias": (WIDTH,),
    }  # fmt: skip
    for number in range(DEPTH):
        place = f"blocks.{number // (DEPTH // chunks)}.{number}" if chunks else f"blocks.{number}"
        names |= {f"{place}.{name}": shape for name, shape in block(scaled).items()}
    return tensors(names | {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}, seed)


def dino_v2(registers: int = 0, **options: Any) -> VisionTransformer:
    """DINOv2's transformer as timm has it, small."""
    more = {"reg_tokens": registers, "no_embed_class": True} if registers else {}
    shape = {"patch_size": 4, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 2, "num_classes": 0}
    return VisionTransformer(16, **shape, init_values=1e-5, **more, **options).eval()


def test_timms_file_with_registers(tmp_path: Path) -> None:
    """vit_small_patch14_reg4_dinov2 and the like: the class token has no position."""
    state = vit(scaled=True, reg_token=(1, 4, WIDTH), pos_embed=(1, 16, WIDTH))
    backbone = Backbone(dino_v2(4), WIDTH)
    assert load_backbone(backbone, saved(tmp_path / "w.pth", state)).left_out == ()
    agree(backbone, state)


@pytest.mark.parametrize("chunks", [0, 1, 2])
@pytest.mark.parametrize("prefix", ["", "teacher.backbone."])
def test_dinov2s_own_file(tmp_path: Path, chunks: int, prefix: str) -> None:
    """The hub's dinov2_vits14_pretrain.pth, and the teacher_checkpoint.pth of a training."""
    state = vit(scaled=True, chunks=chunks, mask_token=(1, WIDTH))
    content: Any = under(prefix, state)
    if prefix:
        head = {"dino_head.mlp.0.weight": torch.ones(2, 2), "ibot_head.last_layer.weight_g": torch.ones(2, 1)}
        content = {"teacher": under("backbone.", state) | head}
    backbone = Backbone(dino_v2(), WIDTH)
    taken = load_backbone(backbone, saved(tmp_path / "w.pth", content))
    agree(backbone, vit(scaled=True, mask_token=(1, WIDTH)))
    assert f"{prefix}mask_token" in taken.left_out and taken.prefix == prefix
    assert ("DINOv2, blocks in chunks" in taken.words) == bool(chunks)


@pytest.mark.parametrize("side", [16, 24])
def test_dinov2s_own_file_with_registers(tmp_path: Path, side: int) -> None:
    """Its class token has a position, registers have none: timm adds that position to the token."""
    state = vit(scaled=True, mask_token=(1, WIDTH), register_tokens=(1, 4, WIDTH))
    body = dino_v2(4, dynamic_img_size=True)
    body.set_input_size((side, side))
    backbone = Backbone(body, WIDTH)
    taken = load_backbone(backbone, saved(tmp_path / "w.pth", state))
    own = body.state_dict()
    assert torch.equal(own["cls_token"], state["cls_token"] + state["pos_embed"][:, :1])
    assert torch.equal(own["reg_token"], state["register_tokens"])
    assert own["pos_embed"].shape == (1, (side // 4) ** 2, WIDTH)
    assert torch.equal(own["pos_embed"], state["pos_embed"][:, 1:]) == (side == 16)
    assert bool(taken.resampled) == (side == 24) and "those of DINOv2" in taken.words
    assert taken.left_out == ("mask_token",)


def dino(state: State, other: State) -> Any:
    """dino_deitsmall16_pretrain_full_checkpoint.pth, and iBOT's, whose backbone has the mask's token in it."""
    head = {"mlp.0.weight": torch.ones(2, 2), "last_layer.weight_g": torch.ones(2, 1)}
    return {
        "student": under("module.backbone.", state) | {"module.backbone.masked_embed": torch.ones(1, WIDTH)}
        | under("module.head.", head),
        "teacher": under("backbone.", other) | under("head.", head),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "epoch": 800, "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }  # fmt: skip


def test_dinos_and_ibots_checkpoints(tmp_path: Path) -> None:
    student, teacher = vit(seed=1), vit(seed=2)
    path, backbone = saved(tmp_path / "w.pth", dino(student, teacher)), build_backbone(DinoViT("tiny", 16, 4))
    assert load_backbone(backbone, path).prefix == "student.module.backbone."
    agree(backbone, student)
    assert load_backbone(backbone, path, "teacher").prefix == "teacher.backbone."
    agree(backbone, teacher)
    smaller = build_backbone(DinoViT("tiny", 8, 4))
    taken = load_backbone(smaller, path, "teacher")
    assert "positions of 4 x 4 patches resampled to 2 x 2" in taken.words and taken.prefix == "teacher.backbone."


def test_moco_v3s_checkpoint(tmp_path: Path) -> None:
    """vit-s-300ep.pth.tar: the projector lies in the transformer's head, and positions are fixed."""
    fixed = build_backbone(MoCoViT("tiny", 16, 4)).body.pos_embed.detach()
    base, momentum = (vit(seed=seed) | {"pos_embed": fixed} for seed in (1, 2))
    head = {"head.0.weight": torch.ones(8, WIDTH), "head.1.running_mean": torch.ones(8)}
    content = {
        "epoch": 300, "arch": "vit_small", "optimizer": {"state": {}}, "scaler": {},
        "state_dict": under("module.base_encoder.", base | head) | under("module.momentum_encoder.", momentum | head)
        | {"module.predictor.0.weight": torch.ones(8, 8)},
    }  # fmt: skip
    path, backbone = saved(tmp_path / "w.pth.tar", content), build_backbone(MoCoViT("tiny", 16, 4))
    assert load_backbone(backbone, path).prefix == "state_dict.module.base_encoder."
    agree(backbone, base)
    load_backbone(backbone, path, "teacher")
    agree(backbone, momentum)


@pytest.mark.slow
def test_torchvisions_resnet_of_old(tmp_path: Path) -> None:
    """resnet18-5c106cde.pth: torch's old format, parameters as they are, and no counters of batches."""
    network = resnet18()
    state = {name: value for name, value in network.state_dict(keep_vars=True).items() if "num_batches" not in name}
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    backbone = build_backbone(ResNet(18))
    taken = load_backbone(backbone, tmp_path / "w.pth")
    agree(backbone, network.state_dict())
    assert taken.left_out == ("fc.bias", "fc.weight")


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda s: {"state_dict": under("student_backbone.vit.", s) | under("teacher_backbone.vit.", s)
                    | {"student_backbone.mask_token": torch.ones(1, 1, WIDTH)}}, "state_dict.student_backbone.vit."),
        (lambda s: under("wrapped_model._model.", s) | {"embed_head.weight": torch.ones(4, WIDTH, 1, 1)},
         "wrapped_model._model."),
        (lambda s: s, ""),
        (lambda s: {"state_dict": under("backbone.", s) | under("momentum_backbone.", s)
                    | {"classifier.weight": torch.ones(2, WIDTH), "projector.0.weight": torch.ones(2, WIDTH)}},
         "state_dict.backbone."),
    ],
    ids=["lightly, DINO", "lightly-train, embedding model", "lightly-train, model", "solo-learn"],
)  # fmt: skip
def test_the_prefixes_of_libraries(tmp_path: Path, wrap: Callable[[State], Any], prefix: str) -> None:
    state = vit()
    backbone = build_backbone(DinoViT("tiny", 16, 4))
    assert load_backbone(backbone, saved(tmp_path / "w.pth", wrap(state))).prefix == prefix
    agree(backbone, state)


@torch.no_grad()
def test_torchvisions_transformer(tmp_path: Path) -> None:
    """vit_b_16-c867db91.pth and the like: other names, the same network."""
    torch.manual_seed(0)
    theirs = TorchvisionViT(16, 4, DEPTH, 2, WIDTH, 4 * WIDTH, num_classes=5).eval()
    for parameter in theirs.parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape))
    state = theirs.state_dict()
    old = {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v for name, v in state.items()}
    x = torch.randn(2, 3, 16, 16)
    tokens = torch.cat([theirs.class_token.expand(2, -1, -1), theirs._process_input(x)], dim=1)
    expected = theirs.encoder(tokens)[:, 0]
    for content in (state, old):
        backbone = build_backbone(DinoViT("tiny", 16, 4)).eval()
        taken = load_backbone(backbone, saved(tmp_path / "w.pth", content))
        torch.testing.assert_close(backbone(x)[1], expected, atol=1e-5, rtol=1e-5)
        assert "those of torchvision's Vision Transformer" in taken.words and "heads (2)" in taken.words


def hugging_face(state: State, scaled: bool) -> State:
    """The names of transformers' ViTModel, or with scales of its Dinov2Model, whose queries, keys and values are
    matrices of their own."""
    parts = {"norm1": "layernorm_before", "norm2": "layernorm_after", "mlp.fc1": "intermediate.dense"}
    parts |= {"mlp.fc2": "output.dense", "attn.proj": "attention.output.dense"}
    if scaled:
        parts = {"attn.proj": "attention.output.dense", "ls1.gamma": "layer_scale1.lambda1"}
        parts |= {"ls2.gamma": "layer_scale2.lambda1"}
    whole = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings"}
    whole |= {"mask_token": "embeddings.mask_token", "register_tokens": "embeddings.register_tokens"}
    whole |= {
        f"patch_embed.proj.{kind}": f"embeddings.patch_embeddings.projection.{kind}" for kind in ("weight", "bias")
    }
    whole |= {f"norm.{kind}": f"layernorm.{kind}" for kind in ("weight", "bias")}
    made: State = {}
    for name, value in state.items():
        if name in whole:
            made[whole[name]] = value
            continue
        _, number, rest = name.split(".", 2)
        place = f"encoder.layer.{number}."
        if rest.startswith("attn.qkv."):
            for which, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                made[f"{place}attention.attention.{which}.{rest.rpartition('.')[2]}"] = third
            continue
        part = next((part for part in parts if rest == part or rest.startswith(f"{part}.")), None)
        made[place + (rest if part is None else rest.replace(part, parts[part]))] = value
    return made


@pytest.mark.parametrize("prefix", ["", "vit."])
def test_hugging_faces_vit(tmp_path: Path, prefix: str) -> None:
    state = vit()
    beside = {"pooler.dense.weight": torch.ones(2, 2)} if not prefix else {"classifier.weight": torch.ones(2, 2)}
    content = under(prefix, hugging_face(state, scaled=False)) | beside
    assert f"{prefix}encoder.layer.1.attention.attention.key.bias" in content
    backbone = build_backbone(DinoViT("tiny", 16, 4))
    taken = load_backbone(backbone, saved(tmp_path / "w.pth", content))
    agree(backbone, state)
    assert taken.prefix == prefix and "those of Hugging Face's Vision Transformers" in taken.words


@pytest.mark.parametrize("registers", [0, 4])
def test_hugging_faces_dinov2(tmp_path: Path, registers: int) -> None:
    more = {"register_tokens": (1, registers, WIDTH)} if registers else {}
    state = vit(scaled=True, mask_token=(1, WIDTH), **more)
    theirs, plain = saved(tmp_path / "hf.pth", hugging_face(state, scaled=True)), saved(tmp_path / "w.pth", state)
    one, other = (Backbone(dino_v2(registers), WIDTH) for _ in range(2))
    assert load_backbone(one, theirs).left_out == ("mask_token",)
    load_backbone(other, plain)
    agree(one, other.body.state_dict())


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["visual.transformer.resblocks.0.attn.in_proj_weight", "visual.proj"], "are CLIP's, which are not taken"),
        (["storage_tokens", "rope_embed.periods", "blocks.0.norm1.weight"], "are DINOv3's, which are not taken"),
        (["backbone.layers.0.ffn.layers.0.0.weight"], "are OpenMMLab's, which are not taken"),
        (["stem.conv1.norm.weight", "res2.0.conv1.weight"], "are Detectron2's, which are not taken"),
        (["tokens.weight"], "none of them named like one of this backbone's"),
    ],
)
def test_whose_names_are_not_taken_is_said(tmp_path: Path, names: list[str], words: str) -> None:
    backbone = build_backbone(DinoViT("tiny", 16, 4))
    with pytest.raises(WeightsError, match=words):
        load_backbone(backbone, saved(tmp_path / "w.pth", {name: torch.ones(2) for name in names}))


@pytest.mark.usefixtures("typed")
def test_scaled_blocks_are_told_to_be_dinov2s(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"only in the file: blocks.0.ls1.gamma.*--backbone timm:vit_small_patch14_d"
    ):
        load_backbone(build_backbone(DinoViT("tiny", 16, 4)), saved(tmp_path / "w.pth", vit(scaled=True)))
    with pytest.raises(WeightsError, match=r"Blocks of the file do not scale what they add.*: set --backbone.layer-sc"):
        load_backbone(build_backbone(DinoViT("tiny", 16, 4, layer_scale=1e-5)), saved(tmp_path / "w.pth", vit()))


def test_a_giant_of_other_parts_is_refused_by_their_names(tmp_path: Path) -> None:
    """DINOv2's ViT-g has gated layers where the others have an MLP."""
    state = {name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for name, v in vit(scaled=True).items()}
    with pytest.raises(
        WeightsError, match=r"missing in the file: blocks.0.mlp.fc1.*only in the file: blocks.0.mlp.w12"
    ):
        load_backbone(Backbone(dino_v2(), WIDTH), saved(tmp_path / "w.pth", state))


def test_a_file_says_what_shapes_its_transformer_has(tmp_path: Path) -> None:
    state = vit(patches=5, scaled=True, chunks=2, register_tokens=(1, 4, WIDTH))
    found = filed_vit(saved(tmp_path / "w.pth", {"teacher": under("backbone.", state)}))
    assert found is not None and found.image == 20 and not found.fixed and found.scaled
    assert (found.width, found.depth, found.patch, found.grid, found.registers) == (WIDTH, DEPTH, 4, 5, 4)
    assert "width 24, 2 blocks, patches of 4 pixels and positions for 5 x 5 of them, 4 registers" in str(found)
    fixed = build_backbone(MoCoViT("tiny", 16, 4)).body.state_dict()
    found = filed_vit(saved(tmp_path / "w.pth", fixed))
    assert found is not None and found.fixed and not found.scaled and found.registers == 0
    for content in (resnet18().state_dict(), {"pos_embed": torch.ones(1, 5, 24)}):
        assert filed_vit(saved(tmp_path / "other.pth", content)) is None
        (tmp_path / "other.pth").unlink()
    with pytest.raises(WeightsError, match="no file of weights"):
        filed_vit(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no named tensors"):
        filed_vit(saved(tmp_path / "other.pth", {"epoch": 3}))
