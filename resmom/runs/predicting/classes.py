"""A classifier on the images of a place: a table with the likeliest class of each."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resmom.config import ConfigError
from resmom.evaluate.trained import TrainedClassifier
from resmom.ondisk import replacing
from resmom.runs.predicting.images import Made, Pictures, Unread, workers_here
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
    unread, images = list(pictures.unread), 0
    with replacing(path) as raw:
        # Names of files are bytes; they are written as they are, which is how a list of images is read.
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="", write_through=True)
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for piece in _pieces(pictures.each(lambda pixels: classifier.prepared([pixels])[0], workers_here())):
            for row in _rows(classifier, piece):
                table.writerow(row)
                counts[row[1]] += 1
            bad = [each for each in piece if isinstance(each, Unread)]
            table.writerows(_unread_row(each) for each in bad)
            unread += bad
            images += len(piece) - len(bad)
            told.image(len(piece))
        table.writerows(map(_unread_row, pictures.unread))
        file.detach()
    return Written(images, tuple(unread), dict(counts))


def _rows(classifier: TrainedClassifier, piece: list[Made[Tensor] | Unread]) -> list[list[Any]]:
    """The rows of the images that could be read."""
    made = [each for each in piece if isinstance(each, Made)]
    if not made:
        return []
    device = next(classifier.parameters()).device
    views = torch.stack([each.content for each in made]).to(device)
    best = classifier.of_views(views).cpu().topk(min(2, len(classifier.classes)), dim=1)
    rows = []
    for each, shares, labels in zip(made, best.values.tolist(), best.indices.tolist(), strict=True):
        said = [word for share, label in zip(shares, labels, strict=True) for word in _word(classifier, label, share)]
        rows.append([each.name, *said, *[""] * (4 - len(said)), ""])
    return rows


def _word(classifier: TrainedClassifier, label: int, share: float) -> tuple[str, str]:
    return classifier.classes[label], f"{share:.6f}"


def _unread_row(image: Unread) -> list[str]:
    return [image.name, "", "", "", "", image.reason]


def _pieces(each: Iterable[Made[Tensor] | Unread]) -> Iterator[list[Made[Tensor] | Unread]]:
    piece: list[Made[Tensor] | Unread] = []
    for one in each:
        piece.append(one)
        if len(piece) == BATCH:
            yield piece
            piece = []
    if piece:
        yield piece
