"""BatchNorm's statistics estimated anew for the weights as they are: "precise BatchNorm", in its first form.

In training weights and statistics move together, so that the running averages that a measurement uses belong to weights
of the past. Detectron2 calls update_bn_stats of fvcore/nn/precise_bn.py before every measurement and at the end where
TEST.PRECISE_BN.ENABLED is set. Here as in fvcore's first versions each batch's mean and variance are averaged. Later
ones estimate the variance of all batches together (_PopulationVarianceEstimator): a batch counts by its number of
places, and how far the batches' means lie apart is part of the variance.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resmom.data.loader import prefetch
from resmom.evaluate.detection import Detect, Samples, loss_terms


@contextmanager
def averaging(norms: list[_BatchNorm]) -> Iterator[None]:
    """Forward passes in here give `norms` the plain mean of every batch's mean and (unbiased) variance.

    Each batch counts alike, however many places it has, as in fvcore's first versions. What the layers had before is
    forgotten.
    """
    momenta = [norm.momentum for norm in norms]
    counted = [None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone() for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the mean of all batches
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counted, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)


def precise_statistics(model: nn.Module, samples: Samples, config: Detect, device: torch.device, workers: int) -> str:
    """Estimate the statistics of a detector in training mode on its first `config.precise_bn` training batches.

    The batches are those of the steps from 0 on, a function of the seed: a restart gives the same statistics. Returns
    what was done in words, "" if that is nothing: no batches asked for, or no BatchNorm that learns.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    if not norms or not config.precise_bn:
        return ""
    with (
        torch.no_grad(),
        averaging(norms),
        prefetch(samples.batch, 0, config.precise_bn, workers) as batches,
    ):
        for step, batch in enumerate(batches):
            loss_terms(model, batch, config, device, step)
    return f"BatchNorm's statistics estimated anew on {config.precise_bn} training batches"
