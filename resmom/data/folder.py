"""A folder of images: which files, which splits, which labels."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from resmom.data import heif
from resmom.data.annotated import list_of, listed_labels
from resmom.data.byfolder import FOLDERS, TEST_NAMES, below, classes_of, labels_known, labels_of, source_name, splits
from resmom.data.errors import DataError
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.source import Data, Index
from resmom.data.store import Files
from resmom.norun import CONFIG, PICTURES

SUFFIXES = (
    *PICTURES,
    *heif.readable(),
)
"""What image files end in: of those that phones write, the ones that can be read with what is installed."""

OTHER_SUFFIXES = (
    *(*heif.SUFFIXES, ".jxl", ".jp2", ".j2k", ".svg", ".psd", ".tga", ".exr", ".hdr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw", ".dcm"),
    *(".npy", ".czi", ".nd2", ".lif", ".lsm", ".oif", ".vsi", ".svs", ".ndpi", ".mrc"),
)
"""Pictures of formats that are not read, but for those among `SUFFIXES`: whoever has a folder of them shall not wonder
where they are."""


def open_folder(
    root: Path,
    ram_limit: int = RAM_LIMIT,
    shorter_side: int = 0,
    found: list[str] | None = None,
    threads: int = 0,
) -> Data:
    """The images in a folder, nested at any depth, sorted by their relative path.

    `train/` is the training split if it has a `test/`, `val/` or `validation/` beside it (of several, the first in this
    order that has labels if `train/` has, else the first; one with a list of labels goes before all, as Tiny-ImageNet's
    `val/val_annotations.txt`, see `listed_labels`), or if all images are below it. Otherwise all images are for
    training and there is no test split.

    The first folders below a split are the classes, if there are at least two and no image lies outside of them; a test
    split has labels if training has and every image lies in such a folder. Hidden files and `__MACOSX` are passed over;
    links are followed, except back into a folder that they lie in. `ram_limit` and `threads` are as in `FileSource`,
    `shorter_side` is as in `decode`; `found` are the `files_below` the folder, where they are known.

    Raises `DataError` if there is no image, none is readable, or a class of the test split is not one of training's.
    """
    found = files_below(root) if found is None else found
    images = images_among(found)
    if not images:
        raise DataError(_no_images(root, found))
    lists = [name for name in TEST_NAMES if list_of(name) in found]
    train, test = splits(images, lists)
    names, classes = below(images, train), classes_of(below(images, train))

    def source_of(split: str, names: list[str], labels: Index | None) -> FileSource:
        store = Files(root / split, names, shorter_side)
        return FileSource(_name(root, split, shorter_side), store, labels, classes, ram_limit, threads)

    source = source_of(train, names, labels_of(names, classes))
    if test is None:
        origin = f"{train}/ folder, no test split" if train else "no test split"
        return Data(source, None, origin, not_read=not_read_words(found), labels_from=FOLDERS)
    names = below(images, test)
    if test in lists and classes:
        labels: Index | None = listed_labels(root / list_of(test), names, classes)
    else:
        labels = labels_known(root / test, names, classes)
    left_out = len(images) - len(below(images, train)) - len(names)
    rest = f" ({left_out} images outside of them left out)" if left_out else ""
    places = f"{train}/ and {test}/ folders"
    outside = f"{left_out} images outside of the {places}" if left_out else ""
    tests = source_of(test, names, labels)
    origin, said = f"{places}{rest}", not_read_words(found)
    return Data(source, tests, origin, not_read=said, outside=outside, labels_from=FOLDERS)


def files_below(root: Path, skip_locked: bool = False) -> list[str]:
    """Relative POSIX paths of all files in a folder that are not hidden, sorted. Raises `DataError` for a folder that
    may not be listed, unless such are to be skipped."""
    return sorted(_walk(root, "", frozenset(), skip_locked))


def images_among(names: list[str]) -> list[str]:
    """Those whose suffix says that they are images."""
    return [name for name in names if suffix_of(name) in SUFFIXES]


def _walk(folder: Path, above: str, ancestors: frozenset[tuple[int, int]], skip_locked: bool) -> Iterator[str]:
    """Relative POSIX paths of all files. A link to a folder that it lies in is not followed: it would never end."""
    try:
        status = folder.stat()
        entries = list(os.scandir(folder))
    except OSError as error:
        if skip_locked:
            return
        raise DataError(f"{folder} cannot be listed ({error.strerror}); make it readable or move it away") from error
    itself = (status.st_dev, status.st_ino)
    if itself in ancestors:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        kind = _kind(entry)
        if kind == "folder":
            yield from _walk(folder / entry.name, f"{above}{entry.name}/", ancestors | {itself}, skip_locked)
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


def suffix_of(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _name(root: Path, split: str, shorter_side: int) -> str:
    return source_name(root.resolve().name or str(root), split, shorter_side)


def not_read_words(found: list[str]) -> str:
    others = Counter(
        suffix for name in found if (suffix := suffix_of(name)) in OTHER_SUFFIXES and suffix not in SUFFIXES
    )
    if not others:
        return ""
    formats = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    ways = heif.remedies(set(others))
    if not ways or others.keys() - set(heif.SUFFIXES):
        ways.append(f"convert {'the others' if ways else 'them'}, for instance to JPEG")
    return f"pictures of formats that are not read ({formats}): {'; '.join(ways)}"


def _no_images(root: Path, found: list[str]) -> str:
    counts = Counter(suffix_of(name) or "without suffix" for name in found).most_common(5)
    held = ", ".join(f"{count} {suffix}" for suffix, count in counts)
    what = f"it holds {len(found)} files ({held})" if found else "it holds no files"
    others = {suffix for name in found if (suffix := suffix_of(name)) not in SUFFIXES}
    ways = "; or ".join(["give a folder that holds some", *heif.remedies(others)])
    if (root / CONFIG).is_file():
        return f"{root} is the folder of a run, and holds no images; its own are those that its {CONFIG} names as data"
    return f"{root} has no images: {what}. Image files end in {', '.join(SUFFIXES)}; {ways}"
