"""Labels of a test split that lie in a list beside the images, as in Tiny-ImageNet: val/val_annotations.txt."""

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from resmom.data.errors import DataError
from resmom.data.source import Index


def list_of(split: str) -> str:
    """Where a split's list lies, below the folder that the split lies in."""
    return f"{split}/{split}_annotations.txt"


def listed_labels(file: Path, names: list[str], classes: tuple[str, ...]) -> Index:
    """Numbers into `classes` for images by the lines of a list: file name, class, and what else, with tabs between.

    The list names an image without its folders. Raises DataError for a list that cannot be read, an image that it does
    not name, a name that stands for several images or has several classes, and a class that is not one of `classes`.
    """
    label_of = _listed(file)
    bare = [PurePosixPath(name).name for name in names]
    number_of = {name: number for number, name in enumerate(classes)}
    missing = [name for name, listed in zip(names, bare, strict=True) if listed not in label_of]
    if missing:
        raise DataError(
            f"{file} does not name {len(missing)} of the {len(names)} images beside it, the first {missing[0]}; "
            "complete it, or move these images away"
        )
    if several := [name for name, count in Counter(bare).items() if count > 1]:
        which = ", ".join(name for name, listed in zip(names, bare, strict=True) if listed == several[0])
        raise DataError(
            f"{file} names images without their folders, and {several[0]} may be any of {which}; give each image a "
            "name of its own, there and in the list"
        )
    labels = [label_of[name] for name in bare]
    if unknown := sorted(set(labels) - set(classes)):
        raise DataError(
            f"{file} has {len(unknown)} classes that the training split has not: {', '.join(unknown[:5])}. "
            "Test classes must be among those of training; correct the list"
        )
    return np.array([number_of[label] for label in labels], dtype=np.int64)


def _listed(file: Path) -> dict[str, str]:
    """The class of each name."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); mend it, or move it away to go without labels") from error
    label_of: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = line.split("\t")
        if not rest:
            raise DataError(f"line {number} of {file} has no class; a line is a file's name, a tab, and its class")
        if label_of.setdefault(name, rest[0]) != rest[0]:
            raise DataError(
                f"line {number} of {file} gives {name} the class {rest[0]}, an earlier one {label_of[name]}; an image "
                "has one class: correct the list, and give images of one name in several folders names of their own"
            )
    return label_of
