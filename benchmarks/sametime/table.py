"""The cells of benchmarks.sametime as a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.sametime.arm import ARMS
from resmom.diagnose.paired import spread
from resmom.runs.comparisons.columns import told

Cell = Mapping[str, Any]


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """Lines of Markdown: a row per arm, mean ± sd over its seeds, at the size of the images at which kNN finds most."""
    yield "| | n | steps | processor, s | images of | kNN, % | linear probe, % |"
    yield "|---|---|---|---|---|---|---|"
    for name in ARMS:
        own = [line for line in cells if line["arm"] == name]
        if not own:
            continue
        side = max(own[0]["top1"], key=lambda side: sum(line["top1"][side]["knn"] for line in own))
        steps, seconds = ([line[key] for line in own] for key in ("steps", "cpu_seconds"))
        knn, linear = ([line["top1"][side][kind] for line in own] for kind in ("knn", "linear"))
        row = [
            name,
            str(len(own)),
            _range(steps),
            _range(seconds),
            side,
            *(told(spread(found)) for found in (knn, linear)),
        ]
        yield f"| {' | '.join(row)} |"


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:,.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def sizes(cells: Sequence[Cell]) -> Iterator[str]:
    """Lines of Markdown: each arm at every size of the images, mean ± sd over its seeds."""
    yield "| | images of | n | kNN, % | linear probe, % |"
    yield "|---|---|---|---|---|"
    for name in ARMS:
        own = [line["top1"] for line in cells if line["arm"] == name]
        for side in own[0] if own else ():
            knn, linear = (told(spread([top1[side][kind] for top1 in own])) for kind in ("knn", "linear"))
            yield f"| {name} | {side} | {len(own)} | {knn} | {linear} |"
