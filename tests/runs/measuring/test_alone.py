"""`resmom evaluate --init FILE`: the numbers are those of the run that the file is of; what is kept and refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from resmom.errors import RunDirError, UserError
from resmom.evaluate.settings import Finetune, LinearCrop, OtherKnn
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import SmallResNet
from resmom.rundir import RunDir
from resmom.runs.alone.bare import Bare, bare
from resmom.runs.exporting.export import export
from resmom.runs.measuring.alone import evaluate_alone
from resmom.runs.measuring.asked import ALONE, asked
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.rows import Row
from tests.conftest import Call
from tests.runs.crash import write_images
from tests.runs.measuring.quick import QUICK

SIZE = "images of 16 pixels; "


@pytest.fixture(scope="module")
def file(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The student of the run, as `resmom export` writes it."""
    folder = tmp_path_factory.mktemp("alone")
    export(trained[0], folder / "out")
    return folder / "out" / "backbone-student.safetensors"


def numbers(rows: list[Row]) -> list[tuple[float, tuple[float, ...], str]]:
    return [(row.score.top1, row.draws, row.score.protocol.replace(SIZE, "")) for row in rows]


def test_the_numbers_are_those_of_the_run(trained: tuple[Path, Path], file: Path) -> None:
    """All that is measured on clean images sees the same images, resized in the same way, in the same network."""
    path, place = trained
    more = {"linear": QUICK, "sweep": True, "low_shot": (1, 2), "draws": 2, "seed": 4}
    for protocols, options in ((("knn", "linear"), {"linear": QUICK}), ((), more)):
        wanted = asked(protocols, usual=ALONE, **options)  # type: ignore[arg-type]
        own = evaluate(path, None, "student", wanted.protocols, wanted.linear, device="cpu", more=wanted.more)
        rows = evaluate_alone(bare(str(file), device="cpu"), str(place), wanted)
        assert numbers(rows) == numbers(own)
        assert all(row.network == "init" and row.step is None and SIZE in row.score.protocol for row in rows)
        assert [row.candidates for row in rows] == [row.candidates for row in own]


def test_the_floors_beside_it(trained: tuple[Path, Path], file: Path) -> None:
    wanted = asked(("knn",), usual=ALONE, baselines=True)
    found = evaluate_alone(bare(str(file)), str(trained[1]), wanted)
    assert [row.network for row in found] == ["init", "raw pixels", "normalised pixels", "random init"]
    random = bare(backbone=SmallResNet((4, 8)), image_size=16, mean=(0.5,) * 3, std=(0.2,) * 3)
    found = evaluate_alone(random, str(trained[1]), wanted)
    assert [row.network for row in found] == ["random", "raw pixels", "normalised pixels"]


@pytest.mark.slow
def test_classifiers_that_are_trained_on_crops(trained: tuple[Path, Path], file: Path, tmp_path: Path) -> None:
    wanted = asked(
        (), usual=ALONE, linear_crop=LinearCrop(epochs=2, batch=20), finetune=Finetune(epochs=2, batch=16, lr=0.5)
    )
    weights = bare(str(file), image_size=24, device="cpu")  # here the size is that of the crops too
    kept = evaluate_alone(weights, str(trained[1]), wanted, tmp_path / "out")
    crop, fine = kept
    assert crop.score.protocol.startswith("linear-crop-v1 (frozen h, one linear layer, random crops of 0.08 to 1")
    assert "crops of 0.08 to 1 of the area, flip 0.5, trained on 60" in fine.score.protocol
    assert all("; images of 24 pixels; " in row.score.protocol for row in kept)
    assert [entry.name.split("-")[0] for entry in (tmp_path / "out" / "probes").iterdir()] == ["init"]
    assert numbers(evaluate_alone(weights, str(trained[1]), wanted)) == numbers(kept)  # also where nothing is kept
    # A run's own crops are those of its views; the classifier of a copy is another.
    assert "crop and flip of pretraining's first view" not in fine.score.protocol


def test_rows_are_kept_where_it_is_asked_for(
    trained: tuple[Path, Path], file: Path, tmp_path: Path, call: Call
) -> None:
    line = ("evaluate", "--init", file, "--data", trained[1], "--protocols", "knn", "--device", "cpu")
    before = sorted(RunDir(trained[0]).path.rglob("*"))
    status, out, err = call(*line)
    assert status == 0 and out.splitlines()[-1] == "on images; kept nowhere, --out FOLDER keeps it"
    assert "tensors of the backbone from backbone-student.safetensors" in err and "as the file says" in err
    for number in (1, 2):
        status, out, _ = call(*line, "--out", tmp_path / "out")
        assert status == 0 and out.endswith(f"on images; also in {tmp_path}/out/evaluations.jsonl\n")
        assert len(read_lines(tmp_path / "out" / "evaluations.jsonl")) == number
    status, out, _ = call(*line, "--json")
    (row,) = json.loads(out)
    written = read_lines(tmp_path / "out" / "evaluations.jsonl")[0]
    assert written.pop("environment")["resmom"] and written == row and "step" not in row
    assert row["probe"] == "knn-v1" and "shots" not in row
    about = row["weights"]
    assert about["init"] == file.name and about["backbone"]["kind"] == "SmallResNet" and about["image_size"] == 16
    assert about["resize"] == "bicubic" and len(about["mean"]) == 3 and "as the file says" in about["told"][-1]
    assert sorted(RunDir(trained[0]).path.rglob("*")) == before  # the run it came from is left alone


@pytest.mark.usefixtures("typed")
def test_folders_that_are_something_else_are_left_alone(trained: tuple[Path, Path], file: Path, tmp_path: Path) -> None:
    weights, wanted = bare(str(file)), asked(("knn",), usual=ALONE)
    with pytest.raises(RunDirError, match=r"holds other files \(.*\); --out must be a new or empty folder"):
        evaluate_alone(weights, str(trained[1]), wanted, trained[0])
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirError, match="is a file; --out must be a folder"):
        evaluate_alone(weights, str(trained[1]), wanted, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_random_weights_on_the_command_line(trained: tuple[Path, Path], call: Call) -> None:
    line = ("evaluate", "--backbone", "small", "--image-size", "16", "--data", trained[1], "--device", "cpu")
    status, out, err = call(*line, "--protocols", "knn", "--knn.k", "3")
    assert status == 0 and "knn-v1 k=3 " in out and "  random  " in out and "whether that is better" not in out
    assert "random weights of SmallResNet 32-64-128-256, seed 0: nothing was learned" in err
    assert "normalised by mean (0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225): assumed" in err


def test_the_command_measures_what_needs_no_run_by_default(
    trained: tuple[Path, Path], file: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    seen: list[tuple[str, ...]] = []

    def told(weights: Bare, data: object, wanted: object, out: object = None) -> list[Row]:
        seen.append(wanted.protocols)  # type: ignore[attr-defined]
        raise RunDirError("enough")

    monkeypatch.setattr("resmom.runs.measuring.alone.evaluate_alone", told)
    for options in ((), ("--sweep",), ("--linear-crop", "--baselines")):
        assert call("evaluate", "--init", file, "--data", trained[1], *options)[0] == 2
    assert seen == [("knn", "linear"), (), ("knn",)]


def test_what_needs_a_run_is_refused_in_a_sentence(trained: tuple[Path, Path], file: Path, call: Call) -> None:
    init, data = ("--init", file), ("--data", trained[1])
    for options, words in (
        (
            (),
            "RUN is missing: a run folder, or one checkpoint of it; or name weights without a run, --init FILE, or",
        ),
        ((trained[0], *init, *data), "give a RUN, or --init FILE and --backbone NAME for weights without a run"),
        ((trained[0], "--stem", "small"), "--stem, --mean and --std go with --init or --backbone"),
        (
            (trained[0], "--out", "x"),
            "--out goes with --init and --backbone; what is found of a RUN is kept in its own",
        ),
        (("--mean", "0.5", *data), "--stem, --mean and --std go with --init or --backbone"),
        (init, "--data is missing: labelled images to measure these weights on"),
        (
            (*init, *data, "--all"),
            "--all chooses among the networks and kept checkpoints of a RUN; --sweep tells which",
        ),
        (
            (*init, *data, "--protocols", "linear", "--save-classifier", "c.safetensors"),
            "--save-classifier keeps what is trained on a network of a RUN; leave it out with --init",
        ),
        ((*init, *data, "--network", "teacher"), "--network teacher is one of a RUN's; weights by themselves are one"),
        (
            (*init, *data, "--protocols", "online"),
            "online is a protocol of runs alone; weights without a run have knn and linear",
        ),
        ((*init, *data, "--probe.lr", "1"), "--probe.lr has no effect on what this call measures"),
        ((*init, *data, "--seed", "1"), "--seed has no effect on what this call measures"),
        ((*init, *data, "--mean", "0.5"), "--mean and --std go together"),
        ((*init, *data, "--image-size", "4"), "--image-size is 4; it must be a whole number of 8 to 1024 pixels"),
        ((*init, "--data", "nowhere"), "nowhere does not exist"),
        (("--init", "nowhere.pth", *data), "init: there is no file of weights at nowhere.pth"),
    ):
        status, out, err = call("evaluate", *options)
        last = err.strip().splitlines()[-1]
        assert status == 2 and words in last and last.startswith("resmom evaluate: ") and not out, (words, err)


def test_images_that_do_not_do_are_refused_in_the_name_of_the_weights(
    trained: tuple[Path, Path], file: Path, tmp_path: Path
) -> None:
    weights = bare(str(file))
    words = r"^backbone-student\.safetensors, SmallResNet 4-8 cannot be evaluated on .*: 2 of 2 classes have fewer"
    with pytest.raises(UserError, match=words):
        evaluate_alone(weights, str(trained[1]), asked(usual=ALONE, low_shot=100, draws=1))
    arrays = np.load(write_images(tmp_path / "images.npz"))
    np.savez(tmp_path / "bare.npz", train_images=arrays["train_images"])
    with pytest.raises(UserError, match="has no labels, and these protocols need them: name labelled images"):
        evaluate_alone(weights, str(tmp_path / "bare.npz"), asked(usual=ALONE), tmp_path / "out")
    np.savez(tmp_path / "grey.npz", train_images=arrays["train_images"][..., 0], train_labels=arrays["train_labels"])
    with pytest.raises(UserError, match=r"the images have 1 channel\(s\), the network was trained on 3"):
        evaluate_alone(weights, str(tmp_path / "grey.npz"), asked(usual=ALONE), tmp_path / "out")
    with pytest.raises(UserError, match=r"on a network of a RUN, and backbone-student\.safetensors, .* is without one"):
        classifier = asked(("linear",), usual=ALONE, save_classifier=tmp_path / "c.safetensors")
        evaluate_alone(weights, str(trained[1]), classifier, tmp_path / "out")
    with pytest.raises(UserError, match=r"knn\.k must be at least 1"):
        evaluate_alone(weights, str(trained[1]), asked(usual=ALONE, knn=OtherKnn(k=0)))
    assert not (tmp_path / "out").exists()
