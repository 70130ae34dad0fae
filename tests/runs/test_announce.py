"""What a run says before it starts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resmom import dist
from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data
from resmom.losses.residual import Residual
from resmom.methods.dino import Dino
from resmom.nets.backbones import DinoViT
from resmom.recipes.orientation import with_orientation
from resmom.rundir import RunDir
from resmom.runs.announce import summary
from resmom.runs.training.job import prepare
from resmom.train.plan import Train
from tests.runs.crash import small_run
from tests.runs.settling.derived import CPU, images, tiny


def test_images_that_are_not_used_are_told_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, n in (("train", 24), ("val", 4), ("rest", 3)):
        for number in range(n):
            path = tmp_path / "photos" / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos" / "one.dng").write_bytes(b"x")

    def said(spec: str) -> str:
        return summary(prepare(tiny(small_run()), open_data(spec), CPU), RunDir(tmp_path / "run"))

    whole = said(str(tmp_path / "photos"))
    assert "24 images (train/ and val/ folders (3 images outside of them left out))" in whole
    assert whole.count("outside of") == 1 and "\npassed over: pictures of formats that are not read (1 .dng)" in whole
    assert "\npassed over: pictures of formats" in said(f"{tmp_path / 'photos'}@held-out=0.25")


def test_classes_are_named_where_they_are_taken_from_names(tmp_path: Path) -> None:
    """Folders may be days or experiments; in a list, NA is no class."""
    for number in range(24):
        path = tmp_path / "photos" / f"2023-01-{number % 6 + 1:02}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), number, dtype=np.uint8)).save(path)
    listed = tmp_path / "photos" / "t.csv"
    listed.write_text("file;class\n" + "".join(f"{n}.png;{('cat', 'dog', 'NA')[n % 3]}\n" for n in range(24)))

    def said(data: Data) -> list[str]:
        return summary(prepare(tiny(small_run()), data, CPU), RunDir(tmp_path / "run")).splitlines()

    days = ", ".join(f"2023-01-0{day}" for day in range(1, 6))
    assert f"labels: 6 classes from the folders' names ({days}, ...)" in said(open_data(tmp_path / "photos"))
    assert f"labels: 6 classes from the folders' names ({days}, ...)" in said(
        open_data(f"{tmp_path / 'photos'}@held-out=0.25")
    )
    lines = said(open_data(listed))
    assert "labels: 2 classes from the column class of t.csv (cat, dog); 8 of 24 images have no label" in lines
    assert "labels: 'NA' (8) in the column class of t.csv means no label" in lines
    assert any(line.startswith("paths: 24 of 24 are names without folders") for line in lines)
    unlabelled = said(Data(ArraySource("an array", torch.zeros(24, 3, 20, 20, dtype=torch.uint8)), None, "given"))
    assert not any(line.startswith("labels:") for line in unlabelled)


def test_a_derived_run_has_no_warm_up_of_a_recipe(tmp_path: Path) -> None:
    """Of a few steps it has none at all."""
    short = replace(tiny(small_run()), train=Train(steps=4, batch=16))
    for name, told in (("automatic", False), ("mocov3_digits", True)):
        said = summary(prepare(replace(short, recipe=name), images(), CPU), RunDir(tmp_path))
        assert ("no warm-up: the recipe's, 10 epochs" in said) == told


def test_views_in_any_orientation_are_told(tmp_path: Path) -> None:
    """Of a derived run they are one of the choices."""
    plain = tiny(small_run())
    turned = with_orientation(plain, "any")
    for run, told in ((plain, False), (turned, True), (replace(turned, recipe="automatic"), False)):
        assert ("views in any orientation" in summary(prepare(run, images(), CPU), RunDir(tmp_path))) == told


def test_several_processes_and_what_each_has_of_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = prepare(tiny(small_run()), images(), CPU)
    monkeypatch.setattr(dist, "world", lambda: 4)
    assert "on cpu in 4 processes of 4 images each; BatchNorm is of each one's images" in summary(job, RunDir(tmp_path))


def test_nothing_is_said_of_batch_norm_that_a_network_has_not(
    small_transformers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny(small_run())
    vit = replace(plain, backbone=DinoViT("tiny", 16, 8))
    without = replace(vit, method=Dino(hidden=8, out=4, prototypes=16), residual=Residual())
    monkeypatch.setattr(dist, "world", lambda: 4)
    for run, said in (
        (plain, ", BatchNorm statistics own\n"),
        (vit, ", BatchNorm statistics own (its projector's: the backbone has none)\n"),
        (without, ""),
    ):
        told = summary(prepare(run, images(), CPU), RunDir(tmp_path))
        assert said in told and ("BatchNorm" in told) == bool(said) == ("BatchNorm is of each one's images" in told)
