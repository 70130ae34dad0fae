"""The views of a run that has not begun, as the command line and Python draw them: those that it would train on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import resmom
from resmom.commands.pretrain import main
from resmom.config import ConfigError, Run
from resmom.data.open import open_data
from resmom.errors import UserError
from resmom.recipes.orientation import with_orientation
from resmom.report.sheet import GAP, LINE
from resmom.runs.settling import settle
from resmom.runs.training.job import prepare
from resmom.views.policy import Policy
from tests.runs.crash import dino_run, small_run, write_images
from tests.runs.settling.derived import CPU

TOP, CELL = GAP + 2 * LINE, 128


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images, in a folder that one stands in."""
    monkeypatch.chdir(tmp_path)
    return write_images(tmp_path / "images.npz", n=80)


def cells(picture: Path, row: int, side: int, number: int) -> np.ndarray:
    """Some views of the first draw in a row of the picture, as pixels in their own size: number x side x side x 3."""
    with Image.open(picture) as opened:
        page = np.asarray(opened)
    scale, found = CELL // side, []
    top = TOP + row * (CELL + GAP)
    for v in range(number):
        left = 3 * GAP + CELL + v * (CELL + GAP)
        found.append(page[top : top + CELL, left : left + CELL][scale // 2 :: scale, scale // 2 :: scale])
    return np.stack(found)


def trained_on(run: Run, data: Path, image: int) -> np.ndarray:
    """The views of an image in the first epoch of training, the first two, as pixels."""
    job = prepare(run, open_data(str(data)), CPU)
    for step in range(job.per_epoch):
        batch = job.batch(step)
        if image in batch.index.tolist():
            views = [view[batch.index.tolist().index(image)] for view in batch.views[:2]]
            return np.stack([as_pixels(view, run.policy) for view in views])
    raise AssertionError("the epoch left it out")


def as_pixels(view: Tensor, policy: Policy) -> np.ndarray:
    mean, std = (torch.tensor(values)[:, None, None] for values in (policy.mean, policy.std))
    return (view * std + mean).mul(255).round().clamp(0, 255).permute(1, 2, 0).byte().numpy()


def test_the_views_of_a_method_by_its_name(data: Path) -> None:
    """ReSSL's second view, which the teacher sees, has no colours changed; a run's own views stay."""
    both = []
    for method in ("mocov3", "ressl"):
        resmom.draw_views(data, f"{method}.png", method=method, backbone="small", device="cpu")
        both.append(Path(f"{method}.png").read_bytes())
    assert both[0] != both[1]
    resmom.draw_views(data, "a.png", small_run(), method="byol", device="cpu")
    resmom.draw_views(data, "b.png", small_run(), device="cpu")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


@pytest.mark.parametrize(
    "run", [small_run(), with_orientation(small_run(), "any"), dino_run()], ids=["", "any", "dino"]
)
def test_these_are_the_views_of_the_first_epoch(run: Run, data: Path) -> None:
    assert resmom.draw_views(data, "out/views.png", run, device="cpu") == Path("out/views.png")
    shown = np.sort(np.random.default_rng(0).permutation(80)[:6])
    seen = 0
    for row, image in enumerate(shown.tolist()):
        drawn = cells(Path("out/views.png"), row, 16, 2)
        assert np.array_equal(drawn, trained_on(run, data, image))
        seen += len(np.unique(drawn))
    assert seen > 500


def test_on_the_command_line_without_a_recipe(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "trial", None)  # nothing is tried
    words = ["--data", str(data), "--views", "v.png", "--orientation", "any", "--device", "cpu"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith(
        "views of 6 images in the first 3 epochs, as the run would train on them: v.png\nviews 1 and 2: "
    )
    assert "turned by a multiple of 90 degrees always" in told
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["images.npz", "v.png"]
    assert main([*words, "--policy.views.1.rotation", "15", "--image-size", "24", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["views"]["path"], found["views"]["epochs"], len(found["views"]["images"])) == ("v.png", 3, 6)
    assert [(v["size"], v["rotation"], v["quarter_turns"]) for v in found["policy"]["views"]] == [
        (24, 0, 1),
        (24, 15, 1),
    ]
    assert "rotated by up to 15 degrees" in found["views"]["said"][1]


def test_with_a_dry_run_both_are_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--method.hidden", "8", "--method.out", "4", "--backbone.widths", "4", "8", "--train.batch", "16"]
    words = ["mocov3_digits", "--data", str(data), "--views", "v.png", "--dry-run", "--device", "cpu", *small]
    for place in ([], ["--out", "run"]):
        assert main([*words, *place, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["views"]["path"] == "v.png" and found["estimate"]["seconds"] > 0
        assert Path("v.png").exists() and not Path("run").exists()


@pytest.mark.parametrize(("images", "rows"), [(1, 1), (4, 4), (63, 6)])
def test_few_images_are_drawn_as_many_as_there_are(
    images: int, rows: int, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are looked at before one collects more; a run without a recipe needs 64."""
    few = Path("few.npz")
    np.savez(few, train_images=np.random.default_rng(0).integers(0, 256, (images, 16, 16, 3), dtype=np.uint8))
    assert main(["--data", str(few), "--views", "few.png", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["views"]
    assert found["images"] == sorted(found["images"]) and len(found["images"]) == rows
    assert "needs at least 64" in found["said"][-1]
    with Image.open("few.png") as opened:
        assert opened.height > TOP + rows * (CELL + GAP)
    enough = write_images(Path("enough.npz"), n=64)
    assert main(["--data", str(enough), "--views", "v.png", "--device", "cpu"]) == 0
    assert "needs at least" not in capsys.readouterr().out
    with pytest.raises(ConfigError, match=f"{images} images are too few"):
        main(["--data", str(few), "--views", "few.png", "--dry-run", "--out", "run", "--device", "cpu"])


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_drawn_in_grey(channels: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, channels), dtype=np.uint8)
    with Image.open(resmom.draw_views(images, tmp_path / "v.png", device="cpu")) as opened:
        drawn = np.asarray(opened)
    cell = drawn[TOP + 2 : TOP + CELL - 2, 3 * GAP + CELL + 2 : 3 * GAP + 2 * CELL - 2]
    assert (cell == cell[..., :1]).all() and cell.std() > 10


def test_what_cannot_be_trained_is_refused_and_nothing_is_drawn(data: Path) -> None:
    with pytest.raises(ConfigError, match="the images have 3 channel"):
        resmom.draw_views(
            data, "v.png", replace(small_run(), policy=replace(small_run().policy, mean=(0.5,), std=(1.0,)))
        )
    with pytest.raises(UserError, match="no recipe"):
        resmom.draw_views(data, "v.png", "mocov3_digit")
    Path("v.png").write_text("mine")
    with pytest.raises(UserError, match="is no picture of views"):
        resmom.draw_views(data, "v.png", small_run())
    assert Path("v.png").read_text() == "mine"
