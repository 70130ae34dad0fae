"""Statistics over seeds against numbers worked out by hand, and against scipy's own tests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resmom.diagnose.paired import MOST, paired, seeds_needed, spread, together


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


def test_an_interval_around_zero_resolves_nothing_however_narrow() -> None:
    found = paired({0: 0.1, 1: -0.1, 2: 0.05, 3: -0.04}, dict.fromkeys(range(4), 0.0))
    assert found is not None and found.low is not None and found.high is not None
    assert -0.2 < found.low < 0 < found.high < 0.2 and found.resolved is False


def test_one_seed_has_no_interval_and_no_shared_seed_no_difference() -> None:
    found = paired({0: 3.0}, {0: 1.0, 1: 5.0})
    assert found is not None and found.difference.mean == 2.0
    assert (found.low, found.high, found.needed, found.resolved) == (None, None, None, None)
    assert paired({0: 3.0}, {1: 1.0}) is None


def test_equal_arms_are_not_resolved() -> None:
    same = {0: 3.0, 1: 4.0}
    found = paired(same, same)
    assert found is not None and (found.low, found.high, found.resolved, found.needed) == (None, None, None, None)
    assert paired(same, same, step=0.5) == found


def test_differences_that_agree_by_rounding_have_the_spread_of_rounding() -> None:
    """Two seeds on 200 images, in steps of half a point: both differ by 3.5 points, which is no spread of zero."""
    found = paired({0: 73.0, 1: 67.0}, {0: 69.5, 1: 63.5}, step=0.5)
    assert found is not None and found.difference.sd == 0.0
    half = 12.706204736 * 0.5 / math.sqrt(6) / math.sqrt(2)
    assert (found.low, found.high) == (pytest.approx(3.5 - half), pytest.approx(3.5 + half))
    wide = {0: 1.0, 1: 9.0}, {0: 0.0, 1: 0.0}
    assert paired(*wide, step=0.5) == paired(*wide)  # what seeds differ by is more than that


def test_rounding_alone_has_that_spread() -> None:
    random = np.random.default_rng(0)
    exact = random.uniform(0, 100, (2, 100_000))
    rounded = np.round(exact / 0.5) * 0.5 - exact
    assert np.std(rounded[0] - rounded[1]) == pytest.approx(0.5 / math.sqrt(6), rel=0.01)


def test_several_intervals_that_hold_together() -> None:
    """In 2,000 experiments without a true difference, three arms and one base: at least one interval of three is wrong
    in 12 % by itself (not 14: they share the base), in less than 5 % together."""
    random, each, all_ = np.random.default_rng(1), 0, 0
    for _ in range(2000):
        base, *arms = (dict(enumerate(random.normal(size=5))) for _ in range(4))
        found = [[paired(arm, base, confidence) for arm in arms] for confidence in (0.95, together(3))]
        one, joint = (any(pair is not None and pair.resolved for pair in pairs) for pairs in found)
        each, all_ = each + one, all_ + joint
    assert 0.1 < each / 2000 < 0.16 and 0.03 < all_ / 2000 < 0.065  # of so many experiments .05 is ± .005
    assert together(1) == 0.95 and together(0) == 0.95 and together(5) == pytest.approx(0.99)


def test_more_confidence_needs_more_seeds() -> None:
    assert (seeds_needed(1.0, 1.0) or 0) < (seeds_needed(1.0, 1.0, 0.99) or 0)
    pair = {0: 11.0, 1: 22.0, 2: 33.0}, {0: 10.0, 1: 20.0, 2: 30.0}
    found = paired(*pair, confidence=0.99)
    assert found is not None and found.confidence == 0.99
    half = 9.924843 / math.sqrt(3)  # the 0.995 quantile for 2 degrees of freedom, from a printed table
    assert (found.low, found.high) == (pytest.approx(2 - half), pytest.approx(2 + half))
    # n = 6: (4.032143 + 0.919544)^2 / 4 = 6.13 > 6; n = 7: (3.707428 + 0.905703)^2 / 4 = 5.32 <= 7
    assert found.needed == 7


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
