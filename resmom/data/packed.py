"""A pack: images of a folder in few large files that are mapped into memory. Its form, and reading it.

    PACK/pack.json          format, side, quality, and for each split its classes, shards, checksums and files left out
    PACK/SPLIT.index        a record of `RECORD` for each image
    PACK/SPLIT.names        the images' names, each with a zero byte behind it
    PACK/SPLIT.ends         the positions of these zero bytes, int64
    PACK/SPLIT-00000.bin …  the encoded images, one behind the other

All numbers are little-endian. Opening a pack reads `pack.json` and maps the rest, however many images there are.
"""

import json
import threading
import zlib
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from resmom.data.errors import DataError, UnreadableData
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Data
from resmom.data.store import Names, Numbers, Store
from resmom.norun import PACK

SIDE_FILES = ("index", "names", "ends")
"""Of each split, beside its shards."""
FORMAT = 1
MARK = PACK
RECORD = np.dtype(
    [("shard", "<i4"), ("length", "<i4"), ("start", "<i8"), ("size", "<i8", (2,)), ("label", "<i8"), ("crc", "<u4")]
)
"""Of an image: which shard, bytes there from `start` on, height and width in pixels, label (-1 for none), CRC-32."""


_PARTS = {
    "name": str,
    "images": int,
    "names_bytes": int,
    "labelled": bool,
    "classes": list,
    "shards": list,
    "unreadable": list,
}
"""What pack.json says of each split. Newer packs have `sha256`, too: that of each of the `SIDE_FILES`."""


_LOOKED_AT = 2**20
"""Sizes looked at when a pack is opened: all of a pack that may be held in RAM, and never more than takes a moment."""
_LONGEST = 2**24
"""Pixels, more than any image has on a side."""


def is_pack(path: Path) -> bool:
    """Whether a folder is a complete pack."""
    return (path / MARK).is_file()


def about(path: Path) -> dict[str, Any]:
    """What `pack.json` says. Raises DataError if it cannot be used."""
    try:
        found = json.loads((path / MARK).read_text())
    except (OSError, ValueError) as error:
        raise UnreadableData(f"{path / MARK} cannot be read ({error})", "Pack the images again") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{path} is not a pack of format {FORMAT}, the one this version reads; pack the images again")
    splits = found.get("splits")
    if not isinstance(splits, dict) or "train" not in splits or not all(map(_is_whole, splits.values())):
        raise UnreadableData(
            f"{path / MARK} is damaged: it must have a split train, and of each split {', '.join(_PARTS)}",
            "Restore it, or pack the images again",
        )
    return found


def _is_whole(split: object) -> bool:
    """Whether all is there that an opened split asks for."""
    return (
        isinstance(split, dict)
        and all(isinstance(split.get(name), kind) for name, kind in _PARTS.items())
        and all(isinstance(shard, dict) and {"bytes", "sha256"} <= set(shard) for shard in split["shards"])
    )


def open_pack(path: Path, ram_limit: int = RAM_LIMIT, threads: int = 0) -> Data:
    """The splits of a pack. Raises DataError if a part of it is missing or of another length than it should be."""
    found = about(path)
    splits = {name: _source(path, name, split, ram_limit, threads) for name, split in found["splits"].items()}
    return Data(splits["train"], splits.get("test"), f"packed: {found.get('origin', path.name)}")


def _source(path: Path, name: str, split: dict[str, Any], ram_limit: int, threads: int) -> FileSource:
    store = Packed(path, name, split)
    labels = store.index["label"] if split["labelled"] else None
    return FileSource(split["name"], store, labels, tuple(split["classes"]), ram_limit, threads)


@final
class Packed(Store):
    """One split of a pack."""

    def __init__(self, path: Path, name: str, split: dict[str, Any]) -> None:
        """Raises DataError if a file is missing or of another length than `split` of pack.json says, or if a size in
        the index (the first `_LOOKED_AT`) cannot be any."""
        self.where, self._name, self._split = path, name, split
        images = split["images"]
        self.index: NDArray[np.void] = self._mapped(f"{name}.index", RECORD, images)
        block = self._mapped(f"{name}.names", np.dtype(np.uint8), split["names_bytes"])
        self.names = Names(block, self._mapped(f"{name}.ends", np.dtype("<i8"), images))
        self.sizes: Numbers = self.index["size"]
        self._require_possible_sizes()
        self._lock = threading.Lock()
        self._shards: dict[int, NDArray[np.uint8]] = {}
        for number, shard in enumerate(split["shards"]):
            require_length(self._shard_path(number), shard["bytes"])

    def content(self, at: int, most: int = -1) -> bytes:
        """All of it is read, to be held against its checksum.

        Raises UnreadableImage where the bytes are not those that were packed.
        """
        record = self.index[at]
        shard, start, length = int(record["shard"]), int(record["start"]), int(record["length"])
        if not 0 <= shard < len(self._split["shards"]) or min(start, length) < 0:
            raise UnreadableImage("its entry in the pack's index is damaged")
        content = self._shard(shard)[start : start + length].tobytes()
        if zlib.crc32(content) != int(record["crc"]):
            raise UnreadableImage("it is damaged in the pack: its checksum is not that of what was packed")
        return content if most < 0 else content[:most]

    def fingerprint(self, rows: Numbers) -> bytes:
        """The checksums of the shards."""
        part = b"" if len(rows) == len(self.names) else rows.tobytes()
        return json.dumps([shard["sha256"] for shard in self._split["shards"]]).encode() + part

    def _require_possible_sizes(self) -> None:
        """What is held in RAM is laid out by the sizes, before any checksum is compared."""
        sizes = self.sizes[:_LOOKED_AT]
        possible = ((sizes > 0) & (sizes <= _LONGEST)).all(axis=1)
        if not possible.all():
            at = int(possible.argmin())
            raise UnreadableData(
                f"{self.where / f'{self._name}.index'} is damaged: image {at} is said to have {sizes[at, 0]} x "
                f"{sizes[at, 1]} pixels",
                "Copy it once more, or pack the images again",
            )

    def _shard(self, number: int) -> NDArray[np.uint8]:
        with self._lock:  # mapped when first needed
            if number not in self._shards:
                length = self._split["shards"][number]["bytes"]
                self._shards[number] = self._mapped(self._shard_path(number).name, np.dtype(np.uint8), length)
            return self._shards[number]

    def _shard_path(self, number: int) -> Path:
        return self.where / shard_name(self._name, number)

    def _mapped(self, name: str, kind: np.dtype[Any], count: int) -> NDArray[Any]:
        require_length(self.where / name, count * kind.itemsize)
        return np.memmap(self.where / name, kind, "r", shape=(count,))


def shard_name(split: str, number: int) -> str:
    """The file of a shard."""
    return f"{split}-{number:05d}.bin"


def require_length(path: Path, length: int) -> None:
    """Raises DataError if a file of a pack is missing or not so many bytes long."""
    try:
        found = path.stat().st_size
    except OSError as error:
        what = f"{path} cannot be read ({error.strerror})"
        raise UnreadableData(what, "Restore it, or pack the images again") from error
    if found != length:
        raise UnreadableData(
            f"{path} has {found} bytes where pack.json says {length}", "Copy it once more, or pack the images again"
        )
