"""From what was asked to a complete run, with made-up costs: what wins, what follows, what fits time and memory."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from resmom.build import Own
from resmom.checkpoint import save_checkpoint
from resmom.config import ConfigError, Run, part_to_json, to_json
from resmom.data.packing import pack
from resmom.data.source import Data
from resmom.errors import RunDirError
from resmom.export.weights import About, save_weights
from resmom.methods.byol import Byol
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, build_backbone
from resmom.recipes.automatic import MEASURES, Choice, automatic, momentum_of
from resmom.recipes.side import with_side
from resmom.runs.machine import Machine
from resmom.runs.options import changed
from resmom.runs.pretrain import pretrain
from resmom.runs.settling import budget, estimate, memory, settle
from resmom.runs.settling.budget import LEAST_STEPS, MARGIN, MEASURING
from resmom.runs.settling.facts import gather
from resmom.runs.settling.memory import MEMORY, TRANSIENT, Kept
from resmom.runs.settling.settle import Ask, Asked, Settled
from resmom.runs.settling.trial import Trial, trial
from resmom.schedule import every
from resmom.train.optim import AdamW, Sgd
from resmom.train.plan import Train
from tests.data.test_folder import draw
from tests.halflife import half_life
from tests.runs.settling.derived import CPU, images, tiny, train_with

MIB = 2**20
COST = Trial(
    0.1, 1.5, 0.5, 5.0, kept=Kept(10 * MIB), weight_bytes=100 * MIB, checkpoint_bytes=5 * MIB, backbone_bytes=MIB
)


def same(run: Run) -> Run:
    return run


Settle = Callable[..., Settled]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that were tried; each of them costs `COST`."""
    runs: list[Run] = []

    def made_up(
        run: Run, data: Data, device: torch.device, workers: int, own: Own, seconds: float, slowest: float
    ) -> Trial:
        runs.append(run)
        return replace(COST, in_parts=own.method is None and run.method.traits.micro_batches)

    monkeypatch.setattr(settle, "trial", made_up)
    return runs


@pytest.fixture
def settled(tried: list[Run], tmp_path: Path) -> Settle:
    """Settle with made-up costs."""

    def call(
        ask: Ask = same,
        n: int = 5_000,
        base: Run | None = None,
        time: float | None = None,
        backbone: BackboneConfig | None = None,
        own: Own | None = None,
        init: str = "",
        priced: bool = False,
    ) -> Settled:
        data = images(n, side=32 if n < 5_000 else 16)
        asked = Asked(base, ask, init, time, backbone, priced)
        return settle.settle(asked, data, tmp_path / "run", CPU, 1, own or Own())

    return call


def set_memory(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """Just enough free memory for so many images at once, at `COST`."""
    need = held * COST.kept.per_image * TRANSIENT + COST.weight_bytes
    monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)


def reasons(found: Settled) -> dict[str, str]:
    return {choice.option: choice.reason for choice in found.choices}


class TestDerived:
    """Nothing asked but data and place."""

    def test_everything_is_derived_and_estimated(self, settled: Settle, tried: list[Run]) -> None:
        found = settled()
        train = found.run.train
        assert (train.batch, train.steps, train.micro_batch) == (128, 7_813, 0)
        assert len(found.choices) == 11 and len(tried) == 1
        # 7,813 steps at .1 s and 22 measurements at 2 s; the last checkpoint, six kept ones, backbones, lines.
        assert found.estimate.words == (
            "about 14 min (0.1 s a step on this machine now), 36 MiB of disk with six kept checkpoints, 2148 MiB of "
            "memory for a step"
        )

    def test_where_the_disk_has_little_room_fewer_checkpoints_are_kept(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for free, words in ((199 * MIB, "with three kept checkpoints"), (49 * MIB, "with no kept checkpoints")):
            monkeypatch.setattr(budget, "free_disk", lambda place, free=free: free)
            monkeypatch.setattr(estimate, "require_disk", lambda *_: None)
            assert words in settled().estimate.words  # a tenth of what is free, at 5 MiB each

    def test_dear_measurements_are_made_less_often(self, settled: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
        few = replace(COST, knn_seconds=15.0, health_seconds=5.0)
        monkeypatch.setattr(settle, "trial", lambda *arguments: few)
        run = settled().run
        whole = run.train.steps * run.train.batch / 5_000
        made = round(whole / run.log.save_epochs)
        assert made == 3 < MEASURES  # a tenth of 781 s
        assert made * few.measure_seconds <= MEASURING * run.train.steps * few.step_seconds

    def test_a_full_disk(self, settled: Settle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        full = replace(COST, checkpoint_bytes=2**60)
        monkeypatch.setattr(settle, "trial", lambda *arguments: full)
        with pytest.raises(RunDirError, match="GiB free; free some"):
            settled()
        assert list(tmp_path.iterdir()) == []


class TestAsked:
    """What the user gives wins, and what depends on it follows."""

    def test_single_settings(self, settled: Settle) -> None:
        derived = settled()
        found = settled(lambda run: replace(run, optim=Sgd(lr=1.5), residual=replace(run.residual, weight=1.0)))
        assert (found.run.optim.lr, found.run.residual.weight) == (1.5, 1.0)
        assert replace(found.run, optim=derived.run.optim, residual=derived.run.residual) == derived.run
        told = {choice.option: choice for choice in found.choices}
        assert told["optim.lr"] == Choice("optim.lr", "1.5", "asked for; derived: 0.3")
        assert told["residual.weight"] == Choice("residual.weight", "1", "asked for; derived: 0")
        kept = set(reasons(derived)) - {"optim.lr", "residual.weight"}
        assert all(reasons(found)[option] == reasons(derived)[option] for option in kept)

    def test_a_longer_run_has_a_longer_memory(self, settled: Settle) -> None:
        found = settled(train_with(steps=50_000)).run
        assert (found.train.steps, found.train.warmup_steps) == (50_000, 1_000)
        assert half_life(found.ema.momentum) == pytest.approx(500)

    @pytest.mark.parametrize(
        ("steps", "told"), [(2, "0.05 of a pass"), (30, "0.8 of a pass"), (40, "1 pass"), (100, "3 passes")]
    )
    def test_a_length_is_told_in_passes(self, settled: Settle, steps: int, told: str) -> None:
        (length,) = (c.value for c in settled(train_with(steps=steps)).choices if c.option == "train.steps")
        assert length == f"{steps} ({told} over the images)"  # 5,000 images in batches of 128

    def test_a_shorter_run_than_the_derived_warm_up(self, settled: Settle) -> None:
        found = settled(train_with(steps=200))
        assert (found.run.train.steps, found.run.train.warmup_steps) == (200, 10)
        assert half_life(found.run.ema.momentum) == pytest.approx(20)
        assert reasons(found)["train.steps"].startswith("asked for; derived: ")
        told = next(choice.value for choice in found.choices if choice.option == "train.steps")
        assert told == "200 (5 passes over the images)"
        # As often as in a longer run, where the measurements are not too dear: here a tenth of 20 s is one.
        assert found.run.log.save_epochs == pytest.approx(200 / (5_000 // 128))

    def test_a_batch_of_ones_own_sees_as_many_images(self, settled: Settle) -> None:
        found = settled(train_with(batch=32))
        assert found.run.train.batch == 32 and found.run.train.steps == 1_000_000 // 32
        assert reasons(found)["train.batch"].startswith("asked for; derived: ")
        assert "million images" in reasons(found)["train.steps"]

    def test_a_length_in_passes(self, settled: Settle) -> None:
        found = settled(train_with(epochs=10))
        assert found.run.train.steps == 10 * (5_000 // 128) and found.run.train.warmup_steps == 19
        # Also where it is what a run in epochs has anyway.
        assert settled(train_with(epochs=100)).run.train.steps == 100 * (5_000 // 128)
        assert settled(train_with(epochs=10, batch=50)).run.train.steps == 10 * 100

    def test_a_whole_train_in_epochs(self, settled: Settle) -> None:
        found = settled(lambda run: replace(run, train=Train(epochs=50, batch=64, warmup_epochs=2)))
        assert found.run.train == Train(epochs=50, batch=64, warmup_epochs=2)
        assert half_life(found.run.ema.momentum) == pytest.approx(50 * 78 / 100)

    def test_a_relative_change_is_made_once(self, settled: Settle) -> None:
        def change(run: Run) -> Run:
            train = replace(run.train, batch=2 * run.train.batch, steps=run.train.steps // 2)
            return replace(run, train=train, optim=Sgd(lr=3 * run.optim.lr))

        found = settled(change).run
        assert (found.train.batch, found.train.steps) == (256, 7_813 // 2)
        assert found.optim.lr == pytest.approx(0.9)
        assert half_life(found.ema.momentum) == pytest.approx(39.06)

    def test_warm_up_and_momentum_of_ones_own(self, settled: Settle) -> None:
        found = settled(
            lambda run: replace(
                run,
                train=replace(run.train, steps=300, warmup_steps=299),
                ema=replace(run.ema, momentum=0.9),
            )
        )
        assert (found.run.train.steps, found.run.train.warmup_steps, found.run.ema.momentum) == (300, 299, 0.9)
        derived = momentum_of(20)
        assert reasons(found)["ema.momentum"] == f"asked for; derived: {derived:g}"
        assert reasons(found)["train.warmup_steps"] == "asked for; derived: 15"
        assert reasons(found)["train.steps"].startswith("asked for; derived: ")

    def test_a_backbone_brings_its_heads_and_optimiser(self, settled: Settle) -> None:
        found = settled(backbone=MoCoViT("tiny", image=32, patch=8))
        assert isinstance(found.run.optim, AdamW)
        assert [view.size for view in found.run.policy.views] == [32, 32]
        assert reasons(found)["backbone"] == "the one asked for; image and patch by the size of the views"

    def test_modules_of_ones_own_are_told_as_such(self, settled: Settle) -> None:
        body = nn.Sequential(nn.Flatten(), nn.LazyLinear(8))
        found = settled(own=Own(backbone=body))
        assert [c for c in found.choices if c.option == "backbone"] == [
            Choice("backbone", "your own", "given from Python")
        ]
        assert reasons(found)["method"].startswith("contrastive")

    def test_another_method(self, settled: Settle) -> None:
        found = settled(lambda run: replace(run, method=Byol(8, 4, 8)))
        assert found.run.method == Byol(8, 4, 8)
        (told,) = [choice for choice in found.choices if choice.option.startswith("method")]
        assert told == Choice("method", "Byol", "asked for; derived: MoCo-v3, temperature 0.2, heads 512/128")

    def test_what_cannot_be_used_is_refused_before_a_trial(self, settled: Settle, tried: list[Run]) -> None:
        with pytest.raises(ConfigError, match=r"optim\.lr is -1"):
            settled(lambda run: replace(run, optim=Sgd(lr=-1.0)))
        assert tried == []


class TestTime:
    """A budget sets the steps."""

    @pytest.mark.parametrize("seconds", [300.0, 3_600.0])
    def test_the_steps_fit_and_the_rest_follows(self, settled: Settle, seconds: float) -> None:
        found = settled(time=seconds)
        train = found.run.train
        made = round(train.steps * train.batch / 5_000 / found.run.log.save_epochs)
        assert made == min(MEASURES, int(MEASURING * seconds / COST.measure_seconds))
        taken = COST.spent_seconds + train.steps * COST.step_seconds + (made + 2) * COST.measure_seconds
        assert taken == pytest.approx(MARGIN * seconds, abs=2 * COST.measure_seconds)
        assert train.warmup_steps == min(1_000, train.steps // 20)
        assert half_life(found.run.ema.momentum) == pytest.approx(max(20, train.steps / 100))
        assert "what fits into the given time" in reasons(found)["train.steps"]

    def test_too_short(self, settled: Settle) -> None:
        with pytest.raises(
            ConfigError, match=r"the time is too short.*at least 100 are needed; give a time \(--time\) of 1m"
        ):
            settled(time=20.0)

    @pytest.mark.slow
    @pytest.mark.parametrize("steps", [3, 123])
    def test_a_shorter_length_of_ones_own_is_kept(self, settled: Settle, steps: int) -> None:
        """Also one below the least that a length is derived for, and where the time is too short for that least."""
        for seconds in (300.0, 25.0 if steps < LEAST_STEPS else 60.0):
            found = settled(train_with(steps=steps), time=seconds)
            assert found.run.train.steps == steps
        assert reasons(settled(train_with(steps=steps), time=300.0))["train.steps"].startswith("asked for; derived: ")

    @pytest.mark.slow
    @pytest.mark.parametrize("change", [{"steps": 100_000}, {"epochs": 2_000}, {"steps": 9_000, "warmup_steps": 8_000}])
    def test_a_longer_one_is_cut_to_the_time(self, settled: Settle, change: dict[str, int]) -> None:
        free, found = settled(time=300.0), settled(train_with(**change), time=300.0)
        assert found.run.train.steps == free.run.train.steps
        assert found.run.ema == free.run.ema and found.run.log == free.run.log
        wish = change.get("steps", 2_000 * (5_000 // 128))
        assert reasons(found)["train.steps"].endswith(f"measured just now; asked for: {wish}")

    def test_a_whole_train_in_epochs_is_cut_too(self, settled: Settle) -> None:
        free = settled(train_with(batch=64), time=300.0).run.train
        found = settled(lambda run: replace(run, train=Train(epochs=5_000, batch=64, warmup_epochs=2)), time=300.0)
        assert (found.run.train.steps, found.run.train.warmup_steps) == (free.steps, free.warmup_steps)

    def test_a_time_too_short_for_what_was_asked(self, settled: Settle) -> None:
        with pytest.raises(ConfigError, match=r"so 0 steps fit, and at least 3 are needed"):
            settled(train_with(steps=3), time=10.0)

    def test_the_length_of_a_recipe_is_kept_only_where_it_was_asked_for(self, settled: Settle) -> None:
        base = replace(tiny(Run()), train=Train(epochs=20, batch=50, warmup_epochs=0))
        assert settled(base=base, time=600.0).run.train.steps > 20 * 100  # stretched
        for change in ({"epochs": 7}, {"steps": 3}, {"steps": 1_500}):
            found = settled(train_with(**change), base=base, time=600.0)
            assert found.run.train == replace(base.train, **change)
            assert "fit into the time" not in found.estimate.words
        found = settled(train_with(epochs=1_000), base=base, time=600.0)
        steps = found.run.train.steps
        assert 5_000 < steps < 5_100
        assert found.estimate.words.endswith(f"; {steps} steps fit into the time, of 100000 that were asked for")

    def test_a_recipe_that_becomes_longer_is_measured_in_a_tenth_of_the_time_too(self, settled: Settle) -> None:
        base = replace(tiny(Run()), train=Train(epochs=2, batch=50, warmup_epochs=0))
        base = replace(base, log=replace(base.log, knn_epochs=1))  # a measurement every 10 s
        found = settled(base=base, time=600.0).run
        made = found.train.steps / every(found.log.save_epochs, 100)
        assert made == pytest.approx(MEASURING * 600 / COST.measure_seconds, rel=0.2)

    def test_a_rare_knn_of_a_recipe_is_not_counted_at_every_checkpoint(self, settled: Settle) -> None:
        base = replace(tiny(Run()), train=Train(epochs=60, batch=50, warmup_epochs=0))
        base = replace(base, log=replace(base.log, save_epochs=1, knn_epochs=20))
        found = settled(train_with(epochs=60), base=base, time=1_200.0)  # 60 x .5 s and 3 x 1.5 s are less than 60 s
        assert found.run.log == base.log
        # 600 s of steps, those measurements, and those of start and end.
        assert found.estimate.words.startswith("about 11 min")
        assert settled(base=base, time=800.0).run.log == base.log

    @pytest.mark.parametrize("base", [None, replace(tiny(Run()), train=Train(epochs=20, batch=50, warmup_epochs=0))])
    def test_of_a_shorter_length_of_ones_own_measurements_take_a_tenth(self, settled: Settle, base: Run | None) -> None:
        """Of the run's time, not of all that was given."""
        found = settled(train_with(steps=300), base=base, time=3_600.0).run
        per_epoch = 5_000 // found.train.batch
        taken = budget.measuring_of(found, COST, 300, per_epoch)
        assert found.train.steps == 300 and taken <= MEASURING * 300 * COST.step_seconds

    @pytest.mark.parametrize("steps", [0, 30])
    @pytest.mark.parametrize("base", [None, replace(tiny(Run()), train=Train(epochs=20, batch=50, warmup_epochs=0))])
    @pytest.mark.parametrize("knn", [0.0, 0.5, 30.0])
    @pytest.mark.parametrize("step", [0.01, 1.0, 7.0, 20.0])
    def test_a_longer_time_that_is_named_is_enough(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch, step: float, knn: float, base: Run | None, steps: int
    ) -> None:
        """Though there the trial is longer too, and more measurements are planned."""

        def made_up(
            run: Run, data: Data, device: torch.device, workers: int, own: Own, seconds: float, slowest: float
        ) -> Trial:
            spent = 3 + seconds + 0.9 * step
            return replace(COST, step_seconds=step, knn_seconds=knn, health_seconds=0.3, spent_seconds=spent)

        monkeypatch.setattr(settle, "trial", made_up)
        change = train_with(steps=steps) if steps else same
        for time in (3.0, 60.0, 100.0, 120.0, 1_000.0):
            try:
                settled(change, n=300, base=base, time=time)
            except ConfigError as error:
                named = re.search(r"a time \(--time\) of (\d+)m or more", str(error))
                assert named and 60 * int(named[1]) > time
                settled(change, n=300, base=base, time=60.0 * int(named[1]))

    def test_where_time_is_short_fewer_measurements_are_made_before_it_is_refused(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cost = replace(COST, step_seconds=1.0, knn_seconds=0.2, health_seconds=0.3, spent_seconds=6.0)
        monkeypatch.setattr(settle, "trial", lambda *_: cost)
        assert settled(time=120.0).run.train.steps == 101  # and 12 measurements, where a tenth of the time has 24
        assert settled(time=114.0).run.train.steps == 100  # and one

    def test_a_recipe_whose_batch_memory_would_not_hold_is_cut_into_parts(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        base = replace(tiny(Run()), train=Train(epochs=2, batch=50, warmup_epochs=0))
        set_memory(monkeypatch, 20)  # of 50, 25 are too many, 12 are not
        found = settled(base=base, time=600.0)
        assert (found.run.train.batch, found.run.train.micro_batch) == (50, 12)
        assert found.choices == (Choice("train.micro_batch", "12", "as many images as the memory holds at once"),)
        assert f"{12 * 10 * TRANSIENT + 100:.0f} MiB of memory for a step" in found.estimate.words
        smaller = replace(base, train=replace(base.train, micro_batch=10))
        assert settled(base=smaller, time=600.0).run.train.micro_batch == 10
        whole = replace(base, method=VICReg(hidden=16, out=8))  # its statistics are of the whole batch
        assert settled(base=whole, time=600.0).run.train.micro_batch == 0
        own = Own(method=lambda backbone: pytest.fail("the trial is made up"))  # that does not say it may be cut
        assert settled(base=base, time=600.0, own=own).run.train.micro_batch == 0

    def test_a_recipe_keeps_everything_but_its_length(self, settled: Settle) -> None:
        base = replace(tiny(Run()), recipe="toy", train=Train(epochs=1_000, batch=50, warmup_epochs=100))
        assert settled(base=base) == Settled(base, ())
        found = settled(base=base, time=600.0)
        # A thousand checkpoints at .5 s and a kNN at 1.5 s with every fifth are far more than a tenth of the time: 75
        # and 15 of them are not.
        assert found.run.train.steps == int((MARGIN * 600 - 5 - 75 * 0.5 - 15 * 1.5 - 2 * 2) / 0.1)
        assert found.run.train.warmup_steps == round(found.run.train.steps / 10)
        made = found.run.train.steps / every(found.run.log.save_epochs, 100)
        assert made == pytest.approx(75, abs=0.5)
        assert found.run.log.knn_epochs == pytest.approx(5 * found.run.log.save_epochs)
        assert found.choices == () and found.estimate.words.startswith("about 9 min")
        assert found.estimate.words.endswith("steps fit into the time, of 100000 that were planned")
        assert replace(found.run, train=base.train, log=base.log) == base


class TestMemory:
    """A batch that does not fit."""

    @pytest.mark.parametrize(("held", "batch"), [(127, 64), (64, 64), (40, 32)])
    def test_is_halved_and_the_run_gets_longer(
        self, settled: Settle, tried: list[Run], monkeypatch: pytest.MonkeyPatch, held: int, batch: int
    ) -> None:
        set_memory(monkeypatch, held)
        found = settled()
        assert (found.run.train.batch, found.run.train.micro_batch) == (batch, 0)
        assert found.run.train.steps == 1_000_000 // batch
        assert "memory" in reasons(found)["train.batch"]
        assert [run.train.batch for run in tried] == [128, batch]  # what runs was tried
        assert f"{batch * 10 * TRANSIENT + 100:.0f} MiB of memory" in found.estimate.words

    def test_below_32_the_graph_is_cut(
        self, settled: Settle, tried: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_memory(monkeypatch, 20)
        found = settled()
        assert (found.run.train.batch, found.run.train.micro_batch) == (32, 16)
        assert [(run.train.batch, run.train.micro_batch) for run in tried] == [(128, 0), (32, 16)]
        assert f"{16 * 10 * TRANSIENT + 100:.0f} MiB of memory" in found.estimate.words

    @pytest.mark.parametrize("seconds", [None, 600.0])
    def test_a_batch_of_ones_own_is_kept_and_cut(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch, seconds: float | None
    ) -> None:
        set_memory(monkeypatch, 64)
        found = settled(train_with(batch=256), time=seconds)
        assert (found.run.train.batch, found.run.train.micro_batch) == (256, 64)
        assert reasons(found)["train.batch"].startswith("asked for; derived: ")
        own = Own(method=lambda backbone: pytest.fail("the trial is made up"))  # that does not say it may be cut
        whole = settled(train_with(batch=256), time=seconds, own=own).run.train
        assert (whole.batch, whole.micro_batch) == (256, 0)

    def test_micro_batches_of_ones_own_that_fit_are_left_alone(
        self, settled: Settle, tried: list[Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_memory(monkeypatch, 40)
        found = settled(train_with(micro_batch=16))
        assert (found.run.train.batch, found.run.train.micro_batch, len(tried)) == (128, 16, 1)

    def test_not_even_four(self, settled: Settle, monkeypatch: pytest.MonkeyPatch) -> None:
        set_memory(monkeypatch, 3)
        with pytest.raises(ConfigError, match="does not fit into memory"):
            settled()

    @pytest.mark.slow
    def test_really_tried(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A first trial tells the needs of a tiny network; with less than that the batch is halved."""
        monkeypatch.setattr(settle, "GLANCE", 0.0)

        def ask(run: Run) -> Run:
            return replace(tiny(run), train=run.train)

        data = images(300)
        run = ask(automatic(gather(data, CPU)).run)
        assert run.train.batch == 64
        cost = trial(run, data, CPU, 1, Own(), 0.0)
        need = 40 * cost.kept.per_image * TRANSIENT + cost.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY))
        found = settle.settle(Asked(change=ask), data, tmp_path / "run", CPU, 1, Own())
        assert (found.run.train.batch, found.run.train.micro_batch) == (32, 0)


@pytest.mark.slow
def test_a_file_of_another_backbone_is_recognised(settled: Settle, tmp_path: Path) -> None:
    """torchvision's ResNet-18 as torch saves it: no word of ours in the file."""
    from torchvision.models import resnet18

    with torch.random.fork_rng(devices=[]):
        torch.save(resnet18().state_dict(), tmp_path / "r18.pt")
    found = settled(n=100, init=str(tmp_path / "r18.pt"))
    assert found.run.backbone == ResNet(18) and found.run.optim == Sgd(lr=0.03)


class TestSize:
    """The side of the views, and what follows from it."""

    def exported(self, folder: Path, side: int) -> str:
        """A file as `resmom export` writes it, of a run that saw views of that side."""
        config = SmallResNet((4, 8))
        about = About("student", part_to_json(config) | {"kind": "SmallResNet"}, 100, (0.5,) * 3, (0.2,) * 3, side)
        weights = {name: value.clone() for name, value in build_backbone(config).body.state_dict().items()}
        save_weights(folder / "student.safetensors", weights, about)
        return str(folder / "student.safetensors")

    @pytest.mark.parametrize("side", [24, 64, 72])
    def test_follows_what_a_file_says_of_itself(self, settled: Settle, tmp_path: Path, side: int) -> None:
        found = settled(n=100, init=self.exported(tmp_path, side))  # images of 32 pixels
        assert [view.size for view in found.run.policy.views] == [side, side]
        assert found.run.policy.views[0].blur == (0.5 if side > 64 else 0.0)
        assert reasons(found)["image_size"].endswith("was trained at, as the file says")
        assert found.run.policy.mean == (0.5,) * 3 and found.run.backbone == SmallResNet((4, 8))

    def test_follows_a_checkpoint_too(self, settled: Settle, tmp_path: Path) -> None:
        run = with_side(tiny(automatic(gather(images(), CPU)).run), 40)
        assert run.policy.views[0].size == 40
        save_checkpoint(tmp_path / "last.pt", {"run": to_json(run)})
        assert settled(n=100, init=str(tmp_path / "last.pt")).run.policy.views[1].size == 40

    def test_the_users_own_goes_before_the_files(self, settled: Settle, tmp_path: Path) -> None:
        found = settled(lambda run: with_side(run, 96), n=100, init=self.exported(tmp_path, 64))
        assert [view.size for view in found.run.policy.views] == [96, 96]
        assert found.run.policy.views[0].blur == 0.5  # which follows
        assert reasons(found)["image_size"] == "asked for; derived: 64"

    def test_a_relative_change_is_made_once(self, settled: Settle) -> None:
        found = settled(lambda run: with_side(run, 3 * run.policy.views[0].size), n=100)
        assert [view.size for view in found.run.policy.views] == [96, 96]

    def test_of_one_view_alone_is_refused(self, settled: Settle) -> None:
        with pytest.raises(ConfigError, match=r"sides of 24 and 32 pixels.*--image-size"):
            settled(lambda run: changed(run, {"policy.views.0.size": 24}), n=100)

    def test_of_a_transformer(self, settled: Settle) -> None:
        found = settled(lambda run: with_side(run, 48), n=100, backbone=MoCoViT("tiny"))
        assert found.run.backbone == MoCoViT("tiny", image=48, patch=4)
        assert reasons(found)["image_size"] == "asked for; derived: 32"

    @pytest.mark.parametrize("n", [100, 5_000])
    def test_of_a_transformer_by_name_is_the_images(self, settled: Settle, n: int) -> None:
        found = settled(n=n, backbone=DinoViT("tiny"))
        assert found.run.backbone == DinoViT("tiny", image=32, patch=4)
        assert {view.size for view in found.run.policy.views} == {32}
        assert reasons(found)["backbone"] == "the one asked for; image and patch by the size of the views"

    def test_of_a_transformer_by_name_follows_what_is_asked(self, settled: Settle) -> None:
        found = settled(lambda run: with_side(run, 96), n=100, backbone=MoCoViT("tiny"))
        assert found.run.backbone == MoCoViT("tiny", image=96, patch=8)
        own = settled(lambda run: changed(run, {"backbone.patch": 16}), n=100, backbone=MoCoViT("tiny"))
        assert own.run.backbone == MoCoViT("tiny", image=32, patch=16)
        assert reasons(own)["backbone.patch"] == "asked for; derived: 4"

    def test_of_a_transformer_with_weights_is_its_own(self, settled: Settle, tmp_path: Path) -> None:
        found = settled(n=100, backbone=MoCoViT("tiny", 64), init=self.exported(tmp_path, 48))
        assert found.run.backbone == MoCoViT("tiny", 64)


@pytest.mark.slow
def test_packing_is_told_where_it_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command that would do it, before the run starts."""
    for number in range(80):
        draw(tmp_path / f"photos/{number}.png", number, 130, 140)
    monkeypatch.setattr(settle, "trial", lambda *_: replace(COST, decode_share=0.5))
    monkeypatch.setattr("resmom.runs.pretrain._work", stop)
    with pytest.raises(Stopped):
        pretrain(Asked(change=tiny), str(tmp_path / "photos"), tmp_path / "run", Machine(device="cpu"))
    told = capsys.readouterr().err
    photos = (tmp_path / "photos").resolve()
    assert f"resmom data pack {photos} --out {photos}.pack --side 32" in told and f"--data {photos}.pack" in told
    assert f"--data {photos}@shorter-side=32\n" in told
    pack(photos, tmp_path / "pack")
    with pytest.raises(Stopped):
        pretrain(Asked(change=tiny), str(tmp_path / "pack"), tmp_path / "run", Machine(device="cpu"))
    told = capsys.readouterr().err
    assert "data pack" in told and "@shorter-side" not in told  # a pack's images have the sizes they were packed with


class Stopped(Exception):
    """The run would start here."""


def stop(*_: object) -> None:
    raise Stopped


def test_weights_to_start_from_are_those_of_a_recipe_too(settled: Settle) -> None:
    assert settled(base=tiny(Run()), init="there.safetensors").run.init == "there.safetensors"


@pytest.mark.parametrize("base", [None, tiny(Run())], ids=["derived", "a recipe"])
def test_several_processes_do_not_derive(settled: Settle, monkeypatch: pytest.MonkeyPatch, base: Run | None) -> None:
    monkeypatch.setattr(settle.dist, "world", lambda: 2)
    with pytest.raises(ConfigError, match="give a recipe without --time"):
        settled(base=base, time=3600.0)
    if base is not None:
        assert settled(base=base).run == base
        with pytest.raises(ConfigError, match="estimate"):
            settled(base=base, priced=True)


def test_the_cost_of_a_recipe_is_estimated_where_it_is_asked_for(tried: list[Run], settled: Settle) -> None:
    base = tiny(Run())
    assert settled(base=base).estimate is None and not tried
    found = settled(base=base, priced=True)
    assert found.run == base and found.choices == ()
    assert found.estimate.seconds > 0 and len(tried) == 1
