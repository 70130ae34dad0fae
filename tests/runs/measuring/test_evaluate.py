"""`resmom evaluate` beyond its plain protocols: neighbours, layers, trained probes, baselines, and what is refused."""

import errno
import os
import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import resmom.runs.measuring.evaluate as evaluating
import resmom.runs.measuring.gap as gaps
import resmom.runs.measuring.keep as keeping
import resmom.runs.measuring.measure as measuring
from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data
from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.settings import Finetune, Knn, LinearCrop, OtherKnn
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.clean import clean_batches, labelled_split
from resmom.runs.loaded import load_run
from resmom.runs.measuring.asked import More
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import gap
from resmom.runs.measuring.keep import keep
from resmom.runs.measuring.probefile import ProbeFile
from tests.runs.crash import write_images
from tests.runs.measuring.quick import QUICK


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


def test_other_images_are_not_said_to_have_been_trained_on(trained: tuple[Path, Path], tmp_path: Path) -> None:
    path, images = trained
    shutil.copytree(images / "train", tmp_path / "images")
    (own,) = {row.score.protocol for row in evaluate(path, str(images / "train"), protocols=("knn",))}
    for file in sorted((tmp_path / "images" / "a").iterdir())[:5]:
        file.unlink()
    (others,) = {row.score.protocol for row in evaluate(path, str(tmp_path / "images"), protocols=("knn",))}
    assert "a fifth of the images held out, which pretraining saw unlabelled" in own
    assert "a fifth of the images held out" in others and "pretraining" not in others


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


@pytest.mark.usefixtures("typed")
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


def test_the_probe_on_crops_of_another_layer(trained: tuple[Path, Path]) -> None:
    given, file = (trained[0], None, "student", ("knn",), QUICK), RunDir(trained[0]).evaluations
    config = LinearCrop(epochs=1, batch=8, layer="stage1, mean")
    _, row = evaluate(*given, device="cpu", more=More(linear_crop=config))
    assert row.score.protocol.startswith("linear-crop-v1 (frozen 'stage1, mean', one linear layer, random crops")
    before = len(read_lines(file))
    with pytest.raises(UserError, match=r"no features 'stage9, mean'; it has 'h', 'stage1, mean'"):
        evaluate(*given, device="cpu", more=More(linear_crop=replace(config, layer="stage9, mean")))
    assert len(read_lines(file)) == before  # refused before anything is measured
