"""The comparison in the same time: what lightly-train is asked, how what it exports is tested, and the table."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import resmom
from benchmarks.sametime.__main__ import main
from benchmarks.sametime.arm import ARMS, OURS, OWN_WORDS, SMALL, Ask, Theirs, steps_within
from benchmarks.sametime.judge import judge, ours, theirs
from benchmarks.sametime.table import sizes, table
from resmom.config import Log, Run
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import SmallResNet, build_backbone
from resmom.recipes import recipe
from resmom.recipes.automatic import automatic
from resmom.recipes.facts import Facts
from resmom.runs.clean import labelled_split
from resmom.views.policy import IMAGENET

SMALL_ARM = "lightly-train, simclr, views of 64, our network"

STAND_IN = """
import json, sys
from pathlib import Path
import torch
from benchmarks.sametime.arm import SMALL, Ask
from resmom.nets.backbones import SmallResNet, build_backbone
ask = Ask.read(sys.argv[3])
with open("{asked}", "a") as file:
    file.write(sys.argv[3] + "\\n")
if not ask.steps:
    print('Epoch 0: 50%\\n' + json.dumps(dict(start_up=6.0, per_step=0.5, version='1.2')))
else:
    torch.manual_seed(ask.seed)
    out = Path(ask.out) / "exported_models"
    out.mkdir(parents=True)
    torch.save(build_backbone(SmallResNet(SMALL)).state_dict(), out / "exported_last.pt")
"""
"""Takes what lightly-train would be asked, and exports a network with random weights."""


def _photos(folder: Path, parts: tuple[str, ...] = ("train", "val"), mixed: bool = False) -> Path:
    """Dark and bright noise, 70 images of each to train on and 6 to test; `mixed`: hardly to be told apart."""
    rng = np.random.default_rng(0)
    for part in parts:
        for label in range(2):
            own = folder / part / f"class{label}"
            own.mkdir(parents=True)
            for n in range(70 if part == "train" else 6):
                least = 20 * label + rng.integers(150) if mixed else 100 * label
                shade = rng.integers(least, least + 50, (70, 80, 3))
                Image.fromarray(shade.astype(np.uint8)).save(own / f"{n}.jpg")
    return folder


def _short(run: Run) -> Run:
    return replace(run, train=replace(run.train, epochs=1, batch=16), log=Log(save_epochs=0, knn_epochs=0))


def _stand_in(folder: Path) -> tuple[Path, Path]:
    """An executable in place of the Python that has lightly-train, and the file where it writes what it was asked."""
    asked, script, python = folder / "asked.jsonl", folder / "stand_in.py", folder / "python"
    script.write_text(STAND_IN.replace("{asked}", str(asked)))
    python.write_text(f'#!/bin/sh\nexec env PYTHONPATH="{Path.cwd()}" "{sys.executable}" "{script}" "$@"\n')
    python.chmod(0o755)
    return python, asked


@pytest.mark.slow
def test_a_cell_is_as_long_as_its_speed_allows_is_tested_and_not_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python, asked = _stand_in(tmp_path)
    data, out = _photos(tmp_path / "photos"), tmp_path / "out"
    words = ["--data", str(data), "--out", str(out), "--python", str(python), "--minutes", "1", "--only", SMALL_ARM]
    assert main([*words, "--seeds", "1"]) == 0

    speed, training = (Ask.read(line) for line in asked.read_text().splitlines())
    assert speed.steps == 0
    assert speed.epochs > 1000, "it must not come to an end before it knows its speed"
    assert training.theirs == ARMS[SMALL_ARM]
    assert training.data == str(data / "train")
    assert training.steps == (0.95 * 60 - 6) // 0.5 == 102
    (line,) = read_lines(out / "cells.jsonl")
    assert (line["arm"], line["seed"], line["minutes"], line["steps"]) == (SMALL_ARM, 0, 1.0, 102)
    assert set(line["top1"]) == {"64", "128"}
    assert line["top1"]["64"]["linear"] > 80, "two shades of grey are told apart by random weights too"
    assert line["cpu_seconds"] > 0
    assert line["speed"] == {"start_up": 6.0, "per_step": 0.5, "version": "1.2"}
    assert "environment" in line

    capsys.readouterr()
    assert main([*words, "--seeds", "1"]) == 0
    assert len(asked.read_text().splitlines()) == 2, "a finished cell is not run again"
    assert f"| {SMALL_ARM} | 1 | 102 |" in capsys.readouterr().out

    assert main([*words, "--seeds", "2"]) == 0
    assert [line["seed"] for line in read_lines(out / "cells.jsonl")] == [0, 1]


def test_a_training_that_fails_says_where_its_words_are(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho what went wrong >&2\nexit 3\n")
    python.chmod(0o755)
    words = ["--data", str(_photos(tmp_path / "photos")), "--out", str(tmp_path / "out"), "--python", str(python)]
    with pytest.raises(UserError, match=r"ended with status 3; what it said is in .*log\.txt") as refused:
        main([*words, "--only", SMALL_ARM])
    log = Path(str(refused.value).rpartition(" is in ")[2])
    assert log.read_text() == "what went wrong\n"
    assert not (tmp_path / "out/cells.jsonl").exists()


def test_images_without_a_test_split_are_refused(tmp_path: Path) -> None:
    data = _photos(tmp_path / "photos", ("train",))
    with pytest.raises(UserError, match="give a folder with train/CLASS/ and val/CLASS/"):
        main(["--data", str(data), "--out", str(tmp_path / "out"), "--python", "python"])


@pytest.mark.parametrize("arm", [Theirs("simclr", "small", 64), Theirs("dino", "resnet18")])
def test_what_lightly_train_exports_is_read_whole(arm: Theirs, tmp_path: Path) -> None:
    """Its file of a torchvision network is torchvision's, of one's own network that network's; h is the pooled map."""
    torch.manual_seed(0)
    network = build_backbone(SmallResNet(SMALL)) if arm.network == "small" else torchvision.models.resnet18()
    (tmp_path / "exported_models").mkdir()
    torch.save(network.state_dict(), tmp_path / "exported_models/exported_last.pt")
    trained = theirs(tmp_path, arm)
    assert (trained.mean, trained.std) == IMAGENET
    view = torch.rand(2, 3, 64, 64)
    if arm.network == "small":
        expected = network.eval()(view)[1]
    else:
        network.fc = torch.nn.Identity()
        expected = network.eval()(view)
    with torch.no_grad():
        torch.testing.assert_close(trained.network.eval()(view).h, expected)


@pytest.mark.slow
def test_the_measure_is_that_of_evaluate(tmp_path: Path) -> None:
    """The figures that `resmom evaluate` prints of a run, at the size of its views."""
    data = _photos(tmp_path / "photos", mixed=True)
    result = resmom.pretrain(data, tmp_path / "run", recipe("mocov3_cifar100_tiny"), change=_short, quiet=True)
    split = labelled_split(open_data(str(data)))
    assert split is not None
    found = judge(ours(tmp_path / "run"), split, (32,))["32"]
    rows = {
        row.score.protocol[:3]: round(row.score.top1, 2)
        for row in result.evaluate(("knn", "linear"))
        if row.network == "student"
    }
    assert rows == {"knn": found["knn"], "lin": found["linear"]}
    assert min(found.values()) < 100, "or nothing would tell one network from another"


def test_the_small_network_is_the_one_that_is_derived_for_a_cpu() -> None:
    assert automatic(Facts(images=9_469, side=224, mean=(0.5,) * 3, std=(0.2,) * 3)).run.backbone == SmallResNet(SMALL)


def test_every_arm_is_told_apart_and_an_ask_is_read_as_it_was_written() -> None:
    others = [arm for arm in ARMS.values() if arm is not None]
    assert len(set(others)) == len(others) == len(ARMS) - len(OWN_WORDS)
    for arm in others:
        ask = Ask(arm, "data", "out", 3, 40, 2)
        assert Ask.read(ask.text()) == ask
    assert Theirs("dino", "resnet18").sides == (64, 128, 224)
    assert Theirs("dino", "resnet18", 64).sides == (64, 128)


def test_steps_within_a_time() -> None:
    assert steps_within(100, 5, 10) == 9
    assert steps_within(10, 50, 10) == 1, "one at least, where even that does not fit"


def test_the_table_has_a_row_per_arm_at_its_best_size() -> None:
    def cell(seed: int, at_64: float, at_128: float) -> dict[str, object]:
        top1 = {side: {"knn": knn, "linear": knn + 1} for side, knn in (("64", at_64), ("128", at_128))}
        return {"arm": SMALL_ARM, "seed": seed, "minutes": 1, "steps": 100 + seed, "cpu_seconds": 58.2, "top1": top1}

    rows = list(table([cell(0, 40.0, 42.0), cell(1, 41.0, 44.0)]))
    assert rows[2:] == [f"| {SMALL_ARM} | 2 | 100 to 101 | 58 | 128 | 43.00 ± 1.41 | 44.00 ± 1.41 |"]
    assert list(sizes([cell(0, 40.0, 42.0), cell(1, 41.0, 44.0)]))[2:] == [
        f"| {SMALL_ARM} | 64 | 2 | 40.50 ± 0.71 | 41.50 ± 0.71 |",
        f"| {SMALL_ARM} | 128 | 2 | 43.00 ± 1.41 | 44.00 ± 1.41 |",
    ]
    assert list(table([cell(0, 50.0, 42.0)]))[2:] == [f"| {SMALL_ARM} | 1 | 100 | 58 | 64 | 50.00 | 51.00 |"]


def test_what_is_asked_of_ours_is_what_was_derived_before() -> None:
    """As the options of `resmom pretrain` that docs/results/settings.md names."""
    assert OWN_WORDS[OURS] == ()
    page = Path("docs/results/settings.md").read_text()
    assert all(not words or f"`{' '.join(words)}`" in page for words in OWN_WORDS.values())
