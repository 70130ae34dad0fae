"""The result file of a comparison: a line per finished cell."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resmom.called import verb
from resmom.config import ConfigError, Run, from_json
from resmom.errors import RunDirError, UserError
from resmom.jsonfiles import append_line, read_lines
from resmom.norun import CELLS, CONFIG
from resmom.ondisk import lock
from resmom.runs.options import differing, option_values

RESULTS = CELLS
"""One line per finished cell, in the folder of the comparison."""

Line = dict[str, Any]


def keep(file: Path, line: Line) -> None:
    """Add a line to a result file; processes that share it wait for each other."""
    with file.with_name(f".{file.name}.lock").open("a") as beside:
        lock(beside, wait=True)  # or, where there are no locks, none: hours of training are in that line
        append_line(file, line)


def other_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two lines are of other images, to train or to test on; earlier versions did not write the latter down."""
    written = "test" in one and "test" in other
    return one["fingerprint"] != other["fingerprint"] or (written and one["test"] != other["test"])


def newest(lines: Sequence[Line]) -> dict[tuple[str, int], Line]:
    """The lines by arm and seed; of several of one cell the last."""
    return {(line["arm"], line["seed"]): line for line in lines}


def in_order(lines: Sequence[Line], first: Sequence[str] = ()) -> list[str]:
    """The arms in the order of a table: those of `first`, then the others by the place that the newest line of each
    says; of those with one place, as later calls with other arms leave them, the newest comes first.
    """
    places = {line["arm"]: (line["place"], -number) for number, line in enumerate(lines)}
    rest = sorted(places.keys() - set(first), key=places.__getitem__)
    return [arm for arm in first if arm in places] + rest


def read_results(paths: Sequence[Path]) -> list[Line]:
    """The cells of result files, or of the folders of comparisons, each once. Those of the first file are the last, and
    so the newest to `in_order`: the first file's first arm is what all are compared with.

    Raises UserError for what is missing, and for a cell that two of them have with different results.
    """
    if not paths:
        raise UserError(f"no result file was given; name result files ({RESULTS}) or folders of comparisons")
    found: dict[tuple[str, int], tuple[Line, Path]] = {}
    files: dict[tuple[str, int], int] = {}
    for number, path in enumerate(paths):
        file = path / RESULTS if path.is_dir() else path
        if not file.exists():
            raise UserError(f"{_why_not(path)}; name result files ({RESULTS}) or folders of comparisons")
        for key, line in newest(_lines(file)).items():
            if key not in found:
                found[key], files[key] = (line, file), -number
                continue
            other, origin = found[key]
            if apart := _apart(other, line):
                raise UserError(
                    f"arm {key[0]}, seed {key[1]} is in {origin} and in {file} with different {apart}; leave one of "
                    "them out"
                )
            if len(line["measures"]) > len(other["measures"]):
                found[key] = line, file
    return [found[key][0] for key in sorted(found, key=files.__getitem__)]


def _why_not(path: Path) -> str:
    if (path / CONFIG).exists():
        return f"{path} is a run, and no comparison ({verb('report', path)} is about it)"
    if path.exists() and (path.parent / RESULTS).is_file():
        return f"{path} lies in the folder of a comparison, {path.parent}"
    if any(path.glob("*/seed-*")):
        return f"no cell of {path} is finished yet"
    return f"{path / RESULTS if path.is_dir() else path} does not exist"


def cut_short(paths: Sequence[Path]) -> list[Path]:
    """The result files, of these files and folders, whose last line a crash cut short: the cell is left out."""
    files = (path / RESULTS if path.is_dir() else path for path in paths)
    return [file for file in files if file.is_file() and not file.read_bytes().endswith(b"\n")]


def _apart(one: Line, other: Line) -> str:
    """In what two lines of one cell differ, in words; empty where they do not."""
    if one["digest"] != other["digest"] and (apart := _options(one, other)) is not None:
        return f"configurations{apart}"
    if bool(one["failed"]) != bool(other["failed"]):
        return "results: it diverged in one of them"
    mine, theirs = one["measures"], other["measures"]
    names = [name for name in mine if name in theirs and not _same(mine[name], theirs[name])]
    return f"results: {_first(names, mine, theirs)}" if names else ""


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _options(one: Line, other: Line) -> str | None:
    """How two configurations differ, in words; None where they do not, but for what was not written down once, or for
    the folder that a file of weights lies in."""
    try:
        before, after = as_begun(one), as_begun(other)
    except ConfigError:  # a line of something that is more than a run, or of another version
        return ""
    names = differing(before, after)
    return f": {_first(names, option_values(before), option_values(after))}" if names else None


def as_begun(line: Line) -> Run:
    """The run of a line. The file that it starts from, which may lie elsewhere on every machine, by its content, where
    that was written down. Raises ConfigError for a line of another version, or of something that is more than a run.
    """
    run = from_json(line["run"])
    return replace(run, init=f"{Path(run.init).name} of content {line['init']}") if line.get("init") else run


def _first(names: Sequence[str], one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Some of the names, each with its two values."""
    told = (f"{name} {json.dumps(one.get(name))} and {json.dumps(other.get(name))}" for name in names[:3])
    return ", ".join(told) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _lines(file: Path) -> list[Line]:
    try:
        lines = read_lines(file)
        if lines and all(line["format"] == 1 and line["measures"] is not None for line in lines):
            return lines
    except RunDirError:
        if b'"arm":' in file.read_bytes():  # a result file, of which a line is damaged
            raise
    except (KeyError, TypeError):
        pass
    raise UserError(f"{file} holds no cells of a comparison; name a {RESULTS} that {verb('compare')} wrote")
