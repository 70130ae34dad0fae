"""A run that is settled within a time, with made-up costs: its steps, and how often it is measured."""

import re
from dataclasses import replace

import pytest

from resmom.build import Own
from resmom.config import ConfigError, Run
from resmom.data.source import Data
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import ResNet
from resmom.recipes.automatic import Choice
from resmom.recipes.pace import MEASURES
from resmom.runs.settling import budget, settle
from resmom.runs.settling.budget import LEAST_STEPS, MARGIN, MEASURING
from resmom.runs.settling.memory import TRANSIENT
from resmom.runs.settling.settle import Settled
from resmom.runs.settling.trial import Trial
from resmom.schedule import every
from resmom.train.plan import Train
from tests.halflife import half_life
from tests.runs.settling.derived import COST, Settle, reasons, same, set_memory, tiny, train_with


class TestTime:
    """A budget sets the steps."""

    @pytest.mark.parametrize("seconds", [300.0, 3_600.0])
    def test_the_steps_fit_and_the_rest_follows(self, settled: Settle, seconds: float) -> None:
        found = settled(time=seconds, backbone=ResNet(18))
        train = found.run.train
        made = round(train.steps * train.batch / 5_000 / found.run.log.save_epochs)
        assert made == min(MEASURES, int(MEASURING * seconds / COST.measure_seconds))
        taken = COST.spent_seconds + train.steps * COST.step_seconds + (made + 2) * COST.measure_seconds
        assert taken == pytest.approx(MARGIN * seconds, abs=2 * COST.measure_seconds)
        assert train.warmup_steps == min(1_000, train.steps // 20)
        assert half_life(found.run.ema.momentum) == pytest.approx(max(20, train.steps / 100))
        assert "what fits into the given time" in reasons(found)["train.steps"]

    @pytest.mark.usefixtures("typed")
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

    @pytest.mark.usefixtures("typed")
    @pytest.mark.parametrize("steps", [0, 30])
    @pytest.mark.parametrize("base", [None, replace(tiny(Run()), train=Train(epochs=20, batch=50, warmup_epochs=0))])
    @pytest.mark.parametrize("knn", [0.0, 0.5, 30.0])
    @pytest.mark.parametrize("step", [0.01, 1.0, 7.0, 20.0])
    def test_a_longer_time_that_is_named_is_enough(
        self, settled: Settle, monkeypatch: pytest.MonkeyPatch, step: float, knn: float, base: Run | None, steps: int
    ) -> None:
        """Though there the trial is longer too, and more measurements are planned."""

        def made_up(run: Run, data: Data, device: object, workers: int, own: Own, seconds: float, *_: object) -> Trial:
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
