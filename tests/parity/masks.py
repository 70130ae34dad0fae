"""What is kept of many masks of 14 x 14 patches: enough to tell whether others are distributed as they are."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

GRID = (14, 14)


def statistics(drawn: NDArray[np.bool_]) -> dict[str, Any]:
    """Of masks (N, rows, columns): how many hide something, how much these hide, where, and their blocks' edges."""
    part = drawn.mean((1, 2))
    some = drawn[part > 0]
    return {
        "share": float((part > 0).mean()),
        "part": float(part[part > 0].mean()),
        "deciles": np.quantile(part[part > 0], np.arange(1, 10) / 10).tolist(),
        "rows": some.mean((0, 2)).tolist(),
        "columns": some.mean((0, 1)).tolist(),
        "edges": float((some[:, 1:] != some[:, :-1]).sum((1, 2)).mean()),
    }


def assert_alike(drawn: NDArray[np.bool_], theirs: dict[str, Any]) -> None:
    """Bounds are five standard errors of N masks, which rows and columns of one mask make wider than alone."""
    n, ours = len(drawn), statistics(drawn)
    assert ours["share"] == pytest.approx(theirs["share"], abs=5 * (0.5 / n) ** 0.5)
    assert ours["part"] == pytest.approx(theirs["part"], abs=5 * 0.12 * (4 / n) ** 0.5)
    assert ours["deciles"] == pytest.approx(theirs["deciles"], abs=0.011)  # two patches of 196
    assert ours["rows"] == pytest.approx(theirs["rows"], abs=0.02)
    assert ours["columns"] == pytest.approx(theirs["columns"], abs=0.02)
    assert ours["edges"] == pytest.approx(theirs["edges"], rel=0.02)
