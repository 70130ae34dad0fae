"""Every recipe beside the data set that it is for: batch, queue, warm-up and drops fit the number of its images."""

import pytest
import torch

from resmom.config import Run
from resmom.methodconfig import queue_of
from resmom.recipes import RECIPES, recipe
from resmom.train.optim import Sgd, build_optimizer, set_rate
from resmom.train.plan import learning_rate, length

IMAGES = {
    "cifar10": 50_000,
    "cifar100": 50_000,
    "coco": 118_287,
    "digits": 1_797,
    "imagenet": 1_281_167,
    "imagenet100": 126_689,
    "imagenette": 9_469,
    "stl10": 105_000,
    "tinyimagenet": 100_000,
}
"""Training images of the data set that a recipe's name has in its second or third part."""


def images(name: str) -> int:
    [found] = [number for data, number in IMAGES.items() if data in name.split("_")]
    return found


def rates(run: Run, per_epoch: int, *epochs: float) -> list[float]:
    return [learning_rate(run.train, run.optim.lr, round(epoch * per_epoch), per_epoch) for epoch in epochs]


@pytest.mark.parametrize("name", RECIPES)
def test_batch_queue_and_schedule_fit_the_data_set(name: str) -> None:
    run, n = recipe(name), images(name)
    per_epoch = n // run.train.batch
    assert per_epoch >= 1
    assert queue_of(run.method) == 0 or queue_of(run.method) >= run.train.batch
    if queue_of(run.method) > n:
        assert "longer than the data set" in (RECIPES[name].__doc__ or "")
    steps = length(run.train, per_epoch)
    assert round(run.train.warmup_epochs * per_epoch) < min([steps, *(share * steps for share in run.train.drops)])


@pytest.mark.parametrize("name", ["byol_stl10_r18", "simclr_tinyimagenet_r18"])
def test_the_rate_of_ermolov_at_every_turn(name: str) -> None:
    """As their train.py gives it: 500 steps up, 2e-3, a fifth 50 epochs before the end and again 25 before it."""
    run, per_epoch = recipe(name), images(name) // 512
    epochs = run.train.epochs
    assert learning_rate(run.train, run.optim.lr, 0, per_epoch) == pytest.approx(2e-3 / 500)
    assert learning_rate(run.train, run.optim.lr, 250, per_epoch) == pytest.approx(2e-3 * 251 / 500, rel=2e-3)
    found = rates(run, per_epoch, 500 / per_epoch, epochs - 51, epochs - 50, epochs - 26, epochs - 25, epochs - 1)
    assert found == pytest.approx([2e-3, 2e-3, 4e-4, 4e-4, 8e-5, 8e-5])
    last = (epochs - 50) * per_epoch - 1
    assert learning_rate(run.train, run.optim.lr, last, per_epoch) == pytest.approx(2e-3)  # the step before the drop


def test_a_quarter_of_the_rate_and_four_times_the_decay_undo_a_loss_four_times_as_large() -> None:
    """Why byol_imagenette_r18 has other numbers than its source, whose loss is a quarter of ours."""
    ours = recipe("byol_imagenette_r18").optim
    weights = []
    for optim, scale in ((ours, 4.0), (Sgd(lr=0.06, weight_decay=5e-4), 1.0)):
        torch.manual_seed(0)
        network = torch.nn.Linear(4, 3).double()
        optimizer = build_optimizer(optim, network)
        set_rate(optimizer, optim.lr)
        for _ in range(5):
            optimizer.zero_grad()
            (scale * network(torch.ones(2, 4, dtype=torch.float64)).square().mean()).backward()
            optimizer.step()
        weights.append(network.weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-12, atol=0)
