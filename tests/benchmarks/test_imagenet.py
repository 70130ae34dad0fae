"""The end-to-end run of the ImageNet recipes: what is changed of them, on which images, and what is told from it."""

from pathlib import Path

import pytest

from benchmarks.imagenet import IMAGES, NAMES, TWINS, Cost, few, options, seconds_per_step
from resmom.commands import parse
from resmom.commands.pretrain import _arguments
from resmom.configcheck import check
from resmom.data.open import open_data
from resmom.jsonfiles import read_lines
from resmom.recipes import recipe
from tests.data.test_folder import plant


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    names = [f"{split}/n0{wnid}/{n}.JPEG" for split in ("train", "val") for wnid in range(3) for n in range(4)]
    return plant(tmp_path / "imagenet", *names)


def test_the_first_images_of_each_class_are_linked(layout: Path, tmp_path: Path) -> None:
    for _ in range(2):  # a second time over the first
        data = open_data(few(layout, 6, tmp_path / "few"))
    assert data.test is not None and data.train.classes == ("n00", "n01", "n02")
    for source in (data.train, data.test):
        assert source.labels is not None and source.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert list(source.names() or [])[:2] == ["n00/0.JPEG", "n00/1.JPEG"]
    assert len(open_data(few(layout, 2, tmp_path / "fewer")).train) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_is_changed_leaves_a_run_that_can_start_at_full_resolution(name: str) -> None:
    run = recipe(name)
    changed = ["--data", "x", "--out", "y", *options(run, 10, 8, 64, "fp32")]
    made = parse(_arguments(run), changed, "", "").run
    check(made)
    assert (made.train.steps, made.train.batch, made.train.precision) == (10, 8, "fp32")
    assert (made.backbone, made.policy, made.optim, made.ema) == (run.backbone, run.policy, run.optim, run.ema)
    assert getattr(made.method, "queue", 64) == 64


def test_the_cost_is_that_of_all_images_in_all_epochs() -> None:
    cost = Cost("mocov3_imagenet_r50", batch=8, seconds_per_step=4.0, epochs=100)
    assert cost.images_per_second == 2.0
    assert cost.hours == pytest.approx(IMAGES * 100 / 2.0 / 3600)
    lines = [{"elapsed_seconds": end} for end in (50.0, 60.0, 64.0, 68.0, 90.0)]
    assert seconds_per_step(lines) == 4.0  # the first step, and one that something else held up, do not count


def test_every_recipe_has_been_run_from_end_to_end() -> None:
    file = Path(__file__).parents[2] / "docs" / "results" / "imagenet" / "costs.jsonl"
    lines = read_lines(file)
    run = {line["recipe"] for line in lines}
    assert run >= set(NAMES) and run - set(NAMES) <= set(TWINS)
    kinds = {name.split("_")[0] for name in NAMES}
    assert {name.split("_")[0] for name in run & set(TWINS)} == kinds  # a twin of every method
    for line in lines:
        assert line["epochs"] == recipe(line["recipe"]).train.epochs
