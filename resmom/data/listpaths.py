"""Where the images of a list lie: by the paths that it gives, or in folders below where these are names alone."""

import stat
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from resmom.data.errors import DataError
from resmom.data.folder import files_below
from resmom.data.labelwords import shown
from resmom.data.listlines import Line


def _expanded(path: str) -> str:
    """A path with a home folder in place of `~`."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # a file called ~x, and no user of that name
        return path


@dataclass(frozen=True)
class Placed:
    """Lines with paths that lead to the images, as far as these are there, each in one way of writing it."""

    lines: list[Line]
    found_below: str
    """What was found in other places than written, in a sentence."""
    called: dict[str, str]
    """Of paths that lead nowhere, but for upper and lower case: the one file that each may mean."""


def placed(file: Path, lines: list[Line]) -> Placed:
    """Where the images of a list lie.

    A name without a folder that is not in the list's own folder may be that of a file in any folder below it. What is
    nowhere keeps its path: it is an unreadable file. The folders are gone through only where a name is missing.

    Raises `DataError` for a name that is there several times, and for pipes and devices: opening one may wait for ever.
    """
    alone = {line.path for line in lines if "/" not in line.path}  # as written: not ./a.png
    lines = [replace(line, path=_expanded(line.path)) for line in lines]
    nowhere = [line.path for line in lines if not _there(file, line)]
    missing = alone.intersection(nowhere)
    below = files_below(file.parent, skip_locked=True) if missing else []
    places: dict[str, list[str]] = {}
    for place in below:
        if "/" in place and (name := PurePosixPath(place).name) in missing:
            places.setdefault(name, []).append(place)
    if several := [line for line in lines if len(places.get(line.path, [])) > 1]:
        first, second, *_ = places[several[0].path]
        more = f", and so may {len(several) - 1} more of its names" if len(several) > 1 else ""
        raise DataError(
            f"line {several[0].number} of {file} names {several[0].path} without a folder, and that may be {first} or "
            f"{second}{more}; write paths from the folder of the list"
        )
    found = [replace(line, path=places[line.path][0]) if line.path in places else line for line in lines]
    called = _called(file.parent, [path for path in nowhere if path not in places], below)
    if not places:
        return Placed(found, "", called)
    name, (place, *_) = next(iter(places.items()))
    words = (
        f"paths: {len(places)} of {len(lines)} are names without folders, found in folders below the list's, such as "
        f"{shown(name)} in {shown(str(PurePosixPath(place).parent))}/"
    )
    return Placed(found, words, called)


def _called(root: Path, nowhere: list[str], below: list[str]) -> dict[str, str]:
    """See `Placed.called`. `below`: the files below the list's folder, where names alone are looked for, too."""
    names, entries = _by_lower(below), dict[str, dict[str, list[str]]]()

    def inside(folder: str, name: str) -> list[str]:
        if name == "..":
            return [name]
        if folder not in entries:
            entries[folder] = _by_lower(_entries(root / folder))
        return entries[folder].get(name.casefold(), [])

    called = {}
    for path in nowhere:
        start = PurePosixPath(path).anchor
        there = [start]
        for part in PurePosixPath(path).relative_to(start).parts:
            there = [str(PurePosixPath(folder) / name) for folder in there for name in inside(folder, part)]
        there = there or ([] if "/" in path else names.get(path.casefold(), []))
        if len(there) == 1 and asked((root / there[0]).is_file):
            called[path] = there[0]
    return called


def called_words(called: Mapping[str, str]) -> str:
    """`Placed.called`, of one path or more, in a sentence."""
    path, there = next(iter(called.items()))
    lost = (
        f"{shown(path)} is no file" if len(called) == 1 else f"{len(called)} paths are no files, such as {shown(path)}"
    )
    return f"{lost}, but {shown(there)} is one; write upper and lower case as the files have it"


def asked(there: Callable[[], bool]) -> bool:
    """What a path answers; no, of a line that is too long to name a file, or in a folder that may not be entered."""
    try:
        return there()
    except (OSError, ValueError):
        return False


def _by_lower(paths: list[str]) -> dict[str, list[str]]:
    """Paths by their names without regard to case."""
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(PurePosixPath(path).name.casefold(), []).append(path)
    return found


def _entries(folder: Path) -> list[str]:
    """The names in a folder; none where it is no folder, or may not be listed."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _there(file: Path, line: Line) -> bool:
    try:
        mode = (file.parent / line.path).stat().st_mode
    except (OSError, ValueError):
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"line {line.number} of {file} names {line.path}, which is a pipe or a device; take it out")
    return True


def require_once(file: Path, lines: list[Line]) -> None:
    """Raise DataError for a path that several lines have."""
    twice = [path for path, count in Counter(line.path for line in lines).items() if count > 1]
    if twice:
        first, again, *_ = (line.number for line in lines if line.path == twice[0])
        raise DataError(
            f"{file} names {twice[0]} on line {first} and on line {again}; an image is named once, so that it has one "
            "class and is in one split"
        )
