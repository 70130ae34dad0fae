"""Statistics over seeds against numbers worked out by hand, and against scipy's own tests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resmom.diagnose.paired import MOST, paired, seeds_needed, spread


def test_mean_and_sample_deviation() -> None:
    found = spread([50.0, 53.0, 56.0])
    assert (found.mean, found.sd, found.n) == (53.0, 3.0, 3)  # sqrt((9 + 0 + 9) / 2)
    assert spread([7.0]).sd is None
    with pytest.raises(ValueError, match="at least one value"):
        spread([])


def test_a_paired_difference_by_hand() -> None:
    found = paired({0: 11.0, 1: 22.0, 2: 33.0, 9: 1.0}, {0: 10.0, 1: 20.0, 2: 30.0, 8: 5.0})
    assert found is not None and (found.difference.mean, found.difference.sd, found.difference.n) == (2.0, 1.0, 3)
    half = 4.302652729911275 / math.sqrt(3)  # the 0.975 quantile for 2 degrees of freedom, from a printed table
    assert (found.low, found.high) == (pytest.approx(2 - half), pytest.approx(2 + half))
    assert found.resolved is False  # 2 - 2.484 is below 0
    # n = 4: (3.182446 + 0.978472)^2 / 4 = 4.33 > 4; n = 5: (2.776445 + 0.940965)^2 / 4 = 3.45 <= 5
    assert found.needed == 5


def test_the_sign_does_not_matter_to_resolved() -> None:
    above = paired({0: 1.0, 1: 1.1, 2: 0.9}, dict.fromkeys(range(3), 0.0))
    below = paired({0: -1.0, 1: -1.1, 2: -0.9}, dict.fromkeys(range(3), 0.0))
    assert above is not None and below is not None
    assert above.resolved is True and below.resolved is True and below.high == pytest.approx(-above.low)
    assert above.needed == below.needed == 2  # n = 2: (12.706 + 1.376)^2 x .01 = 1.98


def test_one_seed_has_no_interval_and_no_shared_seed_no_difference() -> None:
    found = paired({0: 3.0}, {0: 1.0, 1: 5.0})
    assert found is not None and found.difference.mean == 2.0
    assert (found.low, found.high, found.needed, found.resolved) == (None, None, None, None)
    assert paired({0: 3.0}, {1: 1.0}) is None


def test_equal_arms_are_not_resolved() -> None:
    same = {0: 3.0, 1: 4.0}
    found = paired(same, same)
    assert found is not None and (found.low, found.high, found.resolved, found.needed) == (0.0, 0.0, False, None)


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=12))
def test_the_interval_is_scipys(pairs: list[tuple[float, float]]) -> None:
    a, b = ([pair[side] for pair in pairs] for side in (0, 1))
    found = paired(dict(enumerate(a)), dict(enumerate(b)))
    assert found is not None
    if np.std(np.subtract(a, b)) < 1e-6:
        return
    theirs = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 2.0, 4.0])
def test_the_seeds_needed_have_the_power(ratio: float) -> None:
    """Against the exact power, from the non-central t distribution."""
    n = seeds_needed(1.0, ratio)
    assert n is not None

    def power(n: int) -> float:
        with np.errstate(divide="ignore"):  # on its way to a power of 1, in older versions
            return float(stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, math.sqrt(n) / ratio))

    exact = next(m for m in range(2, 1000) if power(m) >= 0.8)
    assert abs(n - exact) <= 1


def test_hopeless_differences_have_no_number() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-9, 1.0) is None
    assert seeds_needed(1.0, 0.0) == 2
    most = seeds_needed(0.03, 1.0)
    assert most is not None and most <= MOST
