"""An `.npz` file of images: `train_images` and, where there are any, `train_labels`, `test_images`, `test_labels`."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from resmom.data.errors import DataError, UnreadableData
from resmom.data.source import ArraySource, Data, Index, require_known_classes

_KEYS = ("train_images", "train_labels", "test_images", "test_labels", "label_names")
_SPLITS = ("train", "test")
_MOST_CLASSES = 1_000_000


def open_arrays(path: Path) -> Data:
    """The images of an `.npz` file, all held in RAM.

    Images are uint8, N x H x W x C with C = 3 or 1, or N x H x W (grey, C = 1). Labels are integers 0 … K-1, or -1
    where an image has none, of shape (N,) or (N, 1). `label_names` is an array of K strings; without it the classes are
    called by their numbers. Only `train_images` must be there; names other than these five are passed over.

    Raises `DataError`, saying what came and what was expected, also for test labels that no training image has. Nothing
    in the file is ever unpickled.
    """
    arrays = _load(path)
    if "test_labels" in arrays and "test_images" not in arrays:
        raise DataError(f"{path} has test_labels but no test_images; add the images or leave the labels out")
    images = {split: _images(path, arrays, split) for split in _SPLITS if f"{split}_images" in arrays}
    labels = {split: _labels(path, arrays, split) for split in images}
    classes = _classes(path, arrays.get("label_names"), [each for each in labels.values() if each is not None])
    train, *rest = (
        ArraySource(f"{split}_images in {path.name}", images[split], labels[split], classes) for split in images
    )
    if not rest:
        return Data(train, None, f"train_images in {path.name}, no test split")
    test = rest[0]
    if test.channels != train.channels:
        raise DataError(
            f"train_images in {path} has {train.channels} channels, test_images {test.channels}; give both the same"
        )
    require_known_classes(train, test, f"test_labels in {path}")
    return Data(train, test, f"train_images and test_images in {path.name}")


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because on a damaged file numpy.load leaves the file it opened to the garbage collector.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds a single array, not named ones; write it with numpy.savez")
            if "train_images" not in loaded.files:
                raise DataError(
                    f"{path} has no array train_images; it holds {', '.join(loaded.files) or 'nothing'}. "
                    f"Expected are train_images and, where there are any, {', '.join(_KEYS[1:])}"
                )
            arrays = {name: loaded[name] for name in _KEYS if name in loaded.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # What numpy says of a file that is no archive advises to unpickle it.
        reason = error if zipfile.is_zipfile(path) else "it is damaged, or of another format"
        what = f"{path} cannot be read as an .npz file ({reason})"
        raise UnreadableData(what, "Write it with numpy.savez, without arrays of objects") from error
    # numpy hands out the bytes of a member that is no array.
    if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        what = f"{odd[0]} in {path} is not an array, or its beginning is damaged"
        raise UnreadableData(what, "Write it with numpy.savez")
    return arrays


def _images(path: Path, arrays: dict[str, np.ndarray], split: str) -> UInt8[Tensor, "n c h w"]:
    """uint8 N x C x H x W, contiguous: the source's rows are then copied to a batch in one piece each."""
    name = f"{split}_images"
    images = arrays[name]
    came = f"{name} in {path} is {images.dtype} of shape {images.shape}"
    wanted = "expected are uint8 images, N x H x W x C with C = 3 or 1, or N x H x W"
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(f"{came}; {wanted}")
    pixels = images[..., None] if images.ndim == 3 else images
    if pixels.shape[3] not in (1, 3):
        hint = "; it looks like N x C x H x W: use numpy.moveaxis(images, 1, 3)" if pixels.shape[1] in (1, 3) else ""
        raise DataError(f"{came}; {wanted}{hint}")
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).contiguous()  # torch copies by all cores


def _labels(path: Path, arrays: dict[str, np.ndarray], split: str) -> Index | None:
    labels = arrays.get(f"{split}_labels")
    if labels is None:
        return None
    n = len(arrays[f"{split}_images"])
    came = f"{split}_labels in {path} is {labels.dtype} of shape {labels.shape}"
    if labels.shape not in ((n,), (n, 1)) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{came}; expected is one integer for each of the {n} images in {split}_images")
    return class_numbers(labels.reshape(n), f"{came} with numbers")


def class_numbers(labels: NDArray[Any], came: str) -> Index:
    """Whole numbers as the numbers of classes. Raises DataError, which `came` begins, for those that cannot be any."""
    if labels.min() < -1 or labels.max() >= _MOST_CLASSES:
        raise DataError(
            f"{came} from {labels.min()} to {labels.max()}; expected are 0 … K-1 for K classes, "
            "or -1 for an image without a label: numpy.unique(labels, return_inverse=True) numbers them so"
        )
    return labels.astype(np.int64)


def _classes(path: Path, names: np.ndarray | None, labels: list[Index]) -> tuple[str, ...]:
    count = 1 + max((int(each.max(initial=-1)) for each in labels), default=-1)
    if names is None:
        return tuple(str(number) for number in range(count))
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f"label_names in {path} is {names.dtype} of shape {names.shape}; expected is one string for each class"
        )
    if len(names) < count:
        raise DataError(f"label_names in {path} has {len(names)} names, but labels go up to {count - 1}; name them all")
    try:
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    except UnicodeDecodeError as error:
        raise DataError(
            f"label_names in {path} has bytes that are not UTF-8 ({error}); give strings: numpy.array(names)"
        ) from error
