"""Evaluation that learns from some of the labels: a share of every class, or the images that a list names."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from resmom.called import called
from resmom.errors import UserError
from resmom.evaluate.draw import Rows, listed, share
from resmom.runs.clean import Split
from resmom.runs.measuring.asked import is_share


def lent_share(split: Split, labels: str, rows: Rows) -> float:
    """Which share of the labels of `split` is lent: the one asked for, or that of the images that a list names.

    A share stays what was asked for where a small class lends more, one image being the least.
    """
    assert split.train.labels is not None  # of a labelled split
    return float(labels) if is_share(labels) else len(rows) / int((split.train.labels >= 0).sum())


def with_labels(split: Split, labels: str, seed: int, draws: int = 1) -> tuple[Split, tuple[Rows, ...]]:
    """The split with the training images that lend their labels in any draw, and which of them do in each draw.

    `labels`: a share in (0, 1], drawn from every class, or a text file with a file name per line, as the published
    subsets of ImageNet come: that is one draw, whatever `draws` says. `origin` tells which images they are. Raises
    UserError for what is neither, and for names of no image or of several.
    """
    if is_share(labels):
        each, words = _drawn(split, float(labels), seed, draws)
    else:
        each, words = (_named(split, Path(labels)),), f"those that {Path(labels).name} lists, one draw"
    total, known = len(split.train), split.train.labels
    assert known is not None  # of a labelled split
    with_some = len(set(known[each[0]].tolist()))
    of_classes = "" if with_some == len(set(known.tolist())) else f" of only {with_some} classes"
    told = f"learned from the labels of {len(each[0])} of {total} images{of_classes}, {words}"
    union = np.unique(np.concatenate(each))
    lent = replace(split, train=split.train.subset(union), origin=f"{split.origin}; {told}")
    return lent, tuple(np.searchsorted(union, rows) for rows in each)


def _drawn(split: Split, fraction: float, seed: int, draws: int) -> tuple[tuple[Rows, ...], str]:
    assert split.train.labels is not None
    try:
        each = tuple(share(split.train.labels, fraction, seed, draw) for draw in range(draws))
    except ValueError as error:
        raise UserError(f"{called('labels')}: {error}") from error
    which = "" if draws == 1 else f", draws 0 to {draws - 1}"
    fewest = min(np.unique(split.train.labels[split.train.labels >= 0], return_counts=True)[1])
    least = ", at least one" if fraction * fewest < 1 else ""
    return each, f"{100 * fraction:g} % of each class{least}, seed {seed}{which}"


def _named(split: Split, path: Path) -> Rows:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        known = {FileNotFoundError: "there is no such file", IsADirectoryError: "it is a folder"}
        why = (known.get(type(error)) or str(error.strerror).lower()) if isinstance(error, OSError) else "it is no text"
        raise UserError(
            f"{called('labels')} must be a share such as 0.01, which is 1 %, or a text file with a file name per line; "
            f"'{path}' is neither: {why}"
        ) from error
    names = split.train.names()
    if names is None:
        raise UserError(
            f"{split.train.name} has no file names for {path} to name; give {called('labels')} as a share such as 0.01"
        )
    try:
        return listed(names, [line.strip() for line in lines if line.strip()])
    except ValueError as error:
        raise UserError(f"{called('labels')} {path}: {error}") from error
