"""Time and disk: what fits of made-up costs."""

import re
import shutil
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from resmom.build import Own
from resmom.config import ConfigError, Log, Run
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.errors import RunDirError, UserError
from resmom.nets.backbones import DinoViT, MoCoViT
from resmom.runs.settling import trial as trials
from resmom.runs.settling.budget import (
    LEAST_STEPS,
    MARGIN,
    MEASURED_LINES,
    MEASURING,
    TRAIN_LINE,
    disk_of,
    fit_log,
    fit_measures,
    fit_time,
    knns_of,
    measures_of,
    measuring_of,
    pack_side,
    require_disk,
    seconds_of,
    time_to_measure,
    with_steps,
    words_of_time,
)
from resmom.runs.settling.trial import trial
from resmom.train.plan import Train
from resmom.views.policy import View
from tests.data.test_folder import draw
from tests.runs.settling.priced import COST, CPU, GIB, MIB, RUN, TINY, images


def test_a_time_from_python_is_text() -> None:
    unchecked = getattr(
        seconds_of, "__wrapped__", seconds_of
    )  # tests look at the types of arguments, users' Python not
    with pytest.raises(ConfigError, match="the time is 3; write it as text: '90s'"):
        unchecked(3)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("45m", 2_700),
        ("90m", 5_400),
        ("6h", 21_600),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
        (" 6h ", 21_600),
    ],
)
def test_seconds_of(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("text", ["", "6", "h", "6 hours", "-6h", "6h and more", "1h 30m", "1:30", "6H", "nan", "1e3s"])
def test_a_time_that_is_none_is_told_with_examples(text: str) -> None:
    with pytest.raises(UserError, match=r"write it as 90s, 45m, 6h, 1h30m or 2d") as error:
        seconds_of(text)
    assert f"the time (--time) is '{text}'" in str(error.value)


@pytest.mark.parametrize("text", ["0s", "0h0m", "0.0d"])
def test_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="must be more than nothing"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3_600, "60 min"), (9_000, "2.5 h")]
)
def test_words_of_time(seconds: float, words: str) -> None:
    assert words_of_time(seconds) == words


class TestTime:
    """Steps within a time."""

    def test_the_steps_fill_the_time_and_not_more(self) -> None:
        steps = fit_time(RUN, COST, 600.0, measuring=20 * 2.0)
        assert steps == 5_210  # (570 - 5 - 22 x 2) / .1

        def taken(n: int) -> float:
            return COST.spent_seconds + n * COST.step_seconds + 22 * COST.measure_seconds

        assert taken(steps) <= MARGIN * 600 < taken(steps + 1) + 1e-9

    def test_fewer_measurements_leave_more_steps(self) -> None:
        few, many = fit_time(RUN, COST, 600.0, measuring=2.0), fit_time(RUN, COST, 600.0, measuring=40.0)
        assert few - many == pytest.approx(19 * COST.measure_seconds / COST.step_seconds, abs=1)

    @pytest.mark.parametrize(("seconds", "fit"), [(20.0, 83), (5.0, 0)])
    def test_too_short_a_time_tells_what_fits(self, seconds: float, fit: int) -> None:
        cost = replace(COST, knn_seconds=0.5, health_seconds=0.45)
        with pytest.raises(
            ConfigError, match=rf"one step takes 0.1 s.*so {fit} steps fit, .* {LEAST_STEPS} are needed"
        ):
            fit_time(RUN, cost, seconds, measuring=4 * 0.95)

    @pytest.mark.usefixtures("typed")
    def test_of_a_crowded_machine_too_short_a_time_says_what_to_try_first(self) -> None:
        """Torch's threads wait for each other, and the same run with one may take a twentieth of the time."""
        with pytest.raises(ConfigError, match=r"smaller --backbone\. But others are here: try that first$"):
            fit_time(RUN, replace(COST, crowd="others are here"), 10.0, measuring=0.0)

    @pytest.mark.usefixtures("typed")
    @pytest.mark.parametrize(
        ("run", "remedy"),
        [
            (RUN, ", a smaller --train.batch, smaller views (--image-size) or a smaller --backbone"),
            (replace(RUN, init="r18.pt"), ", a smaller --train.batch or smaller views (--image-size)"),
            (replace(RUN, init="vit.pt", backbone=MoCoViT("tiny")), " or a smaller --train.batch"),
            (
                replace(RUN, init="vit.pt", backbone=DinoViT("tiny")),
                ", a smaller --train.batch or smaller views (--image-size)",
            ),
        ],
    )
    def test_too_short_a_time_offers_what_the_run_can_change(self, run: Run, remedy: str) -> None:
        """A file of weights says which backbone it is, and that of MoCo-v3's transformer which views."""
        with pytest.raises(ConfigError, match=rf"give a time \(--time\) of 1m or more{re.escape(remedy)}$"):
            fit_time(run, COST, 5.0, measuring=8.0)

    @pytest.mark.parametrize(
        ("seconds", "expected"), [(1e5, 20), (400.0, 20), (300.0, 15), (60.0, 3), (10.0, 1), (0.1, 1)]
    )
    def test_measurements_take_a_tenth_at_most_but_one_is_made(self, seconds: float, expected: int) -> None:
        assert fit_measures(COST, time_to_measure(COST, seconds, None), most=20) == expected
        assert expected == 1 or expected * COST.measure_seconds <= MEASURING * seconds


class TestLog:
    """How often a recipe measures, each kind at its own interval: checkpoints every 100 steps, kNN every 50."""

    def test_each_kind_is_counted_at_its_own_interval(self) -> None:
        assert (measures_of(RUN, 1_000, 10), knns_of(RUN, 1_000, 10)) == (10, 20)
        assert measuring_of(RUN, COST, 1_000, 10) == 10 * 0.5 + 20 * 1.5
        never = replace(RUN, log=Log(save_epochs=0, knn_epochs=0))  # but at the end
        assert measuring_of(never, COST, 1_000, 10) == 2.0

    @pytest.mark.parametrize("log", [RUN.log, Log(save_epochs=1, knn_epochs=20), Log(save_epochs=0.01, knn_epochs=0)])
    @pytest.mark.parametrize("seconds", [1e4, 35.0, 34.9, 10.0, 2.0, -5.0])
    def test_intervals_grow_alike_until_it_fits(self, log: Log, seconds: float) -> None:
        run = replace(RUN, log=log)
        fitted = fit_log(run, COST, seconds, 1_000, 10)
        taken = measuring_of(fitted, COST, 1_000, 10)
        assert taken <= max(seconds, 2.0)  # those of the end
        if measuring_of(run, COST, 1_000, 10) <= seconds:
            assert fitted == run
        else:
            assert taken > 0.6 * seconds
        ratio = fitted.log.knn_epochs / fitted.log.save_epochs
        assert ratio == pytest.approx(log.knn_epochs / log.save_epochs)

    def test_the_trial_times_them_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(trials, "monitor", lambda job: time.sleep(0.3))
        monkeypatch.setattr(trials, "health_line", lambda job: {})
        cost = trial(TINY, images(), CPU, 1, Own(), seconds=0.0)
        assert cost.knn_seconds >= 0.3 > cost.health_seconds > 0


class TestWithSteps:
    """A recipe fitted into a time keeps its proportions."""

    def test_shorter(self) -> None:
        short = with_steps(RUN, 250, per_epoch=10)
        assert (short.train.steps, short.train.warmup_steps) == (250, 12)
        assert (short.log.save_epochs, short.log.knn_epochs, short.log.keep_epochs) == (2.5, 1.25, 6.25)
        assert replace(short, train=RUN.train, log=RUN.log) == RUN

    def test_longer_measures_no_more_seldom(self) -> None:
        long = with_steps(RUN, 4_000, per_epoch=10)
        assert (long.train.steps, long.train.warmup_steps) == (4_000, 200) and long.log == RUN.log

    def test_of_a_recipe_in_epochs(self) -> None:
        run = replace(RUN, train=Train(epochs=100, batch=128, warmup_epochs=10))
        short = with_steps(run, 250, per_epoch=10)
        assert (short.train.steps, short.train.warmup_steps, short.train.epochs) == (250, 25, 100)
        assert short.log.save_epochs == 2.5


class TestDisk:
    """What a run folder will take."""

    def test_measurements_and_kept_checkpoints_are_counted(self) -> None:
        assert measures_of(RUN, 1_000, per_epoch=10) == 10
        assert measures_of(replace(RUN, log=Log(save_epochs=0)), 1_000, per_epoch=10) == 1
        # Of 1,000 steps one checkpoint is kept every 250; the last one comes on top, the backbones, and a line of
        # training every 10 steps.
        text = 102 * TRAIN_LINE + 11 * MEASURED_LINES
        assert disk_of(RUN, COST, 1_000, per_epoch=10) == (1 + 4) * 50 * MIB + 6 * MIB + text
        none = replace(RUN, log=Log(keep_epochs=0, save_epochs=0, line_steps=0))
        assert disk_of(none, COST, 1_000, per_epoch=10) == 56 * MIB + 2 * TRAIN_LINE + 2 * MEASURED_LINES

    @pytest.mark.usefixtures("typed")
    def test_a_full_disk_is_told_before_anything_is_written(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        asked: list[Path] = []
        usage = namedtuple("usage", "total used free")

        def made_up(place: Path) -> tuple[int, int, int]:
            asked.append(Path(place))
            return usage(4 * GIB, 3 * GIB, GIB)

        monkeypatch.setattr(shutil, "disk_usage", made_up)
        out = tmp_path / "not" / "there" / "yet"
        require_disk(out, GIB)
        with pytest.raises(
            RunDirError, match=r"yet will need about 1\.5 GiB, and its disk has 1\.0 GiB free; .*keep-ep"
        ):
            require_disk(out, 3 * GIB // 2)
        assert asked == [tmp_path, tmp_path] and list(tmp_path.iterdir()) == []

    def test_a_relative_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        require_disk(Path("runs/a"), 1)


class TestPackSide:
    """When packing is offered, and to which side."""

    @pytest.fixture
    def photos(self, tmp_path: Path) -> Data:
        for number in range(4):
            draw(tmp_path / f"{number}.png", number, 64 + number, 90)
        return open_data(tmp_path)

    @pytest.mark.parametrize(("view", "share", "side"), [(16, 0.5, 32), (16, 0.1, 0), (17, 0.5, 0)])
    def test_large_images_that_are_dear_to_decode(self, photos: Data, view: int, share: float, side: int) -> None:
        run = replace(Run(), policy=replace(Run().policy, views=(View(size=view), View(size=8))))
        assert pack_side(run, replace(COST, decode_share=share), photos) == side

    def test_arrays_are_decoded_already(self) -> None:
        run = replace(Run(), policy=replace(Run().policy, views=(View(size=2), View(size=2))))
        assert pack_side(run, replace(COST, decode_share=0.9), images()) == 0
