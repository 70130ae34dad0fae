"""Names, and where there are any colours, of the classes that masks are made of."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from resmom.data.errors import DataError

FILES = ("class_dict.csv", "label_colors.txt", "labelmap.txt", "classes.txt", "codes.txt")
"""The files of names that are known, in the order they are looked for; any *.names after them."""

VOID = ("void", "unlabelled", "unlabeled", "ignore", "ignored")
"""A class of such a name is no class: its pixels count for nothing."""

VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
)
CAMVID = "sky building pole road pavement tree sign fence car pedestrian bicyclist void"
CITYSCAPES = (
    "road sidewalk building wall fence pole light sign vegetation terrain sky person rider car truck bus train "
    "motorcycle bicycle"
)
"""The 19 that are learned, by the numbers of `labelTrainIds`."""


@dataclass(frozen=True)
class Names:
    """Classes in the order of their numbers in the masks, void ones included; `colours` are red x 65536 + green x 256
    + blue, none where masks hold numbers."""

    names: tuple[str, ...]
    colours: tuple[int, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Those that count."""
        return tuple(name for name in self.names if name.lower() not in VOID)


def listed(text: str) -> Names:
    """Names without colours."""
    return Names(tuple(text.split()))


def named_beside(*folders: Path) -> Names | None:
    """The names from the first known file in one of these folders; None where there is none.

    Raises DataError for a file that cannot be understood.
    """
    for folder in folders:
        found = [folder / name for name in FILES if (folder / name).is_file()] + sorted(folder.glob("*.names"))
        if found:
            return _read(found[0])
    return None


def _read(path: Path) -> Names:
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _coloured(path.name, text)
    except (ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: {error}; class_dict.csv has lines name,r,g,b, label_colors.txt lines 'r g b name', labelmap.txt "
            "lines name:r,g,b, other files of names one name per line"
        ) from error
    names = tuple(name for name, _ in rows)
    colours = tuple(colour for _, colour in rows if colour is not None)
    counting = Names(names).classes
    twice = [shown(name) for name in counting if counting.count(name) > 1]
    twice += [shown(colour) for colour in colours if colours.count(colour) > 1]
    if twice:
        raise DataError(f"{path} has {twice[0]} twice; give each class a name and a colour of its own")
    if not counting:
        raise DataError(f"{path} names no classes; put one per line into it")
    return Names(names, colours)


def shown(value: int | str) -> str:
    """A colour as three numbers, a name as it is."""
    return f"({value >> 16}, {value >> 8 & 255}, {value & 255})" if isinstance(value, int) else f"'{value}'"


def _coloured(file: str, text: str) -> list[tuple[str, int | None]]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if file.endswith(".csv"):
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        headed = bool(rows) and not any(cell.isdigit() for cell in rows[0][1:2])
        return [(row[0], _colour(row[0], row[1:4])) for row in (rows[1:] if headed else rows)]
    if file == "label_colors.txt":
        return [(" ".join(line.split()[3:]), _colour(line, line.split()[:3])) for line in lines]
    if file == "labelmap.txt":
        rows = [[*line.split(":"), ""] for line in lines if not line.startswith("#")]
        return [(row[0].strip(), _colour(row[0], re.split(r"[,\s]+", row[1].strip()))) for row in rows]
    return [(line, None) for line in lines]


def _colour(of: str, parts: list[str]) -> int:
    if not any(parts):
        raise ValueError(f"'{of}' has no colour")
    values = [int(part) for part in parts]
    if len(values) != 3 or not all(0 <= value <= 255 for value in values):
        raise ValueError(f"'{' '.join(parts)}' is no colour of three numbers from 0 to 255")
    return values[0] << 16 | values[1] << 8 | values[2]
