"""Look at every image of a data set before a run does."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resmom.data.decode import UnreadableImage
from resmom.data.files import FileSource
from resmom.data.open import open_data
from resmom.data.packed import about, is_pack, shard_name
from resmom.data.source import Source

_CHUNK = 64


@dataclass(frozen=True)
class Checked:
    """What was found in a split. `damaged` are the names of what cannot be read, each with the reason.

    `sides`: shortest, median and longest shorter side of the readable images, in pixels. `per_class`: fewest and most
    images of a class that has any, None without labels. `unlabelled`: images without a label beside labelled ones.
    """

    split: str
    images: int
    classes: int
    unlabelled: int
    per_class: tuple[int, int] | None
    sides: tuple[int, int, int]
    damaged: list[tuple[str, str]]


def check(spec: str | Path) -> list[Checked]:
    """Decode every image, and compare all checksums of a pack. Raises DataError where the data cannot be opened."""
    path = Path(spec).expanduser()
    data = open_data(spec, ram_limit=0)
    found = []
    for name, source in (("train", data.train), ("test", data.test)):
        if source is None:
            continue
        damaged = list(source.unreadable)
        if isinstance(source, FileSource):
            damaged += _undecodable(source)
        if is_pack(path):
            damaged += _other_bytes(path, name, bool(damaged))
        found.append(_checked(name, source, damaged))
    return found


def _checked(name: str, source: Source, damaged: list[tuple[str, str]]) -> Checked:
    short = source.sizes.min(axis=1)
    per_class, unlabelled = None, 0
    if source.labels is not None:
        labelled = source.labels[source.labels >= 0]
        counts = np.bincount(labelled)
        per_class = (int(counts[counts > 0].min()), int(counts.max())) if len(labelled) else None
        unlabelled = len(source) - len(labelled)
    return Checked(
        name,
        len(source),
        len(source.classes),
        unlabelled,
        per_class,
        (int(short.min()), int(np.median(short)), int(short.max())),
        sorted(damaged),
    )


def _undecodable(source: FileSource) -> list[tuple[str, str]]:
    def some(start: int) -> list[tuple[str, str]]:
        failed = []
        for row in source.rows[start : start + _CHUNK].tolist():
            try:
                source.store.pixels(row)
            except UnreadableImage as error:
                failed.append((source.store.names[row], error.reason))
        return failed

    with ThreadPoolExecutor() as pool:
        return [each for failed in pool.map(some, range(0, len(source), _CHUNK)) for each in failed]


def _other_bytes(path: Path, name: str, explained: bool) -> list[tuple[str, str]]:
    """Shards that are not what was packed, unless images in them have been named for it."""
    failed = []
    shards: list[dict[str, Any]] = about(path)["splits"][name]["shards"]
    for number, shard in enumerate(shards):
        with (path / shard_name(name, number)).open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == shard["sha256"]
        if not same and not explained:
            failed.append((shard_name(name, number), "its checksum is not that of what was packed"))
    return failed
