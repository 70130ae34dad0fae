"""A folder of photographs as people have them: many sizes, some broken."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resmom.config import Log
from resmom.errors import UserError
from resmom.rundir import RunDir, read_lines
from resmom.runs.evaluate import evaluate
from resmom.runs.gap import gap
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
    from resmom.runs.job import prepare

    data = write_images(tmp_path / "images.npz")
    arrays = np.load(data)
    np.savez(data, train_images=arrays["train_images"], train_labels=arrays["train_labels"])
    job = prepare(small_run(), open_data(data), default_device("cpu"))
    held = holdout(arrays["train_labels"].astype(np.int64))[1]
    assert job.labels is not None
    assert (job.labels[held] == -1).all() and int((job.labels >= 0).sum()) == 40 - len(held)
