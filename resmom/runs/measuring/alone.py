"""`resmom evaluate --init FILE`: weights without a run, under the protocols by which runs are measured."""

from dataclasses import replace
from pathlib import Path

from resmom.called import called
from resmom.data.open import open_data
from resmom.data.source import Data
from resmom.errors import RunDirError, UserError
from resmom.rundir import RunDir
from resmom.runs.alone.bare import Bare
from resmom.runs.measuring.asked import Asked, check
from resmom.runs.measuring.evaluate import measured
from resmom.runs.measuring.rows import Row


def evaluate_alone(weights: Bare, data: str | Data, asked: Asked, out: Path | None = None) -> list[Row]:
    """Measure weights on labelled images. With a folder `out` every row is added to OUT/evaluations.jsonl when it is
    measured, as a run's are to its own; without one, rows are what this returns, and no more.

    Raises UserError and Incomplete as `evaluate` does, RunDirError for an `out` that is something else; OSError where
    it cannot be written.
    """
    check(asked.more)
    folder = None if out is None else folder_of(out)
    try:
        votes = asked.more.knn.instead_of(weights.neighbours)
    except ValueError as error:
        raise UserError(str(error)) from error
    subject = replace(weights, out=folder, neighbours=votes)
    return measured(subject, open_data(data), "both", asked, weights.what)


def folder_of(out: Path) -> RunDir:
    """The folder for rows of weights: new, empty, or that of an earlier call. Raises RunDirError for another."""
    folder = RunDir(out)
    if out.exists() and not out.is_dir():
        raise RunDirError(f"{out} is a file; {called('out')} must be a folder: a new one, or that of an earlier call")
    ours = {folder.evaluations.name, folder.probes.name}
    others = sorted(entry.name for entry in out.iterdir() if entry.name not in ours) if out.exists() else []
    if others:
        raise RunDirError(
            f"{out} holds other files ({others[0]}); {called('out')} must be a new or empty folder, or that of an "
            "earlier call"
        )
    return folder
