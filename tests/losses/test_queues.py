"""Losses against a queue of keys: the papers as slow loops, and points known by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resmom.losses.contrastive import queue_nce
from resmom.losses.neighbours import mean_shift, nearest
from resmom.losses.relation import relation
from tests import oracle


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 5), st.integers(1, 9), st.floats(0.05, 2.0))
def test_queue_nce_is_the_oracle(seed: int, n: int, d: int, length: int, temperature: float) -> None:
    q, k, queue = draw(seed, n, d), draw(seed + 1, n, d), unit(draw(seed + 2, length, d))
    ours = queue_nce(q, k, queue, temperature).item()
    assert ours == pytest.approx(oracle.moco(q.numpy(), k.numpy(), queue.numpy(), temperature), rel=1e-10)


def test_queue_nce_by_hand() -> None:
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert queue_nce(3 * e1, 2 * e1, e2, 1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert queue_nce(e1, e2, e1, 0.5).item() == pytest.approx(math.log(1 + math.exp(2)))  # the queue wins
    assert queue_nce(e1, e1, e1.expand(7, 2), 0.2).item() == pytest.approx(math.log(8))  # nothing to tell apart
    assert queue_nce(e1.bfloat16(), e1.bfloat16(), e2, 0.2).dtype == torch.float32


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 9), st.floats(0.05, 2.0), st.floats(0.03, 2.0))
def test_relation_is_the_oracle(seed: int, n: int, length: int, t_s: float, t_t: float) -> None:
    s, t, keys = draw(seed, n, 4), draw(seed + 1, n, 4), unit(draw(seed + 2, length, 4))
    expected = oracle.kd_relation(s.numpy(), t.numpy(), keys.numpy(), t_s, t_t)
    assert relation(s, t, keys, t_s, t_t).item() == pytest.approx(expected, rel=1e-10)


def test_relation_by_hand() -> None:
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    both = torch.cat([e1, e2])
    # The teacher is sure of the first key; the student gives it e / (e + 1), or 1 / (e + 1) where it is turned away.
    assert relation(e1, e1, both, 1.0, 1e-3).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert relation(e2, e1, both, 1.0, 1e-3).item() == pytest.approx(math.log(1 + math.exp(1)))
    assert relation(e1 + e2, e1, both, 0.1, 0.04).item() == pytest.approx(math.log(2))  # tells nothing apart: ln k
    assert relation(e1.bfloat16(), e1.bfloat16(), both, 0.1, 0.04).dtype == torch.float32


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4), st.integers(4, 9))
def test_mean_shift_is_the_oracle(seed: int, n: int, k: int, length: int) -> None:
    p, z, bank = draw(seed, n, 5), draw(seed + 1, n, 5), unit(draw(seed + 2, length, 5))
    expected = oracle.mean_shift(p.numpy(), z.numpy(), bank.numpy(), k)
    assert mean_shift(p, z, bank, k).item() == pytest.approx(expected, rel=1e-10)


def test_mean_shift_by_hand() -> None:
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    bank = torch.cat([e2, -e1, e1])
    assert mean_shift(3 * e1, 2 * e1, bank, 1).item() == pytest.approx(0.0)  # the target itself
    assert mean_shift(e1, e1, bank, 2).item() == pytest.approx((0 + 2) / 2)  # and one that is orthogonal
    assert mean_shift(e1, e1, bank, 3).item() == pytest.approx((0 + 2 + 4) / 3)  # and its opposite
    assert mean_shift(-e1, e1, bank, 1).item() == pytest.approx(4.0)
    assert mean_shift(e1.bfloat16(), e1.bfloat16(), bank, 2).dtype == torch.float32


def test_nearest_is_in_order_and_a_broken_target_has_no_neighbours() -> None:
    e1, e2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    bank = torch.cat([e2, -e1, e1])
    assert nearest(e1, bank, 3).tolist() == [[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]]
    for bad in (math.nan, math.inf):
        found = nearest(torch.cat([e1, torch.tensor([[bad, 0.0]])]), bank, 2)
        assert found[0].isfinite().all() and found[1].isnan().all()
