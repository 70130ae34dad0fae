"""Instance masks end to end: mask AP that rises, a restart that changes no bit, words, a page, and refusals."""

import json
from pathlib import Path

import pytest

from resmom.cli import main
from resmom.data.errors import DataError
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import ResNet, SmallResNet
from resmom.runs.finetuned.detect import detect_evaluate, detect_resume, detect_train
from resmom.runs.finetuned.detection_record import detection_record
from resmom.runs.origin import Origin
from resmom.runs.reporting.report import report
from tests.runs.rectangles import write_rectangles
from tests.runs.shapes import tiny_masks, write_shapes
from tests.runs.stops import MACHINE, restart_changes_no_bit

RANDOM = Origin(backbone=SmallResNet((8, 16)))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("shapes")
    return write_shapes(root / "train", 24, 0), write_shapes(root / "test", 12, 1)


@pytest.mark.slow
def test_mask_average_precision_rises(places: tuple[str, str], tmp_path: Path) -> None:
    config = tiny_masks(steps=160, batch=4, lr=0.05, measure_steps=40, save_steps=160, warmup_steps=10, seed=1)
    origin = Origin(backbone=SmallResNet((16, 32, 64)))
    detect_train(config, origin, [places[0]], [places[1]], tmp_path / "out", MACHINE)
    lines = [x for x in read_lines(tmp_path / "out/random/metrics.jsonl") if x["kind"] == "detection"]
    assert lines[-1]["mask_ap50"] > 60 and lines[-1]["mask_ap"] > lines[0]["mask_ap"] + 20
    # A mask that is its whole box is half right of a triangle, and right at .5 … .75 of a disc.
    assert lines[-1]["mask_per_class"]["triangle"] > 20
    marks = [m for photo in detection_record(tmp_path / "out", "out", [], True).photos for m in photo.marks[0]]
    assert any(mark.kind == "right" for mark in marks) and all(mark.outline for mark in marks if mark.kind != "wrong")
    losses = [x["loss/loss_mask"] for x in read_lines(tmp_path / "out/random/metrics.jsonl") if x["kind"] == "train"]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.slow
def test_a_restart_changes_no_bit(places: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_masks(steps=7, measure_steps=3)
    restart_changes_no_bit(
        lambda out: detect_train(config, RANDOM, [places[0]], [places[1]], out, MACHINE),
        detect_resume,
        tmp_path,
        monkeypatch,
    )


@pytest.mark.slow
def test_the_command_and_the_page(places: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--steps", "2", "--batch", "4", "--sides", "48", "--test-side", "48", "--workers", "0", "--quiet"]
    options += ["--device", "cpu", "--detector.form", "mask", "--detector.width", "16", "--backbone", "resnet18"]
    data = ["--data", places[0], "--test", places[1]]
    assert run_cli(["detect", "train", *data, "--out", str(out), *options]) == 0
    said = capsys.readouterr().out
    assert "  masks: AP " in said and "mask AP by class" in said and "of boxes and of masks" in said
    assert run_cli(["detect", "evaluate", str(out), "--json", "--device", "cpu"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert {"ap", "ap50", "mask_ap", "mask_ap50", "mask_ap75", "mask_per_class"} <= row.keys()
    record = detection_record(out, "out", [], True)
    assert dict(record.facts)["detector"].startswith("Mask R-CNN") and len(record.photos) == 12
    # Every true object has its mask, and so has every detection.
    assert all(mark.outline.startswith("M") for photo in record.photos for mark in photo.marks[0]
               if mark.kind in ("found", "missed"))  # fmt: skip
    text = report(out, tmp_path / "r.html").read_text()
    assert "mask AP50" in text and '<path class="missed"' in text and "The masks of detections" in text
    bare = report(out, tmp_path / "bare.html", images=False).read_text()
    assert "<path class=" not in bare and 'class="plate"' not in bare


def run_cli(arguments: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", ["resmom", *arguments])
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_refusals(places: tuple[str, str], tmp_path: Path) -> None:
    boxes = str(write_rectangles(tmp_path / "voc", 6, 0))
    out = tmp_path / "out"
    with pytest.raises(DataError, match="form of VOC, which holds no instance masks"):
        detect_train(tiny_masks(), RANDOM, [boxes], [], out, MACHINE)
    with pytest.raises(DataError, match="form of VOC, which holds no instance masks"):
        detect_train(tiny_masks(), RANDOM, [places[0]], [boxes], out, MACHINE)
    with pytest.raises(UserError, match="small_pad2"):
        detect_train(tiny_masks(), Origin(backbone=ResNet(18, "small_pad2")), [places[0]], [], out, MACHINE)
    assert not out.exists()
    detect_train(tiny_masks(steps=1), RANDOM, [places[0]], [], out, MACHINE)
    with pytest.raises(DataError, match="train on boxes alone with"):
        detect_evaluate(out, [boxes], MACHINE)
    # Masks are a part of the data that a training is resumed with.
    content = json.loads(Path(places[0]).read_text())
    (tmp_path / "moved").mkdir()
    for file in Path(places[0]).parent.glob("*.png"):
        (tmp_path / "moved" / file.name).write_bytes(file.read_bytes())
    shapes = tmp_path / "moved" / "shapes.json"
    shapes.write_text(json.dumps(content))
    detect_train(tiny_masks(steps=1), RANDOM, [str(shapes)], [], tmp_path / "other", MACHINE)
    content["annotations"][0]["segmentation"] = [[3, 3, 20, 3, 20, 20]]
    shapes.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not those"):
        detect_resume(tmp_path / "other", MACHINE)
