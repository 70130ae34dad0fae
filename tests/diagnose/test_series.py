"""What of the lines is recent, first and newest."""

import math

from resmom.diagnose.series import read, recent_count


def test_a_tenth_of_the_lines_is_recent_but_5_at_least_and_50_at_most() -> None:
    assert [recent_count(n) for n in (3, 59, 60, 300, 509, 10_000)] == [5, 5, 6, 30, 50, 50]


def test_recent_is_the_median_of_five_numbers_or_more() -> None:
    lines = [{"kind": "train", "step": n, "loss": loss} for n, loss in enumerate((9, 9, 3, 1, 2, 5, 4), 1)]
    assert read(lines, 10).recent("loss") == 3 and read(lines[:4], 10).recent("loss") is None
    lines[4]["loss"] = math.nan
    assert read(lines, 10).recent("loss") is None  # four of the last five


def test_the_start_is_no_measurement_of_a_trained_network() -> None:
    start, later = ({"kind": "health", "step": step} for step in (0, 1))
    both, before, after = (read(lines, 10) for lines in ([start, later], [start], [later]))
    assert (both.start, both.newest, both.step) == (start, later, 1)
    assert (before.start, before.newest, before.step) == (start, {}, 0)
    assert (after.start, after.newest) == ({}, later)
    assert read([{"kind": "train"}, {"step": 3}, {"kind": "train", "step": math.nan}], 10).train == []


def test_the_first_line_is_that_of_the_first_step_only() -> None:
    assert read([{"kind": "train", "step": 1, "loss": 7}], 10).first("loss") == 7
    assert read([{"kind": "train", "step": 2, "loss": 7}], 10).first("loss") is None
