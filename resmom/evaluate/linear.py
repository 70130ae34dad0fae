"""The offline linear probe: multinomial logistic regression on frozen features."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from resmom.counter import permutation
from resmom.evaluate.score import Score, score
from resmom.evaluate.split import holdout


@dataclass(frozen=True)
class Linear:
    """Grid and schedule: SGD with momentum .9, learning rate falling as half a cosine to 0, no augmentation."""

    lrs: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    weight_decays: tuple[float, ...] = (0.0, 1e-4, 1e-3)
    epochs: int = 30
    batch: int = 1024
    held_out: float = 0.1
    """Share of the training images on which learning rate and weight decay are chosen."""
    seed: int = 0


@dataclass(frozen=True)
class LinearScore:
    """The test score with what was chosen on the held-out part of the training set."""

    score: Score
    lr: float
    weight_decay: float
    validation: float
    at_edge: bool
    """Whether the chosen learning rate is the grid's first or last: a wider grid might find a better one."""


def linear_probe(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test_features: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"],
    config: Linear,
) -> LinearScore:
    """Train on frozen features and test.

    Features are standardised by the training set's mean and deviation. Every pair of learning rate and weight decay is
    trained on nine tenths of the training set and judged on the rest; the best is trained again on all of it and tested
    at its last epoch. The test set has no part in any choice. Label -1 is left out.
    """
    features, labels = features[labels >= 0], labels[labels >= 0]
    test_features, test_labels = test_features[test_labels >= 0], test_labels[test_labels >= 0]
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    x, tested = (features - mean) / deviation, (test_features - mean) / deviation
    classes = int(torch.cat([labels, test_labels]).max()) + 1
    fit, held = (torch.from_numpy(part) for part in holdout(labels.numpy(), config.held_out, config.seed))

    grid = [(lr, decay) for lr in config.lrs for decay in config.weight_decays]
    heads = _train(x[fit], labels[fit], classes, grid, config)
    accuracies = [(_votes(x[held], head).argmax(1) == labels[held]).double().mean().item() for head in heads]
    best = int(np.argmax(accuracies))
    lr, decay = grid[best]

    [head] = _train(x, labels, classes, [grid[best]], config)
    protocol = (
        f"linear-v1 (frozen standardised features, no augmentation, {config.epochs} epochs, batch "
        f"{min(config.batch, len(x))}, lr {lr:g} and wd {decay:g} chosen on {len(held)} held-out training images, "
        f"trained on {len(x)}, tested on {len(tested)}, last epoch)"
    )
    edge = len(config.lrs) > 1 and lr in (config.lrs[0], config.lrs[-1])
    return LinearScore(score(_votes(tested, head), test_labels, protocol), lr, decay, 100.0 * accuracies[best], edge)


def _votes(x: Tensor, head: Tensor) -> Tensor:
    """Scores of a head whose last row is the bias. A head that diverged votes for nobody."""
    votes = x @ head[:-1] + head[-1]
    return votes if votes.isfinite().all() else torch.zeros_like(votes).index_fill_(1, torch.tensor([0]), -1.0)


def _train(x: Tensor, labels: Tensor, classes: int, grid: list[tuple[float, float]], config: Linear) -> list[Tensor]:
    """One head per (lr, wd), (d + 1) x classes each, all trained at once on the same batches."""
    n, g = len(x), len(grid)
    batch = min(config.batch, n)
    x = torch.cat([x, torch.ones(n, 1)], dim=1)
    heads = torch.zeros(x.shape[1], g * classes)
    velocity = torch.zeros_like(heads)
    rates, decays = (torch.tensor(column).repeat_interleave(classes) for column in zip(*grid, strict=True))
    per_epoch = n // batch
    steps = config.epochs * per_epoch
    target = F.one_hot(labels, classes).float()
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.from_numpy(permutation(config.seed, step // per_epoch, n))
        rows = order[step % per_epoch * batch : (step % per_epoch + 1) * batch]
        inputs = x[rows]
        shares = (inputs @ heads).view(batch, g, classes).softmax(-1)
        gradient = inputs.T @ (shares - target[rows][:, None]).view(batch, -1) / batch
        gradient[:-1] += decays * heads[:-1]
        velocity.mul_(0.9).add_(gradient)
        heads -= 0.5 * (1 + np.cos(np.pi * step / steps)) * rates * velocity
    return list(heads.view(-1, g, classes).unbind(1))
