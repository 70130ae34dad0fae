"""Views that grow over a run: which size when, what is measured at full size, and what it costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resmom.build import Own
from resmom.cli import main
from resmom.config import ConfigError, Run, from_json, to_json
from resmom.configcheck import check
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.nets.backbones import Backbone, BackboneConfig, DinoViT, MoCoViT, ResNet, Timm
from resmom.runs.comparisons.cell import bare_line
from resmom.runs.comparisons.compare import standings
from resmom.runs.comparisons.grid import Cell, Grid
from resmom.runs.comparisons.results import RESULTS, keep
from resmom.runs.comparisons.sound import require_trainable
from resmom.runs.options import parsed
from resmom.runs.pretrain import pretrain, resume
from resmom.runs.profile import profile
from resmom.runs.settling import trial as trials
from resmom.runs.settling.memory import kept_bytes_of
from resmom.runs.settling.trial import trial
from resmom.runs.training.growth import policies, stretches, work
from resmom.runs.training.job import fresh_method, prepare
from resmom.runs.training.progress import Progress
from resmom.train.plan import Train, view_share
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
    train, run = Train(sizes=sizes), growing(Run(), *sizes)
    assert [view_share(train, step, steps) for step in range(steps)] == expected
    assert view_share(train, steps + 5, steps) == (sizes or (1.0,))[-1]  # a trial may be longer than the run
    for step in range(steps + 1):
        assert work(run, step, steps, 1) == pytest.approx(sum(share**2 for share in expected[:step]))


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
    """And these are of whole patches: .6 of 16 pixels is 10, of which with patches of 4 there are 8."""
    run = growing(ibot_run(), 0.6, 1.0)
    assert isinstance(run.backbone, DinoViT)
    job = prepare(run, images, CPU)
    for step, side in ((0, 8), (job.steps - 1, 16)):
        batch = job.batch(step)
        assert [view.shape[-1] for view in batch.views[:2]] == [side, side]
        for view, mask in zip(batch.views[:2], batch.masks, strict=True):
            assert mask.shape[1:] == (view.shape[-2] // run.backbone.patch, view.shape[-1] // run.backbone.patch)


@pytest.mark.usefixtures("small_transformers")
def test_a_backbone_of_one_size_is_refused_before_the_run() -> None:
    base = small_run()
    views = tuple(replace(view, size=32) for view in base.policy.views)
    base = replace(base, policy=replace(base.policy, views=views))
    fixed = replace(base, backbone=Timm("gmlp_ti16_224", image=32))
    fresh_method(fixed, CPU)
    with pytest.raises(ConfigError, match=r"not of side 16, which train\.sizes asks for: .*leave train\.sizes out"):
        fresh_method(growing(fixed, 0.5, 1.0), CPU)
    for taken in (MoCoViT("tiny", image=32, patch=8), Timm("vit_tiny_patch16_224", image=32)):
        fresh_method(growing(replace(base, backbone=taken), 0.5, 1.0), CPU)


class OfItsSide(nn.Module):
    """A module of the user's own for views of any side, whose h is longer the larger the view."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


class OneSide(OfItsSide):
    """One that says in words of its own that it takes a single side."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != 16:
            raise ValueError("input image size does not match the model")
        return super().forward(x)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (OfItsSide(), r"its h has the shape \(1, 32\), not \(1, 128\); give all views one size"),
        (OneSide(), "input image size does not match the model; give all views one size"),
    ],
)
def test_a_module_of_ones_own_that_cannot_grow_is_refused_before_the_run(
    module: nn.Module, words: str, images: Data
) -> None:
    prepare(small_run(), images, CPU, Own(backbone=module))
    with pytest.raises(ConfigError, match=rf"not of side 8, which train\.sizes asks for: {words}"):
        prepare(growing(small_run(), 0.5, 1.0), images, CPU, Own(backbone=module))


@pytest.mark.usefixtures("small_transformers")
def test_a_module_of_ones_own_has_sides_of_any_number(images: Data) -> None:
    """Not of whole patches of the transformer that the configuration names and that is not used."""
    run = growing(replace(small_run(), backbone=DinoViT("tiny", image=16, patch=4)), 0.6, 1.0)
    own = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    sides = [prepare(run, images, CPU, of).batch(0).views[0].shape[-1] for of in (Own(), Own(backbone=own))]
    assert sides == [8, 10] == [policies(run, multiple)[0].views[0].size for multiple in (4, 1)]


@pytest.mark.usefixtures("small_transformers")
def test_too_small_a_start_is_refused_with_the_least_that_works() -> None:
    check(growing(small_run(), 0.5, 1.0))
    with pytest.raises(ConfigError, match=r"train\.sizes has 0\.4, of views of 16 pixels that is 6; .* 0\.5 or more"):
        check(growing(small_run(), 0.4, 1.0))
    wide = replace(ibot_run(), backbone=DinoViT("tiny", image=16, patch=8))
    check(growing(wide, 1.0))
    with pytest.raises(ConfigError, match=r"0\.5, .* a single patch of 8, and iBOT hides some .*: set it to 1 or more"):
        check(growing(wide, 0.5, 1.0))


@pytest.mark.slow
def test_what_is_measured_has_full_size_all_along(images: Data, tmp_path: Path) -> None:
    """The sides of all batches that the networks see in evaluation mode while views are small, and while training."""
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    forward = Backbone.forward

    def watching(self: Backbone, view: Tensor) -> Any:
        seen[self.training].add(view.shape[-1])
        return forward(self, view)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "forward", watching)
        patch.setattr("resmom.runs.training.job.require_sizes", lambda *_: None)  # it tries them all
        run = growing(small_run(), 0.5)
        pretrain(replace(run, log=replace(run.log, knn_epochs=1, save_epochs=1)), images, tmp_path / "run", QUIET)
    assert seen == {True: {8}, False: {16}}


def test_every_arm_of_a_grid_is_checked_at_its_sizes(images: Data) -> None:
    """An arm that cannot train is found before the first one has, wherever it stands."""
    views = tuple(replace(view, size=32) for view in small_run().policy.views)
    fixed = replace(small_run(), backbone=Timm("gmlp_ti16_224", image=32))
    fixed = replace(fixed, policy=replace(fixed.policy, views=views))
    arms = {"a": fixed, "b": growing(fixed, 0.5)}
    cells = [Cell(arm, place, {}, 0, run) for place, (arm, run) in enumerate(arms.items())]
    require_trainable(cells[:1], images)
    with pytest.raises(ConfigError, match=r"arm b: the backbone takes views of side 32, but not of side 16"):
        require_trainable(cells, images)


@pytest.mark.usefixtures("typed")
def test_a_model_of_timms_that_is_made_for_another_size_is_told() -> None:
    run = replace(small_run(), backbone=Timm("vit_tiny_patch16_224"))
    told = r"timm's vit_tiny_patch16_224 does not take views of side 16: .*224.*--image-size 224.*backbone\.image 16"
    with pytest.raises(ConfigError, match=told):
        fresh_method(run, CPU)
    fresh_method(replace(run, backbone=Timm("vit_tiny_patch16_224", image=16)), CPU)
    mine = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    fresh_method(run, CPU, Own(backbone=mine))  # in whose place a module from Python stands


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [ResNet(18), MoCoViT("micro", image=16, patch=4), Timm("resnet10t")])
def test_grey_views_are_refused_where_no_backbone_takes_them(backbone: BackboneConfig) -> None:
    run = replace(small_run(), backbone=backbone)
    grey = replace(run, policy=replace(run.policy, mean=(0.5,), std=(0.5,)))
    with pytest.raises(ConfigError, match=r"the views have 1 channel\(s\), and of the backbones only SmallResNet"):
        fresh_method(grey, CPU)


def test_the_time_left_of_a_grid_counts_what_its_cells_cost(images: Data, tmp_path: Path) -> None:
    """A cell without growth took 20 s for its 20 steps: one of which half have a quarter of the pixels takes 12.5."""
    plain = small_run()
    grid = Grid(name="g", base=plain, arms={"a": {}, "b": {"train.sizes": [0.5, 1.0]}}, seeds=(0,))
    keep(tmp_path / RESULTS, bare_line(grid.cells()[0], images, tmp_path, 20, ()) | {"seconds": 20.0})
    first, second = standings(grid, images, tmp_path)
    assert (first.seconds, second.seconds) == (0.0, 12.5) and second.steps == 20


def test_a_list_is_given_as_one() -> None:
    assert parsed(Run(), "train.sizes", "[0.5, 1]") == [0.5, 1]
    with pytest.raises(ConfigError, match=r"train\.sizes cannot be '0\.5'; it takes a list, such as \[0\.5, 1\]"):
        parsed(Run(), "train.sizes", "0.5")


def test_configurations_carry_it_and_older_ones_do_without() -> None:
    run = growing(Run(), 0.5, 0.75, 1.0)
    assert from_json(to_json(run)) == run
    plain = to_json(Run())
    del plain["train"]["sizes"]
    assert from_json(plain) == Run()


def test_memory_is_that_of_the_largest_views(images: Data) -> None:
    whole, half, grown, shrunk = (
        kept_bytes_of(prepare(growing(small_run(), *sizes), images, CPU)).per_image
        for sizes in ((), (0.5,), (0.5, 1.0), (1.0, 0.5))
    )
    assert half < 0.5 * whole and grown == shrunk == whole


def test_the_pace_of_a_run_is_the_mean_over_its_parts(images: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a step at half the size takes 2 seconds and one at full size 8."""
    tried: list[float] = []

    def pace(job: Any, rules: Any, workers: int, seconds: float, slowest: float, *_: object) -> tuple[float, float]:
        (share,) = job.run.train.sizes
        assert job.batch(0).views[0].shape[-1] == 16 * share
        tried.append(seconds)
        return 8.0 * share**2, 1.0

    monkeypatch.setattr(trials, "_pace", pace)
    run = growing(small_run(), 0.5, 1.0, 1.0, 1.0)
    cost = trial(run, images, CPU, 0, Own(), seconds=6.0)
    assert cost.step_seconds == pytest.approx((2 + 3 * 8) / 4) and tried == [3.0, 3.0]


@pytest.mark.slow
def test_a_profile_is_of_the_largest_views(images: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resmom.runs.profile._peak", lambda device, precision: (1000.0, "nothing"))
    whole, grown, shrunk, half = (
        profile(growing(small_run(), *sizes), images, CPU, 0, 0.05).gflop_per_image
        for sizes in ((), (0.5, 1.0), (1.0, 0.5), (0.5,))
    )
    assert grown == shrunk == whole > 2 * half


def test_the_time_left_counts_what_the_rest_costs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five steps at half the size took 10 seconds: the other five will take four times as long, or so it seems.

    Two of them then take 3 seconds each: the rest will too. So it is for a process that went on from step 4.
    """
    monkeypatch.setattr("resmom.runs.training.progress.PLAIN_SECONDS", 0.0)
    now = [0.0]
    monkeypatch.setattr("resmom.runs.training.progress.time.monotonic", lambda: now[0])
    parts = stretches(growing(Run(), 0.5, 1.0), 10, 1)
    assert parts == [(5, 0.25), (10, 1.0)]
    for start, seconds in ((0, 10.0), (4, 2.0)):
        now[0] = 0.0
        with Progress(10, 5, 8, start, parts=parts) as progress:
            now[0] += seconds
            progress.update(5, {"loss": 1.0})
            now[0] += 3.0
            progress.update(6, {})
            now[0] += 3.0
            progress.update(7, {})
        told = capsys.readouterr().err.splitlines()
        assert ("  0:40 left" in told[0]) == (start == 0)  # after a single step nothing is told
        assert told[-2].endswith("  0:12 left") and told[-1].endswith("  0:09 left")


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
