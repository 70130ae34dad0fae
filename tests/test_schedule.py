"""Schedules at points known by hand."""

import itertools
import math

import pytest

from resmom.schedule import due, every, half_cosine, on_time, times, warmup_cosine, warmup_drops


def test_warmup_then_cosine() -> None:
    assert warmup_cosine(0, 100, 10, 1.0) == 0.0
    assert warmup_cosine(5, 100, 10, 1.0) == pytest.approx(0.5)
    assert warmup_cosine(10, 100, 10, 1.0) == pytest.approx(1.0)
    assert warmup_cosine(55, 100, 10, 1.0) == pytest.approx(0.5)
    assert warmup_cosine(100, 100, 10, 1.0) == pytest.approx(0.0)
    assert warmup_cosine(0, 100, 10, 1.0, start=0.2) == pytest.approx(0.2)
    assert warmup_cosine(0, 100, 0, 1.0) == pytest.approx(1.0)
    assert warmup_cosine(10, 10, 10, 1.0) == pytest.approx(1.0)  # all of it is warm-up
    rates = [warmup_cosine(step, 100, 10, 1.0, start=0.2, end=0.4) for step in (0, 5, 10, 55, 100)]
    assert rates == pytest.approx([0.2, 0.6, 1.0, 0.7, 0.4])


def test_warmup_then_drops() -> None:
    rates = [warmup_drops(step, 100, 10, 1.0, (0.5, 0.75), 0.2, start=0.1) for step in (0, 5, 10, 49, 50, 74, 75, 100)]
    assert rates == pytest.approx([0.1, 0.55, 1.0, 1.0, 0.2, 0.2, 0.04, 0.04])
    assert warmup_drops(6, 100, 10, 1.0, (0.05,), 0.2) == pytest.approx(0.6)  # none during the warm-up
    assert warmup_drops(10, 100, 10, 1.0, (0.05,), 0.2) == pytest.approx(0.2)
    for share, steps, first in ((0.29, 100, 29), (0.25, 9, 2), (0.3, 9, 3)):  # 28.999..., 2.25 and 2.7
        rates = [warmup_drops(step, steps, 0, 1.0, (share,), 0.5) for step in (first - 1, first)]
        assert rates == [1.0, 0.5]


def test_momentum_rises_to_its_end() -> None:
    assert half_cosine(0, 10, 0.99, 1.0) == pytest.approx(0.99)
    assert half_cosine(5, 10, 0.99, 1.0) == pytest.approx(0.995)
    assert half_cosine(10, 10, 0.99, 1.0) == pytest.approx(1.0)
    assert half_cosine(3, 10, 0.99, 1.0) == pytest.approx(1 - 0.5 * (1 + math.cos(0.3 * math.pi)) * 0.01)


def test_an_interval_in_epochs_is_whole_steps() -> None:
    assert [every(epochs, 10) for epochs in (0, 0.01, 0.14, 0.16, 1, 2.5)] == [0, 1, 1, 2, 10, 25]
    assert every(0.29, 100) == 29  # 28.999...


def test_due() -> None:
    assert [step for step in range(10) if due(step, 3)] == [3, 6, 9]
    assert not any(due(step, 0) for step in range(10))


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (12, 4, [4, 8, 12]),
        (13, 4, [4, 8, 13]),  # 12 would crowd the end
        (14, 4, [4, 8, 12, 14]),
        (15, 4, [4, 8, 12, 15]),
        (3, 4, [3]),
        (5, 4, [5]),
        (6, 4, [4, 6]),
        (4, 4, [4]),
        (3, 1, [1, 2, 3]),
        (7, 0, [7]),
    ],
)
def test_on_time_and_at_the_end_without_crowding(steps: int, every: int, expected: list[int]) -> None:
    assert [step for step in range(1, steps + 1) if on_time(step, steps, every)] == expected
    assert times(steps, every) == len(expected)


def test_times_counts_what_is_on_time() -> None:
    for steps in range(1, 60):
        for interval in range(61):
            found = [0, *(step for step in range(1, steps + 1) if on_time(step, steps, interval))]
            assert times(steps, interval) == len(found) - 1
            assert all(later - earlier in (interval, steps - earlier) for earlier, later in itertools.pairwise(found))
            assert interval == 0 or 2 * (found[-1] - found[-2]) >= min(interval, 2 * steps)
