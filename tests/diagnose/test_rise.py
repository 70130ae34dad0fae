"""The rule by which a run, or an arm of several, counts as having learned."""

from resmom.diagnose.rise import least_rise, risen


def test_the_rule_of_learning() -> None:
    # One seed, m = 1000, p = .10, q = .15: sqrt((.09 + .1275) / 1000) = 1.475 points, three of them 4.42
    assert risen([10.0], [15.0], 1000).clear and not risen([10.0], [14.0], 1000).clear
    assert not risen([10.0], [15.0], 100).clear
    # Rises of 20, 20 and 0: mean 13.3, sd 11.5: one seed that learned nothing spoils the arm.
    assert not risen([10.0] * 3, [30.0, 30.0, 10.0], 10_000).clear
    assert risen([10.0] * 3, [30.0, 31.0, 29.0], 10_000).clear
    assert not risen([50.0] * 3, [30.0, 31.0, 29.0], 10_000).clear


def test_the_least_rise_is_where_the_rule_begins_to_hold() -> None:
    for before, queries in ((1.0, 10_000), (10.0, 40), (50.0, 100)):
        least = least_rise(before, queries)
        assert least is not None
        assert risen([before], [before + least], queries).clear
        assert not risen([before], [before + least - 0.1], queries).clear
    assert least_rise(50.0, 6) is None
