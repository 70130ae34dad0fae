"""Accuracies at points known by hand, with ties and with votes that are not finite."""

import pytest
import torch

from resmom.evaluate.score import score


def test_by_hand() -> None:
    votes = torch.tensor([[7.0, 6, 5, 4, 3, 2, 1]] * 4)
    found = score(votes, torch.tensor([0, 4, 5, 6]), "by hand")
    assert (found.top1, found.top5, found.protocol) == (25.0, 50.0, "by hand")


def test_equal_votes_go_to_the_lower_class() -> None:
    flat = torch.zeros(7, 7)
    found = score(flat, torch.arange(7), "")
    assert found.top1 == pytest.approx(100 / 7)
    assert found.top5 == pytest.approx(500 / 7)


def test_votes_that_are_not_finite_are_wrong() -> None:
    votes = torch.zeros(4, 6)
    votes[0, 0], votes[1, 0], votes[2, 3] = torch.nan, torch.inf, -torch.inf
    assert score(votes, torch.zeros(4, dtype=torch.long), "").top1 == 25.0
    assert score(votes, torch.zeros(4, dtype=torch.long), "").top5 == 25.0


def test_top5_needs_more_than_five_classes() -> None:
    assert score(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long), "").top5 is None
    assert score(torch.zeros(2, 6), torch.zeros(2, dtype=torch.long), "").top5 == 100.0


def test_what_has_no_accuracy_is_refused() -> None:
    with pytest.raises(ValueError, match="there are none"):
        score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "")
    with pytest.raises(ValueError, match=r"0 … 2, .* got 1 … 3"):
        score(torch.zeros(2, 3), torch.tensor([1, 3]), "")
