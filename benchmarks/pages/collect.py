"""The finished cells of a comparison as a result file to keep: their lines, and the course of each run, thinned."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resmom.jsonfiles import append_line, read_lines
from resmom.rundir import RunDir
from resmom.runs.comparisons.results import RESULTS, newest
from resmom.runs.environment import shareable

POINTS = 12
"""Points that are kept of a run's training."""
LEFT_OUT = (
    "kind",
    "step",
    "skipped",
    "lr",
    "elapsed_seconds",
    "processor_seconds",
    "waited_seconds",
    "images_per_second",
)
LAST = 0.25
"""The last part of a run, over which its training's numbers are averaged."""


def collect(out: Path, file: Path) -> int:
    """Write the cells of the folder `out` to `file`, in the order of the grid; how many there were.

    Of the commands' paths only the last parts are kept.
    """
    lines = sorted(newest(read_lines(out / RESULTS)).values(), key=lambda line: (line["place"], line["seed"]))
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    for line in lines:
        metrics = read_lines(RunDir(out / line["arm"] / f"seed-{line['seed']}").metrics)
        line = {**line, "environment": shareable(line["environment"])}
        append_line(part, line if "curves" in line else {**line, **course(metrics)})
    part.replace(file)
    return len(lines)


def course(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    """`curves`: training in a few points, kNN whole. `training`: means of the training's numbers over its last part."""
    training = [line for line in metrics if line["kind"] == "train"]
    if not training:
        return {"curves": {"train": [], "knn": []}, "training": {}}
    every = max(1, len(training) // POINTS)
    end = training[int(len(training) * (1 - LAST)) :]
    means = {}
    for name, _ in _values(training[-1]):
        values = [line[name] for line in end if math.isfinite(line.get(name, math.nan))]
        if values:
            means[name] = _short(math.fsum(values) / len(values))
    knn = [{name: line[name] for name in ("epoch", "student", "teacher")} for line in metrics if line["kind"] == "knn"]
    thinned = training[every - 1 :: every]
    return {"curves": {"train": [dict(_values(line)) for line in thinned], "knn": knn}, "training": means}


def _values(line: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if name not in LEFT_OUT and not name.startswith("seconds/"):
            yield name, _short(value)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
