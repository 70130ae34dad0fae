"""Labelled images as a classifier learns from them: cropped and flipped, in an order by seed and epoch alone."""

from dataclasses import replace
from typing import final

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from resmom.data.source import Source, in_pieces
from resmom.evaluate.draw import Rows
from resmom.views.apply import views
from resmom.views.policy import Policy


def light(policy: Policy, scale: tuple[float, float] | None = None) -> Policy:
    """Crop and flip of the first view and nothing else: flips stay off where pretraining had none, as for digits.

    `scale`: the crops' areas as parts of the image's, where they are not to be those of pretraining.
    """
    first = replace(policy.views[0], jitter=0.0, grey=0.0, blur=0.0, solarise=0.0)
    return replace(policy, views=(first if scale is None else replace(first, scale=scale),))


def labelled_rows(train: Source, test_labels: Int[Tensor, " m"], what: str) -> tuple[Rows, int]:
    """The images of `train` that have a label, and the number of classes of both parts.

    Raises ValueError, which names `what` cannot be done, for fewer than two of them or none to test on.
    """
    labels = np.full(0, -1) if train.labels is None else train.labels
    rows, asked = np.flatnonzero(labels >= 0), int((test_labels >= 0).sum())
    if len(rows) < 2 or not asked:
        raise ValueError(
            f"{what} needs two labelled images to learn from and one to test on; got {len(rows)} and {asked}; give "
            "data with labels of 0 or more"
        )
    return rows, max(int(labels.max()), int(test_labels.max())) + 1


@final
class Crops:
    """Batches of (view, labels) by step: a function of (seed, step), the views of (seed, epoch, image)."""

    def __init__(
        self, source: Source, rows: Rows, batch: int, policy: Policy, seed: int, device: torch.device, whole: bool
    ) -> None:
        """`rows`: the labelled images of `source`. `whole`: an epoch ends with the images that fill no batch; else they
        are left out of it."""
        assert source.labels is not None
        self._source, self._labels, self._rows, self._batch = source, source.labels, rows, batch
        self._policy, self._seed, self._device = policy, seed, device
        self.per_epoch = -(-len(rows) // batch) if whole else len(rows) // batch
        """Steps of an epoch."""

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Views n x C x S x S and labels n of a step, counted from 0, on the device."""
        epoch, at = divmod(step, self.per_epoch)
        order = self._rows[np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))]
        index = order[at * self._batch : (at + 1) * self._batch]

        def seen(piece: NDArray[np.int64]) -> tuple[Tensor, ...]:
            images = self._source.read(piece)
            placed = images.to(self._device) if isinstance(images, Tensor) else images
            return views(placed, piece, self._policy, self._seed, epoch)

        (view,) = in_pieces(self._source.pieces(index), seen)
        labels = torch.from_numpy(self._labels[index]).long()
        return view.to(self._device).contiguous(memory_format=torch.channels_last), labels.to(self._device)
