"""The masks of a run's batches, where its method hides patches from the student."""

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from resmom.config import Run
from resmom.methodconfig import masks_of
from resmom.nets.backbones import cut_of
from resmom.views.masks import draw_masks
from resmom.views.policy import Policy


def hidden_patches(
    run: Run, policy: Policy, index: NDArray[np.int64], epoch: int
) -> tuple[Bool[Tensor, "n rows columns"], ...]:
    """The hidden patches of the global views of the images `index` (N,), a mask for each of these views, on the CPU.

    `policy` has the views at the size they have now. Nothing is drawn for a method that hides nothing. Local views are
    never masked.
    """
    masks = masks_of(run.method)
    cut = None if masks is None else cut_of(run.backbone)
    if masks is None or cut is None:
        return ()
    side = policy.views[0].size // cut[1]
    return tuple(
        draw_masks(masks, run.train.seed, epoch, index, number, (side, side))
        for number in range(run.method.traits.views)
    )
