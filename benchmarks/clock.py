"""How long each arm of a comparison takes to its accuracy, and which of them reach a given one.

    python -m benchmarks.clock FILE ... [--target 68.83] [--measure linear/student] [--clock seconds]

FILE is a result file of `resmom compare` or of the harness, or the folder of a comparison. An accuracy is that of the
last epoch, so an arm reaches the target in the time of its whole run or not at all. Times are those of training,
without start-up and measurements; --clock processor_seconds takes the processor's, which a busy machine changes less.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.ended import ended
from resmom.diagnose.paired import spread
from resmom.errors import UserError
from resmom.report.numbers import small
from resmom.runs.comparisons.columns import told
from resmom.runs.comparisons.results import Line, read_results
from resmom.runs.environment import machine_of

CLOCKS = ("seconds", "processor_seconds")
TARGET = 68.83
"""MoCo-v3 on CIFAR-100 as published (solo-learn's table, online linear, one seed)."""


def table(lines: Sequence[Line], measure: str, clock: str, target: float) -> Iterator[str]:
    """Lines of Markdown: every arm on every kind of machine, in the order of the arms.

    An arm reaches the target if the mean over its seeds does. Raises UserError where no run has the measure or was
    timed by the clock.
    """
    known = {name for line in lines for name in line["measures"]}
    if measure not in known:
        raise UserError(f"no run has {measure}; measured were {', '.join(sorted(known)) or 'none'}")
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in sorted(lines, key=lambda line: line["place"]):
        if measure in line["measures"] and line.get(clock):
            groups.setdefault((line["arm"], _where(line)), []).append(line)
    if not groups:
        raise UserError(f"no run was timed by {clock}; take another of {', '.join(CLOCKS)}")
    yield f"| arm | machine | n | {measure}, last epoch | minutes | reaches {target:g} |"
    yield "|---|---|---|---|---|---|"
    for (arm, machine), own in groups.items():
        scores = [line["measures"][measure] for line in own]
        minutes = spread([line[clock] / 60 for line in own])
        found = spread(scores)
        if found.mean < target:
            reached = "no"
        else:
            reached = f"in {minutes.mean:.1f} minutes ({sum(score >= target for score in scores)} of {found.n} seeds)"
        yield f"| {arm} | {machine} | {found.n} | {told(found)} | {told(minutes, 1)} | {reached} |"


def _where(line: Line) -> str:
    """What a run was trained on, and with how many others there: these take of its time."""
    others = line.get("beside", 0)
    return machine_of(line["environment"]) + (f", beside {small(others, 'other run')}" if others else "")


def main(words: Sequence[str]) -> int:
    """Print the table; 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="result files, or folders of comparisons")
    parser.add_argument("--target", type=float, default=TARGET, help="top-1 in percent")
    parser.add_argument("--measure", default="linear/student", help="as the lines have it, such as knn/student")
    parser.add_argument("--clock", choices=CLOCKS, default="seconds")
    a = parser.parse_args(words)
    print("\n".join(table(read_results(a.files), a.measure, a.clock, a.target)))
    return 0


if __name__ == "__main__":
    ended("clock", main)
