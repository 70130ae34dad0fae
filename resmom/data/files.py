"""Image files as a source: held decoded in RAM if they fit, else decoded each time they are read."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TypeVar, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from resmom.data.decode import UnreadableImage, decode, header
from resmom.data.source import DataError, Images, Index, Source, digest

RAM_LIMIT = 2 * 2**30
"""Bytes of decoded pixels up to which a source of files is held in RAM."""

_CHUNK = 64

T = TypeVar("T")


@final
class FileSource(Source):
    """The image files `files` below `root`.

    Every header is read at the start, so that `sizes` is known. Files that fail then are left out; so are those that
    fail to decode, if all are decoded at the start to be held in RAM. A file that fails later is replaced by the next
    one that does not: see `read`.
    """

    channels = 3

    def __init__(
        self,
        name: str,
        root: Path,
        files: list[str],
        labels: Index | None = None,
        classes: tuple[str, ...] = (),
        ram_limit: int = RAM_LIMIT,
    ) -> None:
        """`files`: paths relative to `root`; `labels`: one for each; `ram_limit`: bytes of decoded pixels.

        Raises `DataError` if none of the files is readable.
        """
        self.name, self.classes, self._root = name, classes, root
        self._broken: dict[str, str] = {}
        self._lock = Lock()
        self._pixels: UInt8[Tensor, " bytes"] | None = None
        self._files = files
        self.labels = labels
        heads = _in_threads(lambda at: header(root / files[at]), len(files))
        keep = self._keep(heads)
        self.sizes = np.array([heads[at] for at in keep], dtype=np.int64).reshape(-1, 2)
        ends = np.cumsum(3 * self.sizes.prod(axis=1))
        self._starts: Index = ends - 3 * self.sizes.prod(axis=1)
        if ends[-1] <= ram_limit:
            self._hold(int(ends[-1]))
        self._one_size = bool((self.sizes == self.sizes[0]).all())

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: Index) -> Images:
        """See `Source.read`. One n x 3 x H x W tensor if the files are held in RAM and all of one size, else a list.

        Outside RAM, an image i that cannot be decoded is recorded in `unreadable` and replaced by image i + 1, or the
        next one that can (after the last comes the first). A run that takes weeks must not end for one bad file, the
        batch must stay full, and what stands in must depend on the files alone for a resumed run to see the same.

        Raises `DataError` if no image can be decoded any more.
        """
        self._checked(index)
        if self._pixels is None:
            return [self._readable(at) for at in index.tolist()]
        if self._one_size:
            height, width = self.sizes[0].tolist()
            rows = self._starts[index] // (3 * height * width)  # with holes where a file failed to decode
            return self._pixels.view(-1, height, width, 3)[torch.from_numpy(rows)].permute(0, 3, 1, 2)
        return [self._held(at) for at in index.tolist()]

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        with self._lock:
            return sorted(self._broken.items())

    def fingerprint(self) -> str:
        """The files' names, sizes in pixels and labels; files changed under the same name and size are not seen."""
        names = "\0".join(self._files).encode(errors="surrogateescape")
        labels = b"" if self.labels is None else self.labels.tobytes()
        return digest([names, self.sizes.tobytes(), labels])

    def _hold(self, total: int) -> None:
        pixels = torch.empty(total, dtype=torch.uint8)
        flat = pixels.numpy()

        def fill(at: int) -> None:
            image = self._decode(at).permute(1, 2, 0).numpy().reshape(-1)  # channels last, as decoded
            flat[self._starts[at] : self._starts[at] + image.size] = image

        keep = self._keep(_in_threads(fill, len(self._files)))
        self.sizes, self._starts, self._pixels = self.sizes[keep], self._starts[keep], pixels

    def _keep(self, results: list[T | UnreadableImage]) -> Index:
        """Drop the files whose result is a failure, and say which are left: (n,) positions in `results`."""
        failed = {self._files[at]: each.reason for at, each in enumerate(results) if isinstance(each, UnreadableImage)}
        self._broken |= failed
        keep = np.array([at for at, name in enumerate(self._files) if name not in failed], dtype=np.int64)
        if not len(keep):
            raise DataError(self._hopeless(f"none of the {len(results)} images of {self.name} can be read"))
        self._files = [self._files[at] for at in keep]
        self.labels = None if self.labels is None else self.labels[keep]
        return keep

    def _decode(self, at: int) -> UInt8[Tensor, "3 h w"]:
        image = decode(self._root / self._files[at])
        height, width = self.sizes[at].tolist()
        if image.shape[1:] != (height, width):
            came = f"{image.shape[1]} x {image.shape[2]}"
            raise UnreadableImage(f"it has {came} pixels (height x width) where its header said {height} x {width}")
        return image

    def _readable(self, first: int) -> UInt8[Tensor, "3 h w"]:
        # A file that failed before is tried again: skipping it would make the answer depend on what was read earlier.
        for step in range(len(self)):
            at = (first + step) % len(self)
            try:
                return self._decode(at)
            except UnreadableImage as error:
                with self._lock:
                    self._broken.setdefault(self._files[at], error.reason)
        raise DataError(self._hopeless(f"none of the {len(self)} images of {self.name} can be read any more"))

    def _held(self, at: int) -> UInt8[Tensor, "3 h w"]:
        assert self._pixels is not None
        height, width = self.sizes[at].tolist()
        start = int(self._starts[at])
        return self._pixels[start : start + 3 * height * width].view(height, width, 3).permute(2, 0, 1)

    def _hopeless(self, what: str) -> str:
        shown = "; ".join(f"{name}: {reason}" for name, reason in self.unreadable[:3])
        return f"{what} ({shown}). Check that {self._root} is complete and that you may read it"


def _in_threads(task: Callable[[int], T], n: int) -> list[T | UnreadableImage]:
    """task(0) … task(n - 1) by as many threads as pay; `UnreadableImage` is handed back in place of the result."""

    def some(start: int) -> list[T | UnreadableImage]:
        results: list[T | UnreadableImage] = []
        for at in range(start, min(start + _CHUNK, n)):
            try:
                results.append(task(at))
            except UnreadableImage as error:
                results.append(UnreadableImage(error.reason))  # without its traceback, which would hold the image
        return results

    with ThreadPoolExecutor() as pool:
        return [result for chunk in pool.map(some, range(0, n, _CHUNK)) for result in chunk]
