"""Labels that stand beside images as words or numbers: in the files of an archive, in the lines of a list."""

from collections.abc import Sequence

import numpy as np

from resmom.data.source import DataError, Index, Source


def classes_among(words: Sequence[str]) -> tuple[str, ...]:
    """The classes of training images, in the order of their numbers where all are whole numbers, else of the alphabet.

    An empty word is no class.
    """
    found = set(words) - {""}
    if all(word.isascii() and word.isdigit() for word in found):
        return tuple(sorted(found, key=lambda word: (int(word), word)))
    return tuple(sorted(found))


def labels_among(words: Sequence[str], classes: tuple[str, ...], whose: str) -> Index | None:
    """Numbers into `classes`, -1 for an empty word; None where all are.

    Raises `DataError`, which `whose` begins, for test images of classes that no training image has.
    """
    number_of = {name: number for number, name in enumerate(classes)} | {"": -1}
    if unknown := sorted(set(words) - number_of.keys()):
        raise DataError(
            f"{whose} have {len(unknown)} classes that no training image has: {', '.join(unknown[:5])}. Test classes "
            "must be among those of training; correct them, or leave these images out"
        )
    return np.array([number_of[word] for word in words], dtype=np.int64) if any(words) else None


def number_alike(train: Source, test: Source, whose: str) -> None:
    """Number the classes of test images as those of training, by the names of both. Where training images have no
    labels, nothing contradicts those of the others. Raises `DataError`, see `_renumbered`.
    """
    if test.labels is not None and train.labels is not None and test.classes != train.classes:
        test.labels, test.classes = _renumbered(test.labels, test.classes, train.classes, whose), train.classes


def _renumbered(labels: Index, classes: tuple[str, ...], known: tuple[str, ...], whose: str) -> Index:
    """Numbers into `classes` as numbers into `known`, by the names of both; -1 stays.

    Raises `DataError` for labels, which are `whose`, of classes that `known` does not name.
    """
    number_of = {name: number for number, name in enumerate(known)}
    used = [classes[label] for label in np.unique(labels[labels >= 0]).tolist()]
    if lacking := [name for name in used if name not in number_of]:
        raise DataError(
            f"{whose} has classes that the training Dataset does not name: {', '.join(lacking[:5])}"
            f"{' and more' if len(lacking) > 5 else ''}; test classes must be among those of training: name them alike "
            "in both, or take these images out"
        )
    numbers: Index = np.array([number_of.get(name, -1) for name in classes] + [-1], dtype=np.int64)
    return numbers[labels]
