"""Detections as COCO's tools read them: the boxes of the measurement, in pixels of the photos, and pictures."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

import resmom
from resmom.data.annotations.boxes import open_boxes
from resmom.data.decode import decode, header
from resmom.evaluate.detection import detections
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import SmallResNet
from resmom.runs.finetuned.detect import detect_train
from resmom.runs.origin import Origin
from resmom.runs.predicting.predict import predict
from tests.conftest import Call
from tests.runs.rectangles import tiny, write_rectangles
from tests.runs.stops import MACHINE


def coco(out: Path) -> tuple[COCO, COCO]:
    """The images and the results, by COCO's own reader."""
    with contextlib.redirect_stdout(io.StringIO()):
        images = COCO(out / "images.json")
        return images, images.loadRes(str(out / "detections.json"))


def results(out: Path) -> dict[str, list[dict[str, Any]]]:
    names = {image["id"]: image["file_name"] for image in json.loads((out / "images.json").read_text())["images"]}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for line in json.loads((out / "detections.json").read_text()):
        found[names[line["image_id"]]].append(line)
    return found


def test_they_are_those_of_the_measurement(detectors: Path, tmp_path: Path) -> None:
    """Of images whose boxes are known, both networks; without their labels, which are not looked at."""
    test = detectors.parent / "test"
    for network in ("student", "teacher"):
        out = tmp_path / network
        predict(detectors, str(test / "JPEGImages"), out, network, device="cpu")
        detector = resmom.load_detector(detectors, network)
        assert (detector.network, detector.step, detector.classes) == (network, 2, ("green", "red"))
        data = open_boxes(str(test), ("green", "red"))
        found = detections(detector.model, data, detector.config, torch.device("cpu"))
        lines = results(out)
        assert sum(map(len, lines.values())) == sum(len(one.scores) for one in found) > 0
        for image, said in zip(data.images, found, strict=True):
            mine = lines[image.path.name]
            boxes = np.array([line["bbox"] for line in mine]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            np.testing.assert_allclose(boxes, said.boxes, atol=2e-3)
            np.testing.assert_allclose([line["score"] for line in mine], said.scores, atol=1e-6)
            assert [line["category_id"] - 1 for line in mine] == said.labels.tolist()
            assert all(line["category_name"] == detector.classes[line["category_id"] - 1] for line in mine)
        info = json.loads((out / "images.json").read_text())["info"]
        (measured,) = [x for x in read_lines(detectors / network / "metrics.jsonl") if x["kind"] == "detection"]
        assert (info["network"], info["step"], info["ap"]) == (network, 2, measured["ap"])
        assert str(detectors.parent) not in (out / "images.json").read_text()  # the last part of a path at most


@pytest.mark.slow
def test_boxes_are_in_pixels_of_the_photo(tmp_path: Path) -> None:
    """A detector that finds a rectangle finds it in the same photo enlarged, at the enlarged place."""
    shown = write_rectangles(tmp_path / "shown", 8, 0)
    origin, config = (
        Origin(backbone=SmallResNet((16, 32, 64))),
        tiny(steps=120, batch=8, lr=0.05, sides=(64,), flip=0.0),
    )
    detect_train(config, origin, [str(shown)], [], tmp_path / "det", MACHINE)
    for by in (1, 3):
        (tmp_path / f"x{by}").mkdir()
        for file in (shown / "JPEGImages").iterdir():
            Image.open(file).resize((64 * by, 64 * by), Image.Resampling.NEAREST).save(tmp_path / f"x{by}" / file.name)
        predict(tmp_path / "det", str(tmp_path / f"x{by}"), tmp_path / f"out{by}", threshold=0.6, device="cpu")
    small, large = results(tmp_path / "out1"), results(tmp_path / "out3")
    truth = {image.path.name: image for image in open_boxes(str(shown), ("green", "red")).images}
    near = []
    for name, lines in large.items():
        for line in lines:
            x, y, w, h = np.array(line["bbox"]) / 3
            apart = np.abs(truth[name].boxes - (x, y, x + w, y + h)).max(1)
            near.append(apart[truth[name].labels == line["category_id"] - 1].min(initial=99))
    assert len(near) >= 8 and np.median(near) < 3
    counts = [sum(map(len, each.values())) for each in (small, large)]
    assert 0.7 < counts[0] / counts[1] < 1.4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_masks_are_run_lengths_on_the_photo(mask_detector: Path, photos: Path, tmp_path: Path) -> None:
    found = predict(mask_detector, str(photos), tmp_path / "out", device="cpu", draw=2)
    images, said = coco(tmp_path / "out")
    detector = resmom.load_detector(mask_detector)
    by_name = {image["file_name"]: image for image in images.imgs.values()}
    (there,) = detector([decode(photos / "turned.jpg")])
    image = by_name["turned.jpg"]
    assert (image["height"], image["width"]) == (70, 44)  # upright, as its EXIF data have it
    lines = said.imgToAnns[image["id"]]
    assert len(lines) == len(there["scores"]) > 0 and there["masks"].shape == (len(lines), 70, 44)
    for line, mask, box in zip(lines, there["masks"], there["boxes"], strict=True):
        assert np.array_equal(rle.decode(line["segmentation"]).astype(bool), mask.numpy())
        x, y, w, h = line["bbox"]
        torch.testing.assert_close(box, torch.tensor([x, y, x + w, y + h]), rtol=0, atol=2e-3)
    assert there["masks"].dtype == torch.bool and there["labels"].min() >= 0
    assert found.counts == {name: sum(a["category_name"] == name for a in said.anns.values()) for name in found.counts}


def test_a_threshold_and_the_pictures(detectors: Path, photos: Path, tmp_path: Path) -> None:
    everything = predict(detectors, str(photos), tmp_path / "all", draw=99, device="cpu")
    scores = sorted(line["score"] for lines in results(tmp_path / "all").values() for line in lines)
    middle = int(np.argmax(np.diff(scores[len(scores) // 4 : -2]))) + len(scores) // 4
    least = (scores[middle] + scores[middle + 1]) / 2
    some = predict(detectors, str(photos), tmp_path / "some", threshold=least, draw=2, device="cpu")
    kept = [line["score"] for lines in results(tmp_path / "some").values() for line in lines]
    assert sorted(kept) == [score for score in scores if score >= least] and 0 < len(kept) < len(scores)
    assert sum(some.counts.values()) == len(kept) and some.images == everything.images == 5
    drawn = sorted(path.relative_to(tmp_path / "all/pictures") for path in (tmp_path / "all/pictures").rglob("*.jpg"))
    assert [str(path) for path in drawn] == ["a/b.jpg", "a/b.png.jpg", "a/c.jpg", "b.jpg", "turned.jpg"]
    assert header(tmp_path / "all/pictures/turned.jpg") == (70, 44)
    assert len(list((tmp_path / "some/pictures").rglob("*.jpg"))) == 2
    assert not (predict(detectors, str(photos), tmp_path / "none", device="cpu").path / "pictures").exists()


def test_on_the_command_line(detectors: Path, photos: Path, tmp_path: Path, call: Call) -> None:
    status, told, errors = call("predict", detectors, "--data", photos, "--out", tmp_path / "a", "--device", "cpu")
    assert status == 0 and f"{tmp_path / 'a'}: 5 images, " in told and "by the student at step 2" in told
    assert "2 could not be read, and are listed there:" in told and "'late.jpg': the file is cut short" in told
    assert errors.startswith("the student (AP ") and "; --network also takes teacher (AP " in errors.replace(
        " is asked", ""
    )
    status, told, _ = call(
        "predict",
        detectors,
        "--data",
        photos,
        "--out",
        tmp_path / "b",
        "--network",
        "teacher",
        "--device",
        "cpu",
        "--json",
    )
    said = json.loads(told)
    assert status == 0 and (said["kind"], said["network"], said["images"]) == ("detections", "teacher", 5)
    assert [each["path"] for each in said["unreadable"]] == ["early.png", "late.jpg"]
    assert read_lines(tmp_path / "b/unreadable.jsonl") == said["unreadable"]
    assert (tmp_path / "a/detections.json").read_bytes() != (tmp_path / "b/detections.json").read_bytes()
