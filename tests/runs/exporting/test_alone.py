"""Weights without a run in other formats: the same tensors and features, a card that says what is assumed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import resmom.runs.exporting.alone as subject
from resmom.errors import RunDirError, UserError
from resmom.export.detectron2 import renamed
from resmom.export.onnx import Checked
from resmom.nets.backbones import Backbone, ResNet, build_backbone
from resmom.runs.alone.bare import bare
from resmom.runs.exporting.alone import export_alone
from resmom.runs.exporting.embed import embed_alone
from tests.conftest import Call
from tests.pretended import POSSIBLE, start
from tests.runs.crash import write_images
from tests.runs.initial.test_recognise import SMALL, export_of

SHOWN = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}


def lines_of(card: str) -> dict[str, Any]:
    """What the card's own lines of Python leave, those before images are asked for."""
    space: dict[str, Any] = {}
    for block in card.split("```python\n")[1:3]:
        exec(block.split("```")[0], space)
    return space


def test_any_file_becomes_one_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    """And is believed from then on: size, normalisation and way of resizing need not be given again."""
    body = build_backbone(SMALL).body
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in body.state_dict().items()}}, tmp_path / "w.pth"
    )
    found = bare(str(tmp_path / "w.pth"), SMALL, image_size=40, **SHOWN)  # type: ignore[arg-type]
    made = export_alone(found, tmp_path / "out")
    assert [file.name for file in made.files] == ["backbone-init.safetensors", "README.md"] and made.step is None
    weights = load_file(made.files[0])
    own = body.layers.state_dict()  # type: ignore[union-attr,operator]
    assert weights.keys() == own.keys() and all(torch.equal(weights[name], own[name]) for name in own)
    with safe_open(made.files[0], "pt") as file:
        said = file.metadata()
    assert "step" not in said and said["network"] == "init" and said["resize"] == "bilinear"
    again = bare(str(made.files[0]))
    assert again.policy == found.policy and again.config == SMALL
    card = made.files[1].read_text()
    assert "images of 40 pixels, normalised by mean (0.500, 0.400, 0.300)" in card and "as asked for" in card
    assert str(tmp_path) not in card
    monkeypatch.chdir(tmp_path / "out")
    image = torch.rand(2, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(lines_of(card)["network"](image), found.encoder(image).h, rtol=0, atol=1e-5)
    status, out, err = call("export", "--init", made.files[0], "--out", tmp_path / "again", "--json")
    told = json.loads(out)
    assert status == 0 and told["step"] is None and told["files"][0].endswith("again/backbone-init.safetensors")
    assert "as the file says" in err


@pytest.mark.slow
def test_for_detectron2(tmp_path: Path) -> None:
    found = bare(backbone=ResNet(18), **SHOWN)  # type: ignore[arg-type]
    made = export_alone(found, tmp_path / "out", "detectron2")
    content = torch.load(made.files[0], weights_only=True)
    expected = renamed(found.backbone.body.state_dict())
    assert made.files[0].name == "backbone-random.pth" and content["model"].keys() == expected.keys()
    assert all(torch.equal(content["model"][name], value) for name, value in expected.items())
    card = made.files[1].read_text()
    assert "PIXEL_MEAN: [127.5, 102, 76.5]" in card and "seed 0: nothing was learned" in card
    assert "WEIGHTS: " in card and 'backbone-random.pth"' in card


@pytest.mark.slow
def test_as_onnx(tmp_path: Path, call: Call) -> None:
    """The graph gives what `resmom embed` says of the same images, of which it takes the pixels as they are."""
    path = export_of(tmp_path, SMALL)
    status, out, err = call("export", "--init", path, "--to", "onnx", "--out", tmp_path / "onnx")
    assert status == 0 and "init: ONNX opset 18" in out, err
    data = write_images(tmp_path / "images.npz")
    found = bare(path, image_size=16)
    arrays = np.load(embed_alone(found, tmp_path / "v.npz", str(data)).path)
    session = onnxruntime.InferenceSession(tmp_path / "onnx/backbone-init.onnx", providers=["CPUExecutionProvider"])
    pixels = np.load(data)["train_images"].transpose(0, 3, 1, 2).astype(np.float32) / 255
    (h,) = session.run(["features"], {"image": np.ascontiguousarray(pixels)})
    np.testing.assert_allclose(h, arrays["train_init"], rtol=0, atol=1e-4 * np.abs(h).max())
    said = session.get_modelmeta().custom_metadata_map
    assert said["normalised"] == "in the graph" and said["backbone"] == "w.safetensors, SmallResNet 4-8"
    assert "step" not in said


@pytest.mark.skipif(not POSSIBLE, reason="this torch has no backends written in Python")
def test_the_network_that_is_exported_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export for onnxruntime works on the CPU, with weights that take no gradient; the caller's are their own."""

    def saved(path: Path, backbone: Backbone, *_: object) -> Checked:
        given.update(backbone.requires_grad_(False).state_dict())
        path.write_bytes(b"")
        return Checked(True, 0.0, 5)

    device, given = start(), dict[str, torch.Tensor]()
    monkeypatch.setattr(subject, "save_onnx", saved)
    found = bare(backbone=SMALL, image_size=16, device="pretended")
    export_alone(found, tmp_path / "out", "onnx")
    own = found.backbone.state_dict()
    assert all(value.device == device for value in own.values()) and found.encoder.training is False
    assert all(parameter.requires_grad for parameter in found.backbone.parameters())
    assert given.keys() == own.keys() and all(torch.equal(given[name], own[name].cpu()) for name in own)
    embed_alone(found, tmp_path / "v.npz", str(write_images(tmp_path / "images.npz")))


def test_vectors_of_a_file(tmp_path: Path, call: Call) -> None:
    path, data = export_of(tmp_path, SMALL), write_images(tmp_path / "images.npz")
    line = ("embed", "--init", path, "--data", data, "--device", "cpu", "--out")
    status, out, err = call(*line, tmp_path / "v.npz")
    assert status == 0 and "clean images at 32 pixels, w.safetensors, SmallResNet 4-8)" in out and "as the file" in err
    status, out, _ = call(*line, tmp_path / "s.npz", "--layer", "stage1, mean", "--image-size", "16", "--json")
    assert status == 0 and json.loads(out)["arrays"]["train_init"] == [40, 4]
    plain, stage = np.load(tmp_path / "v.npz"), np.load(tmp_path / "s.npz")
    assert plain["train_init"].shape == (40, 8) and set(plain) == {
        f"{split}_{what}" for split in ("train", "test") for what in ("init", "labels")
    } | {"classes", "protocol"}
    assert "stage1, mean" in str(stage["protocol"])
    for options, words in (
        (("--site", "z"), "--site z is of a RUN; of weights by themselves there is h alone, and --layer"),
        (("--network", "student"), "--network student is one of a RUN's"),
        (("--layer", "chosen"), "--layer chosen is what `resmom evaluate RUN --all` chose of a run; of other weights"),
        (("--layer", "stage7"), "has no features 'stage7'"),
    ):
        status, _, err = call(*line, tmp_path / "no.npz", *options)
        assert status == 2 and words in err and not (tmp_path / "no.npz").exists()
    status, _, err = call("embed", "--init", path, "--out", tmp_path / "no.npz")
    assert status == 2 and "--data is missing: the images to embed" in err


def test_what_cannot_be_is_refused(tmp_path: Path, call: Call) -> None:
    path = export_of(tmp_path, SMALL)
    found = bare(path)
    with pytest.raises(UserError, match="stem imagenet, and the backbone is SmallResNet"):
        export_alone(found, tmp_path / "out", "detectron2")
    with pytest.raises(RunDirError, match=r"backbone-init\.safetensors lies in .*, whose files an export replaces"):
        export_alone(bare(str(export_alone(found, tmp_path / "out").files[0])), tmp_path / "out")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "mine.txt").write_text("mine")
    with pytest.raises(RunDirError, match="holds other files"):
        export_alone(found, tmp_path / "others")
    assert sorted(entry.name for entry in (tmp_path / "others").iterdir()) == ["mine.txt"]
    for options, words in (
        (("--init", path), "--out is missing: a folder to write to (a RUN has one of its own)"),
        (("--init", path, "--network", "teacher", "--out", "x"), "--network teacher is one of a RUN's"),
        (
            (tmp_path / "run", "--image-size", "64"),
            "--image-size goes with --init and --backbone; a RUN has the size of its",
        ),
        ((), "RUN is missing"),
    ):
        status, _, err = call("export", *options)
        assert status == 2 and words in err and err.count("\n") == 1
