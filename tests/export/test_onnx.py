"""ONNX files: the lines that feed them, what is written and refused, and every kind of network against torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

import resmom.export.onnx as subject
from resmom.data.decode import decode
from resmom.errors import UserError
from resmom.export.loading import onnx_preparing_lines
from resmom.export.onnx import ExportError, others, require_onnx, save_onnx
from resmom.export.weights import About
from resmom.nets.backbones import Backbone, BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.given import given_backbone
from resmom.views.apply import plain
from resmom.views.policy import Interpolation
from tests.export.test_loading import KINDS, MEAN, STD, filed, picture_of, trained

ABOUT = About("teacher", {"kind": "SmallResNet"}, 2, MEAN, STD, 32)


def prepared(picture: Image.Image, channels: int, resize: Interpolation) -> np.ndarray:
    lines = onnx_preparing_lines(channels, 32, resize)
    assert "torch" not in lines and "resmom" not in lines
    space: dict[str, Any] = {}
    exec(lines, space)
    made: np.ndarray = space["prepare"](picture)
    assert made.dtype == np.float32 and made.flags.c_contiguous
    return made


@pytest.mark.parametrize("size", [(60, 80), (81, 40), (33, 150), (32, 32)])
@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_preparing_lines_see_images_as_the_evaluation_does(
    resize: Interpolation, channels: int, size: tuple[int, int]
) -> None:
    picture, image = picture_of(channels, size)
    ours = plain(image, 32, (0.0,) * channels, (1.0,) * channels, resize)[0]
    np.testing.assert_allclose(prepared(picture, channels, resize), ours.numpy(), rtol=0, atol=5e-6)


@pytest.mark.parametrize("size", [(48, 60), (32, 32)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_preparing_lines_take_any_file_that_training_takes(
    kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    file = filed(kind, size, tmp_path)
    ours = plain([decode(file)], 32, (0.0,) * 3, (1.0,) * 3, "bicubic")[0]
    # Two libraries may unpack a JPEG one step of 8 bits apart.
    near = 1.1 / 255 if file.suffix == ".jpg" else 5e-6
    with Image.open(file) as image:
        np.testing.assert_allclose(prepared(image, 3, "bicubic"), ours.numpy(), rtol=0, atol=near)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"onnx"}, r"need the package onnx, which is not here: pip install onnx$"),
        ({"onnxscript", "onnxruntime"}, "need the packages onnxscript, onnxruntime, which are not here: pip install"),
    ],
)
def test_packages_that_are_missing_are_named(missing: set[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "importable", lambda name: name not in missing)
    with pytest.raises(UserError, match=words):
        require_onnx()
    monkeypatch.undo()
    require_onnx()


class Means(nn.Module):
    """The mean of every channel, weighted: as a vector, or as a map that `GivenBackbone` averages."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.maps = maps

    def forward(self, x: Tensor) -> Tensor:
        weighted = x * self.weight[:, None, None]
        return weighted if self.maps else weighted.mean((2, 3))


def by_hand(network: nn.Module, weight: float = 1.0) -> onnx.ModelProto:
    """`Means` behind its normalisation in ONNX's words, with notes as the exporter leaves them."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    values = {"mean": state["mean"], "std": state["std"], "w": weight * state["backbone.body.weight"]}
    values["zeros"] = np.zeros(1000, dtype=np.float32)
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["a"], doc_string="/home/somebody/net.py"),
        helper.make_node("Div", ["a", "std"], ["b"]),
        helper.make_node("ReduceMean", ["b", "axes"], ["c"], keepdims=0),
        helper.make_node("Mul", ["c", "w"], ["d"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["d", "zero"], ["features"]),
    ]
    nodes[0].metadata_props.add(key="trace", value="/home/somebody/net.py")
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["s1", 3, "s2", "s3"])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["s1", 3])],
        [
            *(numpy_helper.from_array(v, k) for k, v in values.items()),
            numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
        value_info=[helper.make_tensor_value_info("a", TensorProto.FLOAT, ["s1", 3, "s2 + /home/somebody", "s3"])],
    )
    graph.metadata_props.add(key="trace", value="/home/somebody/net.py")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", subject.OPSET)], ir_version=8)


@pytest.mark.parametrize("maps", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_the_file_says_what_it_is_and_nothing_of_where_it_was_made(
    maps: bool, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_translated", lambda network, *_, **__: by_hand(network))
    if large:
        monkeypatch.setattr(subject, "WHOLE", 100)
    path = tmp_path / "b.onnx"
    checked = save_onnx(path, given_backbone(Means(maps), (3, 32, 32)), ABOUT, {"method": "MoCoV3"})
    assert checked.any_size is maps and checked.difference < 1e-6 and checked.images == (11 if maps else 5)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["b.onnx", "b.onnx.data"][: 1 + large]
    assert b"somebody" not in path.read_bytes() and (path.stat().st_size > 4000) is not large
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.opset_import[0].version) == ("resmom", subject.OPSET)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["network"] == "teacher" and said["method"] == "MoCoV3" and json.loads(said["mean"]) == list(MEAN)
    assert said["step"] == "2" and said["image_size"] == "32" and said["normalised"] == "in the graph"
    assert "format" not in said and "licen" not in " ".join(said)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert given.name == "image" and made.name == "features" and made.shape == ["batch", 3]
    assert given.shape == (["batch", 3, "height", "width"] if maps else ["batch", 3, "s2", "s3"])
    assert session.get_modelmeta().custom_metadata_map == said


@pytest.mark.parametrize("maps", [True, False])
def test_a_file_that_computes_something_else_is_not_kept(
    maps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_translated", lambda network, *_, **__: by_hand(network, 1.001))
    with pytest.raises(
        ExportError, match=r"differs from torch by 1\.0e-03 of the largest feature, and more than 1e-04"
    ):
        save_onnx(tmp_path / "b.onnx", given_backbone(Means(maps), (3, 32, 32)), ABOUT, {})
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_run_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(network: nn.Module, *_: object, **__: object) -> onnx.ModelProto:
        model = by_hand(network)
        model.graph.node[1].op_type = "Divide"
        return model

    monkeypatch.setattr(subject, "_translated", broken)
    with pytest.raises(ExportError, match=r"onnxruntime cannot run what torch's exporter made of it .*Divide"):
        save_onnx(tmp_path / "b.onnx", given_backbone(Means(False), (3, 32, 32)), ABOUT, {})
    assert not list(tmp_path.iterdir())


def test_where_other_sizes_go_wrong_it_is_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def translated(network: nn.Module, _: Tensor, any_size: bool) -> onnx.ModelProto:
        asked.append(any_size)
        return by_hand(network, 1.001 if any_size else 1.0)

    monkeypatch.setattr(subject, "_translated", translated)
    checked = save_onnx(tmp_path / "b.onnx", given_backbone(Means(True), (3, 32, 32)), ABOUT, {})
    assert asked == [True, False] and not checked.any_size and checked.images == 5


def test_sizes_that_a_network_does_not_take_are_left_out() -> None:
    def takes(right: Callable[[Tensor], bool]) -> nn.Module:
        class Choosy(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                if not right(x):
                    raise RuntimeError("not this size.\nand more")
                return x

        return Choosy()

    images = subject.drawn(3, 32)
    assert [tuple(batch.shape) for batch in others(images, nn.Identity())] == [
        (1, 3, 69, 50), (3, 3, 33, 32), (2, 3, 25, 32)
    ]  # fmt: skip
    assert len(others(images, takes(lambda x: x.shape[2] >= 32))) == 2
    with pytest.raises(ExportError, match=r"RuntimeError: not this size$"):
        others(images, takes(lambda x: x.shape[2] <= 32))


def run(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["features"], {"image": images.numpy()})[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "side", "any_size"),
    [
        (SmallResNet((4, 8)), 32, True),
        (SmallResNet((4, 4, 8), blocks=2, stem_stride=1, channels=1), 16, True),
        (ResNet(18), 32, True),
        (ResNet(18, stem="small_pad2"), 16, True),
        (MoCoViT("tiny", image=32, patch=16), 32, False),
        (DinoViT("tiny", image=32, patch=16, drop_path=0.1), 32, False),
        (Timm("resnet10t"), 32, True),
        (Timm("vit_tiny_patch16_224", image=32), 32, False),
    ],
    ids=str,
)
def test_the_features_are_those_of_torch(
    config: BackboneConfig, side: int, any_size: bool, tmp_path: Path, small_transformers: None
) -> None:
    method = trained(config, side)
    channels = config.channels if isinstance(config, SmallResNet) else 3
    about = About("teacher", "", 2, MEAN[:channels], STD[:channels], side)
    teacher = method.teacher
    assert teacher is not None
    backbone = build_backbone(config)
    backbone.load_state_dict(teacher.backbone.state_dict())  # type: ignore[union-attr,arg-type]
    checked = save_onnx(tmp_path / "b.onnx", backbone, about, {})
    assert checked.any_size is any_size and checked.difference < 1e-5
    sizes = [(1, side, side), (5, side, side)] + ([(2, side + 9, 3 * side)] if any_size else [])
    mean, std = (torch.tensor(values[:channels])[:, None, None] for values in (MEAN, STD))
    for n, height, width in sizes:
        images = torch.rand(n, channels, height, width)
        with torch.no_grad():
            ours = teacher((images - mean) / std).h
        torch.testing.assert_close(run(tmp_path / "b.onnx", images), ours, rtol=1e-4, atol=1e-5 * ours.abs().max())


class Asks(nn.Module):
    """What it computes depends on values: no exporter can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x.mean((2, 3)))
        return h if h.sum().item() > 0 else -h


class Counts(Asks):
    """It takes the number of images for a number of Python's, which the exporter then holds for fixed."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3))) / torch.ones(len(x), 1)


class Dice(nn.Module):
    """What it computes is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x.mean((2, 3)))
        return h + torch.rand_like(h)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Asks(), "torch's exporter cannot translate it \\(.*data-dependent"),
        (Dice(), "differs from torch by"),
        (Counts(), "conflicts between .*: - Received .*|onnxruntime cannot run what torch's exporter made of it"),
    ],
)
def test_what_cannot_be_translated_is_refused_in_words(
    module: nn.Module, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match=words):
        save_onnx(tmp_path / "b.onnx", given_backbone(module, (3, 32, 32)), ABOUT, {})
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_padding_that_follows_the_size_is_of_one_size() -> None:
    class Conv2dSame(nn.Conv2d):
        pass

    images = subject.drawn(3, 32)
    for layer, any_size in ((nn.Conv2d(3, 4, 3), True), (Conv2dSame(3, 4, 3), False)):
        assert subject._takes_any_size(given_backbone(layer, (3, 32, 32)), images) is any_size


def convolution(compiled: bool) -> nn.Module:
    made = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.GELU())
    return torch.compile(made, backend="eager") if compiled else made


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_a_module_of_the_users_own(compiled: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    backbone: Backbone = given_backbone(convolution(compiled), (3, 32, 32))
    first, second = (tmp_path / name for name in ("1.onnx", "2.onnx"))
    assert save_onnx(first, backbone, ABOUT, {}).any_size
    save_onnx(second, backbone, ABOUT, {})
    assert first.read_bytes() == second.read_bytes() and b"site-packages" not in first.read_bytes()
    assert capfd.readouterr() == ("", "")
