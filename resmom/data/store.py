"""Where encoded images lie: in files below a folder, or in a pack. Numbers in, names, bytes and pixels out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from resmom.data.decode import Look, decode, header
from resmom.data.rgb import UnreadableImage

BEGINNING = 2**14
"""Bytes of an image in which its header is looked for: most have it there, after what a camera or a profile adds."""
Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@final
class Names:
    """Many strings as one block of bytes: a list of ten million would be as many Python objects, and a gigabyte.

    `block` has each string in UTF-8 (what is not valid there as its very bytes) and a zero byte behind it; `ends` (N,)
    are the positions of these zero bytes.
    """

    def __init__(self, block: Bytes, ends: Numbers) -> None:
        self.block, self.ends = block, ends

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """These strings; none of them contains a zero byte."""
        block = np.frombuffer("".join(f"{name}\0" for name in names).encode(errors="surrogateescape"), dtype=np.uint8)
        return cls(block, np.flatnonzero(block == 0).astype(np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, at: int) -> str:
        start = int(self.ends[at - 1]) + 1 if at else 0
        return self.block[start : int(self.ends[at])].tobytes().decode(errors="surrogateescape")

    def joined(self, rows: Numbers) -> bytes:
        """The strings of some rows, with a zero byte between two."""
        if len(rows) == len(self):
            return self.block[:-1].tobytes()
        return "\0".join(self[at] for at in rows.tolist()).encode(errors="surrogateescape")


class Store(ABC):
    """Encoded images numbered 0 … N-1. Reading is safe from several threads."""

    where: Path
    """The folder that a user would look at."""
    names: Names
    sizes: Numbers | None
    """(N, 2) heights and widths in pixels where they are known without reading headers."""
    shorter_side: int = 0
    """Pixels that the shorter side of a JPEG keeps where it is decoded smaller, see `decode`; 0: none is."""

    @abstractmethod
    def content(self, at: int, most: int = -1) -> bytes:
        """The encoded image, or its first so many bytes. Raises `UnreadableImage` where it cannot be had as it was
        stored."""

    def header(self, at: int) -> tuple[int, int]:
        """Height and width of what `pixels` returns. Raises `UnreadableImage`, as far as the header tells.

        Only the beginning is read where that is enough: what lies in large files would else all be read when it is
        opened.
        """
        beginning = self.content(at, BEGINNING)
        try:
            return header(BytesIO(beginning), self.shorter_side)
        except UnreadableImage:  # the format's header is longer, or stands elsewhere
            if len(beginning) < BEGINNING:
                raise
        return header(BytesIO(self.content(at)), self.shorter_side)

    def pixels(self, at: int, look: Look | None = None) -> UInt8[Tensor, "3 h w"]:
        """The decoded image, see `decode`, also for `look`. Raises `UnreadableImage`."""
        return decode(BytesIO(self.content(at)), self.shorter_side, look)

    def place_words(self, name: str) -> str:
        """Where images are looked for, of which one is called `name`, as the end of a sentence; empty where that name
        says it."""
        return f"; they are looked for in {self.where.absolute()}"

    @abstractmethod
    def fingerprint(self, rows: Numbers) -> bytes:
        """What tells some of the images from others, sizes and labels apart. Cheap."""


@final
class Files(Store):
    """Files below a folder."""

    sizes = None

    def __init__(self, root: Path, names: Iterable[str], shorter_side: int = 0) -> None:
        """`names` are paths relative to `root`; `shorter_side` is as in `decode`."""
        self.where, self.names, self.shorter_side = root, Names.of(names), shorter_side

    def content(self, at: int, most: int = -1) -> bytes:
        try:
            with self._path(at).open("rb") as file:
                return file.read(most)
        except OSError as error:
            raise UnreadableImage(f"it cannot be opened: {error.strerror}") from error

    def header(self, at: int) -> tuple[int, int]:
        return header(self._path(at), self.shorter_side)

    def pixels(self, at: int, look: Look | None = None) -> UInt8[Tensor, "3 h w"]:
        return decode(self._path(at), self.shorter_side, look)

    def place_words(self, name: str) -> str:
        return "" if Path(name).is_absolute() else super().place_words(name)

    def fingerprint(self, rows: Numbers) -> bytes:
        """The names; files changed under the same name are not seen."""
        return self.names.joined(rows)

    def _path(self, at: int) -> Path:
        return self.where / self.names[at]
