"""Mean and spread over seeds, and the difference of two arms seed by seed. Pure numbers, no torch.

Runs with the same seed share the order of the images, the views and the first weights, so their differences vary less
than the runs do; the interval is that of a paired Student t test.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
POWER = 0.80
MOST = 10_000
"""More seeds than this are not counted: nobody will run them."""


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (None for one value) of n values."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """Differences by seed and their interval (None where there is none, see `paired`). `needed`: see `seeds_needed`."""

    difference: Spread
    low: float | None
    high: float | None
    needed: int | None
    confidence: float = CONFIDENCE
    """How often such an interval holds the true difference: the 95 % of one by itself, more of one among several."""

    @property
    def resolved(self) -> bool | None:
        """Whether the interval leaves 0 out; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation. Raises ValueError for no values."""
    if not values:
        raise ValueError("a mean needs at least one value")
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def together(intervals: int) -> float:
    """The confidence of each of so many intervals with which 95 % of all experiments have no false one among them.

    1 - 0.05 / m by Bonferroni's inequality, whatever the m differences have in common, as the arm that all are from.
    """
    return 1 - (1 - CONFIDENCE) / max(1, intervals)


def paired(
    values: Mapping[int, float], base: Mapping[int, float], confidence: float = CONFIDENCE, step: float = 0.0
) -> Paired | None:
    """`values` minus `base` over the seeds that both have; None if they share none.

    The interval is d ± t sd / sqrt(n): d and sd are mean and sample standard deviation of the n differences, t is the
    (1 + confidence) / 2 quantile of Student's t with n - 1 degrees of freedom, 0.975 for 95 %. With one seed there is
    none, nor where nothing differs. `step`: what a value can change by at least, 100 / m for a percentage of m images.
    An sd below what rounding to such steps makes of two exact values, step / sqrt(6), is a coincidence of few seeds,
    and that one is taken.
    """
    shared = sorted(values.keys() & base.keys())
    if not shared:
        return None
    found = spread([values[seed] - base[seed] for seed in shared])
    sd = None if found.sd is None else max(found.sd, step / math.sqrt(6))
    # Nothing differs, or everything by the same up to the rounding of float64.
    if sd is None or sd <= 1e-9 * abs(found.mean) or (found.mean == 0 and found.sd == 0):
        return Paired(found, None, None, None, confidence)
    half = _t((1 + confidence) / 2, found.n - 1) * sd / math.sqrt(found.n)
    needed = seeds_needed(found.mean, sd, confidence)
    return Paired(found, found.mean - half, found.mean + half, needed, confidence)


def seeds_needed(difference: float, sd: float, confidence: float = CONFIDENCE) -> int | None:
    """Seeds with which a true difference of this size and spread would be resolved in four of five experiments.

    The smallest n with n >= ((t(0.975, n - 1) + t(0.80, n - 1)) sd / difference)^2, where t(q, k) is the q quantile of
    Student's t with k degrees of freedom: 95 % intervals (of another `confidence` its quantile), 80 % power. At least
    2; None beyond `MOST`, and for no difference. It takes the difference that was observed for the true one, so it is a
    guide and no more.
    """
    if difference == 0:
        return None
    ratio = sd / abs(difference)
    # From the normal quantiles, whose answer is never too large, upwards.
    normal = statistics.NormalDist()
    least = ((normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(POWER)) * ratio) ** 2
    if least > MOST:
        return None
    n = max(2, math.floor(least))
    while n < ((_t((1 + confidence) / 2, n - 1) + _t(POWER, n - 1)) * ratio) ** 2:
        n += 1
    return n


def _t(quantile: float, freedom: int) -> float:
    from scipy.special import stdtrit  # a third of a second to import, and only intervals need it

    return float(stdtrit(freedom, quantile))
