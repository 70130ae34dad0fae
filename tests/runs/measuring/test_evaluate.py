"""`resmom evaluate` beyond its plain protocols: few labels, chosen labels, and refusals on one line."""

import errno
import json
import os
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

import resmom.runs.measuring.evaluate as evaluating
import resmom.runs.measuring.gap as gaps
import resmom.runs.measuring.keep as keeping
import resmom.runs.measuring.measure as measuring
from resmom import cli
from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data
from resmom.errors import UserError
from resmom.evaluate.draw import share
from resmom.evaluate.features import features
from resmom.evaluate.finetune import Finetune
from resmom.evaluate.knn import Knn, OtherKnn, knn
from resmom.evaluate.linear import Linear, linear_probe
from resmom.evaluate.linearcrop import LinearCrop
from resmom.evaluate.lowshot import LowShot
from resmom.ondisk import read_lines
from resmom.report.compare import table
from resmom.rundir import RunDir
from resmom.runs.clean import clean_batches, labelled_split
from resmom.runs.export import export
from resmom.runs.loaded import load_run
from resmom.runs.measuring.evaluate import More, evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.measuring.keep import keep
from resmom.runs.measuring.labels import lent_share
from resmom.runs.measuring.probefile import ProbeFile
from resmom.runs.pretrain import pretrain
from resmom.runs.report import gather
from tests.conftest import Call
from tests.runs.crash import QUIET, small_run, write_images

QUICK = Linear(lrs=(0.03,), weight_decays=(0.0,), epochs=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A run of two kept checkpoints on a folder of 60 + 20 images in two classes that differ in colour."""
    root = tmp_path_factory.mktemp("few")
    arrays = np.load(write_images(root / "images.npz", n=80))
    for split, rows in (("test", range(20)), ("train", range(20, 80))):
        for at in rows:
            place = root / "images" / split / "ab"[arrays["train_labels"][at]] / f"{at:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(arrays["train_images"][at]).save(place)
    run = small_run(epochs=2)
    pretrain(replace(run, log=replace(run.log, keep_epochs=1)), str(root / "images"), root / "run", QUIET)
    yield root / "run", root / "images"
    shutil.rmtree(root)


def test_low_shot_of_both_networks(trained: tuple[Path, Path]) -> None:
    path, _ = trained
    rows = evaluate(path, protocols=(), more=More(LowShot((1, 3), draws=2)))
    assert [row.network for row in rows] == ["student"] * 4 + ["teacher"] * 4
    assert rows[0].score.protocol.startswith("low-shot-v1 1 per class, logistic regression")
    assert rows[0].score.protocol.endswith("tested on 20; train/ and test/ folders")
    assert all(len(row.draws) == 2 and row.sd is not None for row in rows)
    line = read_lines(RunDir(path).evaluations)[-1]
    assert line["draws"] == list(rows[-1].draws) and line["sd"] == rows[-1].sd
    with pytest.raises(UserError, match=r"cannot be evaluated on .*2 of 2 classes have fewer than 31 .*: a \(30\)"):
        evaluate(path, protocols=(), more=More(LowShot((31,))))


def test_neighbours_other_than_the_runs(trained: tuple[Path, Path]) -> None:
    path, _ = trained
    loaded = load_run(path)
    split = labelled_split(open_data(loaded.data))
    assert split is not None and loaded.run.knn == Knn() and split.train.labels is not None
    bank, queries = (
        features(loaded.method.student, clean_batches(source, loaded.run.policy, loaded.device))
        for source in (split.train, split.test)
    )
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    for change, there in ((OtherKnn(k=3), Knn(3, 0.07)), (OtherKnn(temperature=1.0), Knn(20, 1.0))):
        rows = evaluate(path, network="student", protocols=("knn",), more=More(knn=change), baselines=True)
        assert all(f"k={there.k} T={there.temperature:g} " in row.score.protocol for row in rows) and len(rows) == 4
        assert rows[0].score.top1 == knn(bank, known, queries, asked, there).top1
    assert load_run(path).run.knn == Knn()


@pytest.mark.slow
def test_a_share_of_the_labels(trained: tuple[Path, Path]) -> None:
    rows = evaluate(trained[0], linear=QUICK, more=More(labels="0.1"))
    assert [(row.network, row.score.protocol[:4]) for row in rows] == [
        ("student", "knn-"),
        ("student", "line"),
        ("teacher", "knn-"),
        ("teacher", "line"),
    ]  # fmt: skip  the online classifier learnt from all labels
    assert "trained on 6," in rows[1].score.protocol and "bank 6," in rows[0].score.protocol
    assert rows[0].score.protocol.endswith("learned from the labels of 6 of 60 images, 10 % of each class, seed 0")


def test_the_labels_that_a_list_names(trained: tuple[Path, Path], tmp_path: Path) -> None:
    names = tmp_path / "few.txt"
    names.write_text("020.png\na/022.png\n\n021.png\n023.png\n")
    rows = evaluate(trained[0], protocols=("knn",), more=More(labels=str(names)))
    assert rows[0].score.protocol.endswith(
        "learned from the labels of 4 of 60 images, those that few.txt lists, one draw"
    )
    assert "bank 4," in rows[0].score.protocol
    names.write_text("020.png\n")
    rows = evaluate(trained[0], protocols=("knn",), more=More(labels=str(names)))
    assert "1 of 60 images of only 1 classes, those" in rows[0].score.protocol
    names.write_text("020.png\n000.png\n")  # the second is a test image
    with pytest.raises(UserError, match=r"--labels .*few\.txt: 1 of its 2 names are no labelled training image"):
        evaluate(trained[0], more=More(labels=str(names)))


def test_draws_of_a_share_are_those_of_single_calls(trained: tuple[Path, Path]) -> None:
    """Every draw has images of its own, of which a classifier is trained with a seed of its own."""
    images = open_data(str(trained[1]))
    split = labelled_split(images)
    assert split is not None and split.train.labels is not None
    net = load_run(trained[0], "cpu").networks("student")["student"]
    policy, cpu = load_run(trained[0], "cpu").run.policy, torch.device("cpu")
    bank, queries = (features(net, clean_batches(source, policy, cpu)) for source in (split.train, split.test))
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    of_knn, of_linear = [], []
    for draw in range(3):
        rows = share(split.train.labels, 0.2, seed=4, draw=draw)
        of_knn.append(knn(bank[rows], known[rows], queries, asked, Knn()).top1)
        of_linear.append(linear_probe(bank[rows], known[rows], queries, asked, replace(QUICK, seed=draw)).score.top1)
    more = More(labels="0.2", seed=4, draws=3)
    rows_ = evaluate(trained[0], None, "student", ("knn", "linear"), QUICK, device="cpu", more=more)
    assert [row.draws for row in rows_] == [tuple(of_knn), tuple(of_linear)]
    assert [row.score.top1 for row in rows_] == [pytest.approx(np.mean(of)) for of in (of_knn, of_linear)]
    assert [row.sd for row in rows_] == [pytest.approx(np.std(of, ddof=1)) for of in (of_knn, of_linear)]
    near, probe = (row.score.protocol for row in rows_)
    assert "bank 12, queries 20; mean of 3 draws of the labels;" in near
    assert near.endswith("learned from the labels of 12 of 60 images, 20 % of each class, seed 4, draws 0 to 2")
    assert "last epoch); mean of 3 draws of the labels with training seeds 0 to 2" in probe


@pytest.mark.slow
def test_trainings_are_repeated_with_the_next_seeds(trained: tuple[Path, Path]) -> None:
    tuning = Finetune(epochs=1, batch=8, lr=0.1)
    given = (trained[0], None, "teacher", (), QUICK)
    fine, swept = evaluate(*given, device="cpu", more=More(finetune=tuning, sweep=True, draws=2))[::-1]
    (second,) = evaluate(*given, device="cpu", more=More(finetune=replace(tuning, seed=1)))
    assert fine.draws[1] == second.score.top1 and len(fine.draws) == len(swept.draws) == 2
    assert "seed 0); mean of 2 training seeds 0 to 1, of which this is the first's; train/" in fine.score.protocol
    assert [text[-7:] for text in fine.protocols] == ["seed 0)", "seed 1)"]
    assert [(c.features, c.draw) for c in swept.candidates] == [(f, d) for d in (0, 1) for f in ("h", "stage1, mean")]
    assert read_lines(RunDir(trained[0]).evaluations)[-2]["protocols"] == list(fine.protocols)


@pytest.mark.slow
def test_repetitions_that_would_not_differ_are_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--draws 3 would give one number 3 times"):
        evaluate(trained[0], protocols=("knn",), more=More(draws=3))
    names = tmp_path / "few.txt"
    names.write_text("".join(f"{at:03d}.png\n" for at in range(20, 40)))
    with pytest.raises(UserError, match="--draws 2 would give one number"):  # a list is one draw
        evaluate(trained[0], protocols=("knn",), more=More(labels=str(names), draws=2))
    near, probe = evaluate(trained[0], None, "teacher", ("knn", "linear"), QUICK, more=More(labels=str(names), draws=2))
    assert near.sd is None and len(probe.draws) == 2 and "mean of 2 training seeds 0 to 1" in probe.score.protocol
    with pytest.raises(UserError, match="must be 1 or more; got 0"):
        evaluate(trained[0], more=More(labels="0.5", draws=0))
    with pytest.raises(UserError, match="both draw images; ask for them in two calls"):
        evaluate(trained[0], more=More(LowShot((1,)), labels="0.5"))


@pytest.mark.parametrize(
    ("network", "more", "reason"),
    [
        ("teacher", More(), "learns from the student"),
        ("student", More(labels="0.5"), "learnt from all labels"),
    ],
)
def test_an_online_classifier_that_says_nothing_is_not_passed_over(
    trained: tuple[Path, Path], network: Literal["student", "teacher"], more: More, reason: str
) -> None:
    before = len(read_lines(RunDir(trained[0]).evaluations))
    with pytest.raises(UserError, match=reason):
        evaluate(trained[0], network=network, protocols=("online",), more=more)
    assert len(read_lines(RunDir(trained[0]).evaluations)) == before


def test_labels_that_cannot_be_had(trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--labels must be a share such as 0\.01, or a text file"):
        evaluate(trained[0], more=More(labels=str(tmp_path / "nowhere.txt")))
    with pytest.raises(UserError, match=r"--labels: a share of the labels must be above 0 and at most 1; got 10"):
        evaluate(trained[0], more=More(labels="10"))
    with pytest.raises(UserError, match="no class has two"):
        evaluate(trained[0], protocols=("linear",), more=More(labels="0.01"))
    (tmp_path / "few.txt").write_text("0.png\n")
    arrays = str(write_images(tmp_path / "images.npz"))
    with pytest.raises(UserError, match="has no file names"):
        evaluate(trained[0], arrays, more=More(labels=str(tmp_path / "few.txt")))


@pytest.mark.slow
def test_fine_tuning_of_both_networks(trained: tuple[Path, Path]) -> None:
    config = Finetune(epochs=6, batch=8, lr=1.0)
    rows = evaluate(trained[0], protocols=(), more=More(finetune=config, labels="0.5"))
    assert [row.network for row in rows] == ["student", "teacher"]
    for row in rows:
        assert row.score.protocol.startswith("finetune-v1 (whole network, sgd lr 1 per 256 images, layer decay 1,")
        assert "trained on 30, tested on 20" in row.score.protocol and "50 % of each class" in row.score.protocol
        assert row.score.top1 > 80  # the classes differ in colour


@pytest.mark.slow
def test_few_labels_are_learned_for_longer(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 epochs with 1 % of the labels, as asked for (one image of each class is more), 30 with more; or as given."""
    third = tmp_path / "third.txt"
    third.write_text("".join(f"{at:03d}.png\n" for at in range(20, 40)))
    for labels, options, epochs, said in (
        ("0.01", (), 60, "fine-tuning for 60 epochs: 60 is the default with 1 % of"),
        ("0.011", (), 30, "fine-tuning for 30 epochs: 60 is the default with 1 % of"),
        (third, (), 30, "fine-tuning for 30 epochs: 60 is the default with 1 % of"),
        ("0.01", ("--tuning.epochs", 2), 2, ""),
        (third, ("--tuning.epochs", 60, "--tuning.batch", 20), 60, ""),
    ):
        call = (trained[0], "--labels", labels, "--finetune", *options, "--network", "student", "--json")
        status, out, err = command(monkeypatch, capsys, *call)
        (row,) = json.loads(out)
        assert status == 0 and f", wd 0, {epochs} epochs, batch" in row["protocol"]
        assert err.startswith(said) and err.count("\n") == (said != "")
    more = More(finetune=Finetune(warmup_epochs=40), labels="0.5")
    with pytest.raises(UserError, match=r"a warm-up within the epochs .*; got 30, 256, 40, 0"):
        evaluate(trained[0], network="student", protocols=(), more=more)


def test_the_share_that_is_lent(trained: tuple[Path, Path]) -> None:
    """The one asked for, though a class lends one image at least; of a list, that of its images."""
    split = labelled_split(open_data(str(trained[1])))
    assert split is not None
    assert lent_share(split, "0.01", np.arange(2)) == 0.01
    assert lent_share(split, "list.txt", np.arange(15)) == 15 / 60


@pytest.mark.slow
def test_the_probe_on_crops_goes_on_where_it_was_stopped(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = LinearCrop(epochs=6, batch=8, lr=10.0)
    given = (trained[0], None, "both", (), QUICK)
    whole = evaluate(*given, device="cpu", more=More(linear_crop=config))
    assert [row.network for row in whole] == ["student", "teacher"]
    for row in whole:
        assert row.score.protocol.startswith("linear-crop-v1 (frozen h, one linear layer, random crops of 0.08 to 1")
        assert "6 epochs, batch 6, trained on 60, tested on 20, last epoch, seed 0); train/ and" in row.score.protocol
        assert row.score.top1 > 80  # the classes differ in colour
    assert "linear-crop-v1, teacher: epoch 6 of 6, loss" in capsys.readouterr().err
    probes = RunDir(trained[0]).probes
    assert sorted(file.name.split("-")[0] for file in probes.iterdir()) == ["student", "teacher"]
    assert evaluate(*given, device="cpu", more=More(linear_crop=config)) == whole
    told = capsys.readouterr().err
    assert "student: goes on after epoch 6 of 6" in told and "loss" not in told

    shutil.rmtree(probes)
    save = ProbeFile.save

    def dies(self: ProbeFile, state: dict[str, Any], epoch: int, loss: float) -> None:
        save(self, state, epoch, loss)
        if self.name == "teacher" and epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ProbeFile, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate(*given, device="cpu", more=More(linear_crop=config))
    monkeypatch.undo()
    capsys.readouterr()
    assert evaluate(*given, device="cpu", more=More(linear_crop=config)) == whole
    assert "teacher: goes on after epoch 2 of 6" in capsys.readouterr().err
    (other, *_) = evaluate(*given, device="cpu", more=More(linear_crop=replace(config, seed=1), labels="0.5", draws=2))
    assert len(other.draws) == 2 and "seed 1); mean of 2 draws of the labels with training seeds 1 to 2" in (
        other.score.protocol
    )


def test_a_sweep_of_both_networks(trained: tuple[Path, Path]) -> None:
    rows = evaluate(trained[0], protocols=(), linear=QUICK, more=More(sweep=True))
    assert [row.network for row in rows] == ["student", "teacher"]
    for row in rows:
        assert [c.features for c in row.candidates] == ["h", "stage1, mean"]
        (chosen,) = (c for c in row.candidates if c.chosen)
        assert chosen.held_out == max(c.held_out for c in row.candidates)
        assert row.score.protocol.startswith(f"sweep-v1 ({chosen.features}; chosen among 2 layers")
    line = read_lines(RunDir(trained[0]).evaluations)[-1]
    assert [c["features"] for c in line["candidates"]] == ["h", "stage1, mean"]


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["resmom", "evaluate", *map(str, arguments), "--device", "cpu"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    return int(end.value.code or 0), told.out, told.err


@pytest.mark.slow
def test_the_command_prints_mean_spread_and_number(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = trained
    status, out, _ = command(monkeypatch, capsys, path, "--low-shot", "1,3", "--draws", 2, "--threads", 1)
    lines = out.splitlines()
    assert status == 0 and len(lines) == 14 and all(line.startswith("low-shot-v1 ") for line in lines[:12:3])
    for number, name in ((1, "student"), (2, "teacher")):  # of one measurement, under its protocol
        assert all(line.split()[0] == name and " ± " in line and "(n=2)" in line for line in lines[number:12:3])
    status, out, _ = command(monkeypatch, capsys, path, "--low-shot", "1", "--draws", 2, "--seed", 4, "--json")
    (first, *_) = json.loads(out)
    about = {"network", "top1", "top5", "protocol", "step", "data", "fingerprint"}
    assert status == 0 and set(first) == about | {"sd", "draws"}
    assert "(seed 4)" in first["protocol"]
    status, _, err = command(monkeypatch, capsys, path, "--low-shot", "one")
    assert status == 2 and "numbers of images per class, such as 1,5,10; got 'one'" in err and err.count("\n") == 1
    status, _, err = command(monkeypatch, capsys, path, "--low-shot", "1", "--draws", 0)
    assert status == 2 and "low-shot needs at least one image" in err and err.count("\n") == 1
    tuning = ("--tuning.epochs", 1, "--tuning.batch", 8)
    status, out, _ = command(monkeypatch, capsys, path, "--finetune", *tuning, "--network", "teacher", "--json")
    (row,) = json.loads(out)
    assert status == 0 and row["network"] == "teacher" and "1 epochs, batch 8" in row["protocol"]
    few = ("--finetune", *tuning, "--network", "student", "--labels", "0.5")
    for more, hinted in (((), True), (("--protocols", "linear", "--linear.epochs", 1), False)):
        status, out, _ = command(monkeypatch, capsys, path, *few, *more)
        assert status == 0 and ("--protocols linear --labels 0.5 measures it on the same images" in out) == hinted
    status, out, _ = command(monkeypatch, capsys, path, "--sweep", "--linear.epochs", 1, "--network", "student")
    lines = out.splitlines()
    assert status == 0 and lines[0].startswith("sweep-v1 (chosen among 2 layers") and lines[1].startswith("  student")
    (starred,) = [line for line in lines if line.startswith("    * ")]
    assert f"({starred.split('  ')[-1]}; lr " in lines[1]  # the layer that it chose


@pytest.mark.slow
def test_scores_on_two_folders_are_told_apart(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other, alike = tmp_path / "run", tmp_path / "others", tmp_path / "elsewhere" / "others"
    shutil.copytree(trained[0], run)
    RunDir(run).evaluations.unlink(missing_ok=True)
    for copied in (other, alike):
        shutil.copytree(trained[1], copied)
    for file in sorted((alike / "test" / "a").iterdir())[:3]:
        file.unlink()
    own, others, third = (
        evaluate(run, data, "student", ("knn",)) for data in (None, str(other), str(alike) + "@held-out=0.5")
    )
    assert [rows[0].data for rows in (own, others, third)] == ["images", "others", "others@held-out=0.5"]
    status, out, _ = command(monkeypatch, capsys, run, "--data", alike, "--protocols", "knn", "--network", "student")
    assert status == 0 and out.splitlines()[-1].startswith("on others, step 14; also in ")
    lines = read_lines(RunDir(run).evaluations)
    assert len({line["fingerprint"] for line in lines}) == 3  # the run's own images and their copy are the same
    assert str(tmp_path) not in json.dumps([{k: v for k, v in line.items() if k != "environment"} for line in lines])

    # Where two folders have one name, their fingerprints tell them apart: on the card, and in the columns of a report.
    names = {f"others ({lines[n]['fingerprint'][:6]})" for n in (1, 3)} | {"images", "others@held-out=0.5"}
    assert len(names) == 4
    export(run)
    card = (RunDir(run).export / "README.md").read_text()
    assert all(f"\n| {name} | " in card for name in names)
    columns = table(gather([RunDir(run)], images=False).runs).columns
    assert {protocol.rpartition("; on ")[2] for _, _, protocol in columns if "; on " in protocol} == names


@pytest.mark.slow
def test_the_command_ignores_nothing(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = trained
    status, out, _ = command(monkeypatch, capsys, path, "--labels", "0.2", "--draws", 2, "--protocols", "knn")
    protocol, first, second, meaning, _ = out.splitlines()
    assert (
        status == 0
        and protocol.startswith("knn-v1")
        and all(" ± " in line and "(n=2)" in line for line in (first, second))
        and meaning.startswith("±: ")
    )
    for options, words in (
        (("--seed", 1), "--seed has no effect on what this call measures; it goes with --low-shot or --labels SHARE"),
        (("--probe.lr", 1), "--probe has no effect on what this call measures; it goes with --linear-crop"),
        (("--tuning.epochs", 1), "--tuning has no effect on what this call measures; it goes with --finetune"),
        (("--linear.epochs", 1, "--protocols", "knn"), "it goes with --protocols linear, --sweep or --all"),
        (("--knn.k", 5, "--all"), "--knn has no effect on what this call measures; it goes with --protocols knn or"),
        (("--knn.k", 0), "knn.k must be at least 1"),
        (("--finetune", "--baselines"), "it goes with --protocols knn, by which"),
        (("--protocols", "knn", "--draws", 2), "--draws 2 would give one number 2 times"),
        (("--all", "--draws", 2), "--all is a measurement of its own"),
    ):
        status, _, err = command(monkeypatch, capsys, path, *options)
        assert status == 2 and words in err and err.count("\n") == 1


def test_other_images_are_not_said_to_have_been_trained_on(trained: tuple[Path, Path], tmp_path: Path) -> None:
    path, images = trained
    shutil.copytree(images / "train", tmp_path / "images")
    (own,) = {row.score.protocol for row in evaluate(path, str(images / "train"), protocols=("knn",))}
    for file in sorted((tmp_path / "images" / "a").iterdir())[:5]:
        file.unlink()
    (others,) = {row.score.protocol for row in evaluate(path, str(tmp_path / "images"), protocols=("knn",))}
    assert "a fifth of the images held out, which pretraining saw unlabelled" in own
    assert "a fifth of the images held out" in others and "pretraining" not in others


@pytest.mark.slow
def test_the_command_says_how_its_numbers_are_read(trained: tuple[Path, Path], call: Call) -> None:
    line = f"evaluate {trained[0]} --network student --protocols linear --linear.epochs 1 --linear.weight-decays 0"
    status, out, err = call(*line.split(), "--linear.lrs", "0.01", "1", "--labels", "0.5", "--draws", "2")
    assert status == 0, err
    assert "(n=2)" in out and "±: standard deviation over n repetitions\n" in out
    assert (
        "at the edge of the grid: beyond it may lie better; it was --linear.lrs 0.01 1 --linear.weight-decays 0\n"
        in out
    )
    _, out, _ = call(*line.split(), "--linear.lrs", "0.1")
    assert "±" not in out and "edge" not in out


def test_a_probe_goes_on_with_the_same_classes_only(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Of other test images of more classes the layer has more rows, though it learns from the same images."""
    own = open_data(str(write_images(tmp_path / "own.npz")))
    assert own.test is not None
    test = own.test.read(np.arange(len(own.test)))
    assert isinstance(test, torch.Tensor)
    others = Data(own.train, ArraySource("others", test, np.arange(len(test)) % 3, ("a", "b", "c")), "put together")
    more = More(linear_crop=LinearCrop(epochs=1, batch=20))
    for data in (others, own, others):
        (row,) = evaluate(trained[0], data, "student", (), device="cpu", more=more)
        assert "linear-crop-v1" in row.score.protocol


def test_pixels_are_compared_one_kind_at_a_time(trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    made = measuring.Pixels.__getitem__

    def watched(self: measuring.Pixels, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        assert not any(reference() is not None for reference in alive)
        found = made(self, name)
        alive.extend(map(weakref.ref, found))
        return found

    monkeypatch.setattr(measuring.Pixels, "__getitem__", watched)
    rows = evaluate(trained[0], None, "student", ("knn",), baselines=True, device="cpu")
    assert [row.network for row in rows] == ["student", "raw pixels", "normalised pixels", "random init"]
    assert len(alive) >= 4
    split = labelled_split(open_data(str(trained[1])))
    assert split is not None
    policy = load_run(trained[0], "cpu").run.policy
    pixels, cpu = measuring.pixel_features(split, policy), torch.device("cpu")
    expected = torch.cat([batch.flatten(1) for batch in clean_batches(split.train, policy, cpu)])
    assert list(pixels) == ["raw pixels", "normalised pixels"] and len(pixels) == 2
    assert torch.equal(made(pixels, "normalised pixels")[0], expected)
    assert 0 <= made(pixels, "raw pixels")[1].min() <= made(pixels, "raw pixels")[1].max() <= 1


def test_pixels_without_room_are_refused_before_anything_is_measured(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(read_lines(RunDir(trained[0]).evaluations))
    monkeypatch.setattr(measuring, "free_ram", lambda: 2 * 4 * 80 * 3 * 16 * 16 - 1)
    words = r"80 images, 768 numbers each, take 0\.0 GiB of memory .* leave --baselines out, or name fewer images"
    with pytest.raises(UserError, match=words):
        evaluate(trained[0], protocols=("knn",), baselines=True)
    assert len(read_lines(RunDir(trained[0]).evaluations)) == before
    evaluate(trained[0], network="student", protocols=("knn",))


def test_draws_of_all_the_labels_are_one(trained: tuple[Path, Path]) -> None:
    words = "--draws 4 would give one number 4 times: every draw has the same images and nothing is trained"
    for labels in ("1.0", "0.999"):  # rounded to all of either class
        with pytest.raises(UserError, match=words):
            evaluate(trained[0], protocols=("knn",), more=More(labels=labels, draws=4))
    near, probe = evaluate(trained[0], None, "student", ("knn", "linear"), QUICK, more=More(labels="1", draws=2))
    assert near.sd is None and len(probe.draws) == 2 and "mean of 2 training seeds 0 to 1" in probe.score.protocol


def test_what_has_no_room_in_the_run_folder_is_told_all_the_same(
    trained: tuple[Path, Path], tmp_path: Path, call: Call
) -> None:
    path = tmp_path / "run"
    shutil.copytree(trained[0], path)
    for file in (RunDir(path).evaluations, RunDir(path).gaps):
        file.unlink(missing_ok=True)
        file.symlink_to("/dev/full")  # which can be opened, and takes nothing
    code, out, err = call("evaluate", str(path), "--protocols", "knn", "--device", "cpu")
    assert code == 1 and out.count("top-1") == 2 and "also in" not in out
    assert err.count("evaluations.jsonl: no space left on device; this line is not in it:\n{") == 2
    code, out, err = call("gap", str(path), "--images", "8", "--device", "cpu")
    assert code == 1 and out.count("top-1 student") == 2 and "also in" not in out and err.count("this line is not") == 2
    code, out, _ = call("gap", str(path), "--images", "8", "--device", "cpu", "--no-accuracy", "--json")
    assert code == 1 and [found["step"] for found in json.loads(out)["checkpoints"]] == [
        found.step for found in gap(trained[0], images=8, device="cpu", accuracy=False).checkpoints
    ]


def test_a_run_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(evaluating, "_measure", lambda *_: pytest.fail("asked too late"))
    monkeypatch.setattr(gaps, "load_run", lambda *_: pytest.fail("asked too late"))
    monkeypatch.setattr(keeping, "load_run", lambda *_: pytest.fail("asked too late"))
    for module, ask in ((evaluating, evaluate), (gaps, gap), (keeping, keep)):
        monkeypatch.setattr(module, "require_writable", refused)
        with pytest.raises(OSError, match=r"Read-only file system: '.*/(evaluations|gaps)\.jsonl'"):
            ask(trained[0])
