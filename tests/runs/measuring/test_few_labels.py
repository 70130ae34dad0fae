"""`resmom evaluate` with some of the labels: shots, shares and lists, drawn once or several times, and refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.evaluate.draw import share
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.linear import linear_probe
from resmom.evaluate.settings import Knn, LowShot
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir
from resmom.runs.clean import clean_batches, labelled_split
from resmom.runs.loaded import load_run
from resmom.runs.measuring.asked import More
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.labels import lent_share
from resmom.runs.measuring.rows import Row
from tests.runs.crash import write_images
from tests.runs.measuring.quick import QUICK


def require_same_fields(rows: list[Row]) -> None:
    """A row has what its line in JSON has, under the same names; what it has not is None, or empty."""
    for row in rows:
        line = row.plain()
        assert {name: getattr(row, name) for name in line} == {
            name: tuple(value) if isinstance(value, list) else value for name, value in line.items()
        }
        assert all(not getattr(row, name) for name in ("shots", "learner", "label_share", "draws") if name not in line)


def test_low_shot_of_both_networks(trained: tuple[Path, Path]) -> None:
    path, _ = trained
    rows = evaluate(path, protocols=(), more=More(LowShot((1, 3), draws=2)))
    assert [row.network for row in rows] == ["student"] * 4 + ["teacher"] * 4
    assert rows[0].score.protocol.startswith("low-shot-v1 1 per class, logistic regression")
    assert rows[0].score.protocol.endswith("tested on 20; train/ and test/ folders")
    assert all(len(row.draws) == 2 and row.sd is not None for row in rows)
    line = read_lines(RunDir(path).evaluations)[-1]
    assert line["draws"] == list(rows[-1].draws) and line["sd"] == rows[-1].sd
    kinds = [(row.probe, row.shots, row.learner, row.label_share) for row in rows[:4]]
    assert kinds == [("low-shot-v1", n, by, None) for n in (1, 3) for by in ("logistic regression", "kNN")]
    require_same_fields(rows)
    with pytest.raises(UserError, match=r"cannot be evaluated on .*2 of 2 classes have fewer than 31 .*: a \(30\)"):
        evaluate(path, protocols=(), more=More(LowShot((31,))))


@pytest.mark.slow
def test_a_share_of_the_labels(trained: tuple[Path, Path]) -> None:
    rows = evaluate(trained[0], linear=QUICK, more=More(labels="0.1"))
    assert [(row.network, row.score.protocol[:4]) for row in rows] == [
        ("student", "knn-"),
        ("student", "line"),
        ("teacher", "knn-"),
        ("teacher", "line"),
    ]  # fmt: skip  the online classifier learnt from all labels
    assert {(row.probe, row.label_share) for row in rows} == {("knn-v1", 0.1), ("linear-v1", 0.1)}
    assert [line["label_share"] for line in read_lines(RunDir(trained[0]).evaluations)[-4:]] == [0.1] * 4
    require_same_fields(rows)
    assert "trained on 6," in rows[1].score.protocol and "bank 6," in rows[0].score.protocol
    assert rows[0].score.protocol.endswith("learned from the labels of 6 of 60 images, 10 % of each class, seed 0")


@pytest.mark.usefixtures("typed")
def test_the_labels_that_a_list_names(trained: tuple[Path, Path], tmp_path: Path) -> None:
    names = tmp_path / "few.txt"
    names.write_text("020.png\na/022.png\n\n021.png\n023.png\n")
    rows = evaluate(trained[0], protocols=("knn",), more=More(labels=str(names)))
    assert {row.label_share for row in rows} == {4 / 60}
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


@pytest.mark.usefixtures("typed")
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


@pytest.mark.usefixtures("typed")
def test_draws_of_all_the_labels_are_one(trained: tuple[Path, Path]) -> None:
    words = "--draws 4 would give one number 4 times: every draw has the same images and nothing is trained"
    for labels in ("1.0", "0.999"):  # rounded to all of either class
        with pytest.raises(UserError, match=words):
            evaluate(trained[0], protocols=("knn",), more=More(labels=labels, draws=4))
    near, probe = evaluate(trained[0], None, "student", ("knn", "linear"), QUICK, more=More(labels="1", draws=2))
    assert near.sd is None and len(probe.draws) == 2 and "mean of 2 training seeds 0 to 1" in probe.score.protocol


@pytest.mark.usefixtures("typed")
def test_labels_that_cannot_be_had(trained: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--labels must be a share such as 0\.01, which is 1 %, or a text file .*there is no such file"
    ):
        evaluate(trained[0], more=More(labels=str(tmp_path / "nowhere.txt")))
    with pytest.raises(UserError, match=r"--labels: a share of the labels must be above 0 and at most 1; got 10"):
        evaluate(trained[0], more=More(labels="10"))
    with pytest.raises(UserError, match="no class has two"):
        evaluate(trained[0], protocols=("linear",), more=More(labels="0.01"))
    (tmp_path / "few.txt").write_text("0.png\n")
    arrays = str(write_images(tmp_path / "images.npz"))
    with pytest.raises(UserError, match="has no file names"):
        evaluate(trained[0], arrays, more=More(labels=str(tmp_path / "few.txt")))


def test_the_share_that_is_lent(trained: tuple[Path, Path]) -> None:
    """The one asked for, though a class lends one image at least; of a list, that of its images."""
    split = labelled_split(open_data(str(trained[1])))
    assert split is not None
    assert lent_share(split, "0.01", np.arange(2)) == 0.01
    assert lent_share(split, "list.txt", np.arange(15)) == 15 / 60
