"""Whether training has taught something: how far accuracy has risen above that of the untrained network."""

from collections.abc import Sequence
from dataclasses import dataclass

from resmom.diagnose.noise import standard_error
from resmom.diagnose.paired import spread

LEARNED = 3.0
"""Standard deviations by which kNN must have risen above the start's."""


@dataclass(frozen=True)
class Rise:
    """The mean rise of kNN in points, and what it must exceed for an arm to have learned."""

    mean: float
    least: float

    @property
    def clear(self) -> bool:
        return self.mean > self.least


def risen(before: Sequence[float], after: Sequence[float], queries: int) -> Rise:
    """How far kNN top-1 in percent, a pair of numbers per seed, has risen above that of the untrained network.

    The mean rise must exceed three times s, the larger of two deviations: that of the rises over the seeds, so that one
    seed that learned nothing spoils the arm; and the binomial one of a single rise, sqrt((p(1 - p) + q(1 - q)) / m) on
    m test images with accuracies p and q, which holds for one seed too.
    """
    rises = spread([b - a for a, b in zip(before, after, strict=True)])
    chance = standard_error((spread(before).mean, spread(after).mean), queries)
    return Rise(rises.mean, LEARNED * max(rises.sd or 0.0, chance))


def least_rise(before: float, queries: int) -> float | None:
    """The least rise of kNN above `before`, in points of a hundred, by which an arm can count on so many test images.

    By the binomial deviation of `risen` alone; None where not even every image right would be enough.
    """
    rises = (points / 10 for points in range(1, int(10 * (100 - before)) + 1))
    return next((r for r in rises if r > LEARNED * standard_error((before, before + r), queries)), None)
