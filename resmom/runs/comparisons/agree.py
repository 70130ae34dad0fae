"""Whether the cells of a call are those that a folder and its lines hold already, and go into one table with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resmom.called import called
from resmom.config import Run, from_json, to_json
from resmom.errors import RunDirError
from resmom.rundir import RunDir
from resmom.runs.comparisons.arms import require_one_table
from resmom.runs.comparisons.grid import Cell
from resmom.runs.comparisons.results import RESULTS, Line, as_begun, other_images
from resmom.runs.options import difference_words, differing, option_values
from resmom.runs.training.start import content_of


def require_same(cell: Cell, out: Path, line: Line | None, images: Mapping[str, Any]) -> None:
    """Raise RunDirError if a cell's line or folder is of another configuration, or its line of other images.

    `images`: what is said of those of this call, by `images_line`.
    """
    if line is not None:
        _same_own(cell, line, str(out / RESULTS))
        _same_run(cell, cell.run, line, from_json(line["run"]), str(out / RESULTS))
        _same_images(line, images, out)
    for begun in _begun(cell, out):
        folder = str(cell.folder(out))
        _same_own(cell, begun, folder)
        _same_run(cell, cell.run, begun, from_json(begun["run"]), folder)


def require_alike(left: Sequence[Cell], out: Path, lines: Sequence[Line], images: Mapping[str, Any]) -> None:
    """Raise UserError if the cells that are left, once trained, could stand in no table with the lines there are.

    That is for lines that stand in none by themselves, for one of other images, and for an arm whose lines, or whose
    cells under way, have other settings or modules, or start from weights of another content.
    """
    require_one_table(lines)
    if not left:
        return
    for line in lines:
        _same_images(line, images, out)
    starting = {cell.run.init for cell in left if cell.run.init and not cell.past_start(out)}
    contents = {file: content_of(file) for file in starting}
    for cell in left:
        content = "" if cell.past_start(out) else contents.get(cell.run.init, "")
        content = content or began_with(cell, out)
        held = [(str(out / RESULTS), line) for line in lines if line["arm"] == cell.arm][:1]  # they are all alike
        begun = [(str(cell.folder(out)), line) for line in _begun(cell, out)]
        for where, line in (*held, *begun):
            _same_own(cell, line, where)
            _same_start(cell, content, line, where)


def _same_start(cell: Cell, content: str, line: Line, where: str) -> None:
    """As `_same_run`, whatever the seed; files of weights by their content, where both sides know it, else by path."""
    known = bool(content and line.get("init"))
    now = as_begun({"run": to_json(cell.run), "init": content if known else ""})
    before = as_begun({**line, "init": line["init"] if known else ""})
    _same_run(cell, _seedless(now), line, _seedless(before), where)


def began_with(cell: Cell, out: Path) -> str:
    """By which the content of the file of weights is known that a cell began with; of one that has not begun, its
    content now. Empty where nobody knows."""
    before = [str(begun["init"]) for begun in _begun(cell, out) if begun.get("init")]
    return before[0] if before else content_of(cell.run.init)


def _begun(cell: Cell, out: Path) -> Iterator[Line]:
    """What the folder of a cell says of it, as a line would; nothing where it has not begun."""
    try:
        written = RunDir(cell.folder(out)).written()
    except FileNotFoundError:  # there is none, or another process has just finished and removed it
        return
    yield {"seed": cell.seed, **{name: written[name] for name in ("run", "init", "own") if name in written}}


def _seedless(run: Run) -> Run:
    return replace(run, train=replace(run.train, seed=0))


def _same_images(line: Line, images: Mapping[str, Any], out: Path) -> None:
    if other_images(line["data"], images):
        raise RunDirError(
            f"{out / RESULTS}: arm {line['arm']}, seed {line['seed']} was measured on other images ("
            f"{line['data']['name']}, {line['data']['origin']}); give the same {called('data')} and "
            f"{called('held_out')}, or another {called('out')}"
        )


def _same_own(cell: Cell, line: Line, where: str) -> None:
    own, before = cell.own.names, line.get("own", {})
    if own != before:
        then, now = (", ".join(given.values()) or "nothing" for given in (before, own))
        raise RunDirError(
            f"{where} holds arm {cell.arm}, seed {line['seed']} with {then} given from Python, and now it is {now}; "
            f"give the same backbone= and method=, or another folder ({called('out')})"
        )


def _same_run(cell: Cell, run: Run, line: Line, before: Run, where: str) -> None:
    names = differing(before, run)
    if not names:
        return
    words = difference_words(option_values(before), option_values(run), names)
    raise RunDirError(
        f"{where} holds arm {cell.arm}, seed {line['seed']} with another configuration: {words}; ask for the same, "
        f"call the arm otherwise, or give another {called('out')}"
    )
