"""Splits and classes by what images are called: functions of their names alone, paths with `/`."""

import re
from pathlib import Path

import numpy as np

from resmom.data.errors import DataError
from resmom.data.source import Index

TEST_NAMES = ("test", "val", "validation")
FOLDERS = "the folders' names"
"""What the classes are from, in words."""


def splits(images: list[str], lists: list[str]) -> tuple[str, str | None]:
    """The folders of the two splits; "" is the whole folder. `lists`: the test folders with a list of labels."""
    tops = {name.partition("/")[0] for name in images if "/" in name}
    beside = [name for name in TEST_NAMES if name in tops]
    if "train" in tops and beside:
        labelled = [name for name in beside if name in lists]
        labelled += [name for name in beside if in_folders(below(images, name))]
        return "train", (labelled if labelled and classes_of(below(images, "train")) else beside)[0]
    alone = tops == {"train"} and in_folders(images)
    return ("train" if alone else ""), None


def kind_of(name: str) -> str:
    """The split of images that lie together in one file, by the words in its path: one of `TEST_NAMES`, else train."""
    words = ["validation" if word == "valid" else word for word in re.split("[^a-z]+", name.lower())]
    return next((kind for kind in TEST_NAMES if kind in words), "train")


def preferred(labelled: dict[str, bool]) -> str | None:
    """Of the test splits that there are, each with whether labels of training's classes make it worth more, the first
    of `TEST_NAMES` that has some, else the first; None where there is none."""
    there = [name for name in TEST_NAMES if name in labelled]
    return next((name for name in there if labelled[name]), next(iter(there), None))


def left_out_words(images: int) -> tuple[str, str]:
    """So many images of splits that are not chosen: in words, and as the end of what says where images are from."""
    outside = f"{images} images of other splits" if images else ""
    return outside, f" ({outside} left out)" if outside else ""


def source_name(base: str, split: str, shorter_side: int) -> str:
    """What results are recorded under: on images that are decoded smaller they are others."""
    reduced = f"@shorter-side={shorter_side}" if shorter_side else ""
    return f"{base}/{split}{reduced}" if split else f"{base}{reduced}"


def split_of(name: str) -> str:
    """The split of images with a name of `source_name`, as `Data` has it."""
    base, _, split = name.partition("@")[0].rpartition("/")
    return "test" if base and split in TEST_NAMES else "train"


def below(images: list[str], split: str) -> list[str]:
    """Those of a split, named from its folder on."""
    start = f"{split}/" if split else ""
    return [name.removeprefix(start) for name in images if name.startswith(start)]


def in_folders(names: list[str]) -> bool:
    """Whether none lies outside of all folders."""
    return all("/" in name for name in names)


def classes_of(names: list[str]) -> tuple[str, ...]:
    """The first folders, if there are at least two and no image lies outside of them; else none."""
    tops = sorted({name.partition("/")[0] for name in names})
    return tuple(tops) if in_folders(names) and len(tops) >= 2 else ()


def labels_of(names: list[str], classes: tuple[str, ...]) -> Index | None:
    """Numbers into `classes`; None where there are none."""
    if not classes:
        return None
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name.partition("/")[0]] for name in names], dtype=np.int64)


def labels_known(folder: Path, names: list[str], classes: tuple[str, ...]) -> Index | None:
    """The labels of a test split, as images of classes that training knows; None where it has none.

    Raises `DataError` for a class that training has not; `folder` is what it names.
    """
    if not classes or not in_folders(names):
        return None
    unknown = sorted({name.partition("/")[0] for name in names} - set(classes))
    if unknown:
        raise DataError(
            f"{folder} has {len(unknown)} folders that the training split has not: {', '.join(unknown[:5])}. "
            "Test classes must be among those of training; rename them or move them away"
        )
    return labels_of(names, classes)
