"""The order of images: every epoch a permutation, ranks that add up, steps that do not depend on where one starts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resmom.counter import permutation
from resmom.data.errors import DataError
from resmom.data.order import Order, batch_index, steps_per_epoch

small = settings(max_examples=60, deadline=None)


@pytest.mark.slow
@small
@given(batch=st.integers(1, 40), more=st.integers(0, 200), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_is_the_start_of_its_permutation(batch: int, more: int, seed: int, epoch: int) -> None:
    n = batch + more
    steps = steps_per_epoch(n, batch)
    assert steps == n // batch
    order = Order(n, batch, seed)
    seen = np.concatenate([order.index(epoch * steps + step) for step in range(steps)])
    assert np.array_equal(seen, permutation(seed, epoch, n)[: steps * batch])
    assert len(set(seen.tolist())) == len(seen) == steps * batch


@small
@given(
    world=st.integers(1, 8),
    each=st.integers(1, 8),
    more=st.integers(0, 50),
    seed=st.integers(0, 9),
    step=st.integers(0, 99),
)
def test_the_ranks_one_after_the_other_are_the_batch(world: int, each: int, more: int, seed: int, step: int) -> None:
    batch = world * each
    parts = [batch_index(batch + more, batch, seed, step, rank, world) for rank in range(world)]
    assert all(part.shape == (each,) and part.dtype == np.int64 for part in parts)
    assert np.array_equal(np.concatenate(parts), batch_index(batch + more, batch, seed, step))


@small
@given(steps=st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_a_step_does_not_depend_on_those_before(steps: list[int]) -> None:
    order = Order(23, 4, seed=3, rank=1, world=2)
    for step in steps:
        assert np.array_equal(order.index(step), batch_index(23, 4, 3, step, 1, 2))


def test_writing_in_a_batch_leaves_the_order_alone() -> None:
    order = Order(10, 5, seed=0)
    first = order.index(0)
    kept = first.copy()
    first[:] = -1
    assert np.array_equal(order.index(0), kept)


def test_epochs_and_seeds_differ() -> None:
    orders = [batch_index(100, 100, seed, epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((10, 11, 0), "10 images cannot fill a batch of 11.*smaller batch"),
        ((0, 1, 0), "0 images cannot fill"),
        ((10, 0, 0), "at least one image; got 0"),
        ((10, 9, 0, 0, 2), "batch of 9 cannot be split evenly over 2"),
        ((10, 8, 0, 2, 2), "0 … 1; got 2"),
        ((10, 8, 0, 0, 0), "over 0 processes"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[int, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Order(*arguments)


def test_negative_steps_are_refused() -> None:
    with pytest.raises(DataError, match="count from 0; got -1"):
        Order(10, 5, 0).index(-1)
