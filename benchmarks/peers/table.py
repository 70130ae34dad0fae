"""Ratios of rounds, printed as a table and written as JSON."""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.peers.case import Case
from benchmarks.peers.driver import Result


@dataclass(frozen=True)
class Ratio:
    """Minimum, median and maximum over rounds."""

    min: float
    median: float
    max: float

    @staticmethod
    def of(values: Sequence[float]) -> "Ratio":
        return Ratio(min(values), statistics.median(values), max(values))


def speed_ratios(result: Result, ours: str) -> dict[str, Ratio]:
    """Speed of `ours` over that of each other contender that did all rounds: their seconds over ours, by round."""
    own = result.answers.get(ours, [])
    found = {}
    for name, answers in result.answers.items():
        if name not in (ours, *result.died) and own and ours not in result.died:
            pairs = zip(own, answers, strict=True)
            found[name] = Ratio.of([theirs["seconds"] / mine["seconds"] for mine, theirs in pairs])
    return found


def memory_ratios(result: Result, ours: str) -> dict[str, Ratio]:
    """Peak memory of `ours` over that of each other contender."""
    peaks = {name: _peak(answers) for name, answers in result.answers.items() if answers}
    return {name: Ratio.of([peaks[ours] / peak]) for name, peak in peaks.items() if ours in peaks and name != ours}


def _peak(answers: Sequence[Mapping[str, Any]]) -> float:
    """MiB that a contender had at most by the end of its last round."""
    return float(answers[-1]["peak_mib"])


def row(
    title: str, case: Case, result: Result, ratios: Mapping[str, Ratio], unit: Literal["s", "MiB"]
) -> dict[str, Any]:
    """One comparison, printed, and as it is written. With `unit` MiB it is about memory, else the seconds are of a step
    where a round has several."""
    print(f"\n{title}: ours over")
    print(f"{'':<28}{'min':>8}{'median':>8}{'max':>8}{unit:>10}")
    for name, answers in result.answers.items():
        if answers:
            seconds = statistics.median(each["seconds"] for each in answers) / case.steps
            value = _peak(answers) if unit == "MiB" else seconds
            ratio = "".join(f"{each:>8.2f}" for each in asdict(ratios[name]).values()) if name in ratios else " " * 24
            print(f"{name:<28}{ratio}{value:>10.4g}")
    for kind, reasons in (("missing", result.missing), ("failed", result.died)):
        for name, reason in reasons.items():
            print(f"{name:<28}{kind}: {reason}")
    sys.stdout.flush()
    return {
        "title": title,
        "case": {**asdict(case), "source": None, "data": None},
        "ratios": {name: asdict(ratio) for name, ratio in ratios.items()},
        "rounds": result.answers,
        "about": result.about,
        "missing": result.missing,
        "failed": result.died,
    }
