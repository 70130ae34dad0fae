"""A classifier's file: loaded bit for bit, of every kind of backbone, and refused where it is another or damaged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import resmom
from resmom.config import part_to_json
from resmom.errors import RunDirError, UserError
from resmom.evaluate.score import Classified, Score
from resmom.export.weights import About
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.init import load_backbone
from resmom.nets.weightfile import WeightsError
from resmom.runs.measuring.classifierfile import load_classifier, require_savable, save_classifier

NAMES = ("änemone", "rose, wild", "2")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
MORE = {"protocol": "linear-v1 (…)", "data": "flowers"}


def save(config: BackboneConfig, path: Path, classes: tuple[str, ...] = NAMES) -> Classified:
    about = About("teacher", {**part_to_json(config), "kind": type(config).__name__}, 7, MEAN, STD, 16, "bicubic")
    found = classified(config)
    save_classifier(path, found, config, about, classes, MORE)
    return found


def classified(config: BackboneConfig) -> Classified:
    torch.manual_seed(1)
    backbone = build_backbone(config)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
    return Classified(Score(61.25, None, "…"), backbone, nn.Linear(backbone.width, 3))


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize(
    "config",
    [
        SmallResNet((4, 8)),
        ResNet(18, "small"),
        MoCoViT("tiny", 16, 8),
        DinoViT("tiny", 16, 8, drop_path=0.2),
        Timm("test_resnet"),
    ],
    ids=lambda config: type(config).__name__,
)
def test_it_is_loaded_bit_for_bit(config: BackboneConfig, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    found = save(config, path, NAMES[:2])
    state = torch.get_rng_state()
    made = resmom.load_classifier(path)
    assert torch.equal(torch.get_rng_state(), state)
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    found.backbone.eval()
    with torch.no_grad():
        votes = found.layer(found.backbone(made.prepared(images))[1])
    assert torch.equal(made(images), votes.softmax(1))
    assert made.classes == NAMES  # a class without a name is called by its number
    assert (made.mean, made.std, made.side, made.resize) == (MEAN, STD, 16, "bicubic")
    said = {"kind": "classifier", "network": "teacher", "step": "7", "top1": "61.2500", **MORE}
    assert said.items() <= made.said.items()
    # Its backbone is weights to start from, as an export is.
    other = build_backbone(config)
    assert load_backbone(other, path).left_out == ("layer.bias", "layer.weight")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in found.backbone.state_dict().items())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(SmallResNet((4, 8)), tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors"


def test_equal_classifiers_make_equal_files(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save(SmallResNet((4, 8)), again)
    assert again.read_bytes() == saved.read_bytes()


def test_what_is_no_classifier_is_refused(saved: Path, tmp_path: Path) -> None:
    tensors = load_file(saved)
    with safe_open(saved, "pt") as opened:
        said = dict(opened.metadata())
    bad = tmp_path / "bad.safetensors"
    broken = {
        "no classifier: it is of another program": (tensors, {}),
        "no classifier: it holds a backbone alone": (tensors, {k: v for k, v in said.items() if k != "kind"}),
        "2 names for 3 classes": (tensors, {**said, "classes": json.dumps(["a", "b"])}),
        "'resize'": (tensors, {k: v for k, v in said.items() if k != "resize"}),
        "resize is 'nearest'": (tensors, {**said, "resize": "nearest"}),
        "'layer.weight'": ({k: v for k, v in tensors.items() if k != "layer.weight"}, said),
        "Missing key": ({k: v for k, v in tensors.items() if k != "backbone.0.weight"}, said),
        "size mismatch": (tensors, {**said, "architecture": said["architecture"].replace("[4, 8]", "[4, 9]")}),
        "damaged, or of a newer version: the backbone": (tensors, {**said, "architecture": '{"kind": "Other"}'}),
        "weights are not finite": ({**tensors, "layer.bias": torch.full((3,), torch.inf)}, said),
    }
    for words, (weights, metadata) in broken.items():
        save_file(weights, bad, metadata)
        with pytest.raises(WeightsError, match=words):
            load_classifier(bad)
    bad.write_bytes(saved.read_bytes()[:-9])
    with pytest.raises(WeightsError, match="damaged or not a safetensors file"):
        load_classifier(bad)
    with pytest.raises(WeightsError, match="no file of weights"):
        load_classifier(tmp_path / "none.safetensors")


def test_where_it_may_be_written(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="there already"):
        require_savable(saved)
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        require_savable(tmp_path / "c.pt")
    require_savable(tmp_path / "new" / "d.safetensors")
    assert list((tmp_path / "new").iterdir()) == []
