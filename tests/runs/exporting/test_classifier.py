"""A classifier as an ONNX file: the lines that are printed give its probabilities without torch."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import resmom
import resmom.runs.exporting.classifier as subject
from resmom.config import part_to_json
from resmom.data.decode import decode
from resmom.evaluate.score import Classified, Score
from resmom.export.onnx import ExportError
from resmom.export.weights import About
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.runs.measuring.classifierfile import save_classifier
from tests.conftest import Call


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config, file = SmallResNet((4, 8)), tmp_path / "trees.safetensors"
    backbone, layer = build_backbone(config), nn.Linear(8, 3)
    nn.init.normal_(layer.weight, std=2.0)
    seen = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25), 32)
    about = About("teacher", {**part_to_json(config), "kind": "SmallResNet"}, 7, *seen, "bicubic")
    found = Classified(Score(50.0, None, ""), backbone, layer)
    more = {"protocol": "linear-v1", "data": "trees"}
    save_classifier(file, found, config, about, ("ash", "birch", "cedar"), more)
    return file


@pytest.mark.slow
def test_the_lines_give_the_probabilities(
    kept: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told, errors = call("export", kept, "--to", "onnx")
    first, _, lines = told.partition("\n\n")
    assert status == 0 and errors == "" and "torch" not in lines and "resmom" not in lines
    assert first.startswith(f"{tmp_path / 'trees.onnx'}: ONNX opset 18, images of any number, height and width. ")
    assert "onnxruntime's probabilities of 11 drawn images differ" in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trees.onnx", "trees.safetensors"]
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()) as said:
        exec(lines.replace("photo.jpg", "photo.png").replace("Image.open(", "opened("), space | {"opened": opened})
    (shares,) = resmom.load_classifier(kept)([decode(tmp_path / "photo.png")])
    name, probability = said.getvalue().split()
    assert name == ("ash", "birch", "cedar")[int(shares.argmax())]
    assert float(probability) == pytest.approx(float(shares.max()), abs=1e-5)
    import onnx

    metadata = {each.key: each.value for each in onnx.load(tmp_path / "trees.onnx").metadata_props}
    assert json.loads(metadata["architecture"])["widths"] == [4, 8] and metadata["network"] == "teacher"
    assert (metadata["kind"], metadata["data"], metadata["resize"]) == ("classifier", "trees", "bicubic")


def opened(name: str) -> Image.Image:
    """As Image.open, and closed."""
    with Image.open(name) as image:
        return image.copy()


def test_what_is_refused(kept: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "used.onnx").write_text("mine")
    for options, words in (
        (["--to", "onnx", "--out", tmp_path / "used.onnx"], "is there already"),
        (["--to", "onnx", "--out", tmp_path / "folder"], "must end in .onnx"),
        (["--to", "onnx", "--network", "teacher"], "--network is for runs"),
        ([], "--to safetensors is for runs"),
        (["--to", "onnx", "--image-size", "64"], "--image-size goes with --init and --backbone"),
    ):
        status, told, errors = call("export", kept, *options)
        assert status == 2 and told == "" and words in errors and errors.count("\n") == 1
    assert call("export", tmp_path / "none.safetensors", "--to", "onnx")[0] == 2

    def fails(path: Path, *_: object) -> None:
        path.write_text("half")
        raise ExportError("an operator is missing")

    monkeypatch.setattr(subject, "save_onnx", fails)
    status, _, errors = call("export", kept, "--to", "onnx")
    assert status == 2 and "cannot be exported as ONNX: an operator is missing" in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trees.safetensors", "used.onnx"]
