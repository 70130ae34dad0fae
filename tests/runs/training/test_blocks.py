"""Views of several steps made at once: the same batches, in fewer calls, in any order that threads ask for them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from resmom.config import Run
from resmom.data.open import open_data
from resmom.runs.training import blocks, job
from resmom.runs.training.blocks import MOST, NUMBERS, Blocks, steps_of
from resmom.runs.training.job import Job, prepare
from tests.runs.crash import ibot_run, small_run, write_images

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_images(tmp_path / "images.npz", n=88))  # 11 batches of 8 in an epoch


def resident(run: Run, data: str) -> Job:
    """The run with its images where they lie on a GPU."""
    made = prepare(run, open_data(data), CPU)
    images = made.data.train.read(np.arange(len(made.data.train)))
    assert isinstance(images, torch.Tensor)
    return replace(made, resident=images)


@pytest.mark.parametrize(
    "run", [small_run(), small_run(sizes=(0.5, 1.0)), ibot_run()], ids=["plain", "growing", "ibot"]
)
def test_the_same_batches_in_fewer_calls(run: Run, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = job.views

    def counted(images: torch.Tensor, index: object, *rest: object) -> object:
        calls.append(len(images))
        return original(images, index, *rest)  # type: ignore[arg-type]

    alone, together = prepare(run, open_data(data), CPU), resident(run, data)
    batch = run.train.batch
    steps = range(2 * alone.per_epoch)  # of four epochs, so that views grow in the third
    expected = [alone.batch(step) for step in steps]
    monkeypatch.setattr(job, "views", counted)
    for step, one in zip(steps, expected, strict=True):
        other = together.batch(step)
        assert torch.equal(one.index, other.index) and one.epoch == other.epoch
        assert all(torch.equal(a, b) for a, b in zip(one.masks, other.masks, strict=True))
        assert len(one.views) == len(other.views)
        for a, b in zip(one.views, other.views, strict=True):
            assert torch.equal(a, b) and a.stride() == b.stride()
    assert calls == [MOST * batch, (alone.per_epoch - MOST) * batch] * 2


def test_a_block_ends_where_views_grow(data: str) -> None:
    run = small_run(sizes=(0.5, 1.0), epochs=1, warmup_epochs=0)
    together = resident(run, data)
    assert [together.batch(step).views[0].shape[-1] for step in range(11)] == [8] * 6 + [16] * 5


def test_the_block_of_a_step_does_not_depend_on_where_one_begins() -> None:
    for per_epoch in (1, 7, 8, 20):
        for step in range(3 * per_epoch):
            own = steps_of(step, per_epoch, 4, 12)
            assert step in own and len(own) <= MOST
            assert own[0] // per_epoch == own[-1] // per_epoch
            assert all(steps_of(other, per_epoch, 4, 12) == own for other in own)


def test_large_views_are_made_step_by_step() -> None:
    assert steps_of(5, 100, 256, NUMBERS) == range(5, 6)
    assert len(steps_of(0, 100, 1, NUMBERS // 3)) == 3


def test_a_block_is_made_once_whoever_asks_and_old_ones_go() -> None:
    found, made, together = Blocks(), [], Barrier(4)

    def ask(step: int) -> torch.Tensor:
        together.wait()

        def make() -> dict[int, tuple[torch.Tensor, ...]]:
            made.append(step)
            return {number: (torch.tensor(number),) for number in range(4)}

        return found.views("first", step, make)[0]

    with ThreadPoolExecutor(4) as pool:
        assert [int(one) for one in pool.map(ask, range(4))] == [0, 1, 2, 3]
    assert len(made) == 1
    for key in range(blocks.KEPT):
        found.views(key, 0, lambda: {0: ()})
    found.views("first", 0, lambda: made.append(-1) or {0: ()})  # type: ignore[func-returns-value]
    assert made[1:] == [-1]
