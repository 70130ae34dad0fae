"""Smoothing, thinning and holes, by numbers worked out by hand."""

import math

import pytest

from resmom.report.charts import drawn
from resmom.report.curves import POINTS, Series, extremes, series, smoothed, thinned
from tests.report import sample


def made(values: list[float]) -> Series:
    n = range(len(values))
    return Series(tuple(float(i) for i in n), tuple(n), tuple(values))


def test_a_series_has_the_lines_of_its_kind_and_holes_for_what_is_not_finite() -> None:
    lines = [
        sample.train_line(1, loss=2.0),
        sample.train_line(2, loss=math.inf),
        sample.knn_line(2, 1.0, 1.0),
        {"kind": "train", "step": 3, "epoch": 0.3},
        sample.train_line(4, loss=math.nan),
        sample.train_line(5, loss=1.0),
    ]
    found = series(lines, "train", "loss")
    assert found.steps == (1, 2, 4, 5) and found.epochs == (0.1, 0.2, 0.4, 0.5)
    assert found.values[0] == 2.0 and found.values[3] == 1.0
    assert math.isnan(found.values[1]) and math.isnan(found.values[2]) and found.broken == 2


def test_smoothing_is_the_mean_of_the_finite_neighbours() -> None:
    found = smoothed(made([0.0, 3.0, 6.0, math.nan, 12.0]))  # so short a series: one neighbour on each side
    assert found.values[:3] == pytest.approx((1.5, 3.0, 4.5))
    assert math.isnan(found.values[3]) and found.values[4] == 12.0
    long = smoothed(made([float(i % 2) for i in range(1000)]))  # ten on each side
    assert long.values[500] == pytest.approx(10 / 21, abs=0.05)
    assert max(long.values) - min(long.values) < 0.2


def test_thinning_keeps_the_ends_and_the_order() -> None:
    whole = made([float(i) for i in range(12_345)])
    found = thinned(whole)
    assert len(found) == POINTS and found.values[0] == 0.0 and found.values[-1] == 12_344.0
    assert list(found.steps) == sorted(set(found.steps))
    assert thinned(made([1.0, 2.0])) == made([1.0, 2.0])


def test_thinning_what_was_measured_loses_no_peak() -> None:
    values = [0.0] * 50_000
    values[31_234], values[777] = 9.0, -9.0
    values[40_000] = math.nan
    found = extremes(made(values))
    assert len(found) <= POINTS and 9.0 in found.values and -9.0 in found.values
    assert list(found.steps) == sorted(set(found.steps))
    all_broken = extremes(made([math.nan] * 5000))
    assert 0 < len(all_broken) <= POINTS


def test_charts_are_those_that_have_points() -> None:
    sections = drawn([sample.run()])
    titles = [chart.chart.title for _, charts in sections for chart in charts]
    assert "kNN" in titles and "RankMe" in titles and "Gap at h" in titles
    assert "Residual term" not in titles and "Gap at z" not in titles and "Online classifier" not in titles
    assert [chart.number for _, charts in sections for chart in charts] == list(range(len(titles)))
    assert drawn([sample.run(lines=[])]) == []
    assert drawn([sample.run(lines=[sample.train_line(1)])]) == []


def test_dense_lines_are_smoothed_with_the_measured_ones_faint_behind() -> None:
    charts = {chart.chart.title: chart for _, charts in drawn([sample.run()]) for chart in charts}
    loss = charts["Loss of the method"].traces
    assert [(trace["faint"], trace["stroke"], len(trace["y"])) for trace in loss] == [
        (True, "solid", 100), (False, "solid", 100), (False, "dot", 2),
    ]  # fmt: skip
    assert loss[2]["y"] == [3.3, 3.3]
    knn = charts["kNN"].traces
    assert [(trace["stroke"], trace["y"], trace["step"]) for trace in knn] == [
        ("solid", [10.0, 50.0], [0, 100]), ("dash", [10.0, 52.0], [0, 100]),
    ]  # fmt: skip
    assert "run, student: from 10.0 to 50.0" in charts["kNN"].words


def test_values_that_are_not_finite_are_holes_and_are_told() -> None:
    lines = [sample.train_line(step, grad_norm=math.nan if step in (3, 5) else 10.0**step) for step in range(1, 8)]
    charts = {c.chart.title: c for _, charts in drawn([sample.run(lines=lines)]) for c in charts}
    chart = charts["Gradient norm"]
    assert "Left out: two values that were not finite." in chart.note
    assert chart.traces[0]["y"] == [10.0, 100.0, None, 1e4, None, 1e6, 1e7]
    assert chart.logarithmic and not charts["Loss of the method"].logarithmic
