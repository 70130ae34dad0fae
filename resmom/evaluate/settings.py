"""The settings of kNN, probes and fine-tuning: options of `resmom evaluate`, which shows and checks them. No torch."""

from dataclasses import dataclass, replace
from typing import Literal

from resmom.called import called
from resmom.schedule import half_cosine, warmup_drops
from resmom.which import H


@dataclass(frozen=True)
class Knn:
    """Neighbours and temperature of the weights exp(cos / temperature): Wu et al. 2018 (arXiv 1805.01978), section 3.4,
    with the k that the CIFAR literature uses."""

    k: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        if self.k < 1 or not self.temperature > 0:
            raise ValueError(
                f"{called('knn.k')} must be at least 1 and {called('knn.temperature')} above 0; got {self.k}, "
                f"{self.temperature}"
            )


@dataclass(frozen=True)
class OtherKnn:
    """What is to be otherwise than a run has it, for figures that stand beside those of others; None leaves it."""

    k: int | None = None
    """Neighbours that vote; by default the run's, which its recipe set."""
    temperature: float | None = None
    """Of their weights, exp(cos / temperature); by default the run's."""

    def instead_of(self, own: Knn) -> Knn:
        """Raises ValueError as Knn does."""
        return Knn(
            own.k if self.k is None else self.k, own.temperature if self.temperature is None else self.temperature
        )


@dataclass(frozen=True)
class Linear:
    """Grid and schedule: SGD with momentum .9, learning rate falling as half a cosine to 0, no augmentation."""

    lrs: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    weight_decays: tuple[float, ...] = (0.0, 1e-3, 1e-2)
    epochs: int = 30
    batch: int = 1024
    held_out: float = 0.1
    """Share of the training images on which learning rate and weight decay are chosen."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.lrs or not self.weight_decays or min(self.lrs) <= 0 or min(self.weight_decays) < 0:
            raise ValueError(
                f"{called('linear.lrs')} and {called('linear.weight_decays')} need at least one value each, rates "
                f"above 0 and decays of 0 or more; got {self.lrs} and {self.weight_decays}"
            )
        if self.epochs < 1 or self.batch < 1:
            raise ValueError(
                f"{called('linear.epochs')} and {called('linear.batch')} must be at least 1; got {self.epochs}, "
                f"{self.batch}"
            )


DROPS = (0.6, 0.8)
"""Shares of the epochs after which the schedule `steps` goes on at a tenth of the rate."""


@dataclass(frozen=True)
class LinearCrop:
    """Schedule of MoCo-v3 (arXiv 2104.02057; main_lincls.py of its code): SGD with momentum .9 and no weight decay, 90
    epochs of batches of 1024, the rate falling as half a cosine from epoch to epoch.

    MoCo v1 and v2 (main_lincls.py): lr 30, schedule steps, 100 epochs, batch 256. solo-learn on ImageNet-100
    (scripts/linear/imagenet-100): lr .3, steps, 100, 256. DINO (eval_linear.py) on small networks: lr .001, 100 epochs,
    the class tokens of four blocks.
    """

    epochs: int = 90
    batch: int = 1024
    lr: float | None = None
    """Per 256 images; unset: .1 for convolutional networks and 3 for networks of tokens, as MoCo-v3 has it."""
    schedule: Literal["cosine", "steps"] = "cosine"
    """`steps`: a tenth after 60 and after 80 % of the epochs."""
    weight_decay: float = 0.0
    seed: int = 0
    layer: str = H
    """In place of h the features of another layer and pooling, by the names that `resmom evaluate --sweep` prints, as
    DINO joins 'last 4 blocks, class tokens'."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or self.seed < 0:
            raise ValueError(
                f"{called('linear_crop')} needs at least 1 epoch, batches of 1 and a seed of 0 or more; got "
                f"{self.epochs}, {self.batch}, {self.seed}"
            )
        if (self.lr is not None and not self.lr > 0) or not self.weight_decay >= 0:
            raise ValueError(
                f"{called('linear_crop.lr')} must be above 0 and {called('linear_crop.weight_decay')} 0 or more; got "
                f"{self.lr}, {self.weight_decay}"
            )

    def rate(self, lr: float, epoch: int) -> float:
        """The learning rate in an epoch, counted from 0, if `lr` is that of the first."""
        if self.schedule == "cosine":
            return half_cosine(epoch, self.epochs, lr, 0.0)
        return warmup_drops(epoch, self.epochs, 0, lr, DROPS, 0.1)


@dataclass(frozen=True)
class Finetune:
    """Optimiser and schedule. Unset values follow the network.

    Convolutional networks: SGD as SimCLR fine-tunes on few labels (arXiv 2002.05709, appendix B.5): Nesterov, rate .05
    per 256 images, no weight decay, crops and flips only, 60 epochs with 1 % of the labels and 30 with 10 %. There
    batches are 4096 images, so the rate is .8, and there is no warm-up; here batches are 256 and the first epoch warms
    up. Networks of tokens: AdamW as MAE fine-tunes (arXiv 2111.06377, table 9): rate 1e-3 per 256 images, decay .05,
    layer decay .75; its 100 epochs, mixup and RandAugment are left out.
    """

    epochs: int | None = None
    """60 with 1 % of the labels or less, otherwise 30."""
    batch: int = 256
    optim: Literal["auto", "sgd", "adamw"] = "auto"
    lr: float | None = None
    """Per 256 images."""
    layer_decay: float | None = None
    """Each layer (block, or stage of a ResNet) learns at this share of the rate of the next; 1: all alike."""
    weight_decay: float | None = None
    """On matrices alone for AdamW, on all weights for SGD."""
    warmup_epochs: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        epochs = usual_epochs(0.0) if self.epochs is None else self.epochs  # the most that it can become
        if epochs < 1 or self.batch < 2 or not 0 <= self.warmup_epochs <= epochs or self.seed < 0:
            raise ValueError(
                f"{called('finetune')} needs at least 1 epoch, batches of 2, a warm-up within the epochs and a seed of "
                f"0 or more; got {epochs}, {self.batch}, {self.warmup_epochs:g}, {self.seed}"
            )
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(
                f"{called('finetune.layer_decay')} must be above 0 and at most 1; got {self.layer_decay:g}"
            )
        if (self.lr is not None and not self.lr > 0) or (self.weight_decay is not None and not self.weight_decay >= 0):
            raise ValueError(
                f"{called('finetune.lr')} must be above 0 and {called('finetune.weight_decay')} 0 or more; got "
                f"{self.lr}, {self.weight_decay}"
            )

    def for_share(self, share: float) -> "Finetune":
        """These settings with a number of epochs: the given one, else that for this share of the labels.

        Raises ValueError if that is less than the warm-up.
        """
        return self if self.epochs is not None else replace(self, epochs=usual_epochs(share))


def usual_epochs(share: float) -> int:
    """SimCLR's number of epochs for this share of the labels (arXiv 2002.05709, appendix B.5, which has 1 and 10 %)."""
    return 60 if share <= 0.01 else 30


@dataclass(frozen=True)
class LowShot:
    """How many labelled images per class, and how often they are drawn."""

    shots: tuple[int, ...] = (1, 5, 10)
    draws: int = 5
    """With one image per class a single draw says little: report the spread."""
    seed: int = 0
    c: float = 1.0
    """Inverse strength of the penalty, scikit-learn's C and its default: too few images to choose it on."""

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1:
            got = ", ".join(map(str, self.shots)) or "none"
            raise ValueError(f"{called('low_shot')} needs numbers of images per class, of at least 1; got {got}")
        if self.draws < 1 or self.seed < 0 or not self.c > 0:
            raise ValueError(
                f"{called('draws')} must be at least 1, {called('seed')} at least 0, and c above 0; got {self.draws}, "
                f"{self.seed}, {self.c:g}"
            )
