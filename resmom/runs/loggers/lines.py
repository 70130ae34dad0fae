"""Lines of metrics.jsonl as other tools want them: names of numbers. No torch."""

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
