"""A linear probe per patch: settings, the two passes of its training, and the choice of the learning rate between."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from resmom.data.annotations.masks import IGNORE, MaskData
from resmom.data.errors import DataError
from resmom.data.order import Order
from resmom.data.split import holdout
from resmom.evaluate.overlap import Overlap, confusion
from resmom.evaluate.pixels import factor, read, read_labels, shown
from resmom.nets.patches import PatchProbe
from resmom.protocols import EDGE

KEPT_BYTES = 2**30
"""So many bytes of features are kept in memory; others are computed anew each time, to the same bits on a CPU."""


@dataclass(frozen=True)
class PatchLinear:
    """Grid and schedule: SGD with momentum .9, learning rate falling as half a cosine to 0, no augmentation."""

    recipe: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe it began as."""
    lrs: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """Learning rates to choose from."""
    steps: int = 1000
    """Of each of the two passes: one with all learning rates, one with the chosen on all images."""
    batch: int = 8
    """Images."""
    held_out: float = 0.1
    """Share of the training images on which the learning rate is chosen."""
    side: int = 0
    """Shorter side of the images, in training and testing; 0: their own size."""
    longest: int = 2048
    """No side is longer; without a meaning where `side` is 0."""
    seed: int = 0
    line_steps: int = 20
    """Steps between two lines of metrics."""
    save_steps: int = 500
    """Steps between two checkpoints."""


@final
class Images:
    """Which training images are in which step: in the first pass only those not held out."""

    def __init__(self, data: MaskData, config: PatchLinear) -> None:
        """Raises DataError if the images do not fill a batch, or none can be held out."""
        n = len(data.images)
        try:
            self.fit, self.held = holdout(np.zeros(n, dtype=np.int64), config.held_out, config.seed)
        except ValueError as error:
            raise DataError(str(error)) from error
        self._first = Order(len(self.fit), config.batch, config.seed, field="batch")
        self._second = Order(n, config.batch, config.seed, field="batch")
        self._n, self._steps = n, config.steps

    def __len__(self) -> int:
        return self._n

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch of the second pass."""
        return self._second.steps

    def batch(self, step: int) -> list[int]:
        """The numbers of the images of a step, counted from 0 over both passes."""
        if step < self._steps:
            found: list[int] = self.fit[self._first.index(step)].tolist()
            return found
        rest: list[int] = self._second.index(step - self._steps).tolist()
        return rest


@final
class Features:
    """Features and labels of the training images, kept as long as there is room."""

    def __init__(self, model: PatchProbe, data: MaskData, config: PatchLinear, device: torch.device) -> None:
        self.model, self._data, self._config, self._device = model, data, config, device
        self._kept: dict[int, tuple[Tensor, Tensor, tuple[int, int]]] = {}
        self._bytes = 0

    def item(self, at: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Features d x rows x columns, labels h x w, and the size h, w of the image as it was shown."""
        if at in self._kept:
            return self._kept[at]
        image = self._data.images[at]
        by = factor(image.size, self._config.side, self._config.longest)
        pixels = read(image, by).to(self._device).float() / 255
        features = self.model.features(pixels)
        if not features.isfinite().all():
            raise DataError(f"the features of {image.path.name} are not finite; use an earlier checkpoint")
        found = features, read_labels(image, by).to(self._device), (pixels.shape[1], pixels.shape[2])
        size = features.nbytes + found[1].nbytes
        if self._bytes + size <= KEPT_BYTES:
            self._kept[at], self._bytes = found, self._bytes + size
        return found

    def standardise(self) -> None:
        """Give the model mean and deviation of each feature over the places of all training images."""
        total = square = torch.zeros((), dtype=torch.float64, device=self._device)
        places = 0
        for at in range(len(self._data.images)):
            x = self.item(at)[0].flatten(1).double()
            total, square, places = total + x.sum(1), square + (x**2).sum(1), places + x.shape[1]
        mean = total / places
        deviation = (square / places - mean**2).clamp(min=0).sqrt()
        # A constant feature varies by rounding alone, which must not be blown up to a deviation of 1.
        constant = deviation <= 1e-6 * mean.abs()
        self.model.mean.copy_(mean)
        self.model.deviation.copy_(deviation.masked_fill(constant, torch.inf))

    @torch.no_grad()
    def choose(self, held: list[int]) -> None:
        """Judge every learning rate by its mIoU on the held-out images; equals: the lower rate."""
        heads = list(range(self.model.tried))
        totals = [np.zeros((self.model.classes,) * 2, dtype=np.int64) for _ in heads]
        for at in held:
            features, truth, size = self.item(at)
            votes = self.model.votes(features, size, size, heads)
            for head in heads:
                said = votes[head].argmax(0).cpu().numpy()
                totals[head] += confusion(truth.cpu().numpy(), said, self.model.classes)
        judged = [Overlap(total).miou for total in totals]
        if np.isnan(judged).any():
            raise DataError("the held-out training images have no pixel that counts: all are void")
        lrs = self._config.lrs
        best = max(heads, key=lambda head: (judged[head], -lrs[head]))
        self.model.judged.copy_(torch.tensor(judged, dtype=torch.float64))
        self.model.chosen.fill_(best)

    def losses(self, batch: list[int], step: int) -> Iterator[dict[str, Tensor]]:
        """Each image's part of the mean cross-entropy of the batch's pixels that count, summed over the learning rates
        that are tried in this step. One by one: the votes of all rates on every pixel are what takes memory.
        """
        first = step < self._config.steps
        heads = list(range(self.model.tried)) if first else [self.model.tried]
        items = [self.item(at) for at in batch]
        pixels = torch.stack([(truth != IGNORE).sum() for _, truth, _ in items]).sum().clamp(min=1)
        for features, truth, size in items:
            votes = self.model.votes(features, size, size, heads)
            target = truth.long().expand(len(heads), -1, -1)
            loss = F.cross_entropy(votes, target, ignore_index=IGNORE, reduction="sum")
            del votes  # before those of the next image are made
            yield {"tried" if first else "chosen": loss / pixels}


def rate(config: PatchLinear, step: int) -> float:
    """The share of the learning rate in a step: half a cosine from 1 to 0 in each pass."""
    return 0.5 * (1 + math.cos(math.pi * (step % config.steps) / config.steps))


def at_edge(config: PatchLinear, chosen: int) -> bool:
    """Whether a wider grid might do better."""
    return len(set(config.lrs)) > 1 and config.lrs[chosen] in (min(config.lrs), max(config.lrs))


def protocol(config: PatchLinear, model: PatchProbe) -> str:
    """How a number came about, in one line."""
    chosen = int(model.chosen)
    lr = "not chosen yet"
    if chosen >= 0:
        edge = f" {EDGE}" if at_edge(config, chosen) else ""
        lr = f"lr {config.lrs[chosen]:g} chosen{edge} by mIoU on {config.held_out:g} of the training images, held out"
    size = f"side {config.side}" if config.side else "their own size"
    return (
        "patch-linear-v1: backbone frozen, features of every place standardised by the training set, one linear "
        f"layer, bilinear to the pixels, images at {size}, no augmentation, {config.steps} steps of batch "
        f"{config.batch}, {lr}, trained on all; {shown(config.side)}; mIoU of one confusion matrix over all "
        "images, void left out"
    )
