"""`resmom evaluate … --against WEIGHTS`: the numbers of weights by themselves, and who is ahead."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from resmom.evaluate.score import Score
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.rundir import RunDir
from resmom.runs.exporting.export import export
from resmom.runs.measuring.rows import Row
from resmom.runs.measuring.verdict import standing
from tests.conftest import Call


@pytest.fixture(scope="module")
def teacher(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("against")
    export(trained[0], folder / "out")
    return folder / "out" / "backbone-teacher.safetensors"


def test_beside_a_run_others_have_the_numbers_that_they_have_alone(
    trained: tuple[Path, Path], teacher: Path, tmp_path: Path, call: Call
) -> None:
    path, images = trained
    run = shutil.copytree(path, tmp_path / "run")
    RunDir(run).evaluations.unlink(missing_ok=True)  # of other tests
    how = ("--protocols", "knn", "--device", "cpu")
    status, out, _ = call("evaluate", "--init", teacher, "--data", images, *how, "--json")
    (alone,) = json.loads(out)
    status, out, err = call("evaluate", run, "--against", teacher, *how, "--baselines", "--json")
    rows = {row["network"]: row for row in json.loads(out)}
    assert status == 0 and list(rows)[-1] == teacher.name and "random init" in rows
    assert rows[teacher.name]["top1"] == alone["top1"] == rows["teacher"]["top1"]
    assert rows[teacher.name]["fingerprint"] == rows["teacher"]["fingerprint"]
    assert f"{teacher.name}: " in err and "tensors of the backbone" in err
    kept = [line["network"] for line in read_lines(RunDir(run).evaluations)]
    assert teacher.name not in kept and "teacher" in kept
    status, out, _ = call("evaluate", run, "--against", teacher, *how)
    table = [line for line in out.splitlines() if "  top-1" in line]
    assert status == 0 and len({line.index("top-1") for line in table}) == 1  # one column, whatever the names
    assert f"points above {teacher.name}, " in out, out
    assert "whether that is better than no training" in out


def test_in_one_table_the_same_protocol_has_the_same_words(
    trained: tuple[Path, Path], teacher: Path, tmp_path: Path, call: Call
) -> None:
    run = shutil.copytree(trained[0], tmp_path / "run")
    how = ("--protocols", "knn", "--device", "cpu")
    _, out, _ = call("evaluate", run, "--against", teacher, *how)
    heads = [line for line in out.splitlines() if line.startswith("knn-v1")]
    assert len(heads) == 1 and "; images of 16 pixels; " in heads[0]
    _, out, _ = call("evaluate", run, *how)
    assert "images of" not in out.partition("\n")[0]
    assert all("images of" not in line["protocol"] for line in read_lines(RunDir(run).evaluations)[-4:])


def test_an_assumption_names_options_that_go_with_against(
    trained: tuple[Path, Path], tmp_path: Path, call: Call
) -> None:
    """--mean and --std go with --init alone; what makes a file that says its own is named in whole."""
    other = tmp_path / "other.pth"
    torch.save(build_backbone(SmallResNet()).body.state_dict(), other)
    line = ("evaluate", trained[0], "--against", other, "--against-backbone", "small", "--protocols", "knn")
    _, _, err = call(*line, "--device", "cpu")
    said = next(words for words in err.splitlines() if "assumed" in words)
    assert said.startswith("other.pth: images of 32 pixels") and "--image-size says otherwise; a file of" in said
    assert "`resmom export --init FILE --mean … --std … --out FOLDER` has another normalisation)" in said
    # Each line is about the file, and names it once.
    assert "tensors of the backbone under 'layers.'\n" in err and err.count("other.pth") == err.count("other.pth: ")
    _, _, err = call(*line, "--device", "cpu", "--image-size", 16)
    assert "--image-size says" not in err and "has another normalisation" in err


def test_beside_weights_others_are_kept_too(
    trained: tuple[Path, Path], teacher: Path, tmp_path: Path, call: Call
) -> None:
    student = teacher.with_name("backbone-student.safetensors")
    line = ("evaluate", "--init", student, "--against", teacher, "--data", trained[1], "--protocols", "knn", "linear")
    quick = ("--linear.epochs", 2, "--linear.lrs", 0.03, "--linear.weight-decays", 0.0, "--device", "cpu")
    status, out, _ = call(*line, *quick, "--image-size", 24, "--out", tmp_path / "out")
    assert status == 0 and "images of 24 pixels" in out
    rows = read_lines(tmp_path / "out" / "evaluations.jsonl")
    assert [row["weights"]["init"] for row in rows] == [student.name] * 2 + [teacher.name] * 2
    assert all(row["weights"]["image_size"] == 24 for row in rows)


def test_a_backbone_that_is_not_recognised_can_be_named(
    trained: tuple[Path, Path], teacher: Path, tmp_path: Path, call: Call
) -> None:
    other = tmp_path / "other.pth"
    torch.save(build_backbone(SmallResNet()).body.state_dict(), other)
    line = ("evaluate", "--init", teacher, "--data", trained[1], "--protocols", "knn", "--device", "cpu")
    student = teacher.with_name("backbone-student.safetensors")
    status, out, err = call(*line, "--against", other, student)
    assert status == 2 and not out
    assert "other.pth fits none of the common backbones; name the one it was made with: --against-backbone NAME" in err
    asked = ("--against", other, student, "--against-backbone", "small", "auto", "--image-size", "16", "--json")
    status, out, err = call(*line, *asked)
    assert status == 0, err
    made = {row["network"]: row["weights"]["backbone"]["widths"] for row in json.loads(out)}
    assert made == {"init": [4, 8], "other.pth": [32, 64, 128, 256], student.name: [4, 8]}


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(
    trained: tuple[Path, Path], teacher: Path, tmp_path: Path, call: Call
) -> None:
    run = shutil.copytree(trained[0], tmp_path / "run")
    RunDir(run).evaluations.unlink(missing_ok=True)  # of other tests
    other = tmp_path / "other" / teacher.name
    other.parent.mkdir()
    shutil.copy(teacher, other)
    called_student = tmp_path / "student"
    shutil.copy(teacher.with_suffix(".safetensors"), called_student)
    for more, words in (
        ((teacher, other), "two weights of the name 'backbone-teacher.safetensors'"),
        ((tmp_path / "none.pth",), "resmom evaluate: --against: there is no file of weights at"),
        (("timm:resnet19",), "resmom evaluate: --against: timm has no model 'resnet19'"),
        ((teacher, "--against-backbone", "resnet19"), "timm:NAME; did you mean resnet18?"),
        ((teacher, "--against-backbone", "vit-micro"), "leave --against-backbone out, or say --against-backbone small"),
        ((teacher, "--against-backbone", "auto", "small"), "--against names 1 weights, --against-backbone 2; it takes"),
        (("--against-backbone", "small"), "--against-backbone is of the weights of --against, and there are none"),
        ((called_student,), "what the results call a network"),
        ((teacher, "--protocols", "online"), "measures what needs no run (knn, linear, --linear-crop"),
        ((teacher, "--all"), "leave --against out"),
    ):
        named = () if more[0] == "--against-backbone" else ("--against",)
        status, out, err = call("evaluate", run, "--device", "cpu", *named, *more)
        assert status == 2 and not out and words in err and err.count("\n") == 1, err
    assert not RunDir(run).evaluations.exists()


def test_who_is_ahead_is_said_with_the_noise() -> None:
    def row(network: str, top1: float, protocol: str = "knn-v1 (k 20, bank 900, queries 1000)") -> Row:
        return Row(network, Score(top1, None, protocol), None, "images", "0")

    own = [row("student", 50.0), row("teacher", 60.0), row("raw pixels", 99.0)]
    said = standing(own, [row("a", 20.0), row("timm:b", 90.0), row("c", 95.0, "linear-v1")])
    assert said.startswith("kNN of the teacher: 30.00 points below timm:b, more than the noise of")
    assert standing(own, [row("a", 61.0)]).endswith("these images do not tell which is better")
    assert "1.00 points below a, within" in standing(own, [row("a", 61.0)])
    assert standing(own, []) == "" == standing([row("raw pixels", 9.0)], [row("a", 61.0)])
