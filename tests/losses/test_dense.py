"""Contrast between places: the paper as slow loops, and points known by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resmom.losses.contrastive import queue_nce
from resmom.losses.dense import dense_nce, nearest_places
from resmom.losses.residual import Residual, residual_term
from resmom.types import Encoding, Pair
from tests import oracle


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 6), st.integers(1, 9))
def test_matching_and_loss_are_the_oracle(seed: int, n: int, places: int, length: int) -> None:
    f_q, f_k = draw(seed, n, 5, places), draw(seed + 1, n, 5, places)
    r, t = draw(seed + 2, n, 3, places), draw(seed + 3, n, 3, places)
    queue, nothing = unit(draw(seed + 4, length, 3)), np.zeros((n, 3))
    ours = dense_nce(r, t, nearest_places(f_q, f_k), queue, 0.2).item()
    maps = [x.numpy() for x in (f_q, f_k, r, t)]
    queues = (queue.numpy(), queue.numpy())
    expected = oracle.densecl(nothing + 1, nothing + 1, *maps, queues, np.array([0.0, 1.0]))
    assert ours == pytest.approx(expected, rel=1e-10)


def test_places_are_found_again_by_direction_not_by_length() -> None:
    """A map whose places were moved, and made longer or shorter, is matched to where they went."""
    f = draw(0, 3, 6, 4)
    moved = torch.tensor([2, 0, 3, 1])
    other = f[:, :, moved] * torch.tensor([100.0, 0.01, 3.0, 1.0], dtype=torch.float64)
    back = torch.argsort(moved).expand(3, 4)
    assert torch.equal(nearest_places(f, other), back)
    assert torch.equal(nearest_places(f, other[:, :, :2])[:, :1], torch.tensor([[1]] * 3))  # maps of another size
    assert not nearest_places(f.requires_grad_(), other).requires_grad


def test_loss_by_hand() -> None:
    e1, e2 = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    places = torch.stack([e1, e2], dim=1)[None]  # one image, two places
    same, other = torch.tensor([[0, 1]]), torch.tensor([[1, 0]])
    queue = e2[None]
    at_e1, at_e2 = (
        math.log(1 + math.exp(-1)),
        math.log(2),
    )  # the queue is orthogonal to the first, as near to the second
    assert dense_nce(3 * places, places, same, queue, 1.0).item() == pytest.approx((at_e1 + at_e2) / 2)
    wrong = (math.log(2) + math.log(1 + math.exp(1))) / 2  # each orthogonal to the key that it is told to be near to
    assert dense_nce(places, places, other, queue, 1.0).item() == pytest.approx(wrong)
    constant = torch.ones(4, 2, 9)
    nothing = dense_nce(constant, constant, torch.zeros(4, 9, dtype=torch.long), unit(torch.ones(7, 2)), 0.2)
    assert nothing.item() == pytest.approx(math.log(8))  # nothing to tell apart
    assert dense_nce(places.bfloat16(), places.bfloat16(), same, queue, 0.2).dtype == torch.float32


def test_one_place_is_the_loss_of_whole_views() -> None:
    q, k, queue = draw(0, 5, 4), draw(1, 5, 4), unit(draw(2, 6, 4))
    only = torch.zeros(5, 1, dtype=torch.long)
    assert torch.equal(dense_nce(q[:, :, None], k[:, :, None], only, queue, 0.2), queue_nce(q, k, queue, 0.2))


def test_gradient_reaches_queries_and_not_the_places_that_were_not_matched() -> None:
    r, t = draw(0, 2, 4, 3).requires_grad_(), draw(1, 2, 4, 3).requires_grad_()
    dense_nce(r, t, torch.tensor([[0, 0, 1], [2, 2, 2]]), unit(draw(2, 5, 4)), 0.2).backward()
    assert r.grad is not None and t.grad is not None
    assert (r.grad.norm(dim=1) > 0).all()
    assert (t.grad.norm(dim=1) > 0).tolist() == [[True, True, False], [False, False, True]]


def pairs() -> tuple[Pair, Pair]:
    """Whole views and places of 2 images with 3 places each."""
    s, t = Encoding(draw(0, 2, 5), draw(1, 2, 4)), Encoding(draw(4, 2, 5), draw(5, 2, 4))
    at_s, at_t = Encoding(draw(3, 6, 5), draw(2, 6, 4)), Encoding(draw(7, 6, 5), draw(6, 6, 4))
    return Pair("global", s, t, t), Pair("dense", at_s, at_t, at_t, per_image=3)


def test_the_residual_term_counts_a_pair_once_whatever_its_rows() -> None:
    whole, places = pairs()
    parts = [oracle.cosine_distance(p.student.z.numpy(), p.teacher.z.numpy()) for p in (whole, places)]
    assert places.student.z.shape == (6, 4) and parts[0] != parts[1]
    for kind, expected in {"all": sum(parts) / 2, "global": parts[0], "dense": parts[1]}.items():
        config = Residual(1.0, "z", pairs=kind)
        assert residual_term((whole, places), config).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"no same-view pairs 'patch' here.*there are: global, dense"):
        residual_term((whole, places), Residual(1.0, "z", pairs="patch"))


def test_places_are_not_crossed_with_another_view() -> None:
    whole, places = pairs()
    with pytest.raises(ValueError, match="student and teacher on two views"):
        residual_term((whole, places, places), Residual(1.0, "z", "cross"))
    expected = residual_term((whole, whole), Residual(1.0, "z", "cross"))
    assert torch.equal(residual_term((whole, whole, places), Residual(1.0, "z", "cross")), expected)
