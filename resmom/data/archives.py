"""Tar archives of images, among them WebDataset's shards, as a user names them: which splits, which labels."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from resmom.data.byfolder import (
    FOLDERS,
    TEST_NAMES,
    below,
    classes_of,
    kind_of,
    labels_known,
    labels_of,
    left_out_words,
    preferred,
    source_name,
    splits,
)
from resmom.data.errors import DataError
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.folder import SUFFIXES, not_read_words, suffix_of
from resmom.data.labelwords import classes_among, labels_among
from resmom.data.source import Data, Index
from resmom.data.tars import Archives, Image, images_in

SUFFIX = ".tar"
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".rar", ".7z")
"""Of archives in which nothing can be found by its place."""
_BRACES = re.compile(r"\{(?:(?P<first>[0-9]+)\.\.(?P<last>[0-9]+)|(?P<each>[^{}]*,[^{}]*))\}")


def open_archives(
    root: Path, archives: list[str], ram_limit: int = RAM_LIMIT, shorter_side: int = 0, threads: int = 0
) -> Data:
    """The images in tar archives, given by their paths below `root`, in the order of these and of their members.

    WebDataset's samples, files of one name up to the first dot, have their class in a `.cls` file: a number or a word.
    Where no archive has any, the first folders in the archives are the classes, as in `open_folder`, below those that
    all images lie in. Archives whose names have the word test, val, valid or validation are the test split of the
    others (of several kinds, the first of these that has labels where training has, else the first); if no archive has,
    folders called so in the archives. Hidden members are passed over, and so are symbolic links. `ram_limit`
    and `threads` are as in `FileSource`, `shorter_side` is as in `decode`.

    Raises `DataError` for an archive that is compressed, damaged or cut short, if there is no image, none is readable,
    or a class of the test split is not one of training's.
    """
    found, others = images_in(root, archives)
    if not found:
        what = archives[0] if len(archives) == 1 else f"the {len(archives)} archives"
        raise DataError(f"{what} in {root} has no images; image files end in {', '.join(SUFFIXES)}")
    parts, places = _parted(root, archives, found)
    train, *rest = parts
    by_files = any(image.label is not None for image in train.images)
    classes = classes_among(_words(train)) if by_files else classes_of(train.names)

    def source_of(part: _Part, labels: Index | None) -> FileSource:
        store = Archives(root, archives, part.images, shorter_side)
        return FileSource(_name(root, archives, part.name, shorter_side), store, labels, classes, ram_limit, threads)

    def labels(part: _Part, tested: bool) -> Index | None:
        if by_files:
            return labels_among(_words(part), classes, f"images in the archives of {part.name} in {root}")
        return labels_known(root, part.names, classes) if tested else labels_of(part.names, classes)

    tested = {part.name: (part, labels(part, tested=True)) for part in rest}
    source, said = source_of(train, labels(train, tested=False)), not_read_words(others)
    labels_from = "the .cls files" if by_files else FOLDERS
    chosen = preferred({name: bool(classes) and found is not None for name, (_, found) in tested.items()})
    if chosen is None:
        return Data(source, None, f"{places}, no test split", not_read=said, labels_from=labels_from)
    test, labels_of_test = tested[chosen]
    tests = source_of(test, labels_of_test)
    outside, more = left_out_words(len(found) - len(train.images) - len(test.images))
    origin = f"{places}, {train.name} and {test.name}{more}"
    return Data(source, tests, origin, not_read=said, outside=outside, labels_from=labels_from)


def archives_among(names: list[str]) -> list[str]:
    """Those that are called as a tar archive is."""
    return [name for name in names if suffix_of(name) == SUFFIX]


def archives_named(path: Path) -> list[str]:
    """The names of the archives that a path stands for, in its folder: of that one, or of all of a row as WebDataset
    writes it, train-{000..127}.tar or {a,b}.tar; empty where it is no name of an archive.

    Raises `DataError` where one of a row is not there.
    """
    if path.suffix.lower() != SUFFIX or path.is_dir():
        return []
    if path.is_file():
        return [path.name]
    row = _row(path.name)
    missing = [name for name in row if not (path.parent / name).is_file()]
    if len(row) > 1 and missing:
        raise DataError(
            f"{len(missing)} of the {len(row)} archives of {path} are not there, the first is {missing[0]}; complete "
            "them, or name those that are"
        )
    return row if len(row) > 1 else []


def _row(name: str) -> list[str]:
    """All names that one with braces stands for; itself without."""
    brace = _BRACES.search(name)
    if brace is None:
        return [name]
    first, last = brace["first"], brace["last"]
    if first is None:
        inner = brace["each"].split(",")
    else:
        inner = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return [made for part in inner for made in _row(name[: brace.start()] + part + name[brace.end() :])]


@dataclass(frozen=True)
class _Part:
    """The images of a split, and their names from the split's folder on."""

    name: str
    images: list[Image]
    names: list[str]


def _parted(root: Path, archives: list[str], found: list[Image]) -> tuple[list[_Part], str]:
    """The training images and those of every test split, and where the splits are from, in words."""
    places = f"{len(archives)} tar archives" if len(archives) > 1 else "a tar archive"
    kinds = [kind_of(name) for name in archives]
    if "train" in kinds and len(set(kinds)) > 1:
        parts = []
        for kind in ("train", *(name for name in TEST_NAMES if name in kinds)):
            images = [image for image in found if kinds[image.archive] == kind]
            parts.append(_Part(kind, images, _relative(images)))
        if not parts[0].images:
            raise DataError(f"of the archives of {root} those of training have no images")
        parts = [part for part in parts if part.images]
        while all(_top(part.names) for part in parts):  # all: a test split may have images of one class alone
            parts = [replace(part, names=_without_top(part.names)) for part in parts]
        return parts, places
    names = _relative(found)
    while (top := _top(names)) and top != "train":
        names = _without_top(names)
    train, test = splits(names, [])
    chosen = []
    for split in (train, test):
        if split is not None:
            start = f"{split}/" if split else ""
            images = [image for image, name in zip(found, names, strict=True) if name.startswith(start)]
            chosen.append(_Part(split, images, below(names, split)))
    return chosen, places


def _relative(images: list[Image]) -> list[str]:
    return [image.name.lstrip("/") for image in images]


def _without_top(names: list[str]) -> list[str]:
    return [name.partition("/")[2] for name in names]


def _top(names: list[str]) -> str:
    """The folder that all of them lie in, if there is one."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    return tops.pop() if len(tops) == 1 else ""


def _words(part: _Part) -> list[str]:
    return [image.label or "" for image in part.images]


def _name(root: Path, archives: list[str], split: str, shorter_side: int) -> str:
    base = archives[0] if len(archives) == 1 else root.resolve().name or str(root)
    return source_name(base, split, shorter_side)
