"""Lines of metrics to points to draw: smoothed, thinned, without what is not finite."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resmom.report.contents import Line

POINTS = 1000
"""Most points of a drawn line."""

DENSE = 60
"""Series of at least so many points are smoothed."""

SMOOTH = 50
"""A smoothed point is the mean over one part in so many of the series."""


@dataclass(frozen=True)
class Series:
    """Values over epochs, at the steps they were measured; NaN where a value was not finite."""

    epochs: tuple[float, ...]
    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def broken(self) -> int:
        """How many values are not finite."""
        return sum(not math.isfinite(value) for value in self.values)

    def picked(self, index: Sequence[int]) -> "Series":
        """Some of the points, in the order of `index`."""
        return Series(
            tuple(self.epochs[i] for i in index),
            tuple(self.steps[i] for i in index),
            tuple(self.values[i] for i in index),
        )


def series(lines: Sequence[Line], kind: str, name: str) -> Series:
    """One value of all lines of a kind that have it."""
    own = [line for line in lines if line["kind"] == kind and isinstance(line.get(name), int | float)]
    values = (float(line[name]) for line in own)
    return Series(
        tuple(float(line["epoch"]) for line in own),
        tuple(int(line["step"]) for line in own),
        tuple(value if math.isfinite(value) else math.nan for value in values),
    )


def smoothed(raw: Series) -> Series:
    """The mean of the finite values around each point, over 1/`SMOOTH` of the series, less of it at both ends. A value
    that is not finite stays a hole."""
    half = max(1, len(raw) // (2 * SMOOTH))
    sums, counts = [0.0], [0]
    for value in raw.values:
        finite = math.isfinite(value)
        sums.append(sums[-1] + (value if finite else 0.0))
        counts.append(counts[-1] + finite)
    values = []
    for i, value in enumerate(raw.values):
        low, high = max(0, i - half), min(len(raw), i + half + 1)
        known = counts[high] - counts[low]
        values.append((sums[high] - sums[low]) / known if known and math.isfinite(value) else math.nan)
    return Series(raw.epochs, raw.steps, tuple(values))


def thinned(whole: Series, most: int = POINTS) -> Series:
    """At most `most` points, evenly spread, the first and the last among them."""
    if len(whole) <= most:
        return whole
    return whole.picked([round(i * (len(whole) - 1) / (most - 1)) for i in range(most)])


def extremes(whole: Series, most: int = POINTS) -> Series:
    """At most `most` points, the lowest and the highest of each stretch, so that no peak is lost."""
    if len(whole) <= most:
        return whole
    parts = most // 2
    index: list[int] = []
    for part in range(parts):
        stretch = range(part * len(whole) // parts, (part + 1) * len(whole) // parts)
        finite = [i for i in stretch if math.isfinite(whole.values[i])] or [stretch[0]]
        index += sorted({min(finite, key=whole.values.__getitem__), max(finite, key=whole.values.__getitem__)})
    return whole.picked(index)
