"""Look at every image of a data set before a run does."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from resmom.data.byfolder import split_of
from resmom.data.decode import Look
from resmom.data.errors import UnreadableData
from resmom.data.files import FileSource, in_threads
from resmom.data.labelwords import first_classes
from resmom.data.open import open_data, taken_apart
from resmom.data.packed import SIDE_FILES, about, is_pack, shard_name
from resmom.data.peculiar import KINDS, Kind, has_few_levels, is_wide, left_out
from resmom.data.source import Source, Subset, decoded

MOST_NAMES = 10_000
"""Of one kind that are named: all, but where every image of a large data set is of it."""


@dataclass(frozen=True)
class Peculiar:
    """How many images of a split are peculiar in one way, and their names, of the first `MOST_NAMES`."""

    kind: Kind
    images: int
    names: list[str]


@dataclass(frozen=True)
class _Seen:
    """What decoding the images of a split came to: (name, reason) of those that cannot be, and the peculiar others."""

    damaged: list[tuple[str, str]]
    peculiar: tuple[Peculiar, ...]


@dataclass(frozen=True)
class Checked:
    """What was found in a split. `damaged` are the names of what cannot be read, each with the reason;
    `images`, `per_class` and `unlabelled` count the others.

    `sides`: shortest, median and longest shorter side of all whose header tells it, in pixels; None where none does.
    `per_class`: fewest and most images of a class that has any, None without labels. `unlabelled`: images without a
    label beside labelled ones.
    """

    split: str
    images: int
    classes: int
    unlabelled: int
    per_class: tuple[int, int] | None
    sides: tuple[int, int, int] | None
    damaged: list[tuple[str, str]]
    passed_over: str = ""
    """Pictures that lie beside the splits and are not used, in words; told with the first split."""
    labels_from: str = ""
    """What the classes are taken from, in words; empty where that goes without saying."""
    first_classes: tuple[str, ...] = ()
    """The names of a few, see `first_classes`."""
    notes: tuple[str, ...] = ()
    """What else was understood of the data, in words; told with the first split."""
    peculiar: tuple[Peculiar, ...] = ()
    """Of what can be read, in the order of `KINDS`."""


def check(spec: str | Path, threads: int = 0) -> list[Checked]:
    """Read the headers of all images that a run would read, and decode them, by so many threads (0: as many as pay);
    and compare all checksums of the packs that they lie in.

    Where none of the images of a split can be read, that is all that is found: the other split is not looked at. Raises
    DataError where the data cannot be opened, UnreadableData where that is so because it is damaged.
    """
    try:
        data = open_data(spec, ram_limit=0, threads=threads)
    except UnreadableData as error:
        if not error.images:
            raise
        return [_nothing(error)]
    place = Path(taken_apart(str(spec))[0]).expanduser()
    splits = data.splits
    seen = {name: _decode_all(source, threads) for name, source in splits.items()}
    found: list[Checked] = []
    for name, source in splits.items():
        damaged = seen[name].damaged
        if name == "test" and isinstance(source, Subset):  # held out of the training files, which are told of already
            found.append(_checked(name, source, damaged, seen[name], data.labels_from))
            continue
        explained = any(each.damaged for each in seen.values()) if isinstance(source, Subset) else bool(damaged)
        bytes_of = _other_bytes(place, name, explained) if is_pack(place) else []
        listed = source.unreadable + damaged + bytes_of
        found.append(_checked(name, source, listed, seen[name], data.labels_from))
    return [replace(found[0], passed_over=data.passed_over, notes=data.notes), *found[1:]]


def _nothing(error: UnreadableData) -> Checked:
    """A split of which no image can be read, as `open_data` found it."""
    notes = error.advice, "nothing else was looked at, neither another split nor classes"
    return Checked(split_of(error.name), 0, 0, 0, None, None, error.images, notes=notes)


def _checked(name: str, source: Source, damaged: list[tuple[str, str]], seen: _Seen, labels_from: str) -> Checked:
    """What is counted are the images of the source that could be decoded."""
    short, there = source.sizes.min(axis=1), decoded(source, seen.damaged)
    images = int(there.sum())
    per_class, unlabelled = None, 0
    if source.labels is not None:
        own = source.labels[there]
        labelled = own[own >= 0]
        counts = np.unique(labelled, return_counts=True)[1]  # not by number: in a damaged pack it may be any
        per_class = (int(counts.min()), int(counts.max())) if len(labelled) else None
        unlabelled = images - len(labelled)
    sides = (int(short.min()), int(np.median(short)), int(short.max()))
    counted = name, images, len(source.classes), unlabelled, per_class, sides, sorted(damaged)
    named = tuple(first_classes(source))
    return Checked(*counted, labels_from=labels_from if named else "", first_classes=named, peculiar=seen.peculiar)


def _decode_all(source: Source, threads: int) -> _Seen:
    """Decode all images of a source, and look at what comes: at the values of some pixels of each, and at what Pillow
    has read of its file anyway."""
    decode, names = _decoder(source), source.names()
    if decode is None or names is None:
        return _Seen([], ())

    found: dict[Kind, list[int]] = {kind: [] for kind in KINDS}  # appended to by several threads, in any order

    def one(at: int) -> None:
        for kind in _kinds(at, decode):
            found[kind].append(at)

    failed = in_threads(one, len(source), threads)
    return _Seen(
        [(names[at], reason) for at, reason in failed.items()],
        tuple(
            Peculiar(kind, len(places), [names[at] for at in sorted(places)[:MOST_NAMES]])
            for kind, places in found.items()
            if places
        ),
    )


def _kinds(at: int, decode: Callable[[int, Look], UInt8[Tensor, "3 h w"]]) -> set[Kind]:
    """In which ways image `at` is peculiar. Raises UnreadableImage."""
    found: set[Kind] = set()
    wide = False

    def look(image: Image.Image) -> None:
        nonlocal wide
        found.update(left_out(image))
        wide = is_wide(image)

    if has_few_levels(decode(at, look)):
        found.add("few_levels_wide" if wide else "few_levels")
    return found


def _decoder(source: Source) -> Callable[[int, Look], UInt8[Tensor, "3 h w"]] | None:
    """What decodes an image of a source from its file, by its number there; None where there are no files."""
    match source:
        case FileSource():
            return source.decode
        case Subset():
            whole, index = _decoder(source.whole), source.index
            return None if whole is None else lambda at, look: whole(int(index[at]), look)
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
