"""What a step is told: learning rate, teacher momentum and residual weight, each a function of the step alone."""

from dataclasses import dataclass
from typing import Literal, assert_never

from resmom.called import called, either
from resmom.losses.residual import Residual
from resmom.nets.teacher import Ema
from resmom.schedule import half_cosine, linear, warmup_cosine, warmup_drops
from resmom.train.optim import AdamW, OptimConfig

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Train:
    """Length, batch and precision of a run."""

    epochs: int = 100
    """Passes over the images; not used where `steps` is given."""
    steps: int = 0
    """Optimiser steps, whatever the number of images; 0: `epochs` passes."""
    batch: int = 256
    """Images per optimiser step, over all processes together."""
    micro_batch: int = 0
    """Images whose graph is held at once, per process; 0 is all of them. The gradient is that of the whole batch where
    the student has no BatchNorm (DINO, iBOT, MoCo-v2 and ReSSL on transformers), or one over whole groups
    (--method.shuffle-bn). Any other BatchNorm, that of heads too, normalises the parts by themselves. DINOv2, SimCLR,
    NNCLR, Barlow Twins and VICReg refuse it. docs/path-of-a-batch.md has a table."""
    warmup_epochs: float = 10.0
    """Length of the warm-up of a run measured in epochs."""
    warmup_steps: int = 0
    """Length of the warm-up of a run measured in steps."""
    warmup_start: float = 0.0
    """Learning rate at step 0; rises linearly to the scaled rate, then falls as half a cosine to `final_lr`."""
    final_lr: float = 0.0
    """Learning rate at the end."""
    drops: tuple[float, ...] = ()
    """Shares of the run from which on the rate is `drop_factor` of what it was, in place of the cosine."""
    drop_factor: float = 0.1
    precision: Precision = "fp32"
    sizes: tuple[float, ...] = ()
    """Progressive resizing: sides of the views as shares of the policy's, each for an equal part of the steps: .5 .75 1
    for three thirds of the run; none: the policy's throughout. Measurements are at the policy's size always."""
    clip: float = 0.0
    """Largest norm of the whole gradient; 0 leaves it alone."""
    clip_each: bool = False
    """`clip` is the largest norm of each parameter's gradient by itself, as DINO has it."""
    clip_parts: bool = False
    """`clip` is the largest norm of the backbone's gradient, of the heads' and, where patches have heads of their own,
    of theirs, each by itself, as DINOv2 has it."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"{called('train.epochs')} must be at least 1; got {self.epochs}")
        if self.batch < 2 or self.micro_batch == 1:
            field, images = ("batch", self.batch) if self.batch < 2 else ("micro_batch", self.micro_batch)
            raise ValueError(
                f"{called(f'train.{field}')} is {images}; at least 2 images are needed at a time, since losses and "
                "batch normalisation compare the images of a batch; 32 and more are usual"
            )
        if self.steps < 0 or self.warmup_steps < 0:
            raise ValueError(
                f"{called('train.steps')} and {called('train.warmup_steps')} must be 0 (count in epochs) or positive"
            )
        if self.steps and self.warmup_steps >= self.steps:
            raise ValueError(
                f"{called('train.warmup_steps')} is {self.warmup_steps}, {called('train.steps')} {self.steps}: the "
                f"warm-up must be shorter than the run; lower {called('train.warmup_steps')}"
            )
        if not self.steps and not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"{called('train.warmup_epochs')} is {self.warmup_epochs}, {called('train.epochs')} {self.epochs}: the "
                f"warm-up must be shorter than the run; lower {called('train.warmup_epochs')}"
            )
        if self.micro_batch < 0 or self.clip < 0:
            raise ValueError(f"{called('train.micro_batch')} and {called('train.clip')} must be 0 (off) or positive")
        if not all(0 < share < 1 for share in self.drops) or not 0 < self.drop_factor < 1:
            raise ValueError(
                f"{called('train.drops')} are shares of the run and {called('train.drop_factor')} one of the rate, all "
                f"between 0 and 1; got {self.drops} and {self.drop_factor}"
            )
        if self.clip_each and self.clip_parts:
            raise ValueError(
                f"{called('train.clip_each')} clips each parameter by itself, {called('train.clip_parts')} backbone "
                "and heads; leave one of them out"
            )
        if self.drops and self.final_lr:
            raise ValueError(
                f"{called('train.final_lr')} is {self.final_lr}, where the cosine ends, and {called('train.drops')} "
                "replace the cosine; leave one of them out"
            )
        if not all(0 < share <= 1 for share in self.sizes):
            raise ValueError(
                f"{called('train.sizes')} are shares of the views' sides, above 0 and at most 1; got {self.sizes}; the "
                f"views' full size is the policy's ({either('--image-size', 'size of each view')})"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"{called('train.seed')} must be in [0, 2^32); got {self.seed}")


@dataclass(frozen=True)
class Plan:
    """The numbers of one step."""

    lr: float
    momentum: float
    residual: float
    weight_decay: float | None = None
    """None: what the optimiser was built with."""


def length(train: Train, per_epoch: int) -> int:
    """Optimiser steps of a run whose epochs have `per_epoch` steps."""
    return train.steps or train.epochs * per_epoch


def scaled(lr: float, batch: int) -> float:
    """A learning rate given per 256 images, for a batch (Goyal et al. 2017, arXiv 1706.02677: the linear rule)."""
    return lr * batch / 256


def view_share(train: Train, step: int, steps: int) -> float:
    """Sides of the views at a step of so many, as a share of the policy's."""
    if not train.sizes:
        return 1.0
    return train.sizes[min(step * len(train.sizes) // steps, len(train.sizes) - 1)]


def residual_weight(config: Residual, step: int, steps: int) -> float:
    """The residual term's weight at a step."""
    match config.schedule:
        case "constant":
            return config.weight
        case "rise":
            return half_cosine(step, steps, 0.0, config.weight)
        case "fall":
            return half_cosine(step, steps, config.weight, 0.0)
        case _:
            assert_never(config.schedule)


def momentum(ema: Ema, step: int, steps: int) -> float:
    """The teacher's momentum at a step."""
    match ema.schedule:
        case "cosine":
            return half_cosine(step, steps, ema.momentum, ema.final)
        case "linear":
            return linear(step, steps, ema.momentum, ema.final)
        case "constant":
            return ema.momentum
        case _:
            assert_never(ema.schedule)


def learning_rate(train: Train, lr: float, step: int, per_epoch: int) -> float:
    """The rate at a step for a rate `lr` per 256 images: linear warm-up, then half a cosine to `train.final_lr`.

    With `train.drops` the rate stays and drops instead.
    """
    steps = length(train, per_epoch)
    warmup = train.warmup_steps if train.steps else round(train.warmup_epochs * per_epoch)
    base, start = scaled(lr, train.batch), train.warmup_start
    if train.drops:
        return warmup_drops(step, steps, warmup, base, train.drops, train.drop_factor, start)
    return warmup_cosine(step, steps, warmup, base, start, end=train.final_lr)


def weight_decay(optim: OptimConfig, step: int, steps: int) -> float | None:
    """The weight decay at a step, None where it does not change."""
    if not isinstance(optim, AdamW) or optim.final_decay is None:
        return None
    return half_cosine(step, steps, optim.weight_decay, optim.final_decay)


def plan(
    train: Train,
    lr: float,
    ema: Ema,
    residual: Residual,
    step: int,
    per_epoch: int,
    optim: OptimConfig | None = None,
) -> Plan:
    """The numbers of step `step` of a run with `per_epoch` steps per epoch; `lr` is per 256 images.

    `optim` says whether and how the weight decay changes.
    """
    steps = length(train, per_epoch)
    return Plan(
        lr=learning_rate(train, lr, step, per_epoch),
        momentum=momentum(ema, step, steps),
        residual=residual_weight(residual, step, steps),
        weight_decay=None if optim is None else weight_decay(optim, step, steps),
    )
