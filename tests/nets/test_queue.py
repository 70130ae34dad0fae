"""The queue: first in, first out, round and round, unit vectors from the seed."""

import pytest
import torch

from resmom.nets.queue import Queue


def queue(length: int = 5, width: int = 2) -> Queue:
    torch.manual_seed(0)
    return Queue(length, width).double()


def keys(*lengths: float) -> torch.Tensor:
    """Keys along the first axis, of the given lengths' sign."""
    return torch.tensor([[length, 0.0] for length in lengths], dtype=torch.float64)


def test_it_starts_as_random_unit_vectors_of_the_seed() -> None:
    made = queue(100, 8)
    torch.testing.assert_close(made.rows.norm(dim=1), torch.ones(100, dtype=torch.float64), atol=1e-6, rtol=0)
    assert torch.equal(made.rows, queue(100, 8).rows)
    assert made.rows.mean(0).norm() < 0.3  # in all directions
    torch.manual_seed(1)
    assert not torch.equal(made.rows, Queue(100, 8).double().rows)


def test_the_oldest_are_overwritten_and_writing_goes_round() -> None:
    made = queue()
    first = made.rows.clone()
    made.push(keys(2, 3, 4))
    assert torch.equal(made.rows[:3], keys(1, 1, 1)) and torch.equal(made.rows[3:], first[3:])
    made.push(keys(-2, -3, -4))  # two fit before the end, the third goes to the start
    assert made.rows[:, 0].tolist() == [-1, 1, 1, -1, -1] and made.pointer == 1
    made.push(keys(5, 5, 5, 5, 5))
    assert made.rows[:, 0].tolist() == [1] * 5 and made.pointer == 1


def test_after_is_the_future_and_writes_nothing() -> None:
    made = queue()
    made.push(keys(1, 1, 1))
    before, pointer = made.rows.clone(), made.pointer.clone()
    future = made.after(keys(-3, -1, -2))
    assert torch.equal(made.rows, before) and torch.equal(made.pointer, pointer)
    made.push(keys(-3, -1, -2))
    assert torch.equal(made.rows, future)


def test_half_precision_keys_become_unit_vectors_of_the_queues_precision() -> None:
    torch.manual_seed(0)
    made = Queue(4, 64)
    made.push(torch.randn(3, 64).bfloat16())
    torch.testing.assert_close(made.rows.norm(dim=1), torch.ones(4), atol=1e-6, rtol=0)


def test_more_keys_than_places_are_refused() -> None:
    with pytest.raises(ValueError, match="6 keys do not fit into a queue of 5"):
        queue().push(keys(1, 2, 3, 4, 5, 6))
