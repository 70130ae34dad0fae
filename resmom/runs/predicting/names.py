"""Where the file that belongs to an image is written: below the output folder, whatever the image is called."""

import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path, PurePosixPath

LONGEST = 240
"""Bytes of a file's name, with its ending; systems take 255."""


def place_for(folder: Path, name: str, suffix: str) -> Path:
    """A new file in `folder` for the image of this name, its folders made: a/b.jpg gives a/b.png for the suffix .png.

    Names may be absolute, or lead upwards, as a list or an archive has them; the file lies in `folder` all the same.
    Where the name is taken, as by b.jpg beside b.webp, the image's own ending stays in it, and then a number is added.
    """
    inner = [part for part in PurePosixPath(name).parts if part not in ("..", ".", "/", "//")] or ["image"]
    where = folder
    for part in inner[:-1]:  # a file may be called so, too: that of a.jpg, beside a folder a.png
        where = next(path for path in _called(where, _numbered(part, part), "") if path.is_dir() or not _taken(path))
    where.mkdir(parents=True, exist_ok=True)
    last = PurePosixPath(inner[-1])
    return next(path for path in _called(where, _numbered(last.stem, last.name), suffix) if not _taken(path))


def _numbered(*names: str) -> Iterator[str]:
    """The names, and the first of them with numbers."""
    yield from names
    yield from (f"{names[0]}-{number}" for number in count(2))


def _called(where: Path, names: Iterable[str], suffix: str) -> Iterator[Path]:
    for name in names:
        content = os.fsencode(name)
        short = name if len(content) <= LONGEST else os.fsdecode(content[: LONGEST // 2] + content[-LONGEST // 2 :])
        yield where / f"{short}{suffix}"


def _taken(path: Path) -> bool:
    return os.path.lexists(path)
