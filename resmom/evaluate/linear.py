"""The offline linear probe: multinomial logistic regression on frozen features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from resmom.called import called
from resmom.data.split import holdout
from resmom.evaluate.score import NotMeasured, Score, score
from resmom.evaluate.settings import Linear
from resmom.evaluate.standard import moments, only, require_sound, standardised
from resmom.protocols import BEYOND, EDGE

_LEAST_STEPS = 10
"""Steps of an epoch on small sets, whose batches are made smaller for it: an epoch of one step learns nothing."""


@dataclass(frozen=True)
class LinearScore:
    """The test score with what was chosen on the held-out part of the training set. `validation` is in percent."""

    score: Score
    lr: float
    weight_decay: float
    validation: float
    at_edge: bool
    """Whether the choice lies at an end of the grid where a wider one might do better (a decay of 0 is no such end)."""
    layer: nn.Linear = field(compare=False, repr=False)
    """The classifier that was tested, on features as they are, on the CPU: it has the standardisation in it."""


def linear_probe(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " n"],
    test_features: Float[Tensor, "m d"],
    test_labels: Int[Tensor, " m"],
    config: Linear,
) -> LinearScore:
    """Train on frozen features and test; a function of its arguments alone.

    Features are standardised by the training set's mean and deviation. Every pair of learning rate and weight decay is
    trained on nine tenths of the training set and judged on the rest (equals: the lower cross-entropy); the best is
    trained again on all of it and tested at its last epoch; where that diverges, the next best is. The test set has no
    part in any choice. Label -1 is left out. Raises ValueError for no labelled images, and for no class with two images
    to choose on; NotMeasured for features that are not finite, and where every learning rate diverges.
    """
    features, labels = only(features, labels >= 0), only(labels, labels >= 0).long()
    test_features, test_labels = only(test_features, test_labels >= 0), only(test_labels, test_labels >= 0).long()
    require_sound(features, test_features)
    mean, deviation = moments(features)
    x = _with_ones(features, mean, deviation)
    classes = int(torch.cat([labels, test_labels]).max()) + 1
    choices = _ranked(x, labels, classes, config)
    choice, head = _trained(x, labels, classes, choices, config)
    said = f"{f' {EDGE}' if choice.at_edge else ''}{'' if choice is choices[0] else f' {BEYOND}'}"
    protocol = (
        f"linear-v1 (frozen features standardised by the training set, no augmentation, {config.epochs} epochs, batch "
        f"{choice.batch}, lr {choice.lr:g} and wd {choice.weight_decay:g} chosen on {choice.held} held-out training "
        f"images{said}, trained on {len(x)}, tested on {len(test_labels)}, last epoch)"
    )
    tested = score(_with_ones(test_features, mean, deviation) @ head, test_labels, protocol)
    layer = _on_raw_features(head, mean, deviation)
    return LinearScore(tested, choice.lr, choice.weight_decay, choice.accuracy, choice.at_edge, layer)


@torch.no_grad()
def _on_raw_features(
    head: Float[Tensor, "_ k"], mean: Float[Tensor, " d"], deviation: Float[Tensor, " d"]
) -> nn.Linear:
    """A head of standardised features and a one as a layer of features as they are; the same votes, rounding apart."""
    weights = head[:-1].double() / deviation.double()[:, None]
    bias = head[-1].double() - mean.double() @ weights
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, *weights.shape)  # type: ignore[no-untyped-call]
    layer.weight.copy_(weights.T)
    layer.bias.copy_(bias)
    return layer


@dataclass(frozen=True)
class Choice:
    """The best setting of the grid, by its accuracy in percent on `held` held-out training images."""

    accuracy: float
    lr: float
    weight_decay: float
    loss: float
    """Cross-entropy on the held-out images, which tells equals apart."""
    at_edge: bool
    batch: int
    held: int

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better."""
        return self.accuracy, -self.loss


def choose_linear(features: Float[Tensor, "n d"], labels: Int[Tensor, " n"], config: Linear) -> Choice:
    """The best learning rate and weight decay as `linear_probe` finds them, without a test; the same errors."""
    features, labels = only(features, labels >= 0), only(labels, labels >= 0).long()
    require_sound(features, features)
    return _ranked(_with_ones(features, *moments(features)), labels, int(labels.max()) + 1, config)[0]


def _trained(
    x: Tensor, labels: Tensor, classes: int, choices: Sequence[Choice], config: Linear
) -> tuple[Choice, Tensor]:
    """The best choice that does not diverge on all images, which nine tenths of them cannot foretell, and its head."""
    rows = torch.arange(len(x), device=x.device)
    for choice in choices:
        [head], _ = _train(x, labels, rows, classes, [(choice.lr, choice.weight_decay)], choice.batch, config)
        if head.isfinite().all():
            return choice, head
    raise NotMeasured(f"every learning rate diverged on the whole training set: {_lower(config)}")


def _lower(config: Linear) -> str:
    """The rates that diverged, and what to do."""
    least, usual = min(config.lrs), Linear().lrs
    lower = usual if least > max(usual) else [float(f"{lr:.1g}") for lr in (least / 10, least / 3)]
    rates, others = (" ".join(f"{lr:g}" for lr in lrs) for lrs in (config.lrs, lower))
    return f"{rates}; give lower ones, such as {called('linear.lrs')} {others}"


def _ranked(x: Tensor, labels: Tensor, classes: int, config: Linear) -> list[Choice]:
    """The settings of the grid that do not diverge, the best first; of equals that which stands first in the grid."""
    fit, held = (
        torch.from_numpy(part).to(x.device) for part in holdout(labels.cpu().numpy(), config.held_out, config.seed)
    )
    batch = min(config.batch, max(1, len(fit) // _LEAST_STEPS))
    grid = [(lr, decay) for lr in config.lrs for decay in config.weight_decays]
    heads, losses = _train(x, labels, fit, classes, grid, batch, config)
    each = list(zip(heads, losses.tolist(), strict=True))
    judged = [_DIVERGED]
    for above in (_ROUNDING, _SCATTER):
        if max(judged) == _DIVERGED:
            judged = [_judge(x[held] @ head, labels[held], loss, classes, above) for head, loss in each]
    if max(judged) == _DIVERGED:
        raise NotMeasured(f"every learning rate of the grid diverged: {_lower(config)}")
    found = [
        Choice(100.0 * accuracy, lr, decay, -minus_loss, _at_edge(config, lr, decay), batch, len(held))
        for (lr, decay), (accuracy, minus_loss) in zip(grid, judged, strict=True)
        if (accuracy, minus_loss) != _DIVERGED
    ]
    return sorted(found, key=lambda choice: choice.rank, reverse=True)


def _with_ones(features: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """With a last column of ones, whose weights are the bias."""
    return standardised(features, mean, deviation, ones=1)


_DIVERGED = (-1.0, 0.0)
_ROUNDING = 1e-3
_SCATTER = 0.05
"""Of features that tell nothing (constant, or one that is noise) no rate gets below chance: with batches of few images
SGD stays above it, at the default grid's lowest rate by up to .003, at .03 by up to .03. It counts only where no rate
is below chance. The mildest rate found that does blow up is .2 above."""


def _judge(votes: Tensor, labels: Tensor, loss: float, classes: int, above: float = _ROUNDING) -> tuple[float, float]:
    """Accuracy and, to tell equals apart, minus the cross-entropy. A head that diverged is below all others.

    `loss` is that of training, averaged over the run. It starts at chance, ln(classes): a head further `above` that on
    average was blown up by its learning rate, however well its last, still finite weights happen to do.
    """
    if not votes.isfinite().all() or not loss <= math.log(classes) + above:
        return _DIVERGED
    accuracy = (votes.argmax(1) == labels).double().mean().item()
    return accuracy, -F.cross_entropy(votes, labels).item()


def _at_edge(config: Linear, lr: float, decay: float) -> bool:
    lrs, decays = set(config.lrs), set(config.weight_decays)
    lr_ends = {min(lrs), max(lrs)} if len(lrs) > 1 else set()
    decay_ends = {min(decays), max(decays)} - {0.0} if len(decays) > 1 else set()
    return lr in lr_ends or decay in decay_ends


def _train(
    x: Tensor, labels: Tensor, rows: Tensor, classes: int, grid: list[tuple[float, float]], batch: int, config: Linear
) -> tuple[list[Tensor], Tensor]:
    """One head per (lr, wd), (d + 1) x classes each, all trained at once on the same batches of the images `rows`.

    With them, for each head, the mean of the losses that it was trained on.
    """
    g, per_epoch = len(grid), len(rows) // batch
    steps = config.epochs * per_epoch
    random = torch.Generator().manual_seed(config.seed)
    heads = x.new_zeros(x.shape[1], g * classes)
    velocity = torch.zeros_like(heads)
    rates, decays = (
        torch.tensor(column, device=x.device).repeat_interleave(classes) for column in zip(*grid, strict=True)
    )
    decay = decays.expand_as(heads).clone()
    decay[-1] = 0.0  # the bias does not decay
    losses = x.new_zeros(g)
    order = rows
    for step in range(steps):
        if step % per_epoch == 0:
            order = rows[torch.randperm(len(rows), generator=random).to(rows.device)]
        chosen = order[step % per_epoch * batch :][:batch]
        inputs = x[chosen]
        shares = (inputs @ heads).view(batch * g, classes).log_softmax(-1)
        own = labels[chosen].repeat_interleave(g)[:, None]
        losses -= shares.gather(1, own).view(batch, g).mean(0)
        error = shares.exp_()
        error.scatter_add_(1, own, torch.full_like(own, -1.0, dtype=error.dtype))
        velocity.mul_(0.9).addcmul_(decay, heads).addmm_(inputs.T, error.view(batch, -1), alpha=1.0 / batch)
        heads.addcmul_(rates, velocity, value=-0.5 * (1.0 + math.cos(math.pi * step / steps)))
    return list(heads.view(-1, g, classes).unbind(1)), losses / steps
