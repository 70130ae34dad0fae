"""Look at every image of a data set before a run does."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from resmom.data.files import FileSource
from resmom.data.open import open_data, taken_apart
from resmom.data.packed import SIDE_FILES, about, is_pack, shard_name
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Source, Subset, decoded

_CHUNK = 64


@dataclass(frozen=True)
class Checked:
    """What was found in a split. `damaged` are the names of what cannot be read, each with the reason;
    `images`, `per_class` and `unlabelled` count the others.

    `sides`: shortest, median and longest shorter side of all whose header tells it, in pixels. `per_class`: fewest
    and most images of a class that has any, None without labels. `unlabelled`: images without a label beside labelled
    ones.
    """

    split: str
    images: int
    classes: int
    unlabelled: int
    per_class: tuple[int, int] | None
    sides: tuple[int, int, int]
    damaged: list[tuple[str, str]]
    passed_over: str = ""
    """Pictures that lie beside the splits and are not used, in words; told with the first split."""


def check(spec: str | Path) -> list[Checked]:
    """Decode every image that a run would read, and compare all checksums of the packs that they lie in.

    Raises DataError where the data cannot be opened.
    """
    data = open_data(spec, ram_limit=0)
    place = Path(taken_apart(str(spec))[0]).expanduser()
    splits = data.splits
    damaged = {name: _undecodable(source) for name, source in splits.items()}
    found: list[Checked] = []
    for name, source in splits.items():
        if name == "test" and isinstance(source, Subset):  # held out of the training files, which are told of already
            found.append(_checked(name, source, damaged[name], damaged[name]))
            continue
        explained = any(damaged.values()) if isinstance(source, Subset) else bool(damaged[name])
        bytes_of = _other_bytes(place, name, explained) if is_pack(place) else []
        found.append(_checked(name, source, source.unreadable + damaged[name] + bytes_of, damaged[name]))
    return [replace(found[0], passed_over=data.passed_over), *found[1:]]


def _checked(name: str, source: Source, damaged: list[tuple[str, str]], lost: list[tuple[str, str]]) -> Checked:
    """What is counted are the images of the source that could be decoded, all but the `lost` ones."""
    short, there = source.sizes.min(axis=1), decoded(source, lost)
    images = int(there.sum())
    per_class, unlabelled = None, 0
    if source.labels is not None:
        own = source.labels[there]
        labelled = own[own >= 0]
        counts = np.unique(labelled, return_counts=True)[1]  # not by number: in a damaged pack it may be any
        per_class = (int(counts.min()), int(counts.max())) if len(labelled) else None
        unlabelled = images - len(labelled)
    sides = (int(short.min()), int(np.median(short)), int(short.max()))
    return Checked(name, images, len(source.classes), unlabelled, per_class, sides, sorted(damaged))


def _undecodable(source: Source) -> list[tuple[str, str]]:
    decode, names = _decoder(source), source.names()
    if decode is None or names is None:
        return []

    def some(start: int) -> list[tuple[str, str]]:
        failed = []
        for at in range(start, min(start + _CHUNK, len(source))):
            try:
                decode(at)
            except UnreadableImage as error:
                failed.append((names[at], error.reason))
        return failed

    with ThreadPoolExecutor() as pool:
        return [each for failed in pool.map(some, range(0, len(source), _CHUNK)) for each in failed]


def _decoder(source: Source) -> Callable[[int], object] | None:
    """What decodes an image of a source from its file, by its number there; None where there are no files."""
    match source:
        case FileSource():
            return source.decode
        case Subset():
            whole, index = _decoder(source.whole), source.index
            return None if whole is None else lambda at: whole(int(index[at]))
        case _:
            return None


def _other_bytes(path: Path, name: str, explained: bool) -> list[tuple[str, str]]:
    """Files of a split that are not what was packed: index and names, whose checksums only newer packs have, and shards
    unless images in them have been named for it."""
    split: dict[str, Any] = about(path)["splits"][name]
    files = {f"{name}.{kind}": split["sha256"][kind] for kind in SIDE_FILES if kind in split.get("sha256", {})}
    if not explained:
        files |= {shard_name(name, number): shard["sha256"] for number, shard in enumerate(split["shards"])}
    failed = []
    for file_name, sum_of_packed in files.items():
        with (path / file_name).open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == sum_of_packed
        if not same:
            failed.append((file_name, "its checksum is not that of what was packed"))
    return failed
