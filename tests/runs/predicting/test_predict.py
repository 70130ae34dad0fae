"""The table of a classifier, what is refused before anything is written, and that a failure leaves nothing."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import resmom
import resmom.runs.predicting.predict as predicting
from resmom.config import part_to_json
from resmom.data.decode import decode
from resmom.data.lists import open_list
from resmom.errors import RunDirError, UserError
from resmom.evaluate.score import Classified, Score
from resmom.export.weights import About
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.nets.weightfile import WeightsError
from resmom.runs.measuring.classifierfile import save_classifier
from resmom.runs.predicting.predict import predict
from tests.conftest import Call


def saved(file: Path, classes: tuple[str, ...] = ("ash", "birch", "cedar, red")) -> Path:
    """A classifier on a random backbone with a random layer."""
    torch.manual_seed(0)
    config = SmallResNet((4, 8))
    backbone, layer = build_backbone(config), nn.Linear(8, len(classes))
    nn.init.normal_(layer.weight, std=3.0)
    found = Classified(Score(50.0, None, "linear-v1 (…)"), backbone, layer)
    about = About("student", {**part_to_json(config), "kind": "SmallResNet"}, 7, (0.5,) * 3, (0.25,) * 3, 16)
    more = {"protocol": "linear-v1 (…)", "data": "trees"}
    save_classifier(file, found, config, about, classes, more)
    return file


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("classifier") / "trees.safetensors")


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_a_row_for_every_image(classifier: Path, photos: Path, tmp_path: Path) -> None:
    found = predict(classifier, str(photos), tmp_path / "new" / "said.csv", device="cpu")
    said = {row["path"]: row for row in rows(found.path)}
    assert sorted(said) == ["a/b.jpg", "a/b.png", "a/c.png", "b.jpg", "early.png", "late.jpg", "turned.jpg"]
    model = resmom.load_classifier(classifier)
    for name, row in said.items():
        if row["unreadable"]:
            assert not any(row[column] for column in ("class", "probability", "second", "second_probability"))
            continue
        (shares,) = model([decode(photos / name)])
        first, second = shares.argsort(descending=True)[:2].tolist()
        assert (row["class"], row["second"]) == (model.classes[first], model.classes[second])
        assert float(row["probability"]) == pytest.approx(float(shares[first]), abs=1e-5)
        assert float(row["second_probability"]) == pytest.approx(float(shares[second]), abs=1e-5)
    assert said["late.jpg"]["unreadable"] == "the file is cut short" and said["early.png"]["unreadable"]
    assert [each.name for each in found.unreadable] == ["early.png", "late.jpg"] and found.images == 5
    assert sum(found.counts.values()) == 5 and len({row["class"] for row in said.values()}) > 2
    assert (found.info["network"], found.info["data"]) == ("student", "trees")


def test_the_table_is_a_list_of_labelled_images(classifier: Path, photos: Path) -> None:
    """Beside the photos it can be learned from, whatever they are called."""
    odd = photos / os.fsdecode(b'odd "x",\xff\n.png')
    shutil.copy(photos / "a/b.png", odd)
    for bad in ("early.png", "late.jpg"):
        (photos / bad).unlink()
    predict(classifier, str(photos), photos / "said.csv", device="cpu")
    train = open_list(photos / "said.csv").train
    assert len(train) == 6 and train.unreadable == [] and train.labels is not None and (train.labels >= 0).all()
    assert odd.name in train.names()


@pytest.mark.parametrize("classes", [("only",), ("a", "b")])
def test_few_classes(classes: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    file = saved(tmp_path / "c.safetensors", classes)
    table = rows(predict(file, str(photos), tmp_path / "said.csv", device="cpu").path)
    read = [row for row in table if not row["unreadable"]]
    assert {row["second"] for row in read} <= ({""} if len(classes) == 1 else {"a", "b"})
    assert all(row["class"] in classes for row in read)


def test_images_of_other_channels_are_refused(classifier: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "grey.npz", train_images=np.zeros((3, 16, 16), np.uint8))
    with pytest.raises(UserError, match=r"have 1 channel\(s\), the classifier was trained on 3"):
        predict(classifier, str(tmp_path / "grey.npz"), tmp_path / "said.csv", device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["grey.npz"]


def test_what_can_predict_nothing_is_refused(detectors: Path, classifier: Path, photos: Path, tmp_path: Path) -> None:
    run = detectors.parent / "run"
    for trained, words in (
        (run, "is a run, which names no classes: train a classifier on it first"),
        (tmp_path / "none", "does not exist; `resmom predict` takes a folder of"),
        (photos, "holds nothing that names classes"),
        (detectors / "student" / "checkpoints" / "last.pt", "holds nothing that names classes"),
    ):
        with pytest.raises(RunDirError, match=words):
            predict(trained, str(photos), tmp_path / "out", device="cpu")
    with pytest.raises(WeightsError, match="holds a backbone alone, and names no classes"):
        predict(run / "export" / "backbone-student.safetensors", str(photos), tmp_path / "out.csv", device="cpu")
    with pytest.raises(WeightsError, match="there is no file of weights"):
        predict(tmp_path / "none.safetensors", str(photos), tmp_path / "out.csv", device="cpu")
    with pytest.raises(RunDirError, match=r"holds detectors, not a run; .* `resmom\.load_detector`"):
        resmom.load(detectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_options_without_an_effect_and_places_in_use_are_refused(
    detectors: Path, classifier: Path, photos: Path, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine").write_text("mine")
    (tmp_path / "used.csv").write_text("mine")
    for trained, out, options, words in (
        (classifier, "out.csv", ["--network", "student"], "--network has no effect on a classifier"),
        (classifier, "out.csv", ["--draw", "0"], "--draw has no effect on a classifier"),
        (classifier, "out.csv", ["--threshold", "0.5"], "--threshold has no effect on a classifier"),
        (classifier, "out", [], "must end in .csv"),
        (classifier, "used.csv", [], "is there already"),
        (detectors, "used", [], "holds something already, which is never written over"),
        (detectors, "used.csv", [], "is a file"),
        (detectors, "out", ["--threshold", "1.5"], "a score lies in 0 to 1"),
        (detectors, "out", ["--threshold", "nan"], "a score lies in 0 to 1"),
        (detectors, "out", ["--draw", "-1"], "--draw is -1; it is a number of pictures"),
        (detectors, "out", ["--network", "random"], "has no network 'random'; it has student, teacher"),
        (detectors, "out", ["--network", "both"], "--network is 'both'; it is one of student, teacher, init, random"),
        (detectors, "out", ["--data", tmp_path / "gone"], "does not exist"),
        (detectors, "out", ["--device", "tpu"], "there is no device 'tpu' here"),
    ):
        given = ["--data", photos, "--out", tmp_path / out, "--device", "cpu", *options]
        status, told, errors = call("predict", trained, *given)
        assert status == 2 and told == "" and words in errors, errors
        assert errors.count("\n") == 1 and errors.startswith("resmom predict: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "used", "used.csv"]
    assert (tmp_path / "used.csv").read_text() == (tmp_path / "used" / "mine").read_text() == "mine"


@pytest.mark.parametrize("kind", ["detectors", "segmenter", "classifier"])
def test_what_is_stopped_leaves_nothing(
    kind: str, request: pytest.FixtureRequest, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: Path = request.getfixturevalue(kind)
    calls = 0

    def stopped(self: object, *_: object) -> None:
        nonlocal calls
        calls += 1
        raise KeyboardInterrupt

    monkeypatch.setattr(predicting.Told, "image", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(trained, str(photos), tmp_path / "out.csv", device="cpu")
    assert calls == 1 and [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_network_that_diverged_is_refused(mask_detector: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(mask_detector, tmp_path / "det")
    last = tmp_path / "det" / "random" / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    name = next(name for name, value in content["state"]["model"].items() if value.is_floating_point())
    content["state"]["model"][name].fill_(torch.nan)
    torch.save(content, last)
    with pytest.raises(UserError, match=r"random in .* cannot be used: its weights are not finite"):
        predict(tmp_path / "det", str(photos), tmp_path / "out", device="cpu")
    last.unlink()
    with pytest.raises(UserError, match=r"random in .* has no checkpoint; `resmom detect resume"):
        predict(tmp_path / "det", str(photos), tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_images_that_were_passed_over_are_told(classifier: Path, tmp_path: Path, call: Call) -> None:
    for name in ("train/a.png", "val/a.png", "other/a.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "p" / name)
    status, told, _ = call(
        "predict", classifier, "--data", tmp_path / "p", "--out", tmp_path / "o.csv", "--device", "cpu"
    )
    assert status == 0 and "passed over: 1 images outside of the train/ and val/ folders" in told
    assert [row["path"] for row in rows(tmp_path / "o.csv")] == ["train/a.png", "val/a.png"]


def test_how_far_it_is(detectors: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resmom.runs.predicting.written.SECONDS", 0.0)
    said: list[str] = []
    predict(detectors, str(photos), tmp_path / "out", device="cpu", say=said.append)
    assert said[0].startswith("the student (AP ") and said[1] == "1 of 6 images" and len(said) == 6


def test_a_segmenter_that_has_not_chosen_yet(patches: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(patches, tmp_path / "seg")
    last = tmp_path / "seg" / "random" / "checkpoints" / "last.pt"
    content = torch.load(last, weights_only=True)
    content["state"]["model"]["chosen"].fill_(-1)
    torch.save(content, last)
    with pytest.raises(UserError, match="cannot be used: its training stopped before a learning rate was chosen"):
        predict(tmp_path / "seg", str(photos), tmp_path / "out", device="cpu")


def test_the_json_of_a_table(classifier: Path, photos: Path, tmp_path: Path, call: Call) -> None:
    status, told, _ = call(
        "predict", classifier, "--data", photos, "--out", tmp_path / "o.csv", "--device", "cpu", "--json"
    )
    said = json.loads(told)
    assert status == 0 and said["classifier"] == "trees.safetensors" and said["kind"] == "classes"
    assert said["images"] == sum(said["counts"].values()) == 5 and len(said["unreadable"]) == 2
