"""A run measured on images of another side than its views: which images everything sees, what is said, what refused."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import resmom
import resmom.runs.clean as clean
from resmom.build import Own
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.evaluate.features import features
from resmom.evaluate.knn import knn
from resmom.evaluate.settings import Finetune, LinearCrop, LowShot
from resmom.jsonfiles import read_lines
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, Timm
from resmom.recipes.side import with_views
from resmom.report.compare import table
from resmom.rundir import RunDir
from resmom.runs.clean import clean_batches, labelled_split
from resmom.runs.exporting.embed import embed
from resmom.runs.exporting.export import export
from resmom.runs.loaded import Loaded, load_run, load_start
from resmom.runs.measuring.asked import More
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.reporting.report import gather
from resmom.runs.sized import with_image_size
from resmom.runs.training.job import fresh_method
from tests.conftest import Call
from tests.runs.measuring.quick import QUICK

WORDS = "images of 24 pixels; "


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path) -> Path:
    """A run with views of 16 pixels that was not evaluated yet."""
    shutil.copytree(trained[0], tmp_path / "run")
    RunDir(tmp_path / "run").evaluations.unlink(missing_ok=True)
    return tmp_path / "run"


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The sides of all clean images that are made."""
    seen: set[int] = set()
    plain = clean.plain

    def watched(images: Any, size: int, *rest: Any, **more: Any) -> Tensor:
        seen.add(size)
        return plain(images, size, *rest, **more)

    monkeypatch.setattr(clean, "plain", watched)
    return seen


def test_all_that_is_measured_sees_images_of_the_size_asked_for(run: Path, sides: set[int]) -> None:
    config = RunDir(run).config.read_bytes()
    more = More(low_shot=LowShot((2,), 2), sweep=True)
    given = (run, None, "both", ("knn", "linear", "online"), QUICK, True, "cpu")
    usual = evaluate(*given, more=more)
    assert sides == {16} and not any("pixels" in row.score.protocol for row in usual)
    sides.clear()
    sized = evaluate(*given, more=replace(more, image_size=24))
    assert sides == {24} and len(sized) == len(usual) == 14
    for row, other in zip(sized, usual, strict=True):
        # What a protocol chose may differ between the sizes; kNN chooses nothing, and all its other words stay.
        assert row.score.protocol.count(WORDS) == 1 and row.network == other.network
        assert row.score.protocol.endswith(f"; {WORDS}train/ and test/ folders")
        assert other.score.protocol.endswith("; train/ and test/ folders")
        assert not row.score.protocol.startswith("knn") or row.score.protocol.replace(WORDS, "") == other.score.protocol
    assert [line["protocol"] for line in read_lines(RunDir(run).evaluations)] == [
        row.score.protocol for row in usual + sized
    ]
    assert RunDir(run).config.read_bytes() == config and load_run(run).policy == load_run(run).run.policy


def test_the_numbers_are_those_of_such_images(run: Path, tmp_path: Path) -> None:
    loaded = load_run(run, "cpu")
    split = labelled_split(open_data(loaded.data))
    start = load_start(loaded)
    assert split is not None and split.train.labels is not None and split.test.labels is not None and start is not None
    known, asked = torch.from_numpy(split.train.labels), torch.from_numpy(split.test.labels)
    networks = {**loaded.networks("both"), "random init": start}
    for side, given in ((16, None), (24, 24), (8, 8)):
        policy = with_views(loaded.run, side)
        assert policy.views[0].size == side
        rows = {
            row.network: row
            for row in evaluate(run, protocols=("knn",), baselines=True, device="cpu", more=More(image_size=given))
        }
        found = embed(run, tmp_path / f"{side}.npz", device="cpu", image_size=given)
        assert f", clean images at {side} pixels, step" in found.protocol
        arrays = np.load(found.path)
        for name, network in networks.items():
            bank, queries = (
                features(network, clean_batches(source, policy, loaded.device)) for source in (split.train, split.test)
            )
            assert rows[name].score.top1 == knn(bank, known, queries, asked, loaded.run.knn).top1
            if name != "random init":
                assert torch.equal(torch.from_numpy(arrays[f"train_{name}"]), bank)
                assert torch.equal(torch.from_numpy(arrays[f"test_{name}"]), queries)


def test_the_side_of_the_views_is_no_other_size(run: Path) -> None:
    given = (run, None, "student", ("knn", "linear"), QUICK, False, "cpu")
    assert evaluate(*given) == evaluate(*given, more=More(image_size=16))


def test_scores_of_two_sizes_are_told_apart(run: Path) -> None:
    for size in (None, 24, 32, 24):
        evaluate(run, None, "student", ("knn",), baselines=True, more=More(image_size=size))
    compared = table(gather([RunDir(run)], images=False).runs)
    measured = {protocol for _, _, protocol in compared.columns if "; on " in protocol}
    assert len(measured) == 3 and len([protocol for protocol in measured if "pixels; " in protocol]) == 2
    export(run)
    card = (RunDir(run).export / "README.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("| images | ") and "knn-v1" in line]
    assert len(rows) == 3 and sum(WORDS in line for line in rows) == 1
    assert sum(WORDS in line for line in card.splitlines() if line.startswith("| raw pixels | ")) == 1


def test_larger_images_come_in_smaller_batches(run: Path) -> None:
    loaded = load_run(run, "cpu")
    train = open_data(loaded.data).train
    for side, lengths in ((None, [60]), (8, [60]), (64, [16, 16, 16, 12])):
        made = list(with_image_size(loaded, side).clean(train))
        assert [len(batch) for batch in made] == lengths and made[0].shape[2:] == (side or 16, side or 16)


def test_from_python_and_on_the_command_line(run: Path, tmp_path: Path, sides: set[int], call: Call) -> None:
    result = resmom.result(run)
    assert all(WORDS in row.score.protocol for row in result.evaluate(("knn",), image_size=24))
    assert "at 24 pixels" in result.embed(tmp_path / "a.npz", image_size=24).protocol
    quick = ("--protocols", "knn", "--device", "cpu")
    code, out, err = call("evaluate", str(run), *quick, "--image-size", "24")
    assert code == 0 and WORDS in out, err
    code, out, err = call("embed", str(run), "--out", str(tmp_path / "b.npz"), "--image-size", "24")
    assert code == 0 and "at 24 pixels" in out and sides == {24}, err
    before = len(read_lines(RunDir(run).evaluations))
    for options, words in (
        (("--image-size", "7"), "--image-size is 7; it must be a whole number of 8 to 1024 pixels, and without it"),
        (("--image-size", "1025"), "--image-size is 1025; it must be a whole number of 8 to 1024 pixels"),
        (("--image-size", "24", "--all"), "--all chooses at the side of the run's views: leave --image-size out"),
        (("--image-size", "24", "--linear-crop"), "train on random crops at the side of the run's views"),
        (("--image-size", "24", "--finetune"), "train on random crops at the side of the run's views"),
    ):
        code, _, err = call("evaluate", str(run), *options)
        assert code == 2 and words in err and err.count("\n") == 1
    assert len(read_lines(RunDir(run).evaluations)) == before
    for more in (More(linear_crop=LinearCrop(), image_size=24), More(finetune=Finetune(), image_size=24)):
        with pytest.raises(UserError, match=r"^linear_crop and finetune train .* leave image_size out"):
            evaluate(run, more=more)
    with pytest.raises(UserError, match=r"^image_size is True; evaluate takes a whole number or None there"):
        result.evaluate(image_size=True)
    with pytest.raises(UserError, match=r"^image_size is 4; it must be"):
        result.embed(tmp_path / "c.npz", image_size=4)
    assert not (tmp_path / "c.npz").exists()


def _with(run: Path, backbone: BackboneConfig) -> Loaded:
    """A run that has such a backbone, with fresh weights."""
    loaded = load_run(run, "cpu")
    other = replace(loaded.run, backbone=backbone)
    return replace(loaded, run=other, method=fresh_method(other, loaded.device))


@pytest.mark.usefixtures("small_transformers")
def test_a_transformer_takes_other_sizes_where_its_positions_do(run: Path) -> None:
    dino = with_image_size(_with(run, DinoViT("tiny", image=16, patch=4)), 24)
    (views,) = dino.clean(open_data(dino.data).train)
    assert views.shape[2:] == (24, 24) and dino.method.student(views).h.shape == (60, 24)
    with pytest.raises(UserError, match=r"dino-vit-tiny cuts images into patches of 4 pixels: .* that, 20 or 24$"):
        with_image_size(dino, 22)
    moco = _with(run, MoCoViT("tiny", image=16, patch=4))
    words = r"^vit-tiny cannot be measured at image_size=24: it is a transformer whose positions are fixed .* 16 pixels"
    with pytest.raises(UserError, match=words):
        with_image_size(moco, 24)
    assert with_image_size(moco, 16) is moco
    timms = with_image_size(_with(run, Timm("test_vit", image=16)), 32)
    (views,) = timms.clean(open_data(timms.data).train)
    assert views.shape[2:] == (32, 32) and timms.method.student(views).h.shape == (60, 64)
    with pytest.raises(UserError, match=r"timm:test_vit cuts images into patches of 16 pixels: .* that, 16 or 32$"):
        with_image_size(timms, 24)
    fixed = _with(run, Timm("gmlp_ti16_224", image=16))
    with pytest.raises(UserError, match=r"^timm:gmlp_ti16_224 cannot be measured at image_size=32: "):
        with_image_size(fixed, 32)
    assert with_image_size(_with(run, Timm("test_resnet")), 32).image_size == 32


class Body(nn.Module):
    """A backbone of the user's own, with a map or without: with one it takes images of any size."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, view: Tensor) -> Tensor:
        out: Tensor = self.layers(view)
        return out


def test_a_backbone_from_python_is_tried(run: Path) -> None:
    loaded = load_run(run, "cpu")
    for layers, wrong in (
        ([nn.Conv2d(3, 8, 4)], ""),
        ([nn.Flatten(), nn.Linear(3 * 16 * 16, 8)], ".*mat1 and mat2"),
        ([nn.Conv2d(3, 8, 8, 8), nn.Flatten()], r"h has the shape \(72,\) there, and 32 numbers"),
    ):
        own = Own(Body(layers))
        written = {**loaded.written, "own": {"backbone": "Body"}}
        given = replace(loaded, method=fresh_method(loaded.run, loaded.device, own), written=written)
        if not wrong:
            assert with_image_size(given, 24).image_size == 24
            continue
        with pytest.raises(UserError, match=rf"Body, given from Python cannot be measured at image_size=24: {wrong}"):
            with_image_size(given, 24)
