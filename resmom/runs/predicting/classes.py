"""A classifier on the images of a place: a table with the likeliest class of each."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from resmom.config import ConfigError
from resmom.data.loader import workers_here
from resmom.evaluate.classifier import TrainedClassifier
from resmom.ondisk import replacing
from resmom.runs.predicting.images import Pictures, Unread
from resmom.runs.predicting.written import Told, Written

COLUMNS = ("path", "class", "probability", "second", "second_probability", "unreadable")
BATCH = 64
"""Images of one forward pass."""


def write_classes(path: Path, classifier: TrainedClassifier, pictures: Pictures, told: Told) -> Written:
    """Write the table, whole or not at all: a row for every image, of those that cannot be read with the reason.

    Raises ConfigError for images of other channels than the classifier's.
    """
    if pictures.channels != len(classifier.mean):
        raise ConfigError(
            f"the images have {pictures.channels} channel(s), the classifier was trained on {len(classifier.mean)}; "
            "convert them"
        )
    counts: Counter[str] = Counter(dict.fromkeys(classifier.classes, 0))
    with replacing(path) as raw:
        # Names of files are bytes; they are written as they are, which is how a list of images is read.
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        unread = list(pictures.unread)
        for images, views in _batches(classifier, pictures):
            said = iter(_said(classifier, views) if len(views) else ())
            for image in images:
                if isinstance(image, Unread):
                    unread.append(image)
                    table.writerow(_unread_row(image))
                else:
                    words = next(said)
                    counts[words[0]] += 1
                    table.writerow([image, *words, ""])
            told.image(len(images))
        table.writerows(_unread_row(each) for each in pictures.unread)
        file.detach()
    return Written(sum(counts.values()), tuple(unread), dict(counts))


def _batches(
    classifier: TrainedClassifier, pictures: Pictures
) -> Iterator[tuple[list[str | Unread], Float32[Tensor, "n c side side"]]]:
    """Images in their order, and the views of those of them that could be read.

    Views are put together as they come: many small tensors between large images would keep the memory of these.
    """
    views = torch.empty(BATCH, len(classifier.mean), classifier.side, classifier.side)
    images: list[str | Unread] = []
    filled = 0
    for each in pictures.each(lambda pixels: classifier.prepared([pixels])[0], workers_here()):
        if isinstance(each, Unread):
            images.append(each)
        else:
            views[filled] = each.content
            images.append(each.name)
            filled += 1
        del each
        if len(images) == BATCH:
            yield images, views[:filled]
            images, filled = [], 0
    if images:
        yield images, views[:filled]


def _said(classifier: TrainedClassifier, views: Float32[Tensor, "n c side side"]) -> Iterator[list[str]]:
    """The likeliest class and the next one, each with its probability; of one class alone, nothing for the next."""
    best = classifier.of_views(views).cpu().topk(min(2, len(classifier.classes)), dim=1)
    for shares, labels in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        words = [word for pair in zip(shares, labels, strict=True) for word in _words(classifier, *pair)]
        yield [*words, *[""] * (4 - len(words))]


def _words(classifier: TrainedClassifier, share: float, label: int) -> tuple[str, str]:
    return classifier.classes[label], f"{share:.6f}"


def _unread_row(image: Unread) -> list[str]:
    return [image.name, "", "", "", "", image.reason]
