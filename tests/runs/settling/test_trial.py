"""The costs of one tiny run that is really tried."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resmom import clock
from resmom.build import Own
from resmom.config import ConfigError, Log, Run
from resmom.data.errors import DataError
from resmom.methodconfig import MethodConfig
from resmom.methods.byol import Byol
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import SmallResNet
from resmom.runs import limits
from resmom.runs.pretrain import pretrain
from resmom.runs.settling import expected, memory
from resmom.runs.settling import trial as trials
from resmom.runs.settling.budget import (
    disk_of,
    fit_time,
    kept_of,
)
from resmom.runs.settling.estimate import estimate
from resmom.runs.settling.memory import MEMORY, TRANSIENT
from resmom.runs.settling.trial import trial
from resmom.runs.training.job import fresh_method
from resmom.runs.underway import Underway
from resmom.train.optim import AdamW
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules
from resmom.types import Batch
from tests.conftest import Call
from tests.runs.settling.derived import QUIET
from tests.runs.settling.priced import CPU, RUN, TINY, VIEW, images


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

    @pytest.mark.usefixtures("typed")
    @pytest.mark.parametrize(
        ("wanted", "threads", "told"), [(7.6, 4, True), (7.6, 1, False), (6.4, 4, True), (6.3, 4, False)]
    )
    def test_other_programs_are_told_of(
        self, monkeypatch: pytest.MonkeyPatch, wanted: float, threads: int, told: bool
    ) -> None:
        """Of eight cores 6.4 are the eight tenths from which it is said; with one thread nothing waits."""
        monkeypatch.setattr(trials, "load", lambda: wanted)
        monkeypatch.setattr(limits.os, "cpu_count", lambda: 8)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        crowd = trials._crowd(CPU)
        assert ("7.6 threads" in crowd or "6.4 threads" in crowd) == told == ("--threads 1" in crowd)

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


def test_a_step_that_is_too_slow_by_itself_is_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(job: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(trials, "monitor", measured)
    monkeypatch.setattr(trials, "health_line", measured)
    found = trials.trial(TINY, images(80), CPU, 1, Own(), 60.0, slowest=0.0)
    assert found.measure_seconds == 0.0 and found.spent_seconds < 50  # two steps, and not a minute of them
    with pytest.raises(ConfigError, match=r"4-8\), so \d+ steps fit, .* of more than \d+m"):
        fit_time(TINY, replace(found, step_seconds=5.0), 100.0, 0.0)


class Slow:
    """Steps that take seconds for each image, and to move the weights, on a clock on which nothing else does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, image: float, moving: float = 0.0, hoped: float = 0.0) -> None:
        """`hoped`: what the pass of a few images has taken, for each."""
        self.image, self.moving, self.now = image, moving, 0.0
        self.steps: list[int] = []
        kept = trials.kept_bytes_of
        monkeypatch.setattr(trials, "kept_bytes_of", lambda job: replace(kept(job), image_seconds=hoped))
        monkeypatch.setattr(trials, "train_step", self.step)
        for module in (trials, clock, expected):
            monkeypatch.setattr(module, "time", self)

    def perf_counter(self) -> float:
        return self.now

    def step(self, state: State, batch: Batch, *_: object, **__: object) -> None:
        self.steps.append(len(batch.index))
        self.now += self.image * len(batch.index)
        with state.clock.part("update"):
            self.now += self.moving
        state.step += 1


class TestSlow:
    """Steps that take longer than the trial may."""

    @pytest.mark.parametrize(("image", "steps"), [(0.5, 1), (0.37, 4), (0.1, 5)])
    def test_one_step_that_takes_longer_than_the_trial_is_the_only_one(
        self, monkeypatch: pytest.MonkeyPatch, image: float, steps: int
    ) -> None:
        """Of 8 images, and 3 seconds; a shorter one is taken until all together take three times that, or are five."""
        slow = Slow(monkeypatch, image)
        found = trial(TINY, images(), CPU, 0, Own(), 3.0)
        assert slow.steps == [8] * steps and found.step_seconds == pytest.approx(8 * image)
        assert found.tried_images == 0

    def test_of_a_step_that_will_be_slow_a_part_is_tried_and_counted_in_proportion(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """But for the weights, which move once for however many images."""
        slow = Slow(monkeypatch, image=2.0, moving=5.0, hoped=1.5)  # a step of 8 images: 2.5 passes of 1.5 s
        said: list[str] = []
        work = Underway(quiet=True)
        monkeypatch.setattr(work, "say", said.append)
        found = trial(TINY, images(), CPU, 0, Own(), 3.0, work=work)
        assert slow.steps == [4] and (found.tried_images, found.step_seconds) == (4, 8 * 2.0 + 5.0)
        (words,) = said
        assert "a step of 8 images will take about 30 seconds here, and the rest of the trial about 35 seconds" in words
        words = estimate(TINY, found, images(), None).words
        assert "21 s a step on this machine now, judged by four images of it" in words

    def test_where_it_is_faster_than_was_to_be_expected_the_whole_is_tried(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = Slow(monkeypatch, image=0.5, hoped=1.5)
        found = trial(TINY, images(), CPU, 0, Own(), 1.9)
        assert slow.steps == [4, 8] and (found.tried_images, found.step_seconds) == (0, 4.0)

    def test_with_a_budget_its_pace_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A step that takes a hundredth of the time is tried whole: by it the number of steps is set."""
        slow = Slow(monkeypatch, image=2.0, hoped=1.5)
        assert trial(TINY, images(), CPU, 0, Own(), 3.0, slowest=16.0).step_seconds == 16.0
        assert slow.steps == [8]
        slow.steps.clear()
        found = trial(TINY, images(), CPU, 0, Own(), 3.0, slowest=5.0)  # 30 s are expected: too slow either way
        assert slow.steps == [4] and found.step_seconds == 16.0 and found.measure_seconds == 0.0

    @pytest.mark.parametrize("method", [MoCoV2(hidden=8, out=4, queue=64, shuffle_bn=8), Byol(hidden=8, out=4), None])
    def test_a_part_of_a_batch_is_really_trained_on(
        self, monkeypatch: pytest.MonkeyPatch, method: MethodConfig | None
    ) -> None:
        kept = trials.kept_bytes_of
        monkeypatch.setattr(trials, "kept_bytes_of", lambda job: replace(kept(job), image_seconds=100.0))
        monkeypatch.setattr(trials, "PATIENCE", 0.0)  # or the whole would be tried next
        run = replace(TINY, method=method or TINY.method, train=replace(TINY.train, batch=16))
        found = trial(run, images(), CPU, 1, Own(), seconds=0.0)
        assert found.tried_images == 4 and 0 < found.step_seconds < 60

    def test_views_that_grow_are_tried_in_part_at_each_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slow = Slow(monkeypatch, image=2.0, hoped=1.5)
        run = replace(TINY, train=replace(TINY.train, sizes=(0.5, 0.5, 1.0)))
        assert trial(run, images(), CPU, 0, Own(), 3.0).step_seconds == 16.0 and slow.steps == [4, 4]


def test_ctrl_c_ends_it_with_one_sentence(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "train_step", stopped)
    path = tmp_path / "images.npz"
    np.savez(path, train_images=np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3), dtype=np.uint8))
    small = "--backbone.widths 4 8 --method.hidden 8 --method.out 4 --image-size 16 --train.batch 16 --device cpu"
    status, out, err = call("pretrain", "--data", path, "--dry-run", *small.split())
    *_, last = err.splitlines()
    assert (status, out) == (130, "")
    assert last == (
        "resmom pretrain: interrupted while trying the run: step 1 (16 images); nothing of the run is written"
    )
    assert sorted(tmp_path.iterdir()) == [path]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("underway", "prefetch"))]
