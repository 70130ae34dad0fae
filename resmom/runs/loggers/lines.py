"""Lines of metrics.jsonl as other tools want them: names of numbers, and a time for each line. No torch."""

from collections.abc import Mapping
from typing import Any

Line = Mapping[str, Any]

PLACE = ("kind", "step", "epoch")
"""Of a line: what tells where in the run it is."""


def numbers(line: Line) -> dict[str, float]:
    """The numbers of a line by its kind and their own name, as in "train/loss"; words are left out."""
    kind = line["kind"]
    return {
        f"{kind}/{name}": float(value)
        for name, value in line.items()
        if name not in PLACE and isinstance(value, int | float)
    }


class Trained:
    """Seconds of training up to a line, over all starts of the process, each of which counts from 0."""

    def __init__(self) -> None:
        self._before = self._now = 0.0

    def at(self, line: Line) -> float:
        """Ask for every line, in the order of the file. A line without a clock has the time of the one before it."""
        now = line.get("elapsed_seconds")
        if now is not None:
            if now < self._now:
                self._before += self._now
            self._now = now
        return self._before + self._now
