"""The costs of one tiny run that is really tried."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resmom.build import Own
from resmom.config import ConfigError, Log, Run
from resmom.data.source import DataError
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import SmallResNet
from resmom.runs import limits
from resmom.runs.job import fresh_method
from resmom.runs.pretrain import pretrain
from resmom.runs.settling import memory
from resmom.runs.settling import trial as trials
from resmom.runs.settling.budget import (
    disk_of,
    fit_time,
    kept_of,
)
from resmom.runs.settling.memory import MEMORY, TRANSIENT
from resmom.runs.settling.trial import trial
from resmom.train.optim import AdamW
from resmom.train.plan import Plan
from resmom.train.state import State
from resmom.train.step import Rules
from resmom.types import Batch
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
