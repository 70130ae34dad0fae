"""Labels that stand beside images as words or numbers: in the files of an archive, in the lines of a list."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from resmom.data.errors import DataError
from resmom.data.source import Data, Index, Source

_MISSING = frozenset(
    {"NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "null", "Null", "NULL", "-", "--", "?"}
)
"""What tables have where there is nothing. Not Na, which is sodium."""
_UNCERTAIN = frozenset({"none", "None", "NONE"})
"""What may stand for that, and may be a class, of what has no defect or no finding."""
NAMED = 5
"""Classes that are named where all are counted."""
_LONG = 40
"""Letters of a class's name that are shown."""


def missing_among(words: Sequence[str]) -> Counter[str]:
    """The words among labels that mean that there is none, other than the empty one, and how often each is there.

    `none` is one where all else are whole numbers, negative ones too: it is no number of a class. `-` is one unless `+`
    is there, too.

    Raises ValueError, with `none` as it is written there, where that may be a class.
    """
    found = Counter(words)
    missing = _MISSING - ({"-"} if "+" in found else set())
    classes = found.keys() - missing - _UNCERTAIN - {""}
    uncertain = [word for word in sorted(_UNCERTAIN) if word in found]
    if uncertain and not _are_numbers(word.removeprefix("-") for word in classes):
        raise ValueError(uncertain[0])
    return Counter({word: count for word, count in found.items() if word in missing | _UNCERTAIN})


def _are_numbers(words: Iterable[str]) -> bool:
    """Whether all are whole numbers of 0 or more."""
    return all(word.isascii() and word.isdigit() for word in words)


def first_classes(source: Source) -> list[str]:
    """The names of the first few classes that images of a source have, and "..." where there are more.

    So it is seen where what was taken for classes are dates, say.
    """
    return _first_of(source.classes, _used(source))


def _used(source: Source) -> list[int]:
    """The classes that images of a source have, in rising order."""
    known = np.zeros(0, dtype=np.int64) if source.labels is None else source.labels[source.labels >= 0]
    used: list[int] = np.unique(known).tolist()  # not by counts: in a damaged pack a label may be any number
    return used


def _first_of(classes: Sequence[str], used: Sequence[int]) -> list[str]:
    names = [shown(classes[at]) if at < len(classes) else str(at) for at in used[:NAMED]]
    return [*names, "..."] if len(used) > NAMED else names


def _classes_words(source: Source, labels_from: str) -> str:
    """How many classes a source's images have, which, and what they are from; empty without labels."""
    used = _used(source)
    if source.labels is None or not used:
        return ""
    without = int((source.labels < 0).sum())
    count = f"{len(used)} class{'es' if len(used) > 1 else ''}{f' from {labels_from}' if labels_from else ''}"
    rest = f"; {without} of {len(source)} images have no label" if without else ""
    return f"{count} ({', '.join(_first_of(source.classes, used))}){rest}"


def labels_lines(data: Data) -> list[str]:
    """What the classes are, if there are any, and what else was understood of the images that may have been meant
    otherwise."""
    classes = _classes_words(data.train, data.labels_from)
    return [*([f"labels: {classes}"] if classes else []), *data.notes]


def shown(name: str) -> str:
    """A name as it may be printed anywhere in a sentence: short, and with what is no letter spelled out."""
    short = name if len(name) <= _LONG else f"{name[: _LONG - 3]}..."
    return short if short.isprintable() else ascii(short)[1:-1]


def classes_among(words: Sequence[str]) -> tuple[str, ...]:
    """The classes of training images, in the order of their numbers where all are whole numbers, else of the alphabet.

    An empty word is no class.
    """
    found = set(words) - {""}
    if _are_numbers(found):
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
