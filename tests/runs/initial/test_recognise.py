"""A file that says what it was made with is told so, where another backbone was asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from resmom.called import called
from resmom.checkpoint import save_checkpoint
from resmom.config import ConfigError, Run, part_to_json, to_json
from resmom.export.weights import About, exported, save_weights
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, build_backbone, name_of
from resmom.nets.fit import OptionNames
from resmom.nets.init import load_backbone
from resmom.nets.weightfile import WeightsError
from resmom.recipes.words import named
from resmom.runs import origin
from resmom.runs.alone import bare
from resmom.runs.initial.recognise import by_name, recognise, start_weights
from resmom.runs.measuring import against
from resmom.runs.options import changed
from resmom.runs.origin import Origin, backbones
from resmom.runs.training.job import fresh_method, put_weights
from resmom.views.policy import IMAGENET
from tests.runs.settling.derived import CPU, tiny

SMALL = SmallResNet((4, 8))


def export_of(folder: Path, config: BackboneConfig) -> str:
    """A file as `resmom export` writes it."""
    with torch.random.fork_rng(devices=[]):
        state = build_backbone(config).state_dict()
    weights = exported({f"backbone.{name}": value for name, value in state.items()}, config)
    architecture = part_to_json(config) | {"kind": type(config).__name__}
    save_weights(folder / "w.safetensors", weights, About("student", architecture, 3, (0.5,) * 3, (0.2,) * 3, 32))
    return str(folder / "w.safetensors")


def checkpoint_of(folder: Path, config: BackboneConfig) -> str:
    """A file as a run writes it, of its parts those that count here."""
    with torch.random.fork_rng(devices=[]):
        state = {f"student.backbone.{name}": value for name, value in build_backbone(config).state_dict().items()}
    run = Run(backbone=config, policy=replace(Run().policy, mean=(0.4,) * 3))
    save_checkpoint(folder / "last.pt", {"run": to_json(run), "state": state})
    return str(folder / "last.pt")


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
@pytest.mark.parametrize("file", [export_of, checkpoint_of])
def test_a_run_is_told_what_the_file_is(tmp_path: Path, file: type) -> None:
    path = file(tmp_path, SMALL)
    run = replace(tiny(Run()), backbone=ResNet(18), init=path)
    says = rf"--init: {path} is of SmallResNet 4-8, not of ResNet-18, imagenet stem: "
    with pytest.raises(ConfigError, match=f"^{says}use --backbone small, without settings of its own"):
        put_weights(run, fresh_method(run, CPU))
    run = replace(run, recipe="automatic")
    with pytest.raises(ConfigError, match=f"^{says}leave out --backbone, and its settings"):
        put_weights(run, fresh_method(run, CPU))
    with pytest.raises(ConfigError, match=f"^{says}leave --backbone out, or say --backbone small$"):
        backbones(Origin(backbone=ResNet(18), init=path), 0, "detection")
    run = replace(run, backbone=recognise(path))  # the advice, followed
    assert "tensors of the backbone" in put_weights(run, fresh_method(run, CPU)).words


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "options"),
    [
        (SmallResNet((4, 8), blocks=2), "--backbone small"),
        (ResNet(18, "small", zero_init_residual=True), "--backbone resnet18"),
        (MoCoViT("tiny", 64, freeze_patch=False), "--backbone vit-tiny --image-size 64"),
        (DinoViT("tiny", 32, 4), "--backbone dino-vit-tiny --image-size 32"),
        (Timm("resnet10t"), "--backbone timm:resnet10t"),
    ],
)
def test_the_options_ask_for_that_backbone(
    tmp_path: Path, small_transformers: None, config: BackboneConfig, options: str
) -> None:
    """Told, and followed: in a run with a recipe, and where a task has a backbone by name."""
    other, path = SmallResNet((4, 16)), export_of(tmp_path, config)
    with pytest.raises(ConfigError, match=f"use {options}, without settings of its own"):
        start_weights(build_backbone(other), path, other)
    with pytest.raises(ConfigError, match=f"leave --backbone out, or say --backbone {name_of(config)}$"):
        backbones(Origin(backbone=other, init=path), 0, "detection")
    _, name, *side = options.split()
    size = {"image_size": int(side[1])} if side else {}
    run = changed(tiny(Run()), {"init": path, "backbone": name, **size})
    assert "tensors of the backbone" in put_weights(run, fresh_method(run, CPU)).words
    backbones(Origin(backbone=by_name(name, path), init=path), 0, "detection")


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize(
    "config",
    [
        DinoViT("tiny", 40, 8),
        MoCoViT("tiny", 32, 8),
        ResNet(18),
        ResNet(18, "small"),
        DinoViT("micro", 64, 16),
        DinoViT("tiny", 32, 8, layer_scale=1e-5),
    ],
)
def test_a_file_of_others_is_recognised_by_its_shapes(tmp_path: Path, config: BackboneConfig) -> None:
    path = str(tmp_path / "w.pth")
    torch.save({"state_dict": build_backbone(config).body.state_dict()}, path)
    assert recognise(path) == config


@pytest.mark.slow
@pytest.mark.parametrize("registers", [False, True])
def test_dinov2_is_recognised_by_its_scales(tmp_path: Path, registers: bool) -> None:
    name = "vit_small_patch14_reg4_dinov2" if registers else "vit_small_patch14_dinov2"
    path = str(tmp_path / "w.pth")
    state = timm.create_model(name, img_size=56).state_dict()
    if registers:  # as its authors publish it
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.ones(1, 1, 384), state["pos_embed"]], dim=1)
    torch.save(state | {"mask_token": torch.zeros(1, 384)}, path)
    assert recognise(path) == Timm(name, 56)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("config", "asked", "of_a_run", "alone", "of_a_task"),
    [
        (ResNet(18), ResNet(50), "use --backbone resnet18, without", " --backbone resnet18", " --backbone resnet18"),
        (
            ResNet(18, "small"),
            ResNet(34),
            "use --backbone resnet18 --backbone.stem small, without other",
            " --backbone resnet18 --stem small",
            "",
        ),
    ],
)
def test_what_a_file_of_others_holds_is_said_where_another_backbone_is_named(
    tmp_path: Path, config: BackboneConfig, asked: BackboneConfig, of_a_run: str, alone: str, of_a_task: str
) -> None:
    path = str(tmp_path / "w.pth")
    torch.save(build_backbone(config).body.state_dict(), path)
    says = f"--init: {path} is of {named(config)}, not of {named(asked)}: "
    backbone = build_backbone(asked)
    with pytest.raises(ConfigError, match=f"^{says}{of_a_run} settings of its own"):
        start_weights(backbone, path, asked)
    for options, name in ((bare.OPTIONS, alone), (origin.OPTIONS, of_a_task)):
        said = f", or say{name}" if name else ""
        with pytest.raises(ConfigError, match=f"^{says}leave --backbone out{said}$"):
            start_weights(backbone, path, asked, options=options)


@pytest.mark.usefixtures("typed")
def test_options_that_a_command_has_not_are_not_advised(tmp_path: Path) -> None:
    """Commands without a run have no --backbone.depth, and those that fine-tune no stem."""
    path = str(tmp_path / "w.pth")
    torch.save(build_backbone(Timm("resnet10t")).body.state_dict(), path)
    torch.save(build_backbone(ResNet(18, "small")).body.state_dict(), tmp_path / "small.pth")
    with pytest.raises(ConfigError, match=r"--backbone\.depth"):
        start_weights(build_backbone(ResNet(18)), path, ResNet(18))
    for options in (bare.OPTIONS, origin.OPTIONS, against.OPTIONS):
        with pytest.raises(ConfigError) as refused:
            start_weights(build_backbone(ResNet(18)), path, ResNet(18), options=options)
        told = str(refused.value)
        assert told.startswith(f"--{options.init}: ") and f" {called(options.backbone)} (small, resnet18" in told
        assert "--backbone." not in told
    with pytest.raises(ConfigError, match=r"not of ResNet-18, imagenet stem: leave --backbone out$"):
        start_weights(build_backbone(ResNet(18)), str(tmp_path / "small.pth"), ResNet(18), options=origin.OPTIONS)


@pytest.mark.usefixtures("small_transformers")
def test_what_a_transformer_of_no_common_size_is_like_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(VisionTransformer(32, 16, embed_dim=48, depth=3, num_heads=2).state_dict(), path)
    told = (
        r"fits none of the common backbones: it holds a Vision Transformer of width 48, 3 blocks, patches of 16 pixels"
    )
    with pytest.raises(ConfigError, match=told):
        recognise(str(path))


@pytest.mark.usefixtures("small_transformers")
def test_the_patches_of_a_file_are_those_of_the_backbone_that_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "w.pth")
    torch.save(build_backbone(DinoViT("tiny", 40, 8)).body.state_dict(), path)
    assert by_name("dino-vit-tiny", path) == DinoViT("tiny", 40, 8)
    run = changed(tiny(Run()), {"init": path, "backbone": "dino-vit-tiny", "image_size": 24})
    assert run.backbone == DinoViT("tiny", 24, 8)
    assert "positions of 5 x 5 patches resampled to 3 x 3" in put_weights(run, fresh_method(run, CPU)).words
    torch.save(timm.create_model("test_vit", img_size=64).state_dict(), path)
    assert by_name("timm:test_vit", path) == Timm("test_vit", 64)
    assert by_name("timm:vit_small_patch14_dinov2", path) == Timm("vit_small_patch14_dinov2"), "of other patches"


def test_a_name_says_what_a_file_of_another_name_does_not(tmp_path: Path) -> None:
    path = export_of(tmp_path, SMALL)
    assert by_name("small", path) == SMALL and by_name("resnet18", path) == ResNet(18)
    assert by_name("small", str(tmp_path / "nothing.pth")) == by_name("small") == SmallResNet()
    assert by_name("dino-vit-tiny", str(tmp_path / "nothing.pth")) == DinoViT("tiny"), "told where weights are read"


def test_a_file_of_the_same_backbone_or_for_a_module_of_ones_own_keeps_the_words_of_its_tensors(tmp_path: Path) -> None:
    path = export_of(tmp_path, SMALL)
    with pytest.raises(ConfigError, match=r"init: .* does not fit this backbone"):
        start_weights(build_backbone(SmallResNet((4, 16))), path, None)
    with pytest.raises(ConfigError, match=r"init: .* does not fit this backbone"):
        start_weights(build_backbone(SmallResNet((4, 16))), path, SMALL)


@pytest.mark.usefixtures("typed")
def test_a_small_stem_is_advised_only_where_it_would_do(tmp_path: Path) -> None:
    """SmallResNet's first convolution is 3x3 too, but no ResNet's."""
    state = {f"backbone.{name}": value for name, value in build_backbone(SMALL).state_dict().items()}
    path = tmp_path / "w.pth"
    torch.save(exported(state, SMALL), path)
    with pytest.raises(WeightsError, match=r"--backbone \(small, resnet18") as refused:
        load_backbone(build_backbone(ResNet(18)), path)
    assert "--backbone.stem" not in str(refused.value)


@pytest.mark.parametrize(("file", "mean"), [(export_of, (0.5,) * 3), (checkpoint_of, (0.4,) * 3)])
def test_what_is_fine_tuned_sees_pixels_as_its_file_says(tmp_path: Path, file: type, mean: tuple[float, ...]) -> None:
    found = backbones(Origin(backbone=SMALL, init=file(tmp_path, SMALL), random=True), 0, "detection")
    assert found.mean == mean, "for random weights beside them too, so that the two differ in the weights alone"
    path = tmp_path / "plain.pth"
    torch.save(build_backbone(SMALL).state_dict(), path)
    assert (found := backbones(Origin(backbone=SMALL, init=str(path)), 0, "detection")).mean == IMAGENET[0]
    assert found.std == IMAGENET[1]


@pytest.mark.parametrize(
    ("name", "unfit", "meant"),
    [
        ("resnet81", "", "resnet18"), ("dino-vit-smal", "", "dino-vit-small"), ("resnet101", "", "timm:resnet101"),
        ("resnet101", ", of which all but timm:NAME fit", "resnet50"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_has_a_suggestion(name: str, unfit: str, meant: str) -> None:
    with pytest.raises(ConfigError) as end:
        by_name(name, options=OptionNames(unfit=unfit))
    assert str(end.value).startswith(f"there is no backbone '{name}'; backbones are small, ")
    assert str(end.value).endswith(f"timm:NAME{unfit}; did you mean {meant}?")
    with pytest.raises(ConfigError, match=r"timm:NAME$"):
        by_name("transformer-xyz")
