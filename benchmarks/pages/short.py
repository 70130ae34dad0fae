"""The table of the README: what the term and its best control bring, a row for each setting that was run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages.tables import lines_of
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.columns import told, verdict

KIND = "knn/student"


@dataclass(frozen=True)
class Row:
    """An arm beside another one of a result file: on which images, for how many epochs, and what it adds."""

    images: str
    epochs: int
    what: str
    file: str
    arm: str
    beside: str = "plain"
    more: str = ""
    """A file whose runs count beside, or instead of, those of `file`."""


def short(docs: Path, rows: Sequence[Row], first: str = "images") -> str:
    """kNN of the student: of the arm that it is beside, and the difference over the same seeds with its interval.

    `first`: what the `images` of the rows are.
    """
    told_rows = []
    for row in rows:
        names = [row.beside, row.arm]
        found = comparison([line for file in (row.file, row.more) if file for line in lines_of(docs, file, names)])
        without, with_it = found.arms
        said = verdict(with_it, KIND, 2).partition(";")[0]
        told_rows.append(f"| {row.images} | {row.epochs} | {row.what} | {told(without.measures.get(KIND))} | {said} |")
    head = (
        f"| {first} | epochs | added to MoCo-v3 | MoCo-v3 alone, % | difference, same seeds |\n|---|---|---|---|---|\n"
    )
    return head + "\n".join(told_rows)
