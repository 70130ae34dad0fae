"""Evaluation that learns from some of the labels: a share of every class, or the images that a list names."""

from dataclasses import replace
from pathlib import Path

from resmom.errors import UserError
from resmom.evaluate.draw import Rows, listed, share
from resmom.runs.job import Split


def with_labels(split: Split, labels: str, seed: int) -> Split:
    """The split with the training images that lend their labels, and no others; `origin` says which.

    `labels`: a share in (0, 1], drawn from every class, or a text file with a file name per line, as the published
    subsets of ImageNet come. Raises UserError for what is neither, and for names of no image or of several.
    """
    rows, words = _rows(split, labels, seed)
    total, known = len(split.train), split.train.labels
    assert known is not None  # of a labelled split
    with_some = len(set(known[rows].tolist()))
    of_classes = "" if with_some == len(set(known.tolist())) else f" of only {with_some} classes"
    told = f"learned from the labels of {len(rows)} of {total} images{of_classes}, {words}"
    return replace(split, train=split.train.subset(rows), origin=f"{split.origin}; {told}")


def _rows(split: Split, labels: str, seed: int) -> tuple[Rows, str]:
    assert split.train.labels is not None
    try:
        fraction = float(labels)
    except ValueError:
        return _named(split, Path(labels))
    try:
        return share(split.train.labels, fraction, seed), f"{100 * fraction:g} % of each class, seed {seed}"
    except ValueError as error:
        raise UserError(f"--labels: {error}") from error


def _named(split: Split, path: Path) -> tuple[Rows, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--labels must be a share such as 0.01, or a text file with a file name per line; '{path}' cannot be read "
            f"as either: {error}"
        ) from error
    names = split.train.names()
    if names is None:
        raise UserError(
            f"{split.train.name} has no file names for {path} to name; give --labels as a share such as 0.01"
        )
    try:
        rows = listed(names, [line.strip() for line in lines if line.strip()])
    except ValueError as error:
        raise UserError(f"--labels {path}: {error}") from error
    return rows, f"those that {path.name} lists"
