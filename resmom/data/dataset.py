"""Images that a Python user already holds: an array, a tensor, or a map-style torch Dataset."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from resmom.data.arrays import class_numbers
from resmom.data.decode import converted
from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.huggingface import is_dataset, open_dataset
from resmom.data.labelwords import number_alike
from resmom.data.rgb import UnreadableImage
from resmom.data.source import ArraySource, Data, Images, Index, Source, digest, require_known_classes


@runtime_checkable
class MapDataset(Protocol):
    """What is needed of a torch Dataset: a length, and items by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@final
class DatasetSource(Source):
    """A map-style Dataset whose items are images, or tuples that begin with one.

    An image is a PIL image, which becomes what its file would (see `converted`), a uint8 C x H x W tensor, or a uint8
    H x W x C array: as stored, without crops: the views make their own. Labels are taken from an attribute `targets` or
    `labels` of the Dataset, as torchvision's have one; the items' own second part is not looked at, since that would
    decode everything once. Of a Subset, as `random_split` makes it, they are taken from what it is a part of.
    """

    def __init__(self, dataset: MapDataset, name: str | None = None, whose: str = "the Dataset") -> None:
        """`whose` names the Dataset in messages.

        Raises DataError for an empty Dataset, for items that are no such images, for labels of another number.
        """
        if len(dataset) == 0:
            raise DataError(f"{whose} is empty; at least one image is needed")
        self._dataset, self._whose = dataset, whose
        self.name = name or f"{type(dataset).__module__}.{type(dataset).__qualname__}"
        first = self._image(0)
        self.channels = first.shape[0]
        # Looking at every image would decode them all; `sizes` is that of the first, and readers go by what comes.
        self.sizes = np.broadcast_to(np.array(first.shape[1:], dtype=np.int64), (len(dataset), 2))
        self.labels, self.classes, self.named = _labels(dataset, whose)

    def __len__(self) -> int:
        return len(self._dataset)

    def read(self, index: Index) -> Images:
        return [self._like_the_first(at, self._image(at)) for at in self._checked(index).tolist()]

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return []

    def fingerprint(self) -> str:
        """Number of images, labels, and the first image's pixels."""
        labels = b"" if self.labels is None else self.labels.tobytes()
        return digest([str(len(self)).encode(), labels, self._image(0).numpy().tobytes()])

    def _image(self, at: int) -> UInt8[Tensor, "c h w"]:
        item = self._dataset[at]
        image = item[0] if isinstance(item, tuple | list) else item
        if isinstance(image, Image.Image):
            return self._converted(at, image)
        if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3):
            stacked = image[:, :, None] if image.ndim == 2 else image
            if _swapped(stacked.shape, channels=2, instead=0):
                raise DataError(
                    f"item {at} of {self._whose}, an array, must be H x W x C; {image.shape} looks like C x H x W: use "
                    "numpy.moveaxis(image, 0, 2), or give a tensor: torch.from_numpy(image)"
                )
            return torch.from_numpy(np.ascontiguousarray(stacked.transpose(2, 0, 1)))
        if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.ndim == 3:
            if _swapped(image.shape, channels=0, instead=2):
                raise DataError(
                    f"item {at} of {self._whose}, a tensor, must be C x H x W; {tuple(image.shape)} looks like "
                    "H x W x C: use image.permute(2, 0, 1)"
                )
            return image
        found = (
            f"{image.dtype} of shape {tuple(image.shape)}" if isinstance(image, Tensor | np.ndarray) else type(image)
        )
        raise DataError(
            f"item {at} of {self._whose} is {found}; it must be, or begin with, a PIL image, a uint8 C x H x W tensor "
            "or a uint8 H x W x C array: give the Dataset without its transform, the views bring their own"
        )

    def _like_the_first(self, at: int, image: UInt8[Tensor, "c h w"]) -> UInt8[Tensor, "c h w"]:
        """The image itself. Raises DataError for other channels than the first one's, by which networks are built."""
        if len(image) != self.channels:
            raise DataError(
                f"item {at} of {self._whose} has {len(image)} channel(s), item 0 has {self.channels}; give all the "
                "same number: PIL images of any mode become RGB by themselves, image.repeat(3, 1, 1) makes RGB of a "
                "grey tensor, and numpy.repeat(image, 3, axis=2) of an H x W x 1 array"
            )
        return image

    def _converted(self, at: int, image: Image.Image) -> UInt8[Tensor, "3 h w"]:
        try:
            return converted(image)
        except UnreadableImage as error:
            raise DataError(
                f"item {at} of {self._whose}, a PIL image of mode {image.mode}, cannot be used: {error.reason}; give "
                "it as 8-bit grey or RGB (mode L or RGB), or leave it out"
            ) from error


def as_data(images: object, test: object = None) -> Data:
    """Open images as `Data`: a `Source`, an N x H x W x C uint8 array, an N x C x H x W uint8 tensor,
    one of these two with N labels as a pair, a Dataset, or a `DatasetDict` of Hugging Face's, which has its own test
    split.

    `test` is the labelled test split, if there is one. Raises DataError for anything else, and for test images that
    nothing could be measured on: without labels, of classes that training lacks, of other channels.
    """
    if isinstance(images, Data):
        if test is not None:
            raise DataError("test goes with images; what was given is a training and a test split already")
        return images
    if is_dataset(images) and isinstance(images, Mapping):
        if test is not None:
            raise DataError("test goes with images; what was given has splits of its own")
        return open_dataset(images, "a Dataset", Path())
    train = _source(images)
    return Data(train, None if test is None else _test(test, train), "given in Python")


def _test(images: object, train: Source) -> Source:
    if isinstance(images, str | Path):
        raise DataError(
            f"test is {str(images)!r}, and a path has its own test split where it has one; give test as images: a pair "
            "(images, labels), or a Dataset"
        )
    try:
        test = _source(images, "the test Dataset")
    except DataError as error:
        raise DataError(f"test: {error}") from error
    if test.labels is None or not (test.labels >= 0).any():
        raise DataError(
            "test has no labels, and it is there to measure by; give it as a pair, (images, labels), or as a Dataset "
            "that has them as `targets` or `labels`, or leave test= away"
        )
    if test.channels != train.channels:
        raise DataError(
            f"the training images have {train.channels} channel(s), those of test {test.channels}; give both the same"
        )
    if _names_classes(train) and _names_classes(test):
        number_alike(train, test, "the test Dataset")
    require_known_classes(train, test, "test")
    return test


def _names_classes(source: Source) -> bool:
    """Whether what its labels mean is told by names. Which class is which follows, in torch, from the folders or lists
    that a Dataset was made of, and in Hugging Face's from its feature."""
    return source.named if isinstance(source, DatasetSource) else isinstance(source, FileSource)


def _source(images: object, whose: str = "the Dataset") -> Source:
    if isinstance(images, Source):
        return images
    if is_dataset(images):
        if isinstance(images, Mapping):
            raise DataError(f"{whose} has several splits ({', '.join(images)}); give one of them")
        return open_dataset(images, "a Dataset", Path(), whose=whose).train
    if isinstance(images, Mapping):
        raise DataError(
            f"{whose} is a {type(images).__name__} of {', '.join(map(str, images))}; give one of them, and the one to "
            "test on as test=... (splits of Hugging Face that are only gone through: load_dataset without streaming)"
        )
    if isinstance(images, tuple) and len(images) == 2:
        return _labelled(*images)
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(
                f"an array of images is N x H x W x C uint8; got {images.dtype} of shape {images.shape}"
                f"{_scaled(images.dtype.kind)}"
            )
        if _swapped(images.shape, channels=3, instead=1):
            raise DataError(
                f"an array of images is N x H x W x C uint8; {images.shape} looks like N x C x H x W: use "
                "numpy.moveaxis(images, 1, 3), or give a tensor: torch.from_numpy(images)"
            )
        return ArraySource("an array", torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
    if isinstance(images, Tensor):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(
                f"a tensor of images is N x C x H x W uint8; got {images.dtype} of shape {tuple(images.shape)}"
                f"{_scaled('f' if images.is_floating_point() else '')}"
            )
        if _swapped(images.shape, channels=1, instead=3):
            raise DataError(
                f"a tensor of images is N x C x H x W uint8; {tuple(images.shape)} looks like N x H x W x C: use "
                "images.permute(0, 3, 1, 2)"
            )
        return ArraySource("a tensor", images)
    if isinstance(images, Sized) and _by_number(type(images)):
        return DatasetSource(images, whose=whose)  # type: ignore[arg-type]
    raise DataError(
        f"{type(images).__name__} cannot be used as images; give a path or a name, a uint8 array or tensor, or a "
        "map-style Dataset (one with a length, and items by number); of a Dataset that is only gone through, as an "
        "IterableDataset is, list(dataset) is one, where memory holds its items"
    )


def _by_number(kind: type) -> bool:
    """Whether things of a type have items by number: torch's Dataset only names that method, an IterableDataset too."""
    return getattr(kind, "__getitem__", None) not in (None, Dataset.__getitem__)


MOST_CHANNELS = 16
"""Images with more channels than this, and fewer pixels a side, are taken for such."""


def _swapped(shape: Sequence[int], channels: int, instead: int) -> bool:
    """Whether images look as if their channels stood at the axis `instead`: grey or RGB, or few where both sides have
    many more."""
    if shape[channels] in (1, 3):
        return False
    sides = [size for axis, size in enumerate(shape[-3:], len(shape) - 3) if axis != instead]
    return shape[instead] in (1, 3) or (shape[instead] <= MOST_CHANNELS and shape[instead] < min(sides))


def _scaled(kind: str) -> str:
    """What to do with numbers of a kind, of numpy's letters, that are no bytes."""
    return "; of numbers from 0 to 1: (images * 255).round(), as uint8" if kind == "f" else ""


def _labelled(images: object, labels: object) -> Source:
    source, given = _source(images), np.asarray(labels)
    if not isinstance(source, ArraySource) or given.shape != (len(source),) or given.dtype.kind not in "iu":
        kind = "" if isinstance(source, ArraySource) else f"a {type(images).__name__} of "
        raise DataError(
            "a pair of images and labels is a uint8 array or tensor of N images and N whole numbers; got "
            f"{kind}{len(source)} images and {_found(given)}"
        )
    numbers = class_numbers(given, "the labels given with the images are")
    classes = tuple(map(str, range(int(numbers.max()) + 1)))
    held = source.read(np.arange(len(source)))
    assert isinstance(held, Tensor)  # an ArraySource has one size
    return ArraySource(source.name, held, numbers, classes)


def _found(labels: NDArray[Any]) -> str:
    """What labels are, in words, that are not one whole number per image."""
    many = f"{len(labels)} labels" if labels.ndim == 1 else f"labels of shape {labels.shape}"
    match labels.dtype.kind:
        case "i" | "u":
            return many
        case "U" | "S":
            return f"{many} that are strings: numpy.unique(labels, return_inverse=True)[1] numbers them"
        case _:
            return f"{many} that are {labels.dtype}"


def _labels(dataset: MapDataset, whose: str) -> tuple[NDArray[np.int64] | None, tuple[str, ...], bool]:
    """Labels, names of classes, and whether the Dataset gives these names, each another: folders may be called 1 and 2,
    which are not the numbers that classes get where they have no names."""
    given = getattr(dataset, "targets", None)
    given = getattr(dataset, "labels", None) if given is None else given
    if given is None and isinstance(dataset, Subset):
        labels, classes, named = _labels(dataset.dataset, whose)  # type: ignore[arg-type]
        part = None if labels is None else labels[np.asarray(dataset.indices, dtype=np.int64)]
        return part, classes, named
    if given is None:
        return None, (), False
    labels = np.asarray(given)
    if labels.shape != (len(dataset),) or labels.dtype.kind not in "iu":
        raise DataError(f"the labels of {whose} are {_found(labels)}; one whole number per image is needed")
    numbers = class_numbers(labels, f"the labels of {whose} are")
    names = getattr(dataset, "classes", None)
    count = int(numbers.max()) + 1
    if names is None or len(names) < count:
        return numbers, tuple(map(str, range(count))), False
    known = tuple(map(str, names))
    return numbers, known, len(set(known)) == len(known)
