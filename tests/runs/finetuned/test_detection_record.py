"""A folder of detectors in a report: what is gathered, and what is said where photos are gone."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from resmom.evaluate.detection import Detect
from resmom.jsonfiles import append_line
from resmom.nets.backbones import SmallResNet
from resmom.runs.finetuned.detect import detect_evaluate, detect_train
from resmom.runs.finetuned.detection_record import detection_record
from resmom.runs.origin import Origin
from resmom.runs.reporting.report import report
from tests.runs.crash import QUIET
from tests.runs.rectangles import tiny, write_rectangles

pytestmark = pytest.mark.slow
MACHINE = replace(QUIET, workers=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half-decent detectors of rectangles in OUT, their images beside it."""
    root = tmp_path_factory.mktemp("detected")
    write_rectangles(root / "train", 24, 0)
    write_rectangles(root / "test", 15, 1)
    config: Detect = tiny(steps=40, batch=8, lr=0.05, measure_steps=20, warmup_steps=5)
    origin = Origin(backbone=SmallResNet((16, 32)))
    detect_train(config, origin, [str(root / "train")], [str(root / "test")], root / "out", MACHINE)
    return root / "out"


def test_what_is_gathered(folder: Path) -> None:
    record = detection_record(folder, "out", [], True)
    assert record.no_photos == "" and len(record.photos) == 12 and record.steps == 40
    (network,) = record.networks
    assert (network.name, network.step, network.words) == ("random", 40, "random weights, seed 0")
    (scores,) = record.measured.values()
    assert scores["random"]["step"] == 40
    for photo in record.photos:
        kinds = [mark.kind for mark in photo.marks[0]]
        assert kinds.count("found") == kinds.count("right") and set(kinds) <= {"found", "missed", "right", "wrong"}
        assert photo.aspect == 1.0
        assert all(0 <= x <= x + w <= 1.000001 and 0 <= y <= y + h <= 1.000001
                   for mark in photo.marks[0] for x, y, w, h in [mark.box])  # fmt: skip
        assert all(mark.words.startswith(("red", "green")) for mark in photo.marks[0])
    objects = sum(mark.kind in ("found", "missed") for photo in record.photos for mark in photo.marks[0])
    assert objects >= 12 and any(mark.kind == "right" for photo in record.photos for mark in photo.marks[0])
    assert "/" not in " ".join(value for _, value in record.facts)  # no path of this machine
    assert detection_record(folder, "out", [], False).photos == ()


def test_what_was_measured_at_an_earlier_step_is_left_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    (newest,) = detection_record(out, "out", [], False).measured.values()
    protocol = newest["random"]["protocol"]
    assert "; last step; test, 15 images" in protocol
    earlier = protocol.replace("last step", "step 20 of 40, not the last")
    elsewhere = earlier.replace("test, 15 images", "other, 9 images")
    for told in (earlier, elsewhere):
        append_line(out / "evaluations.jsonl", {**newest["random"], "network": "random", "step": 20, "protocol": told})
    found = detection_record(out, "out", [], False).measured
    assert {words: {name: line["step"] for name, line in scores.items()} for words, scores in found.items()} == {
        protocol: {"random": 40}, elsewhere: {"random": 20},
    }  # fmt: skip


def test_the_page(folder: Path, tmp_path: Path) -> None:
    written = report(folder, tmp_path / "r.html")
    text = written.read_text()
    assert text.count('class="plate"') == 12 and "AP on the test images after 40 steps" in text
    bare = report([folder, folder], tmp_path / "bare.html", images=False).read_text()
    assert "data:image/jpeg" not in bare and 'class="plate"' not in bare and "AP50" in bare


def test_photos_that_are_others_are_not_shown(folder: Path, tmp_path: Path) -> None:
    """The same names and boxes: a photo of another length; boxes that moved; and the photos as they were."""
    out, test = tmp_path / "out", tmp_path / "test"
    shutil.copytree(folder, out)
    shutil.copytree(folder.parent / "test", test)
    text = (out / "detect.json").read_text().replace(str(folder.parent / "test"), str(test))
    (out / "detect.json").write_text(text)
    assert len(detection_record(out, "out", [], True).photos) == 12  # a copy is the same
    photo, boxes = test / "JPEGImages/003.png", test / "Annotations/003.xml"
    before = photo.read_bytes()
    photo.write_bytes((test / "JPEGImages/004.png").read_bytes())
    gone = "No photos of out: the test images in test, or their boxes, are no longer those that it was measured on."
    for _ in range(2):
        record = detection_record(out, "out", [], True)
        assert (record.photos, record.no_photos) == ((), gone)
        assert all(network.score is None for network in record.networks) and record.measured
        photo.write_bytes(before)
        boxes.write_text((test / "Annotations/004.xml").read_text())
    assert gone in report(out, tmp_path / "r.html").read_text()
    old = {k: v for k, v in json.loads(text).items() if k != "test_digest"}
    (out / "detect.json").write_text(json.dumps(old))
    assert "does not say which test images it was measured on" in detection_record(out, "out", [], True).no_photos


def test_measured_elsewhere_and_images_that_are_gone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "moved"
    shutil.copytree(folder, out)
    detect_evaluate(out, [str(folder.parent / "train")], MACHINE)
    record = detection_record(out, "moved", [], False)
    assert [protocol.rpartition("; ")[2] for protocol in record.measured] == ["test, 15 images", "train, 24 images"]
    text = (out / "detect.json").read_text().replace(str(folder.parent / "test"), str(tmp_path / "gone"))
    (out / "detect.json").write_text(text)
    record = detection_record(out, "moved", [], True)
    assert record.photos == () and "the test images in gone are gone or cannot be read" in record.no_photos
    (out / "random/checkpoints/last.pt").unlink()
    (out / "detect.json").write_text((folder / "detect.json").read_text())
    assert "checkpoint" in detection_record(out, "moved", [], True).no_photos
