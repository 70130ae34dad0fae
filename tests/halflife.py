"""The half-life of a momentum, by which the derived settings are checked."""

import math


def half_life(momentum: float) -> float:
    """Steps after which the teacher has forgotten half of what it was: ln 1/2 / ln momentum."""
    return math.inf if momentum >= 1 else math.log(0.5) / math.log(momentum)
