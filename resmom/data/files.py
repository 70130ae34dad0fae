"""Encoded images as a source: held decoded in RAM if they fit, else decoded each time they are read."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from resmom.data.decode import Look
from resmom.data.errors import UnreadableData
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Images, Index, Source, digest
from resmom.data.store import Store

RAM_LIMIT = 2 * 2**30
"""Bytes of decoded pixels up to which a source of encoded images is held in RAM."""

DECODED = 2**28
"""Bytes of decoded pixels of a source outside RAM that are there at once, one image apart: seven photos of a camera, or
256 and more images of ImageNet."""

_CHUNK = 64
_REASONS = 3
"""Most reasons that are named of images of which none can be read, each with an example."""


@final
class FileSource(Source):
    """The images of a store.

    Where the store does not know their sizes, every header is read at the start. Images that fail then are left out; so
    are those that fail to decode, if all are decoded at the start to be held in RAM. An image that fails later is
    replaced by the next one that does not: see `read`. What is kept of an image are a few numbers in arrays, no object
    of its own, so that ten million of them take some hundred megabytes.
    """

    channels = 3

    def __init__(
        self,
        name: str,
        store: Store,
        labels: Index | None = None,
        classes: tuple[str, ...] = (),
        ram_limit: int = RAM_LIMIT,
        threads: int = 0,
    ) -> None:
        """`labels`: one for each image; `ram_limit`: bytes of decoded pixels; `threads`: those that read the headers,
        and decode what is held in RAM (0: as many as pay).

        Raises `UnreadableData` if none of the images is readable.
        """
        self.name, self.classes, self._store = name, classes, store
        self._broken: dict[str, str] = {}
        self._failed: set[int] = set()
        self._lock = Lock()
        self._pixels: UInt8[Tensor, " bytes"] | None = None
        self._rows: Index = np.arange(len(store.names))
        """Numbers in the store of the images that are left."""
        self.labels = labels
        self._threads = threads
        self.sizes = self._headers() if store.sizes is None else store.sizes
        self._fingerprint = ""
        total = self._bytes(ram_limit)
        if total <= ram_limit:
            self._hold(total)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: Index) -> Images:
        """See `Source.read`. One n x 3 x H x W tensor if the images are held in RAM and all of one size, else a list.

        Outside RAM, an image i that cannot be decoded is recorded in `unreadable` and replaced by image i + 1, or the
        next one that can (after the last comes the first). A run that takes weeks must not end for one bad file, the
        batch must stay full, and what stands in must depend on the files alone for a resumed run to see the same.

        Raises `UnreadableData` if no image can be decoded any more.
        """
        self._checked(index)
        if self._pixels is None:
            return [self._readable(range(len(self)), at) for at in index.tolist()]
        if self._one_size:
            height, width = self.sizes[0].tolist()
            return self._pixels.view(-1, height, width, 3)[torch.from_numpy(index)].permute(0, 3, 1, 2)
        return [self._held(at) for at in index.tolist()]

    def read_among(self, among: Index, places: Index) -> Images:
        """See `Source.read_among`: what stands in for an image is one of `among` as well."""
        if self._pixels is None:
            return [self._readable(among, at) for at in places.tolist()]
        return self.read(among[places])

    def pixels(self, at: int) -> UInt8[Tensor, "3 h w"]:
        """See `Source.pixels`."""
        return self.decode(at) if self._pixels is None else self._held(at)

    def pieces(self, index: Index) -> Iterator[Index]:
        """See `Source.pieces`."""
        if self._pixels is not None:
            yield index
            return
        held = np.cumsum(3 * self.sizes[index].prod(axis=1))
        start = 0
        while start < len(index):
            before = held[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(held, before + DECODED, side="right")))
            yield index[start:end]
            start = end

    @property
    def stacked(self) -> bool:
        return self._pixels is not None and self._one_size

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        with self._lock:
            return sorted(self._broken.items())

    @property
    def failed(self) -> Index:
        with self._lock:
            return np.array(sorted(self._failed), dtype=np.int64)

    def names(self) -> Sequence[str]:
        return [self._store.names[at] for at in self._rows.tolist()]

    def name_of(self, at: int) -> str:
        return self._store.names[int(self._rows[at])]

    @property
    def store(self) -> Store:
        """Where the images lie."""
        return self._store

    @property
    def rows(self) -> Index:
        """(N,) numbers of this source's images in the store."""
        return self._rows

    def fingerprint(self) -> str:
        """The files' names, sizes in pixels and labels; files changed under the same name and size are not seen."""
        if not self._fingerprint:  # asked for with every checkpoint, and nothing of it changes
            labels = b"" if self.labels is None else self.labels.tobytes()
            self._fingerprint = digest([self._store.fingerprint(self._rows), self.sizes.tobytes(), labels])
        return self._fingerprint

    def _bytes(self, limit: int) -> int:
        """Bytes of all decoded pixels, or some number above `limit`: nobody needs to add up ten million sizes."""
        total = 0
        for start in range(0, len(self), 2**16):
            total += int(3 * self.sizes[start : start + 2**16].prod(axis=1).sum())
            if total > limit:
                break
        return total

    def _headers(self) -> Index:
        sizes = np.zeros((len(self), 2), dtype=np.int64)

        def look(at: int) -> None:
            sizes[at] = self._store.header(at)

        return sizes[self._keep(in_threads(look, len(self), self._threads))]

    def _hold(self, total: int) -> None:
        pixels = torch.empty(total, dtype=torch.uint8)
        flat = pixels.numpy()
        ends = np.cumsum(3 * self.sizes.prod(axis=1))
        starts: Index = ends - 3 * self.sizes.prod(axis=1)

        def fill(at: int) -> None:
            image = self.decode(at).permute(1, 2, 0).numpy().reshape(-1)  # channels last, as decoded
            flat[starts[at] : starts[at] + image.size] = image

        keep = self._keep(in_threads(fill, len(self), self._threads))
        lengths = ends - starts
        if len(keep) < len(starts):  # no holes where a file failed: images of one size are rows of one tensor
            at = 0
            for start, length in zip(starts[keep].tolist(), lengths[keep].tolist(), strict=True):
                flat[at : at + length] = flat[start : start + length]
                at += length
            pixels = pixels[:at]
        ends = np.cumsum(lengths[keep])
        self.sizes, self._starts, self._pixels = self.sizes[keep], ends - lengths[keep], pixels
        self._one_size = bool((self.sizes == self.sizes[0]).all())

    def _keep(self, failed: dict[int, str]) -> Index:
        """Drop the images that failed, given with the reasons, and say which are left: (n,) of the numbers so far."""
        self._broken |= {self.name_of(at): reason for at, reason in failed.items()}
        keep = np.ones(len(self), dtype=bool)
        keep[list(failed)] = False
        if not keep.any():
            images = len(self) + len(self._broken) - len(failed)  # with those that were dropped earlier
            raise self._hopeless(f"none of the {images} images of {self.name} can be read")
        left = np.flatnonzero(keep)
        if failed:
            self._rows = self._rows[left]
            self.labels = None if self.labels is None else self.labels[left]
        return left

    def decode(self, at: int, look: Look | None = None) -> UInt8[Tensor, "3 h w"]:
        """Image `at` from its file, whatever is held in RAM; `look` is as in `decode`. Raises UnreadableImage with the
        reason."""
        image = self._store.pixels(int(self._rows[at]), look)
        height, width = self.sizes[at].tolist()
        if image.shape[1:] != (height, width):
            came = f"{image.shape[1]} x {image.shape[2]}"
            raise UnreadableImage(f"it has {came} pixels (height x width) where its header said {height} x {width}")
        return image

    def _readable(self, among: Sequence[int] | Index, first: int) -> UInt8[Tensor, "3 h w"]:
        # A file that failed before is tried again: skipping it would make the answer depend on what was read earlier.
        for step in range(len(among)):
            at = int(among[(first + step) % len(among)])
            try:
                return self.decode(at)
            except UnreadableImage as error:
                with self._lock:
                    self._broken.setdefault(self.name_of(at), error.reason)
                    self._failed.add(at)
        raise self._hopeless(f"none of {len(among)} images of {self.name} can be read any more")

    def _held(self, at: int) -> UInt8[Tensor, "3 h w"]:
        assert self._pixels is not None
        height, width = self.sizes[at].tolist()
        start = int(self._starts[at])
        return self._pixels[start : start + 3 * height * width].view(height, width, 3).permute(2, 0, 1)

    def _hopeless(self, what: str) -> UnreadableData:
        broken = self.unreadable
        examples: dict[str, str] = {}  # by reason: a thousand files may have one in common
        for name, reason in broken:
            examples.setdefault(reason, name)
        shown = "; ".join(f"{name}: {reason}" for reason, name in list(examples.items())[:_REASONS])
        where = self._store.place_words(broken[0][0])
        advice = f"Check that these images are there and whole, and that you may read them{where}"
        return UnreadableData(f"{what}, such as {shown}", advice, self.name, broken)


def in_threads(task: Callable[[int], None], n: int, threads: int = 0) -> dict[int, str]:
    """Do task(0) … task(n - 1) by so many threads (0: as many as pay); the reason of every one that ended in
    `UnreadableImage`."""

    def some(start: int) -> dict[int, str]:
        failed = {}
        for at in range(start, min(start + _CHUNK, n)):
            try:
                task(at)
            except UnreadableImage as error:
                failed[at] = error.reason
        return failed

    with ThreadPoolExecutor(threads or None) as pool:
        found = [failed for failed in pool.map(some, range(0, n, _CHUNK)) if failed]
    return {at: reason for failed in found for at, reason in failed.items()}
