"""A run to ONNX files: the card's lines give the numbers of `resmom embed`; what is refused, and what is told."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

import resmom
from resmom.build import Own, build_method
from resmom.checkpoint import CheckpointError, save_checkpoint
from resmom.config import ConfigError, to_json
from resmom.export.onnx import Checked, ExportError
from resmom.nets.backbones import SmallResNet
from resmom.recipes.side import with_side
from resmom.rundir import RunDir
from resmom.runs.exporting.embed import embed
from resmom.runs.exporting.export import export
from resmom.runs.exporting.onnxfiles import backbone_with, checked_words
from resmom.views.apply import plain
from tests.conftest import Call
from tests.export.test_run import RUN, names_in, write_run

SMALL = with_side(RUN, 32)


def run_with_own(path: Path, body: nn.Module) -> Path:
    """The run of `write_run`, with a backbone from Python."""
    folder = write_run(path, SMALL)
    method = build_method(SMALL.method, SMALL.backbone, 0, Own(body), (3, 32, 32))
    state = {"step": 60, "student": method.student.state_dict(), "teacher": method.teacher.state_dict()}
    content = {"run": to_json(SMALL), "epoch": 6.0, "classes": [], "data": "f", "state": state}
    save_checkpoint(RunDir(folder).last, content)
    written = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(written | {"own": {"backbone": "nets.Body", "method": "nets.Tiny"}}))
    return folder


def body() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_the_backbone_is_that_of_the_checkpoint(network: Literal["student", "teacher"], tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", SMALL)
    state = torch.load(RunDir(folder).last, weights_only=True)["state"][network]
    backbone = backbone_with(SMALL, {}, Own(), state, network)
    own = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    assert all(torch.equal(value, state[name]) for name, value in own.items())
    with pytest.raises(CheckpointError, match=r"does not fit its backbone: .*body\.layers"):
        backbone_with(replace(SMALL, backbone=SmallResNet((4, 9))), {}, Own(), state, network)


def test_a_backbone_from_python_must_be_brought_and_the_method_need_not(tmp_path: Path) -> None:
    folder = run_with_own(tmp_path / "run", body())
    written = json.loads((folder / "run.json").read_text())
    state = torch.load(RunDir(folder).last, weights_only=True)["state"]["student"]
    found = backbone_with(SMALL, written, Own(body()), state, "student")
    assert torch.equal(found.state_dict()["body.0.weight"], state["backbone.body.0.weight"])
    with pytest.raises(ConfigError, match=r"backbone of its own, nets\.Body.*resmom\.result\(RUN, backbone=…\)"):
        export(folder, form="onnx")
    with pytest.raises(CheckpointError, match=r"give backbone= as it was at the start \(nets\.Body\)"):
        backbone_with(SMALL, written, Own(nn.Sequential(nn.Conv2d(3, 5, 3))), state, "student")
    assert names_in(folder.parent) == ["run"] and not (folder / "onnx").exists()


def test_a_refused_export_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    folder = write_run(tmp_path / "run", SMALL)

    def refused(*_: object) -> Checked:
        raise ExportError("torch's exporter cannot translate it (no such operator)")

    monkeypatch.setattr("resmom.runs.exporting.onnxfiles.save_onnx", refused)
    status, out, err = call("export", folder, "--to", "onnx")
    assert status == 2 and not out
    assert "the student's backbone, SmallResNet, cannot be exported as ONNX: torch's exporter cannot translate" in err
    assert "Its weights can: --to safetensors" in err and not (folder / "onnx").exists()
    monkeypatch.setattr("resmom.export.onnx.importable", lambda name: False)
    status, _, err = call("export", folder, "--to", "onnx", "--out", tmp_path / "out")
    assert status == 2 and "pip install onnx onnxscript onnxruntime" in err and names_in(tmp_path) == ["run"]


def test_what_is_told_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def saved(path: Path, *_: object) -> Checked:
        path.write_bytes(b"")
        path.with_name(f"{path.name}.data").write_bytes(b"")
        return Checked(any_size=path.stem.endswith("student"), difference=3.21e-7, images=5)

    monkeypatch.setattr("resmom.runs.exporting.onnxfiles.save_onnx", saved)
    folder = write_run(tmp_path / "run", SMALL)
    told = json.loads(call("export", folder, "--to", "onnx", "--network", "teacher", "--json")[1])
    assert told["checked"] == {"teacher": {"any_size": False, "difference": 3.21e-7, "images": 5}}
    files = [Path(file).name for file in told["files"]]
    assert files == ["backbone-teacher.onnx", "backbone-teacher.onnx.data", "README.md"]
    words = "onnxruntime's features of 5 drawn images differ from torch's by at most 3.2e-07 of the largest."
    assert checked_words(Checked(True, 3.21e-7, 5)) == f"ONNX opset 18, images of any number, height and width. {words}"
    out = call("export", folder, "--to", "onnx")[1]
    assert f"\nstudent: ONNX opset 18, images of any number, height and width. {words}\n" in out
    assert f"\nteacher: ONNX opset 18, images of any number. {words}\n" in out
    # Another form into the same folder: what lay beside a file goes with it.
    export(folder, folder / "onnx")
    assert names_in(folder / "onnx") == ["README.md", "backbone-student.safetensors", "backbone-teacher.safetensors"]


def lines_of(card: str) -> list[str]:
    found: list[str] = re.findall(r"```python\n(.*?)\n```", card, re.DOTALL)
    return found


def said_of(photo: Path, *lines: str) -> np.ndarray:
    """What the card's lines, as they stand but for the photo's name, say of it."""
    whole = "\n".join(lines)
    assert "torch" not in whole and "resmom" not in whole and '"photo.jpg"' in whole
    space: dict[str, Any] = {}
    exec(whole.replace("photo.jpg", str(photo)), space)
    h: np.ndarray = space["h"]
    return h


@pytest.mark.slow
def test_the_lines_of_the_card_give_what_embed_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, photos = write_run(tmp_path / "run", SMALL), tmp_path / "photos"
    photos.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (2, 40, 53, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(photos / f"{number}.png")
    capfd.readouterr()
    made = resmom.result(folder).export(to="onnx")
    assert capfd.readouterr() == ("", "") and made.folder == folder / "onnx"
    assert names_in(made.folder) == ["README.md", "backbone-student.onnx", "backbone-teacher.onnx"]
    vectors = np.load(embed(folder, tmp_path / "vectors.npz", str(photos), device="cpu").path)
    prepare, student, teacher, then = lines_of((made.folder / "README.md").read_text())
    monkeypatch.chdir(made.folder)
    for network, load in (("student", student), ("teacher", teacher)):
        for row, true in enumerate(vectors[f"train_{network}"]):
            h = said_of(photos / f"{row}.png", prepare, load, then)
            np.testing.assert_allclose(h, true[None], rtol=1e-4, atol=1e-5 * np.abs(true).max())
    said = {entry.key: entry.value for entry in onnx.load(made.files[0]).metadata_props}
    assert said["backbone"] == "SmallResNet" and said["method"] == "MoCoV3" and said["resize"] == "bilinear"
    assert str(Path.cwd().parent).encode() not in made.files[0].read_bytes()


@pytest.mark.slow
def test_a_run_on_grey_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = replace(SMALL.policy, mean=(0.4,), std=(0.3,))
    run = replace(SMALL, policy=policy, backbone=SmallResNet((4, 8), channels=1))
    made = export(write_run(tmp_path / "run", run), network="teacher", form="onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 53), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    monkeypatch.chdir(made.folder)
    h = said_of(tmp_path / "grey.png", *lines_of((made.folder / "README.md").read_text()))
    view = plain(torch.from_numpy(pixels)[None, None], 32, (0.4,), (0.3,), "bilinear")
    with torch.no_grad():
        true = resmom.load(tmp_path / "run", "teacher")(view).h.numpy()
    np.testing.assert_allclose(h, true, rtol=1e-4, atol=1e-5 * np.abs(true).max())


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_a_backbone_from_python(compiled: bool, tmp_path: Path) -> None:
    own = Own(torch.compile(body(), backend="eager") if compiled else body())
    made = export(run_with_own(tmp_path / "run", body()), tmp_path / "out", "student", "onnx", own)
    assert made.checked["student"].any_size and made.checked["student"].difference < 1e-5
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**Do not normalise them**" in card and "InferenceSession" in card
