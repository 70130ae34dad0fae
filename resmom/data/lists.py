"""Images named in a text file: a path on each line, or a table with columns of paths, labels and splits."""

import csv
import io
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from resmom.data.byfolder import TEST_NAMES, preferred, source_name
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.labelwords import classes_among, labels_among
from resmom.data.source import Data, DataError
from resmom.data.store import Files

SUFFIXES = (".txt", ".csv", ".tsv")
_PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path")
_LABELS = ("label", "class", "class_name", "category", "target")
_SPLITS = ("split", "set", "subset")
_TRAINING = ("", "train", "training")


@dataclass(frozen=True)
class _Line:
    """An image, and what is said of it; empty where nothing is. `number` counts the file's lines from 1."""

    number: int
    path: str
    label: str = ""
    split: str = ""


def open_list(file: Path, ram_limit: int = RAM_LIMIT, shorter_side: int = 0) -> Data:
    """The images that a file names, in its order.

    `.txt`: a path on each line, and behind a tab its class if it has one. `.csv` and `.tsv`: a table, whose first line
    names its columns; those used are the path's (`path`, `file`, `filename`, `image` …), the class's (`label`, `class`
    …) and the split's (`split`, `set`, `subset`; its words are train, test, val, valid and validation, nothing is
    train). Paths count from the folder of the file, and may begin with `/` or `~`; what they name is told by its
    content, whatever its suffix. An image without a class has no label. Of several test splits the first of test, val,
    validation that has labels counts. `ram_limit` is as in `FileSource`, `shorter_side` as in `decode`.

    Raises `DataError` for a file that is no such text, a table without paths, a path that is named twice, words that
    are no split, a test class that training has not, and where there is no image for training or none is readable.
    """
    lines = _lines(file)
    _require_once(file, lines)
    _require_files(file, lines)
    parts = _parts(file, lines)
    classes = classes_among([line.label for line in parts["train"]])
    # Where no training image has a class, nothing contradicts those of the others.
    classes = classes or classes_among([line.label for line in lines])

    def source(split: str) -> FileSource:
        own = parts[split]
        name = source_name(file.name, split if len(parts) > 1 else "", shorter_side)
        labels = labels_among([line.label for line in own], classes, f"images of {file} in its split {split}")
        store = Files(file.parent, [_expanded(line.path) for line in own], shorter_side)
        try:
            return FileSource(name, store, labels, classes, ram_limit)
        except DataError as error:
            if not (hint := _misread(file, own)):
                raise
            raise DataError(f"{error}. {hint}") from error

    others = [split for split in TEST_NAMES if split in parts]
    test = preferred({split: any(line.label for line in parts[split]) for split in others})
    if test is None:
        return Data(source("train"), None, f"listed in {file.name}, no test split")
    left_out = sum(len(parts[split]) for split in others if split != test)
    outside = f"{left_out} images of other splits" if left_out else ""
    more = f" ({outside} left out)" if outside else ""
    return Data(source("train"), source(test), f"listed in {file.name}, train and {test}{more}", outside=outside)


def _expanded(path: str) -> str:
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # a file called ~x, and no user of that name
        return path


def _misread(file: Path, lines: list[_Line]) -> str:
    """What a list looks like of which no path leads to an image, in words: as other tools write them, or not ours."""
    path = lines[0].path
    if (file.parent / path.strip()).is_file() and path != path.strip():
        return "Its paths have spaces before or behind them; take these away"
    if (file.parent / path.strip().strip("\"'")).is_file():
        return "Its paths stand in quotes; take these away, or make it a .csv file with a first line that says path"
    first, _, behind = re.sub(r"[ ,;]+(?=[^ ,;]*$)", "\t", path.strip()).partition("\t")
    if behind and (file.parent / first).is_file():
        return "A class stands behind a tab, not behind a space or a comma"
    if "\\" in path and (file.parent / path.strip().replace("\\", "/")).is_file():
        return "Its paths have \\ between folders; write / there"
    return ""


def _lines(file: Path) -> list[_Line]:
    try:
        # As the system names files, whose bytes need not be text.
        text = file.read_text(encoding="utf-8", errors="surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); make it readable") from error
    if "\0" in text:
        raise DataError(f"{file} is no text: it has bytes of 0; a list of images has a path on each line")
    found = _plain(text) if file.suffix.lower() == ".txt" else _table(file, text)
    if not found:
        raise DataError(f"{file} names no images; write the path of one on each line")
    return found


def _plain(text: str) -> list[_Line]:
    split = (line.partition("\t") for line in text.split("\n"))
    rows = enumerate(((path.strip("\r"), label.strip()) for path, _, label in split), start=1)
    return [_Line(number, path, label) for number, (path, label) in rows if path.strip()]


def _table(file: Path, text: str) -> list[_Line]:
    table = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
    try:
        heading = [name.strip().lower() for name in next(table, [])]
        path, label, split = (_column(file, heading, names) for names in (_PATHS, _LABELS, _SPLITS))
        if path is None:
            raise DataError(
                f"the first line of {file} names the columns {', '.join(heading)}, and none of them is a path's; call "
                f"that one {_PATHS[0]}. A list without columns is a .txt file, a path on each line"
            )
        found = []
        for row in table:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(heading):
                raise DataError(
                    f"line {table.line_num} of {file} has {len(row)} columns, its first line {len(heading)}; quote "
                    "what has a separator in it"
                )
            cells = ("" if at is None else row[at].strip() for at in (label, split))
            found.append(_Line(table.line_num, row[path], *cells))
    except csv.Error as error:
        raise DataError(f"line {table.line_num} of {file} is no row of a table: {error}; correct it") from error
    if empty := [line.number for line in found if not line.path.strip()]:
        raise DataError(f"line {empty[0]} of {file} has no path; give one, or take the line out")
    return found


def _column(file: Path, heading: list[str], names: tuple[str, ...]) -> int | None:
    found = [at for at, name in enumerate(heading) if name in names]
    if len(found) > 1:
        raise DataError(
            f"the first line of {file} has several columns that could be meant: "
            f"{', '.join(heading[at] for at in found)}; leave one of them its name, and call the others something else"
        )
    return found[0] if found else None


def _require_once(file: Path, lines: list[_Line]) -> None:
    twice = [path for path, count in Counter(line.path for line in lines).items() if count > 1]
    if twice:
        first, again, *_ = (line.number for line in lines if line.path == twice[0])
        raise DataError(
            f"{file} names {twice[0]} on line {first} and on line {again}; an image is named once, so that it has one "
            "class and is in one split"
        )


def _require_files(file: Path, lines: list[_Line]) -> None:
    """Refuse pipes and devices: opening one may wait for ever. What is not there is an unreadable file."""
    for line in lines:
        try:
            mode = (file.parent / _expanded(line.path)).stat().st_mode
        except (OSError, ValueError):
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DataError(f"line {line.number} of {file} names {line.path}, which is a pipe or a device; take it out")


def _parts(file: Path, lines: list[_Line]) -> dict[str, list[_Line]]:
    """The lines of each split; there are some of train."""
    parts: dict[str, list[_Line]] = {}
    for line in lines:
        word = line.split.lower()
        split = "train" if word in _TRAINING else "validation" if word == "valid" else word
        if split != "train" and split not in TEST_NAMES:
            raise DataError(
                f"line {line.number} of {file} has the split '{line.split}'; splits are train, "
                f"{', '.join(TEST_NAMES)}, and nothing is train"
            )
        parts.setdefault(split, []).append(line)
    if "train" not in parts:
        raise DataError(f"{file} has no images of the split train ({', '.join(parts)} alone); name some")
    return parts
