"""The cells of benchmarks.sametime as a table."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.sametime.arm import ARMS
from resmom.diagnose.paired import spread

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
        told = [name, str(len(own)), _range(steps), _range(seconds), side, _spread(knn), _spread(linear)]
        yield f"| {' | '.join(told)} |"


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:,.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _spread(values: Sequence[float]) -> str:
    found = spread(values)
    return f"{found.mean:.2f}" + ("" if found.sd is None else f" ± {found.sd:.2f}")
