"""What `resmom evaluate` left in run folders, with the images of each score named so that they are told apart."""

from collections.abc import Sequence
from typing import Any

from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir

Line = dict[str, Any]


def evaluations(folders: Sequence[RunDir]) -> list[list[Line]]:
    """The lines of each folder's evaluations.jsonl, oldest first.

    Their `data` names the images: two sets of one name have the beginning of their fingerprint behind it. Empty in
    lines of a version that did not write it down.
    """
    found = [read_lines(folder.evaluations) for folder in folders]
    prints: dict[str, set[str]] = {}
    for line in (line for lines in found for line in lines):
        prints.setdefault(line.get("data", ""), set()).add(line.get("fingerprint", ""))
    return [[{**line, "data": _name(line, prints)} for line in lines] for lines in found]


def _name(line: Line, prints: dict[str, set[str]]) -> str:
    name: str = line.get("data", "")
    return f"{name} ({line['fingerprint'][:6]})" if name and len(prints[name]) > 1 else name
