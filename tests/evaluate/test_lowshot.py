"""Few labels: known answers, several draws, the same for every network, and what is refused."""

import statistics

import numpy as np
import pytest
import torch
from torch import Tensor

from resmom.evaluate.draw import shots
from resmom.evaluate.lowshot import logistic_votes, low_shot
from resmom.evaluate.score import Repeated
from resmom.evaluate.settings import Knn, LowShot

QUICK = LowShot(shots=(1, 5), draws=3)


def clusters(n: int, classes: int, apart: float, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    centres = apart * torch.randn(classes, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.arange(n) % classes
    return centres[labels] + torch.randn(n, 8, generator=random), labels


def measure(apart: float, config: LowShot = QUICK, classes: int = 7) -> list[Repeated]:
    return low_shot(*clusters(210, classes, apart, 0), *clusters(210, classes, apart, 1), config, Knn())


def test_one_image_is_enough_for_clusters_far_apart() -> None:
    found = measure(apart=20.0)
    assert [f.score.top1 for f in found] == [100.0] * 4 and [f.sd for f in found] == [0.0] * 4
    assert all(f.score.top5 == 100.0 for f in found)


def test_mean_and_spread_are_those_of_the_draws() -> None:
    for f in measure(apart=0.6):
        assert len(f.each) == 3 and f.score.top1 == statistics.fmean(f.each) and f.sd == statistics.stdev(f.each)
    assert all(f.sd is None for f in measure(0.6, LowShot((1,), draws=1)))


def test_more_images_help_and_the_words_say_how_many() -> None:
    logistic1, knn1, logistic5, knn5 = measure(apart=0.6)
    assert logistic5.score.top1 > logistic1.score.top1 + 5 and knn5.score.top1 > knn1.score.top1 + 5
    assert logistic1.score.protocol == (
        "low-shot-v1 1 per class, logistic regression C=1, mean of 3 draws (seed 0), tested on 210"
    )
    assert knn5.score.protocol.startswith("low-shot-v1 5 per class, kNN k=5 T=0.07 cosine, mean of 3")


def test_no_signal_is_chance() -> None:
    for f in measure(apart=0.0, config=LowShot((5,), draws=8), classes=3):
        assert f.score.top1 == pytest.approx(100 / 3, abs=6)


def test_a_function_of_its_arguments() -> None:
    state = torch.get_rng_state()
    assert measure(0.6) == measure(0.6)
    assert torch.equal(torch.get_rng_state(), state)
    assert measure(0.6, LowShot((1, 5), 3, seed=1)) != measure(0.6)


def test_knn_of_one_image_is_the_nearest_image() -> None:
    """Against a plain loop over the same draw."""
    (x, y), (tx, ty) = clusters(210, 7, 0.6, 0), clusters(210, 7, 0.6, 1)
    rows = shots(y.numpy(), 1, 0, 0)
    unit = np.array([row / np.linalg.norm(row) for row in x[rows].double().numpy()])
    right = sum(
        int(y[rows][int((unit @ query.double().numpy()).argmax())]) == label
        for query, label in zip(tx, ty, strict=True)
    )
    assert measure(0.6)[1].each[0] == pytest.approx(100 * right / 210)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_without_an_image_is_never_voted_for(classes: int) -> None:
    x, y = clusters(20, classes, 5.0, 0)
    votes = logistic_votes(x, y, x, classes + 2, 1.0)
    assert votes.shape == (20, classes + 2) and (votes.argmax(1) == y).all() and votes.isfinite().all()
    assert (votes[:, classes:] < votes[:, :classes].min()).all()


def test_the_penalty_is_scikit_learns_on_images_of_length_one() -> None:
    """At the optimum the gradient of sum of losses + |w|^2 / 2C vanishes."""
    x, y = clusters(60, 3, 1.0, 0)
    z = (x / 8**0.5).double()
    weights = torch.zeros(8, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    fit = torch.optim.LBFGS([weights, bias], max_iter=300, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        fit.zero_grad()
        total = torch.nn.functional.cross_entropy(z @ weights + bias, y, reduction="sum") + weights.square().sum() / 4
        total.backward()
        return total

    fit.step(loss)
    ours = logistic_votes(x, y, x, 3, 2.0).softmax(1)
    torch.testing.assert_close(ours, (z @ weights + bias).softmax(1).detach(), atol=2e-3, rtol=0)


def test_refusals() -> None:
    (x, y), (tx, ty) = clusters(21, 7, 1.0, 0), clusters(21, 7, 1.0, 1)
    with pytest.raises(ValueError, match=r"7 of 7 classes have fewer than 5 .*: a \(3\), b \(3\)"):
        low_shot(x, y, tx, ty, QUICK, Knn(), "abcdefg")
    with pytest.raises(ValueError, match="at least two classes"):
        low_shot(x, y * 0, tx, ty, QUICK, Knn())
    with pytest.raises(ValueError, match="got 0 and 21"):
        low_shot(x, y * 0 - 1, tx, ty, QUICK, Knn())
    with pytest.raises(ValueError, match="not finite"):
        low_shot(x.log(), y, tx, ty, QUICK, Knn())
    for wrong in ({"shots": ()}, {"shots": (0,)}, {"draws": 0}, {"seed": -1}, {"c": 0.0}):
        with pytest.raises(
            ValueError, match=r"^(low_shot needs numbers of images|draws must be at least 1, seed at least 0, and c)"
        ):
            LowShot(**wrong)  # type: ignore[arg-type]
