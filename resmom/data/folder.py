"""A folder of images: which files, which splits, which labels."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from resmom.data.annotated import list_of, listed_labels
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.source import Data, DataError, Index
from resmom.data.store import Files

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

OTHER_SUFFIXES = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".svg", ".psd", ".tga", ".exr", ".hdr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw", ".dcm"),
)
"""Pictures of formats that are not read: whoever has a folder of them shall not wonder where they are."""

_TEST_NAMES = ("test", "val", "validation")


def open_folder(root: Path, ram_limit: int = RAM_LIMIT, shorter_side: int = 0) -> Data:
    """The images in a folder, nested at any depth, sorted by their relative path.

    `train/` is the training split if it has a `test/`, `val/` or `validation/` beside it (of several, the first in this
    order that has labels if `train/` has, else the first; one with a list of labels goes before all, as Tiny-ImageNet's
    `val/val_annotations.txt`, see `listed_labels`), or if all images are below it. Otherwise all images are for
    training and there is no test split.

    The first folders below a split are the classes, if there are at least two and no image lies outside of them; a test
    split has labels if training has and every image lies in such a folder. Hidden files and `__MACOSX` are passed over;
    links are followed, except back into a folder that they lie in. `ram_limit` is as in `FileSource`, `shorter_side` as
    in `decode`.

    Raises `DataError` if there is no image, none is readable, or a class of the test split is not one of training's.
    """
    found = sorted(_walk(root, "", frozenset()))
    images = [name for name in found if _suffix(name) in SUFFIXES]
    if not images:
        raise DataError(_no_images(root, found))
    lists = [name for name in _TEST_NAMES if list_of(name) in found]
    train, test = _splits(images, lists)
    names, classes = _below(images, train), _classes(_below(images, train))

    def source_of(split: str, names: list[str], labels: Index | None) -> FileSource:
        store = Files(root / split, names, shorter_side)
        return FileSource(_name(root, split, shorter_side), store, labels, classes, ram_limit)

    source = source_of(train, names, _labels(names, classes))
    if test is None:
        origin = f"{train}/ folder, no test split" if train else "no test split"
        return Data(source, None, origin, not_read=_not_read(found))
    names = _below(images, test)
    if test in lists and classes:
        labels: Index | None = listed_labels(root / list_of(test), names, classes)
    else:
        labels = _test_labels(root / test, names, classes)
    left_out = len(images) - len(_below(images, train)) - len(names)
    rest = f" ({left_out} images outside of them left out)" if left_out else ""
    places = f"{train}/ and {test}/ folders"
    outside = f"{left_out} images outside of the {places}" if left_out else ""
    tests = source_of(test, names, labels)
    return Data(source, tests, f"{places}{rest}", not_read=_not_read(found), outside=outside)


def _walk(folder: Path, above: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Relative POSIX paths of all files. A link to a folder that it lies in is not followed: it would never end."""
    try:
        status = folder.stat()
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); make it readable or move it away") from error
    itself = (status.st_dev, status.st_ino)
    if itself in ancestors:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        kind = _kind(entry)
        if kind == "folder":
            yield from _walk(folder / entry.name, f"{above}{entry.name}/", ancestors | {itself})
        elif kind == "file":
            yield above + entry.name


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    """What lies there, or where the link leads. A link to nothing is a file, to be reported as unreadable.

    Pipes, sockets and devices are neither: opening one may wait for ever.
    """
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() or not Path(entry.path).exists() else "other"
    except OSError:  # a link to itself, or through a folder that may not be entered
        return "file"


def _splits(images: list[str], lists: list[str]) -> tuple[str, str | None]:
    """The folders of the two splits; "" is the whole folder. `lists`: the test folders with a list of labels."""
    tops = {name.partition("/")[0] for name in images if "/" in name}
    beside = [name for name in _TEST_NAMES if name in tops]
    if "train" in tops and beside:
        labelled = [name for name in beside if name in lists]
        labelled += [name for name in beside if _in_folders(_below(images, name))]
        return "train", (labelled if labelled and _classes(_below(images, "train")) else beside)[0]
    alone = tops == {"train"} and _in_folders(images)
    return ("train" if alone else ""), None


def _below(images: list[str], split: str) -> list[str]:
    start = f"{split}/" if split else ""
    return [name.removeprefix(start) for name in images if name.startswith(start)]


def _in_folders(names: list[str]) -> bool:
    return all("/" in name for name in names)


def _classes(names: list[str]) -> tuple[str, ...]:
    tops = sorted({name.partition("/")[0] for name in names})
    return tuple(tops) if _in_folders(names) and len(tops) >= 2 else ()


def _labels(names: list[str], classes: tuple[str, ...]) -> Index | None:
    if not classes:
        return None
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name.partition("/")[0]] for name in names], dtype=np.int64)


def _test_labels(folder: Path, names: list[str], classes: tuple[str, ...]) -> Index | None:
    if not classes or not _in_folders(names):
        return None
    unknown = sorted({name.partition("/")[0] for name in names} - set(classes))
    if unknown:
        raise DataError(
            f"{folder} has {len(unknown)} folders that the training split has not: {', '.join(unknown[:5])}. "
            "Test classes must be among those of training; rename them or move them away"
        )
    return _labels(names, classes)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _name(root: Path, split: str, shorter_side: int) -> str:
    base = root.resolve().name or str(root)
    # What results are recorded under: on reduced images they are others.
    reduced = f"@shorter-side={shorter_side}" if shorter_side else ""
    return f"{base}/{split}{reduced}" if split else f"{base}{reduced}"


def _not_read(found: list[str]) -> str:
    others = Counter(suffix for name in found if (suffix := _suffix(name)) in OTHER_SUFFIXES)
    formats = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    return f"pictures of formats that are not read ({formats}): convert them, for instance to JPEG" if formats else ""


def _no_images(root: Path, found: list[str]) -> str:
    counts = Counter(_suffix(name) or "without suffix" for name in found).most_common(5)
    held = ", ".join(f"{count} {suffix}" for suffix, count in counts)
    what = f"it holds {len(found)} files ({held})" if found else "it holds no files"
    return f"{root} has no images: {what}. Image files end in {', '.join(SUFFIXES)}; give a folder that holds some"
