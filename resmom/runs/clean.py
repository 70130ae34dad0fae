"""What is measured of a run's data: clean images, or views of epoch 0; and which images have labels to measure by."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from resmom.config import Run
from resmom.data.loader import prefetch, workers_here
from resmom.data.pieces import in_pieces, together
from resmom.data.source import Data, Images, Index, Source
from resmom.data.split import UNSEEN, divisible, holdout
from resmom.transfer import sent
from resmom.views.apply import plain, views
from resmom.views.policy import Policy

CHUNK = 256
"""Images per forward pass of an evaluation."""
_PART = 4
"""Of these, so many are decoded by one thread: few enough to be shared fairly, and to lie ready in little memory."""


def clean_batches(
    source: Source, policy: Policy, device: torch.device, chunk: int = CHUNK
) -> Iterator[Float[Tensor, "n c h w"]]:
    """The images of a source as the evaluation sees them: no chance, whole or centre crop, normalised; `chunk` at a
    time.
    """
    first = policy.views[0]

    def see(images: Images, index: Index) -> tuple[Tensor]:
        return (plain(images, first.size, policy.mean, policy.std, resize=first.interpolation),)

    for (view,) in _batches(source, device, chunk, see):
        yield view


def leading_batches(
    source: Source, run: Run, device: torch.device, chunk: int = CHUNK
) -> Iterator[tuple[Float[Tensor, "n c _ _"], ...]]:
    """The images of a source in the views of epoch 0 that student and teacher both see, `chunk` images at a time."""
    return _batches(
        source, device, chunk, lambda images, index: views(images, index, run.policy.leading, run.train.seed, epoch=0)
    )


def _batches(
    source: Source, device: torch.device, chunk: int, see: Callable[[Images, Index], tuple[Tensor, ...]]
) -> Iterator[tuple[Tensor, ...]]:
    """What `see` makes of all images, with their numbers, so many at a time, on the device.

    Images that have to be decoded are made ahead by threads, as those of a training are.
    """
    part = chunk if source.stacked else min(_PART, chunk)
    chunks = [(start, min(start + chunk, len(source))) for start in range(0, len(source), chunk)]
    parts = [np.arange(at, min(at + part, stop)) for start, stop in chunks for at in range(start, stop, part)]

    def seen(index: Index) -> tuple[Tensor, ...]:
        images = source.read(index)
        # As bytes, a quarter of what they become, and the rest is computed where that is fast.
        return see(sent(images, device) if isinstance(images, Tensor) else images, index)

    def made(number: int) -> tuple[Tensor, ...]:
        return in_pieces(source.pieces(parts[number]), seen)

    with prefetch(made, 0, len(parts), 0 if source.stacked else workers_here()) as ready:
        for start, stop in chunks:
            own = islice(ready, -(-(stop - start) // part))
            yield together(own, stop - start, device, torch.channels_last)


NOT_DIVISIBLE = "no class has two images, of which one could be held out"


@dataclass(frozen=True)
class Split:
    """Labelled images to learn from and to test on. `origin` says where the split comes from."""

    train: Source
    test: Source
    origin: str


def labelled_split(data: Data, trained_on: bool = True) -> Split | None:
    """The data's own split, or a stratified fifth of the training images held out; None without labels, or where
    nothing can be held out: no class has two images, as in folders of one photo each.

    `trained_on`: whether these are the images of the run, which the split's words then say.
    """
    train = labelled_part(data.train)
    if train is None or train.labels is None:
        return None
    test = None if data.test is None else labelled_part(data.test)
    if test is not None:
        return Split(train, test, data.origin if trained_on else data.origin.removesuffix(UNSEEN))
    if not divisible(train.labels):
        return None
    bank, queries = holdout(train.labels)
    return Split(
        train.subset(bank),
        train.subset(queries),
        "a fifth of the images held out" + (", which pretraining saw unlabelled" if trained_on else ""),
    )


def labelled_part(source: Source) -> Source | None:
    if source.labels is None:
        return None
    known = np.flatnonzero(source.labels >= 0)
    if len(known) == 0:
        return None
    return source if len(known) == len(source) else source.subset(known)


def thinned(source: Source, most: int, seed: int = 0) -> Source:
    """At most `most` images of a source, drawn without replacement, in their old order."""
    if len(source) <= most:
        return source
    chosen: NDArray[np.int64] = np.sort(np.random.default_rng(seed).choice(len(source), most, replace=False))
    return source.subset(chosen)
