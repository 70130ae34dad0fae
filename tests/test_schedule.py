"""Schedules at points known by hand."""

import itertools
import math

import pytest

from resmom.schedule import due, half_cosine, on_time, times, warmup_cosine, warmup_drops


def test_warmup_then_cosine() -> None:
    assert warmup_cosine(0, 100, 10, 1.0) == 0.0
    assert warmup_cosine(5, 100, 10, 1.0) == pytest.approx(0.5)
    assert warmup_cosine(10, 100, 10, 1.0) == pytest.approx(1.0)
    assert warmup_cosine(55, 100, 10, 1.0) == pytest.approx(0.5)
    assert warmup_cosine(100, 100, 10, 1.0) == pytest.approx(0.0)
    assert warmup_cosine(0, 100, 10, 1.0, start=0.2) == pytest.approx(0.2)
    assert warmup_cosine(0, 100, 0, 1.0) == pytest.approx(1.0)


def test_warmup_then_drops() -> None:
    rates = [warmup_drops(step, 100, 10, 1.0, (0.5, 0.75), 0.2, start=0.1) for step in (0, 5, 10, 49, 50, 74, 75, 100)]
    assert rates == pytest.approx([0.1, 0.55, 1.0, 1.0, 0.2, 0.2, 0.04, 0.04])
    assert warmup_drops(6, 100, 10, 1.0, (0.05,), 0.2) == pytest.approx(0.6)  # none during the warm-up
    assert warmup_drops(10, 100, 10, 1.0, (0.05,), 0.2) == pytest.approx(0.2)


def test_momentum_rises_to_its_end() -> None:
    assert half_cosine(0, 10, 0.99, 1.0) == pytest.approx(0.99)
    assert half_cosine(5, 10, 0.99, 1.0) == pytest.approx(0.995)
    assert half_cosine(10, 10, 0.99, 1.0) == pytest.approx(1.0)
    assert half_cosine(3, 10, 0.99, 1.0) == pytest.approx(1 - 0.5 * (1 + math.cos(0.3 * math.pi)) * 0.01)


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
        for every in range(61):
            found = [0, *(step for step in range(1, steps + 1) if on_time(step, steps, every))]
            assert times(steps, every) == len(found) - 1
            assert all(later - earlier in (every, steps - earlier) for earlier, later in itertools.pairwise(found))
            assert every == 0 or 2 * (found[-1] - found[-2]) >= min(every, 2 * steps)
