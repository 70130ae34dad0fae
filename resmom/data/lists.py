"""Images named in a text file: a path on each line, or a table with columns of paths, labels and splits."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from resmom.data.byfolder import TEST_NAMES, left_out_words, preferred, source_name
from resmom.data.errors import DataError, UnreadableData
from resmom.data.files import RAM_LIMIT, FileSource
from resmom.data.labelwords import classes_among, labels_among, missing_among
from resmom.data.listlines import Line, Listed, read_list
from resmom.data.listpaths import asked, called_words, placed, require_once
from resmom.data.source import Data
from resmom.data.store import Files

SUFFIXES = (".txt", ".csv", ".tsv")
_TRAINING = ("", "train", "training")


def open_list(file: Path, ram_limit: int = RAM_LIMIT, shorter_side: int = 0, threads: int = 0) -> Data:
    """The images that a file names, in its order.

    `.txt`: a path on each line, and behind a tab its class if it has one. `.csv`, `.tsv`, and a `.txt` that begins as
    one: a table, whose first line names its columns, separated by commas, semicolons or tabs; those used are the path's
    (`path`, `file`, `filename`, `image` …), the class's (`label`, `class` …) and the split's (`split`, `set`, `subset`;
    its words are train, test, val, valid and validation, nothing is train). Paths count from the folder of the file,
    and may begin with `/` or `~`; what they name is told by its content, whatever its suffix. Names alone may lie
    further below, see `placed`. An image without a class has no label, nor has one whose class is NA or the like, see
    `missing_among`. Of several test splits the first of test, val, validation that has labels counts. `ram_limit` and
    `threads` are as in `FileSource`, `shorter_side` is as in `decode`.

    Raises `DataError` for a file that is no such text, a table without paths, a path that is named twice, a name that
    may be one of several files, words that are no split, a class that may be none, a test class that training has not,
    and where there is no image for training or none is readable.
    """
    listed, unlabelled = _without_missing(file, read_list(file))
    there = placed(file, listed.lines)
    lines = there.lines
    require_once(file, lines)
    lost = f"paths: {called_words(there.called)}" if there.called else ""
    notes = tuple(filter(None, (unlabelled, there.found_below, lost)))
    parts = _parts(file, lines)
    classes = classes_among([line.label for line in parts["train"]])
    # Where no training image has a class, nothing contradicts those of the others.
    classes = classes or classes_among([line.label for line in lines])

    def source(split: str) -> FileSource:
        own = parts[split]
        name = source_name(file.name, split if len(parts) > 1 else "", shorter_side)
        labels = labels_among([line.label for line in own], classes, f"images of {file} in its split {split}")
        store = Files(file.parent, [line.path for line in own], shorter_side)
        try:
            return FileSource(name, store, labels, classes, ram_limit, threads)
        except UnreadableData as error:
            if not (hint := _misread(file, own, there.called)):
                raise
            raise error.advised(hint) from error

    others = [split for split in TEST_NAMES if split in parts]
    test = preferred({split: any(line.label for line in parts[split]) for split in others})
    outside, more = left_out_words(sum(len(parts[split]) for split in others if split != test))
    which = "no test split" if test is None else f"train and {test}{more}"
    train, tests = source("train"), None if test is None else source(test)
    origin = f"listed in {file.name}, {which}"
    return Data(train, tests, origin, outside=outside, labels_from=listed.labels_from, notes=notes)


def _without_missing(file: Path, listed: Listed) -> tuple[Listed, str]:
    """The lines with no label where theirs is a word for that, and the words that were found, in a sentence."""
    labels = [line.label for line in listed.lines]
    try:
        missing = missing_among(labels)
    except ValueError as error:
        word = str(error)
        first = listed.lines[labels.index(word)].number
        raise DataError(
            f"the label '{word}' in {file} ({labels.count(word)} times, first on line {first}) may be a class or mean "
            "that there is none; leave it empty, or write NA, where there is none, and give a class another name, such "
            "as no-defect"
        ) from error
    lines = [replace(line, label="") if line.label in missing else line for line in listed.lines]
    counts = [f"'{word}' ({count})" for word, count in missing.most_common()]
    several = len(counts) > 1
    beside = f", as an empty one does ({empty})" if (empty := labels.count("")) else ""
    means = f"{'mean' if several else 'means'} no label{beside}"
    notes = [f"labels: {' and '.join(counts)} in {listed.labels_from} {means}"] if counts else []
    left = {line.label for line in lines}
    if "-1" in left and all(label.lstrip("-").isdigit() for label in left - {""}):
        notes.append("labels: -1 is a class as any other number; leave it empty, or write NA, where it means no label")
    return replace(listed, lines=lines), "; ".join(notes)


def _misread(file: Path, lines: list[Line], called: Mapping[str, str]) -> str:
    """What a list looks like of which no path leads to an image, in words: as other tools write them, or not ours.

    `called`: see `Placed`.
    """
    if own := {line.path: called[line.path] for line in lines if line.path in called}:
        return called_words(own)
    path = lines[0].path

    def is_file(name: str) -> bool:
        return asked((file.parent / name).is_file)

    if is_file(path):  # it leads there, and what is wrong is inside
        return ""
    if is_file(path.strip()):
        return "Its paths have spaces before or behind them; take these away"
    if is_file(path.strip().strip("\"'")):
        return "Its paths stand in quotes; take these away, or make it a .csv file with a first line that says path"
    first, _, behind = re.sub(r"[ ,;]+(?=[^ ,;]*$)", "\t", path.strip()).partition("\t")
    if behind and is_file(first):
        return (
            "A class stands behind a tab, not behind a space, comma or semicolon; or make it a .csv file whose first "
            "line names the columns, as in path;label"
        )
    if "\\" in path and is_file(path.strip().replace("\\", "/")):
        return "Its paths have \\ between folders; write / there"
    if not Path(path).is_absolute() and not asked((file.parent / path).exists):
        return (
            f"Paths count from the folder of the list, {file.parent}, and names alone may lie in folders below it; "
            "move the list there, or write paths that begin with /"
        )
    return ""


def _parts(file: Path, lines: list[Line]) -> dict[str, list[Line]]:
    """The lines of each split; there are some of train."""
    parts: dict[str, list[Line]] = {}
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
