"""The result file of a comparison: a line per finished cell."""

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resmom.errors import UserError
from resmom.rundir import append_line, read_lines

RESULTS = "cells.jsonl"
"""One line per finished cell, in the folder of the comparison."""

Line = dict[str, Any]


def keep(out: Path, line: Line) -> None:
    """Add a line to the results; processes that share the folder wait for each other."""
    with (out / f".{RESULTS}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        append_line(out / RESULTS, line)


def newest(lines: Sequence[Line]) -> dict[tuple[str, int], Line]:
    """The lines by arm and seed; of several of one cell the last."""
    return {(line["arm"], line["seed"]): line for line in lines}


def read_results(paths: Sequence[Path]) -> list[Line]:
    """The cells of result files, or of the folders of comparisons, each once.

    Raises UserError for what is missing, and for a cell that two of them have with different results.
    """
    if not paths:
        raise UserError(f"no result file was given; name result files ({RESULTS}) or folders of comparisons")
    found: dict[tuple[str, int], tuple[Line, Path]] = {}
    for path in paths:
        file = path / RESULTS if path.is_dir() else path
        if not file.exists():
            raise UserError(f"{file} does not exist; name result files ({RESULTS}) or folders of comparisons")
        for key, line in newest(_lines(file)).items():
            if key not in found:
                found[key] = line, file
                continue
            other, origin = found[key]
            shared = line["measures"].keys() & other["measures"].keys()
            same = all(line["measures"][name] == other["measures"][name] for name in shared)
            if not same or line["digest"] != other["digest"] or line["failed"] != other["failed"]:
                raise UserError(
                    f"arm {key[0]}, seed {key[1]} is in {origin} and in {file} with different "
                    f"{'results' if line['digest'] == other['digest'] else 'configurations'}; leave one of them out"
                )
            if len(line["measures"]) > len(other["measures"]):
                found[key] = line, file
    return [line for line, _ in found.values()]


def _lines(file: Path) -> list[Line]:
    try:
        lines = read_lines(file)
        if lines and all(line["format"] == 1 and line["measures"] is not None for line in lines):
            return lines
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{file} holds no cells of a comparison; name a {RESULTS} that `resmom compare` wrote")
