"""Images in a `datasets.Dataset` of Hugging Face, in its parquet files, or in a folder that `save_to_disk` wrote.

The package `datasets` (extra `datasets`) reads and maps them; the images are then decoded as files are.
"""

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from resmom.data.byfolder import TEST_NAMES, kind_of, left_out_words, preferred, source_name
from resmom.data.errors import DataError, UnreadableData
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.labelwords import classes_among, labels_among, number_alike
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Data, Index, digest, require_known_classes
from resmom.data.store import Names, Numbers, Store
from resmom.extras import importable, lacking

SUFFIX = ".parquet"
VALUES = ("label", "fine_label", "class", "category", "target")
"""What a column of labels may be called that is no ClassLabel."""
_SAVED = ("dataset_dict.json", "state.json")
"""Of a folder that `save_to_disk` wrote: of several splits, and of one."""


def is_dataset(images: object) -> bool:
    """Whether it is a Dataset of Hugging Face, or several splits of one; asked without importing that package."""
    names = {"datasets.arrow_dataset.Dataset", "datasets.dataset_dict.DatasetDict"}
    return any(f"{kind.__module__}.{kind.__qualname__}" in names for kind in type(images).__mro__)


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return any((path / name).is_file() for name in _SAVED)


def open_saved(path: Path, ram_limit: int = RAM_LIMIT, shorter_side: int = 0, threads: int = 0) -> Data:
    """The Dataset that `save_to_disk` wrote to a folder; see `open_dataset`. Raises `DataError`."""
    module = _package(f"{path} was written by save_to_disk of Hugging Face's datasets; reading it")
    try:
        found = module.load_from_disk(str(path))
    except Exception as error:
        what = f"{path} cannot be read by the package datasets ({_first_line(error)})"
        raise UnreadableData(what, "Save it again") from error
    return open_dataset(found, path.resolve().name, path, ram_limit, shorter_side, threads=threads)


def open_parquet(
    root: Path, files: list[str], ram_limit: int = RAM_LIMIT, shorter_side: int = 0, threads: int = 0
) -> Data:
    """The images in parquet files, given by their paths below `root`; see `open_dataset`.

    Files whose path has the word test, val, valid or validation are the test split of the others, as of archives. The
    package turns them into files of its own once, in its cache, from which any image can be read at any time.
    """
    module = _package(f"{files[0]} in {root}: reading parquet files")
    kinds = [kind_of(name) for name in files]
    if "train" not in kinds:
        kinds = ["train"] * len(files)
    parts: dict[str, list[str]] = {}
    for kind, name in zip(kinds, files, strict=True):
        parts.setdefault(kind, []).append(str(root / name))
    try:  # not by load_dataset, which counts its calls on a server
        found = {kind: module.Dataset.from_parquet(names, split=kind) for kind, names in parts.items()}
    except Exception as error:
        what = f"the parquet files in {root} cannot be read by the package datasets: {_first_line(error)}"
        advice = "Copy them again, and see that all of a split have the same columns"
        raise UnreadableData(what, advice) from error
    name = files[0] if len(files) == 1 else root.resolve().name
    return open_dataset(found, name, root, ram_limit, shorter_side, threads=threads)


def open_dataset(
    found: Any,
    name: str,
    where: Path,
    ram_limit: int = RAM_LIMIT,
    shorter_side: int = 0,
    whose: str = "",
    threads: int = 0,
) -> Data:
    """A `datasets.Dataset`, or a `DatasetDict` of splits: train, and of test, val and validation the first with labels.

    The images are in the one column of the feature Image, of several in `image` or `img`; the labels in the one of the
    feature ClassLabel, of several in `label` or `fine_label`, or where there is none in one of `VALUES`. Labels of -1,
    and missing ones, are none; those of a test split are numbered as training's, by their names. `where` is the folder
    that a user would look at, `whose` what messages call it, if not by its name. `ram_limit` and `threads` are
    as in `FileSource`, `shorter_side` is as in `decode`.

    Raises `DataError` where there is no such column, or which one is meant cannot be told, and as `FileSource` does.
    """
    whose = whose or name
    splits = dict(found) if isinstance(found, Mapping) else {"train": found}
    if "valid" in splits and "validation" not in splits:
        splits["validation"] = splits.pop("valid")
    if len(splits) == 1:
        splits = {"train": next(iter(splits.values()))}
    if "train" not in splits:
        raise DataError(f"{whose} has the splits {', '.join(splits)}, and none is train; give the one to train on")
    several = len(splits) > 1

    @functools.cache
    def labels(split: str) -> tuple[Index | None, tuple[str, ...]]:
        return _labels_and_classes(splits[split].with_format(None), whose)

    def source(split: str) -> FileSource:
        named = source_name(name, split if several else "", shorter_side)
        store = _rows(splits[split], named, where, shorter_side, whose)
        return FileSource(named, store, *labels(split), ram_limit, threads)

    # What is not chosen is not opened: that reads every header, and may hold all pixels.
    train, tests = source("train"), [split for split in TEST_NAMES if split in splits]
    chosen = preferred({split: train.labels is not None and labels(split)[0] is not None for split in tests})
    test = None if chosen is None else source(chosen)
    if test is not None:
        number_alike(train, test, f"the split {chosen} of {whose}")
        require_known_classes(train, test, f"the split {chosen} of {whose}")
    outside, more = left_out_words(sum(len(part) for split, part in splits.items() if split not in ("train", chosen)))
    origin = f"{name}, no test split" if chosen is None else f"train and {chosen} of {name}"
    return Data(train, test, f"{origin}{more}", outside=outside)


@final
class Rows(Store):
    """The encoded images in a column of a Dataset."""

    sizes = None

    def __init__(self, dataset: Any, column: str, where: Path, shorter_side: int = 0) -> None:
        """`dataset` hands the column's images out as they are stored."""
        self.where, self.shorter_side = where, shorter_side
        self._cells = dataset.select_columns([column]).with_format("arrow")
        self.names = Names.of(f"{number}" for number in range(len(dataset)))

    def content(self, at: int, most: int = -1) -> bytes:
        cell = self._cells[at].column(0)[0]
        if not cell.is_valid:
            raise UnreadableImage("its row has no image")
        if cell["bytes"].is_valid:
            stored = cell["bytes"].as_buffer()  # mapped into memory, of which only what is taken is read
            return bytes(memoryview(stored)[: len(stored) if most < 0 else most])
        path = cell["path"].as_py()
        if path is None:
            raise UnreadableImage("its row has neither bytes nor a path")
        try:
            with Path(path).open("rb") as file:
                return file.read(most)
        except OSError as error:
            raise UnreadableImage(f"{path} cannot be opened: {error.strerror}") from error

    def place_words(self, name: str) -> str:
        return "" if self.where == Path() else super().place_words(name)  # handed over in Python

    def fingerprint(self, rows: Numbers) -> bytes:
        """How many rows there are, and the bytes of up to 64 of them, from the first to the last."""
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, 64).astype(np.int64))]
        return digest([str(len(rows)).encode(), *(self.content(at) for at in chosen.tolist())]).encode()


def _rows(dataset: Any, name: str, where: Path, shorter_side: int, whose: str) -> Rows:
    if len(dataset) == 0:
        raise DataError(f"{name} is empty; at least one image is needed")
    plain = dataset.with_format(None)
    image = _column(plain, "Image", ("image", "img"), whose)
    if image is None:
        columns = ", ".join(f"{column} ({type(kind).__name__})" for column, kind in plain.features.items())
        raise DataError(
            f"{whose} has no column of the feature Image; it has {columns}: make one of it, "
            'dataset.cast_column("image", datasets.Image())'
        )
    return Rows(plain.cast_column(image, type(plain.features[image])(decode=False)), image, where, shorter_side)


def _labels_and_classes(plain: Any, whose: str) -> tuple[Index | None, tuple[str, ...]]:
    label = _column(plain, "ClassLabel", ("label", "fine_label"), whose)
    if label is None:
        return _by_value(plain, whose)
    return _labels(plain, label), tuple(plain.features[label].names)


def _by_value(plain: Any, whose: str) -> tuple[Index | None, tuple[str, ...]]:
    """Labels and classes where a column of plain whole numbers or words is called as one of labels is.

    Not where there are as many classes as images, or nearly: those are captions, or what images are called.
    """
    kinds = {column: str(getattr(feature, "dtype", "")) for column, feature in plain.features.items()}
    named = [c for c in VALUES if c in kinds and (kinds[c] == "string" or kinds[c].startswith(("int", "uint", "bool")))]
    if not named:
        return None, ()
    given = plain.select_columns([named[0]])[:][named[0]]
    words = ["" if value is None or (isinstance(value, int) and value < 0) else str(value) for value in given]
    classes = classes_among(words)
    if len(classes) > len(words) / 2:
        return None, ()
    return labels_among(words, classes, f"images of {whose}"), classes


def _labels(plain: Any, column: str) -> Index | None:
    """The numbers in a column, -1 where a row has none; None where no row has one, as in the test splits of the hub."""
    given = np.asarray(plain.select_columns([column]).with_format("numpy")[:][column])
    if given.dtype.kind == "O":  # of nothing at all
        given = given.astype(np.float64)
    if given.dtype.kind == "f":  # numpy's way to have rows without a number
        given = np.where(np.isnan(given), -1.0, given)
    labels: Index = given.astype(np.int64)
    return labels if (labels >= 0).any() else None


def _column(dataset: Any, kind: str, preferred: tuple[str, ...], whose: str) -> str | None:
    """The column of a feature, by the feature's name."""
    found = [column for column, feature in dataset.features.items() if type(feature).__name__ == kind]
    if len(found) > 1:
        chosen = [column for column in preferred if column in found]
        if not chosen:
            raise DataError(
                f"{whose} has several columns of the feature {kind}: {', '.join(found)}; name the one that is meant "
                f"{preferred[0]} (dataset.rename_column), or take the others away (dataset.remove_columns)"
            )
        return chosen[0]
    return found[0] if found else None


def _package(what: str) -> Any:
    if not importable("datasets"):
        raise DataError(lacking(f"{what} needs", "datasets"))
    import datasets

    return datasets


def _first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error).strip().partition("\n")[0]) or type(error).__name__
