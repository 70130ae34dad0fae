"""How a derived run goes: batch, length, optimiser, precision, and how often it is measured.

Each with its reason; docs/automatic.md has the rules, docs/results/settings.md what they rest on.
"""

import math
from dataclasses import replace
from typing import Literal

from resmom.called import called
from resmom.config import Log
from resmom.methodconfig import MethodConfig
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.recipes.facts import Facts, Limits
from resmom.recipes.suited import optim_for
from resmom.train.optim import AdamW, OptimConfig, Sgd

LEAST_BATCH = 32
"""A smaller batch has too few negatives: where memory does not hold this one, its graph is cut."""
LEAST_TIMES, MOST_TIMES = 20.0, 800.0
"""How often a derived run sees each image, on average."""
MEASURES = 20
"""Checkpoints and measurements of health over a run, where they are cheap beside it."""


def batch_for(facts: Facts, limits: Limits) -> tuple[int, str]:
    """The batch of all processes together, in equal parts."""
    if facts.batch:
        derived, _ = batch_for(replace(facts, batch=0), limits)
        return facts.batch, f"asked for; derived: {derived}"
    batch, why = _whole_batch(facts, limits)
    if over := batch % facts.processes:
        less = batch - over
        return (
            less if less >= LEAST_BATCH else less + facts.processes,
            f"{why}; equal parts for {facts.processes} processes",
        )
    return batch, why


def _whole_batch(facts: Facts, limits: Limits) -> tuple[int, str]:
    """The batch, whether or not the processes can share it."""
    most = 256 if facts.gpu else 128
    if LEAST_BATCH <= limits.batch < most:
        return limits.batch, "as many images as the memory holds at once"
    if 0 < limits.batch < LEAST_BATCH:
        return LEAST_BATCH, f"the least that has enough negatives, though the memory holds {limits.batch} at once"
    batch = most
    while batch > LEAST_BATCH and batch > facts.images // 4:
        batch //= 2
    if batch == most:
        return batch, "enough negatives, and more steps than a larger one for the same images"
    if batch > facts.images // 4:
        return batch, f"the least that has enough negatives, though more than a quarter of the {facts.images} images"
    return batch, f"a quarter of the {facts.images} images at most, so that batches differ"


def steps_for(facts: Facts, limits: Limits, batch: int) -> tuple[int, str]:
    """The length of the run."""
    if 0 < limits.steps < facts.steps:
        return limits.steps, f"what fits into the given time at the speed measured just now; asked for: {facts.steps}"
    if facts.steps:
        derived, _ = steps_for(replace(facts, steps=0), limits, batch)
        return facts.steps, f"asked for; derived: {derived}"
    if limits.steps:
        return limits.steps, "what fits into the given time at the speed measured just now"
    seen = 20_000_000 if facts.gpu else 1_000_000
    times = min(MOST_TIMES, max(seen / facts.images, LEAST_TIMES))
    steps = max(500, math.ceil(times * facts.images / batch))
    if facts.init:
        return max(500, steps // 4), "a quarter of a run from random weights: the encoder knows much already"
    if times == MOST_TIMES:
        # The passes that are told of the run are epochs, each of whole batches: more than these where images are over.
        less = "; a pass leaves out those that fill no batch" if facts.images % batch else ""
        often = f"each image is seen {MOST_TIMES:.0f} times on average, and no more{less}"
        return steps, f"{often}: beyond that a small set is only learnt by heart"
    return steps, f"about {seen // 1_000_000} million images seen; {called('time')} fits the run to a budget instead"


def optim_of(facts: Facts, backbone: BackboneConfig, method: MethodConfig) -> tuple[OptimConfig, str]:
    """The optimiser that suits the network, or the loss where that asks for another."""
    derived, why = _optim(facts, backbone)
    made = optim_for(method, derived)
    return made, why if made == derived else "LARS, whose steps do not depend on the size of the loss"


def _optim(facts: Facts, backbone: BackboneConfig) -> tuple[OptimConfig, str]:
    convolutional = isinstance(backbone, ResNet | SmallResNet) or (
        isinstance(backbone, Timm) and "resnet" in backbone.name
    )
    if convolutional:
        start = "; a tenth of it, since the run starts from trained weights" if facts.init else ""
        return Sgd(lr=0.03 if facts.init else 0.3, weight_decay=1e-4), f"SGD, as most published runs of ResNets{start}"
    start = "; four tenths of it, since the run starts from trained weights" if facts.init else ""
    lr, lower, source = 1.5e-4, 6e-5, "MoCo-v3's for transformers"
    if isinstance(backbone, MoCoViT | DinoViT) and backbone.size == "micro":
        lr, lower, source = 2e-3, 8e-4, "level with the best of four rates, in short runs with patches of 8"
    if isinstance(backbone, Timm):
        source += f", not measured for {backbone.name}"
    return AdamW(lr=lower if facts.init else lr, weight_decay=0.1), source + start


def precision_for(facts: Facts) -> tuple[Literal["fp32", "bf16"], str]:
    """The precision that the machine computes fastest."""
    if facts.fast_bf16:
        return "bf16", "this machine computes bfloat16 faster than float32"
    return "fp32", "this machine has no fast bfloat16"


def warmup(steps: int) -> int:
    """Steps of the warm-up: a twentieth of the run, as 10 of 200 epochs in the literature, and no more than 1,000."""
    return min(1000, steps // 20)


def log_for(steps: int, per_epoch: int, limits: Limits) -> Log:
    """How often is measured, and kept: one step more than an even share, so that none falls on the last checkpoint."""
    measured = max(1, round(steps / (limits.measures or MEASURES))) / per_epoch
    kept = math.ceil((steps + 1) / (limits.kept + 1)) / per_epoch if limits.kept else 0.0
    return Log(line_steps=max(1, min(20, steps // 200)), save_epochs=measured, keep_epochs=kept, knn_epochs=measured)
