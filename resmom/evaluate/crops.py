"""Labelled images as a classifier learns from them: cropped and flipped, in an order by seed and epoch alone."""

from dataclasses import replace
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from resmom.data.pieces import in_pieces
from resmom.data.source import Source
from resmom.evaluate.draw import Rows
from resmom.transfer import sent
from resmom.views.apply import views
from resmom.views.policy import Policy, View, weak


def light(policy: Policy, scale: tuple[float, float] | None = None) -> Policy:
    """Crop, flips and quarter turns of the first view and nothing else: those that pretraining did without stay off.

    `scale`: the crops' areas as parts of the image's, where they are not to be those of pretraining.
    """
    first = replace(weak(policy.views[0]), rotation=0.0)
    return replace(policy, views=(first if scale is None else replace(first, scale=scale),))


def turned(view: View) -> str:
    """What a view of `light` has beside crop and flip, as a protocol says it; nothing for most."""
    kinds = {"vertical flip": view.flip_vertical, "quarter turns": view.quarter_turns}
    return "".join(f", {kind} {often:g}" for kind, often in kinds.items() if often)


def labelled_rows(train: Source, test: Source, what: str) -> tuple[Rows, int]:
    """The images of `train` that have a label, and the number of classes of both parts.

    Those whose files cannot be decoded are among them, read or not: what is trained is then the same in a call that has
    read them and in one that has not.

    Raises ValueError, which names `what` cannot be done, for fewer than two of them or none to test on.
    """
    labels, test_labels = (np.full(0, -1) if part.labels is None else part.labels for part in (train, test))
    rows, asked = np.flatnonzero(labels >= 0), int((test_labels >= 0).sum())
    if len(rows) < 2 or not asked:
        raise ValueError(
            f"{what} needs two labelled images to learn from and one to test on; got {len(rows)} and {asked}; give "
            "data with labels of 0 or more"
        )
    return rows, max(int(labels.max()), int(test_labels.max())) + 1


def ahead(workers: int) -> int:
    """How many batches of crops lie ready at most: on the device, beside a network that trains, one of 256 views of 224
    pixels takes 154 MB."""
    return min(max(2 * workers, 1), 8)


def loss(votes: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Cross-entropy, the mean over the images that have a label; 0 where all of them are stand-ins."""
    return F.cross_entropy(votes, labels, ignore_index=-1, reduction="sum") / (labels >= 0).sum().clamp(min=1)


@final
class Crops:
    """Batches of (view, labels) by step: a function of (seed, step), the views of (seed, epoch, image)."""

    def __init__(
        self, source: Source, rows: Rows, batch: int, policy: Policy, seed: int, device: torch.device, whole: bool
    ) -> None:
        """`rows`: the labelled images of `source`. `whole`: an epoch ends with the images that fill no batch; else they
        are left out of it."""
        assert source.labels is not None
        self._source, self._labels, self._rows = source, source.labels, rows
        self.size = batch
        """Images of a whole batch."""
        self._policy, self._seed, self._device = policy, seed, device
        self.per_epoch = -(-len(rows) // batch) if whole else len(rows) // batch
        """Steps of an epoch."""

    @property
    def missed(self) -> int:
        """How many of the images others have stood in for so far."""
        return len(np.intersect1d(self._rows, self._source.failed))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Views n x C x S x S and labels n of a step, counted from 0, on the device.

        The label is -1 where the image could not be decoded and another one stands in for it: see `loss`.
        """
        epoch, at = divmod(step, self.per_epoch)
        order = self._rows[np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))]
        index = order[at * self.size : (at + 1) * self.size]

        def seen(piece: NDArray[np.int64]) -> tuple[Tensor, ...]:
            images = self._source.read(piece)
            placed = sent(images, self._device) if isinstance(images, Tensor) else images
            return views(placed, piece, self._policy, self._seed, epoch)

        (view,) = in_pieces(self._source.pieces(index), seen)
        labels, failed = torch.from_numpy(self._labels[index]).long(), self._source.failed
        if len(failed):
            labels[torch.from_numpy(np.isin(index, failed))] = -1
        view = sent(view, self._device).contiguous(memory_format=torch.channels_last)
        return view, sent(labels, self._device)
