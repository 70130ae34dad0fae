"""Views that grow over a run: which size when, what is measured at full size, and what it costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.build import Own
from resmom.cli import main
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.nets.backbones import DinoViT, MoCoViT, Timm
from resmom.runs import budget
from resmom.runs.job import fresh_method, prepare
from resmom.runs.memory import kept_bytes_of
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.profile import profile
from resmom.runs.progress import Progress
from resmom.train.plan import Train, view_share, work
from resmom.views.policy import View, mocov3_cifar, mocov3_imagenet, resized
from tests.runs.crash import QUIET, dino_run, ibot_run, small_run, write_images
from tests.runs.test_resume import assert_same_run, stop_at

CPU = torch.device("cpu")


def growing(run: Run, *sizes: float) -> Run:
    return replace(run, train=replace(run.train, sizes=sizes))


@pytest.fixture
def images(tmp_path: Path) -> Data:
    return open_data(str(write_images(tmp_path / "images.npz")))


@pytest.mark.parametrize(
    ("sizes", "steps", "expected"),
    [
        ((), 4, [1, 1, 1, 1]),
        ((0.5, 0.75, 1.0), 6, [0.5, 0.5, 0.75, 0.75, 1, 1]),
        ((0.5, 1.0), 5, [0.5, 0.5, 0.5, 1, 1]),
        ((0.5, 0.75, 1.0), 2, [0.5, 0.75]),
        ((0.5,), 3, [0.5, 0.5, 0.5]),
    ],
)
def test_every_size_has_an_equal_part_of_the_steps(sizes: tuple[float, ...], steps: int, expected: list[float]) -> None:
    train = Train(sizes=sizes)
    assert [view_share(train, step, steps) for step in range(steps)] == expected
    assert view_share(train, steps + 5, steps) == (sizes or (1.0,))[-1]  # a trial may be longer than the run
    for step in range(steps + 1):
        assert work(train, step, steps) == pytest.approx(sum(share**2 for share in expected[:step]))


@pytest.mark.parametrize("wrong", [(0.0, 1.0), (0.5, 1.5), (-0.5,), (float("nan"),)])
def test_a_share_outside_its_range_is_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"train\.sizes are shares of the views' sides, above 0 and at most 1; got"):
        Train(sizes=wrong)


def test_resized_views_are_the_same_in_fewer_pixels() -> None:
    whole = mocov3_imagenet()
    half = resized(whole, 0.5)
    assert [view.size for view in half.views] == [112, 112]
    assert half.views[0].sigma == (0.05, 1.0)
    assert replace(half.views[1], size=224, sigma=(0.1, 2.0)) == whole.views[1]
    assert (half.mean, half.std) == (whole.mean, whole.std)
    assert resized(whole, 1.0) is whole
    assert [view.size for view in resized(whole, 0.6, multiple=16).views] == [128, 128]
    blurred = replace(whole, views=(View(size=16),))
    assert resized(blurred, 0.01).views[0].size == 2 and resized(mocov3_cifar(), 0.01).views[0].size == 1


def test_a_batch_has_the_size_of_its_step_and_else_what_it_had(images: Data) -> None:
    """Crops and colours are drawn as without growth: a batch at full size is the same to the bit."""
    plain, grown = (prepare(run, images, CPU) for run in (small_run(), growing(small_run(), 0.5, 1.0)))
    steps = plain.steps
    sides = [grown.batch(step).views[0].shape[-1] for step in range(steps)]
    assert sides == [8] * (steps // 2) + [16] * (steps // 2)
    for ours, theirs in zip(grown.batch(steps - 1).views, plain.batch(steps - 1).views, strict=True):
        assert torch.equal(ours, theirs)
    small, full = grown.batch(0), plain.batch(0)
    assert torch.equal(small.index, full.index)
    for ours, theirs in zip(small.views, full.views, strict=True):
        shrunk = torch.nn.functional.avg_pool2d(theirs, 2)
        near = (ours - shrunk).abs().mean() / (shrunk - shrunk.mean()).abs().mean()
        assert near < 0.35  # the same crop of the same image, and not another: those are further away than 1
        assert (ours.flip(0) - shrunk).abs().mean() / (shrunk - shrunk.mean()).abs().mean() > 0.6


@pytest.mark.slow
@pytest.mark.usefixtures("small_transformers")
@pytest.mark.parametrize("base", [small_run, dino_run, ibot_run], ids=["mocov3", "dino", "ibot"])
@pytest.mark.parametrize("step", [7, 10])
def test_stopped_before_and_after_the_views_grow(
    base: Any, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local views and hidden patches grow too; whichever step it is resumed from, the end is the same to the bit."""
    data, run = write_images(tmp_path / "images.npz"), growing(base(), 0.5, 1.0)
    pretrain(run, str(data), tmp_path / "whole", QUIET)
    assert stop_at(step, run, data, tmp_path / "run", monkeypatch).step == step
    resume(tmp_path / "run", replace(QUIET, workers=2))
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.usefixtures("small_transformers")
def test_hidden_patches_are_of_the_views_that_there_are(images: Data) -> None:
    run = growing(ibot_run(), 0.5, 1.0)
    assert isinstance(run.backbone, DinoViT)
    job = prepare(run, images, CPU)
    for step in (0, job.steps - 1):
        batch = job.batch(step)
        for view, mask in zip(batch.views[:2], batch.masks, strict=True):
            assert mask.shape[1:] == (view.shape[-2] // run.backbone.patch, view.shape[-1] // run.backbone.patch)


@pytest.mark.usefixtures("small_transformers")
def test_a_backbone_of_one_size_is_refused_before_the_run() -> None:
    base = small_run()
    views = tuple(replace(view, size=32) for view in base.policy.views)
    base = replace(base, policy=replace(base.policy, views=views))
    fixed = replace(base, backbone=Timm("vit_tiny_patch16_224", image=32))
    fresh_method(fixed, CPU)
    with pytest.raises(ConfigError, match=r"not of side 16, which train\.sizes asks for: .*leave train\.sizes out"):
        fresh_method(growing(fixed, 0.5, 1.0), CPU)
    fresh_method(growing(replace(base, backbone=MoCoViT("tiny", image=32, patch=8)), 0.5, 1.0), CPU)


def test_configurations_carry_it_and_older_ones_do_without() -> None:
    run = growing(Run(), 0.5, 0.75, 1.0)
    assert from_json(to_json(run)) == run
    plain = to_json(Run())
    del plain["train"]["sizes"]
    assert from_json(plain) == Run()


def test_memory_is_that_of_the_largest_views(images: Data) -> None:
    whole, half, grown = (
        kept_bytes_of(prepare(growing(small_run(), *sizes), images, CPU)) for sizes in ((), (0.5,), (0.5, 1.0))
    )
    assert half < 0.5 * whole and grown == whole


def test_the_pace_of_a_run_is_the_mean_over_its_parts(images: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a step at half the size takes 2 seconds and one at full size 8."""
    tried: list[float] = []

    def pace(job: Any, rules: Any, workers: int, seconds: float) -> tuple[float, float]:
        (share,) = job.run.train.sizes
        assert job.batch(0).views[0].shape[-1] == 16 * share
        tried.append(seconds)
        return 8.0 * share**2, 1.0

    monkeypatch.setattr(budget, "_pace", pace)
    run = growing(small_run(), 0.5, 1.0, 1.0, 1.0)
    cost = budget.trial(run, images, CPU, 0, Own(), seconds=6.0)
    assert cost.step_seconds == pytest.approx((2 + 3 * 8) / 4) and tried == [3.0, 3.0]


@pytest.mark.slow
def test_a_profile_is_of_the_largest_views(images: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resmom.runs.profile._peak", lambda device, precision: (1000.0, "nothing"))
    whole, grown, half = (
        profile(growing(small_run(), *sizes), images, CPU, 0, 0.05).gflop_per_image
        for sizes in ((), (0.5, 1.0), (0.5,))
    )
    assert grown == whole > 2 * half


def test_the_time_left_counts_what_the_rest_costs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five steps at half the size took 10 seconds: the other five will take four times as long."""
    now = [0.0]
    monkeypatch.setattr("resmom.runs.progress.time.monotonic", lambda: now[0])
    train = Train(sizes=(0.5, 1.0))
    with Progress(10, 5, 8, work=lambda step: work(train, step, 10)) as progress:
        now[0] = 10.0
        progress.update(5, {"loss": 1.0})
    assert capsys.readouterr().err.endswith("  0:40 left\n")


@pytest.mark.slow
def test_the_command_says_how_the_views_grow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = str(write_images(tmp_path / "images.npz")), str(tmp_path / "run")
    call = ["resmom", "pretrain", "mocov3_digits", "--data", data, "--out", out, "--device", "cpu", "--no-keep-memory"]
    options = ["--image-size", "16", "--train.batch", "8", "--train.epochs", "1", "--train.warmup-epochs", "0"]
    options += ["--train.sizes", "0.5", "1"]
    monkeypatch.setattr("sys.argv", [*call, *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "views grow: 8, 16 pixels, each for an equal part of the steps" in capsys.readouterr().err
    card = next((tmp_path / "run").rglob("README.md")).read_text()
    assert "0.5, 1 of these pixels, each for an equal part of the steps" in card
