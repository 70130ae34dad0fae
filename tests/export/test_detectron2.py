"""Weights for Detectron2: its documented names and shapes as a rule, equal values, and its ResNet's computation."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from resmom.cli import main
from resmom.errors import UserError
from resmom.export.detectron2 import configuration_lines, renamed, require_detectron2
from resmom.nets.backbones import Backbone, BackboneConfig, MoCoViT, ResNet, SmallResNet, Timm, build_backbone
from resmom.nets.init import load_backbone
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from tests.export.test_run import RUN, names_in, write_run

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def documented(depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in Detectron2's ResNet: BasicBlock for 18 and 34, BottleneckBlock for 50, stages res2 … res5."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, out: int, inside: int, side: int) -> None:
        shapes[f"{name}.weight"] = (out, inside, side, side)
        shapes.update({f"{name}.norm.{v}": (out,) for v in ("weight", "bias", "running_mean", "running_var")})

    convolution("stem.conv1", 64, 3, 7)
    inside = 64
    for number, blocks in enumerate(BLOCKS[depth]):
        narrow = 64 * 2**number
        wide = narrow if depth < 50 else 4 * narrow
        for block in range(blocks):
            name = f"res{number + 2}.{block}"
            if depth < 50:
                convolution(f"{name}.conv1", narrow, inside, 3)
                convolution(f"{name}.conv2", narrow, narrow, 3)
            else:
                convolution(f"{name}.conv1", narrow, inside, 1)
                convolution(f"{name}.conv2", narrow, narrow, 3)
                convolution(f"{name}.conv3", wide, narrow, 1)
            if inside != wide:
                convolution(f"{name}.shortcut", wide, inside, 1)
            inside = wide
    return shapes


def computed(weights: dict[str, Tensor], depth: int, x: Tensor) -> Tensor:
    """Detectron2's ResNet with STRIDE_IN_1X1 False, as its file describes it: the map res5."""

    def layer(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, var, gain, bias = (weights[f"{name}.norm.{v}"] for v in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, gain, bias, training=False, eps=1e-5)

    x = F.max_pool2d(F.relu(layer(x, "stem.conv1", 2)), 3, 2, 1)
    for number, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            name, stride = f"res{number + 2}.{block}", 2 if number and not block else 1
            if depth < 50:
                out = layer(F.relu(layer(x, f"{name}.conv1", stride)), f"{name}.conv2")
            else:
                out = F.relu(layer(F.relu(layer(x, f"{name}.conv1")), f"{name}.conv2", stride))
                out = layer(out, f"{name}.conv3")
            shortcut = layer(x, f"{name}.shortcut", stride) if f"{name}.shortcut.weight" in weights else x
            x = F.relu(out + shortcut)
    return x


def lived_in(depth: int) -> Backbone:
    """A backbone whose batch statistics, gains and biases are not those of a fresh one."""
    torch.manual_seed(0)
    backbone = build_backbone(ResNet(depth))  # type: ignore[arg-type]
    for name, value in backbone.named_parameters():
        if value.ndim == 1:
            torch.nn.init.uniform_(value, 0.5 if name.endswith("weight") else -0.5, 1.0)
    with torch.no_grad():
        backbone.train()(1 + torch.randn(4, 3, 64, 64))
    return backbone.eval()


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_names_shapes_and_values_are_those_that_are_documented(depth: int) -> None:
    backbone = lived_in(depth)
    own = backbone.body.state_dict()
    weights = renamed(own)
    assert {name: tuple(value.shape) for name, value in weights.items()} == documented(depth)
    # Every tensor but the counters went over as it is, one name to one name.
    kept = [value for name, value in own.items() if not name.endswith("num_batches_tracked")]
    assert [value.data_ptr() for value in kept] == [value.data_ptr() for value in weights.values()]
    assert torch.equal(weights["stem.conv1.norm.running_var"], own["bn1.running_var"])
    assert torch.equal(weights["res3.0.shortcut.norm.bias"], own["layer2.0.downsample.1.bias"])
    assert torch.equal(weights["res5.1.conv2.weight"], own["layer4.1.conv2.weight"])
    # Names cannot tell whether the parts are put together as there: the same map comes out.
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(computed(weights, depth, images), backbone(images)[0], rtol=1e-4, atol=1e-4)


def test_the_lines_of_the_configuration() -> None:
    lines = configuration_lines(ResNet(50), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "w.pth")
    for line in (
        '  WEIGHTS: "w.pth"',
        "  PIXEL_MEAN: [123.675, 116.28, 103.53]",
        "  PIXEL_STD: [58.395, 57.12, 57.375]",
        "    FREEZE_AT: 0",
        "    DEPTH: 50",
        "    STRIDE_IN_1X1: False",
        '    NORM: "SyncBN"',
        '  FORMAT: "RGB"',
    ):
        assert line in lines
    assert "RES2_OUT_CHANNELS" not in lines
    assert "    RES2_OUT_CHANNELS: 64" in configuration_lines(ResNet(18), (0.5,) * 3, (0.5,) * 3, "w.pth")


def run_cli(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["resmom", *arguments])
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run", replace(RUN, backbone=ResNet(18)))
    out = tmp_path / "out"
    assert run_cli("export", str(folder), "--to", "detectron2", "--out", str(out), "--json") == 0
    names = ["README.md", "backbone-student.pth", "backbone-teacher.pth"]
    assert sorted(Path(file).name for file in json.loads(capsys.readouterr().out)["files"]) == names == names_in(out)
    state = torch.load(RunDir(folder).last, weights_only=True)["state"]
    for network in ("student", "teacher"):
        # Nothing in it but tensors and plain values, so that loading it runs no code.
        content = torch.load(out / f"backbone-{network}.pth", weights_only=True)
        assert content["matching_heuristics"] is True and content["resmom"]["network"] == network
        assert content["model"].keys() == documented(18).keys()
        assert all(value.is_contiguous() for value in content["model"].values())
        own = state[network]["backbone.body.layer3.1.conv2.weight"]
        assert torch.equal(content["model"]["res4.1.conv2.weight"], own)
    card = (out / "README.md").read_text()
    assert '```yaml\nMODEL:\n  WEIGHTS: "backbone-student.pth"' in card and '  FORMAT: "RGB"' in card
    assert "load_file" not in card and "**Take the teacher.**" in card
    # Into the same folder again in the other form: of each export there are only its own files.
    export(folder, out)
    assert names_in(out) == ["README.md", "backbone-student.safetensors", "backbone-teacher.safetensors"]
    load_backbone(build_backbone(ResNet(18)), out / "backbone-student.safetensors")
    assert export(folder, form="detectron2").folder == folder / "detectron2"
    assert not (folder / "export").exists()


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SmallResNet(), "this run's backbone is SmallResNet"),
        (ResNet(18, "small"), "ResNet with the stem small;"),
        (MoCoViT("tiny"), "is MoCoViT; export it with --to safetensors"),
        (Timm("resnet18"), "is Timm"),
        (None, "a module of your own"),
    ],
)
def test_other_backbones_are_refused(config: BackboneConfig | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        require_detectron2(config)


def test_a_refused_export_writes_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RUN)
    with pytest.raises(UserError, match="ResNet-18, -34 and -50 with the stem imagenet"):
        export(folder, tmp_path / "out", form="detectron2")
    assert names_in(tmp_path) == ["run"]
