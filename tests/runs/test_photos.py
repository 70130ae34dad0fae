"""A folder of photographs as people have them: many sizes, some broken."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.config import Log
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, LinearCrop, LowShot
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.comparisons.compare import can_show
from resmom.runs.loaded import load_run
from resmom.runs.measuring.asked import More
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.pretrain import pretrain
from tests.runs.crash import QUIET, small_run, write_images


def write_photos(folder: Path, n: int = 500) -> list[str]:
    """n photographs of different sizes in nested folders, without labels; returns the names of five broken ones."""
    random = np.random.default_rng(0)
    broken = []
    for number in range(n):
        place = folder / ("summer" if number % 2 else "summer/beach")
        place.mkdir(parents=True, exist_ok=True)
        height, width = random.integers(20, 60, size=2)
        path = place / f"{number:03d}.{'jpg' if number % 3 else 'png'}"
        Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)
        if number % 100 == 7:
            path.write_bytes(path.read_bytes()[:50] if number > 200 else b"not a picture")
            broken.append(path.relative_to(folder).as_posix())
    return broken


@pytest.mark.slow
def test_five_hundred_photos_with_five_broken(tmp_path: Path) -> None:
    broken = write_photos(tmp_path / "photos")
    run = replace(small_run(epochs=1, batch=64, warmup_epochs=0.5), log=Log(line_steps=1))
    finished = pretrain(run, str(tmp_path / "photos"), tmp_path / "run", QUIET)
    folder = RunDir(finished.path)
    assert finished.step == finished.steps == 495 // 64
    listed = [json.loads(line) for line in folder.unreadable.read_text().splitlines()]
    assert [line["path"] for line in listed] == sorted(broken)
    assert all(line["reason"] for line in listed)
    kinds = {line["kind"] for line in read_lines(folder.metrics)}
    assert kinds == {"train", "health"}  # no labels, so nothing that needs them
    with pytest.raises(UserError, match="no labels"):
        evaluate(folder.path)
    measured = gap(folder.path, accuracy=False).checkpoints[-1]
    assert [row.site for row in measured.rows] == ["h", "z", "p"] and measured.accuracy is None


@pytest.mark.slow
def test_evaluation_of_a_labelled_run_names_network_and_protocol(tmp_path: Path) -> None:
    data = write_images(tmp_path / "images.npz", n=60)
    pretrain(small_run(epochs=2), str(data), tmp_path / "run", QUIET)
    rows = evaluate(tmp_path / "run", baselines=True)
    found = {(row.network, row.score.protocol.split("-v1")[0]) for row in rows}
    assert found == {
        ("student", "knn"), ("teacher", "knn"), ("student", "linear"), ("teacher", "linear"),
        ("student", "online-linear"), ("raw pixels", "knn"), ("normalised pixels", "knn"), ("random init", "knn"),
    }  # fmt: skip
    lines = read_lines(RunDir(tmp_path / "run").evaluations)
    assert len(lines) == len(rows) and all(line["step"] == 14 for line in lines)
    measured = next(row for row in rows if row.network == "raw pixels")
    assert measured.score.top1 > 90  # the classes differ in colour


def test_without_a_test_split_the_online_classifier_never_sees_the_held_out_labels(tmp_path: Path) -> None:
    from resmom.data.open import open_data
    from resmom.data.split import holdout
    from resmom.runs.device import default_device
    from resmom.runs.training.job import prepare

    data = write_images(tmp_path / "images.npz")
    arrays = np.load(data)
    np.savez(data, train_images=arrays["train_images"], train_labels=arrays["train_labels"])
    job = prepare(small_run(), open_data(data), default_device("cpu"))
    held = holdout(arrays["train_labels"].astype(np.int64))[1]
    assert job.labels is not None
    assert (job.labels[held] == -1).all() and int((job.labels >= 0).sum()) == 40 - len(held)


def write_albums(folder: Path, n: int) -> None:
    """Folders of one photograph each."""
    random = np.random.default_rng(0)
    for number in range(n):
        (folder / f"{number:03d}").mkdir(parents=True)
        Image.fromarray(random.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(folder / f"{number:03d}" / "x.png")


def test_folders_of_one_photo_each_are_trained_on_and_not_measured_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_albums(tmp_path / "albums", 24)
    run = replace(small_run(epochs=1, batch=8, warmup_epochs=0.5), log=Log(line_steps=1))
    finished = pretrain(run, str(tmp_path / "albums"), tmp_path / "run", replace(QUIET, quiet=False))
    assert "labels: no class has two images" in capsys.readouterr().err
    assert {line["kind"] for line in read_lines(RunDir(finished.path).metrics)} == {"train", "health"}
    with pytest.raises(UserError, match=r"no class has two images.*give more images per class"):
        evaluate(finished.path)
    assert gap(finished.path).checkpoints[-1].accuracy is None
    assert can_show(open_data(str(tmp_path / "albums"))).startswith("without test images (no class has two images")


def test_a_file_whose_name_is_no_text_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write_albums(folder, 16)
    (folder / os.fsdecode(b"\xfc.png")).write_bytes(b"no picture")
    run = replace(small_run(epochs=1, batch=8, warmup_epochs=0.5), log=Log(line_steps=1))
    finished = pretrain(run, str(folder), tmp_path / "run", QUIET)
    assert [line["path"] for line in read_lines(RunDir(finished.path).unreadable)] == [os.fsdecode(b"\xfc.png")]
    assert load_run(finished.path).data == str(folder)


def test_what_stands_in_is_not_judged_by_the_broken_ones_label(tmp_path: Path) -> None:
    """Test images of one class that cannot be decoded, and are found so only while they are measured, do not count."""
    random = np.random.default_rng(0)
    for part, each in (("train", 12), ("test", 6)):
        for label in range(2):
            for number in range(each):
                path = tmp_path / "photos" / part / "ab"[label] / f"{number:02d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(0, 60, (16, 18, 3)) + 180 * label
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    data = open_data(str(tmp_path / "photos"), ram_limit=0)
    for number in range(1, 6):  # what stands in for each is of class b
        path = tmp_path / "photos" / "test" / "a" / f"{number:02d}.png"
        path.write_bytes(path.read_bytes()[:-60])
    run = replace(small_run(epochs=1, batch=8, warmup_epochs=0.5), log=Log(line_steps=1, knn_epochs=1))
    finished = pretrain(run, data, tmp_path / "run", QUIET)
    assert data.test is not None and len(data.test.unreadable) == 5
    (knn,) = [line for line in read_lines(RunDir(finished.path).metrics) if line["kind"] == "knn" and line["step"]]
    assert "queries 7" in knn["protocol"] and knn["student"] == 100.0
    accuracy = gap(finished.path, data).checkpoints[-1].accuracy
    assert accuracy is not None and "queries 7" in accuracy.protocol
    again = open_data(str(tmp_path / "photos"), ram_limit=0)
    for row in evaluate(finished.path, again, protocols=("knn", "linear"), more=More(low_shot=LowShot((1,)))):
        assert re.search(r"queries 7\b|7 test images|tested on 7\b", row.score.protocol), row.score.protocol
    path = tmp_path / "photos" / "train" / "a" / "03.png"
    path.write_bytes(path.read_bytes()[:-60])
    for more in (More(linear_crop=LinearCrop(epochs=1)), More(finetune=Finetune(epochs=1))):
        (row,) = evaluate(finished.path, open_data(str(tmp_path / "photos"), ram_limit=0), "student", (), more=more)
        assert "trained on 23, tested on 7," in row.score.protocol
