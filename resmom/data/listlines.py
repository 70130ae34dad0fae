"""The text of a list of images: a path on each line, or a table with columns of paths, labels and splits."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resmom.data.errors import DataError

PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")
"""What a column is called, in upper or lower case; where none is, spaces, hyphens and underscores do not count either,
as in File Name."""
LABELS = ("label", "class", "class_name", "category", "target")
SPLITS = ("split", "set", "subset")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_USUAL = {".csv": ",", ".tsv": "\t"}
"""What a table of one column is taken to be separated by."""


@dataclass(frozen=True)
class Line:
    """An image, and what is said of it; empty where nothing is. `number` counts the file's lines from 1."""

    number: int
    path: str
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class Listed:
    """The lines of a list, at least one, and where they have their labels, in words."""

    lines: list[Line]
    labels_from: str


def read_list(file: Path) -> Listed:
    """The lines of a list, as `open_list` describes them.

    Raises `DataError` for a file that is no such text, that names nothing, or whose columns cannot be understood.
    """
    try:
        # As the system names files, whose bytes need not be text.
        text = file.read_text(encoding="utf-8", errors="surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); make it readable") from error
    if "\0" in text:
        raise DataError(f"{file} is no text: it has bytes of 0; a list of images has a path on each line")
    plain = file.suffix.lower() == ".txt" and not _has_heading(text)
    found = Listed(_plain(text), f"the lines of {file.name}") if plain else _table(file, text)
    if not found.lines:
        raise DataError(f"{file} names no images; write the path of one on each line")
    return found


def _plain(text: str) -> list[Line]:
    split = (line.partition("\t") for line in text.split("\n"))
    rows = enumerate(((path, label.strip()) for path, _, label in split), start=1)
    return [Line(number, path, label) for number, (path, label) in rows if path.strip()]


def _has_heading(text: str) -> bool:
    """Whether a text begins with the names of columns, a path's and another that is used: as spreadsheets write tables
    to .txt. No image is called so."""
    _, text = _declared(text)
    cells = _headings(text).values()
    return any(_places(names, PATHS) and _places(names, LABELS + SPLITS) for names in cells)


def _headings(text: str) -> dict[str, list[str]]:
    """What the first line names, by every separator that it has."""
    found = {}
    for separator in _SEPARATORS:
        try:
            cells = next(csv.reader(_lines(text), delimiter=separator), [])
        except csv.Error:
            continue
        if len(cells) > 1:
            found[separator] = [name.strip() for name in cells]
    return found


def _declared(text: str) -> tuple[str, str]:
    """The separator that a first line `sep=;` gives, as spreadsheets write it, and the text behind that line."""
    if not text.startswith("sep="):  # a large text is not taken apart to see that
        return "", text
    first, _, rest = text.partition("\n")
    declared = first.removeprefix("sep=")
    return (declared, rest) if declared in _SEPARATORS else ("", text)


def _lines(text: str) -> Iterator[str]:
    """The lines, one after another: the first alone is looked at several times."""
    return (found[0] for found in re.finditer(r"[^\n]+\n?|\n", text))


def _separator(file: Path, text: str) -> str:
    """What separates the columns: of those that the first line has, the one by which it names a path's column."""
    seen = _headings(text)
    if len(seen) < 2:
        return next(iter(seen), _USUAL.get(file.suffix.lower(), ","))
    named = [separator for separator, names in seen.items() if _places(names, PATHS)]
    if len(named) != 1:
        words = " and ".join(_SEPARATORS[separator] for separator in seen)
        raise DataError(
            f"the first line of {file} has {words}, and which of them separate its columns cannot be told: "
            f"{'by several' if named else 'by none'} of them a column is a path's; separate all columns by one of "
            f"them, quote what has another in it, and call the paths' column {PATHS[0]}"
        )
    return named[0]


def _table(file: Path, text: str) -> Listed:
    declared, body = _declared(text)
    separator, before = declared or _separator(file, body), 1 if declared else 0
    table = csv.reader(_lines(body), delimiter=separator)
    found = []
    try:
        heading = [name.strip() for name in next(table, [])]
        path, label, split = (_column(file, heading, names) for names in (PATHS, LABELS, SPLITS))
        if path is None:
            raise DataError(
                f"the first line of {file} names the columns {', '.join(heading)}, and none of them is a "
                f"path's; call that one {PATHS[0]}. A list without columns is a .txt file, a path on each line"
            )
        for row in table:
            number = table.line_num + before
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(heading):
                raise DataError(
                    f"line {number} of {file} has {len(row)} columns, its first line {len(heading)}, separated by "
                    f"{_SEPARATORS[separator]}; quote what has a separator in it"
                )
            cells = ("" if at is None else row[at].strip() for at in (label, split))
            found.append(Line(number, row[path], *cells))
    except csv.Error as error:
        number = table.line_num + before
        raise DataError(f"line {number} of {file} is no row of a table: {error}; correct it") from error
    if empty := [line.number for line in found if not line.path.strip()]:
        raise DataError(f"line {empty[0]} of {file} has no path; give one, or take the line out")
    return Listed(found, "" if label is None else f"the column {heading[label]} of {file.name}")


def _places(heading: list[str], names: tuple[str, ...]) -> list[int]:
    """The columns that have one of these names, as it is; if none has, those that are written in another way."""
    exact = [at for at, name in enumerate(heading) if name.lower() in names]
    return exact or [at for at, name in enumerate(heading) if _bare(name) in map(_bare, names)]


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).lower()


def _column(file: Path, heading: list[str], names: tuple[str, ...]) -> int | None:
    found = _places(heading, names)
    if len(found) > 1:
        raise DataError(
            f"the first line of {file} has several columns that could be meant: "
            f"{', '.join(heading[at] for at in found)}; leave one of them its name, and call the others something "
            "else"
        )
    return found[0] if found else None
