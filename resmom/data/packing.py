"""Make a pack of the images in a folder; go on where it was stopped, at whatever moment that was.

Shards are made one after the other, a fixed number of images each; one that is complete has a small file beside it that
says so, and is not made again. The same command always ends with the same bytes.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmom.data.decode import decode
from resmom.data.errors import DataError
from resmom.data.files import FileSource
from resmom.data.jpeg import LEAST_SIDE
from resmom.data.loader import prefetch
from resmom.data.open import open_data
from resmom.data.packed import FORMAT, MARK, RECORD, SIDE_FILES, about, is_pack, shard_name
from resmom.data.rgb import UnreadableImage
from resmom.data.source import Data
from resmom.data.store import Names, Store

PLAN = "packing.json"
"""What a pack in the making is of."""
SHARD = 4096
"""Images of a shard."""
_PROBES = 32
_LONGEST = 65500
"""Pixels of a JPEG's side that the library which Pillow writes with allows."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Packing:
    """A finished pack: images per split, bytes of its shards, and what could not be read, with reasons."""

    path: Path
    images: dict[str, int]
    bytes: int
    unreadable: list[tuple[str, str]]


def pack(
    spec: str | Path, out: Path, side: int = 0, quality: int = 95, workers: int = 1, tell: Tell = lambda words: None
) -> Packing:
    """Pack the images that `spec` names (a folder, or another pack) into the folder `out`.

    `side`: images whose shorter side is longer are reduced to it (bicubic, antialiased) and stored as JPEG of
    `quality`; smaller ones, and all with `side` 0, keep their very bytes. Every image is decoded once: what cannot be
    read is left out, and told in `Packing` and in pack.json. `tell` gets a line now and then.

    Raises DataError for data that are not files, a folder that holds something else, numbers out of range, and a disk
    that is too small.
    """
    if side and side < LEAST_SIDE:
        raise DataError(f"side is {side}; it must be at least {LEAST_SIDE} pixels, or 0 to keep the files as they are")
    if not 1 <= quality <= 100:
        raise DataError(f"quality is {quality}; it must be in 1 … 100")
    data = open_data(spec, ram_limit=0)
    if data.passed_over:
        tell(f"passed over: {data.passed_over}")
    for note in data.notes:
        tell(note)
    splits = _file_splits(data)
    plan = {
        "format": FORMAT,
        "origin": data.origin,
        "side": side,
        "quality": quality,
        "splits": {name: source.fingerprint() for name, source in splits.items()},
    }
    if is_pack(out):
        if about(out).get("plan") != plan:
            raise DataError(f"{out} holds a pack of other images or settings; give another --out")
        _clean(out)  # it may have been killed just before it did
        return _finished(out)
    _begin(out, plan)
    _require_disk(out, splits, side, quality)
    made = {}
    for name, source in splits.items():
        shards = [
            _shard(out, name, number, source, side, quality, workers, tell)
            for number in range(-(-len(source) // SHARD))
        ]
        made[name] = _join(out, name, source, shards)
    _write(out / MARK, (json.dumps({**plan, "plan": plan, "splits": made}, indent=1) + "\n").encode())
    _clean(out)
    return _finished(out)


def _file_splits(data: Data) -> dict[str, FileSource]:
    found = {}
    for name, source in data.splits.items():
        if not isinstance(source, FileSource):
            raise DataError(f"{source.name} is not a folder of image files, so there is nothing to pack")
        if source.store.shorter_side:
            raise DataError(
                f"{source.name} is decoded smaller, but a pack is made of the files themselves; leave @shorter-side "
                f"out and say --side {source.store.shorter_side}"
            )
        found[name] = source
    return found


def _begin(out: Path, plan: dict[str, Any]) -> None:
    """A new folder with its plan, or one that was left in the middle of the same."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; give a folder that is new or empty")
    out.mkdir(parents=True, exist_ok=True)
    here = out / PLAN
    if here.is_file():
        if _saved(here) != plan:
            raise DataError(f"{out} holds part of a pack of other images or settings; remove it, or give another --out")
    elif any(path.name != PLAN + ".part" for path in out.iterdir()):
        raise DataError(f"{out} holds other files; give a folder that is new or empty")
    else:
        _write(here, json.dumps(plan).encode())


def _saved(path: Path) -> dict[str, Any] | None:
    """What a file says that was written on the way; None where it is damaged."""
    try:
        found = json.loads(path.read_text())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _clean(out: Path) -> None:
    """Take away what only a pack in the making needs."""
    for rest in (*out.glob("*.done"), *out.glob("*-[0-9]*.index"), out / PLAN):
        rest.unlink(missing_ok=True)


def _require_disk(out: Path, splits: dict[str, FileSource], side: int, quality: int) -> None:
    """By what a few images of each split take; what is there already counts as free."""
    needed = 0
    for source in splits.values():
        probes = np.unique(np.linspace(0, len(source) - 1, _PROBES).astype(np.int64))
        taken = [len(each[0]) for at in probes if isinstance(each := _image(source, int(at), side, quality), tuple)]
        needed += int(np.mean(taken) * len(source)) if taken else 0
    there = sum(path.stat().st_size for path in out.glob("*.bin*"))
    free = shutil.disk_usage(out).free + there
    if free < needed:
        raise DataError(
            f"the pack will take about {needed / 2**30:.2f} GiB, and the disk of {out} has {free / 2**30:.2f} GiB "
            "free; free some, give another --out, or a smaller --side"
        )


def _shard(
    out: Path, split: str, number: int, source: FileSource, side: int, quality: int, workers: int, tell: Tell
) -> dict[str, Any]:
    """One shard and its part of the index; taken as it is if it was finished before."""
    path = out / shard_name(split, number)
    done = path.with_suffix(".done")
    if done.is_file() and (before := _saved(done)):
        return before
    first, last = number * SHARD, min((number + 1) * SHARD, len(source))
    draft, total, start = path.with_name(path.name + ".part"), hashlib.sha256(), 0
    records, failed = [], []
    with (
        draft.open("wb") as file,
        prefetch(lambda at: _image(source, at, side, quality), first, last, workers) as images,
    ):
        for at, made in zip(range(first, last), images, strict=True):
            if isinstance(made, UnreadableImage):
                failed.append([at, made.reason])
                continue
            content, size = made
            file.write(content)
            total.update(content)
            label = -1 if source.labels is None else int(source.labels[at])
            records.append((number, len(content), start, size, label, zlib.crc32(content)))
            start += len(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _write(path.with_suffix(".index"), np.array(records, dtype=RECORD).tobytes())
    finished: dict[str, Any] = {"bytes": start, "sha256": total.hexdigest(), "failed": failed}
    _write(done, json.dumps(finished).encode())
    tell(f"{split}: {last} of {len(source)} images, shard {number} of {start / 2**20:.0f} MiB")
    return finished


def _image(source: FileSource, at: int, side: int, quality: int) -> tuple[bytes, tuple[int, int]] | UnreadableImage:
    """The bytes to store of an image, and its height and width; or why it cannot be read."""
    try:
        return encoded(source.store, int(source.rows[at]), side, quality)
    except UnreadableImage as error:
        return UnreadableImage(error.reason)  # without its traceback, which would hold the image


def encoded(store: Store, at: int, side: int, quality: int) -> tuple[bytes, tuple[int, int]]:
    """The bytes to store of an image, and the height and width that they decode to. Raises UnreadableImage.

    An image that would still be too long for a JPEG keeps its bytes, too.
    """
    content = store.content(at)
    pixels = decode(BytesIO(content))
    height, width = pixels.shape[1:]
    if side == 0 or min(height, width) <= side:
        return content, (height, width)
    share = side / min(height, width)
    wanted = (max(side, round(width * share)), max(side, round(height * share)))
    if max(wanted) > _LONGEST:
        return content, (height, width)
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).resize(wanted, Image.Resampling.BICUBIC)
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue(), (wanted[1], wanted[0])


def _join(out: Path, split: str, source: FileSource, shards: list[dict[str, Any]]) -> dict[str, Any]:
    """The index and the names of a whole split; what pack.json says of it."""
    failed = dict(pair for shard in shards for pair in shard["failed"])
    kept = [source.store.names[int(source.rows[at])] for at in range(len(source)) if at not in failed]
    if not kept:
        raise DataError(f"none of the {len(source)} images of {source.name} can be read; there is nothing to pack")
    parts = [(out / shard_name(split, number)).with_suffix(".index").read_bytes() for number in range(len(shards))]
    names = Names.of(kept)
    contents = (b"".join(parts), names.block.tobytes(), names.ends.astype("<i8").tobytes())
    for kind, content in zip(SIDE_FILES, contents, strict=True):
        _write(out / f"{split}.{kind}", content)
    broken = [[source.store.names[int(source.rows[at])], reason] for at, reason in failed.items()]
    return {
        "name": source.name,
        "images": len(kept),
        "names_bytes": len(names.block),
        "labelled": source.labels is not None,
        "classes": list(source.classes),
        "sha256": {
            kind: hashlib.sha256(content).hexdigest() for kind, content in zip(SIDE_FILES, contents, strict=True)
        },
        "shards": [{"bytes": shard["bytes"], "sha256": shard["sha256"]} for shard in shards],
        "unreadable": sorted([*map(list, source.unreadable), *broken]),
    }


def _finished(out: Path) -> Packing:
    splits = about(out)["splits"]
    return Packing(
        out,
        {name: split["images"] for name, split in splits.items()},
        sum(shard["bytes"] for split in splits.values() for shard in split["shards"]),
        [(name, reason) for split in splits.values() for name, reason in split["unreadable"]],
    )


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    draft = path.with_name(path.name + ".part")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
