"""What the probe chooses: never a rate that blows up and stays finite, and never by the test set."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from resmom.evaluate import linear
from resmom.evaluate.linear import _judge, _train, linear_probe
from resmom.evaluate.score import NotMeasured
from resmom.evaluate.settings import Linear
from resmom.protocols import chosen, shared_protocol
from tests.evaluate.test_linear import QUICK, clusters


@pytest.mark.slow
@pytest.mark.parametrize("classes", [3, 7, 40])
@pytest.mark.parametrize("apart", [0.1, 0.4, 1.0])
def test_a_rate_that_diverges_and_stays_finite_is_not_chosen(classes: int, apart: float) -> None:
    (x, y), (tx, ty) = clusters(600, classes, 16, apart, 0), clusters(300, classes, 16, apart, 1)
    without, beside = (
        linear_probe(x, y, tx, ty, replace(QUICK, lrs=lrs)) for lrs in ((0.003, 0.03), (0.003, 1e6, 0.03))
    )
    assert beside.lr == without.lr and beside.weight_decay == without.weight_decay
    assert beside.score.top1 == pytest.approx(without.score.top1, abs=0.7)


def test_only_rates_that_diverge_are_refused() -> None:
    x, y = clusters(600, 7, 16, 0.4, 0)
    with pytest.raises(ValueError, match="every learning rate"):
        linear_probe(x, y, x, y, replace(QUICK, lrs=(1e4, 1e6)))


def test_noise_is_no_divergence() -> None:
    x, _ = clusters(300, 3, 64, 0.4, 0)
    noise = torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(7))
    assert linear_probe(x, noise, x, noise, Linear(epochs=5)).lr in Linear().lrs
    assert linear_probe(x, noise, x, noise, replace(QUICK, lrs=(1e-8,))).lr == 1e-8  # a loss that stays at chance


def test_the_loss_that_tells_divergence_is_the_mean_over_the_run() -> None:
    x, y = clusters(40, 3, 5, 1.0, 0)
    x = torch.cat([x, torch.ones(40, 1)], 1)
    _, still = _train(x, y, torch.arange(40), 3, [(1e-9, 0.0)], 20, Linear(epochs=3))
    assert still.item() == pytest.approx(math.log(3), rel=1e-5)
    _, (learns, explodes) = _train(x, y, torch.arange(40), 3, [(0.1, 0.0), (1e6, 0.0)], 20, Linear(epochs=3))
    assert learns < math.log(3) < explodes


def test_judgement_puts_divergence_below_everything() -> None:
    votes, labels = torch.eye(3), torch.arange(3)
    worst = _judge(-votes, labels, 0.5, 3)
    assert worst[0] == 0.0
    for blown in (_judge(votes, labels, 2.0, 3), _judge(votes, labels, math.nan, 3), _judge(votes / 0, labels, 0.5, 3)):
        assert blown < worst < _judge(votes, labels, 0.5, 3)


def test_permuted_test_labels_change_the_score_alone() -> None:
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    honest, permuted = linear_probe(x, y, tx, ty, QUICK), linear_probe(x, y, tx, ty[order], QUICK)
    assert (permuted.lr, permuted.weight_decay) == (honest.lr, honest.weight_decay)
    assert permuted.validation == honest.validation and permuted.at_edge == honest.at_edge
    assert permuted.score.top1 < 35 < honest.score.top1


def test_features_a_thousand_times_larger_change_no_choice() -> None:
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    plain, large = linear_probe(x, y, tx, ty, QUICK), linear_probe(1000 * x, y, 1000 * tx, ty, QUICK)
    assert (large.lr, large.weight_decay) == (plain.lr, plain.weight_decay)
    assert large.score.top1 == pytest.approx(plain.score.top1, abs=0.7)


@pytest.mark.parametrize(("n", "classes"), [(12, 2), (16, 2), (20, 2), (12, 3), (30, 3), (10, 5), (20, 10)])
def test_features_that_tell_nothing_score_chance(n: int, classes: int) -> None:
    """No rate gets below chance there, and the batches of small sets are so small that none stays at it."""
    x, y = torch.full((n, 64), 0.3), torch.arange(n) % classes
    found = linear_probe(x, y, x, y, Linear())
    assert found.score.top1 == pytest.approx(100 / classes) and found.lr in Linear().lrs


def test_the_mildest_divergence_is_told_from_scatter() -> None:
    x, y = clusters(600, 3, 16, 0.1, 0)
    for lr in (1.0, 3.0):
        with pytest.raises(ValueError, match="every learning rate"):
            linear_probe(x, y, x, y, Linear(lrs=(lr,)))
    assert linear_probe(x, y, x, y, Linear(lrs=(0.3, 1.0))).lr == 0.3


def test_a_choice_that_diverges_on_all_images_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine tenths of the images cannot foretell what the rest does to a rate that is nearly too high."""
    (x, y), (tx, ty) = clusters(600, 7, 16, 0.4, 0), clusters(300, 7, 16, 0.4, 1)
    plain, blown = linear_probe(x, y, tx, ty, QUICK), set[float]()

    def train(*given: Any) -> tuple[list[torch.Tensor], torch.Tensor]:
        heads, losses = _train(*given)
        grid = given[4]
        return [head * (math.nan if len(grid) == 1 and grid[0][0] in blown else 1.0) for head in heads], losses

    monkeypatch.setattr(linear, "_train", train)
    assert linear_probe(x, y, tx, ty, QUICK).score == plain.score
    blown.add(plain.lr)
    found = linear_probe(x, y, tx, ty, QUICK)
    assert found.lr != plain.lr and found.lr in QUICK.lrs and found.validation <= plain.validation
    (other,) = (lr for lr in QUICK.lrs if lr != plain.lr)
    without = linear_probe(x, y, tx, ty, replace(QUICK, lrs=(other,)))
    assert found.score.top1 == without.score.top1
    assert "after better ones that diverged on all images, trained on 600" in found.score.protocol
    assert shared_protocol(found.score.protocol) == shared_protocol(plain.score.protocol)
    assert chosen(found.score.protocol).endswith(", after better ones that diverged on all images")
    blown.add(found.lr)
    with pytest.raises(NotMeasured, match=r"whole training set: 0\.003 0\.03; .* linear\.lrs 0\.0003 0\.001"):
        linear_probe(x, y, tx, ty, QUICK)
