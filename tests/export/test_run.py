"""A run folder to a folder of files: what is written, replaced, refused, and said in the card."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file

from resmom import cli
from resmom.build import Own, build_method
from resmom.checkpoint import save_checkpoint
from resmom.config import Run, to_json
from resmom.errors import RunDirError
from resmom.methodconfig import MethodConfig
from resmom.methodnames import method_name
from resmom.methods.dino import Dino
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import DinoViT, SmallResNet
from resmom.rundir import RunDir
from resmom.runs.environment import environment
from resmom.runs.exporting.export import export
from resmom.train.plan import Train

DINO = Dino(hidden=8, out=4, prototypes=16)
RUN = Run(recipe="toy", method=MoCoV3(hidden=8, out=4), backbone=SmallResNet((4, 8)))
KNN = "knn-v1 k=20 T=0.07 cosine, bank 2000, queries 400"
GAPS = {"gap/h/intra": 0.0101, "gap/h/inter": 0.0202, "gap/h/chance": 0.0303}


def health(step: int, retrieval: tuple[float, float], **more: Any) -> dict[str, Any]:
    values = {"student/retrieval": retrieval[0], "teacher/retrieval": retrieval[1]}
    values |= {f"{network}/{name}": 1.5 for network in ("student", "teacher") for name in ("feature_sd", "rankme")}
    return {
        "kind": "health",
        "step": step,
        "epoch": step / 10,
        "images": 512,
        "protocol": "health-v1",
        **values,
        **more,
    }


LINES = [
    {"kind": "knn", "step": 0, "epoch": 0.0, "student": 10.0, "teacher": 10.0, "protocol": KNN},
    health(0, (20.0, 20.0)),
    {"kind": "train", "step": 50, "epoch": 5.0, "loss": 1.0, "elapsed_seconds": 3000.0},
    {"kind": "train", "step": 55, "epoch": 5.5, "loss": 1.0, "elapsed_seconds": 2000.0},
    {"kind": "train", "step": 60, "epoch": 6.0, "loss": 1.0, "elapsed_seconds": 4200.0},
    {"kind": "knn", "step": 60, "epoch": 6.0, "student": 30.0, "teacher": 41.25, "protocol": KNN},
    {"kind": "online", "step": 60, "epoch": 6.0, "student": 33.125, "student_top5": 50.0, "protocol": "online"},
    health(60, (60.0, 40.0), start_share=0.3, **GAPS),
    {"kind": "knn", "step": 90, "epoch": 9.0, "student": 88.0, "teacher": 11.0, "protocol": KNN},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", RUN)


def write_run(path: Path, run: Run) -> Path:
    """A run of 10 steps an epoch, stopped after 60 of 1,000 steps; a later measurement must not be told of it."""
    method = build_method(run.method, run.backbone, 0, Own(), (3, 32, 32))
    state = {"step": 60, "student": method.student.state_dict(), "teacher": method.teacher.state_dict()}
    save_checkpoint(RunDir(path).last, {"run": to_json(run), "epoch": 6.0, "classes": [], "data": "f", "state": state})
    written = {"format": 1, "data": "/home/somebody/holiday", "images": 2600, "origin": "a folder", "run": to_json(run)}
    (path / "run.json").write_text(json.dumps(written))
    (path / "environment.jsonl").write_text(json.dumps(environment()) + "\n")
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_both_networks_and_a_card_in_the_run_folder(folder: Path) -> None:
    result = export(folder)
    assert result.folder == folder / "export" == RunDir(folder).export
    names = ["backbone-student.safetensors", "backbone-teacher.safetensors", "README.md"]
    assert [file.name for file in result.files] == names and names_in(result.folder) == sorted(names)
    state = torch.load(RunDir(folder).last, weights_only=True)["state"]
    for network, file in zip(("student", "teacher"), result.files[:2], strict=True):
        weights = load_file(file)
        own = {name: v for name, v in state[network].items() if name.startswith("backbone.")}
        assert len(weights) == len(own)
        for name, value in weights.items():
            assert torch.equal(value, own[f"backbone.body.layers.{name}"])
    assert not list(folder.glob("*.part"))


def test_the_card_tells_the_numbers_of_its_own_step(folder: Path) -> None:
    probe = "linear-v1 (lr {} and wd 0 chosen on 20 held-out training images, last epoch)"
    evaluated = {"network": "teacher", "top1": 44.44, "protocol": probe.format(0.1), "step": 60}
    other = {"network": "student", "top1": 33.33, "protocol": probe.format(0.3), "step": 60}
    pixels = {"network": "raw pixels", "top1": 22.22, "protocol": "knn-v1", "step": 60}
    several = {"network": "student", "protocol": "finetune-v1", "top1": 50.0, "sd": 1.234, "draws": [49.0, 51.0]}
    lines = [evaluated, several | {"step": 60}, other, pixels, evaluated | {"top1": 77.77, "step": 10}]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    export(folder)
    card = (folder / "export" / "README.md").read_text()
    for words in (
        "60 of 1000 planned steps: **the run was not finished**",
        "**Take the teacher.**", "11.25 points are more than the noise of 6.73 points", "400 images",
        f"| kNN top-1 (%) | 10 | 30 | 41.25 | {KNN} |", "| own other view found (%) | 20 | 60 | 40 |", "33.1",
        "| h | 0.0101 | 0.0202 | 0.0303 |", "health-v1, step 60", "knn at step 60",
        "| images | student | teacher | protocol |",
        "| not recorded | 33.33 (lr 0.3 and wd 0) | 44.44 (lr 0.1 and wd 0) | "
        "linear-v1 (chosen on 20 held-out training images, last epoch) |",
        "| not recorded | 50.00 ± 1.23 (n=2) | - | finetune-v1 |",
        "| raw pixels | not recorded | 22.22 | knn-v1 |",
        "(0.485, 0.456, 0.406)", "(0.229, 0.224, 0.225)", "224 x 224",
        "| data | holiday |", "| images | 2,600 |", "a folder", "random weights",
        "MoCo-v3 (temperature 1", "| residual momentum | off |", "256 images a step",
        "| view 1 | 224 pixels (bilinear) of a crop of 0.2 to 1 of the area; ", "solarised in 20%",
        "by chance 0.2 (one of 512)",
        "- feature sd: how far the directions of different images spread (the standard deviation over the images of",
        "2.0 hours", f"commit {environment()['commit'] or 'not known'}", "Python 3",
        'load_file("backbone-student.safetensors")', 'load_file("backbone-teacher.safetensors")',
        "nn.Linear(8, classes)",
        "## Licence and limitations",
    ):  # fmt: skip
        assert words in card, words
    for words in ("/home/somebody", "| 88", "77.77"):
        assert words not in card, words


@pytest.mark.parametrize(
    ("network", "made", "headline"),
    [
        ("teacher", "the momentum teacher of a student, backbone", "This is the teacher alone, the one to take."),
        ("student", "the student of a momentum teacher, backbone", "This is the student alone; the teacher is better."),
    ],
)
def test_the_card_of_one_network_speaks_of_that_one(
    network: Literal["student", "teacher"], made: str, headline: str, folder: Path
) -> None:
    told = export(folder, network=network)
    card = (told.folder / "README.md").read_text()
    assert made in card and f"## Which network this is\n\n**{headline}** kNN: student 30.00 %" in card
    assert told.advice.startswith(headline) and "Take the" not in card


def test_a_run_too_short_to_be_judged_recommends_nothing(folder: Path) -> None:
    content = torch.load(RunDir(folder).last, weights_only=True)
    content["state"]["step"] = 40
    save_checkpoint(RunDir(folder).kept(40), {k: v for k, v in content.items() if k != "format"})
    told = export(RunDir(folder).kept(40))
    card = (told.folder / "README.md").read_text()
    assert "**Too early to use either network.** After 40 steps a run is too short to be judged" in card
    assert "- **not judged**: After 40 steps" in card and "None of the rules" not in card
    assert card.count("before, the running statistics of BatchNorm still hold what they started with") == 2


@pytest.mark.parametrize(
    ("method", "statistics"),
    [(MoCoV3(hidden=8, out=4), "; batch statistics: own, which its projector alone has"), (DINO, "")],
)
def test_of_a_network_without_batch_norm_the_card_tells_no_statistics(
    method: MethodConfig, statistics: str, small_transformers: None, tmp_path: Path
) -> None:
    folder = write_run(tmp_path / "run", replace(RUN, recipe="automatic", method=method, backbone=DinoViT("tiny", 32)))
    content = torch.load(RunDir(folder).last, weights_only=True)
    content["state"]["step"] = 40
    save_checkpoint(RunDir(folder).last, {k: v for k, v in content.items() if k != "format"})
    export(folder)
    card = (folder / "export" / "README.md").read_text()
    assert card.startswith(f"# {method_name(method)}, dino-vit-tiny, derived settings\n")
    assert f"averaged: backbone and projector{statistics} |" in card
    assert "BatchNorm" not in card and card.count("before, its weights have hardly left their start") == 2


@pytest.mark.parametrize(
    ("recipe", "weight", "title"),
    [
        ("toy", 0.0, "MoCo-v3, SmallResNet 4-8, settings of its own"),
        ("mocov3_digits", 0.0, "MoCo-v3, SmallResNet 4-8, recipe mocov3_digits"),
        ("automatic", 1.0, "MoCo-v3 with residual momentum, SmallResNet 4-8, derived settings"),
    ],
)
def test_the_title_names_method_backbone_and_settings(recipe: str, weight: float, title: str, tmp_path: Path) -> None:
    run = replace(RUN, recipe=recipe, residual=replace(RUN.residual, weight=weight))
    export(write_run(tmp_path / "run", run))
    assert (tmp_path / "run/export/README.md").read_text().startswith(f"# {title}\n")


def test_without_labels_and_before_any_measurement(folder: Path) -> None:
    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(line) + "\n" for line in LINES if line["kind"] not in ("knn", "online")))
    export(folder)
    card = (folder / "export" / "README.md").read_text()
    assert "**Take the student.** Both label-free" not in card and "weak evidence" in card
    assert "**No preference: take the student.** Label-free measures do not agree" in card
    metrics.unlink()
    (folder / "environment.jsonl").unlink()
    export(folder)
    card = (folder / "export" / "README.md").read_text()
    assert "Nothing was measured" in card and "## What was measured\n\nNothing." in card


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (Train(), "warm-up 10 epochs, then half a cosine to 0 |"),
        (Train(final_lr=1e-6, warmup_epochs=1), "warm-up 1 epoch, then half a cosine to 1e-06 |"),
        (Train(drops=(0.975, 0.9875), drop_factor=0.2), "then times 0.2 from 0.975 and 0.9875 of the run on |"),
    ],
)
def test_the_card_tells_how_the_rate_falls(train: Train, words: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", replace(RUN, train=train))
    export(folder)
    assert words in (folder / "export" / "README.md").read_text()


def test_an_export_is_repeated_and_leaves_no_stale_file(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "mine"
    export(folder, out)
    (out / "notes.txt").write_text("my own")
    first = load_file(out / "backbone-student.safetensors")
    assert [file.name for file in export(folder, out, "student").files] == ["backbone-student.safetensors", "README.md"]
    assert names_in(out) == ["README.md", "backbone-student.safetensors", "notes.txt"]
    again = load_file(out / "backbone-student.safetensors")
    assert again.keys() == first.keys() and all(torch.equal(value, first[name]) for name, value in again.items())
    assert "backbone-teacher" not in (out / "README.md").read_text()


def test_an_export_that_fails_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(folder)
    before = {file.name: file.read_bytes() for file in (folder / "export").iterdir()}

    def broken(*_: object) -> str:
        raise OSError("no space left")

    monkeypatch.setattr("resmom.runs.exporting.export.model_card", broken)
    with pytest.raises(OSError, match="no space"):
        export(folder)
    assert {file.name: file.read_bytes() for file in (folder / "export").iterdir()} == before
    assert not list(folder.glob("*.part"))


def test_a_kept_checkpoint_speaks_of_its_own_step(folder: Path) -> None:
    content = torch.load(RunDir(folder).last, weights_only=True)
    content["state"]["step"] = 54
    save_checkpoint(RunDir(folder).kept(54), {k: v for k, v in content.items() if k != "format"})
    export(RunDir(folder).kept(54))
    card = (folder / "export" / "README.md").read_text()
    assert "after 54 of 1000" in card and "Nothing was measured" in card and "41.25" not in card
    assert "time in the training loop | 50 minutes" in card


def test_an_older_run_without_the_number_of_images(folder: Path) -> None:
    written = json.loads((folder / "run.json").read_text())
    del written["images"], written["origin"]
    run = replace(RUN, init="/home/somebody/imagenet.pth", train=replace(RUN.train, epochs=6, warmup_epochs=0))
    content = torch.load(RunDir(folder).last, weights_only=True)
    content["run"] = to_json(run)
    save_checkpoint(RunDir(folder).last, {k: v for k, v in content.items() if k != "format"})
    (folder / "run.json").write_text(json.dumps(written))
    export(folder)
    card = (folder / "export" / "README.md").read_text()
    assert "after all 60 steps" in card and "| images | at least 2,560 |" in card
    assert "| started from | imagenet.pth |" in card


def test_places_that_are_not_for_exports_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="is a run folder"):
        export(folder, folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match="is a file"):
        export(folder, tmp_path / "file")
    with pytest.raises(RunDirError, match="not a run folder"):
        export(tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my own")
    with pytest.raises(RunDirError, match=r"would replace a README\.md there"):
        export(folder, mine)
    assert names_in(mine) == ["README.md"] and (mine / "README.md").read_text() == "my own"


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["resmom", "export", str(folder), *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        return capsys.readouterr().out

    told = json.loads(call("--json", "--network", "teacher", "--to", "safetensors"))
    assert [Path(file).name for file in told["files"]] == ["backbone-teacher.safetensors", "README.md"]
    assert call().endswith(f"\n{folder / 'export' / 'README.md'}\nthe last one says how to load them\n")


def choice(network: str) -> dict[str, Any]:
    """A choice.json of the last step, as `resmom evaluate --all` writes it."""
    told = {"network": network, "step": 60, "last_step": 60, "decided": True, "sentence": f"Keep the {network}."}
    return {"format": 1, "features": "h", "candidates": [], **told}


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("form", ["a choice", "none"])
def test_what_is_wrong_with_a_run_goes_before_any_choice(folder: Path, form: str) -> None:
    def advised(network: str, *lines: dict[str, Any]) -> str:
        if form == "a choice":
            RunDir(folder).choice.write_text(json.dumps(choice(network)))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return export(folder).advice

    if form == "a choice":
        assert advised("student", *LINES) == "Take the student. Keep the student."
    worse = [LINES[0] | {"student": 70.0, "teacher": 70.0}, *LINES[1:]]
    assert re.match(r"Use neither network\. kNN: .* training has made it worse", advised("student", *worse))
    first = {"kind": "train", "step": 1, "epoch": 0.1, "loss": 1.0}
    still = [line | {"momentum": 1.0} if line["kind"] == "train" else line for line in (*LINES[:2], first, *LINES[2:])]
    old = "The teacher is frozen: it is mostly the network that the run started from"
    told = advised("teacher", *still)
    assert told.startswith("Use neither network.") and f"{old}, so training has not helped." in told
    if form == "a choice":
        assert "What to change: Lower --ema.momentum" in told
        assert advised("student", *still) == f"Take the student. Keep the student. {old}."
