"""What a trial will take, judged by a pass of a few images, and measurements of a part."""

from dataclasses import replace

import pytest
import torch

from resmom.build import Own
from resmom.config import Run
from resmom.methods.mocov2 import MoCoV2
from resmom.runs.settling import expected as expectations
from resmom.runs.settling.expected import (
    Expected,
    expected,
    health_seconds,
    images_to_step,
    knn_seconds,
)
from resmom.runs.settling.memory import Kept, kept_bytes_of
from resmom.runs.training.job import Job, fresh_method, prepare
from tests.runs.settling.priced import CPU, TINY, images

SLOW = Kept(1, image_seconds=2.0)


def job(run: Run = TINY, n: int = 40, labels: bool = True, batch: int = 8) -> Job:
    return prepare(replace(run, train=replace(run.train, batch=batch)), images(n, labels), CPU)


def test_a_pass_of_a_few_images_is_timed() -> None:
    kept = kept_bytes_of(job())
    assert 0 < kept.image_seconds < 10
    assert replace(kept, image_seconds=0.0) == kept, "two passes need the same memory, and never the same time"


def test_a_step_and_the_measurements_follow_from_it() -> None:
    """A step of 8 images is 2.5 passes; health has all 40 images, kNN a bank of 32 and 8 queries."""
    assert expected(job(), SLOW) == Expected(step=40.0, health=80.0, knn=80.0)
    assert expected(job(labels=False), SLOW).knn == 0.0
    assert expected(job(n=600), SLOW).health == 2.0 * 512
    few = replace(TINY, log=replace(TINY.log, knn_images=10))
    assert expected(job(few), SLOW).knn == 2.0 * (10 + 8)
    assert expected(replace(job(), device=torch.device("cuda")), SLOW) == Expected()


@pytest.mark.parametrize(
    ("seconds", "images"), [(9.9, 0), (10.0, 0), (20.0, 16), (40.0, 8), (39.0, 8), (500.0, 4), (18.0, 0)]
)
def test_of_a_slow_step_so_many_images_are_tried_as_take_ten_seconds(seconds: float, images: int) -> None:
    assert images_to_step(job(batch=32), seconds, most=10.0) == images


def test_images_that_are_normalised_together_stay_together() -> None:
    run = replace(TINY, method=MoCoV2(hidden=8, out=4, queue=64, shuffle_bn=8))
    assert images_to_step(job(run, batch=32, n=80), 25.0, most=10.0) == 8, "of 12 that fit"
    assert images_to_step(job(run, batch=16, n=80), 400.0, most=10.0) == 4, "a group of its own"


def test_a_method_of_the_users_own_has_whole_batches() -> None:
    """It may be made for batches of one size."""
    own = Own(method=fresh_method(TINY, CPU))
    assert images_to_step(replace(job(), own=own), 1e6, most=10.0) == 0


def test_a_long_trial_is_told_before_with_what_it_takes() -> None:
    """Of a step of 40 s half, 10 s of each measurement, and building the networks once more."""
    words = Expected(step=40.0, health=80.0, knn=11.0).words(job(), 4, seconds=3.0, built=2.0)
    assert "a step of 8 images will take about 40 seconds here, and the rest of the trial about 42 seconds" in words
    assert "million parameters, heads included" in words and words.endswith("Ctrl-C ends it, and nothing is written")
    assert "trial about 3 minutes" in Expected(step=180.0).words(job(), 0, 60.0, 0.0)
    assert Expected(step=2.0, health=8.0, knn=8.0).words(job(), 0, seconds=3.0, built=3.0) == ""


class Slow:
    """Time that passes where images are encoded alone: a second for each and each network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.asked = 0.0, list[int]()
        monkeypatch.setattr(expectations, "time", self)
        monkeypatch.setattr(expectations, "health_line", self.health_line)
        monkeypatch.setattr(expectations, "features", self.features)

    def perf_counter(self) -> float:
        return self.now

    def health_line(self, job: Job, most: int) -> None:
        self.asked.append(most)
        self.now += 2.0 * most

    def features(self, network: object, batches: object) -> None:
        seen = sum(len(batch) for batch in batches)  # type: ignore[attr-defined]
        self.asked.append(seen)
        self.now += seen


def test_of_a_long_measurement_a_part_is_made_and_counted_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    assert health_seconds(job(n=100), 50.0) == 200.0 and slow.asked == [20]
    assert health_seconds(job(n=100), 5000.0) == 200.0 and slow.asked[1:] == [8], "the least"
    slow.asked.clear()
    assert knn_seconds(job(n=100), 50.0) == 200.0 and slow.asked == [20, 20], "student and teacher"
    assert knn_seconds(job(n=100, labels=False), 50.0) == 0.0
