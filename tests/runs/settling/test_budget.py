"""Time, memory and disk: what fits of made-up costs, and the costs of one tiny run that is really tried."""

import re
import shutil
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resmom.build import Own
from resmom.config import ConfigError, Log, Run
from resmom.data.open import open_data
from resmom.data.source import ArraySource, Data, DataError
from resmom.errors import RunDirError, UserError
from resmom.methodconfig import MethodConfig
from resmom.methods.barlow import BarlowTwins
from resmom.methods.dino import Dino
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.msf import MSF
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import DinoViT, SmallResNet
from resmom.runs import limits
from resmom.runs.job import fresh_method, prepare
from resmom.runs.pretrain import pretrain
from resmom.runs.settling import memory
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
    kept_of,
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
from resmom.runs.settling.memory import MEMORY, TRANSIENT, Kept, fit_batch, kept_bytes_of
from resmom.runs.settling.trial import Trial, trial
from resmom.train.optim import AdamW, Sgd
from resmom.train.plan import Plan, Train
from resmom.train.state import State
from resmom.train.step import Rules
from resmom.types import Batch
from resmom.views.policy import Policy, View
from tests.data.test_folder import draw
from tests.runs.settling.derived import QUIET

CPU = torch.device("cpu")
MIB, GIB = 2**20, 2**30
COST = Trial(
    step_seconds=0.1,
    knn_seconds=1.5,
    health_seconds=0.5,
    spent_seconds=5.0,
    kept=Kept(10 * MIB),
    weight_bytes=100 * MIB,
    checkpoint_bytes=50 * MIB,
    backbone_bytes=6 * MIB,
)
VIEW = View(size=16, scale=(0.5, 1.0))
RUN = Run(
    method=MoCoV3(hidden=8, out=4),
    backbone=SmallResNet((4, 8)),
    policy=Policy((VIEW, VIEW), (0.5,) * 3, (0.25,) * 3),
    optim=Sgd(),
    train=Train(steps=1_000, batch=128, warmup_steps=50),
    log=Log(save_epochs=10, knn_epochs=5, keep_epochs=25),
)


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

    @pytest.mark.parametrize(
        ("run", "remedy"),
        [
            (RUN, ", a smaller --train.batch, smaller views (--image-size) or a smaller --backbone"),
            (replace(RUN, init="r18.pt"), ", a smaller --train.batch or smaller views (--image-size)"),
            (replace(RUN, init="vit.pt", backbone=DinoViT("tiny")), " or a smaller --train.batch"),
        ],
    )
    def test_too_short_a_time_offers_what_the_run_can_change(self, run: Run, remedy: str) -> None:
        """A file of weights says which backbone it is, and a transformer's which views."""
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


class TestBatch:
    """The batch that memory holds."""

    @pytest.mark.parametrize(
        ("share", "expected"), [(4.0, 128), (1.0, 128), (0.99, 64), (0.5, 64), (0.49, 32), (0.1, 8), (4 / 128, 4)]
    )
    def test_halved_until_it_fits(self, monkeypatch: pytest.MonkeyPatch, share: float, expected: int) -> None:
        """`share`: of what the whole batch needs, how much there is."""
        need = 128 * COST.kept.per_image * TRANSIENT * share + COST.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)
        assert fit_batch(RUN, COST.kept, COST.weight_bytes, CPU) == expected

    @pytest.mark.parametrize(
        ("batch", "group", "room", "expected"),
        [(96, 24, 96, 96), (96, 24, 95, 48), (96, 24, 47, 24), (96, 32, 47, 32), (160, 32, 39, 32), (192, 64, 95, 64)],
    )
    def test_a_part_is_whole_groups_of_batch_norm(
        self, monkeypatch: pytest.MonkeyPatch, batch: int, group: int, room: int, expected: int
    ) -> None:
        """`room`: of how many images the graph fits."""
        run = replace(RUN, method=MoCoV2(queue=256, shuffle_bn=group), train=replace(RUN.train, batch=batch))
        need = room * COST.kept.per_image * TRANSIENT + COST.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)
        assert fit_batch(run, COST.kept, COST.weight_bytes, CPU) == expected

    def test_not_even_a_group(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = replace(RUN, method=MoCoV2(queue=128, shuffle_bn=32), train=replace(RUN.train, batch=64))
        need = 31 * COST.kept.per_image * TRANSIENT + COST.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(need / MEMORY) + 2)
        with pytest.raises(ConfigError, match=r"of 32 images.* set method.shuffle_bn lower, or to 0"):
            fit_batch(run, COST.kept, COST.weight_bytes, CPU)

    def test_what_is_there_once_is_counted_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = Kept(10 * MIB, fixed=500 * MIB)
        for held in (128, 64, 32):
            need = (held * 10 + 500) * MIB * TRANSIENT + COST.weight_bytes
            monkeypatch.setattr(memory, "free_memory", lambda device, need=need: int(need / MEMORY) + 2)
            assert fit_batch(RUN, kept, COST.weight_bytes, CPU) == held
        monkeypatch.setattr(memory, "free_memory", lambda device: GIB)
        with pytest.raises(ConfigError, match=r"10 MiB per image and 500 MiB for all of them together, of 1\.0 GiB"):
            fit_batch(RUN, kept, COST.weight_bytes, CPU)

    def test_not_even_four_images(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "free_memory", lambda device: 200 * MIB)
        with pytest.raises(
            ConfigError, match=r"0\.1 GiB for weights and 10 MiB per image, of 0\.2 GiB free; take smaller views"
        ):
            fit_batch(RUN, COST.kept, COST.weight_bytes, CPU)

    def test_a_batch_below_four_is_the_users_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = replace(RUN, train=replace(RUN.train, batch=2))
        monkeypatch.setattr(memory, "free_memory", lambda device: GIB)
        assert fit_batch(run, COST.kept, COST.weight_bytes, CPU) == 2
        monkeypatch.setattr(memory, "free_memory", lambda device: MIB)
        with pytest.raises(ConfigError, match="does not fit into memory"):
            fit_batch(run, COST.kept, COST.weight_bytes, CPU)


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


def images(n: int = 40, labels: bool = True) -> Data:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (n, 3, 16, 16)).astype(np.uint8))
    numbers = (np.arange(n) % 2).astype(np.int64) if labels else None
    return Data(ArraySource("noise", pixels, numbers, ("a", "b") if labels else ()), None, "made here")


TINY = replace(RUN, train=Train(steps=200, batch=8, warmup_steps=0))

QUEUE = 30_000 * 4 * 4
"""Bytes of a queue of 30,000 keys of 4 numbers: a step keeps a copy of it, and MSF one with the new targets in it."""


class TestKept:
    """What autograd keeps, counted of a few images, is what it keeps of a whole batch."""

    @pytest.mark.parametrize(
        ("method", "fixed"),
        [
            (MoCoV3(hidden=8, out=4), 0),
            (MoCoV2(hidden=8, out=4, queue=30_000), QUEUE),
            (MoCoV2(hidden=8, out=4, queue=30_000, symmetric=True), 2 * QUEUE),
            (MoCoV2(hidden=8, out=4, queue=30_000, shuffle_bn=3), QUEUE),
            (MSF(hidden=8, out=4, predictor_hidden=8, queue=30_000), 2 * QUEUE),
            (MSF(hidden=8, out=4, predictor_hidden=8, queue=30_000, symmetric=True), 4 * QUEUE),
            (BarlowTwins(hidden=8, out=256), 256 * 256 * 4),
            (Dino(hidden=8, out=64, prototypes=2_048), 2_048 * 64 * 4),
        ],
        ids=["batch", "queue", "two queues", "groups of three", "bank", "two banks", "correlations", "prototypes"],
    )
    def test_whatever_is_there_once(self, method: MethodConfig, fixed: int) -> None:
        job = prepare(replace(TINY, method=method, train=replace(TINY.train, batch=36)), images(), CPU, Own())
        few, whole = kept_bytes_of(job), kept_bytes_of(job, images=36)
        assert few.of(36) == pytest.approx(whole.of(36), rel=0.03)
        assert few.per_image == pytest.approx(whole.per_image, rel=0.03)
        assert fixed <= few.fixed <= 4 * fixed + 4_096  # as they are and normalised, the largest once more

    @pytest.mark.parametrize("batch", [2, 3, 5])
    def test_of_a_batch_too_small_to_be_halved_all_is_the_images(self, batch: int) -> None:
        run = replace(TINY, method=BarlowTwins(hidden=8, out=64), train=replace(TINY.train, batch=batch))
        job = prepare(run, images(), CPU, Own())
        kept = kept_bytes_of(job)
        statistics = sum(buffer.nbytes for buffer in job.state.method.buffers())
        assert kept.per_image > 0 and (kept.fixed > statistics) == (batch >= 4)


class TestTrial:
    """A throw-away copy of a run, really trained."""

    @pytest.mark.slow
    @pytest.mark.parametrize("labels", [True, False])
    def test_costs_of_a_tiny_run(self, labels: bool) -> None:
        began = time.perf_counter()
        cost = trial(TINY, images(labels=labels), CPU, 1, Own(), seconds=0.2)
        wall = time.perf_counter() - began
        assert 0 < cost.step_seconds < wall and 0 < cost.health_seconds < cost.measure_seconds < wall
        assert 0.2 < cost.spent_seconds <= wall
        method = fresh_method(TINY, CPU)
        student = 4 * sum(p.numel() for p in method.student.parameters())
        teacher = 4 * sum(p.numel() for p in method.teacher.parameters())
        # Student, its momentum, and teacher are saved, and batch statistics; a gradient comes on top in memory.
        assert 2 * student + teacher < cost.checkpoint_bytes < 2 * (2 * student + teacher)
        assert cost.weight_bytes == cost.checkpoint_bytes + student

    @pytest.mark.slow
    def test_the_same_memory_per_image_whatever_the_batch(self) -> None:
        data = images()
        small = trial(TINY, data, CPU, 1, Own(), seconds=0.0)
        large = trial(replace(TINY, train=replace(TINY.train, batch=32)), data, CPU, 1, Own(), seconds=0.0)
        assert large.kept.per_image == pytest.approx(small.kept.per_image, rel=0.05)
        # Two views of 3 x 16 x 16; then per view the stem's 4 x 8 x 8 before and after its normalisation at the least.
        assert small.kept.per_image > 2 * 4 * (3 * 16 * 16 + 2 * 4 * 8 * 8)
        wide = replace(TINY, policy=replace(TINY.policy, views=(replace(VIEW, size=32),) * 2))
        assert trial(wide, data, CPU, 1, Own(), seconds=0.0).kept.per_image == pytest.approx(
            4 * small.kept.per_image, rel=0.3
        )

    def test_a_batch_that_memory_would_not_hold_is_tried_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or the trial itself would end the call, before it could say that the batch is too large."""
        whole = trial(TINY, images(), CPU, 1, Own(), seconds=0.0)
        parts: list[int] = []
        step = trials.train_step

        def watched(state: State, batch: Batch, now: Plan, rules: Rules, *rest: Any, **more: Any) -> Any:
            parts.append(rules.micro_batch)
            return step(state, batch, now, rules, *rest, **more)

        monkeypatch.setattr(trials, "train_step", watched)
        room = 5 * whole.kept.per_image * TRANSIENT + 2 * whole.weight_bytes
        monkeypatch.setattr(memory, "free_memory", lambda device: int(room / MEMORY))
        assert trial(TINY, images(), CPU, 1, Own(), seconds=0.0).kept == whole.kept
        assert set(parts) <= {2, 4, 8} and parts, "of a batch of 16"

    def test_decoding_is_held_against_the_cores_that_it_may_use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a job that was granted a core of many, one core's time is all there is."""
        monkeypatch.setattr(limits, "core_quota", lambda: 0.5)
        monkeypatch.setattr(trials, "_pace", lambda *_: (1.0, 0.2))  # seconds of a step, and of decoding its batch
        assert trial(TINY, images(), CPU, 1, Own(), seconds=0.0).decode_share == pytest.approx(0.4)

    def test_it_may_be_longer_than_the_run(self) -> None:
        short = replace(TINY, train=replace(TINY.train, steps=2))
        assert trial(short, images(), CPU, 1, Own(), seconds=0.0).step_seconds > 0

    def test_the_images_and_the_random_state_stay_as_they_are(self) -> None:
        data = images()
        before = data.train.fingerprint()
        first = fresh_method(TINY, CPU).state_dict()
        trial(TINY, data, CPU, 1, Own(), seconds=0.0)
        assert data.train.fingerprint() == before
        again = fresh_method(TINY, CPU).state_dict()
        assert all(torch.equal(first[name], again[name]) for name in first)

    def test_a_batch_larger_than_the_data(self) -> None:
        with pytest.raises(DataError, match="40 images cannot fill a batch of 128"):
            trial(RUN, images(), CPU, 1, Own(), seconds=0.0)


class TestTruth:
    """What a run folder was said to take, and takes."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "run",
        [
            replace(TINY, log=Log(line_steps=1, save_epochs=0.6, keep_epochs=1)),
            replace(TINY, method=SimCLR(hidden=64), log=Log(line_steps=2, save_epochs=1)),
            replace(TINY, optim=AdamW(), log=Log(line_steps=5, save_epochs=0, keep_epochs=0.7, knn_epochs=0)),
        ],
        ids=["MoCo-v3 and SGD", "no teacher", "AdamW"],
    )
    def test_of_the_disk(self, run: Run, tmp_path: Path) -> None:
        run = replace(run, backbone=SmallResNet((32, 64, 128)), train=replace(run.train, steps=11))
        data = images()
        cost = trial(run, data, CPU, 1, Own(), seconds=0.0)
        pretrain(run, data, tmp_path / "run", QUIET)
        files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        assert disk_of(run, cost, 11, per_epoch=5) == pytest.approx(sum(path.stat().st_size for path in files), rel=0.1)
        assert kept_of(run, 11, per_epoch=5) == len(list(tmp_path.rglob("step-*.pt")))


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


def test_a_step_that_is_too_slow_by_itself_is_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(job: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(trials, "monitor", measured)
    monkeypatch.setattr(trials, "health_line", measured)
    found = trials.trial(TINY, images(80), CPU, 1, Own(), 60.0, slowest=0.0)
    assert found.measure_seconds == 0.0 and found.spent_seconds < 50  # two steps, and not a minute of them
    with pytest.raises(ConfigError, match=r"4-8\), so \d+ steps fit, .* of more than \d+m"):
        fit_time(TINY, replace(found, step_seconds=5.0), 100.0, 0.0)
