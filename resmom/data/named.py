"""Public data sets by name, read and downloaded through torchvision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from resmom.data.errors import DataError
from resmom.data.source import ArraySource, Data, Source
from resmom.downloads import download_folder
from resmom.norun import PUBLIC

NAMES: Final = PUBLIC


def default_root() -> Path:
    """Where downloads go: the folder that RESMOM_DATA names, else ~/.cache/resmom/data."""
    return download_folder("RESMOM_DATA", "data")


class AbsentError(DataError):
    """A public data set that is not, or not whole, on this disk, and was not to be downloaded."""


def open_named(name: str, root: Path | None = None, download: bool = True) -> Data:
    """CIFAR-10, CIFAR-100 (50 000 + 10 000 of 32 x 32) or STL-10 (105 000 + 8 000 of 96 x 96), downloaded if need be.

    STL-10's training images are its labelled and its unlabelled ones, the latter with label -1, as it is meant to be
    pretrained on; evaluation leaves those out. Raises `DataError` for another name, and where the files neither lie in
    `root` (default: `default_root`) nor can be downloaded to it; AbsentError where they may not be.
    """
    from torchvision import datasets

    folder = default_root() if root is None else root
    match name:
        case "cifar10":
            train, test = (_cifar(name, folder, datasets.CIFAR10, split, download) for split in ("train", "test"))
        case "cifar100":
            train, test = (_cifar(name, folder, datasets.CIFAR100, split, download) for split in ("train", "test"))
        case "stl10":
            train, test = (_stl(folder, datasets.STL10, split, download) for split in ("train", "test"))
        case _:
            raise DataError(f"there is no data set named {name}; known are {', '.join(NAMES)}")
    return Data(train, test, f"{name}'s own splits")


def _cifar(name: str, root: Path, kind: Callable[..., Any], split: str, download: bool) -> Source:
    found = _fetched(name, root, lambda: kind(root=str(root), train=split == "train", download=download), download)
    images = torch.from_numpy(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
    return ArraySource(f"{name}/{split}", images, _numbers(found.targets), tuple(found.classes))


def _stl(root: Path, kind: Callable[..., Any], split: str, download: bool) -> Source:
    part = "train+unlabeled" if split == "train" else "test"
    found = _fetched("stl10", root, lambda: kind(root=str(root), split=part, download=download), download)
    return ArraySource(
        f"stl10/{split}",
        torch.from_numpy(np.ascontiguousarray(found.data)),
        _numbers(found.labels),
        tuple(found.classes),
    )


def _numbers(labels: object) -> NDArray[np.int64]:
    return np.asarray(labels).astype(np.int64)


def _fetched(name: str, root: Path, get: Callable[[], Any], download: bool) -> Any:
    try:
        return get()
    # torchvision's word for files that are missing or fail their checksum is RuntimeError; the network's is OSError.
    except (OSError, RuntimeError) as error:
        if not download:
            raise AbsentError(f"{name} is not complete in {root}") from error
        raise DataError(
            f"{name} is neither complete in {root} nor could it be downloaded there ({error}). Download it on a machine"
            f" with network access, as torchvision does, and give {name}:FOLDER, the folder with what lies in {root} "
            "there (RESMOM_DATA sets another default), or give a folder of images or an .npz file"
        ) from error
