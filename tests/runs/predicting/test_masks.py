"""The class of every pixel as PNGs: those of the measurement, at the photos' own size, that labels can be read from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resmom
from resmom.data.annotations.masks import labels, open_masks
from resmom.data.decode import decode, stored
from resmom.errors import UserError
from resmom.evaluate.pixels import named
from resmom.jsonfiles import read_lines
from resmom.report.drawn import rgb
from resmom.runs.finetuned.segment import WORDS, restored
from resmom.runs.finetuned.segment_tasks import PatchLinearTask
from resmom.runs.finetuned.tuned import described
from resmom.runs.predicting.load import load_segmenter
from resmom.runs.predicting.predict import predict
from tests.conftest import Call
from tests.runs.scenes import NAMES, write_scenes


@pytest.mark.parametrize("kind", ["segmenter", "patches"])
def test_they_are_those_of_the_measurement(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(kind)
    place = write_scenes(tmp_path / "scenes", "test", 4, 1)
    found = predict(folder, str(tmp_path / "scenes" / "test"), tmp_path / "out", device="cpu")
    model = load_segmenter(folder)
    data = open_masks(place, model.classes)
    task = restored(described(folder, WORDS)["settings"], data, data)
    assert isinstance(task, PatchLinearTask) == (kind == "patches")
    counts = np.zeros(len(model.classes), dtype=np.int64)
    for image in data.images:
        right = named(task.votes(model.model), image, task.config.side, task.config.longest, torch.device("cpu"))
        said = stored(tmp_path / "out" / "masks" / f"{image.path.stem}.png")
        assert np.array_equal(said, right)
        (again,) = model([decode(image.path)])
        assert np.array_equal(again.numpy(), right)
        counts += np.bincount(right.ravel(), minlength=len(counts))
    assert found.counts == dict(zip(model.classes, counts.tolist(), strict=True)) and (counts > 0).sum() > 1


def test_sizes_names_and_palette(segmenter: Path, photos: Path, tmp_path: Path) -> None:
    found = predict(segmenter, str(photos), tmp_path / "out", draw=99, device="cpu")
    lines = {line["path"]: line for line in read_lines(tmp_path / "out" / "images.jsonl")}
    assert {name: line["mask"] for name, line in lines.items()} == {
        "a/b.jpg": "masks/a/b.png",
        "a/b.png": "masks/a/b.png.png",
        "a/c.png": "masks/a/c.png",
        "b.jpg": "masks/b.png",
        "turned.jpg": "masks/turned.png",
    }
    said = json.loads((tmp_path / "out" / "classes.json").read_text())
    classes = [each["name"] for each in said["classes"]]
    assert classes == list(NAMES[:3]) and (said["network"], said["step"]) == ("random", 12)
    assert [each["colour"] for each in said["classes"]] == [list(rgb(at)) for at in range(3)]
    for name, line in lines.items():
        height, width = decode(photos / name).shape[1:]
        mask = Image.open(tmp_path / "out" / line["mask"])
        assert mask.mode == "P" and mask.size == (width, height) == (line["width"], line["height"])
        shown = np.array(mask.convert("RGB"))
        assert np.array_equal(shown, np.array([rgb(at) for at in range(3)])[np.array(mask)])
    assert sum(found.counts.values()) == sum(line["height"] * line["width"] for line in lines.values())
    assert [each.name for each in found.unreadable] == ["early.png", "late.jpg"]
    assert read_lines(tmp_path / "out" / "unreadable.jsonl") == [each.plain() for each in found.unreadable]
    assert len(list((tmp_path / "out" / "pictures").rglob("*.jpg"))) == 5


def test_what_was_said_can_be_learned_from(segmenter: Path, tmp_path: Path) -> None:
    """The images and what was said of them are data for `resmom segment`."""
    write_scenes(tmp_path / "scenes", "test", 3, 1)
    images = tmp_path / "photos"
    (tmp_path / "scenes" / "test").rename(images)
    predict(segmenter, str(images), tmp_path / "out", device="cpu")
    data = open_masks(f"{images}:{tmp_path / 'out' / 'masks'}")
    assert len(data.images) == 3 and data.classes == NAMES[:3]
    for image in data.images:
        assert np.array_equal(labels(image), stored(tmp_path / "out" / "masks" / image.path.name))


def test_on_the_command_line(segmenter: Path, photos: Path, tmp_path: Path, call: Call) -> None:
    status, told, errors = call("predict", segmenter, "--data", photos, "--out", tmp_path / "a", "--device", "cpu")
    assert status == 0 and errors == "" and "5 images, a mask of each" in told and " %  ground" in told
    status, _, errors = call(
        "predict", segmenter, "--data", photos, "--out", tmp_path / "b", "--device", "cpu", "--threshold", "0.5"
    )
    assert status == 2 and "--threshold has no effect on a segmentation network" in errors


def test_votes_that_are_not_finite_end_it_and_leave_nothing(
    segmenter: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resmom.evaluate.trained.most_votes", lambda *_: None)
    with pytest.raises(UserError, match=r"nothing can be said of a/b\.jpg: its votes are not finite"):
        predict(segmenter, str(photos), tmp_path / "out", device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_the_names_of_python(segmenter: Path) -> None:
    made = resmom.load_segmenter(segmenter)
    (said,) = made([torch.zeros(3, 20, 30, dtype=torch.uint8)])
    assert said.shape == (20, 30) and said.dtype == torch.int64
