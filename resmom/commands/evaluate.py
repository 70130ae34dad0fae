"""resmom evaluate RUN [--data DATA]"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from resmom.commands import parse, print_json
from resmom.evaluate.linear import Linear
from resmom.rundir import find_run
from resmom.runs.evaluate import PROTOCOLS, Protocol, evaluate

ABOUT = "kNN, linear probe and online classifier of a run's student and teacher, each with its protocol."


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder, or one checkpoint of it."""
    data: str | None = None
    """Labelled images: a folder, an .npz file or a name; the run's own data by default."""
    network: Literal["student", "teacher", "both"] = "both"
    protocols: tuple[Protocol, ...] = PROTOCOLS
    linear: Linear = field(default_factory=Linear)
    baselines: bool = False
    """Add kNN of raw pixels, of normalised pixels, and of the untrained network."""
    device: str = "auto"
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Measure, and print a line per result."""
    a = parse(Arguments, arguments, "resmom evaluate", ABOUT)
    rows = evaluate(a.run, a.data, a.network, a.protocols, a.linear, a.baselines, a.device)
    if a.json:
        print_json([row.plain() for row in rows])
        return 0
    for row in rows:
        top5 = "" if row.score.top5 is None else f"  top-5 {row.score.top5:5.2f}"
        print(f"{row.network:<17}  top-1 {row.score.top1:5.2f}{top5}  {row.score.protocol}")
    print(f"step {rows[0].step if rows else 0}; also in {find_run(a.run)[0].evaluations}")
    return 0
