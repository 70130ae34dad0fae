"""kNN against slow loops, at points known by hand, with ties, and chunk by chunk."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resmom.evaluate import knn as module
from resmom.evaluate.knn import knn
from resmom.evaluate.settings import Knn


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(seed: int, n: int, classes: int) -> torch.Tensor:
    return torch.randint(0, classes, (n,), generator=torch.Generator().manual_seed(seed))


def slow(
    bank: torch.Tensor, known: torch.Tensor, queries: torch.Tensor, asked: torch.Tensor, k: int, temperature: float
) -> tuple[float, float]:
    classes = int(max(known.max(), asked.max())) + 1
    first = five = 0
    for query, label in zip(queries.double().numpy(), asked.tolist(), strict=True):
        near = []
        for i, image in enumerate(bank.double().numpy()):
            near.append((-float(query @ image) / np.linalg.norm(query) / np.linalg.norm(image), i))
        votes = [0.0] * classes
        for minus, i in sorted(near)[:k]:
            votes[int(known[i])] += math.exp(-minus / temperature)
        order = sorted(range(classes), key=lambda c: (-votes[c], c))
        first += order[0] == label
        five += label in order[:5]
    return 100.0 * first / len(asked), 100.0 * five / len(asked)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([0.05, 0.07, 1.0]), st.integers(6, 9))
def test_it_is_the_slow_loop(seed: int, k: int, temperature: float, classes: int) -> None:
    bank, queries = draw(seed, 40, 5), draw(seed + 1, 30, 5)
    known, asked = labels(seed, 40, classes), labels(seed + 1, 30, classes)
    known[0] = classes - 1
    found = knn(bank, known, queries, asked, Knn(k, temperature))
    assert (found.top1, found.top5) == pytest.approx(slow(bank, known, queries, asked, k, temperature))


def test_by_hand_with_k_1_each_image_finds_itself() -> None:
    bank, known = draw(0, 50, 8), labels(0, 50, 7)
    assert knn(bank, known, 3 * bank, known, Knn(k=1)).top1 == 100.0
    assert knn(bank, known, -bank, known, Knn(k=1)).top1 < 50.0


def test_near_neighbours_outvote_many_far_ones_at_a_low_temperature_only() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    known, query, asked = torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.1]]), torch.tensor([0])
    assert knn(bank, known, query, asked, Knn(3, 0.07)).top1 == 100.0
    assert knn(bank, known, query, asked, Knn(3, 100.0)).top1 == 0.0


def test_a_low_temperature_does_not_overflow() -> None:
    bank, known = draw(0, 30, 4), labels(0, 30, 3)
    nearest = knn(bank, known, bank, known, Knn(5, 1e-4))
    assert nearest.top1 == 100.0


def test_equally_near_images_are_taken_in_the_order_of_the_bank() -> None:
    bank = torch.ones(40, 3)
    known = torch.tensor([3] * 4 + [2] * 3 + [1] * 33)
    asked = torch.tensor([3, 2, 1])
    found = knn(bank, known, torch.ones(3, 3), asked, Knn(k=7))
    assert found.top1 == pytest.approx(100 / 3)  # four of the first seven are class 3
    assert knn(bank, known, torch.ones(1, 3), torch.tensor([1]), Knn(k=40)).top1 == 100.0


def test_ties_beyond_nearer_images_fill_the_remaining_places_only() -> None:
    bank = torch.cat([torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]).repeat(9, 1)])
    known = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2, 2, 2])
    query = torch.tensor([[1.0, 1e-3]])
    found = knn(bank, known, query, torch.tensor([1]), Knn(k=3, temperature=1e4))
    assert found.top1 == 100.0


def test_equal_votes_go_to_the_lower_class() -> None:
    bank, known = torch.eye(2), torch.tensor([1, 0])
    query = torch.ones(1, 2)
    assert knn(bank, known, query, torch.tensor([0]), Knn(k=2)).top1 == 100.0


def test_unlabelled_images_are_left_out_on_both_sides() -> None:
    bank, queries = draw(0, 40, 5), draw(1, 30, 5)
    known, asked = labels(0, 40, 4), labels(1, 30, 4)
    known[::3], asked[::4] = -1, -1
    left = knn(bank[known >= 0], known[known >= 0], queries[asked >= 0], asked[asked >= 0], Knn())
    assert knn(bank, known, queries, asked, Knn()) == left


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = draw(0, 60, 5), draw(1, 50, 5)
    known, asked = labels(0, 60, 8), labels(1, 50, 8)
    whole = knn(bank, known, queries, asked, Knn())
    for cells in (1, 60 * 7, 60 * 50):
        monkeypatch.setattr(module, "_CELLS", cells)
        assert knn(bank, known, queries, asked, Knn()) == whole


def test_a_feature_that_is_not_finite_spoils_itself_only() -> None:
    bank, known = draw(0, 40, 5), labels(0, 40, 4)
    queries, asked = bank.clone(), known.clone()
    bank[3, 1], bank[4, 2] = torch.nan, torch.inf
    queries[0, 0] = torch.nan
    found = knn(bank, known, queries, asked, Knn(k=1))
    assert found.top1 >= 100.0 * 37 / 40
    assert found.top1 <= 100.0 * 39 / 40
    assert found.protocol == "knn-v1 k=1 T=0.07 cosine, bank 38, queries 40, 3 with features that are not finite"


def test_the_protocol_says_what_was_done() -> None:
    bank, known = draw(0, 30, 5), labels(0, 30, 4)
    assert knn(bank, known, bank[:9], known[:9], Knn()).protocol == "knn-v1 k=20 T=0.07 cosine, bank 30, queries 9"
    clipped = knn(bank[:7], known[:7], bank, known, Knn()).protocol
    assert clipped == "knn-v1 k=7 (not 20: all of the bank) T=0.07 cosine, bank 7, queries 30"


def test_what_cannot_vote_is_refused() -> None:
    bank, known = draw(0, 3, 2), torch.tensor([0, 1, 0])
    with pytest.raises(ValueError, match="0 in the bank, 3 queries"):
        knn(bank, torch.full((3,), -1), bank, known, Knn())
    with pytest.raises(ValueError, match="3 in the bank, 0 queries"):
        knn(bank, known, bank, torch.full((3,), -1), Knn())
    for k, temperature in ((0, 0.07), (20, 0.0), (20, float("nan"))):
        with pytest.raises(ValueError, match="at least 1"):
            Knn(k, temperature)
