"""Where the images of a list lie: by the paths that it gives, or in folders below where these are names alone."""

import stat
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath

from resmom.data.folder import files_below
from resmom.data.labelwords import shown
from resmom.data.listlines import Line
from resmom.data.source import DataError


def _expanded(path: str) -> str:
    """A path with a home folder in place of `~`."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # a file called ~x, and no user of that name
        return path


def placed(file: Path, lines: list[Line]) -> tuple[list[Line], str]:
    """The lines with paths that lead to the images, each in one way of writing it, and what was found in other places
    than written, in a sentence.

    A name without a folder that is not in the list's own folder may be that of a file in any folder below it. What is
    nowhere keeps its path: it is an unreadable file. The folders are gone through only where a name is missing.

    Raises `DataError` for a name that is there several times, and for pipes and devices: opening one may wait for ever.
    """
    alone = {line.path for line in lines if "/" not in line.path}  # as written: not ./a.png
    lines = [replace(line, path=_expanded(line.path)) for line in lines]
    missing = {line.path for line in lines if not _there(file, line) and line.path in alone}
    if not missing:
        return lines, ""
    places: dict[str, list[str]] = {}
    for place in files_below(file.parent, skip_locked=True):
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
    if not places:
        return found, ""
    name, (place, *_) = next(iter(places.items()))
    return found, (
        f"paths: {len(places)} of {len(lines)} are names without folders, found in folders below the list's, such as "
        f"{shown(name)} in {shown(str(PurePosixPath(place).parent))}/"
    )


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
