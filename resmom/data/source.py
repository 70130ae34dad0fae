"""What a set of images is to everybody else: a `Source` of numbered images, some of them with labels."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from resmom.data.errors import DataError

Index = NDArray[np.int64]
Images = UInt8[Tensor, "n c h w"] | list[UInt8[Tensor, "_ _ _"]]


class Source(ABC):
    """Images numbered 0 … N-1. Reading is safe from several threads and changes nothing but `unreadable`."""

    name: str
    labels: NDArray[np.int64] | None
    """(N,) numbers into `classes`, None without labels. -1 marks an image without one; evaluation leaves it out."""
    classes: tuple[str, ...]
    sizes: NDArray[np.int64]
    """(N, 2) heights and widths in pixels."""
    channels: int
    """3, or 1 for arrays of grey images."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: Index) -> Images:
        """The images `index` (n,), in that order: uint8 n x C x H x W if all images of the source have one size and are
        held in RAM, else a list of n uint8 C x H x W.

        The tensors may share the source's memory: never write in them. An image found unreadable only now is replaced
        by the next readable one, so go by the shape of what comes, not by `sizes`.

        Raises IndexError for a number outside 0 … N-1.
        """

    def read_among(self, among: Index, places: Index) -> Images:
        """As `read`, the images `among[places]`; an image that only now is found unreadable is replaced by the next one
        of `among`, after the last of which comes the first."""
        return self.read(among[places])

    def pixels(self, at: int) -> UInt8[Tensor, "c h w"]:
        """Image `at` by itself, with nothing in its place. Raises UnreadableImage where it cannot be decoded."""
        return self.read(np.array([at]))[0]

    def pieces(self, index: Index) -> Iterator[Index]:
        """The images `index` in parts, in that order, of which each can be read without filling the memory with decoded
        photos: one part where nothing is decoded to be read."""
        yield index

    @property
    def stacked(self) -> bool:
        """Whether `read` gives one tensor: reading is then no work that threads could share."""
        return False

    @property
    def root(self) -> "Source":
        """What this is a part of, or a part of a part; else the source itself."""
        return self

    @property
    @abstractmethod
    def unreadable(self) -> list[tuple[str, str]]:
        """(path, reason) of every file left out or replaced so far, sorted by path."""

    @property
    def failed(self) -> Index:
        """Numbers of the images that others have stood in for so far, in rising order."""
        return np.zeros(0, dtype=np.int64)

    @abstractmethod
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell a resumed run whether it sees the same data. Cheap: not all pixels count."""

    def names(self) -> Sequence[str] | None:
        """(N,) the images' paths below their folder, with `/`; None for images that have none, such as arrays."""
        return None

    def name_of(self, at: int) -> str | None:
        """What `names` has for image `at`, without making all of them."""
        names = self.names()
        return None if names is None else names[at]

    @final
    def subset(self, index: Index) -> "Subset":
        """The images `index` of this source, in that order, as a source of their own.

        Raises IndexError for a number outside 0 … N-1.
        """
        return Subset(self, index)

    @final
    def _checked(self, index: Index) -> Index:
        if index.size and not (index.min() >= 0 and index.max() < len(self)):
            raise IndexError(f"{self.name} has images 0 to {len(self) - 1}; asked for {index.min()} to {index.max()}")
        return index


@final
class ArraySource(Source):
    """Images of one size held in RAM as one tensor."""

    def __init__(
        self,
        name: str,
        images: UInt8[Tensor, "n c h w"],
        labels: NDArray[np.int64] | None = None,
        classes: tuple[str, ...] = (),
    ) -> None:
        """`images` is N x C x H x W and kept without a copy; `labels` is (N,), -1 where an image has none.

        Raises `DataError` if there are no images, or not as many labels as images.
        """
        if len(images) == 0:
            raise DataError(f"{name} holds no images; at least one is needed")
        if labels is not None and labels.shape != (len(images),):
            raise DataError(f"{name} has {len(images)} images but labels of shape {labels.shape}; give one per image")
        self.name, self.labels, self.classes = name, labels, classes
        self.sizes = np.broadcast_to(np.array(images.shape[2:], dtype=np.int64), (len(images), 2))
        self.channels = images.shape[1]
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: Index) -> Images:
        return self._images[torch.from_numpy(self._checked(index))]

    @property
    def stacked(self) -> bool:
        return True

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return []

    def fingerprint(self) -> str:
        """Shape, labels, and the pixels of up to 64 images spread evenly from the first to the last."""
        rows = np.unique(np.linspace(0, len(self) - 1, 64).astype(np.int64))
        labels = b"" if self.labels is None else self.labels.tobytes()
        return digest([repr(tuple(self._images.shape)).encode(), labels, self._images[rows].numpy().tobytes()])


@final
class Subset(Source):
    """Some images of another source, in an order of their own. They share what the other holds."""

    def __init__(self, source: Source, index: Index) -> None:
        """`index` (n,) numbers images of `source`. Raises IndexError where it has no such image."""
        self._source, self._index = source, source._checked(index).copy()
        # A part of a part is read from the whole: there, and where.
        self._root = source.root
        self._at: Index = source._at[index] if isinstance(source, Subset) else self._index
        self.name, self.classes = f"{len(index)} of {source.name}", source.classes
        self.labels = None if source.labels is None else source.labels[index]
        self.sizes, self.channels = source.sizes[index], source.channels

    def __len__(self) -> int:
        return len(self._index)

    def read(self, index: Index) -> Images:
        """As `Source.read`; what stands in for an image is one of this part, never one that was held out of it."""
        return self._root.read_among(self._at, self._checked(index))

    def read_among(self, among: Index, places: Index) -> Images:
        return self._root.read_among(self._at[among], places)

    def pixels(self, at: int) -> UInt8[Tensor, "c h w"]:
        return self._root.pixels(int(self._at[at]))

    def pieces(self, index: Index) -> Iterator[Index]:
        start = 0
        for piece in self._root.pieces(self._at[self._checked(index)]):
            yield index[start : start + len(piece)]
            start += len(piece)

    @property
    def stacked(self) -> bool:
        return self._root.stacked

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return self._source.unreadable

    @property
    def failed(self) -> Index:
        return np.flatnonzero(np.isin(self._at, self._root.failed)) if len(self._root.failed) else self._root.failed

    def names(self) -> Sequence[str] | None:
        names = self._source.names()
        return None if names is None else [names[at] for at in self._index.tolist()]

    def name_of(self, at: int) -> str | None:
        return self._root.name_of(int(self._at[at]))

    def fingerprint(self) -> str:
        return digest([self._source.fingerprint().encode(), self._index.tobytes()])

    @property
    def whole(self) -> Source:
        """The source that this is a part of."""
        return self._source

    @property
    def root(self) -> Source:
        return self._root

    @property
    def index(self) -> Index:
        """(N,) numbers of these images in the whole."""
        return self._index


@dataclass(frozen=True)
class Data:
    """What a user's one word or path stands for. `origin` tells in words where the split came from."""

    train: Source
    test: Source | None
    origin: str
    spec: str = ""
    """The word or path, with which it is opened again from any folder; empty for images given in Python."""
    not_read: str = ""
    """Pictures that lie there too and have formats that are not read, in words."""
    outside: str = ""
    """Images that lie there too and belong to no split, in words, of which `origin` tells as well."""
    labels_from: str = ""
    """What the classes are taken from, in words, such as the folders' names; empty where that goes without saying."""
    notes: tuple[str, ...] = ()
    """What else was understood of them, a sentence each, that somebody may have meant otherwise."""

    @property
    def splits(self) -> dict[str, Source]:
        """`train`, and `test` where there is one."""
        return {"train": self.train} | ({} if self.test is None else {"test": self.test})

    @property
    def passed_over(self) -> str:
        """All that lies there too and is not used, in words."""
        return "; ".join(filter(None, (self.outside, self.not_read)))


def require_known_classes(train: Source, test: Source, whose: str) -> None:
    """Raise DataError where test images are of classes that no training image has: nothing learnt can name them.

    `whose` names the test images. Training images without any labels name no class, and nothing is refused.
    """
    known, asked = (np.unique([] if s.labels is None else s.labels[s.labels >= 0]) for s in (train, test))
    unknown = np.setdiff1d(asked, known)
    if len(known) and len(unknown):
        raise DataError(
            f"{whose} has labels that no training image has: {', '.join(str(label) for label in unknown[:5].tolist())}"
            f"{' and more' if len(unknown) > 5 else ''}; test classes must be among those of training: take these "
            "images out, or number both splits alike"
        )


def labels_read(source: Source) -> Index:
    """(N,) the labels of images that were read by now: -1 also for those whose files could not be decoded, so that what
    stood in for them is not judged by their labels. Raises ValueError for a source without labels."""
    if source.labels is None:
        raise ValueError(f"{source.name} has no labels")
    labels = source.labels.copy()
    labels[source.failed] = -1
    return labels


def decoded(source: Source, broken: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    """(N,) whether each image is none of the `broken` ones, names with reasons; all where images have no names."""
    names = source.names() if broken else None
    without = {name for name, _ in broken}
    return np.array([name not in without for name in names]) if names else np.ones(len(source), dtype=bool)


def digest(parts: Iterable[bytes]) -> str:
    """16 hexadecimal digits of SHA-256 over the parts, each with its length, so that no two lists run together."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()[:16]
