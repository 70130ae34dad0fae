"""BatchNorm's statistics estimated anew for the weights as they are: Detectron2's "precise BatchNorm".

In training weights and statistics move together, so that the running averages that a measurement uses belong to weights
of the past. Source: update_bn_stats in fvcore/nn/precise_bn.py, which Detectron2 calls before every measurement and at
the end where TEST.PRECISE_BN.ENABLED is set.
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

    Each batch counts alike, however many places it has, as at the source. What the layers had before is forgotten.
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
