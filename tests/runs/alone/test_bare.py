"""Weights without a run: what is found in a file, what it is shown, what is assumed and said, what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resmom.config import ConfigError
from resmom.errors import UserError
from resmom.export.weights import About, save_weights
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.runs.alone.bare import bare
from resmom.views.policy import IMAGENET
from tests.runs.initial.test_recognise import SMALL, checkpoint_of, export_of

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def file_of(folder: Path, config: BackboneConfig) -> str:
    """A file that says nothing of itself, as torch saves it, with a classifier."""
    path = folder / "others.pth"
    torch.save({**build_backbone(config).body.state_dict(), "fc.weight": torch.zeros(3, 4)}, path)
    return str(path)


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("config", "seen"),
    [
        pytest.param(
            ResNet(18), (224, "bilinear", IMAGENET, "assumed, as is usual with ImageNet"), marks=pytest.mark.slow
        ),
        (ResNet(18, stem="small"), (32, "bilinear", IMAGENET, "assumed, the size small stems are made for")),
        (DinoViT("tiny", 48, 16), (48, "bicubic", IMAGENET, "assumed, as DINO's authors evaluate")),
        (MoCoViT("tiny", 48, 16), (48, "bilinear", IMAGENET, "assumed, as MoCo-v3's authors evaluate")),
        (Timm("test_vit"), (160, "bicubic", HALF, "assumed, timm's default configuration of test_vit")),
        (Timm("test_resnet"), (160, "bilinear", HALF, "assumed, timm's default configuration of test_resnet")),
    ],
)
def test_what_a_file_does_not_say_is_assumed_and_told(
    config: BackboneConfig, seen: tuple[int, str, object, str], small_transformers: None, tmp_path: Path
) -> None:
    side, resize, normal, words = seen
    found = bare(file_of(tmp_path, config), config)
    first = found.policy.views[0]
    assert (first.size, first.interpolation, (found.policy.mean, found.policy.std)) == (side, resize, normal)
    assert "tensors of the backbone from others.pth; not used: fc (1)" in found.told[0]
    assert words in found.told[-1] and found.told[-1].endswith("(--image-size, --mean and --std say otherwise)")
    assert str(tmp_path) not in str(found.told) + str(found.about)  # what is kept may be passed on
    assert found.name == "init" and found.config == config


def test_what_is_asked_for_is_shown(tmp_path: Path) -> None:
    found = bare(file_of(tmp_path, SMALL), SMALL, image_size=48, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert found.side == 48 and (found.policy.mean, found.policy.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert found.told[-1].startswith(
        "images of 48 pixels, normalised by mean (0.100, 0.200, 0.300) and standard deviation (0.400, 0.500, 0.600): "
        "as asked for; resized bilinear: assumed,"
    )


@pytest.mark.parametrize(("file", "mean"), [(export_of, 0.5), (checkpoint_of, 0.4)])
def test_what_our_files_say_of_themselves_is_believed(tmp_path: Path, file: type, mean: float) -> None:
    found = bare(file(tmp_path, SMALL))
    assert found.config == SMALL and found.policy.mean == (mean,) * 3
    assert found.side == (32 if mean == 0.5 else 224)
    assert "as the file says" in found.told[-1] and "assumed" not in found.told[-1]
    assert not any("taken for" in sentence for sentence in found.told)


def test_how_an_exported_file_resizes_and_whose_it_is_are_in_it(tmp_path: Path) -> None:
    weights = build_backbone(SMALL).body.layers.state_dict()  # type: ignore[union-attr,operator]
    architecture = {"kind": "SmallResNet", "widths": [4, 8], "blocks": 1, "stem_stride": 2, "channels": 3}
    for network, step, words in (
        ("teacher", 7, "exported by resmom: the teacher of a run at step 7"),
        ("init", None, "exported by resmom: weights without a run"),
        ("random", None, "exported by resmom: random weights, of which nothing was learned"),
    ):
        path = tmp_path / f"{network}.safetensors"
        save_weights(path, weights, About(network, architecture, step, *HALF, 40, "bicubic"))
        found = bare(str(path))
        assert found.policy.views[0].interpolation == "bicubic" and found.side == 40
        assert words in found.told


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_a_common_backbone_is_recognised_and_its_stem_can_be_told(tmp_path: Path) -> None:
    path = file_of(tmp_path, ResNet(18, stem="small"))
    found = bare(path)
    assert found.config == ResNet(18, stem="small")
    assert "small, small_pad2 and small_pool have equal shapes, --stem takes another" in found.told[1]
    assert bare(path, stem="small_pad2").config == ResNet(18, stem="small_pad2")
    with pytest.raises(ConfigError, match=r"first convolution is 3x3: use --stem small, or small_pad2"):
        bare(path, "resnet18")
    with pytest.raises(ConfigError, match="--stem goes with resnet18, -34 and -50; SmallResNet 4-8 has none"):
        bare(export_of(tmp_path, SMALL), stem="small")


def test_random_weights_are_said_to_be(small_transformers: None) -> None:
    found = bare(backbone="vit-tiny", image_size=32, seed=3)
    assert found.name == "random" and found.config == MoCoViT("tiny", 32, 4) and found.untrained() is None
    assert found.told[0] == "random weights of ViT-tiny/4 at 32 pixels, seed 3: nothing was learned"
    assert bare(backbone=MoCoViT("tiny", 48, 8), image_size=32).config == MoCoViT("tiny", 32, 8)
    view = torch.randn(2, 3, 32, 32)
    one, other = (bare(backbone=SMALL, seed=seed).encoder(view).h for seed in (0, 1))
    assert torch.equal(bare(backbone=SMALL).encoder(view).h, one) and not torch.equal(one, other)


def test_the_floor_of_a_file_is_its_backbone_untrained(tmp_path: Path) -> None:
    found = bare(export_of(tmp_path, SMALL))
    named = found.untrained()
    assert named is not None and named[0] == "random init"
    view = torch.randn(2, 3, 32, 32)
    assert torch.equal(named[1](view).h, bare(backbone=SMALL).encoder(view).h)
    assert not torch.equal(named[1](view).h, found.encoder(view).h)


class Body(nn.Module):
    """A frozen module of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 4), nn.BatchNorm2d(8))
        self.requires_grad_(False)

    def forward(self, view: Tensor) -> Tensor:
        out: Tensor = self.layers(view)
        return out


def test_a_module_is_taken_as_it_is_and_left_alone(tmp_path: Path) -> None:
    module = Body()
    found = bare(backbone=module, image_size=16)
    view = torch.randn(2, 3, 16, 16)
    assert found.name == "given" and found.config is None and found.untrained() is None
    torch.testing.assert_close(found.encoder(view).h, module.eval()(view).mean((2, 3)))
    assert not any(p.requires_grad for p in module.parameters()) and found.backbone.body is not module
    assert "as they were given from Python" in found.told[0]
    other = Body()
    torch.save(other.state_dict(), tmp_path / "w.pth")
    torch.testing.assert_close(
        bare(str(tmp_path / "w.pth"), module, image_size=16).encoder(view).h, other.eval()(view).mean((2, 3))
    )


@pytest.mark.usefixtures("typed")
@pytest.mark.slow
def test_what_cannot_be_is_refused(small_transformers: None, tmp_path: Path) -> None:
    plain = file_of(tmp_path, SMALL)
    moco = MoCoViT("tiny", 32, 8)
    (tmp_path / "moco").mkdir()
    transformer = file_of(tmp_path / "moco", moco)
    nothing: BackboneConfig | None = None
    for init, backbone, more, words in (
        ("", nothing, {}, "name weights: --init FILE, or --backbone NAME for random ones of it"),
        (plain, nothing, {}, "fits none of the common backbones; name the one it was made with: --backbone NAME"),
        (plain, "resnet19", {}, "there is no backbone 'resnet19'; backbones are small, resnet18"),
        (plain, "timm:resnet19", {}, "timm has no model 'resnet19'; near it: "),
        (plain, 18, {}, "backbone is 18; give a name such as 'resnet50', a configuration"),
        (plain, "resnet18", {}, "does not fit this backbone"),
        (str(tmp_path / "no.pth"), nothing, {}, "there is no file of weights at "),
        (
            plain,
            SMALL,
            {"image_size": 4},
            "--image-size is 4; it must be a whole number of 8 to 1024 pixels, and without",
        ),
        (plain, SMALL, {"mean": (0.5,) * 3}, "--mean and --std go together"),
        (plain, SMALL, {"mean": (0.5,) * 3, "std": (0.0,) * 3}, "std must be positive and finite"),
        (plain, SMALL, {"mean": (0.5,), "std": (0.5,)}, "SmallResNet 4-8 takes 3 channel(s), mean and standard"),
        ("", SmallResNet(channels=1), {}, "takes 1 channel(s), mean and standard deviation are of 3"),
        (transformer, moco, {"image_size": 48}, "vit-tiny cannot be measured at --image-size 48: it is a transformer"),
        ("", Body(), {"stem": "small"}, "--stem is of the backbones that have a name; a module has its own"),
        ("", nn.Flatten(), {}, "the backbone cannot be used: Flatten has no parameters"),
    ):
        with pytest.raises(UserError) as refused:
            bare(init, backbone, **more)  # type: ignore[arg-type]
        assert words in str(refused.value), words
    assert bare(transformer, moco).side == 32
